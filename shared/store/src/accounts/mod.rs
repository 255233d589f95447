//! accounts: people of the embedded issuer, their sessions, and the tokens of machines.

pub mod service_tokens;
pub mod sessions;
pub mod users;
