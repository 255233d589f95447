//! What is tested: something that runs already, or servers and programs started for it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use domain::gateway::LedgerSummary;

use super::K6Arguments;
use super::scenario::Scenario;
use crate::bench::stack::{Services, Shape, Stack};
use crate::gateway::client;
use crate::load::Connection;

/// Requests under way at once while it is warmed up.
const CONNECTIONS: usize = 16;
/// When RabbitMQ is killed after the script's start, and how much later it is started again.
const OUTAGE_AFTER: Duration = Duration::from_secs(10);
const OUTAGE_LASTS: Duration = Duration::from_secs(15);

/// Where everything is.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) api_addr: SocketAddr,
    pub(super) gateway_url: String,
    /// What is shown there; empty: nothing.
    pub(super) token: String,
    pub(super) database_url: Option<String>,
    /// In words, for the report.
    pub(super) what: String,
    own: Option<(Stack, Services)>,
    http: reqwest::Client,
}

impl Site {
    /// What somebody has started.
    pub(super) fn existing(arguments: &K6Arguments) -> Result<Self> {
        Ok(Self {
            api_addr: arguments.api_addr,
            gateway_url: arguments.gateway_url.trim_end_matches('/').to_owned(),
            token: arguments.token.clone().unwrap_or_default(),
            database_url: arguments.database_url.clone(),
            what: format!("what ran at {}", arguments.api_addr),
            own: None,
            http: client()?,
        })
    }

    /// Servers and programs of one's own. Where RabbitMQ is killed they are processes of their own around it; else it
    /// is what `make run` starts.
    pub(super) async fn start(scenario: Scenario, out: &Path) -> Result<Self> {
        let logs = out.join("logs");
        std::fs::create_dir_all(&logs)?;
        let programs = std::env::current_exe()?;
        let programs = programs.parent().context("this program lies nowhere")?;
        let shape = if scenario.needs_own_servers() { Shape::Separate } else { Shape::Standalone };
        let stack = Stack::start(programs, &logs, CONNECTIONS).await?;
        let services = stack.services(shape).await?;
        Ok(Self {
            api_addr: services.api_addr,
            gateway_url: services.gateway_url.clone(),
            token: services.token()?,
            database_url: Some(services.ground.database_url.clone()),
            what: match shape {
                Shape::Standalone => "standalone, started for this".to_owned(),
                _ => "api, worker, gateway-mock, PostgreSQL and RabbitMQ, started for this".to_owned(),
            },
            own: Some((stack, services)),
            http: client()?,
        })
    }

    /// Ends what was started.
    pub(super) async fn stop(self) -> Result<()> {
        let Some((stack, services)) = self.own else { return Ok(()) };
        services.stop(&stack).await?;
        Ok(tokio::task::spawn_blocking(|| drop(stack)).await?)
    }

    /// An error that says what to start, where nothing answers.
    pub(super) async fn reachable(&self) -> Result<()> {
        let addr = self.api_addr;
        Connection::open(addr).await.with_context(|| {
            format!(
                "nothing listens on {addr} (API_ADDR): start it with `make run` or `docker compose up`, and this in \
                 another terminal; or let it start its own with --own"
            )
        })?;
        self.ledger().await.context("is GATEWAY_URL right?")?;
        Ok(())
    }

    /// The gateway's books in sums.
    pub(super) async fn ledger(&self) -> Result<LedgerSummary> {
        let url = format!("{}/v1/ledger/summary", self.gateway_url);
        let answer = self.http.get(&url).send().await.with_context(|| format!("cannot reach {url}"))?;
        answer.error_for_status()?.json().await.with_context(|| format!("{url} tells no sums"))
    }

    /// Does to the servers what the script is about.
    pub(super) async fn disturb(&self, scenario: Scenario) -> Result<()> {
        let Some((stack, _)) = self.own.as_ref().filter(|_| scenario == Scenario::BrokerOutage) else {
            return Ok(());
        };
        tokio::time::sleep(OUTAGE_AFTER).await;
        stack.broker(|rabbitmq| rabbitmq.kill()).await?;
        tokio::time::sleep(OUTAGE_LASTS).await;
        stack.broker(|rabbitmq| rabbitmq.restart()).await
    }
}
