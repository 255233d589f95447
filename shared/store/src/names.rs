//! names: what clients and channels call an order, a request or a payment, each name given once.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::accept::IdempotencyKey;

/// Gives a payment of an order its name; false: the order has a payment of this name.
pub(super) async fn name_payment(
    conn: &mut PgConnection,
    order_id: Uuid,
    payment_id: Uuid,
    reference: &str,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "INSERT INTO names (named, kind, scope, name) VALUES ($1, 'payment_reference', $2, $3) ON CONFLICT DO NOTHING",
        payment_id,
        order_id.to_string(),
        reference
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Gives a request that changes an order its client's key; false: something came under that key before.
pub(super) async fn name_request(
    conn: &mut PgConnection,
    order_id: Uuid,
    request: Uuid,
    key: &IdempotencyKey,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "INSERT INTO names (named, request, until, kind, scope, name, hash)
         VALUES ($1, $2, now() + $3::bigint * interval '1 ms', 'idempotency_key', $4, $5, $6) ON CONFLICT DO NOTHING",
        order_id,
        request,
        super::millis(key.keep),
        key.principal,
        key.key,
        &key.request_hash[..]
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// What came under a client's key.
#[derive(Debug)]
pub(super) struct Under {
    /// The order.
    pub(super) named: Uuid,
    /// The request that changed an order; `None`: it was one for a new order.
    pub(super) request: Option<Uuid>,
    /// SHA-256 of what was asked.
    pub(super) hash: Option<Vec<u8>>,
}

pub(super) async fn under_key(conn: &mut PgConnection, key: &IdempotencyKey) -> sqlx::Result<Option<Under>> {
    sqlx::query_as!(
        Under,
        "SELECT named, request, hash FROM names WHERE kind = 'idempotency_key' AND scope = $1 AND name = $2",
        key.principal,
        key.key
    )
    .fetch_optional(conn)
    .await
}

/// What was forgotten in one go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// How many.
    pub count: u64,
    /// The latest end among them: all that ended before is gone, or somebody else is at it.
    pub up_to: Option<OffsetDateTime>,
}

/// Forgets names whose time is over, oldest first, `limit` at most. `now`: as of this time, or of the database's clock.
///
/// `from`: where an earlier go ended, if there was one. What it deleted stays in the index until a vacuum, and every go would
/// walk through all that those before it left there.
pub async fn forget(
    conn: &mut PgConnection,
    now: Option<OffsetDateTime>,
    from: Option<OffsetDateTime>,
    limit: u32,
) -> sqlx::Result<Forgotten> {
    let gone = sqlx::query!(
        r#"
        WITH gone AS (
            DELETE FROM names WHERE ctid = ANY(ARRAY(
                SELECT ctid FROM names WHERE until >= coalesce($3::timestamptz, '-infinity') AND until < coalesce($1::timestamptz, now())
                ORDER BY until LIMIT $2 FOR UPDATE SKIP LOCKED))
            RETURNING until
        )
        SELECT count(*) AS "count!", max(until) AS up_to FROM gone
        "#,
        now,
        i64::from(limit),
        from
    )
    .fetch_one(conn)
    .await?;
    Ok(Forgotten { count: gone.count.unsigned_abs(), up_to: gone.up_to })
}

/// What up to `limit` names stand for that may be forgotten, oldest first, but for `except`.
pub async fn to_forget(conn: &mut PgConnection, limit: u32, except: &[Uuid]) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        "SELECT named FROM names WHERE until < now() AND named <> ALL($2) ORDER BY until LIMIT $1",
        i64::from(limit),
        except
    )
    .fetch_all(conn)
    .await
}

/// Forgets the name of one of the oldest. (No index leads from what is named to its names.)
pub async fn forget_one(conn: &mut PgConnection, named: Uuid) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        r#"
        DELETE FROM names WHERE (kind, scope, name) IN (
            SELECT kind, scope, name
            FROM (SELECT kind, scope, name, named FROM names WHERE until < now() ORDER BY until LIMIT 10000) old
            WHERE named = $1)
        "#,
        named
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
