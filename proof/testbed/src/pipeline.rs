//! A whole pipeline in this process: gateway, api and worker, on free ports, over a test's own database and queue.

use std::time::Duration;

use anyhow::{Context, Result};
use api::Api;
use api::config::ApiSettings;
use api::door::Door;
use api::identity::{Identity, IdentitySettings, RateLimitSettings};
use broker::{Broker, in_process::InProcess};
use clap::Parser;
use follower::Follower;
use follower::config::FollowerSettings;
use gateway_mock::GatewayMockConfig;
use runtime::secrets::Secrets;
use runtime::tasks::Stop;
use store::Database;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use worker::Worker;
use worker::config::WorkerSettings;

use crate::{Client, TestDatabase, TestQueue};

/// How messages travel.
#[derive(Debug, Clone)]
pub enum Via {
    /// RabbitMQ, through a queue of the test's own.
    RabbitMq(TestQueue),
    /// A channel inside the process.
    InProcess,
}

/// What a pipeline is to be like.
#[derive(Debug, Clone)]
pub struct Options {
    /// How messages travel.
    pub via: Via,
    /// How the api works.
    pub api: ApiSettings,
    /// How the worker works; the gateway's address is put in.
    pub worker: WorkerSettings,
    /// How the follower works.
    pub follower: FollowerSettings,
    /// Whether there is a worker at all.
    pub with_worker: bool,
    /// Whether there is a follower.
    pub with_follower: bool,
    /// A replica for the api's reads.
    pub replica: Option<Database>,
    /// Somebody else's gateway to use instead of one of its own.
    pub gateway: Option<String>,
}

/// The settings' own defaults, as a program without any environment has them.
#[derive(Debug, Parser)]
struct Defaults {
    #[command(flatten)]
    api: ApiSettings,
    #[command(flatten)]
    worker: WorkerSettings,
    #[command(flatten)]
    follower: FollowerSettings,
}

impl Options {
    /// The defaults, but for what would make tests wait: quick retries, a breaker that recovers within a second.
    pub fn new(via: Via) -> Self {
        let Defaults { api, worker, follower } = Defaults::parse_from(["test"]);
        let worker = WorkerSettings {
            payment_retry_initial: Duration::from_millis(100),
            payment_retry_max: Duration::from_secs(1),
            circuit_breaker_recovery: Duration::from_millis(500),
            sweep_interval: Duration::from_millis(50),
            ..worker
        };
        // One address, and few customers, send everything here: limits are for the tests that are about them.
        let rate_limits = RateLimitSettings {
            rate_limit_customer: 0,
            rate_limit_address: 0,
            rate_limit_log_in: 0,
            ..api.identity.rate_limits
        };
        let issuers_file = crate::people::issuers_file().ok();
        let secrets_key_file = crate::people::secrets().ok();
        let identity = IdentitySettings { issuers_file, secrets_key_file, rate_limits, ..api.identity };
        let api = ApiSettings { api_linger: Duration::from_millis(10), identity, ..api };
        Self {
            via,
            api,
            worker,
            follower,
            with_worker: true,
            with_follower: false,
            replica: None,
            gateway: None,
        }
    }
}

/// A pipeline that runs until [`Pipeline::stop`].
#[derive(Debug)]
pub struct Pipeline {
    /// Speaks to it.
    pub client: Client,
    /// Its broker.
    pub broker: Broker,
    parts: Vec<(Stop, JoinHandle<Result<()>>)>,
}

impl Pipeline {
    /// Starts one over the given database, with a gateway that has no faults.
    pub async fn start(database: &TestDatabase, options: Options) -> Result<Self> {
        Self::over(database.database(), options).await
    }

    /// Starts one over any database.
    pub async fn over(database: Database, options: Options) -> Result<Self> {
        let broker = match &options.via {
            Via::RabbitMq(queue) => queue.broker(),
            Via::InProcess => Broker::InProcess(InProcess::new(1_024)),
        };
        let own_gateway = match options.gateway {
            Some(_) => None,
            None => Some(TcpListener::bind("127.0.0.1:0").await?),
        };
        let gateway_url = match (&options.gateway, &own_gateway) {
            (None, Some(listener)) => format!("http://{}", listener.local_addr()?),
            (url, _) => url.clone().unwrap_or_default(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let client = Client::new(format!("http://{}", listener.local_addr()?), gateway_url)?
            .with_token(&crate::people::manager()?)?;
        let identity = Identity::open(&options.api.identity, &database)?;
        let secrets = Secrets::open(options.api.identity.secrets_key_file.as_deref())?;
        let settings = WorkerSettings { gateway_url: client.gateway.clone(), ..options.worker };
        let (door, api_settings) = (Door::default(), options.api.clone());
        let api = Api {
            door: door.clone(),
            database: database.clone(),
            read_database: database.clone(),
            replica: options.replica,
            broker: broker.clone(),
            settings: options.api,
            accept_deadline: settings.accept_deadline,
            payment_deadline: settings.payment_deadline,
            identity,
        };
        let follower = Follower { database: database.clone(), secrets, settings: options.follower };
        let worker = Worker { database, broker: broker.clone(), settings };

        // In the order in which they stop.
        let mut parts = Vec::new();
        start(&mut parts, |stop| async move {
            let served = door.serve(listener, api_settings, stop.clone());
            tokio::try_join!(served, api::run(api, stop)).map(drop)
        });
        if options.with_worker {
            start(&mut parts, |stop| worker::run(worker, stop));
        }
        if options.with_follower {
            start(&mut parts, |stop| follower::run(follower, stop));
        }
        if let Some(gateway) = own_gateway {
            start(&mut parts, |stop| gateway_mock::run(GatewayMockConfig::default(), gateway, stop));
            client.no_faults().await.context("the gateway does not answer")?;
        }
        Ok(Self { client, broker, parts })
    }

    /// Stops it, front to back, each part as its program would on SIGTERM.
    pub async fn stop(self) -> Result<()> {
        for (stop, part) in self.parts {
            stop.stop();
            part.await??;
        }
        Ok(())
    }
}

fn start<F>(parts: &mut Vec<(Stop, JoinHandle<Result<()>>)>, run: impl FnOnce(Stop) -> F)
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let stop = Stop::new();
    #[expect(clippy::disallowed_methods, reason = "its end is awaited in Pipeline::stop")]
    let task = tokio::spawn(run(stop.clone()));
    parts.push((stop, task));
}
