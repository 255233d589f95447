//! Where a database stands, compared with the schema that a program knows. Only looks.

use std::collections::HashMap;

use anyhow::{Result, bail};
use sqlx::PgConnection;
use sqlx::migrate::{Migration, Migrator};

use super::name;

pub(super) const UNRELEASED: &str = "this database holds the schema of an unreleased version of Comanda, which was written anew since; \
     nothing was changed. Begin anew: an empty database for DATABASE_URL, or remove .local/ if `make run` made it";

/// What the database holds of a program's schema.
pub(super) struct Standing<'a> {
    /// What is to be applied, in order.
    pub(super) missing: Vec<&'a Migration>,
    /// Nothing was ever applied.
    pub(super) is_empty: bool,
}

impl<'a> Standing<'a> {
    /// Refuses a database that can be neither used nor migrated.
    pub(super) async fn of(conn: &mut PgConnection, migrator: &'a Migrator) -> Result<Self> {
        let known: HashMap<_, _> = known(conn).await?.into_iter().map(|row| (row.0, row)).collect();
        let mut missing = Vec::new();
        let mut found = 0;
        for migration in migrator.iter().filter(|one| !one.migration_type.is_down_migration()) {
            match known.get(&migration.version) {
                None => missing.push(migration),
                Some((_, checksum, _)) if *checksum != *migration.checksum => bail!(UNRELEASED),
                Some((_, _, false)) => bail!(
                    "the migration {} was applied in part, says _sqlx_migrations: mend it and remove its row",
                    name(migration)
                ),
                Some(_) => found += 1,
            }
        }
        // Whoever is newer has ours, too.
        if found == 0 && !known.is_empty() {
            bail!(UNRELEASED);
        }
        Ok(Self { missing, is_empty: known.is_empty() })
    }
}

/// What was applied: version, checksum, whether it went well.
async fn known(conn: &mut PgConnection) -> sqlx::Result<Vec<(i64, Vec<u8>, bool)>> {
    let is_there: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut *conn)
        .await?;
    if !is_there {
        return Ok(Vec::new());
    }
    sqlx::query_as("SELECT version, checksum, success FROM _sqlx_migrations").fetch_all(conn).await
}
