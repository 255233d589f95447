//! What is for the operators alone, on an address of its own or of the metrics and never on the public one: the refunds, a
//! sweep of unanswered orders, the clock that deadlines go by, how channels speak, and their price lists
//! (`catalogue/price_list.rs`).

pub mod channels;
mod clock;
mod platforms;
mod refunds;
pub(crate) mod refused;
pub(crate) mod state;
mod sweeps;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use axum::Router;
use axum::routing::{MethodRouter, get, post};
use runtime::serve::{ServeLimits, bind, serve};
use runtime::tasks::Stop;
use runtime::telemetry::Metrics;
use store::Database;
use tokio::net::TcpListener;

use self::state::Internal;
use crate::catalogue::price_list;
use crate::config::ApiSettings;
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
    let settings = get(channels::read).put(channels::replace).delete(channels::remove);
    let router = route(router, "/internal/channels/{channel}", settings);
    let router = route(router, "/internal/channels/{channel}/refused", get(refused::list));
    let one = get(refused::read).delete(refused::forget);
    let router = route(router, "/internal/channels/{channel}/refused/{id}", one);
    let prices = get(price_list::read).put(price_list::replace);
    route(router, "/internal/channels/{channel}/prices", prices).with_state(Internal::new(database, identity))
}

/// Opens the address that they have for themselves, if they have one.
pub fn bind_own(settings: &ApiSettings) -> Result<Option<TcpListener>> {
    settings.internal_addr.map(|addr| bind(addr, "INTERNAL_ADDR")).transpose()
}

/// The routes, if they may be served beside the metrics: where only this machine can ask there. Who scrapes metrics from
/// another need not be able to reach them.
pub fn beside(metrics: Option<&Metrics>, routes: Router) -> Option<Router> {
    let addr = metrics?.local_addr().ok()?;
    if addr.ip().is_loopback() {
        return Some(routes);
    }
    tracing::warn!(
        "other machines can ask at {addr}: no internal endpoints there; INTERNAL_ADDR gives them an address"
    );
    None
}

/// Serves the routes on an address of their own, until `stop`; and `/health`, which answers as long as the process does.
pub async fn run(listener: TcpListener, routes: Router, stop: Stop) -> Result<()> {
    tracing::info!("internal endpoints at http://{}/internal", listener.local_addr()?);
    let routes = routes.route("/health", get(async || "ok"));
    serve(listener, routes, ServeLimits::default(), stop).await;
    Ok(())
}

/// `--health`: whether the program that runs with these settings lives. Asked where clients take no places away: at the internal
/// address, else at that of the metrics. At the public one only where there is neither.
pub fn ask_health(settings: &ApiSettings, metrics: Option<SocketAddr>, public: SocketAddr) -> Result<()> {
    // Port 0 is whichever was free.
    let own = [settings.internal_addr, metrics].into_iter().flatten().find(|addr| addr.port() != 0);
    runtime::health::ask(own.unwrap_or(public), "/health")
}
