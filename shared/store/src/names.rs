//! names: what clients and channels call an order or a payment, each name given once.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

/// What a name is, and within what it is unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "name_kind", rename_all = "snake_case")]
pub(super) enum NameKind {
    /// An order, by its client's `Idempotency-Key`, within a principal's.
    IdempotencyKey,
    /// An order, within its channel's.
    ChannelOrder,
    /// A payment, within its order's.
    PaymentReference,
}

/// What stands under a name.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) id: Uuid,
    /// SHA-256 of what came under it.
    pub(super) hash: Option<Vec<u8>>,
}

pub(super) async fn find(
    conn: &mut PgConnection,
    kind: NameKind,
    scope: &str,
    name: &str,
) -> sqlx::Result<Option<Named>> {
    sqlx::query_as!(
        Named,
        "SELECT named AS id, hash FROM names WHERE kind = $1 AND scope = $2 AND name = $3",
        kind as NameKind,
        scope,
        name
    )
    .fetch_optional(conn)
    .await
}

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

/// Forgets names whose time is over, `limit` at most; says how many. `now`: as of this time, or of the database's clock.
pub async fn forget(conn: &mut PgConnection, now: Option<OffsetDateTime>, limit: u32) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        r#"
        DELETE FROM names WHERE (kind, scope, name) IN (
            SELECT kind, scope, name FROM names WHERE until < coalesce($1, now()) ORDER BY until LIMIT $2
            FOR UPDATE SKIP LOCKED)
        "#,
        now,
        i64::from(limit)
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
