//! keyed: what people ask of an order under a key of their own is done once, however often they ask because an answer was lost.
//!
//! The key is written by the transaction that does what was asked, as its last statement: by then it holds the order, so the
//! same request, sent again meanwhile, waits for the order and not for the key, and nobody else waits at all. What was refused
//! leaves no key behind: it may be asked again.
//!
//! Only what takes stock has its key before: a stranger's unfinished request under the same key would else be waited for with the
//! rows in hand that everybody wants.

use sqlx::PgConnection;
use uuid::Uuid;

use super::accept::IdempotencyKey;
use super::names::{self, Under};

/// What is asked for, and the key that it came under, if it came under one.
#[derive(Debug)]
pub struct Keyed<'a, T> {
    /// What is asked for.
    pub ask: &'a T,
    /// The key.
    pub key: Option<&'a IdempotencyKey>,
}

impl<'a, T> From<&'a T> for Keyed<'a, T> {
    fn from(ask: &'a T) -> Self {
        Self { ask, key: None }
    }
}

/// The order of which the same was asked under this key before, and done.
pub async fn done_under(conn: &mut PgConnection, key: &IdempotencyKey) -> sqlx::Result<Option<Uuid>> {
    let found = names::under_key(conn, key).await?;
    let is_same =
        |under: &Under| under.request.is_some() && under.hash.as_deref() == Some(&key.request_hash[..]);
    Ok(found.filter(is_same).map(|under| under.named))
}

/// A request that changes an order, as its key knows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) order_id: Uuid,
    pub(super) id: Uuid,
    pub(super) key: Option<&'a IdempotencyKey>,
}

/// What came under its key before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// This very request: an earlier run of it took effect, though its answer was lost on the way to us.
    This,
    /// The same, sent before.
    Same,
    /// Something else.
    Other,
}

impl Request<'_> {
    /// Takes the key for what this transaction has done; or says what came under it before.
    pub(super) async fn take_key(&self, conn: &mut PgConnection) -> sqlx::Result<Option<Before>> {
        let Some(key) = self.key else { return Ok(None) };
        if names::name_request(conn, self.order_id, self.id, key).await? {
            return Ok(None);
        }
        match self.before(conn).await? {
            Some(before) => Ok(Some(before)),
            // Taken, and not there: it was forgotten this very moment.
            None => Err(sqlx::Error::RowNotFound),
        }
    }

    /// What came under the key before, if anything did.
    pub(super) async fn before(&self, conn: &mut PgConnection) -> sqlx::Result<Option<Before>> {
        let Some(key) = self.key else { return Ok(None) };
        let found = names::under_key(conn, key).await?;
        Ok(found.map(|Under { request, hash, .. }| match hash {
            _ if request == Some(self.id) => Before::This,
            Some(hash) if hash == key.request_hash && request.is_some() => Before::Same,
            _ => Before::Other,
        }))
    }
}
