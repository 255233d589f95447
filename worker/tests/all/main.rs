//! The worker's steps, one at a time, against a real PostgreSQL and the gateway of the demo.

mod gateway;
mod its_time;
mod money_back;
mod one_of_many;
mod sequences;
mod steps;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use broker::{Broker, Consumer, Publisher, in_process::InProcess};
use clap::Parser;
use domain::gateway::Ledger;
use domain::message::PaymentsDue;
use domain::order::NewOrder;
use domain::order::request::OrderRequest;
use gateway_mock::GatewayMockConfig;
use runtime::tasks::Stop;
use serde_json::json;
use store::accept::{Accept, accept};
use testbed::{Client, TestDatabase, make_due};
use tokio::net::TcpListener;
use uuid::Uuid;
use worker::charge::Till;
use worker::claim::Claimer;
use worker::config::WorkerSettings;
use worker::consume::{Consumption, Step};
use worker::gateway::breaker::Breaker;
use worker::settle::Settler;
use worker::sweep::due::Sweep;

#[derive(Parser)]
struct Defaults {
    #[command(flatten)]
    worker: WorkerSettings,
}

/// A worker taken apart: each of its loops can be stepped.
struct Bench {
    database: TestDatabase,
    client: Client,
    settings: WorkerSettings,
    till: Arc<Till>,
    publisher: Publisher,
    consumer: Consumer,
    consumption: Consumption,
    sweep: Sweep,
}

impl Bench {
    async fn new() -> Result<Self> {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut WorkerSettings)) -> Result<Self> {
        let (listener, stop) = (TcpListener::bind("127.0.0.1:0").await?, Stop::new());
        let url = format!("http://{}", listener.local_addr()?);
        let gateway = gateway_mock::run(GatewayMockConfig::default(), listener, stop.clone());
        let bench = Self::over(&url, gateway, stop, change).await?;
        bench.client.no_faults().await?;
        Ok(bench)
    }

    /// With a gateway of the test's own.
    async fn with_gateway(gateway: axum::Router) -> Result<Self> {
        let (listener, stop) = (TcpListener::bind("127.0.0.1:0").await?, Stop::new());
        let url = format!("http://{}", listener.local_addr()?);
        let serve =
            runtime::serve::serve(listener, gateway, runtime::serve::ServeLimits::default(), stop.clone());
        let gateway = async move {
            serve.await;
            Ok(())
        };
        Self::over(&url, gateway, stop, |_| {}).await
    }

    async fn over(
        url: &str,
        gateway: impl Future<Output = Result<()>> + Send + 'static,
        stop: Stop,
        change: impl FnOnce(&mut WorkerSettings),
    ) -> Result<Self> {
        let database = TestDatabase::new().await?;
        let client = Client::new("http://unused", url)?;
        let mut tasks = runtime::tasks::Crew::new(stop);
        tasks.spawn("gateway", gateway);

        let Defaults { worker: mut settings } = Defaults::parse_from(["test"]);
        settings.gateway_url = url.to_owned();
        settings.payment_retry_initial = Duration::from_millis(1);
        settings.payment_retry_max = Duration::from_millis(1);
        change(&mut settings);
        let (till, lane) = worker::till(&settings)?;
        let broker = Broker::InProcess(InProcess::new(16));
        tasks.spawn(
            "settle",
            Settler::new(lane, database.database().session(), settings.accept_deadline).run(),
        );
        #[expect(clippy::disallowed_methods, reason = "lives as long as the test")]
        tokio::spawn(tasks.run(Duration::from_secs(5)));
        Ok(Self {
            consumption: Consumption::new(
                Claimer::new(database.database().session(), settings.lease),
                till.clone(),
                &settings,
            ),
            sweep: Sweep::new(
                Claimer::new(database.database().session(), settings.lease),
                till.clone(),
                &settings,
            ),
            publisher: broker.publisher().await?,
            consumer: broker.consumer(16).await?,
            database,
            client,
            settings,
            till,
        })
    }

    /// Accepts `count` orders; they are due at once.
    async fn accept(&self, count: usize) -> Result<Vec<NewOrder>> {
        let body = Client::an_order().to_string();
        let request: OrderRequest<'_> = serde_json::from_str(&body)?;
        let orders: Vec<NewOrder> = (0..count).map(|_| NewOrder::parse(&request).unwrap()).collect();
        let batch: Vec<Accept> =
            orders.iter().map(|order| Accept { order: order.clone(), key: None }).collect();
        accept(&mut self.database.connect().await?, &batch, Duration::from_nanos(1)).await?;
        Ok(orders)
    }

    async fn publish(&mut self, orders: &[NewOrder]) -> Result<()> {
        let message = PaymentsDue::new(orders.iter().map(|order| order.payment_id()).collect());
        self.publisher.publish(&[message]).await?;
        Ok(())
    }

    /// One step of the consumer, to its end.
    async fn consume(&mut self) -> Result<Step> {
        let step = self.consumption.run_once(&mut self.consumer, &Stop::new()).await?;
        self.consumption.finish().await;
        Ok(step)
    }

    /// One step of the sweep, to its end.
    async fn sweep(&mut self) -> Result<usize> {
        let swept = self.sweep.run_once().await?;
        self.sweep.finish().await;
        Ok(swept)
    }

    /// Makes what waits due now.
    async fn hurry(&self) -> Result<()> {
        make_due(&mut self.database.connect().await?).await
    }

    async fn status(&self, order: &NewOrder) -> Result<String> {
        Ok(sqlx::query_scalar("SELECT status::text FROM shown_orders WHERE id = $1")
            .bind(order.id)
            .fetch_one(&mut self.database.connect().await?)
            .await?)
    }

    /// Action and outcome of every try.
    async fn tries(&self, order: &NewOrder) -> Result<Vec<(String, String)>> {
        Ok(sqlx::query_as(
            "SELECT action::text, coalesce(outcome::text, 'open') FROM shown_attempts WHERE payment_id = $1 ORDER BY number",
        )
        .bind(order.payment_id())
        .fetch_all(&mut self.database.connect().await?)
        .await?)
    }

    async fn ledger(&self) -> Result<Ledger> {
        self.client.ledger().await
    }

    async fn faults(&self, faults: serde_json::Value) -> Result<()> {
        self.client.faults(faults).await
    }
}

/// Tries as the tests write them.
fn tries(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(action, outcome)| ((*action).to_owned(), (*outcome).to_owned())).collect()
}

/// The breaker must not have moved; it admits everything.
fn is_closed(breaker: &Breaker) -> bool {
    breaker.admits() == worker::gateway::breaker::Admission::All
}

fn ids(orders: &[NewOrder]) -> Vec<Uuid> {
    orders.iter().map(|order| order.payment_id()).collect()
}

fn refusing() -> serde_json::Value {
    json!({"success_rate": 0.0})
}
