//! The api's settings.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Args, Parser};
use runtime::config::{BrokerConfig, DatabaseConfig, TelemetryConfig, TraceConfig};

use crate::http::cors;
use crate::identity::settings::IdentitySettings;

/// Accepts orders and reads them back.
#[derive(Debug, Parser)]
#[command(name = "api", version)]
pub struct ApiConfig {
    /// Where orders are taken.
    #[arg(long, env = "API_ADDR", default_value = "127.0.0.1:8080")]
    pub api_addr: SocketAddr,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the program's own in --help")]
    pub settings: ApiSettings,
    /// How long the kitchen has to take an order whose channel took the money, in seconds; the same as the workers'
    #[arg(long, env = "ACCEPT_DEADLINE_SECONDS", default_value = "300", value_parser = runtime::config::seconds)]
    pub accept_deadline: Duration,
    /// How long a charge may take, in seconds, where its order does not say; shown with the order, and the same as the workers'
    #[arg(long, env = "PAYMENT_DEADLINE_SECONDS", default_value = "900", value_parser = runtime::config::seconds)]
    pub payment_deadline: Duration,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the program's own in --help")]
    pub database: DatabaseConfig,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the program's own in --help")]
    pub broker: BrokerConfig,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the program's own in --help")]
    pub telemetry: TelemetryConfig,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the program's own in --help")]
    pub traces: TraceConfig,
}

/// What an api does with orders, whatever it runs in.
#[derive(Debug, Clone, Args)]
pub struct ApiSettings {
    /// Orders that may wait to be written; further ones get 503 at once. The default is what two cores write in about
    /// a fifth of a second: who waits longer is better told to come again
    #[arg(long, env = "API_BACKLOG", default_value_t = 4_096)]
    pub api_backlog: usize,
    /// Writers, each with a database connection; one fills its batches best
    #[arg(long, env = "API_WRITERS", default_value_t = 1)]
    pub api_writers: usize,
    /// Movers, each with a database connection: what staff and customers do with orders, one transaction each
    #[arg(long, env = "API_MOVERS", default_value_t = 4)]
    pub api_movers: usize,
    /// Connections for reads, and as many to the replica where there is one; two are kept for what decides something
    #[arg(long, env = "API_READERS", default_value_t = 8)]
    pub api_readers: u32,
    /// How far the replica may be behind, in seconds: past it the primary is read instead
    #[arg(long, env = "API_REPLICA_LAG_SECONDS", default_value = "5", value_parser = runtime::config::seconds)]
    pub api_replica_lag: Duration,
    /// Where the internal endpoints are served. Without it they are where `/metrics` is, if only this machine can ask there
    #[arg(long, env = "INTERNAL_ADDR")]
    pub internal_addr: Option<SocketAddr>,
    /// How long a lost publish goes unnoticed, in seconds: then a worker's sweep takes the payment up
    #[arg(long, env = "PUBLISH_GRACE_SECONDS", default_value = "3", value_parser = runtime::config::seconds)]
    pub publish_grace: Duration,
    /// How long an idempotency key is remembered, in seconds
    #[arg(long, env = "IDEMPOTENCY_KEY_SECONDS", default_value = "86400", value_parser = runtime::config::seconds)]
    pub idempotency_key_age: Duration,
    /// The largest body of a request, in KiB. Two hundred lines with long names are 150 KB; a channel's document may have more
    /// in it that is not for us
    #[arg(long, env = "API_BODY_KIB", default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub api_body_kib: u32,
    /// Room for the bodies over 4 KiB of all requests in hand, in MiB; who comes when it is full gets 503. The default is
    /// 64 of the largest at once
    #[arg(long, env = "API_BODIES_MIB", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    pub api_bodies_mib: u16,
    /// Clients that follow what happens, by streams or by waiting for it; one more gets 503. Fewer than the 8,192 connections, so
    /// that there is always room for those who order
    #[arg(long, env = "API_STREAMS", default_value_t = 5_000)]
    pub api_streams: usize,
    /// How long a connection may rest between two requests, in seconds: longer than your load balancer keeps its own, or
    /// it sends requests into connections that are just being closed
    #[arg(long, env = "API_KEEP_ALIVE_SECONDS", default_value = "75", value_parser = runtime::config::seconds)]
    pub api_keep_alive: Duration,
    /// How long requests are still answered after a SIGTERM, in seconds, while `/ready` says 503: longer than your load
    /// balancer takes to notice
    #[arg(long, env = "API_LINGER_SECONDS", default_value = "0.3", value_parser = runtime::config::seconds)]
    pub api_linger: Duration,
    /// Web pages of other origins that may call the api, such as `https://shop.example.com`; several with commas between, or
    /// `*` for all. Without it, none
    #[arg(long, env = "API_CORS_ORIGINS", value_delimiter = ',', value_name = "ORIGINS")]
    pub api_cors_origins: Vec<String>,
    /// How long a cart holds what is in it after its last change, in seconds
    #[arg(long, env = "CART_HOLD_SECONDS", default_value = "900", value_parser = runtime::config::seconds)]
    pub cart_hold: Duration,
    /// Leave what is sold out out of the catalogue's lists, instead of marking it
    #[arg(long, env = "CATALOGUE_HIDE_SOLD_OUT", value_parser = clap::builder::BoolishValueParser::new())]
    pub catalogue_hide_sold_out: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the program's own in --help")]
    pub identity: IdentitySettings,
}

/// Connections of the internal endpoints: one for those who look, one for those who change something.
const INTERNAL_CONNECTIONS: usize = 2;
/// That of `/ready`, that of whoever follows which sessions and machines' tokens were ended, and that of whoever changes the
/// catalogue, that of whoever changes carts, and that of the writer of orders of what is counted.
const OTHER_CONNECTIONS: usize = 5;

impl ApiSettings {
    /// Connections to the primary that an api has at most: its writers, movers and readers, the internal endpoints, the others,
    /// and the embedded issuer's. Where one was lost, the server may not know it yet and count it beside its successor. To a
    /// replica it has its readers and one more.
    pub fn connections(&self) -> usize {
        let readers = usize::try_from(self.api_readers).unwrap_or(usize::MAX).max(1);
        let issuer = usize::from(self.identity.identity_key_file.is_some());
        self.api_writers.max(1)
            + self.api_movers.max(1)
            + readers
            + INTERNAL_CONNECTIONS
            + OTHER_CONNECTIONS
            + issuer
    }
}

impl ApiSettings {
    /// What one setting cannot know of another.
    pub fn check(&self) -> Result<()> {
        let (largest, all) = (self.api_body_kib, self.api_bodies_mib);
        ensure!(
            self.largest_body() <= self.bodies(),
            "API_BODY_KIB={largest} is more than all bodies together may have: API_BODIES_MIB={all}"
        );
        cors::origins(&self.api_cors_origins).map(drop)
    }

    /// The largest body of a request, in bytes.
    pub(crate) const fn largest_body(&self) -> usize {
        self.api_body_kib as usize * 1024
    }

    /// What all may have at once, in bytes.
    pub(crate) fn bodies(&self) -> usize {
        usize::from(self.api_bodies_mib) * 1024 * 1024
    }
}

/// What a body may have without taking any of `API_BODIES_MIB`. An order of twenty lines is 2 KB.
pub const SMALL_BODY: usize = 4 * 1024;
/// A client that has not sent its body by then is cut off.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// When a client that waits for the database is told 503: the issue of a dead database must be visible within 3 s.
pub const ANSWER_TIMEOUT: Duration = Duration::from_millis(2_800);
/// Seconds after which a client that was told 503 should come again.
pub const RETRY_AFTER: u32 = 1;
/// Orders in one group commit. What it made durable shares one message.
pub const MAX_BATCH: usize = domain::message::MAX_PAYMENTS;
/// Requests to move an order that may wait for a mover; further ones get 503 at once. Four movers carry out some
/// thousands a second.
pub const MAX_MOVES: usize = 1_024;
/// Batches that may wait to be published. More means that the broker is slow or gone; the rest is left to the sweep.
pub const MAX_HINTS: usize = 1_024;
