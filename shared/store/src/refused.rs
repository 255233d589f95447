//! refused: documents of channels that could not be taken, kept as they came until somebody has looked, and mended what is set or
//! asked for another one. Bounded: of a channel the newest [`MOST`], for [`DAYS`] days.

use domain::channel::name::ChannelName;
use domain::problems::Problem;
use sqlx::PgConnection;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

/// Documents of one channel that are kept.
pub const MOST: i64 = 1_000;
/// How long, in days. They name people.
pub const DAYS: i32 = 30;

/// A document that was refused.
#[derive(Debug, Clone)]
pub struct Refused {
    /// By which it is asked for.
    pub id: Uuid,
    /// When it came first.
    pub first_at: OffsetDateTime,
    /// When it came last.
    pub last_at: OffsetDateTime,
    /// How often it came.
    pub times: i32,
    /// Its bytes.
    pub size: i32,
    /// What was wrong with it: code, detail and place of each.
    pub problems: Json<serde_json::Value>,
}

/// Keeps a document, which `calls_off` the order of this number that has not come; or counts it where it was refused before; and lets go of those for which there is no room.
pub async fn keep(
    conn: &mut PgConnection,
    channel: &ChannelName,
    body: &[u8],
    paid: bool,
    calls_off: Option<&str>,
    problems: &[Problem],
) -> sqlx::Result<Uuid> {
    let problems = serde_json::to_value(problems).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let id = sqlx::query_scalar!(
        r#"INSERT INTO refused_documents (id, channel, hash, problems, body, paid, calls_off)
           VALUES ($1, $2, sha256($3), $4, $3, $5, $6)
           ON CONFLICT (channel, hash) DO UPDATE SET times = refused_documents.times + 1,
               last_at = now(), problems = excluded.problems, paid = excluded.paid, calls_off = excluded.calls_off
           RETURNING id"#,
        Uuid::now_v7(),
        channel.as_str(),
        body,
        problems,
        paid,
        calls_off
    )
    .fetch_one(&mut *conn)
    .await?;
    sqlx::query!(
        "DELETE FROM refused_documents WHERE channel = $1 AND (last_at < now() - make_interval(days => $3) OR id IN (
             SELECT id FROM refused_documents WHERE channel = $1 ORDER BY last_at DESC, id DESC OFFSET $2))",
        channel.as_str(),
        MOST,
        DAYS
    )
    .execute(conn)
    .await?;
    Ok(id)
}

/// What is kept of a channel, newest first, without the documents.
pub async fn list(conn: &mut PgConnection, channel: &ChannelName) -> sqlx::Result<Vec<Refused>> {
    sqlx::query_as!(
        Refused,
        r#"SELECT id, first_at, last_at, times, length(body) AS "size!", problems AS "problems: Json<serde_json::Value>"
           FROM refused_documents WHERE channel = $1 ORDER BY last_at DESC, id DESC LIMIT $2"#,
        channel.as_str(),
        MOST
    )
    .fetch_all(conn)
    .await
}

/// A document as it came, and what was said beside it.
#[derive(Debug, Clone)]
pub struct Document {
    /// Byte by byte.
    pub body: Vec<u8>,
    /// The channel took the money.
    pub paid: bool,
}

/// One document.
pub async fn find(
    conn: &mut PgConnection,
    channel: &ChannelName,
    id: Uuid,
) -> sqlx::Result<Option<Document>> {
    sqlx::query_as!(
        Document,
        "SELECT body, paid FROM refused_documents WHERE channel = $1 AND id = $2",
        channel.as_str(),
        id
    )
    .fetch_optional(conn)
    .await
}

/// Documents that call off the order of this number, which had not come: newest first, a few.
pub async fn calling_off(
    conn: &mut PgConnection,
    channel: &ChannelName,
    order_id: &str,
) -> sqlx::Result<Vec<(Uuid, Vec<u8>)>> {
    let rows = sqlx::query!(
        "SELECT id, body FROM refused_documents WHERE channel = $1 AND calls_off = $2 ORDER BY last_at DESC LIMIT 8",
        channel.as_str(),
        order_id
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.body)).collect())
}

/// One that is seen to. Says whether it was there.
pub async fn forget(conn: &mut PgConnection, channel: &ChannelName, id: Uuid) -> sqlx::Result<bool> {
    let gone =
        sqlx::query!("DELETE FROM refused_documents WHERE channel = $1 AND id = $2", channel.as_str(), id)
            .execute(conn)
            .await?;
    Ok(gone.rows_affected() == 1)
}
