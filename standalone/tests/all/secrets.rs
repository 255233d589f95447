//! Secrets are in no output, whatever a program is asked and however much it logs; and who may ask for what is the operators'.

use std::io::Write;

use anyhow::{Context, Result};
use runtime::config::BrokerConfig;
use testbed::{TestDatabase, TestQueue};

use crate::program::{Program, client};

/// What must be seen nowhere.
const SECRET: &str = "hunter2";

#[tokio::test]
async fn no_help_shows_what_the_environment_hides() -> Result<()> {
    let urls = [
        ("DATABASE_URL", format!("postgres://u:{SECRET}@db/x")),
        ("DATABASE_READ_URL", format!("postgres://u:{SECRET}@db/x")),
        ("AMQP_URL", format!("amqp://u:{SECRET}@mq")),
        ("GATEWAY_URL", format!("https://u:{SECRET}@gateway")),
        ("GATEWAY_TOKEN", SECRET.to_owned()),
        ("GATEWAY_MOCK_TOKEN", SECRET.to_owned()),
        ("SMTP_URL", format!("smtps://u:{SECRET}@mail")),
        ("EVENTS_AMQP_URL", format!("amqps://u:{SECRET}@mq")),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("https://u:{SECRET}@collector")),
        ("OTEL_EXPORTER_OTLP_HEADERS", format!("key={SECRET}")),
    ];
    let settings: Vec<_> = urls.iter().map(|(name, url)| (*name, &**url)).collect();
    for args in [
        &["api", "--help"][..],
        &["api", "migrate", "--help"],
        &["api", "admin", "--help"],
        &["api", "token", "--help"],
        &["api", "keys", "--help"],
        &["worker", "--help"],
        &["worker", "migrate", "--help"],
        &["follower", "--help"],
        &["follower", "migrate", "--help"],
        &["gateway-mock", "--help"],
        &["standalone", "--help"],
        &["standalone", "migrate", "--help"],
    ] {
        let mut program = Program::asked(name(args[0]), &args[1..], &settings)?;
        assert!(program.ended().await?.success(), "{args:?}");
        let said = testbed::until("it has explained itself", async || {
            let said = program.said();
            Ok(said.contains("--help").then_some(said))
        })
        .await?;
        assert!(!said.contains(SECRET), "{args:?}: {said}");
    }
    Ok(())
}

/// The same word, for as long as the program lives.
fn name(name: &str) -> &'static str {
    ["api", "worker", "follower", "gateway-mock", "standalone"]
        .into_iter()
        .find(|known| *known == name)
        .unwrap_or("api")
}

/// The password in a URL.
fn password(url: &str) -> Result<String> {
    let (_, rest) = url.split_once("://").context("a URL")?;
    let (user, _) = rest.split_once('@').context("a user")?;
    Ok(user.split_once(':').context("a password")?.1.to_owned())
}

/// With a password from a file, which is in no environment either.
#[tokio::test(flavor = "multi_thread")]
async fn no_log_shows_a_password() -> Result<()> {
    let (database, queue) = (TestDatabase::new().await?, TestQueue::new()?);
    let (of_database, of_broker) = (password(database.url())?, password(&queue.config().amqp_url)?);
    let mut file = tempfile::NamedTempFile::new()?;
    writeln!(file, "{of_database}")?;
    let file = file.path().display().to_string();
    let without = database.url().replacen(&format!(":{of_database}@"), "@", 1);
    let data = tempfile::tempdir()?;
    let data = data.path().display().to_string();
    let settings = [
        ("DATABASE_URL", &*without),
        ("DATABASE_READ_URL", &*without),
        ("DATABASE_PASSWORD_FILE", &file),
        ("AMQP_URL", &queue.config().amqp_url),
        ("AMQP_QUEUE", &queue.config().amqp_queue),
        ("GATEWAY_URL", "http://127.0.0.1:1"),
        ("GATEWAY_TOKEN", SECRET),
        ("API_ADDR", "127.0.0.1:0"),
        ("GATEWAY_MOCK_ADDR", "127.0.0.1:0"),
        ("COMANDA_DATA_DIR", &data),
        ("LOG_LEVEL", "debug,sqlx=trace,store=trace,rustls=trace"),
    ];
    for (program, well) in
        [("api", "accepting orders at "), ("worker", "working"), ("standalone", "Comanda is up")]
    {
        let mut program = Program::start(name(program), &settings)?;
        program.says(well).await?;
        program.says("database_connections=").await?;
        let said = program.said();
        for secret in [&*of_database, &*of_broker, SECRET] {
            assert!(!said.contains(secret), "{said}");
        }
        program.stop().await?;
    }
    let mut migrate = Program::asked("api", &["migrate"], &settings[..3])?;
    assert!(migrate.ended().await?.success(), "{}", migrate.said());
    queue.delete().await
}

/// Whoever scrapes the metrics from another machine, or another container, reaches no internal endpoint there.
#[tokio::test(flavor = "multi_thread")]
async fn metrics_for_others_come_without_internal_endpoints() -> Result<()> {
    let (database, queue) = (TestDatabase::new().await?, TestQueue::new()?);
    let http = client("", "")?.http;
    let status = async |addr: &str, path: &str| -> Result<u16> {
        Ok(http.get(format!("http://{addr}{path}")).send().await?.status().as_u16())
    };
    let own = [
        ("DATABASE_URL", database.url()),
        ("AMQP_URL", &queue.config().amqp_url),
        ("AMQP_QUEUE", &queue.config().amqp_queue),
        ("API_ADDR", "127.0.0.1:0"),
    ];
    const REFUNDS: &str = "/internal/refunds";
    for (metrics, internal, beside) in [
        ("127.0.0.1:0", None, 200),
        ("0.0.0.0:0", None, 404),
        ("127.0.0.1:0", Some(("INTERNAL_ADDR", "127.0.0.1:0")), 404),
        ("0.0.0.0:0", Some(("INTERNAL_ADDR", "127.0.0.1:0")), 404),
    ] {
        let mut settings = own.to_vec();
        settings.push(("METRICS_ADDR", metrics));
        settings.extend(internal);
        let mut api = Program::start("api", &settings)?;
        let addr =
            api.says("metrics at http://").await?.replace("/metrics", "").replace("0.0.0.0", "127.0.0.1");
        assert_eq!(status(&addr, "/metrics").await?, 200);
        assert_eq!(status(&addr, REFUNDS).await?, beside, "{metrics} {internal:?}");
        if internal.is_some() {
            let addr = api.says("internal endpoints at http://").await?.replace("/internal", "");
            assert_eq!(status(&addr, REFUNDS).await?, 200);
            assert_eq!(status(&addr, "/metrics").await?, 404);
        }
        // Who is told to stop before it works is gone at once.
        api.says("accepting orders at ").await?;
        api.stop().await?;
    }
    queue.delete().await
}

/// Its containers are other machines to each other, and speak in the clear because it says so.
#[test]
fn compose_names_servers_that_the_programs_take() -> Result<()> {
    let compose = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docker-compose.yml"))?;
    let said = |name: &str| -> Result<String> {
        let line = compose.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(": "));
        let (before, rest) = line.context("it is set")?.split_once("${").context("a password")?;
        let (_, after) = rest.split_once('}').context("its end")?;
        Ok(format!("{before}{SECRET}{after}"))
    };
    let host = store::hosts::hosts(&said("DATABASE_URL")?)?.remove(0);
    assert_eq!(format!("{:?}", host.get_ssl_mode()), "Disable");
    let amqp = BrokerConfig { amqp_url: said("AMQP_URL")?, amqp_queue: "x".to_owned() };
    broker::amqp::Amqp::new(&amqp, "test")?;
    assert!(compose.contains("INTERNAL_ADDR: 127.0.0.1:"), "internal endpoints are within the container");
    Ok(())
}
