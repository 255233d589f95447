//! What handlers share.

use std::sync::Arc;
use std::time::Duration;

use runtime::tasks::Stop;
use store::reads::Reads;
use store::session::Session;
use tokio::sync::Mutex;

use crate::catalogue::shelf::Shelf;
use crate::http::body::Room;
use crate::identity::Identity;
use crate::locations::places::Places;
use crate::orders::mover::MoveDesk;
use crate::orders::publish::BrokerUp;
use crate::orders::writer::AcceptDesk;
use crate::tracking::hub::Hub;

/// Cloned for every request, some times over: one pointer, whatever it leads to.
pub(crate) type AppState = Arc<Shared>;

/// What is behind it.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Where orders are handed in to be written.
    pub accept: AcceptDesk,
    /// The same for orders of what is counted: they may wait for a row that others want, too, and no other order may wait for them.
    pub accept_stocked: AcceptDesk,
    /// Where requests to move an order are handed in.
    pub moves: MoveDesk,
    /// Where large bodies are held.
    pub room: Room,
    /// Where reads go.
    pub reads: Arc<Reads>,
    /// What can be ordered.
    pub shelf: Arc<Shelf>,
    /// Where carts are changed, one after the other.
    pub carts: Mutex<Session>,
    /// How long a cart holds what is in it.
    pub cart_hold: Duration,
    /// Where those wait who follow what happens.
    pub hub: Arc<Hub>,
    /// What is known of the locations.
    pub places: Arc<Places>,
    /// How long the kitchen has to take an order that needs no charge, where its location does not say.
    pub accept_deadline: Duration,
    /// How long a charge may take whose order does not say.
    pub payment_deadline: Duration,
    /// How long an idempotency key is remembered.
    pub keep_keys: Duration,
    /// Who knows people.
    pub identity: Arc<Identity>,
    /// Whether the broker is there.
    pub broker_up: BrokerUp,
    /// Whether this process is to end.
    pub stop: Stop,
}
