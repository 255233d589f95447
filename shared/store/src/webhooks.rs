//! webhooks: who is told of what happens, and what they chose. Their secrets are sealed; nothing here can open them.

use std::time::Duration;

use domain::channel::name::ChannelName;
use domain::channel::settings::Dialect;
use domain::told::{About, Payload, Wanted};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

pub mod late;

/// An endpoint.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// Ours.
    pub id: Uuid,
    /// Where it is.
    pub url: String,
    /// Of these types alone, or below them; all of orders, where none is named.
    pub types: Vec<String>,
    /// Of orders of these locations alone.
    pub locations: Vec<String>,
    /// Of orders that came by these channels alone.
    pub channels: Vec<String>,
    /// With the order as it was after it, and with whom it is for.
    pub with_order: bool,
    /// The same.
    pub with_handover: bool,
    /// Sealed, newest first, two at most.
    pub secrets: Vec<Vec<u8>>,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// When it was changed last.
    pub updated_at: OffsetDateTime,
    /// By whom it was made.
    pub created_by: String,
    /// Since when nothing is sent.
    pub disabled_at: Option<OffsetDateTime>,
    /// Why: `gone`, `failing` or `told`.
    pub because: Option<String>,
    /// The first try that failed since one was taken; `None`: the last one was, or there was none.
    pub failing_since: Option<OffsetDateTime>,
    /// The channel whose platform it is; `None`: of somebody who asked to be told.
    pub platform: Option<String>,
    /// Of such a one: in which dialect it is told.
    pub dialect: Option<String>,
}

/// What no event is called: programs that do not know of platforms send them nothing.
const PLATFORM: &str = "platform";

impl Webhook {
    /// How much it is told.
    pub const fn payload(&self) -> Payload {
        match (self.with_order, self.with_handover) {
            (_, true) => Payload::Full,
            (true, false) => Payload::Order,
            (false, false) => Payload::Thin,
        }
    }

    /// Sets how much it is told.
    pub const fn set_payload(&mut self, payload: Payload) {
        self.with_order = !matches!(payload, Payload::Thin);
        self.with_handover = matches!(payload, Payload::Full);
    }

    /// The dialect in which its platform is told.
    pub fn back(&self) -> Option<Dialect> {
        self.dialect.as_deref().and_then(Dialect::of_name)
    }

    /// Whether it is to be told of an event of this type, of such an order or product, in our own words; of products only where it
    /// names their types.
    pub fn wants(&self, name: &str, about: &About) -> bool {
        let is_of_channel = |channel: Option<&str>| {
            self.channels.is_empty() || self.channels.iter().any(|known| Some(&**known) == channel)
        };
        let types = self.types.iter().map(String::as_str);
        Wanted::parse(types).is_ok_and(|types| types.of_orders().has(name))
            && (self.locations.is_empty() || about.is_at(&self.locations))
            && is_of_channel(about.channel.as_deref())
    }
}

/// Those that are told, oldest first; with the others as well, where `all`.
pub async fn list(conn: &mut PgConnection, all: bool) -> sqlx::Result<Vec<Webhook>> {
    sqlx::query_as!(
        Webhook,
        r#"SELECT id AS "id!", url AS "url!", types AS "types!", locations AS "locations!", channels AS "channels!",
                  with_order AS "with_order!", with_handover AS "with_handover!", secrets AS "secrets!", created_at AS "created_at!", updated_at AS "updated_at!", created_by AS "created_by!",
                  disabled_at, because, failing_since, platform, dialect
           FROM webhooks WHERE removed_at IS NULL AND ($1 OR disabled_at IS NULL) ORDER BY id"#,
        all
    )
    .fetch_all(conn)
    .await
}

/// One of them.
pub async fn find(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Webhook>> {
    Ok(list(conn, true).await?.into_iter().find(|webhook| webhook.id == id))
}

/// Most endpoints: each is asked for what is due to it again and again.
pub const MAX_WEBHOOKS: i64 = 1_000;

/// Makes it as it is, but for its times; `false`: there are [`MAX_WEBHOOKS`].
pub async fn insert(conn: &mut PgConnection, webhook: &Webhook) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "INSERT INTO webhooks (id, url, types, locations, channels, secrets, created_by, with_order, with_handover)
         SELECT $1, $2, $3, $4, $5, $6, $7, $9, $10 WHERE (SELECT count(*) FROM webhooks WHERE removed_at IS NULL) < $8
         ON CONFLICT (id) DO NOTHING",
        webhook.id,
        webhook.url,
        &webhook.types,
        &webhook.locations,
        &webhook.channels,
        &webhook.secrets,
        webhook.created_by,
        MAX_WEBHOOKS,
        webhook.with_order,
        webhook.with_handover
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Makes it as it is, unless somebody has changed it since it was read; says whether it did. One that is enabled again has not failed
/// yet.
pub async fn update(conn: &mut PgConnection, webhook: &Webhook) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE webhooks SET url = $3, types = $4, locations = $5, channels = $6, secrets = $7, disabled_at = $8::timestamptz, because = $9,
             with_order = $10, with_handover = $11, updated_at = clock_timestamp(),
             failing_since = CASE WHEN disabled_at IS NULL OR $8::timestamptz IS NOT NULL THEN failing_since END
         WHERE id = $1 AND updated_at = $2 AND removed_at IS NULL",
        webhook.id,
        webhook.updated_at,
        webhook.url,
        &webhook.types,
        &webhook.locations,
        &webhook.channels,
        &webhook.secrets,
        webhook.disabled_at,
        webhook.because,
        webhook.with_order,
        webhook.with_handover
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Tells a channel's platform from now on, there, in this dialect, signed with this; `None`: with what it was signed with. `false`: it
/// was with nothing. What was to be told stays in its line. For whoever holds the channel's row.
pub async fn set_platform(
    conn: &mut PgConnection,
    channel: &ChannelName,
    (url, dialect): (&str, Dialect),
    sealed: Option<&[u8]>,
    by: &str,
) -> sqlx::Result<bool> {
    let secrets = sealed.map(|sealed| vec![sealed.to_owned()]);
    let done = sqlx::query!(
        "UPDATE webhooks SET url = $2, dialect = $3, secrets = coalesce($4::bytea[], secrets), updated_at = clock_timestamp()
         WHERE platform = $1 AND removed_at IS NULL",
        channel.as_str(),
        url,
        dialect.name(),
        secrets.as_deref() as Option<&[Vec<u8>]>
    )
    .execute(&mut *conn)
    .await?;
    let Some(secrets) = secrets.filter(|_| done.rows_affected() == 0) else {
        return Ok(done.rows_affected() == 1);
    };
    sqlx::query!(
        "INSERT INTO webhooks (id, url, types, locations, channels, secrets, created_by, platform, dialect)
         VALUES ($1, $2, $3, '{}', '{}', $4, $5, $6, $7)",
        Uuid::now_v7(),
        url,
        &[PLATFORM.to_owned()],
        &secrets,
        by,
        channel.as_str(),
        dialect.name()
    )
    .execute(conn)
    .await?;
    Ok(true)
}

/// The endpoint of a channel's platform.
pub async fn platform(conn: &mut PgConnection, channel: &ChannelName) -> sqlx::Result<Option<Webhook>> {
    let all = list(conn, true).await?;
    Ok(all.into_iter().find(|webhook| webhook.platform.as_deref() == Some(channel.as_str())))
}

/// A channel's platform is told nothing any more.
pub async fn remove_platform(conn: &mut PgConnection, channel: &ChannelName) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE webhooks SET removed_at = now() WHERE platform = $1 AND removed_at IS NULL",
        channel.as_str()
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Nothing is sent to it any more; what was to be is cleared away by and by. Says whether it was there.
pub async fn remove(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<bool> {
    let done =
        sqlx::query!("UPDATE webhooks SET removed_at = now() WHERE id = $1 AND removed_at IS NULL", id)
            .execute(conn)
            .await?;
    Ok(done.rows_affected() == 1)
}

/// What tries came to: endpoints that took something, that failed, and that said that they are gone.
#[derive(Debug, Clone, Default)]
pub struct CameTo {
    /// These took something.
    pub taken: Vec<Uuid>,
    /// These took nothing.
    pub failed: Vec<Uuid>,
    /// These said that they are gone.
    pub gone: Vec<Uuid>,
}

/// Writes down what tries came to, where it is news. Nothing is sent to those that are gone, and to those that have failed for so long
/// whatever was tried, until somebody enables them again. Says which these are.
pub async fn came_to(
    conn: &mut PgConnection,
    came_to: &CameTo,
    fails_for: Duration,
) -> sqlx::Result<Vec<Uuid>> {
    // In the order of their ids, or two who write could wait for each other.
    let rows = sqlx::query!(
        r#"
        WITH news AS (
            SELECT id, id = ANY($3) AS is_gone, id = ANY($1) AS is_taken, failing_since < now() - $4::bigint * interval '1 ms' AS fails
            FROM webhooks
            WHERE id = ANY($1 || $2 || $3) AND disabled_at IS NULL AND (
                id = ANY($3)
                OR (id = ANY($1) AND failing_since IS NOT NULL)
                OR (id = ANY($2) AND id <> ALL($1)
                    AND (failing_since IS NULL OR failing_since < now() - $4::bigint * interval '1 ms')))
            ORDER BY id FOR UPDATE
        )
        UPDATE webhooks w SET
            failing_since = CASE WHEN NOT n.is_taken THEN coalesce(w.failing_since, now()) END,
            disabled_at = CASE WHEN n.is_gone OR (n.fails AND NOT n.is_taken) THEN now() END,
            because = CASE WHEN n.is_gone THEN 'gone' WHEN n.fails AND NOT n.is_taken THEN 'failing' END,
            updated_at = CASE WHEN n.is_gone OR (n.fails AND NOT n.is_taken) THEN clock_timestamp() ELSE w.updated_at END
        FROM news n WHERE w.id = n.id
        RETURNING w.id AS "id!", w.disabled_at IS NOT NULL AS "disabled!"
        "#,
        &came_to.taken,
        &came_to.failed,
        &came_to.gone,
        super::millis(fails_for)
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().filter(|row| row.disabled).map(|row| row.id).collect())
}
