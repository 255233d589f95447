//! What both ends must agree on: the order and its legal moves, money, the payment and the gateway's contract, the broker's
//! message. Pure: nothing here reads a clock, a file or a socket.

pub mod catalogue;
pub mod channel;
pub mod content;
mod decimal;
pub mod event;
mod fields;
pub mod gateway;
pub mod limits;
pub mod location;
pub mod mail;
pub mod message;
pub mod moment;
pub mod money;
pub mod order;
pub mod origin;
pub mod payment;
pub mod person;
pub mod problems;
pub mod retry;
pub mod rolled;
pub mod told;
pub mod trace_parent;
mod what;
