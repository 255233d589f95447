//! A believable payment gateway, a third party that knows nothing of our tables: it charges once a key, declines,
//! dawdles, breaks as it is told to, and keeps a ledger of what really happened to the money, against which every
//! run is reconciled. It runs as a program of its own or inside another one; nothing here is global.

mod access;
mod books;
mod charges;
mod config;
mod counters;
mod dice;
mod fate;
mod faults;
mod journal;
mod json;
mod keys;
mod ledger;
mod name;
mod play;
mod problem;
mod rate;
mod refunds;
mod statement;
mod verdict;
pub mod wire;

use std::sync::{Arc, PoisonError, RwLock};

use anyhow::{Context, Result, anyhow};
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use runtime::config::Secret;
use runtime::serve::{ServeLimits, serve};
use runtime::tasks::Stop;
use serde_json::{Map, Value};
use tokio::net::TcpListener;

pub use crate::config::{GatewayMockConfig, Settings};
pub use crate::faults::Faults;

use crate::access::AccessLog;
use crate::counters::Counters;
use crate::ledger::Ledger;
use crate::problem::Problem;
use crate::rate::Rate;

/// Serves the gateway on `listener` until `stop`. An error says what is wrong with the settings or the journal.
/// `config.gateway_mock_addr` is for whoever binds the listener.
pub async fn run(config: GatewayMockConfig, listener: TcpListener, stop: Stop) -> Result<()> {
    let faults = config.faults.checked().map_err(|wrong| anyhow!("PAYMENT_MOCK settings: {wrong}"))?;
    let ledger = Ledger::open(config.gateway_mock_journal.as_deref())?;
    let access = AccessLog::open(config.gateway_mock_access_log.as_deref())?;
    let addr = listener.local_addr().context("the gateway's listener has no address")?;
    let remembered = ledger.books().charges.len();
    tracing::info!(%addr, seed = faults.seed, charges = remembered, "the payment gateway listens");
    let gateway = Gateway {
        ledger,
        access,
        faults: RwLock::new(faults),
        rate: Rate::new(),
        counters: Counters::new(),
        stop: stop.clone(),
    };
    serve(listener, routes(Arc::new(gateway), config.gateway_mock_token), ServeLimits::default(), stop).await;
    Ok(())
}

/// What all requests share.
pub(crate) struct Gateway {
    ledger: Ledger,
    access: AccessLog,
    faults: RwLock<Faults>,
    rate: Rate,
    counters: Counters,
    stop: Stop,
}

impl Gateway {
    /// The switches as they are set now.
    fn faults(&self) -> Faults {
        *self.faults.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the switches that `patch` names; all of them, or none and the error says why.
    fn set_faults(&self, patch: Map<String, Value>) -> Result<Faults, String> {
        let mut faults = self.faults.write().unwrap_or_else(PoisonError::into_inner);
        *faults = faults.merged(patch)?;
        Ok(*faults)
    }
}

fn routes(gateway: Arc<Gateway>, token: Option<Secret>) -> Router {
    let mut merchants = Router::new()
        .route("/v1/charges", post(charges::charge))
        .route("/v1/charges/by-key/{key}", get(charges::look_up))
        .route("/v1/charges/by-key/{key}/void", post(charges::void))
        .route("/v1/refunds", post(refunds::refund));
    if let Some(token) = token {
        merchants = merchants.route_layer(from_fn_with_state(Arc::new(token), access::admit));
    }
    merchants
        .route("/v1/ledger", get(statement::ledger))
        .route("/v1/ledger/summary", get(statement::summary))
        .route("/v1/faults", get(statement::faults).put(statement::set_faults))
        .route("/health", get(statement::health))
        .fallback(async || Problem::not_found("There is no such page."))
        .with_state(gateway)
}
