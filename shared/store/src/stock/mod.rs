//! Stock: what there is of what is counted, and who holds it.
//!
//! Whoever takes something does so by the last statement of a transaction: one guarded UPDATE of each item, in the order of their
//! ids. So the row that everybody wants is held for as long as a commit takes, and two who want several never wait for each other.

pub mod carts;
pub mod counted;
pub mod facts;
pub mod holds;

use std::collections::BTreeMap;

use domain::catalogue::menu::Take;
use sqlx::PgConnection;
use uuid::Uuid;

/// What was wanted, and there was less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Short {
    /// Of what.
    pub item: Uuid,
    /// How many were wanted.
    pub wanted: u32,
    /// How many there were.
    pub available: i64,
}

/// What is needed of each item, by its id.
pub(crate) fn needs<'t>(takes: impl IntoIterator<Item = &'t Take>) -> BTreeMap<Uuid, i64> {
    let mut needs = BTreeMap::new();
    for take in takes {
        *needs.entry(take.item).or_default() += i64::from(take.quantity);
    }
    needs
}

/// Takes all of it; `false`: there is not enough, and the caller has to roll back.
pub(crate) async fn take(conn: &mut PgConnection, needs: &BTreeMap<Uuid, i64>) -> sqlx::Result<bool> {
    if needs.is_empty() {
        return Ok(true);
    }
    let (items, quantities): (Vec<Uuid>, Vec<i64>) = needs.iter().unzip();
    let done = sqlx::query!(
        "UPDATE stock s SET available = s.available - n.quantity, held = s.held + n.quantity
         FROM unnest($1::uuid[], $2::bigint[]) AS n(item, quantity)
         WHERE s.id = ANY(ARRAY[n.item]) AND s.available >= n.quantity",
        &items,
        &quantities
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == needs.len() as u64)
}

/// How many there are of each; nobody is waited for. What is not counted is left out.
pub(crate) async fn available(conn: &mut PgConnection, items: &[Uuid]) -> sqlx::Result<BTreeMap<Uuid, i64>> {
    let rows =
        sqlx::query!("SELECT id, available FROM stock WHERE id = ANY($1)", items).fetch_all(conn).await?;
    Ok(rows.into_iter().map(|row| (row.id, row.available)).collect())
}

/// The same, locked for the rest of the transaction, one after the other.
pub(crate) async fn lock(conn: &mut PgConnection, items: &[Uuid]) -> sqlx::Result<BTreeMap<Uuid, i64>> {
    let rows =
        sqlx::query!("SELECT id, available FROM stock WHERE id = ANY($1) ORDER BY id FOR UPDATE", items)
            .fetch_all(conn)
            .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.available)).collect())
}

/// What there is too little of, for one who wants these.
pub(crate) fn shorts(takes: &[Take], there: &BTreeMap<Uuid, i64>) -> Vec<Short> {
    let short = |take: &Take| {
        let available = there.get(&take.item).copied().unwrap_or(0);
        let is_short = available < i64::from(take.quantity);
        is_short.then_some(Short { item: take.item, wanted: take.quantity, available })
    };
    takes.iter().filter_map(short).collect()
}

/// How often it is tried again, when each time somebody is faster.
pub(crate) const TRIES: u32 = 32;

/// After so many tries: each time too little was found, and then enough. Whoever asked asks again, as where the database is away: a
/// refusal that names nothing would be an untruth.
pub(crate) const fn nobody_can_say() -> sqlx::Error {
    sqlx::Error::WorkerCrashed
}

/// An item that ran out, or is there again.
#[derive(Debug, Clone, Copy)]
pub struct Turned {
    /// It.
    pub item: Uuid,
    /// Whose variation it is, or itself.
    pub product_id: Uuid,
    /// Whether there is any.
    pub is_there: bool,
    /// The version at which it turned.
    pub version: i64,
}

/// All that turned since `version`.
pub async fn turned_since(conn: &mut PgConnection, version: i64) -> sqlx::Result<Vec<Turned>> {
    sqlx::query_as!(
        Turned,
        r#"SELECT id AS item, product_id, available > 0 AS "is_there!", turned AS version FROM stock
           WHERE turned > $1 ORDER BY turned"#,
        version
    )
    .fetch_all(conn)
    .await
}
