//! The barest axum that can be asked as the api is: hands a body back. A program of its own (`loadtest echo`), because
//! a server in the load generator's process would not be one that anybody has.

use std::net::SocketAddr;

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::http::{StatusCode, header};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use runtime::tasks::{Stop, stop_on_signal};

/// The load generator wants an order's address in a 202.
const LOCATION: &str = "/api/v1/orders/00000000-0000-7000-8000-000000000000";

/// Answers on `addr` until a signal comes.
pub fn echo(addr: SocketAddr) -> Result<()> {
    // As the programs have it: a thread a core.
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let app = Router::new().route("/ready", get(async || "ok")).route(
            "/api/v1/orders",
            post(async |body: Bytes| {
                let headers = [(header::CONTENT_TYPE, "application/json"), (header::LOCATION, LOCATION)];
                (StatusCode::ACCEPTED, headers, body)
            }),
        );
        let listener = runtime::serve::bind(addr, "--addr")?;
        // Small answers wait for no acknowledgement; ours do not either.
        let listener = listener.tap_io(|tcp| drop(tcp.set_nodelay(true)));
        tokio::select! {
            served = async { axum::serve(listener, app).await } => Ok(served?),
            stopped = stop_on_signal(Stop::new())? => stopped,
        }
    })
}
