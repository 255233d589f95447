//! What the sender sends, and the dice of each order are thrown by.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::fleet::Tokens;
use crate::life::Habits;
use crate::shop::Shop;

/// What is sent.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Makes the orders.
    pub seed: u64,
    /// So many, at most.
    pub orders: u64,
    /// A second.
    pub rate: u32,
    /// To these.
    pub apis: Vec<SocketAddr>,
    /// Who is let in there.
    pub tokens: Tokens,
    /// What becomes of them.
    pub habits: Habits,
    /// How long the kitchen has.
    pub deadline: Duration,
    /// What is sold of the catalogue.
    pub shop: Arc<Shop>,
    /// How long a cart holds what is in it.
    pub cart_hold: Duration,
}
