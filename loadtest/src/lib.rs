//! Load for a running pipeline, and the proof that it kept its promises: [`load()`] sends orders and keeps every 202,
//! [`until_settled`] waits for the last of them, and [`reconcile::reconcile()`] compares all of it with what the payment gateway
//! really did.

pub mod bench;
pub mod gateway;
pub mod k6;
pub mod latency;
pub mod load;
mod progress;
pub mod settled;

pub use load::load;
pub use settled::until_settled;
