//! accept, for a batch of orders that have their items and nothing else, as nearly all do: one statement. They belong to the first
//! location, and the kitchen has as long as the programs' setting says.

use std::time::Duration;

use sqlx::PgConnection;

use super::Accept;
use super::columns::{Columns, Written};

/// Whether the orders' ids may be in the tables already: after a try whose answer was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ids {
    /// A conflict is an error.
    New,
    /// What is there is passed over. Dearer: each row is looked up first, and logged twice.
    PerhapsThere,
}

/// The statement: which orders are to be written, and what is to be done about ids that are there.
macro_rules! insert {
    ($fresh:literal, $if_there:literal, $($input:expr),+) => {
        sqlx::query_as!(
            Written,
            "WITH " + $fresh + r#", ordered AS (
            INSERT INTO orders (id, total_minor, created_at, updated_at, version, status, currency, customer_id)
            SELECT id, total_minor, now(), now(), 1, 'PENDING', currency, customer_id FROM fresh
            "# + $if_there + r#"
            RETURNING id, total_minor, currency
        ), charged AS (
            -- Only with its order: one that is there already may have been charged since, and its queue row be gone.
            INSERT INTO open_charges (id, amount_minor, created_at, due_at, currency)
            SELECT id, total_minor, now(), now() + $6::bigint * interval '1 ms', currency FROM ordered
        ), noted AS (
            INSERT INTO order_events (subject, at, amount_minor, version, what, to_status, actor, items)
            SELECT id, now(), total_minor, 1, 'accepted', 'PENDING', 'api', items::json FROM fresh
            "# + $if_there + r#"
        )
        SELECT now() AS "at!",
            CASE WHEN (SELECT count(*) FROM ordered) < cardinality($1) THEN ARRAY(SELECT id FROM ordered) END AS only
        "#,
            $($input),+
        )
    };
}

/// The same for orders under keys: those of which the key is free. Keys are inserted in their own order, so that two writers
/// that hold the same two keys cannot wait for each other. A key that somebody is just inserting makes ours wait until that is
/// decided.
macro_rules! insert_keyed {
    ($if_there:literal, $($input:expr),+) => {
        insert!(
            r#"input AS (
            SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[],
                                 $7::text[], $8::text[], $9::bytea[], $10::bigint[])
                AS input(id, total_minor, currency, customer_id, items, principal, key, request_hash, keep_ms)
        ), keyed AS (
            INSERT INTO names (named, until, kind, scope, name, hash)
            SELECT id, now() + keep_ms * interval '1 ms', 'idempotency_key', principal, key, request_hash
            FROM input WHERE key IS NOT NULL ORDER BY principal, key
            ON CONFLICT (kind, scope, name) DO NOTHING
            RETURNING named
        ), fresh AS (
            SELECT * FROM input WHERE key IS NULL OR id IN (SELECT named FROM keyed)
        )"#, $if_there, $($input),+
        )
    };
}

/// The one statement.
pub(super) async fn insert(
    conn: &mut PgConnection,
    batch: &[Accept],
    due_in: Duration,
    ids_are: Ids,
) -> sqlx::Result<Written> {
    let columns = Columns::of(batch);
    let due_in = crate::millis(due_in);
    macro_rules! rows {
        ($insert:ident!($($literal:literal),+) $(, $keys:expr)*) => {
            $insert!(
                $($literal),+,
                &columns.ids,
                &columns.totals,
                &columns.currencies as &[&str],
                &columns.customers as &[&str],
                &columns.items as &[&str],
                due_in
                $(, $keys)*
            )
            .fetch_one(conn)
            .await
        };
        ($if_there:literal) => {
            rows!(
                insert_keyed!($if_there),
                &columns.principals as &[Option<&str>],
                &columns.keys as &[Option<&str>],
                &columns.hashes as &[Option<&[u8]>],
                &columns.keeps as &[Option<i64>]
            )
        };
    }
    match ids_are {
        Ids::New if batch.iter().all(|one| one.key.is_none()) => rows!(insert!(
            "fresh AS (
            SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[])
                AS input(id, total_minor, currency, customer_id, items)
        )",
            ""
        )),
        Ids::New => rows!(""),
        Ids::PerhapsThere => rows!("ON CONFLICT DO NOTHING"),
    }
}
