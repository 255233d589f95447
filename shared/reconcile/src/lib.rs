//! reconcile: after a run, every order is compared with its payments, attempts and history, and with the gateway's
//! own ledger. It is the judge of every test, chaos run and benchmark: what it passes, nobody lost or paid twice.
//!
//! It reads everything once, in one snapshot, and keeps some 200 bytes an order: a million orders take seconds. It
//! leaves to its caller to wait until all has ended; a payment still under way is reported, not waited for.

mod history;
mod ledger;
mod orders;
mod payments;
mod report;
mod rollups;
mod stock;

use anyhow::{Context, Result};
use domain::gateway::Ledger;
use domain::money::{Currency, Money};
use domain::order::status::OrderStatus;
use futures_util::TryStreamExt;
use sqlx::{Connection, PgConnection};
use store::Database;
use uuid::Uuid;

use self::ledger::LedgerRows;
use self::orders::Orders;
pub use self::report::{Check, Invariant, Report};
pub use self::rollups::until_rolled_up;

/// Ids asked for in one statement.
const IDS_A_STATEMENT: usize = 10_000;

/// Compares the database at `database_url` with `ledger`, as the gateway's `GET /v1/ledger` gives it once nothing is
/// under way. An error means that it could not look, not that something is wrong.
pub async fn reconcile(database_url: &str, ledger: &Ledger) -> Result<Report> {
    let mut conn = connect(database_url).await?;
    // One snapshot for all the statements below: an order that moves meanwhile is seen whole or not at all.
    let mut tx = conn.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let report = compare(&mut tx, ledger).await?;
    tx.rollback().await?;
    conn.close().await?;
    Ok(report)
}

/// The same with what `tx` sees, its own changes included.
pub async fn compare(tx: &mut PgConnection, ledger: &Ledger) -> Result<Report> {
    let mut report = Report::new();
    let mut orders = Orders::read(tx).await?;
    orders.read_details(tx, &mut report).await?;
    let mut rows = LedgerRows::read(ledger, &mut orders, &mut report);
    payments::check(tx, ledger, &mut rows, &mut orders, &mut report).await?;
    rows.check_explained(ledger, &mut report);
    history::check(tx, &mut orders, &mut report).await?;
    history::check_products(tx, &mut report).await?;
    orders.read_board(tx, &mut report).await?;
    orders.read_names(tx, &mut report).await?;
    Orders::check_later(tx, &mut report).await?;
    Orders::check_locations(tx, &mut report).await?;
    check_names(tx, &mut report).await?;
    stock::check(tx, &mut report).await?;
    rollups::check(tx, &mut report).await?;
    orders.check_lines(tx, &mut report).await?;
    orders.check(&mut report);
    Ok(report)
}

/// Names are given once because they stand in one table: so each must be there, and lead to what bears it.
const NAMES: &str = "
    SELECT 'channel_order' AS kind, coalesce(n.named, d.order_id) AS id,
        n.named IS NOT DISTINCT FROM d.order_id OR (n.named IS NULL AND coalesce(d.named_until <= now(), false)) AS is_right
    FROM (SELECT * FROM names WHERE kind = 'channel_order') n
    FULL JOIN (
        SELECT d.order_id, d.named_until, d.channel_order_id,
            d.channel || CASE WHEN o.location = 'main' THEN '' ELSE chr(31) || o.location END AS scope
        FROM order_details d JOIN shown_orders o ON o.id = d.order_id WHERE d.channel IS NOT NULL
    ) d ON d.scope = n.scope AND d.channel_order_id = n.name AND d.order_id = n.named
    UNION ALL
    SELECT 'payment_reference', coalesce(n.named, p.id), n.named IS NOT DISTINCT FROM p.id
    FROM (SELECT * FROM names WHERE kind = 'payment_reference') n
    FULL JOIN (
        SELECT id, order_id, reference FROM payments WHERE reference IS NOT NULL
        UNION ALL
        SELECT order_id, order_id, payment_reference FROM order_details WHERE payment_reference IS NOT NULL
    ) p
        ON p.order_id::text = n.scope AND p.reference = n.name";

async fn check_names(conn: &mut PgConnection, report: &mut Report) -> Result<()> {
    let mut rows = sqlx::query_as::<_, (String, Uuid, bool)>(NAMES).fetch(conn);
    while let Some((kind, id, is_right)) = rows.try_next().await? {
        report.check(Invariant::NamesWhole, is_right, || format!("{kind} of {id}"));
    }
    Ok(())
}

/// A 202 that a client holds and that was not honoured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    /// The order's id in the answer.
    pub id: Uuid,
    /// Where the order stands, short of its end; `None`: there is no such order.
    pub status: Option<OrderStatus>,
}

/// Which of the accepted `ids` do not exist, or have not ended.
pub async fn accepted_missing(
    database_url: &str,
    ids: impl IntoIterator<Item = Uuid>,
) -> Result<Vec<Missing>> {
    let mut conn = connect(database_url).await?;
    let mut ids = ids.into_iter();
    let mut missing = Vec::new();
    loop {
        let some: Vec<Uuid> = ids.by_ref().take(IDS_A_STATEMENT).collect();
        if some.is_empty() {
            break;
        }
        let mut rows = sqlx::query_as(
            "SELECT accepted.id, orders.status FROM unnest($1::uuid[]) AS accepted(id)
             LEFT JOIN orders ON orders.id = accepted.id
             WHERE orders.id IS NULL OR orders.status IN ('PENDING', 'PAYMENT_PROCESSING')",
        )
        .bind(&some)
        .fetch(&mut conn);
        while let Some((id, status)) = rows.try_next().await? {
            missing.push(Missing { id, status });
        }
    }
    conn.close().await?;
    Ok(missing)
}

fn money(minor: i64, code: &str) -> Result<Money> {
    let currency =
        Currency::from_code(code).with_context(|| format!("the database holds a currency {code:?}"))?;
    Ok(Money::from_minor(minor, currency))
}

fn show(money: Money) -> String {
    format!("{money} {}", money.currency().code())
}

/// A connection for whoever looks on: such statements are no part of the service, and take what time they take.
pub async fn connect(database_url: &str) -> Result<PgConnection> {
    let database = Database::for_looking(database_url, "loadtest")?;
    database.connect().await.context("cannot reach the database")
}
