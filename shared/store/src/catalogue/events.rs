//! What people do to a product is written down as what happens to an order is, and is told by the same feed. Whoever writes holds the
//! product's row until they commit: so its versions have no gap, and who is later in them ended later (`feed`).

use domain::event::What;
use sqlx::PgConnection;
use uuid::Uuid;

/// Locks a product; says whether it is there.
pub(crate) async fn lock(conn: &mut PgConnection, product: Uuid) -> sqlx::Result<bool> {
    let found = sqlx::query_scalar!("SELECT id FROM products WHERE id = $1 FOR NO KEY UPDATE", product);
    Ok(found.fetch_optional(conn).await?.is_some())
}

/// Notes the next event of a product whose row the caller holds.
pub(crate) async fn note(conn: &mut PgConnection, product: Uuid, what: What, by: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO order_events (subject, at, version, what, actor)
         SELECT $1::uuid, clock_timestamp(), coalesce(max(version), 0) + 1, $2::event_what, $3::text FROM order_events WHERE subject = $1",
        product,
        what as What,
        by
    )
    .execute(conn)
    .await
    .map(drop)
}
