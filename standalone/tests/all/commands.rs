//! What a program says when it cannot start: one line with the remedy. And what its commands do.

use std::os::unix::fs::PermissionsExt;

use anyhow::Result;
use testbed::TestDatabase;

use crate::program::Program;

/// Starts a program that must not start, and returns what it says.
async fn refusal(name: &'static str, settings: &[(&str, &str)]) -> Result<String> {
    let mut program = Program::start(name, settings)?;
    let status = program.ended().await?;
    assert!(!status.success());
    // Its last words may still be on their way through the pipe.
    testbed::until("it has said why", async || {
        let said = program.said();
        Ok((!said.is_empty()).then_some(said))
    })
    .await
}

fn is_one_line(said: &str) {
    let lines: Vec<_> =
        said.lines().filter(|line| !line.contains(" INFO ") && !line.contains(" WARN ")).collect();
    assert_eq!(lines.len(), 1, "{said}");
    assert!(
        !said.contains("panicked") && !said.contains("Stack backtrace") && !said.contains("Caused by"),
        "{said}"
    );
}

#[tokio::test]
async fn a_wrong_setting_is_named_in_one_line() -> Result<()> {
    let database = ("DATABASE_URL", "postgres://u:secret@127.0.0.1:1/x");
    let amqp = ("AMQP_URL", "amqp://127.0.0.1:1");
    for (name, settings, expected) in [
        ("api", vec![], "DATABASE_URL"),
        ("api", vec![("DATABASE_URL", "nonsense"), amqp, ("API_ADDR", "127.0.0.1:0")], "DATABASE_URL"),
        ("api", vec![database, amqp, ("API_ADDR", "here")], "'here'"),
        ("api", vec![database, amqp, ("API_ADDR", "127.0.0.1:0"), ("ISSUERS_FILE", "")], "IDENTITY_KEY_FILE"),
        (
            "api",
            vec![database, amqp, ("API_ADDR", "127.0.0.1:0"), ("IDENTITY_KEY_FILE", "/no/such")],
            "keys make",
        ),
        ("worker", vec![database, amqp, ("PAYMENT_RETRY_ATTEMPTS", "0")], "--payment-retry-attempts"),
        ("worker", vec![database, amqp, ("CIRCUIT_BREAKER_RECOVERY_SECONDS", "soon")], "a number of seconds"),
        ("worker", vec![database, amqp, ("LEASE_SECONDS", "6")], "LEASE_SECONDS=6"),
        ("worker", vec![database, amqp, ("LOG_LEVEL", "loud=quiet=x")], "LOG_LEVEL"),
        (
            "api",
            vec![database, amqp, ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://u:secret@here")],
            "OTEL_EXPORTER_OTLP_ENDPOINT is no URL",
        ),
        (
            "api",
            vec![database, ("AMQP_URL", "amqp://u:secret@elsewhere"), ("API_ADDR", "127.0.0.1:0")],
            "?tls=off",
        ),
        (
            "worker",
            vec![database, ("AMQP_URL", "amqp://u:secret@127.0.0.1,elsewhere")],
            "host 2 of AMQP_URL is not this machine",
        ),
        (
            "worker",
            vec![database, ("AMQP_URL", "amqps://u:secret@h?cacertfile=/no/such.pem")],
            "cacertfile /no/such.pem",
        ),
        (
            "worker",
            vec![database, ("AMQP_URL", "amqp://u:secret@127.0.0.1,h:port")],
            "host 2 of AMQP_URL is none",
        ),
        ("worker", vec![database, amqp, ("OTEL_TRACES_SAMPLER_ARG", "2")], "--traces-sampled-share"),
        ("gateway-mock", vec![("PAYMENT_MOCK_SUCCESS_RATE", "2")], "2"),
        ("gateway-mock", vec![("METRICS_ADDR", "nowhere")], "METRICS_ADDR=nowhere"),
    ] {
        let said = refusal(name, &settings).await?;
        is_one_line(&said);
        assert!(said.contains(expected), "{name} {settings:?}: {said}");
        assert!(!said.contains("secret"), "a password in {said}");
    }
    Ok(())
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_the_setting_to_change() -> Result<()> {
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let addr = taken.local_addr()?.to_string();
    for (name, setting) in [
        ("standalone", "API_ADDR"),
        ("standalone", "GATEWAY_MOCK_ADDR"),
        ("gateway-mock", "GATEWAY_MOCK_ADDR"),
    ] {
        let mut settings = vec![("API_ADDR", "127.0.0.1:0"), ("GATEWAY_MOCK_ADDR", "127.0.0.1:0")];
        settings.push((setting, &addr));
        let said = refusal(name, &settings).await?;
        is_one_line(&said);
        assert!(said.contains(&addr) && said.contains(setting), "{said}");
    }
    Ok(())
}

#[tokio::test]
async fn the_sample_lists_every_setting_with_its_default() -> Result<()> {
    let sample = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../.env.sample"))?;
    for name in ["api", "worker", "follower", "gateway-mock", "standalone"] {
        let help = Program::help(name).await?;
        let settings: Vec<_> = help.split("[env: ").skip(1).collect();
        assert!(settings.len() > 3, "{help}");
        for setting in settings {
            let name = setting.split(['=', ']']).next().unwrap();
            let default = setting.split("[default: ").nth(1).and_then(|rest| rest.split(']').next());
            // What follows may already be the next setting's.
            let default = default.filter(|_| setting.lines().take(3).any(|line| line.contains("[default: ")));
            let line = default.map_or(format!("#{name}="), |default| format!("{name}={default}"));
            assert!(sample.lines().any(|sampled| sampled == line), "{line:?} is not in .env.sample");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_token_goes_into_a_file_once_and_for_its_owner_alone() -> Result<()> {
    let (database, folder) = (TestDatabase::new().await?, tempfile::tempdir()?);
    let file = folder.path().join("till.token");
    let arguments = ["token", "till", "--channel", "dishdash", "--file", file.to_str().unwrap_or("")];
    let mut seen = Vec::new();
    for _ in 0..2 {
        let mut api = Program::asked("api", &arguments, &[("DATABASE_URL", database.url())])?;
        assert!(api.ended().await?.success(), "{}", api.said());
        seen.push(std::fs::read_to_string(&file)?);
        assert!(!api.said().contains("cmd_"), "{}", api.said());
    }
    assert!(seen[0].starts_with("cmd_") && seen[0] == seen[1], "the first one stays");
    assert_eq!(std::fs::metadata(&file)?.permissions().mode() & 0o777, 0o600);
    assert_eq!(service_tokens(&database).await?, 1);
    // A place where nothing can be put makes no token that nobody would ever know.
    let nowhere = ["token", "till", "--file", "/no/such/till.token"];
    let mut api = Program::asked("api", &nowhere, &[("DATABASE_URL", database.url())])?;
    assert!(!api.ended().await?.success());
    assert_eq!(service_tokens(&database).await?, 1);
    Ok(())
}

async fn service_tokens(database: &TestDatabase) -> Result<i64> {
    let count = sqlx::query_scalar("SELECT count(*) FROM service_tokens");
    Ok(count.fetch_one(&mut database.connect().await?).await?)
}
