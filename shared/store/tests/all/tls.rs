//! Who PostgreSQL is: proven by its certificate, before it gets a password.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use servers::{Postgres, PostgresSettings};
use sqlx::PgConnection;
use store::Database;
use testbed::{Authority, TestDatabase};

/// What is wrong for good is told well before it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that shows a certificate for these names.
async fn server(authority: &Authority, names: &[&str]) -> Result<Postgres> {
    let settings = PostgresSettings { tls: Some(authority.certify(names)?), ..PostgresSettings::temporary() };
    tokio::task::spawn_blocking(move || Postgres::start(&settings)).await?
}

fn verified(server: &Postgres, authority: &Path) -> String {
    format!("{}?sslmode=verify-full&sslrootcert={}", server.url("comanda"), authority.display())
}

/// What a program says that is not to start, in one line and at once.
async fn refusal(url: &str) -> Result<String> {
    let begun = Instant::now();
    let error = Database::new(url, "test")?.prepare(PATIENCE).await.err().context("it was taken")?;
    assert!(begun.elapsed() < PATIENCE / 2, "{error:#} after {:?}", begun.elapsed());
    let said = format!("{error:#}");
    assert!(said.starts_with("DATABASE_URL: ") && !said.contains('\n'), "{said}");
    let password = url.split(['@', ':']).nth(2).context("a password")?;
    assert!(!said.contains(password), "{said}");
    Ok(said)
}

async fn is_encrypted(conn: &mut PgConnection) -> Result<bool> {
    let asked = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    Ok(sqlx::query_scalar(asked).fetch_one(conn).await?)
}

#[tokio::test]
async fn a_server_has_to_be_the_one_that_the_url_names() -> Result<()> {
    let (own, foreign) = (Authority::new()?, Authority::new()?);
    let server = server(&own, &["127.0.0.1"]).await?;

    let url = verified(&server, own.file());
    let database = Database::new(&url, "test")?;
    database.prepare(PATIENCE).await?;
    assert!(is_encrypted(&mut database.connect().await?).await?);

    for (what, url) in [
        ("another authority", verified(&server, foreign.file())),
        ("the machine's authorities", format!("{}?sslmode=verify-full", server.url("comanda"))),
        ("another name", url.replace("127.0.0.1", "localhost")),
        // 0.0.0.0 is not this machine by its name, and leads to it.
        (
            "another name, of a trusted authority",
            format!("{}?sslrootcert={}", server.url("comanda"), own.file().display())
                .replace("127.0.0.1", "0.0.0.0"),
        ),
        ("another machine", server.url("comanda").replace("127.0.0.1", "0.0.0.0")),
    ] {
        let said = refusal(&url).await?;
        assert!(said.contains("does not prove who it is") && said.contains("sslrootcert"), "{what}: {said}");
    }
    // Whoever names the authority alone is not asked for the name.
    let by_authority = url.replace("127.0.0.1", "localhost").replace("verify-full", "verify-ca");
    Database::new(&by_authority, "test")?.connect().await?;
    Ok(())
}

#[tokio::test]
async fn without_tls_another_machine_gets_no_password_unless_the_url_says_so() -> Result<()> {
    let database = TestDatabase::new().await?;
    for url in [
        format!("{}?sslmode=verify-full", database.url()),
        format!("{}?sslmode=require", database.url()),
        database.url().replace("127.0.0.1", "0.0.0.0"),
    ] {
        let said = refusal(&url).await?;
        assert!(said.contains("speaks no TLS") && said.contains("sslmode=disable"), "{said}");
    }
    let said_so = format!("{}?sslmode=disable", database.url().replace("127.0.0.1", "0.0.0.0"));
    Database::new(&said_so, "test")?.prepare(PATIENCE).await?;
    assert!(!is_encrypted(&mut database.connect().await?).await?, "on this machine nobody is in between");
    Ok(())
}

/// One certificate that has run out must not take all down.
#[tokio::test]
async fn of_several_servers_one_that_does_not_prove_itself_is_passed_over() -> Result<()> {
    let (own, foreign) = (Authority::new()?, Authority::new()?);
    let (good, bad) = tokio::try_join!(server(&own, &["127.0.0.1"]), server(&foreign, &["127.0.0.1"]))?;
    let good_url = verified(&good, own.file());
    let first = format!("127.0.0.1:{}", good.port());
    let both = good_url.replace(&first, &format!("127.0.0.1:{},{first}", bad.port()));
    let mut conn = Database::new(&both, "test")?.connect().await?;
    let port: i32 = sqlx::query_scalar("SELECT inet_server_port()").fetch_one(&mut conn).await?;
    assert_eq!(port, i32::from(good.port()));

    let only_bad = good_url.replace(&first, &format!("127.0.0.1:{0},127.0.0.1:{0}", bad.port()));
    let error = Database::new(&only_bad, "test")?.prepare(Duration::from_millis(100)).await.unwrap_err();
    assert!(format!("{error:#}").contains("does not prove who it is"), "{error:#}");
    Ok(())
}
