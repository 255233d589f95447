//! mail: who is to be written what of an order, and what there is to write. What is to be sent stands among the deliveries, in the
//! lane [`LANE`]: the rows name a person and no address, so that what is forgotten, or another by then, is sent to nobody.

use domain::location::MAIN;
use domain::mail::Mail;
use domain::order::Order;
use sqlx::{Connection, PgConnection};
use time::OffsetDateTime;
use uuid::Uuid;

use super::deliveries::{MAILS, Which, replay};

/// Where mails stand among the deliveries, in the place of an endpoint.
pub const LANE: Uuid = MAILS[0];
/// The same of sale notices, which may be many: no order's mail waits for them.
pub const SALES: Uuid = MAILS[1];
/// Sent again in one go.
const AT_ONCE: i64 = 10_000;

/// Whose order it is, and what they chose to be written.
#[derive(Debug, Clone)]
pub struct Recipient {
    /// The order.
    pub order: Uuid,
    /// The customer.
    pub person: Uuid,
    /// What they get.
    pub mails: Vec<Mail>,
}

/// What somebody chose; the usual, where they chose nothing.
fn chosen(names: Option<Vec<String>>) -> Vec<Mail> {
    match names {
        Some(names) => names.iter().filter_map(|name| Mail::parse(name)).collect(),
        None => Mail::DEFAULT.to_vec(),
    }
}

/// Of these orders those whose customer is known here and may log in, and which are not forgotten.
pub async fn recipients(conn: &mut PgConnection, orders: &[Uuid]) -> sqlx::Result<Vec<Recipient>> {
    let rows = sqlx::query!(
        r#"
        SELECT o.id AS "order!", u.id AS "person!", p.mails AS "mails?"
        FROM orders o
        -- A customer of another issuer, or of none, may be called anything.
        JOIN users u ON u.active AND u.id = CASE
            WHEN o.customer_id ~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' THEN o.customer_id::uuid END
        LEFT JOIN mail_preferences p ON p.person = u.id
        WHERE o.id = ANY($1) AND NOT EXISTS (SELECT FROM order_details d WHERE d.order_id = o.id AND d.forgotten)
        "#,
        orders
    )
    .fetch_all(conn)
    .await?;
    let recipients = rows.into_iter().map(|row| Recipient {
        order: row.order,
        person: row.person,
        mails: chosen(row.mails),
    });
    Ok(recipients.collect())
}

/// Whom to write.
#[derive(Clone)]
pub struct Addressee {
    /// In lower case.
    pub email: String,
    /// As they want to be called.
    pub name: Option<String>,
}

/// A person, if they may still log in.
pub async fn addressee(conn: &mut PgConnection, person: Uuid) -> sqlx::Result<Option<Addressee>> {
    sqlx::query_as!(Addressee, "SELECT email, name FROM users WHERE id = $1 AND active", person)
        .fetch_optional(conn)
        .await
}

/// An order, and what its location is called; `None`: it is forgotten.
pub async fn order(conn: &mut PgConnection, order: Uuid) -> sqlx::Result<Option<(Order, String)>> {
    let is_forgotten = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM order_details WHERE order_id = $1 AND forgotten) AS "is_forgotten!""#,
        order
    )
    .fetch_one(&mut *conn)
    .await?;
    if is_forgotten {
        return Ok(None);
    }
    let Some(order) = super::read::order(conn, order).await? else { return Ok(None) };
    let location = order.location.as_deref().unwrap_or(MAIN);
    let name = sqlx::query_scalar!("SELECT name FROM locations WHERE id = $1", location)
        .fetch_optional(conn)
        .await?;
    let name = name.unwrap_or_else(|| location.to_owned());
    Ok(Some((order, name)))
}

/// What somebody chose, and when; `None`: nobody of this id is known here.
pub async fn preferences(
    conn: &mut PgConnection,
    person: Uuid,
) -> sqlx::Result<Option<(Vec<Mail>, Option<OffsetDateTime>)>> {
    let row = sqlx::query!(
        r#"SELECT p.mails AS "mails?", p.updated_at AS "updated_at?"
           FROM users u LEFT JOIN mail_preferences p ON p.person = u.id WHERE u.id = $1"#,
        person
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (chosen(row.mails), row.updated_at)))
}

/// From now on they get these alone. Says whether anybody of this id is known here.
pub async fn prefer(conn: &mut PgConnection, person: Uuid, mails: &[Mail]) -> sqlx::Result<bool> {
    let names: Vec<String> = mails.iter().map(|mail| mail.as_str().to_owned()).collect();
    let done = sqlx::query!(
        "INSERT INTO mail_preferences (person, mails) SELECT id, $2 FROM users WHERE id = $1
         ON CONFLICT (person) DO UPDATE SET mails = excluded.mails, updated_at = now()",
        person,
        &names
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// What is left of an order's mails goes, sent or not.
pub(super) async fn forget(conn: &mut PgConnection, order: Uuid) -> sqlx::Result<()> {
    sqlx::query!(
        "WITH tries AS (DELETE FROM delivery_attempts WHERE webhook = $1 AND subject = $2)
         DELETE FROM deliveries WHERE webhook = $1 AND subject = $2",
        LANE,
        order
    )
    .execute(conn)
    .await
    .map(drop)
}

/// How the mails stand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing {
    /// For how long that of an order that is due longest has been, in seconds; 0 where none is.
    pub oldest_due_seconds: f64,
    /// Those that are parked, 10,000 at most.
    pub parked: i64,
}

/// Looks.
pub async fn standing(conn: &mut PgConnection) -> sqlx::Result<Standing> {
    sqlx::query_as!(
        Standing,
        r#"
        SELECT coalesce((SELECT greatest(0, extract(epoch FROM now() - due_at)) FROM deliveries
                         WHERE webhook = $1 AND due_at IS NOT NULL ORDER BY due_at LIMIT 1), 0)::float8 AS "oldest_due_seconds!",
            (SELECT count(*) FROM (SELECT FROM deliveries WHERE webhook = ANY($2) AND status = 'parked' LIMIT 10000) p) AS "parked!"
        "#,
        LANE,
        &MAILS[..]
    )
    .fetch_one(conn)
    .await
}

/// Lets those that were parked be sent again, and says how many.
pub async fn resend(conn: &mut PgConnection) -> sqlx::Result<u64> {
    let mut sent = 0;
    for lane in MAILS {
        loop {
            let mut tx = conn.begin().await?;
            let some = replay(&mut tx, lane, Which::Made(None, None), AT_ONCE).await?;
            tx.commit().await?;
            if some == 0 {
                break;
            }
            sent += some;
        }
    }
    Ok(sent)
}
