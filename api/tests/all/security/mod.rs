//! What docs/security.md promises and no other test shows.

mod log_in;
mod names;
mod roles;
mod table;
mod wire;
