//! The events alone explain an order: of every kind of event one is left out, is not counted, or has a wrong amount, and
//! each time the reconciliation must say so.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use domain::channel::dialect::Incoming;
use domain::channel::dialect::plain::PlainOrder;
use domain::channel::name::ChannelName;
use domain::channel::price_list::PriceList;
use domain::channel::settings::ChannelSettings;
use domain::event::What;
use domain::gateway::Ledger;
use domain::money::Currency;
use domain::order::NewOrder;
use domain::order::additions::NewAddition;
use domain::order::moves::{Actor, Expected, Move, Wanted};
use domain::order::status::OrderStatus;
use domain::payment::{AttemptOutcome, new_payment_id};
use reconcile::{Invariant, compare};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use store::accept::{Accept, accept};
use store::additions::{Add, PayAnew, add, drop_failed, pay_anew, release_held, to_drop};
use store::call_off::{CalledOff, call_off};
use store::channel_told::{Tell, tell};
use store::claim::claim;
use store::collect::{Collect, collect};
use store::deadline::reject_unanswered;
use store::forget::{Forgot, forget};
use store::moves::{Moved, carry_out};
use store::settle::{Next, Settlement, settle};
use store::sweep::claim_due;
use testbed::{TestDatabase, make_due};
use uuid::Uuid;

const SOON: Duration = Duration::from_secs(60);

/// How an event may be wrong, and what makes it so in the table. `left out`: what came later is counted as if it had never been.
const BUGS: [(&str, &str); 3] = [
    (
        "left out",
        "DELETE FROM order_events WHERE subject = $id AND version = $version;
         UPDATE order_events SET version = $many - version WHERE subject = $id AND version > $version;
         UPDATE order_events SET version = -version WHERE version < 0;
         UPDATE orders SET version = version - $many WHERE id = $id",
    ),
    ("not counted", "UPDATE orders SET version = version - 1 WHERE id = $id"),
    (
        "wrong amount",
        "UPDATE order_events SET amount_minor = amount_minor + 1
         WHERE subject = $id AND version = $version AND amount_minor IS NOT NULL",
    ),
];

async fn accepted(conn: &mut PgConnection) -> Result<NewOrder> {
    let body = r#"{"customer_id":"c","items":[{"item_id":"i","item_name":"n","quantity":2,"price":12.99}]}"#;
    let order = NewOrder::parse(&serde_json::from_str(body)?).unwrap();
    accept(conn, &[Accept { order: order.clone(), key: None }], SOON).await?;
    Ok(order)
}

/// An order for which nothing is charged, with modifiers and amounts beside its lines.
async fn uncharged(conn: &mut PgConnection, beside: &str) -> Result<NewOrder> {
    let body = format!(
        r#"{{"customer_id":"c",{beside},"items":[{{"item_id":"i","item_name":"n","quantity":2,"price":12.99,
            "modifiers":[{{"name":"m","quantity":2,"price":0.5,"modifiers":[{{"name":"s","price":-0.25}}]}}],
            "adjustments":[{{"kind":"discount","amount":-1}}]}}]}}"#
    );
    let order = NewOrder::parse(&serde_json::from_str(&body)?).unwrap();
    accept(conn, &[Accept { order: order.clone(), key: None }], SOON).await?;
    Ok(order)
}

/// 25.98, two of 0.50 less 0.25 for each of two, less 1.00, and 2.00 for bringing it: 27.98.
const ON_DELIVERY: &str = r#""payment":{"method":"on_delivery","reference":"door"},"total":27.98,
    "adjustments":[{"kind":"delivery_fee","amount":2}]"#;
const FREE: &str = r#""adjustments":[{"kind":"discount","amount":-25.98}]"#;

/// Claims these, and settles all of them in one batch.
async fn tried(conn: &mut PgConnection, payments: &[Uuid], outcome: AttemptOutcome) -> Result<()> {
    let claims = claim(conn, payments, SOON).await?;
    ensure!(claims.len() == payments.len(), "of {payments:?} {} could be claimed", claims.len());
    let batch: Vec<Settlement> = claims
        .iter()
        .map(|claim| {
            let next = match outcome {
                AttemptOutcome::Succeeded => Next::Succeeded { gateway_id: claim.payment_id.to_string() },
                _ => Next::Failed,
            };
            Settlement::new(claim, outcome, next)
        })
        .collect();
    ensure!(settle(conn, &batch, SOON).await?.len() == batch.len(), "superseded");
    Ok(())
}

async fn paid(conn: &mut PgConnection) -> Result<NewOrder> {
    let order = accepted(conn).await?;
    tried(conn, &[order.payment_id()], AttemptOutcome::Succeeded).await?;
    Ok(order)
}

async fn moved(conn: &mut PgConnection, order: &NewOrder, wanted: Wanted) -> Result<()> {
    let (by, reason) = (Actor::Staff(None), Some("so".to_owned()));
    let ask = Move {
        request: Uuid::now_v7(),
        order_id: order.id,
        wanted,
        by,
        reason,
        expected: Expected::default(),
    };
    let moved = carry_out(conn, &ask).await?;
    ensure!(matches!(moved, Moved::Done { .. }), "{moved:?}");
    Ok(())
}

async fn added(conn: &mut PgConnection, order: &NewOrder, reference: &str) -> Result<Uuid> {
    let body = format!(
        r#"{{"payment_reference":"{reference}","items":[{{"item_id":"j","item_name":"m","quantity":1,"price":4.99}}]}}"#
    );
    let addition = NewAddition::parse(&serde_json::from_str(&body)?, order.id, Currency::USD).unwrap();
    let payment = addition.payment_id;
    let added =
        add(conn, &Add { order_id: order.id, by: Actor::Unnamed, addition, expected: Expected::default() })
            .await?;
    ensure!(matches!(added, Moved::Done { .. }), "{added:?}");
    Ok(payment)
}

/// Gives everything back that is owed, in one batch.
async fn refund_all(conn: &mut PgConnection) -> Result<()> {
    let due = "SELECT id FROM payments WHERE kind = 'refund' AND status = 'pending'";
    let refunds: Vec<Uuid> = sqlx::query_scalar(due).fetch_all(&mut *conn).await?;
    tried(conn, &refunds, AttemptOutcome::Succeeded).await
}

/// Orders to which everything happens that can happen to one.
pub(crate) async fn all_that_happens(conn: &mut PgConnection) -> Result<()> {
    use OrderStatus::{Accepted, Delivered, Preparing, Ready};
    // Cooked, with a step back, and begun with before it was taken.
    let cooked = paid(conn).await?;
    for status in [Preparing, Accepted, Preparing, Ready, Delivered] {
        moved(conn, &cooked, Wanted::Status(status)).await?;
    }
    // Twice added to, paid, rejected; both refunds in one settlement.
    let rejected = paid(conn).await?;
    let more = [added(conn, &rejected, "1").await?, added(conn, &rejected, "2").await?];
    tried(conn, &more, AttemptOutcome::Succeeded).await?;
    moved(conn, &rejected, Wanted::Reject).await?;
    // An addition that is declined, and one that was held until its order failed; that is paid anew, and never answered.
    let dropped = paid(conn).await?;
    let declined = added(conn, &dropped, "1").await?;
    tried(conn, &[declined], AttemptOutcome::Declined).await?;
    let anew = accepted(conn).await?;
    added(conn, &anew, "held").await?;
    tried(conn, &[anew.payment_id()], AttemptOutcome::Declined).await?;
    let released = release_held(conn, Duration::from_secs(900), 10, &[]).await?;
    let failed = to_drop(conn, 10, &[]).await?;
    ensure!(released == 1 && failed.len() == 2, "two are taken off");
    for order_id in failed {
        drop_failed(conn, order_id).await?;
    }
    let (payment_id, reference) = (new_payment_id(anew.id), "anew".to_owned());
    pay_anew(
        conn,
        &PayAnew {
            order_id: anew.id,
            by: Actor::Unnamed,
            payment_id,
            reference,
            expected: Expected::default(),
        },
    )
    .await?;
    tried(conn, &[payment_id], AttemptOutcome::Succeeded).await?;
    conn.execute("UPDATE payments SET answer_by = now() WHERE answer_by IS NOT NULL").await?;
    ensure!(reject_unanswered(conn, 10).await?.rejected == 2, "two were never answered");
    // Nobody came: once the money goes back, once it stays.
    for refund in [true, false] {
        let ready = paid(conn).await?;
        for status in [Preparing, Ready] {
            moved(conn, &ready, Wanted::Status(status)).await?;
        }
        moved(conn, &ready, Wanted::NoShow { refund }).await?;
    }
    // Paid in hand, with an addition; and one that ends before anything comes in, and one that is free.
    let in_hand = uncharged(conn, ON_DELIVERY).await?;
    added(conn, &in_hand, "1").await?;
    moved(conn, &in_hand, Wanted::Accept).await?;
    let ask = Collect {
        request: Uuid::now_v7(),
        order_id: in_hand.id,
        by: Actor::Staff(None),
        amount_minor: None,
        expected: Expected::default(),
    };
    ensure!(matches!(collect(conn, &ask).await?, Moved::Done { .. }), "it comes in");
    let never = uncharged(conn, ON_DELIVERY).await?;
    moved(conn, &never, Wanted::Cancel).await?;
    let free = uncharged(conn, FREE).await?;
    moved(conn, &free, Wanted::Reject).await?;
    // Tried in an outage, and cancelled; or called off, and paid anew.
    let (unsent, expired) = (accepted(conn).await?, accepted(conn).await?);
    for order in [&unsent, &expired] {
        let claims = claim(conn, &[order.payment_id()], SOON).await?;
        let again = Next::Retry { delay: SOON, spend: false, void: false };
        settle(conn, &[Settlement::new(&claims[0], AttemptOutcome::Unavailable, again)], SOON).await?;
    }
    moved(conn, &unsent, Wanted::Cancel).await?;
    conn.execute("UPDATE open_charges SET expires_at = now()").await?;
    ensure!(call_off(conn, SOON, 10).await? == CalledOff { voiding: 0, ended: 1 }, "nothing was sent");
    let (payment_id, reference) = (new_payment_id(expired.id), "anew".to_owned());
    pay_anew(
        conn,
        &PayAnew {
            order_id: expired.id,
            by: Actor::Unnamed,
            payment_id,
            reference,
            expected: Expected::default(),
        },
    )
    .await?;
    tried(conn, &[payment_id], AttemptOutcome::Succeeded).await?;
    moved(conn, &expired, Wanted::Accept).await?;
    // Cancelled while it was charged; and rejected while an addition was.
    for succeeds in [AttemptOutcome::Succeeded, AttemptOutcome::Declined] {
        let wished = accepted(conn).await?;
        let claims = claim(conn, &[wished.payment_id()], SOON).await?;
        moved(conn, &wished, Wanted::Cancel).await?;
        make_due(conn).await?;
        ensure!(claims.len() == 1, "claimed");
        tried(conn, &[wished.payment_id()], succeeds).await?;
    }
    let late = paid(conn).await?;
    let addition = added(conn, &late, "late").await?;
    let claims = claim(conn, &[addition], Duration::ZERO).await?;
    moved(conn, &late, Wanted::Cancel).await?;
    ensure!(claims.len() == 1, "claimed");
    tried(conn, &[addition], AttemptOutcome::Succeeded).await?;
    told(conn).await?;
    refund_all(conn).await?;
    ensure!(claim_due(conn, 10, SOON).await?.is_empty(), "nothing is left to be done");
    Ok(())
}

/// Its channel tells, while its charge is under way, that an order goes later.
async fn told(conn: &mut PgConnection) -> Result<()> {
    let document = |minute: u8| -> Result<Incoming> {
        let document = format!(
            r#"{{"channelOrderId":"A-1","_id":"d-1","items":[{{"name":"Tea","quantity":1,"price":2,"remark":"hot"}},{{"name":"Tea","quantity":1,"price":2}}],
                "pickupTime":"2026-01-31T18:{minute:02}:00Z"}}"#
        );
        let (document, settings) = (serde_json::from_str(&document)?, ChannelSettings::default());
        let channel = ChannelName::parse("eats").map_err(|(code, _)| anyhow!(code))?;
        let order = PlainOrder::parse(channel, document, &settings, None);
        let priced = order.and_then(|order| order.priced(&PriceList::default(), &settings, Duration::ZERO));
        priced.map_err(|problems| anyhow!("{problems:?}"))
    };
    let order = document(0)?.order;
    accept(conn, &[Accept { order: order.clone(), key: None }], SOON).await?;
    ensure!(claim(conn, &[order.payment_id()], SOON).await?.len() == 1, "claimed");
    let (request, told) = (Uuid::now_v7(), document(20)?.told().context("a document")?);
    let ask = Tell { request, order_id: order.id, by: Actor::Service("eats".to_owned()), told };
    ensure!(matches!(tell(conn, &ask).await?, Moved::Done { .. }), "it goes later");
    make_due(conn).await?;
    tried(conn, &[order.payment_id()], AttemptOutcome::Succeeded).await?;
    // And once it is over, and its lines have been added to, nobody knows whose it was.
    let more = added(conn, &order, "more").await?;
    tried(conn, &[more], AttemptOutcome::Succeeded).await?;
    moved(conn, &order, Wanted::Cancel).await?;
    refund_all(conn).await?;
    ensure!(forget(conn, order.id, "house").await? == Forgot::Done, "it is over");
    Ok(())
}

/// Tables are to be partitioned by ranges of ids: all payments of an order must lie in its range.
#[tokio::test]
async fn every_payment_has_its_orders_time_in_its_id() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    all_that_happens(&mut conn).await?;
    // Twelve digits and a dash: 48 bits.
    let by_kind: Vec<(String, i64, i64)> = sqlx::query_as(
        "SELECT CASE WHEN id = order_id THEN 'own' WHEN added IS NOT NULL THEN 'addition' WHEN kind = 'refund' THEN 'refund'
                     ELSE 'anew' END AS which,
                count(*), count(*) FILTER (WHERE left(id::text, 13) <> left(order_id::text, 13))
         FROM payments GROUP BY which ORDER BY which",
    )
    .fetch_all(&mut conn)
    .await?;
    let kinds: Vec<&str> = by_kind.iter().map(|(which, ..)| which.as_str()).collect();
    assert_eq!(kinds, ["addition", "anew", "own", "refund"]);
    assert!(by_kind.iter().all(|(_, count, elsewhere)| *count > 0 && *elsewhere == 0), "{by_kind:?}");
    Ok(())
}

/// What is said about the events; the money at the gateway is another matter.
async fn said(conn: &mut PgConnection) -> Result<Vec<Invariant>> {
    let ledger = Ledger::default();
    let mut broken = compare(conn, &ledger).await?.broken();
    broken.retain(|one| {
        matches!(
            one,
            Invariant::EventsExplain
                | Invariant::HistoryLegal
                | Invariant::HistoryWhole
                | Invariant::RefundsWhole
                | Invariant::ChargesAreTotal
                | Invariant::LinesAreTotal
                | Invariant::AdditionsWhole
        )
    });
    Ok(broken)
}

#[tokio::test]
async fn a_bug_in_any_kind_of_event_is_found() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    all_that_happens(&mut conn).await?;
    assert_eq!(said(&mut conn).await?, [], "without a bug");
    conn.execute("SET session_replication_role = replica").await?;
    for what in What::ALL {
        let one = "SELECT subject, version, 1 + (began_at IS NOT NULL)::int FROM order_events WHERE what = $1
                   ORDER BY amount_minor IS NULL, subject, version DESC LIMIT 1";
        let (subject, version, many): (Uuid, i32, i32) =
            sqlx::query_as(one).bind(what).fetch_optional(&mut conn).await?.context(what.as_str())?;
        for (bug, sql) in BUGS {
            let sql = sql.replace("$id", &format!("'{subject}'")).replace("$version", &version.to_string());
            let sql = sql.replace("$many", &many.to_string());
            let mut tx = conn.begin().await?;
            let broken = tx.execute(AssertSqlSafe(sql)).await?.rows_affected();
            assert!(
                broken > 0 || matches!(what, What::CancelWished | What::Told | What::Forgotten),
                "{}, {bug}: no bug",
                what.as_str()
            );
            let found = said(&mut tx).await?;
            assert_eq!(found.is_empty(), broken == 0, "{}, {bug}: {found:?}", what.as_str());
            tx.rollback().await?;
        }
    }
    Ok(())
}
