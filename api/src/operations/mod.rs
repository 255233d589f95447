//! What is for the operators alone, on the address of the metrics and never on the public one: the refunds, a sweep of
//! unanswered orders, the clock that deadlines go by, and the channels' price lists (`catalogue/price_list.rs`).

mod clock;
mod refunds;
pub(crate) mod state;
mod sweeps;

use std::sync::Arc;

use axum::Router;
use axum::routing::{MethodRouter, get, post};
use store::Database;

use self::state::Internal;
use crate::catalogue::price_list;
use crate::http::observe::observed;
use crate::identity::Identity;

/// The routes, over a database of their own connections, for managers. They need nothing of the api that runs beside them
/// but what it knows of people.
pub fn router(database: &Database, identity: &Arc<Identity>) -> Router {
    let route =
        |router: Router<_>, path, methods: MethodRouter<_>| router.route(path, methods.layer(observed(path)));
    let router = Router::new().layer(observed("unmatched"));
    let router = route(router, "/internal/refunds", get(refunds::list_refunds));
    let router = route(router, "/internal/sweeps/stale-orders", post(sweeps::sweep_stale_orders));
    let router = route(router, "/internal/clock", get(clock::read_clock).post(clock::trust_clock));
    let prices = get(price_list::read).put(price_list::replace);
    route(router, "/internal/channels/{channel}/prices", prices).with_state(Internal::new(database, identity))
}
