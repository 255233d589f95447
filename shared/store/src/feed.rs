//! feed: what has happened, in an order that can be followed: nothing is skipped, nothing comes twice, and the events of one
//! subject come by their versions. Workers note its moments and forget old ones (`forget`); a claim shows in it with the settlement
//! that ends it.
//!
//! A position in a sequence, a time and an id are all taken before the commit, so whoever remembers the last one seen skips
//! what commits late. Here moments are noted instead: a **tick** is a snapshot, which transactions had ended by then. What
//! had ended by one tick and not by the one before is read together, inside it by subject and version, in pages. Whoever
//! takes a page whole reads several ticks as one: the snapshots between need not have been noted.
//!
//! Two events of one order can have transaction ids against their versions: an id is taken before a lock is waited for. But
//! who got the lock later ended later, so no snapshot has that one without the other. (That does not hold of a snapshot's
//! xmin alone, the oldest transaction that runs: `proof/model/src/feed` has the run in which a third one parts the two.) It also
//! means that nobody waits for a stranger's long transaction.

use domain::event::{Event, What};
use domain::order::lines::Item;
use domain::order::status::OrderStatus;
use sqlx::types::Json;
use sqlx::{Connection, PgConnection};
use time::OffsetDateTime;
use uuid::Uuid;

use super::events::Row;

pub mod aside;
pub mod cursors;
mod forget;
pub mod news;

pub use self::forget::{forget, unread_seconds};

/// The advisory lock of whoever notes a tick: "feed" as a number.
const TICK_LOCK: i64 = 0x6665_6564;

/// How far a reader has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The tick that it has read, or is reading.
    pub tick: i64,
    /// When that was noted. After a lost database there may be another tick of this number, with other events in it.
    pub noted_at: OffsetDateTime,
    /// Within the tick, the last event that it has read: whose, and its version. `None`: it has read the whole tick.
    pub within: Option<(Uuid, i32)>,
}

impl Cursor {
    /// Behind this event of the page of one tick ([`read`]) that ends at `self`.
    #[must_use]
    pub const fn behind(self, event: &Event) -> Self {
        Self { within: Some((event.subject, event.version)), ..self }
    }
}

/// Where a reader begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the earliest event of which ticks are kept.
    Earliest,
    /// With what is noted from now on.
    Latest,
    /// With what was noted after this time, and a little before.
    At(OffsetDateTime),
}

/// What became of an attempt to note a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ticked {
    /// It is noted.
    Noted,
    /// Nothing has happened since the last one.
    Nothing,
    /// Somebody else is noting one.
    Taken,
    /// The database gives ids that it has given before: it was made anew from a dump. Nothing is noted until an operator has said
    /// that a new count begins (docs/runbooks.md, `FeedWentBack`).
    WentBack,
}

/// What there is for a reader.
#[derive(Debug, Clone)]
pub enum Read {
    /// The next events, of as many rows as were asked for at most; perhaps none, and yet the reader is further on.
    Page {
        /// In the order in which they are to be followed: a settlement's row is two.
        events: Vec<Event>,
        /// Behind them.
        next: Cursor,
    },
    /// Nothing yet.
    UpToDate,
    /// The cursor's tick is not there any more, or is another: it was forgotten, or the database was lost and this is an older
    /// one. What happened meanwhile cannot be told. (A tick that is there as it was has all its events, too.)
    Gone {
        /// Where one can begin again.
        earliest: Cursor,
    },
}

/// Ticks that are read as one, at most.
const TOGETHER: i64 = 256;

struct Tick {
    tick: i64,
    at: OffsetDateTime,
    before_tx: i64,
    running: Vec<i64>,
}

/// Notes which transactions have ended, unless nothing has happened since that was noted last. To be called some ten times a
/// second by any number of processes: one at a time does it.
pub async fn tick(conn: &mut PgConnection) -> sqlx::Result<Ticked> {
    let mut tx = conn.begin().await?;
    let mine = sqlx::query_scalar!(r#"SELECT pg_try_advisory_xact_lock($1) AS "mine!""#, TICK_LOCK)
        .fetch_one(&mut *tx)
        .await?;
    if !mine {
        tx.rollback().await?;
        return Ok(Ticked::Taken);
    }
    // A statement after the lock: its snapshot is newer than the last tick's.
    let seen = sqlx::query!(
        r#"
        SELECT last.tick AS "tick!", txid_snapshot_xmax(now) AS "before_tx!",
            ARRAY(SELECT txid_snapshot_xip(now)) AS "running!: Vec<i64>",
            txid_snapshot_xmax(now) < last.before_tx AS "went_back!",
            -- Each half looks at a few entries of the index on tx; put as one condition, they would walk all of it.
            coalesce((SELECT tx FROM order_events ORDER BY tx DESC LIMIT 1) >= last.before_tx, false)
                OR EXISTS (SELECT FROM unnest(last.running) AS late(tx)
                           -- The next one, and not any one that is equal: else all could be read to find that there is none.
                           WHERE (SELECT e.tx FROM order_events e WHERE e.tx >= late.tx ORDER BY e.tx LIMIT 1) = late.tx)
                AS "is_new!"
        FROM txid_current_snapshot() now
        CROSS JOIN LATERAL (SELECT tick, before_tx, running FROM feed_ticks ORDER BY tick DESC LIMIT 1) last
        "#
    )
    .fetch_one(&mut *tx)
    .await?;
    if seen.went_back || !seen.is_new {
        tx.rollback().await?;
        return Ok(if seen.went_back { Ticked::WentBack } else { Ticked::Nothing });
    }
    sqlx::query!(
        "INSERT INTO feed_ticks (tick, at, before_tx, running) VALUES ($1, clock_timestamp(), $2, $3)",
        seen.tick + 1,
        seen.before_tx,
        &seen.running
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(Ticked::Noted)
}

/// The cursor of a reader that begins here.
pub async fn start(conn: &mut PgConnection, start: Start) -> sqlx::Result<Cursor> {
    // The last tick before the first one after that time: a clock may have been put back between the two.
    let after = match start {
        Start::Earliest => Some(OffsetDateTime::UNIX_EPOCH),
        Start::Latest => None,
        Start::At(time) => Some(time),
    };
    let row = sqlx::query!(
        r#"
        WITH first AS (SELECT min(tick) AS tick FROM feed_ticks WHERE at > $1)
        SELECT tick AS "tick!", at AS "at!" FROM (
            (SELECT tick, at FROM feed_ticks WHERE tick < coalesce((SELECT tick FROM first), 9223372036854775807)
             ORDER BY tick DESC LIMIT 1)
            UNION ALL
            (SELECT tick, at FROM feed_ticks ORDER BY tick LIMIT 1)
        ) found ORDER BY tick DESC LIMIT 1
        "#,
        after
    )
    .fetch_one(conn)
    .await?;
    Ok(Cursor { tick: row.tick, noted_at: row.at, within: None })
}

/// For how long what a reader has not read has been there to be read, in seconds: since the tick that it is to read next, or
/// since an event that no tick holds yet, should nobody note any; 0: it has read everything.
pub async fn lag_seconds(conn: &mut PgConnection, cursor: &Cursor) -> sqlx::Result<f64> {
    sqlx::query_scalar!(
        r#"
        SELECT greatest(0, extract(epoch FROM clock_timestamp() - least(
            (SELECT at FROM feed_ticks WHERE tick > $1 OR (tick = $1 AND NOT $2) ORDER BY tick LIMIT 1),
            (SELECT at FROM order_events WHERE tx >= (SELECT before_tx FROM feed_ticks ORDER BY tick DESC LIMIT 1)
             ORDER BY tx LIMIT 1))))::float8 AS "lag!"
        "#,
        cursor.tick,
        cursor.within.is_none()
    )
    .fetch_one(conn)
    .await
}

/// The next page behind `cursor`. Moves nothing: whoever follows writes what it does with the page and the next cursor in one
/// transaction, and holds a lock of its own meanwhile, or pages are followed twice.
///
/// Each page sorts what its tick holds: a tick of a tenth of a second is nothing, one of a million events is a third of a second
/// a page. So ticks are to be noted from the day on which somebody may want to follow.
pub async fn read(conn: &mut PgConnection, cursor: &Cursor, limit: u32) -> sqlx::Result<Read> {
    let ticks = around(conn, cursor.tick).await?;
    read_one(conn, cursor, &ticks, limit, Lines::All).await
}

/// Which lines of orders are read with what happened to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lines {
    /// All.
    All,
    /// None but those with amounts beside them.
    WithAmounts,
}

/// The same, for whoever takes a page whole or not at all: of several ticks it makes one page, as far as they fit. No cursor may stand
/// [`behind`](Cursor::behind) one of its events. And for whoever does not need all lines: most of an order's bytes are these.
pub async fn read_whole(
    conn: &mut PgConnection,
    cursor: &Cursor,
    limit: u32,
    lines: Lines,
) -> sqlx::Result<Read> {
    read_until(conn, cursor, i64::MAX, limit, lines).await
}

/// The same, no further than this tick.
pub async fn read_until(
    conn: &mut PgConnection,
    cursor: &Cursor,
    until: i64,
    limit: u32,
    lines: Lines,
) -> sqlx::Result<Read> {
    let mut ticks = around(conn, cursor.tick).await?;
    ticks.retain(|tick| tick.tick <= until.max(cursor.tick));
    match read_several(conn, cursor, &ticks, until, limit, lines).await? {
        Some(page) => Ok(page),
        None => read_one(conn, cursor, &ticks, limit, lines).await,
    }
}

/// Where the cursor's tick is among these, if it is there as it was.
fn place_of(cursor: &Cursor, ticks: &[Tick]) -> Option<usize> {
    ticks.iter().position(|tick| tick.tick == cursor.tick && tick.at == cursor.noted_at)
}

/// All of several ticks; `None`: the cursor stands within one, there are not so many, or they do not fit into a page.
async fn read_several(
    conn: &mut PgConnection,
    cursor: &Cursor,
    ticks: &[Tick],
    until: i64,
    limit: u32,
    lines: Lines,
) -> sqlx::Result<Option<Read>> {
    if cursor.within.is_none()
        && let Some(here) = place_of(cursor, ticks)
        && let [before, next, _, ..] = &ticks[here..]
        && let Some(last) = furthest(conn, before, until, limit).await?
        && last.tick > next.tick
        && let whole @ Read::Page { next: Cursor { within: None, .. }, .. } =
            page(conn, (before, &last), None, limit, lines).await?
    {
        return Ok(Some(whole));
    }
    Ok(None)
}

/// A page of one tick.
async fn read_one(
    conn: &mut PgConnection,
    cursor: &Cursor,
    ticks: &[Tick],
    limit: u32,
    lines: Lines,
) -> sqlx::Result<Read> {
    let Some(here) = place_of(cursor, ticks) else { return gone(conn).await };
    let (before, of) = match cursor.within {
        None => (ticks.get(here), ticks.get(here + 1)),
        Some(_) => (here.checked_sub(1).and_then(|before| ticks.get(before)), ticks.get(here)),
    };
    match (before, of) {
        (Some(before), Some(of)) => page(conn, (before, of), cursor.within, limit, lines).await,
        (Some(_), None) => Ok(Read::UpToDate),
        // The one before is forgotten: what this one adds to it cannot be told any more.
        (None, _) => gone(conn).await,
    }
}

/// The tick of this number, the one before it and the two after it, as far as there are.
async fn around(conn: &mut PgConnection, tick: i64) -> sqlx::Result<Vec<Tick>> {
    sqlx::query_as!(
        Tick,
        r#"
        (SELECT tick AS "tick!", at AS "at!", before_tx AS "before_tx!", running AS "running!" FROM feed_ticks
         WHERE tick < $1 ORDER BY tick DESC LIMIT 1)
        UNION ALL
        (SELECT tick, at, before_tx, running FROM feed_ticks WHERE tick >= $1 ORDER BY tick LIMIT 3)
        "#,
        tick
    )
    .fetch_all(conn)
    .await
}

/// The last of the ticks up to `until` that together hold hardly more than `limit` rows behind `before`. By the ids, so that what ran at
/// `before` is not counted: a page of several ticks is kept only if it is whole, because a cursor cannot stand within several.
async fn furthest(
    conn: &mut PgConnection,
    before: &Tick,
    until: i64,
    limit: u32,
) -> sqlx::Result<Option<Tick>> {
    sqlx::query_as!(
        Tick,
        r#"
        SELECT tick, at, before_tx, running FROM feed_ticks
        WHERE tick > $1 AND tick <= least($1 + $4, $5) AND before_tx <= coalesce(
            (SELECT tx FROM order_events WHERE tx >= $2 ORDER BY tx OFFSET $3 LIMIT 1), 9223372036854775807)
        ORDER BY tick DESC LIMIT 1
        "#,
        before.tick,
        before.before_tx,
        i64::from(limit) * 3 / 4,
        TOGETHER,
        until
    )
    .fetch_optional(conn)
    .await
}

async fn gone(conn: &mut PgConnection) -> sqlx::Result<Read> {
    Ok(Read::Gone { earliest: start(conn, Start::Earliest).await? })
}

/// The events of up to `limit` rows that `of` has and `before` has not.
async fn page(
    conn: &mut PgConnection,
    (before, of): (&Tick, &Tick),
    within: Option<(Uuid, i32)>,
    limit: u32,
    lines: Lines,
) -> sqlx::Result<Read> {
    let (subject, version) = within.unwrap_or((Uuid::nil(), 0));
    let limit = limit.max(1);
    // OFFSET 0 keeps the two apart: the index on tx finds the tick's events, and no other index is walked in their place.
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT subject AS "subject!", version AS "version!", what AS "what!: What",
            from_status AS "from: OrderStatus", to_status AS "to: OrderStatus", actor AS "actor!", reason, payment_id,
            amount_minor, CASE WHEN $8 OR strpos(items::text, '"adjustments"') > 0 THEN items END AS "items: Json<Vec<Item>>",
            at AS "at!", began_at
        FROM (
            SELECT * FROM order_events
            WHERE ((tx >= $1 AND tx < $2) OR tx = ANY($3)) AND tx <> ALL($4) OFFSET 0
        ) of_the_tick
        WHERE (subject, version) > ($5, $6) ORDER BY subject, version LIMIT $7
        "#,
        before.before_tx,
        of.before_tx,
        &before.running,
        &of.running,
        subject,
        version,
        i64::from(limit),
        lines == Lines::All
    )
    .fetch_all(conn)
    .await?;
    let is_full = rows.len() == usize::try_from(limit).unwrap_or(usize::MAX);
    let within = rows.last().filter(|_| is_full).map(|row| (row.subject, row.version));
    let next = Cursor { tick: of.tick, noted_at: of.at, within };
    // A row may be two events, and a reader may have stopped between them.
    let is_new = |event: &Event| (event.subject, event.version) > (subject, version);
    let events = rows.into_iter().flat_map(Row::events).filter(is_new).collect();
    Ok(Read::Page { events, next })
}
