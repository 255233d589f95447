//! deliveries: what is to be told to whom. Of an endpoint and an order one at a time waits to be sent, the one with the lowest
//! version; the next does when that one is taken or parked.
//!
//! Whoever adds to an order's line, ends its first one, or lets a parked one be sent again, locks first what is not taken: so none overlooks
//! what another has just written. The statement after the lock sees it, and lets the next step forward.
//!
//! `= ANY(ARRAY[..])`, as in `claim`: a plan that was made while nothing was to be told must not walk through all that is; nor
//! through an index over a part of it, which a plain condition on the status would offer. It still walks through all that is to be
//! told to one endpoint: so sessions of these plan anew (`Session::planning_anew`).

mod sabotage;

use std::time::Duration;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

/// Lanes of no endpoint: mails of orders, and sale notices. `mail.rs` names each.
pub(super) const MAILS: [Uuid; 2] = [Uuid::from_u128(0x6d61_696c), Uuid::from_u128(0x0073_616c_6573)];

/// Which one: an endpoint's, of this order and version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The endpoint.
    pub webhook: Uuid,
    /// The order.
    pub subject: Uuid,
    /// Of the order.
    pub version: i32,
}

/// Something that is to be told.
#[derive(Debug, Clone)]
pub struct New {
    /// To whom, of what.
    pub key: Key,
    /// The event's type.
    pub kind: String,
    /// What is sent.
    pub body: String,
}

/// Adds these; those that are there stay as they are.
pub async fn add(conn: &mut PgConnection, new: &[New]) -> sqlx::Result<()> {
    let keys: Vec<Key> = new.iter().map(|one| one.key).collect();
    lock(conn, &keys).await?;
    let [webhooks, subjects] = lines(&keys);
    let versions: Vec<i32> = keys.iter().map(|key| key.version).collect();
    let kinds: Vec<String> = new.iter().map(|one| one.kind.clone()).collect();
    let bodies: Vec<String> = new.iter().map(|one| one.body.clone()).collect();
    sqlx::query!(
        "INSERT INTO deliveries (webhook, subject, version, type, body)
         SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::text[], $5::text[]) ON CONFLICT DO NOTHING",
        &webhooks,
        &subjects,
        &versions,
        &kinds,
        &bodies
    )
    .execute(&mut *conn)
    .await?;
    step_forward(conn, &keys).await
}

/// The endpoints and orders of these.
fn lines(keys: &[Key]) -> [Vec<Uuid>; 2] {
    [keys.iter().map(|key| key.webhook).collect(), keys.iter().map(|key| key.subject).collect()]
}

/// Locks what waits of these endpoints and orders; and what is behind: while this waited for the first one to end, the next may have
/// stepped forward, and that one is to be held; and what is parked: where nothing else is left, who adds meets here who replays. Line by
/// line: joined to all, a planner that knows nothing yet of a table that fills would walk through the whole of it.
async fn lock(conn: &mut PgConnection, keys: &[Key]) -> sqlx::Result<()> {
    let [webhooks, subjects] = lines(keys);
    sqlx::query!(
        r#"
        SELECT d.version AS "version!"
        FROM (SELECT DISTINCT webhook, subject FROM unnest($1::uuid[], $2::uuid[]) line(webhook, subject)
              ORDER BY webhook, subject) line
        CROSS JOIN LATERAL (
            SELECT version FROM deliveries
            WHERE webhook = line.webhook AND subject = line.subject AND status <> 'taken'
            ORDER BY version FOR UPDATE
        ) d
        "#,
        &webhooks,
        &subjects
    )
    .fetch_all(conn)
    .await
    .map(drop)
}

/// Where none of an endpoint and an order waits, the first that is behind does.
async fn step_forward(conn: &mut PgConnection, keys: &[Key]) -> sqlx::Result<()> {
    let [webhooks, subjects] = lines(keys);
    if runtime::chaos::sabotaged("newest_first") {
        return sabotage::newest_first(conn, &webhooks, &subjects).await;
    }
    sqlx::query!(
        r#"
        UPDATE deliveries d SET status = 'waiting', due_at = now()
        FROM (SELECT DISTINCT webhook, subject FROM unnest($1::uuid[], $2::uuid[]) line(webhook, subject)) line
        CROSS JOIN LATERAL (
            SELECT version FROM deliveries
            WHERE webhook = line.webhook AND subject = line.subject AND status = 'behind' ORDER BY version LIMIT 1
        ) next
        WHERE d.webhook = ANY(ARRAY[line.webhook]) AND d.subject = ANY(ARRAY[line.subject])
            AND d.version = ANY(ARRAY[next.version])
            AND NOT EXISTS (SELECT FROM deliveries w
                            WHERE w.webhook = line.webhook AND w.subject = line.subject AND w.status = 'waiting')
        "#,
        &webhooks,
        &subjects
    )
    .execute(conn)
    .await
    .map(drop)
}

/// One that this process is to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// Which.
    pub key: Key,
    /// What ends it names this.
    pub epoch: i32,
    /// Of this turn: 1, 2, ..
    pub attempt: i32,
    /// What is sent.
    pub body: String,
    /// Whom the order is for, as it stands now, where the endpoint is told that. JSON.
    pub handover: Option<String>,
}

/// Claims for each of these endpoints what is due, longest due first, as many as it has room for. Who does not end one within
/// `lease` loses it.
pub async fn claim(
    conn: &mut PgConnection,
    rooms: &[(Uuid, i64)],
    lease: Duration,
) -> sqlx::Result<Vec<Claimed>> {
    let (webhooks, rooms): (Vec<Uuid>, Vec<i64>) = rooms.iter().copied().unzip();
    let rows = sqlx::query!(
        r#"
        UPDATE deliveries d SET due_at = now() + $3::bigint * interval '1 ms', epoch = d.epoch + 1, attempts = d.attempts + 1
        FROM unnest($1::uuid[], $2::bigint[]) lane(webhook, room)
        CROSS JOIN LATERAL (
            SELECT subject, version FROM deliveries
            WHERE webhook = lane.webhook AND due_at <= now() ORDER BY due_at LIMIT lane.room FOR UPDATE SKIP LOCKED
        ) due
        WHERE d.webhook = ANY(ARRAY[lane.webhook]) AND d.subject = ANY(ARRAY[due.subject]) AND d.version = ANY(ARRAY[due.version])
        RETURNING d.webhook AS "webhook!", d.subject AS "subject!", d.version AS "version!", d.epoch AS "epoch!",
            d.attempts AS "attempt!", d.body AS "body!",
            -- Read when it is sent: what is forgotten meanwhile is told to nobody.
            (SELECT (jsonb_build_object('customer_id', o.customer_id) || coalesce(x.handover, '{}'))::text
             FROM webhooks w JOIN orders o ON o.id = d.subject LEFT JOIN order_details x ON x.order_id = o.id
             WHERE w.id = d.webhook AND w.with_handover AND x.forgotten IS NOT TRUE) AS handover
        "#,
        &webhooks,
        &rooms,
        super::millis(lease)
    )
    .fetch_all(conn)
    .await?;
    let claimed = rows.into_iter().map(|row| {
        let key = Key { webhook: row.webhook, subject: row.subject, version: row.version };
        Claimed { key, epoch: row.epoch, attempt: row.attempt, body: row.body, handover: row.handover }
    });
    Ok(claimed.collect())
}

/// What becomes of one that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The endpoint has it.
    Taken,
    /// It is sent again after so long.
    Again(Duration),
    /// It is sent again when somebody says so.
    Parked,
}

/// A try.
#[derive(Debug, Clone)]
pub struct Tried {
    /// Of which.
    pub key: Key,
    /// Of its claim.
    pub epoch: i32,
    /// When it began, and how long it took.
    pub at: OffsetDateTime,
    /// The same in milliseconds.
    pub took_ms: i32,
    /// Of the answer.
    pub status: Option<i16>,
    /// Why there was none.
    pub fault: Option<String>,
    /// What becomes of it.
    pub next: Next,
}

/// Writes these tries down, and what becomes of each, unless somebody else has claimed it since; those behind it step forward.
pub async fn end(conn: &mut PgConnection, tried: &[Tried]) -> sqlx::Result<()> {
    let mut tried: Vec<&Tried> = tried.iter().collect();
    // In the order in which they are locked by whoever adds more.
    tried.sort_unstable_by_key(|one| one.key);
    let keys: Vec<Key> = tried.iter().map(|one| one.key).collect();
    lock(conn, &keys).await?;
    let [webhooks, subjects] = lines(&keys);
    let versions: Vec<i32> = keys.iter().map(|key| key.version).collect();
    let epochs: Vec<i32> = tried.iter().map(|one| one.epoch).collect();
    let statuses: Vec<&str> = tried
        .iter()
        .map(|one| match one.next {
            Next::Taken => "taken",
            Next::Again(_) => "waiting",
            Next::Parked => "parked",
        })
        .collect();
    let delays: Vec<Option<i64>> = tried
        .iter()
        .map(|one| match one.next {
            Next::Again(after) => Some(super::millis(after)),
            Next::Taken | Next::Parked => None,
        })
        .collect();
    sqlx::query!(
        r#"
        UPDATE deliveries d SET status = i.status::delivery_status, due_at = now() + i.delay * interval '1 ms',
            ended_at = CASE WHEN i.delay IS NULL THEN now() END
        FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::int[], $5::text[], $6::bigint[])
            i(webhook, subject, version, epoch, status, delay)
        WHERE d.webhook = ANY(ARRAY[i.webhook]) AND d.subject = ANY(ARRAY[i.subject]) AND d.version = ANY(ARRAY[i.version])
            AND d.epoch = i.epoch AND d.status IS NOT DISTINCT FROM 'waiting'
        "#,
        &webhooks,
        &subjects,
        &versions,
        &epochs,
        &statuses as &[&str],
        &delays as &[Option<i64>]
    )
    .execute(&mut *conn)
    .await?;
    note(conn, &tried).await?;
    step_forward(conn, &keys).await
}

/// Gives back what was claimed and not sent: it is due at once, and that was no try.
pub async fn give_back(conn: &mut PgConnection, claimed: &[(Key, i32)]) -> sqlx::Result<()> {
    let (keys, epochs): (Vec<Key>, Vec<i32>) = claimed.iter().copied().unzip();
    let [webhooks, subjects] = lines(&keys);
    let versions: Vec<i32> = keys.iter().map(|key| key.version).collect();
    sqlx::query!(
        "UPDATE deliveries d SET due_at = now(), attempts = d.attempts - 1
         FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::int[]) i(webhook, subject, version, epoch)
         WHERE d.webhook = ANY(ARRAY[i.webhook]) AND d.subject = ANY(ARRAY[i.subject]) AND d.version = ANY(ARRAY[i.version])
             AND d.epoch = i.epoch AND d.status IS NOT DISTINCT FROM 'waiting'",
        &webhooks,
        &subjects,
        &versions,
        &epochs
    )
    .execute(conn)
    .await
    .map(drop)
}

async fn note(conn: &mut PgConnection, tried: &[&Tried]) -> sqlx::Result<()> {
    let keys: Vec<Key> = tried.iter().map(|one| one.key).collect();
    let [webhooks, subjects] = lines(&keys);
    let versions: Vec<i32> = keys.iter().map(|key| key.version).collect();
    let epochs: Vec<i32> = tried.iter().map(|one| one.epoch).collect();
    let times: Vec<OffsetDateTime> = tried.iter().map(|one| one.at).collect();
    let took: Vec<i32> = tried.iter().map(|one| one.took_ms).collect();
    let statuses: Vec<Option<i16>> = tried.iter().map(|one| one.status).collect();
    let faults: Vec<Option<String>> = tried.iter().map(|one| one.fault.clone()).collect();
    sqlx::query!(
        "INSERT INTO delivery_attempts (webhook, subject, version, number, at, took_ms, status, fault)
         SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::int[], $5::timestamptz[], $6::int[], $7::smallint[], $8::text[])
         ON CONFLICT DO NOTHING",
        &webhooks,
        &subjects,
        &versions,
        &epochs,
        &times,
        &took,
        &statuses as &[Option<i16>],
        &faults as &[Option<String>]
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Which parked ones are to be sent again.
#[derive(Debug, Clone, Copy)]
pub enum Which {
    /// This one.
    One(Uuid, i32),
    /// Those that were made at this time or later, and before that.
    Made(Option<OffsetDateTime>, Option<OffsetDateTime>),
}

/// Lets up to `limit` parked ones be sent again, oldest first, each before what is behind it; says how many.
pub async fn replay(conn: &mut PgConnection, webhook: Uuid, which: Which, limit: i64) -> sqlx::Result<u64> {
    let (one, from, to) = match which {
        Which::One(subject, version) => (Some((subject, version)), None, None),
        Which::Made(from, to) => (None, from, to),
    };
    let found = sqlx::query!(
        r#"
        SELECT subject AS "subject!", version AS "version!" FROM deliveries
        WHERE webhook = $1 AND status = 'parked' AND ($2::uuid IS NULL OR (subject = $2 AND version = $3))
            AND ($4::timestamptz IS NULL OR made_at >= $4) AND ($5::timestamptz IS NULL OR made_at < $5)
        ORDER BY ended_at, version LIMIT $6
        "#,
        webhook,
        one.map(|(subject, _)| subject),
        one.map(|(_, version)| version),
        from,
        to,
        limit
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut keys: Vec<Key> =
        found.iter().map(|row| Key { webhook, subject: row.subject, version: row.version }).collect();
    keys.sort_unstable();
    lock(conn, &keys).await?;
    let [webhooks, subjects] = lines(&keys);
    let versions: Vec<i32> = keys.iter().map(|key| key.version).collect();
    let done = sqlx::query!(
        "UPDATE deliveries d SET status = 'behind', attempts = 0, ended_at = NULL
         FROM unnest($1::uuid[], $2::uuid[], $3::int[]) i(webhook, subject, version)
         WHERE d.webhook = ANY(ARRAY[i.webhook]) AND d.subject = ANY(ARRAY[i.subject]) AND d.version = ANY(ARRAY[i.version])
             AND d.status IS NOT DISTINCT FROM 'parked'",
        &webhooks,
        &subjects,
        &versions
    )
    .execute(&mut *conn)
    .await?;
    step_forward(conn, &keys).await?;
    Ok(done.rows_affected())
}

/// One, to be looked at.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The order.
    pub subject: Uuid,
    /// Of the order.
    pub version: i32,
    /// The event's type.
    pub kind: String,
    /// `behind`, `waiting`, `taken` or `parked`.
    pub status: String,
    /// When it was made, is due, and ended.
    pub made_at: OffsetDateTime,
    /// When it is sent.
    pub due_at: Option<OffsetDateTime>,
    /// When it was taken or parked.
    pub ended_at: Option<OffsetDateTime>,
}

/// A try, to be looked at.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The order.
    pub subject: Uuid,
    /// Of the order.
    pub version: i32,
    /// When.
    pub at: OffsetDateTime,
    /// How long it took.
    pub took_ms: i32,
    /// Of the answer.
    pub status: Option<i16>,
    /// Why there was none.
    pub fault: Option<String>,
}

/// Up to `limit` of an endpoint's that stand at this status (all, where none is named), behind `after` in the order of their keys,
/// with their tries.
pub async fn list(
    conn: &mut PgConnection,
    webhook: Uuid,
    status: Option<&str>,
    after: (Uuid, i32),
    limit: i64,
) -> sqlx::Result<(Vec<Shown>, Vec<Attempt>)> {
    let shown = sqlx::query_as!(
        Shown,
        r#"SELECT subject AS "subject!", version AS "version!", type AS "kind!", status::text AS "status!",
                  made_at AS "made_at!", due_at, ended_at
           FROM deliveries WHERE webhook = $1 AND (subject, version) > ($2, $3) AND ($4::text IS NULL OR status::text = $4)
           ORDER BY webhook, subject, version LIMIT $5"#,
        webhook,
        after.0,
        after.1,
        status,
        limit
    )
    .fetch_all(&mut *conn)
    .await?;
    let subjects: Vec<Uuid> = shown.iter().map(|one| one.subject).collect();
    let versions: Vec<i32> = shown.iter().map(|one| one.version).collect();
    let attempts = sqlx::query_as!(
        Attempt,
        r#"SELECT a.subject AS "subject!", a.version AS "version!", at AS "at!", took_ms AS "took_ms!", status, fault
           FROM unnest($2::uuid[], $3::int[]) i(subject, version)
           JOIN delivery_attempts a ON a.webhook = $1 AND a.subject = i.subject AND a.version = i.version
           ORDER BY a.subject, a.version, a.number"#,
        webhook,
        &subjects,
        &versions
    )
    .fetch_all(conn)
    .await?;
    Ok((shown, attempts))
}

/// Forgets what was taken longer than `keep` ago, and what is left of endpoints that were removed: up to `limit` of each. Says how
/// many.
pub async fn forget(conn: &mut PgConnection, keep: Duration, limit: i64) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        r#"
        WITH old AS (
            SELECT webhook, subject, version FROM deliveries
            WHERE status = 'taken' AND ended_at < now() - $1::bigint * interval '1 ms' ORDER BY ended_at LIMIT $2
        ), of_removed AS (
            SELECT d.webhook, d.subject, d.version FROM webhooks w CROSS JOIN LATERAL (
                SELECT webhook, subject, version FROM deliveries WHERE webhook = w.id LIMIT $2
            ) d WHERE w.removed_at IS NOT NULL LIMIT $2
        ), tries AS (
            DELETE FROM delivery_attempts a USING (TABLE old UNION TABLE of_removed) o
            WHERE a.webhook = o.webhook AND a.subject = o.subject AND a.version = o.version
        )
        DELETE FROM deliveries d USING (TABLE old UNION TABLE of_removed) o
        WHERE d.webhook = o.webhook AND d.subject = o.subject AND d.version = o.version
        "#,
        super::millis(keep),
        limit
    )
    .execute(&mut *conn)
    .await?;
    // An hour later nobody is about who has still seen it.
    sqlx::query!(
        "DELETE FROM webhooks w WHERE removed_at < now() - interval '1 hour'
             AND NOT EXISTS (SELECT FROM deliveries WHERE webhook = w.id)"
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// What operators must know of all of them, but for mails.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing {
    /// For how long the one that is due longest has been, of endpoints that are not disabled, in seconds; 0 where none is.
    pub oldest_due_seconds: f64,
    /// Those that are parked, 10,000 at most.
    pub parked: i64,
    /// Endpoints that nothing is sent to because they are gone, or failed for days.
    pub disabled: i64,
}

/// Looks.
pub async fn standing(conn: &mut PgConnection) -> sqlx::Result<Standing> {
    sqlx::query_as!(
        Standing,
        r#"
        SELECT coalesce((
                SELECT greatest(0, max(extract(epoch FROM now() - first.due_at))) FROM webhooks w CROSS JOIN LATERAL (
                    SELECT due_at FROM deliveries WHERE webhook = w.id AND due_at IS NOT NULL ORDER BY due_at LIMIT 1
                ) first WHERE w.disabled_at IS NULL AND w.removed_at IS NULL), 0)::float8 AS "oldest_due_seconds!",
            (SELECT count(*) FROM (SELECT FROM deliveries WHERE status = 'parked' AND webhook <> ALL($1) LIMIT 10000) p) AS "parked!",
            (SELECT count(*) FROM webhooks WHERE because IN ('gone', 'failing') AND removed_at IS NULL) AS "disabled!"
        "#,
        &MAILS[..]
    )
    .fetch_one(conn)
    .await
}
