//! The programs of a run: two apis, two workers, two followers and a gateway, with a proxy on every way from one of them to a server.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use servers::{Machine, Operator};
use tokio::sync::Mutex;

use crate::document::CHANNEL;
use crate::ground::Ground;
use crate::program::Program;
use crate::proxy::Proxy;
use crate::settings::Settings;

/// Of each there are so many: the fewest that can take over from each other.
pub const APIS: usize = 2;
/// As above.
pub const WORKERS: usize = 2;
/// As above.
pub const FOLLOWERS: usize = 2;
/// Ways that can be broken: each program to both servers, and each worker to the gateway.
pub const EDGES: usize = APIS * 2 + WORKERS * 3 + FOLLOWERS * 2;

/// Below the ports that systems give to outgoing connections (a client that calls a closed port of that range can be
/// connected to itself), and outside those that `servers` uses.
const PORTS: std::ops::Range<u16> = 15_000..25_000;
/// With a tenth of the ports free, not finding one in as many tries has a chance of one in a thousand million.
const PORT_TRIES: usize = 200;
/// What webhooks' secrets are sealed with lies beside the other keys.
const SECRETS: &str = "secrets";
/// Until all programs are up: debug binaries on a busy machine take seconds.
const READY_WITHIN: Duration = Duration::from_secs(40);

/// Something that can be struck, by one fault at a time: whoever holds the lock.
pub type Lane<T> = Arc<Mutex<T>>;

/// All programs and the ways between them and the servers.
#[derive(Debug)]
pub struct Fleet {
    /// `api-1`, `api-2`.
    pub apis: Vec<Lane<Program>>,
    /// `worker-1`, `worker-2`.
    pub workers: Vec<Lane<Program>>,
    /// `follower-1`, `follower-2`.
    pub followers: Vec<Lane<Program>>,
    /// The gateway.
    pub gateway: Lane<Program>,
    /// Each [`EDGES`] way.
    pub edges: Vec<Lane<Edge>>,
    /// The ways to the gateway, once more, to close them while it is dead.
    pub to_gateway: Vec<Arc<Proxy>>,
    /// Where the apis listen.
    pub api_addrs: Vec<SocketAddr>,
    /// Where the gateway really listens, past the proxies.
    pub gateway_url: String,
    /// What the gateway was asked.
    pub access_log: PathBuf,
    /// How we reach the database, past the proxies.
    pub database_url: String,
    /// The exchange that followers tell.
    pub exchange: String,
    /// Who is let in by the apis.
    pub tokens: Tokens,
}

/// What those show who ask: made for this fleet, for an api lets in nobody without.
#[derive(Debug, Clone, Default)]
pub struct Tokens {
    /// Of a machine that orders, and does all else that customers do.
    pub customers: String,
    /// Of the kitchen.
    pub kitchen: String,
    /// Of whoever runs the place.
    pub manager: String,
}

impl Tokens {
    async fn make(bin_dir: &Path, keys: &Path, database_url: &str) -> Result<Self> {
        let (operator, keys, url) = (Operator::of(bin_dir), keys.to_owned(), database_url.to_owned());
        let make = move || {
            operator.make_keys(&keys)?;
            operator.make_secrets(&keys.with_extension(SECRETS))?;
            let token = |name, role, channels| operator.make_token(&url, &Machine { name, role, channels });
            let customers = token("customers", "service", &[CHANNEL])?;
            let (kitchen, manager) = (token("kitchen", "staff", &[])?, token("manager", "manager", &[])?);
            Ok(Self { customers, kitchen, manager })
        };
        tokio::task::spawn_blocking(make).await?
    }
}

/// A way from a program to a server.
#[derive(Debug)]
pub struct Edge {
    /// `worker-1 to gateway`.
    pub name: String,
    /// What breaks it.
    pub proxy: Arc<Proxy>,
}

/// How to start a fleet.
#[derive(Debug, Clone)]
pub struct Plan<'a> {
    /// Where the programs are.
    pub bin_dir: &'a Path,
    /// Where their logs go.
    pub logs: &'a Path,
    /// What they are told.
    pub settings: &'a Settings,
    /// Further variables for apis, workers and followers.
    pub extra: Vec<(String, String)>,
    /// The same for the first of each.
    pub first: Vec<(String, String)>,
    /// How many of each.
    pub apis: usize,
    /// As above.
    pub workers: usize,
    /// As above.
    pub followers: usize,
}

impl Plan<'_> {
    /// An api or a worker; what comes extra, comes last and wins.
    fn program(&self, program: &str, number: usize, environment: &[(&str, String)]) -> Program {
        let name = format!("{program}-{number}");
        let first = if number == 1 { &self.first[..] } else { &[] };
        let mut program = Program::new(&name, &self.bin_dir.join(program), environment, self.logs);
        self.extra.iter().chain(first).for_each(|(name, value)| program.set(name, value));
        program
    }
}

impl Fleet {
    /// Starts all of it, and waits until every api is ready.
    pub async fn start(plan: &Plan<'_>, ground: &Ground) -> Result<Self> {
        let gateway_addr = free_addr()?;
        let access_log = plan.logs.join("gateway.access");
        let mut environment = plan.settings.of_gateway();
        environment.extend([
            ("GATEWAY_MOCK_ADDR", gateway_addr.to_string()),
            ("GATEWAY_MOCK_JOURNAL", plan.logs.join("gateway.journal").display().to_string()),
            ("GATEWAY_MOCK_ACCESS_LOG", access_log.display().to_string()),
            ("METRICS_ADDR", "off".to_owned()),
        ]);
        // Who is believed to have taken money.
        sqlx::query(
            "INSERT INTO channels (name, dialect, decimals, locations, secrets, updated_by)
             VALUES ($1, 'plain', true, '{}', '{}', 'chaos') ON CONFLICT DO NOTHING",
        )
        .bind(CHANNEL)
        .execute(&mut ground.connect().await?)
        .await?;
        let keys = plan.logs.join("identity.keys");
        let gateway = Program::new("gateway", &plan.bin_dir.join("gateway-mock"), &environment, plan.logs);
        let mut fleet = Self {
            apis: Vec::new(),
            workers: Vec::new(),
            followers: Vec::new(),
            gateway: Arc::new(Mutex::new(gateway)),
            edges: Vec::new(),
            to_gateway: Vec::new(),
            api_addrs: Vec::new(),
            gateway_url: format!("http://{gateway_addr}"),
            access_log,
            database_url: ground.database_url.clone(),
            exchange: format!("events.{}", ground.broker.amqp_queue),
            tokens: Tokens::make(plan.bin_dir, &keys, &ground.database_url).await?,
        };
        for number in 1..=plan.apis {
            fleet.add_api(plan, ground, number, &keys).await?;
        }
        for number in 1..=plan.workers {
            fleet.add_worker(plan, ground, number, gateway_addr).await?;
        }
        for number in 1..=plan.followers {
            fleet.add_follower(plan, ground, number, &keys)?;
        }
        for program in fleet.programs() {
            program.lock().await.start()?;
        }
        fleet.until_ready().await?;
        Ok(fleet)
    }

    /// Every program: those whose work flows first come first.
    pub fn programs(&self) -> impl Iterator<Item = &Lane<Program>> {
        self.of_the_house().chain([&self.gateway])
    }

    /// All but the gateway.
    pub fn of_the_house(&self) -> impl Iterator<Item = &Lane<Program>> {
        self.apis.iter().chain(&self.workers).chain(&self.followers)
    }

    fn add_follower(&mut self, plan: &Plan<'_>, ground: &Ground, number: usize, keys: &Path) -> Result<()> {
        let mut environment = plan.settings.of_follower();
        environment.extend(self.ways_to_servers(&format!("follower-{number}"), ground)?);
        environment.push(("SECRETS_KEY_FILE", keys.with_extension(SECRETS).display().to_string()));
        environment.push(("EVENTS_EXCHANGE", self.exchange.clone()));
        let amqp_url = environment.iter().find(|(name, _)| *name == "AMQP_URL").map(|(_, url)| url.clone());
        environment.push(("EVENTS_AMQP_URL", amqp_url.context("no way to the broker")?));
        let program = plan.program("follower", number, &environment);
        self.followers.push(Arc::new(Mutex::new(program)));
        Ok(())
    }

    async fn add_api(&mut self, plan: &Plan<'_>, ground: &Ground, number: usize, keys: &Path) -> Result<()> {
        let name = format!("api-{number}");
        let addr = free_addr()?;
        let mut environment = plan.settings.of_api();
        environment.push(("API_ADDR", addr.to_string()));
        environment.push(("IDENTITY_KEY_FILE", keys.display().to_string()));
        environment.push(("SECRETS_KEY_FILE", keys.with_extension(SECRETS).display().to_string()));
        environment.extend(self.ways_to_servers(&name, ground)?);
        let program = plan.program("api", number, &environment);
        self.apis.push(Arc::new(Mutex::new(program)));
        self.api_addrs.push(addr);
        Ok(())
    }

    async fn add_worker(
        &mut self,
        plan: &Plan<'_>,
        ground: &Ground,
        number: usize,
        gateway: SocketAddr,
    ) -> Result<()> {
        let name = format!("worker-{number}");
        let mut environment = plan.settings.of_worker();
        environment.extend(self.ways_to_servers(&name, ground)?);
        let way = self.way(format!("{name} to gateway"), gateway)?;
        environment.push(("GATEWAY_URL", format!("http://{}", way.addr())));
        self.to_gateway.push(way);
        let program = plan.program("worker", number, &environment);
        self.workers.push(Arc::new(Mutex::new(program)));
        Ok(())
    }

    /// A proxy for each server, and the variables that lead through them.
    fn ways_to_servers(&mut self, name: &str, ground: &Ground) -> Result<Vec<(&'static str, String)>> {
        let mut database_url = ground.database_url.clone();
        for (place, server) in ground.postgres_addrs.iter().enumerate() {
            let which = if place == 0 { "postgres" } else { "the other postgres" };
            let way = self.way(format!("{name} to {which}"), *server)?.addr();
            database_url = database_url.replacen(&server.to_string(), &way.to_string(), 1);
        }
        let broker = self.way(format!("{name} to rabbitmq"), ground.rabbitmq_addr)?.addr();
        let amqp_url =
            ground.broker.amqp_url.replacen(&ground.rabbitmq_addr.to_string(), &broker.to_string(), 1);
        Ok(vec![
            ("DATABASE_URL", database_url),
            ("AMQP_URL", amqp_url),
            ("AMQP_QUEUE", ground.broker.amqp_queue.clone()),
            ("METRICS_ADDR", "off".to_owned()),
        ])
    }

    fn way(&mut self, name: String, to: SocketAddr) -> Result<Arc<Proxy>> {
        let proxy = Arc::new(Proxy::start(free_addr()?, to)?);
        self.edges.push(Arc::new(Mutex::new(Edge { name, proxy: Arc::clone(&proxy) })));
        Ok(proxy)
    }

    async fn until_ready(&self) -> Result<()> {
        let http = http()?;
        let started = Instant::now();
        let mut urls: Vec<String> =
            self.api_addrs.iter().map(|addr| format!("http://{addr}/ready")).collect();
        urls.push(format!("{}/health", self.gateway_url));
        for url in urls {
            while !http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                for program in self.programs() {
                    let mut program = program.lock().await;
                    if let Some(ended) = program.ended()? {
                        bail!("{} ended with {}:\n{}", program.name(), ended.status, program.last_words());
                    }
                }
                ensure!(started.elapsed() < READY_WITHIN, "{url} is not ready after {READY_WITHIN:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }
}

/// A client of the apis and the gateway: no proxy, no certificates, nothing of the machine's environment.
pub fn http() -> Result<reqwest::Client> {
    // Twice is an error and no harm.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().tls_certs_only([]).no_proxy().build().context("no HTTP client")
}

/// An address on which nobody listens, and which outlives restarts of whoever will.
pub fn free_addr() -> Result<SocketAddr> {
    for _ in 0..PORT_TRIES {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, rand::random_range(PORTS)));
        if TcpListener::bind(addr).is_ok() {
            return Ok(addr);
        }
    }
    bail!("no free port on 127.0.0.1 between {} and {}", PORTS.start, PORTS.end)
}
