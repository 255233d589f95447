//! What can be ordered. A change counts the catalogue's version on, holds it until its commit, and writes it to what it changed:
//! so whoever sees a version sees every change before it, and reads only what is newer than what they have.

pub mod categories;
pub(crate) mod events;
pub mod products;

use sqlx::{PgConnection, Postgres, Transaction};

/// What became of a change.
#[derive(Debug)]
pub enum Changed<T, E = std::convert::Infallible> {
    /// It is so now.
    Done(T),
    /// Another one that is not deleted is called so.
    NameTaken,
    /// The till calls another one so that is sold at the same place.
    PluTaken,
    /// There is no such thing, or no longer.
    NotFound,
    /// It names a category that there is not.
    NoCategory,
    /// It names a location that there is not.
    NoLocation,
    /// Whoever asked for it said no when they saw what is there.
    Refused(E),
}

impl<T> Changed<T> {
    /// The same where somebody could have said no.
    pub fn never_refused<E>(self) -> Changed<T, E> {
        match self {
            Self::Done(done) => Changed::Done(done),
            Self::NameTaken => Changed::NameTaken,
            Self::PluTaken => Changed::PluTaken,
            Self::NotFound => Changed::NotFound,
            Self::NoCategory => Changed::NoCategory,
            Self::NoLocation => Changed::NoLocation,
            Self::Refused(never) => match never {},
        }
    }
}

/// Up to which changes something is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Versions {
    /// Of products and categories.
    pub articles: i64,
    /// Of what ran out, or is there again.
    pub stock: i64,
}

/// Which changes there are up to now.
pub async fn versions(conn: &mut PgConnection) -> sqlx::Result<Versions> {
    sqlx::query_as!(
        Versions,
        r#"SELECT (SELECT version FROM catalogue_versions WHERE what = 'articles') AS "articles!",
                  (SELECT version FROM catalogue_versions WHERE what = 'stock') AS "stock!""#
    )
    .fetch_one(conn)
    .await
}

/// The version of a change that is about to be made. Whoever else makes one waits until this one is committed.
async fn next_version(conn: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        "UPDATE catalogue_versions SET version = version + 1 WHERE what = 'articles' RETURNING version"
    )
    .fetch_one(conn)
    .await
}

/// A name that another one has is an answer, no fault.
fn taken<T, E>(done: sqlx::Result<T>) -> sqlx::Result<Changed<T, E>> {
    match done {
        Ok(done) => Ok(Changed::Done(done)),
        Err(sqlx::Error::Database(refusal)) if refusal.is_unique_violation() => Ok(Changed::NameTaken),
        Err(error) => Err(error),
    }
}

/// Ends the transaction as what came of it says. Aloud: one that is merely dropped keeps its locks until the connection's next
/// use.
async fn end<T, E>(tx: Transaction<'_, Postgres>, changed: Changed<T, E>) -> sqlx::Result<Changed<T, E>> {
    match changed {
        Changed::Done(_) => tx.commit().await?,
        _ => tx.rollback().await?,
    }
    Ok(changed)
}
