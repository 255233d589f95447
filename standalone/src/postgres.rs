//! The database: the one that `DATABASE_URL` names, or a private one that lives and ends with this process while its
//! data stays.

use anyhow::{Context, Result};
use servers::{Postgres, PostgresSettings};

use crate::config::DatabaseConfig;

/// A database to use.
#[derive(Debug)]
pub(crate) struct Found {
    /// How to reach it.
    pub(crate) url: String,
    /// The server, where it is ours; stopped when dropped.
    _server: Option<Postgres>,
}

/// Takes the given database, or starts the private one.
pub(crate) fn find_or_start(config: &DatabaseConfig) -> Result<Found> {
    if let Some(url) = &config.database_url {
        return Ok(Found { url: config.password.put_into(url)?, _server: None });
    }
    std::fs::create_dir_all(&config.data_dir)
        .with_context(|| format!("cannot make {} (COMANDA_DATA_DIR)", config.data_dir.display()))?;
    let settings = PostgresSettings::persistent(config.data_dir.join("postgres"));
    let server = Postgres::start(&PostgresSettings { bin_dir: config.pg_bindir.clone(), ..settings })?;
    tracing::info!(port = server.port(), data = %server.dir().display(), "a private PostgreSQL is up");
    Ok(Found { url: server.url("comanda"), _server: Some(server) })
}
