//! The api: accepts orders and reads them back. Stateless; run as many as you like.

mod analytics;
pub mod catalogue;
pub mod commands;
pub mod config;
pub mod door;
mod http;
pub mod identity;
mod locations;
pub mod operations;
pub mod orders;
mod router;
pub mod seed;
mod state;
mod tracking;
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use broker::Broker;
use runtime::tasks::{Crew, Stop};
use store::Database;
use store::reads::Reads;
use tokio::sync::{Mutex, mpsc};

use crate::catalogue::shelf::Shelf;
use crate::config::ApiSettings;
use crate::door::Door;
use crate::http::body::Room;
use crate::http::{gauges, replica};
use crate::identity::Identity;
use crate::locations::places::Places;
use crate::orders::mover::Mover;
use crate::orders::publish::{self, BrokerUp};
use crate::orders::writer::Writer;
use crate::state::Shared;
use crate::tracking::hub::{Hub, Lookout};

/// What an api needs, already opened.
#[derive(Debug)]
pub struct Api {
    /// Where clients come in. Whoever made it serves it, from before there was a database.
    pub door: Door,
    /// Where it writes; the schema is in place.
    pub database: Database,
    /// The same, for reads.
    pub read_database: Database,
    /// A replica for what is only shown.
    pub replica: Option<Database>,
    /// Where it publishes.
    pub broker: Broker,
    /// How it does all that.
    pub settings: ApiSettings,
    /// How long the kitchen has to take an order that needs no charge: as long as the workers give it for the others.
    pub accept_deadline: Duration,
    /// How long a charge may take whose order does not say: as long as the workers give it.
    pub payment_deadline: Duration,
    /// Whom it lets in.
    pub identity: Arc<Identity>,
}

/// After the last answer, how long the writers and the publisher may take to finish. They have a batch each.
const GRACE: Duration = Duration::from_secs(10);

/// What stands in the way of opening the channels' secrets, where they have any: to be asked before [`run`], which answers at once.
pub async fn expect_keys(database: &Database, identity: &Identity) -> Result<()> {
    operations::channels::expect_keys(database, identity.secrets()).await
}

/// Accepts and reads orders until `stop`; then writes what was handed in while the door was being closed, publishes what is
/// durable, and returns.
pub async fn run(api: Api, stop: Stop) -> Result<()> {
    let Api {
        door,
        database,
        read_database,
        replica,
        broker,
        settings,
        accept_deadline,
        payment_deadline,
        identity,
    } = api;
    let origins = http::cors::origins(&settings.api_cors_origins)?;
    runtime::trace::declare_metrics();
    let (desk, lane) = runtime::batch::desk(settings.api_backlog, config::MAX_BATCH);
    let (publish, hints) = mpsc::channel(config::MAX_HINTS);
    let broker_up = BrokerUp::default();
    let (size, may_lag) = (settings.api_readers, settings.api_replica_lag);
    let reads = Arc::new(Reads::new(&read_database, replica.as_ref(), size, may_lag));

    let mut crew = Crew::new(stop.clone());
    for _ in 0..settings.api_writers.max(1) {
        let writer = Writer::new(lane.clone(), database.session(), publish.clone(), settings.publish_grace);
        crew.spawn("accept", writer.run());
    }
    let (stocked_desk, stocked_lane) = runtime::batch::desk(settings.api_backlog, config::MAX_BATCH);
    let stocked =
        Writer::of_stocked(stocked_lane, database.session(), publish.clone(), settings.publish_grace);
    crew.spawn("accept_stocked", stocked.run());
    let (moves, move_lane) = runtime::batch::desk(config::MAX_MOVES, 1);
    for _ in 0..settings.api_movers.max(1) {
        crew.spawn("moves", Mover::new(move_lane.clone(), database.session()).run());
    }
    crew.spawn("gauges", gauges::run(desk.clone(), publish.clone(), reads.clone(), stop.clone()));
    let hub = Hub::new(settings.api_streams);
    crew.spawn("tracking", Lookout::new(Arc::clone(&hub), reads.clone()).run(stop.clone()));
    let places = Arc::new(Places::new(reads.clone()));
    crew.spawn("places", places.clone().run(stop.clone()));
    crew.spawn("replica", replica::run(reads.clone(), stop.clone()));
    // After the stop only the writers hold these: the lane ends with the last handler, the hints with the last writer.
    drop((lane, move_lane, publish));
    crew.spawn("publish", publish::run(broker, hints, broker_up.clone()));
    let shelf = Arc::new(Shelf::new(&database, reads.clone(), settings.catalogue_hide_sold_out));
    crew.spawn("catalogue", shelf.clone().run(stop.clone()));
    identity.start(&mut crew, &stop);
    orders::from_channel::show_counters();
    let state = Arc::new(Shared {
        accept: desk,
        accept_stocked: stocked_desk,
        moves,
        room: Room::new(settings.bodies(), settings.largest_body()),
        reads: reads.clone(),
        shelf,
        hub,
        places,
        carts: Mutex::new(database.session()),
        cart_hold: settings.cart_hold,
        accept_deadline,
        payment_deadline,
        keep_keys: settings.idempotency_key_age,
        identity,
        broker_up,
        stop,
    });
    door.open(router::router(state, origins));
    // Writers and movers end when nobody can hand in any more, and that is when the door is gone.
    drop(door);
    let outcome = crew.run(GRACE).await;
    reads.close();
    outcome
}
