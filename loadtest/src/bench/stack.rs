//! What is measured: PostgreSQL and RabbitMQ, started once, and for each run the programs over a database and a queue
//! of their own. Fresh ones, not emptied ones: plans that live prepared statements made for full tables, or for empty
//! ones, would make the figures differ by a factor from run to run.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use broker::amqp::Amqp;
use reconcile::connect;
use runtime::config::BrokerConfig;
use runtime::tasks::Stop;
use servers::{Machine, Operator, Postgres, PostgresSettings, RabbitMq, RabbitMqSettings};
use sqlx::{AssertSqlSafe, Connection, Executor};
use store::Database;
use uuid::Uuid;

use super::program::{Program, free_addr};
use super::traffic::{self, Counts};
use super::usage::{Memory, Usage, Watched};
use crate::load::{OnFault, Pace, Plan, Tokens, load};
use crate::settled::until_settled;

/// Orders sent before each measurement: they fill caches and let statements reach their lasting plans.
pub(super) const WARM_UP: u64 = 2_000;
/// Longest wait for the warm-up's last settlement.
const WARM_UP_PATIENCE: Duration = Duration::from_secs(60);
/// For a server just started.
const DATABASE_PATIENCE: Duration = Duration::from_secs(30);

/// The servers, and where things are.
#[derive(Debug)]
pub(crate) struct Stack {
    postgres: Postgres,
    rabbitmq: Arc<Mutex<RabbitMq>>,
    programs: PathBuf,
    logs: PathBuf,
    /// Requests under way at once.
    pub(crate) connections: usize,
}

/// Which programs run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The api alone; payments wait.
    ApiOnly,
    /// api, worker and gateway-mock, each a process.
    Separate,
    /// All three in one process, with the in-process broker.
    Standalone,
}

/// A database and a queue of one's own.
#[derive(Debug, Clone)]
pub(crate) struct Ground {
    pub(crate) database: String,
    pub(crate) database_url: String,
    pub(crate) broker: BrokerConfig,
}

/// The programs of one run.
#[derive(Debug)]
pub(crate) struct Services {
    pub(crate) ground: Ground,
    pub(crate) api_addr: SocketAddr,
    pub(crate) gateway_url: String,
    /// What whoever asks shows: a service's token, or a manager's in one process.
    token_file: PathBuf,
    programs: Vec<Program>,
    metrics: Vec<SocketAddr>,
    pub(super) connections: usize,
}

impl Stack {
    /// Starts the servers. `programs` is where the project's release binaries are.
    pub(crate) async fn start(programs: &Path, logs: &Path, connections: usize) -> Result<Self> {
        let postgres = tokio::task::spawn_blocking(|| Postgres::start(&PostgresSettings::temporary()));
        let rabbitmq = tokio::task::spawn_blocking(|| RabbitMq::start(&RabbitMqSettings::temporary()));
        let (postgres, rabbitmq) = tokio::join!(postgres, rabbitmq);
        Ok(Self {
            postgres: postgres??,
            rabbitmq: Arc::new(Mutex::new(rabbitmq??)),
            programs: programs.to_owned(),
            logs: logs.to_owned(),
            connections,
        })
    }

    /// The servers and ourselves, to be watched.
    pub(crate) fn watched(&self) -> Vec<Watched> {
        let servers = [("postgres", self.postgres.pid()), ("rabbitmq", rabbitmq(&self.rabbitmq).pid())];
        let servers = servers.into_iter().filter_map(|(name, pid)| Some((name, pid?)));
        servers.chain([("loadtest", std::process::id())]).collect()
    }

    /// Does something to RabbitMQ that takes its time, such as ending it.
    pub(crate) async fn broker(
        &self,
        act: impl FnOnce(&mut RabbitMq) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let broker = Arc::clone(&self.rabbitmq);
        tokio::task::spawn_blocking(move || act(&mut rabbitmq(&broker))).await?
    }

    /// What the servers are, for the report.
    pub(crate) async fn postgres_version(&self) -> Result<String> {
        let mut conn = connect(&self.postgres.url("postgres")).await?;
        let version = sqlx::query_scalar("SHOW server_version").fetch_one(&mut conn).await?;
        conn.close().await?;
        Ok(version)
    }

    /// A new database with the schema in it, and the name of a new queue.
    pub(crate) async fn ground(&self) -> Result<Ground> {
        let database = format!("bench_{}", Uuid::new_v4().simple());
        self.administer(&format!("CREATE DATABASE {database}")).await?;
        let database_url = self.postgres.url(&database);
        Database::new(&database_url, "bench")?.prepare(DATABASE_PATIENCE).await?;
        let broker = BrokerConfig {
            amqp_url: rabbitmq(&self.rabbitmq).url(),
            amqp_queue: format!("bench.{database}"),
        };
        Ok(Ground { database, database_url, broker })
    }

    /// The keys of all apis here.
    fn keys(&self) -> Result<String> {
        let file = self.logs.join("identity.keys");
        Operator::of(&self.programs).make_keys(&file)?;
        Ok(file.display().to_string())
    }

    /// What apis and followers here seal secrets with.
    pub(super) fn secrets(&self) -> Result<String> {
        let file = self.logs.join("identity.secrets");
        Operator::of(&self.programs).make_secrets(&file)?;
        Ok(file.display().to_string())
    }

    /// A follower over this ground, which may tell whoever listens on this machine.
    pub(super) fn follower(&self, ground: &Ground, further: &[(&'static str, String)]) -> Result<Program> {
        let mut environment = vec![
            ("DATABASE_URL", ground.database_url.clone()),
            ("METRICS_ADDR", "off".to_owned()),
            ("SECRETS_KEY_FILE", self.secrets()?),
            ("WEBHOOK_NETWORKS", "127.0.0.0/8".to_owned()),
        ];
        environment.extend_from_slice(further);
        self.program("follower", &[], &environment)
    }

    /// A token for the kitchen of this ground.
    pub(crate) fn kitchen(&self, ground: &Ground) -> Result<String> {
        self.operator(ground, "staff")
    }

    /// A token of somebody with this role on this ground.
    pub(crate) fn operator(&self, ground: &Ground, role: &str) -> Result<String> {
        let machine = Machine { name: role, role, channels: &[] };
        Operator::of(&self.programs).make_token(&ground.database_url, &machine)
    }

    /// Removes both, so that ten runs need no more room than one.
    pub(crate) async fn clear(&self, ground: &Ground) -> Result<()> {
        self.administer(&format!("DROP DATABASE {} WITH (FORCE)", ground.database)).await?;
        Amqp::new(&ground.broker, "bench")?.delete().await
    }

    async fn administer(&self, sql: &str) -> Result<()> {
        let mut conn = connect(&self.postgres.url("postgres")).await?;
        conn.execute(AssertSqlSafe(sql)).await?;
        Ok(conn.close().await?)
    }

    /// Starts a program of the project.
    pub(crate) fn program(
        &self,
        name: &'static str,
        arguments: &[String],
        environment: &[(&str, String)],
    ) -> Result<Program> {
        Program::start(name, &self.programs.join(name), arguments, environment, &self.logs)
    }

    /// Starts the programs over a fresh database and queue, and warms them up.
    pub(crate) async fn services(&self, shape: Shape) -> Result<Services> {
        let mut services = self.start_on(self.ground().await?, shape, &[])?;
        services.warm_up(shape).await?;
        Ok(services)
    }

    /// Starts the programs over this database and queue, with these settings besides.
    pub(crate) fn start_on(
        &self,
        ground: Ground,
        shape: Shape,
        further: &[(&'static str, String)],
    ) -> Result<Services> {
        let (api_addr, gateway_addr) = (free_addr()?, free_addr()?);
        let gateway_url = format!("http://{gateway_addr}");
        let mut environment = settings(&ground, api_addr, &gateway_url);
        environment.extend([
            ("GATEWAY_MOCK_ADDR", gateway_addr.to_string()),
            // What happens at the gateway is not what is measured: it answers at once.
            ("PAYMENT_MOCK_LATENCY_MIN", "0".to_owned()),
            ("PAYMENT_MOCK_LATENCY_MAX", "0".to_owned()),
            ("PAYMENT_MOCK_SUCCESS_RATE", "1.0".to_owned()),
        ]);
        let token_file = if shape == Shape::Standalone {
            // It keeps things wherever it runs; here fresh ones for each run, below where the reports go.
            let data = self.logs.join("standalone");
            let _ = std::fs::remove_dir_all(&data);
            environment.push(("COMANDA_DATA_DIR", data.display().to_string()));
            data.join("manager.token")
        } else {
            environment.push(("IDENTITY_KEY_FILE", self.keys()?));
            let machine = Machine { name: "bench", role: "service", channels: &[] };
            let made = Operator::of(&self.programs).make_token(&ground.database_url, &machine)?;
            let token = self.logs.join(format!("{}.token", ground.database));
            std::fs::write(&token, made)?;
            token
        };
        environment.extend_from_slice(further);
        let names: &[&'static str] = match shape {
            Shape::ApiOnly => &["api"],
            Shape::Separate => &["gateway-mock", "worker", "api"],
            Shape::Standalone => &["standalone"],
        };
        let (mut programs, mut metrics) = (Vec::new(), Vec::new());
        for name in names {
            let addr = free_addr()?;
            let own = [("METRICS_ADDR", addr.to_string())];
            programs.push(self.program(name, &[], &[&environment[..], &own[..]].concat())?);
            metrics.push(addr);
        }
        let connections = self.connections;
        Ok(Services { ground, api_addr, gateway_url, token_file, programs, metrics, connections })
    }

    /// One more api and one more worker over what `other` works on, without metrics.
    pub(super) fn beside(&self, other: &Services) -> Result<Services> {
        let (ground, gateway_url) = (other.ground.clone(), other.gateway_url.clone());
        let api_addr = free_addr()?;
        let mut environment = settings(&ground, api_addr, &gateway_url);
        environment.push(("METRICS_ADDR", "off".to_owned()));
        environment.push(("IDENTITY_KEY_FILE", self.keys()?));
        // Their logs stand beside those of the others.
        let logs = self.logs.join("beside");
        std::fs::create_dir_all(&logs)?;
        let start = |name| Program::start(name, &self.programs.join(name), &[], &environment, &logs);
        let programs = vec![start("worker")?, start("api")?];
        Ok(Services {
            ground,
            api_addr,
            gateway_url,
            token_file: other.token_file.clone(),
            programs,
            metrics: Vec::new(),
            connections: self.connections,
        })
    }
}

/// What api and worker need to find each other.
fn settings(ground: &Ground, api_addr: SocketAddr, gateway_url: &str) -> Vec<(&'static str, String)> {
    vec![
        ("DATABASE_URL", ground.database_url.clone()),
        ("AMQP_URL", ground.broker.amqp_url.clone()),
        ("AMQP_QUEUE", ground.broker.amqp_queue.clone()),
        ("API_ADDR", api_addr.to_string()),
        ("GATEWAY_URL", gateway_url.to_owned()),
    ]
}

fn rabbitmq(shared: &Mutex<RabbitMq>) -> MutexGuard<'_, RabbitMq> {
    // What panicked while it was ended or started is a server of ours all the same.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Services {
    /// Waits for whichever of them takes orders.
    pub(super) async fn until_ready(&mut self) -> Result<()> {
        for program in &mut self.programs {
            if matches!(program.name, "api" | "standalone") {
                program.until_ready(self.api_addr).await?;
            }
        }
        Ok(())
    }

    /// Orders that fill caches and let statements reach their lasting plans.
    pub(super) async fn warm_up(&mut self, shape: Shape) -> Result<()> {
        self.until_ready().await?;
        let stop = Stop::new();
        load(&self.plan(Pace::Closed, Some(WARM_UP), None)?, &stop).await.context("while warming up")?;
        if shape != Shape::ApiOnly {
            until_settled(&self.ground.database_url, WARM_UP_PATIENCE, &stop).await?;
        }
        let mut conn = connect(&self.ground.database_url).await?;
        conn.execute("VACUUM (ANALYZE)").await?;
        // The same distance to the last one for every run; the pages that it makes to be logged whole are few.
        conn.execute("CHECKPOINT").await?;
        Ok(conn.close().await?)
    }

    /// Orders for the api.
    pub(crate) fn plan(&self, pace: Pace, count: Option<u64>, time: Option<Duration>) -> Result<Plan> {
        Ok(Plan {
            addr: self.api_addr,
            connections: self.connections,
            tokens: Tokens::one(&self.token()?),
            pace,
            count,
            time,
            with_keys: false,
            on_fault: OnFault::Stop,
            accepted_log: None,
        })
    }

    /// Of somebody who may order for everybody.
    pub(crate) fn token(&self) -> Result<String> {
        let file = &self.token_file;
        let token =
            std::fs::read_to_string(file).with_context(|| format!("no token in {}", file.display()))?;
        Ok(token.trim().to_owned())
    }

    /// The processor time used up to now by all processes of the run.
    pub(super) fn usage(&self, stack: &Stack) -> Result<Usage> {
        let mut watched: Vec<Watched> = self.programs.iter().map(|one| (one.name, one.pid())).collect();
        watched.extend(stack.watched());
        Usage::now(&watched)
    }

    /// What the programs and the database have counted up to now.
    pub(super) async fn counts(&self) -> Result<Counts> {
        Counts::now(&self.ground.database_url, &self.metrics).await
    }

    /// Of a histogram of theirs, up to now.
    pub(super) async fn buckets(&self, name: &str) -> Result<Vec<(f64, f64)>> {
        traffic::buckets(&self.metrics, name).await
    }

    /// One more program, counted and stopped with the others.
    pub(super) fn take_in(&mut self, program: Program) {
        self.programs.push(program);
    }

    /// Of one of the programs.
    pub(super) fn pid_of(&self, name: &str) -> u32 {
        self.programs.iter().find(|program| program.name == name).map_or(0, Program::pid)
    }

    /// The memory of each process of the run.
    pub(crate) fn memory(&self, stack: &Stack) -> Vec<(String, Memory)> {
        let programs = self.programs.iter().map(|one| (one.name, one.pid()));
        // Not ours: all of them are our children, and nobody has a load generator in production.
        let servers = stack.watched().into_iter().filter(|(_, pid)| *pid != std::process::id());
        programs.chain(servers).map(|(name, pid)| (name.to_owned(), Memory::of(pid))).collect()
    }

    /// Stops the programs, the api first, and clears the ground.
    pub(crate) async fn stop(mut self, stack: &Stack) -> Result<()> {
        self.end().await?;
        stack.clear(&self.ground).await
    }

    /// Stops the programs, the api first, and leaves the ground to others.
    pub(super) async fn end(&mut self) -> Result<()> {
        while let Some(program) = self.programs.pop() {
            program.stop().await?;
        }
        Ok(())
    }
}
