//! accounts: people of the embedded issuer, their sessions, the tokens of machines, and what people keep about themselves.

pub mod addresses;
pub mod service_tokens;
pub mod sessions;
pub mod users;
