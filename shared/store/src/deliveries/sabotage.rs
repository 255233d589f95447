//! A bug on purpose that needs SQL of its own, for the chaos harness alone: it has to notice it.

use sqlx::PgConnection;
use uuid::Uuid;

/// Of an endpoint and an order the last steps forward, not the first.
pub(super) async fn newest_first(
    conn: &mut PgConnection,
    webhooks: &[Uuid],
    subjects: &[Uuid],
) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE deliveries d SET status = 'waiting', due_at = now()
         FROM (SELECT DISTINCT webhook, subject FROM unnest($1::uuid[], $2::uuid[]) line(webhook, subject)) line
         CROSS JOIN LATERAL (
             SELECT version FROM deliveries
             WHERE webhook = line.webhook AND subject = line.subject AND status = 'behind' ORDER BY version DESC LIMIT 1
         ) next
         WHERE d.webhook = line.webhook AND d.subject = line.subject AND d.version = next.version
             AND NOT EXISTS (SELECT FROM deliveries w
                             WHERE w.webhook = line.webhook AND w.subject = line.subject AND w.status = 'waiting')",
    )
    .bind(webhooks)
    .bind(subjects)
    .execute(conn)
    .await
    .map(drop)
}
