//! A database with the schema in it, of which each test's own is a copy: that takes a fifth of the time of all migrations.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use anyhow::Result;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use store::Database;
use store::migrate::{self, ours};

use crate::{beside, until};

/// What the migrations date is dated anew: nobody has watched the template's clock since.
const TODAY: &str =
    "UPDATE clock_trust SET until = now() + interval '1 hour'; UPDATE feed_ticks SET at = now()";

/// Makes the database `name` on the server that `server` leads to.
pub(crate) async fn copy(server: &mut PgConnection, server_url: &str, name: &str) -> Result<Database> {
    let template = template(server, server_url).await?;
    server.execute(AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE {template}"))).await?;
    let database = Database::new(&beside(server_url, name)?, "test")?;
    let mut conn = database.connect().await?;
    conn.execute(TODAY).await?;
    conn.close().await?;
    Ok(database)
}

/// The template's name. It is made by whichever test comes first; the others wait for it.
async fn template(server: &mut PgConnection, server_url: &str) -> Result<String> {
    let name = named_after_the_schema();
    until("the tests' template is there", async || {
        if is_there(server, &name).await? {
            return Ok(Some(()));
        }
        // By asking again and again: a session that waits in a statement is given up after a second.
        let asked = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(migrate::TURN);
        if !asked.fetch_one(&mut *server).await? {
            return Ok(None);
        }
        if !is_there(server, &name).await? {
            make(server, server_url, &name).await?;
        }
        sqlx::query("SELECT pg_advisory_unlock($1)").bind(migrate::TURN).execute(&mut *server).await?;
        Ok(Some(()))
    })
    .await?;
    Ok(name)
}

/// Another schema has another template.
fn named_after_the_schema() -> String {
    let mut hasher = DefaultHasher::new();
    for migration in ours().iter() {
        migration.checksum.hash(&mut hasher);
    }
    format!("template_{:016x}", hasher.finish())
}

async fn is_there(server: &mut PgConnection, name: &str) -> Result<bool> {
    let asked = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)");
    Ok(asked.bind(name).fetch_one(server).await?)
}

/// Under another name until it is whole: whoever makes it may be killed.
async fn make(server: &mut PgConnection, server_url: &str, name: &str) -> Result<()> {
    let half = format!("{name}_half");
    server.execute(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {half}"))).await?;
    server.execute(AssertSqlSafe(format!("CREATE DATABASE {half}"))).await?;
    Database::new(&beside(server_url, &half)?, "test")?.prepare(Duration::from_secs(10)).await?;
    // Nobody is copied while somebody is connected to it.
    server.execute(AssertSqlSafe(format!("ALTER DATABASE {half} ALLOW_CONNECTIONS false"))).await?;
    server.execute(AssertSqlSafe(format!("ALTER DATABASE {half} RENAME TO {name}"))).await?;
    Ok(())
}
