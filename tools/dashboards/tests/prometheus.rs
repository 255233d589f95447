//! The proof: a real Prometheus with the repository's own configuration scrapes real programs, PostgreSQL's exporter
//! and RabbitMQ, while orders come in and the gateway misbehaves; then every panel's and every rule's expression
//! is asked. One that is wrong, or shows nothing, fails.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use runtime::metric_list;
use serde_json::{Value, json};
use servers::{Machine, Operator, Postgres, PostgresSettings, RabbitMq, RabbitMqSettings};
use sqlx::Connection;
use testbed::{Client, until};
use tokio::process::{Child, Command};

/// What Grafana puts in, narrowed to what this run lasts.
const WINDOWS: [(&str, &str); 2] = [("$__rate_interval", "20s"), ("$__range", "1m")];
/// How long everything may take to show: the facts that are looked at every half minute, and a window.
const PATIENCE: Duration = Duration::from_secs(90);

#[test]
#[ignore = "needs Prometheus and its exporter for PostgreSQL: make dashboards"]
fn every_panel_and_every_rule_shows_something() -> Result<()> {
    // Here and not on a thread of the runtime: they end with the thread that started them.
    let postgres = Postgres::start(&PostgresSettings::temporary())?;
    let rabbitmq_metrics = free_port()?;
    let rabbitmq = RabbitMq::start(&RabbitMqSettings {
        plugins: vec!["rabbitmq_prometheus".to_owned()],
        config: format!("prometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = {rabbitmq_metrics}"),
        ..RabbitMqSettings::temporary()
    })?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(prove(&postgres.url("comanda"), &rabbitmq.url(), rabbitmq_metrics))
}

async fn prove(database_url: &str, amqp_url: &str, rabbitmq_metrics: u16) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut house = House::start(directory.path(), database_url, amqp_url).await?;
    let mut targets = house.targets.clone();
    targets.push(("rabbitmq:15692", format!("127.0.0.1:{rabbitmq_metrics}")));
    let mut prometheus = Prometheus::start(directory.path(), &targets).await?;
    let client = house.client.clone();
    // Its channel is believed to have taken the money.
    sqlx::query("INSERT INTO channels (name, dialect, decimals, locations, secrets, updated_by) VALUES ('dishdash', 'plain', true, '{}', '{}', 'a test')")
        .execute(&mut sqlx::PgConnection::connect(database_url).await?)
        .await?;
    tokio::select! {
        load = load(&client) => load.context("the load ended")?,
        shown = all_is_shown(&prometheus) => shown?,
    }
    for program in &house.programs {
        program.shows_what_is_listed(&client.http).await?;
        ensure!(program.is_well().await?, "{} is well and says otherwise", program.name);
    }
    prometheus.child.kill().await?;
    house.stop().await
}

/// Asks until every expression has an answer, or patience ends.
async fn all_is_shown(prometheus: &Prometheus) -> Result<()> {
    let panels = panels()?;
    let rules = rules(prometheus).await?;
    let asked: BTreeSet<(&str, &str)> = panels
        .iter()
        .chain(&rules)
        .map(|(place, expression)| (place.as_str(), expression.as_str()))
        .collect();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let mut missing = Vec::new();
        for (place, expression) in &asked {
            match prometheus.ask(expression).await {
                Ok(0) => missing.push(format!("{place}: nothing for {expression}")),
                Ok(_) => {}
                Err(error) => missing.push(format!("{place}: {error:#} for {expression}")),
            }
        }
        if missing.is_empty() {
            println!("{} expressions of panels and {} of rules, all with data", panels.len(), rules.len());
            return Ok(());
        }
        if tokio::time::Instant::now() >= deadline {
            bail!("{} of {} expressions:\n{}", missing.len(), asked.len(), missing.join("\n"));
        }
    }
}

/// Where each panel's expressions stand, and what they are, from the files that Grafana is given.
fn panels() -> Result<Vec<(String, String)>> {
    let mut panels = Vec::new();
    for entry in std::fs::read_dir(dashboards::root().join("grafana/dashboards"))? {
        let board: Value = serde_json::from_str(&std::fs::read_to_string(entry?.path())?)?;
        for panel in board["panels"].as_array().context("a dashboard has panels")? {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let mut expression =
                    target["expr"].as_str().context("a target has an expression")?.to_owned();
                for (variable, window) in WINDOWS {
                    expression = expression.replace(variable, window);
                }
                panels.push((format!("{}, {}", board["title"], panel["title"]), expression));
            }
        }
    }
    ensure!(panels.len() > 50, "only {} expressions", panels.len());
    Ok(panels)
}

/// What each rule looks at: its expression without the comparison, which holds only while something is wrong.
async fn rules(prometheus: &Prometheus) -> Result<Vec<(String, String)>> {
    let answer = prometheus.get("/api/v1/rules").await?;
    let mut looked_at = Vec::new();
    for rule in answer["data"]["groups"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|group| group["rules"].as_array().into_iter().flatten())
    {
        let (name, health) = (rule["name"].as_str().unwrap_or(""), rule["health"].as_str().unwrap_or(""));
        ensure!(health == "ok", "rule {name}: {health}, {}", rule["lastError"]);
        for part in rule["query"].as_str().context("a rule has a query")?.split(" and ") {
            let quantity = [" > ", " < ", " == "].iter().find_map(|comparison| part.rsplit_once(comparison));
            let (quantity, limit) =
                quantity.with_context(|| format!("rule {name} compares nothing: {part}"))?;
            ensure!(limit.trim().parse::<f64>().is_ok(), "rule {name} compares with {limit}");
            looked_at.push((format!("rule {name}"), quantity.to_owned()));
        }
    }
    ensure!(looked_at.len() >= 16, "only {} rules", looked_at.len());
    Ok(looked_at)
}

/// Orders, reads and repeated orders for ever, while the gateway goes from one fault to the next.
async fn load(client: &Client) -> Result<()> {
    let phases = [
        json!({"success_rate": 0.8, "latency_min_ms": 5, "latency_max_ms": 30}),
        json!({"error_rate": 0.2, "error_after_rate": 0.1, "malformed_rate": 0.1, "too_many_rate": 0.02, "timeout_ms": 1_500}),
        json!({"error_rate": 0.6, "timeout_after_rate": 0.05}),
        json!({"down": true}),
    ];
    for round in 0.. {
        client.no_faults().await?;
        client.faults(phases[round % phases.len()].clone()).await?;
        for step in 0..10 {
            for (place, id) in client.orders(6, 3).await?.into_iter().enumerate() {
                client.read(id).await?;
                // Refused now and then: the order is where it is.
                let verb = if place % 2 == 0 { "cancel" } else { "accept" };
                client.http.post(format!("{}/api/v1/orders/{id}/{verb}", client.api)).send().await?;
            }
            let taken = channel_order(&format!("{round}-{step}"));
            client
                .http
                .post(format!("{}/api/v1/channels/dishdash/orders?paid=true", client.api))
                .json(&taken)
                .send()
                .await?;
            client.get("/api/v1/orders?page_size=5").await?;
            let again = client.http.post(format!("{}/api/v1/orders", client.api)).json(&Client::an_order());
            again.header("Idempotency-Key", format!("{round}-{}", step / 2)).send().await?;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    Ok(())
}

/// What an aggregator sends.
fn channel_order(id: &str) -> Value {
    json!({"_id": id, "account": "acc-7", "channelOrderId": id,
        "items": [{"name": "Burger", "plu": "P-BURG", "quantity": 2, "price": 12.99}]})
}

/// Two of each program of ours (of the gateway one), and PostgreSQL's exporter.
struct House {
    programs: Vec<Program>,
    exporter: Child,
    client: Client,
    /// As prometheus.yml names it, and where it is here.
    targets: Vec<(&'static str, String)>,
}

impl House {
    async fn start(logs: &Path, database_url: &str, amqp_url: &str) -> Result<Self> {
        let gateway = address()?;
        let gateway_url = format!("http://{gateway}");
        let orders = [
            ("DATABASE_URL", database_url),
            ("AMQP_URL", amqp_url),
            ("GATEWAY_URL", &gateway_url),
            ("GATEWAY_TIMEOUT_SECONDS", "1"),
            ("LEASE_SECONDS", "3"),
            ("PAYMENT_RETRY_INITIAL_SECONDS", "0.2"),
            ("CIRCUIT_BREAKER_RECOVERY_SECONDS", "1"),
        ];
        let mut programs = vec![Program::start(
            logs,
            "gateway-mock",
            "gateway-mock:9103",
            &[("GATEWAY_MOCK_ADDR", &gateway)],
        )?];
        let (operator, keys) = (Operator::of(&programs_lie_in()?), logs.join("identity.keys"));
        operator.make_keys(&keys)?;
        let keys = keys.display().to_string();
        let mut api = String::new();
        for target in ["api-1:9101", "api-2:9101"] {
            api = address()?;
            let mut settings = orders.to_vec();
            settings.push(("API_ADDR", &api));
            settings.push(("IDENTITY_KEY_FILE", &keys));
            programs.push(Program::start(logs, "api", target, &settings)?);
        }
        for target in ["worker-1:9102", "worker-2:9102"] {
            programs.push(Program::start(logs, "worker", target, &orders)?);
        }
        let (secrets, mail) = (testbed::people::secrets()?, logs.join("mail").display().to_string());
        programs.push(Program::start(
            logs,
            "follower",
            "follower-1:9104",
            &[
                ("DATABASE_URL", database_url),
                ("SECRETS_KEY_FILE", &secrets.to_string_lossy()),
                ("MAIL_FOLDER", &mail),
                ("MAIL_FROM", "Comanda <orders@house.example>"),
                ("PUBLIC_URL", "http://127.0.0.1:1"),
            ],
        )?);
        for program in &programs {
            until(&format!("{} is well", program.name), async || Ok(program.is_well().await?.then_some(())))
                .await?;
        }
        // It lives before it takes orders.
        let client = Client::new(format!("http://{api}"), gateway_url)?;
        until("orders are taken", async || {
            Ok((client.get("/ready").await?["database"] == "up").then_some(()))
        })
        .await?;
        let exported = address()?;
        let exporter = exporter()
            .arg(format!("--web.listen-address={exported}"))
            .env("DATA_SOURCE_NAME", format!("{database_url}?sslmode=disable"))
            .stdin(Stdio::null())
            .stdout(log(logs, "exporter")?)
            .stderr(log(logs, "exporter")?)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the exporter for PostgreSQL: make dashboards installs it")?;
        let mut targets: Vec<_> =
            programs.iter().map(|program| (program.target, program.metrics.clone())).collect();
        targets.push(("postgres-exporter:9187", exported));
        // For orders, for those of channels, and for the kitchen.
        let machine = Machine { name: "load", role: "manager", channels: &[] };
        let token = operator.make_token(database_url, &machine)?;
        let client = client.with_token(&token)?;
        Ok(Self { programs, exporter, client, targets })
    }

    /// Stops all; what is stopped no longer says that it is well.
    async fn stop(&mut self) -> Result<()> {
        for program in &mut self.programs {
            program.child.kill().await?;
            ensure!(!program.is_well().await?, "{} has ended and says that it is well", program.name);
        }
        Ok(self.exporter.kill().await?)
    }
}

/// PostgreSQL's exporter, as Debian calls it or as its makers do.
fn exporter() -> Command {
    let debian = Path::new("/usr/bin/prometheus-postgres-exporter");
    Command::new(if debian.exists() { debian } else { Path::new("postgres_exporter") })
}

/// Beside the directory of the tests' programs.
fn programs_lie_in() -> Result<PathBuf> {
    let tests = std::env::current_exe()?;
    let directory = tests.parent().and_then(Path::parent).context("this program lies somewhere")?;
    Ok(directory.to_owned())
}

/// A program of ours; killed when dropped.
struct Program {
    name: &'static str,
    target: &'static str,
    metrics: String,
    settings: Vec<(String, String)>,
    child: Child,
}

impl Program {
    fn start(
        logs: &Path,
        name: &'static str,
        target: &'static str,
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        let metrics = address()?;
        let mut settings: Vec<(String, String)> =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        settings.push(("METRICS_ADDR".to_owned(), metrics.clone()));
        let child = Self::command(name, &settings)?
            .stdout(log(logs, target)?)
            .stderr(log(logs, target)?)
            .spawn()
            .with_context(|| format!("cannot start {name}: make dashboards builds it"))?;
        Ok(Self { name, target, metrics, settings, child })
    }

    fn command(name: &str, settings: &[(String, String)]) -> Result<Command> {
        let mut command = Command::new(programs_lie_in()?.join(name));
        command.env_clear().envs(settings.iter().cloned()).stdin(Stdio::null()).kill_on_drop(true);
        Ok(command)
    }

    /// What a container's health check asks.
    async fn is_well(&self) -> Result<bool> {
        let mut command = Self::command(self.name, &self.settings)?;
        Ok(command.arg("--health").stdout(Stdio::null()).stderr(Stdio::null()).status().await?.success())
    }

    async fn shows_what_is_listed(&self, http: &reqwest::Client) -> Result<()> {
        let page = http.get(format!("http://{}/metrics", self.metrics)).send().await?.text().await?;
        let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
        let shown: BTreeSet<&str> = types.collect();
        let listed: BTreeSet<&str> = metric_list::ALL
            .iter()
            .filter(|metric| metric.programs.contains(&self.name))
            .map(|metric| metric.name)
            .collect();
        // The api that gets no requests has no request to show, and no move; a worker that gave nothing back knows no
        // currency of it.
        let when_used = ["http_request_seconds", "move_commit_seconds", "settle_refunded_minor_total"];
        let unlisted: Vec<_> = shown.difference(&listed).collect();
        let missing: Vec<_> = listed.difference(&shown).filter(|name| !when_used.contains(name)).collect();
        ensure!(
            unlisted.is_empty() && missing.is_empty(),
            "{}: not listed {unlisted:?}, missing {missing:?}",
            self.target
        );
        Ok(())
    }
}

/// A Prometheus with the repository's configuration, but for the targets' addresses and the pace.
struct Prometheus {
    child: Child,
    url: String,
    http: reqwest::Client,
}

impl Prometheus {
    async fn start(directory: &Path, targets: &[(&'static str, String)]) -> Result<Self> {
        let ours = dashboards::root().join("prometheus");
        let mut config = std::fs::read_to_string(ours.join("prometheus.yml"))?;
        for (name, address) in targets {
            ensure!(config.contains(name), "prometheus.yml does not scrape {name}");
            config = config.replace(name, address);
        }
        for (slow, quick) in [
            ("scrape_interval: 5s", "scrape_interval: 1s"),
            ("scrape_timeout: 4s", "scrape_timeout: 1s"),
            ("evaluation_interval: 10s", "evaluation_interval: 1s"),
        ] {
            ensure!(config.contains(slow), "prometheus.yml has no {slow}");
            config = config.replace(slow, quick);
        }
        std::fs::write(directory.join("prometheus.yml"), config)?;
        std::fs::copy(ours.join("rules.yml"), directory.join("rules.yml"))?;
        let address = address()?;
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", directory.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", directory.join("prometheus").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(log(directory, "prometheus")?)
            .stderr(log(directory, "prometheus")?)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start prometheus: make dashboards installs it")?;
        let http = Client::new("", "")?.http;
        let prometheus = Self { child, url: format!("http://{address}"), http };
        let expected = targets.len() + 1; // RabbitMQ's two pages
        until("Prometheus reaches everything and has looked at each rule", async || {
            let up = prometheus.ask("up == 1").await.unwrap_or(0);
            let rules = prometheus.get("/api/v1/rules").await.unwrap_or_default().to_string();
            let looked = !rules.contains(r#""health":"unknown""#);
            Ok((up == expected && looked).then_some(()))
        })
        .await?;
        Ok(prometheus)
    }

    async fn get(&self, path: &str) -> Result<Value> {
        Ok(self.http.get(format!("{}{path}", self.url)).send().await?.json().await?)
    }

    /// How many series answer with a number.
    async fn ask(&self, expression: &str) -> Result<usize> {
        let answer = self.get(&format!("/api/v1/query?query={}", encoded(expression))).await?;
        ensure!(answer["status"] == "success", "{}", answer["error"]);
        let series = answer["data"]["result"].as_array().context("an expression has series")?;
        let number = |series: &&Value| {
            series["value"][1]
                .as_str()
                .and_then(|value| value.parse::<f64>().ok())
                .is_some_and(f64::is_finite)
        };
        Ok(series.iter().filter(number).count())
    }
}

/// For a URL's query.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            },
        )
        .collect()
}

fn log(directory: &Path, name: &str) -> Result<Stdio> {
    let path: PathBuf = directory.join(format!("{}.log", name.replace(':', "-")));
    Ok(std::fs::File::options().create(true).append(true).open(path)?.into())
}

fn address() -> Result<String> {
    Ok(format!("127.0.0.1:{}", free_port()?))
}

/// Free a moment ago; whoever takes it meanwhile makes this test fail, not pass.
fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
