//! The numbers made anew, from the first event on, in a second set of tables, beside which the first is read and written as ever. What
//! names the tables names no schema: whoever works on the second set looks there first (`SET LOCAL search_path`), and all statements
//! are the same.

use domain::event::{Event, What};
use domain::order::lines::Item;
use domain::order::status::OrderStatus;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use uuid::Uuid;

use crate::events::Row;
use crate::feed::cursors;
use crate::feed::{self, Cursor, Start};

/// Where the second set is while it is made, and whose cursor says how far that is.
pub const ANEW: &str = "roll_up_anew";
/// The tables, and how they are kept (migrations, 0011).
const TABLES: [(&str, &str); 2] = [
    ("rolled_hours", "fillfactor = 50, toast_tuple_target = 4080"),
    (
        "rolled_customers",
        "fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 50000,
         autovacuum_vacuum_cost_limit = 2000",
    ),
];

/// What is to be read first, all of it: the events of one moment.
#[derive(Debug, Clone)]
pub struct Moment {
    before_tx: i64,
    running: Vec<i64>,
    /// What comes behind it.
    pub cursor: Cursor,
}

/// Nobody else makes them anew while this connection lives; whether it is so.
pub async fn alone(conn: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar!(r#"SELECT pg_try_advisory_lock(hashtextextended($1, 0)) AS "mine!""#, ANEW)
        .fetch_one(conn)
        .await
}

/// Clears away what is left of a second set whose maker has died, and its cursor, for which what has happened is kept; says whether there
/// was any. One that is being made is left alone.
pub async fn clear(conn: &mut PgConnection) -> sqlx::Result<bool> {
    let mut tx = conn.begin().await?;
    let is_left = sqlx::query_scalar!(
        r#"SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0)) AND (
               EXISTS (SELECT FROM pg_namespace WHERE nspname = $1) OR EXISTS (SELECT FROM feed_cursors WHERE follower = $1)
           ) AS "is!""#,
        ANEW
    )
    .fetch_one(&mut *tx)
    .await?;
    if is_left {
        tx.execute(AssertSqlSafe(format!("DROP SCHEMA IF EXISTS {ANEW} CASCADE"))).await?;
        sqlx::query!("DELETE FROM feed_cursors WHERE follower = $1", ANEW).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(is_left)
}

/// An empty second set; and the moment up to which all is to be read. What happens later waits for its cursor.
pub async fn begin(conn: &mut PgConnection) -> sqlx::Result<Moment> {
    feed::tick(conn).await?;
    let home = home(conn).await?;
    let mut statements = format!("BEGIN; CREATE SCHEMA {ANEW};");
    for (table, kept) in TABLES {
        statements +=
            &format!("CREATE TABLE {ANEW}.{table} (LIKE {home}.{table} INCLUDING ALL) WITH ({kept});");
    }
    conn.execute(AssertSqlSafe(statements + "COMMIT")).await?;
    let cursor = feed::start(conn, Start::Latest).await?;
    cursors::set(conn, ANEW, &cursor).await?;
    let moment = sqlx::query!(
        r#"SELECT before_tx AS "before_tx!", running AS "running!" FROM feed_ticks WHERE tick = $1"#,
        cursor.tick
    )
    .fetch_one(conn)
    .await?;
    Ok(Moment { before_tx: moment.before_tx, running: moment.running, cursor })
}

/// The next events of the moment behind this one, order by order, of so many rows.
pub async fn page(
    conn: &mut PgConnection,
    moment: &Moment,
    behind: (Uuid, i32),
    rows: i64,
) -> sqlx::Result<(Vec<Event>, Option<(Uuid, i32)>)> {
    let found = sqlx::query_as!(
        Row,
        r#"SELECT subject AS "subject!", version AS "version!", what AS "what!: What", from_status AS "from: OrderStatus",
               to_status AS "to: OrderStatus", '' AS "actor!", reason, payment_id, amount_minor,
               CASE WHEN strpos(items::text, '"adjustments"') > 0 THEN items END AS "items: Json<Vec<Item>>", at AS "at!", began_at
           FROM order_events
           WHERE (subject, version) > ($1, $2) AND tx < $3 AND tx <> ALL($4)
           ORDER BY subject, version LIMIT $5"#,
        behind.0,
        behind.1,
        moment.before_tx,
        &moment.running,
        rows
    )
    .fetch_all(conn)
    .await?;
    let last = found.last().map(|row| (row.subject, row.version));
    Ok((found.into_iter().flat_map(Row::events).collect(), last))
}

/// For the rest of the transaction the second set is meant.
pub async fn there(conn: &mut PgConnection) -> sqlx::Result<()> {
    let home = home(conn).await?;
    conn.execute(AssertSqlSafe(format!("SET LOCAL search_path = {ANEW}, {home}"))).await.map(drop)
}

/// The second set takes the place of the first, in the transaction of `conn`, which holds the follower's name; and the follower goes on
/// behind `cursor`. What it had put aside is counted in the second set.
pub async fn swap(conn: &mut PgConnection, follower: &str, cursor: &Cursor) -> sqlx::Result<()> {
    let home = home(conn).await?;
    let mut statements = String::new();
    for (table, _) in TABLES {
        statements += &format!("DROP TABLE {home}.{table}; ALTER TABLE {ANEW}.{table} SET SCHEMA {home};");
    }
    conn.execute(AssertSqlSafe(statements + &format!("DROP SCHEMA {ANEW}"))).await?;
    cursors::set(conn, follower, cursor).await?;
    sqlx::query!("DELETE FROM feed_aside WHERE follower = $1", follower).execute(&mut *conn).await?;
    sqlx::query!("DELETE FROM feed_cursors WHERE follower = $1", ANEW).execute(conn).await.map(drop)
}

/// Whether they have to be made anew: nobody has ever rolled up here, and the moments of what happened first are forgotten.
pub async fn is_needed(conn: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT NOT EXISTS (SELECT FROM feed_cursors WHERE follower = 'roll_up')
               AND NOT EXISTS (SELECT FROM feed_ticks WHERE tick = 0) AS "is!""#
    )
    .fetch_one(conn)
    .await
}

/// The schema of all other tables, as it is written in statements.
async fn home(conn: &mut PgConnection) -> sqlx::Result<String> {
    sqlx::query_scalar!(
        r#"SELECT quote_ident(n.nspname) AS "home!" FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE c.oid = 'feed_cursors'::regclass"#
    )
    .fetch_one(conn)
    .await
}
