//! Behind PgBouncer: one that lends whole sessions will do, one that lends them out for transactions is refused at the start.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use servers::{PgBouncer, PoolMode, Postgres, PostgresSettings};
use sqlx::PgConnection;
use store::Database;
use store::session::StoreError;
use testbed::TestDatabase;

const PATIENCE: Duration = Duration::from_secs(60);

/// A server with a database, and poolers in front of it.
struct Ground {
    postgres: Postgres,
    database: TestDatabase,
}

impl Ground {
    async fn new() -> Result<Self> {
        let start = || Postgres::start(&PostgresSettings::temporary());
        let postgres = tokio::task::spawn_blocking(start).await??;
        let database = TestDatabase::on(&postgres.url("comanda")).await?;
        Ok(Self { postgres, database })
    }

    fn pooler(&self, mode: PoolMode, config: &str) -> Result<(PgBouncer, Database)> {
        let pooler = PgBouncer::start(&self.postgres, mode, config)?;
        let (_, name) = self.database.url().rsplit_once('/').context("a name")?;
        let database = Database::new(&pooler.url(name), "test")?;
        Ok((pooler, database))
    }

    /// What a program says that is not to start behind it.
    async fn refusal(&self, mode: PoolMode, config: &str) -> Result<String> {
        let (_pooler, database) = self.pooler(mode, config)?;
        let begun = Instant::now();
        let error = database.prepare(PATIENCE).await.err().context("it was taken")?;
        assert!(begun.elapsed() < Duration::from_secs(10), "{error:#} after {:?}", begun.elapsed());
        let said = format!("{error:#}");
        assert!(!said.contains('\n'), "{said}");
        Ok(said)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_lends_sessions_out_for_transactions_is_refused_at_once() -> Result<()> {
    let ground = Ground::new().await?;
    let always = "server_reset_query_always = 1";
    for (mode, config) in [
        (PoolMode::Transaction, ""),
        (PoolMode::Transaction, always),
        (PoolMode::Transaction, "default_pool_size = 1"),
        (PoolMode::Statement, ""),
        (PoolMode::Statement, always),
        // A session that is lent again as it was left.
        (PoolMode::Session, "server_reset_query ="),
    ] {
        let said = ground.refusal(mode, config).await?;
        assert!(said.contains("pool_mode=session"), "{mode:?} {config}: {said}");
    }
    Ok(())
}

async fn settings(conn: &mut PgConnection) -> sqlx::Result<(String, String, String)> {
    let asked = "SELECT current_setting('statement_timeout'), current_setting('enable_seqscan'),
                        current_setting('application_name')";
    sqlx::query_as(asked).fetch_one(conn).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_lends_whole_sessions_will_do() -> Result<()> {
    let ground = Ground::new().await?;
    let (_pooler, database) = ground.pooler(PoolMode::Session, "")?;
    database.prepare(PATIENCE).await?;
    // Each has its settings, again and again: sessions are reset between two clients.
    for _ in 0..3 {
        let sessions = (0..4).map(async |_| {
            let seen = database.session().run(&(), |conn, ()| Box::pin(settings(conn))).await?;
            let expected = ("5s", "off", "comanda-test");
            assert_eq!((&*seen.0, &*seen.1, &*seen.2), expected);
            anyhow::Ok(())
        });
        try_join_all(sessions).await?;
    }
    Ok(())
}

/// It lends no more than its own settings say, whatever the server has.
#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_with_none_to_lend_is_a_database_that_is_away() -> Result<()> {
    let ground = Ground::new().await?;
    let (_pooler, database) = ground.pooler(PoolMode::Session, "default_pool_size = 2")?;
    database.prepare(PATIENCE).await?;
    let (mut one, mut other, mut third) = (database.session(), database.session(), database.session());
    for session in [&mut one, &mut other] {
        session.run(&(), |conn, ()| Box::pin(settings(conn))).await?;
    }
    let refused = third.run(&(), |conn, ()| Box::pin(settings(conn))).await;
    assert!(matches!(&refused, Err(StoreError::Unavailable(_))), "it passes: {refused:?}");
    drop(one);
    third.run(&(), |conn, ()| Box::pin(settings(conn))).await?;
    Ok(())
}
