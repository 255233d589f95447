//! Each invariant of the reconciliation is broken on purpose, and must be the one that says so.

use std::time::Duration;

use anyhow::Result;
use domain::channel::dialect::plain::PlainOrder;
use domain::channel::name::ChannelName;
use domain::channel::price_list::PriceList;
use domain::channel::settings::ChannelSettings;
use domain::gateway::{AskedAgain, ChargeReceipt, Ledger, LedgerRequests, RefundReceipt};
use domain::money::{Currency, Money};
use domain::order::NewOrder;
use domain::order::status::OrderStatus;
use reconcile::{Check, Invariant, Missing, accepted_missing, compare, reconcile};
use sqlx::{AssertSqlSafe, Executor, PgConnection};
use store::accept::{Accept, accept};
use uuid::Uuid;

use crate::world::{SOON, World, an_order, charge_of, gateway_id};

#[tokio::test]
async fn what_is_right_is_clean_and_all_of_it_was_looked_at() -> Result<()> {
    let world = World::new().await?;
    let report = reconcile(world.database.url(), &world.ledger).await?;
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.orders(), 6);
    // Nothing here is for later, and nobody follows to roll up.
    let unused = [Invariant::LaterWaits, Invariant::NumbersTrue];
    let idle = |check: &Check| check.checked == 0 && !unused.contains(&check.invariant);
    assert!(!report.checks.iter().any(idle), "{report}");
    assert_eq!(report.of(Invariant::LedgerExplained).checked, 6);
    Ok(())
}

/// Each with the statement that breaks it, and all that must be said about that.
#[tokio::test]
async fn a_row_broken_in_the_database_is_found() -> Result<()> {
    use Invariant::{
        AdditionsWhole, AttemptsClosed, AttemptsCounted, AttemptsExplain, BoardWhole, ChargedOnce,
        ChargesAreTotal, EventsExplain, FailedIsClosed, HistoryLegal, HistoryWhole, HoldsMatch, LaterWaits,
        LedgerExplained, LinesAreTotal, MoneyKept, NamesWhole, NothingDue, OneOrderAKey, OrdersEnded,
        QueuedOrFinal, RefundsWhole, RequestsCovered, RowsBelong, StatusPaid, StockAddsUp, SucceededInLedger,
    };
    let cases: [(&str, &[Invariant]); 51] = [
        ("UPDATE orders SET status = 'PAYMENT_PROCESSING' WHERE id = $paid", &[OrdersEnded, HistoryWhole]),
        (
            "UPDATE payments SET status = 'waiting', due_at = now() WHERE id = $declined.pay",
            &[NothingDue, StatusPaid, FailedIsClosed],
        ),
        (
            "DELETE FROM orders WHERE id = $paid",
            // The ledger's row still has its payment; that has no order.
            &[RowsBelong],
        ),
        ("UPDATE payments SET order_id = $paid WHERE id = $declined.pay", &[ChargesAreTotal, StatusPaid]),
        ("UPDATE names SET named = gen_random_uuid() WHERE kind = 'idempotency_key'", &[RowsBelong]),
        (
            "INSERT INTO payment_attempts SELECT gen_random_uuid(), started_at, finished_at, number, epoch, action, outcome FROM payment_attempts LIMIT 1",
            &[RowsBelong],
        ),
        (
            "INSERT INTO order_events (subject, at, version, what, to_status, actor, amount_minor) VALUES (gen_random_uuid(), now(), 1, 'accepted', 'PENDING', 'api', 1)",
            &[RowsBelong],
        ),
        (
            "UPDATE orders SET total_minor = total_minor + 1 WHERE id = $declined",
            &[ChargesAreTotal, LinesAreTotal, EventsExplain],
        ),
        (
            "UPDATE orders SET total_minor = total_minor + 1 WHERE id = $paid",
            &[ChargesAreTotal, LinesAreTotal, MoneyKept, EventsExplain],
        ),
        ("UPDATE orders SET currency = 'EUR' WHERE id = $paid", &[ChargesAreTotal, MoneyKept]),
        ("UPDATE orders SET items = (items::jsonb - 1)::json WHERE id = $extended", &[LinesAreTotal, EventsExplain]),
        ("UPDATE orders SET items = '[]' WHERE id = $rejected", &[LinesAreTotal, EventsExplain]),
        (
            "UPDATE payments SET dropped_at = now() WHERE order_id = $extended AND added IS NOT NULL",
            &[ChargesAreTotal, AdditionsWhole],
        ),
        (
            "WITH taken AS (UPDATE orders SET items = (items::jsonb - 1)::json, total_minor = total_minor - 499 WHERE id = $extended)
             UPDATE payments SET dropped_at = now() WHERE order_id = $extended AND added IS NOT NULL",
            &[AdditionsWhole, MoneyKept, EventsExplain],
        ),
        (
            "UPDATE payments SET amount_minor = amount_minor + 1 WHERE id = $paid.pay",
            &[ChargesAreTotal, SucceededInLedger, EventsExplain],
        ),
        (
            "UPDATE payments SET currency = 'EUR' WHERE id = $paid.pay",
            &[ChargesAreTotal, SucceededInLedger, MoneyKept],
        ),
        ("UPDATE payments SET gateway_id = 'ch_0' WHERE id = $paid.pay", &[SucceededInLedger]),
        (
            "UPDATE payments SET status = 'failed' WHERE id = $paid.pay",
            &[LedgerExplained, StatusPaid, FailedIsClosed, EventsExplain, AttemptsExplain],
        ),
        (
            "DELETE FROM payments WHERE id = $paid.pay",
            &[RowsBelong, ChargesAreTotal, LedgerExplained, ChargedOnce, StatusPaid, BoardWhole, EventsExplain],
        ),
        (
            "UPDATE orders SET status = 'CONFIRMED' WHERE id = $declined",
            &[MoneyKept, StatusPaid, BoardWhole, HistoryWhole],
        ),
        ("UPDATE payments SET answer_by = NULL WHERE id = $paid.pay", &[BoardWhole]),
        ("UPDATE orders SET location = 'nowhere' WHERE id = $paid", &[RowsBelong]),
        (
            "INSERT INTO order_details (order_id, paid_elsewhere, handover, held_until)
             VALUES ($paid, false, '{}', now() + interval '1 d')",
            &[LaterWaits],
        ),
        ("UPDATE stock SET available = 51", &[StockAddsUp]),
        ("UPDATE stock SET available = 52, held = 0", &[StockAddsUp]),
        ("DELETE FROM stock_changes", &[StockAddsUp]),
        ("DELETE FROM holds WHERE owner = $keyed", &[StockAddsUp, HoldsMatch]),
        ("UPDATE holds SET due_at = now(), becomes = 'back' WHERE owner = $keyed", &[HoldsMatch]),
        ("UPDATE holds SET state = 'held' WHERE owner = $rejected", &[StockAddsUp, HoldsMatch]),
        ("UPDATE holds SET state = 'dropped' WHERE owner = $rejected", &[HoldsMatch]),
        ("INSERT INTO in_kitchen VALUES ($paid, 'READY')", &[BoardWhole]),
        ("INSERT INTO in_kitchen VALUES (gen_random_uuid(), 'READY')", &[RowsBelong]),
        (
            "UPDATE order_events SET from_status = 'CONFIRMED' WHERE subject = $paid AND version = 3",
            &[HistoryLegal, HistoryWhole],
        ),
        (
            "UPDATE order_events SET began_at = NULL WHERE subject = $paid AND version = 3",
            &[HistoryLegal, HistoryWhole],
        ),
        (
            "INSERT INTO open_charges (id, amount_minor, created_at, due_at, currency)
             VALUES ($paid.pay, 3097, now(), now(), 'USD')",
            &[NothingDue, ChargesAreTotal, QueuedOrFinal],
        ),
        ("DELETE FROM order_events WHERE subject = $paid", &[LinesAreTotal, HistoryWhole]),
        ("UPDATE orders SET version = 9 WHERE id = $paid", &[HistoryWhole]),
        ("UPDATE payments SET attempts = attempts + 1 WHERE id = $paid.pay", &[AttemptsCounted]),
        ("UPDATE payment_attempts SET number = 7 WHERE payment_id = $paid.pay", &[AttemptsCounted]),
        (
            "UPDATE payment_attempts SET outcome = NULL WHERE payment_id = $paid.pay",
            &[AttemptsClosed, AttemptsExplain],
        ),
        (
            "DELETE FROM payment_attempts WHERE payment_id = $declined.pay",
            &[AttemptsCounted, AttemptsExplain, RequestsCovered],
        ),
        ("DELETE FROM payments WHERE kind = 'refund'", &[RowsBelong, LedgerExplained, RefundsWhole, EventsExplain]),
        (
            "UPDATE payments SET amount_minor = amount_minor - 1 WHERE kind = 'refund'",
            &[SucceededInLedger, RefundsWhole, EventsExplain],
        ),
        ("UPDATE payments SET refunded_minor = 1 WHERE id = $paid.pay", &[RefundsWhole]),
        ("UPDATE payments SET refunded_minor = 0 WHERE id = $rejected.pay", &[RefundsWhole]),
        (
            "UPDATE payments SET refund_of = $paid.pay WHERE kind = 'refund'",
            &[SucceededInLedger, RefundsWhole],
        ),
        (
            "WITH sent AS (DELETE FROM payment_attempts WHERE payment_id = $declined.pay)
             UPDATE payments SET attempts = 0 WHERE id = $declined.pay",
            &[FailedIsClosed, RequestsCovered],
        ),
        ("DELETE FROM names WHERE kind = 'payment_reference'", &[NamesWhole]),
        ("UPDATE names SET named = $paid WHERE kind = 'payment_reference'", &[NamesWhole]),
        (
            "INSERT INTO names SELECT named, NULL, now(), kind, scope, 'other', hash FROM names WHERE kind = 'idempotency_key'",
            &[OneOrderAKey],
        ),
        // Those under which it was moved are as many as its moves.
        (
            "INSERT INTO names SELECT named, gen_random_uuid(), now(), kind, scope, 'move', hash FROM names WHERE kind = 'idempotency_key'",
            &[],
        ),
    ];
    World::new().await?.are_broken_by(&cases).await
}

#[tokio::test]
async fn a_row_too_many_or_too_few_in_the_ledger_is_found() -> Result<()> {
    use Invariant::{
        ChargedOnce, FailedIsClosed, LedgerExplained, MoneyKept, RequestsCovered, SucceededInLedger,
    };
    let world = World::new().await?;
    let mut conn = world.database.connect().await?;
    let mut broken = async |change: &dyn Fn(&mut Ledger)| {
        let mut ledger = world.ledger.clone();
        change(&mut ledger);
        compare(&mut conn, &ledger).await.map(|report| report.broken())
    };
    let pays = |order: &NewOrder| order.payment_id().to_string();

    // One key charged twice; one order charged under two keys; a charge of a failed order.
    let twice = broken(&|ledger| ledger.charges.push(charge_of(&world.paid))).await?;
    assert_eq!(twice, [ChargedOnce, MoneyKept]);
    let second_key = ChargeReceipt { key: Uuid::now_v7().to_string(), ..charge_of(&world.paid) };
    let other_key = broken(&|ledger| ledger.charges.push(second_key.clone())).await?;
    assert_eq!(other_key, [LedgerExplained, ChargedOnce, MoneyKept]);
    let failed = broken(&|ledger| ledger.charges.push(charge_of(&world.voided))).await?;
    assert_eq!(failed, [LedgerExplained, MoneyKept]);
    // A stranger's.
    let strange = ChargeReceipt { key: "x".into(), reference: "y".into(), ..charge_of(&world.paid) };
    assert_eq!(broken(&|ledger| ledger.charges.push(strange.clone())).await?, [LedgerExplained]);

    // Never charged; charged wrongly; for another order.
    let lost = broken(&|ledger| drop(ledger.charges.remove(0))).await?;
    assert_eq!(lost, [SucceededInLedger, MoneyKept]);
    let more = Money::from_minor(1, Currency::USD).to_json();
    let wrong = broken(&|ledger| ledger.charges[0].amount = more.clone()).await?;
    assert_eq!(wrong, [SucceededInLedger, MoneyKept]);
    let misplaced = broken(&|ledger| ledger.charges[0].reference = world.keyed.id.to_string()).await?;
    assert_eq!(misplaced, [SucceededInLedger, ChargedOnce, MoneyKept]);

    // A refund that never happened, and one that nobody asked for.
    assert_eq!(broken(&|ledger| ledger.refunds.clear()).await?, [SucceededInLedger, MoneyKept]);
    let key = Uuid::now_v7().to_string();
    let gift = RefundReceipt { key, reference: world.paid.id.to_string(), ..world.ledger.refunds[0].clone() };
    assert_eq!(broken(&|ledger| ledger.refunds.push(gift.clone())).await?, [LedgerExplained, MoneyKept]);

    // A failed charge that the gateway could still take, and a paid one that it calls void.
    assert_eq!(broken(&|ledger| ledger.voided.clear()).await?, [FailedIsClosed]);
    assert_eq!(broken(&|ledger| ledger.voided.push(pays(&world.paid))).await?, [FailedIsClosed]);

    // Requests that no attempt row stands for.
    assert_eq!(broken(&|ledger| ledger.requests.charges += 1).await?, [RequestsCovered]);
    assert_eq!(broken(&|ledger| ledger.requests.voids += 1).await?, [RequestsCovered]);
    assert_eq!(broken(&|ledger| ledger.requests.refunds += 1).await?, [RequestsCovered]);
    let again = AskedAgain { key: pays(&world.paid), requests: 2 };
    assert_eq!(broken(&|ledger| ledger.asked_again.push(again.clone())).await?, [RequestsCovered]);
    // Fewer are fine: the gateway counts since its start.
    assert_eq!(broken(&|ledger| ledger.requests = LedgerRequests::default()).await?, []);
    Ok(())
}

/// An order whose channel took the money: confirmed from the start, with nothing at the gateway.
async fn paid_elsewhere(conn: &mut PgConnection) -> Result<NewOrder> {
    let document = r#"{"channelOrderId":"1","items":[{"name":"n","plu":"p","quantity":2,"price":12.99}]}"#;
    let channel = ChannelName::parse("dish").unwrap();
    let settings = ChannelSettings::default();
    let order = PlainOrder::parse(channel, serde_json::from_str(document)?, &settings, Some(true)).unwrap();
    let order = order.priced(&PriceList::default(), &settings, SOON).unwrap().order;
    accept(conn, &[Accept { order: order.clone(), key: None }], SOON).await?;
    Ok(order)
}

#[tokio::test]
async fn an_order_paid_elsewhere_is_clean_and_what_it_must_not_have_is_found() -> Result<()> {
    use Invariant::{
        AttemptsCounted, AttemptsExplain, BoardWhole, ChargedOnce, ChargesAreTotal, EventsExplain,
        HistoryLegal, LedgerExplained, MoneyKept, NamesWhole, RefundsWhole, RequestsCovered, RowsBelong,
        StatusPaid,
    };
    let cases: [(&str, &[Invariant]); 12] = [
        ("UPDATE order_details SET order_id = gen_random_uuid()", &[RowsBelong, ChargesAreTotal, MoneyKept, StatusPaid, HistoryLegal, NamesWhole]),
        (
            "UPDATE order_details SET paid_elsewhere = false WHERE order_id = $elsewhere",
            &[ChargesAreTotal, MoneyKept, StatusPaid, HistoryLegal],
        ),
        ("DELETE FROM names WHERE kind = 'channel_order'", &[NamesWhole]),
        // Nobody may get out of paying by a word about another order.
        (
            "INSERT INTO order_details (order_id, paid_elsewhere, handover) VALUES ($paid, true, '{}')",
            &[ChargesAreTotal, HistoryLegal],
        ),
        // Nor by a payment that says so.
        (
            "UPDATE payments SET kind = 'elsewhere', gateway_id = NULL, attempts = 0 WHERE id = $paid.pay",
            &[ChargesAreTotal, LedgerExplained, ChargedOnce, StatusPaid, EventsExplain, AttemptsCounted, AttemptsExplain],
        ),
        (
            "UPDATE payments SET order_id = $paid WHERE kind = 'elsewhere'",
            &[ChargesAreTotal, MoneyKept, StatusPaid, BoardWhole],
        ),
        ("DELETE FROM payments WHERE kind = 'elsewhere'", &[ChargesAreTotal, MoneyKept, StatusPaid, BoardWhole]),
        (
            "UPDATE payments SET amount_minor = amount_minor - 1 WHERE kind = 'elsewhere'",
            &[ChargesAreTotal, MoneyKept],
        ),
        (
            "INSERT INTO payment_attempts SELECT id, now(), now(), 1, 1, 'charge', 'succeeded' FROM payments WHERE kind = 'elsewhere'",
            &[AttemptsCounted, AttemptsExplain],
        ),
        ("UPDATE payments SET gateway_id = 'ch_9' WHERE kind = 'elsewhere'", &[StatusPaid]),
        (
            "INSERT INTO payments (id, order_id, amount_minor, created_at, kind, status, currency, refund_of)
             SELECT gen_random_uuid(), order_id, amount_minor, now(), 'refund', 'failed', currency, id FROM payments WHERE kind = 'elsewhere'",
            &[RefundsWhole, EventsExplain],
        ),
        (
            "UPDATE order_events SET to_status = 'PENDING' WHERE subject = $elsewhere",
            &[HistoryLegal, Invariant::HistoryWhole],
        ),
    ];
    let mut world = World::new().await?;
    let order = paid_elsewhere(&mut world.conn).await?;
    assert_eq!(world.broken().await?, []);
    for (sql, expected) in cases {
        let sql = sql.replace("$elsewhere", &format!("'{}'", order.id));
        world.are_broken_by(&[(&sql, expected)]).await?;
    }
    // The gateway took it as well.
    world.ledger.charges.push(charge_of(&order));
    assert_eq!(world.broken().await?, [LedgerExplained, ChargedOnce, MoneyKept]);
    world.ledger.requests.charges += 1;
    assert!(world.broken().await?.contains(&RequestsCovered));
    Ok(())
}

#[tokio::test]
async fn the_ids_of_a_client_are_all_looked_up() -> Result<()> {
    let mut world = World::new().await?;
    let unknown = Uuid::now_v7();
    let late = an_order();
    accept(&mut world.conn, &[Accept { order: late.clone(), key: None }], SOON).await?;
    let ids = [world.paid.id, unknown, late.id, world.declined.id, world.rejected.id];
    // More than one statement's worth.
    let many = std::iter::repeat_n(world.keyed.id, 25_000).chain(ids);
    let mut missing = accepted_missing(world.database.url(), many).await?;
    missing.sort_by_key(|missing| missing.id != unknown);
    assert_eq!(
        missing,
        [Missing { id: unknown, status: None }, Missing { id: late.id, status: Some(OrderStatus::Pending) },]
    );
    let due = world.broken().await?;
    assert_eq!(due, [Invariant::OrdersEnded, Invariant::NothingDue]);
    Ok(())
}

#[tokio::test]
async fn the_table_names_what_is_broken() -> Result<()> {
    let mut world = World::new().await?;
    let counted = "UPDATE payments SET attempts = attempts + 1 WHERE id = $paid.pay";
    let report = world.report_of(counted).await?.to_string();
    let told =
        format!("payment {} counts 2; it has 1 rows, the highest is number 1", world.paid.payment_id());
    assert!(report.contains("BROKEN, 1 of 8: a payment has as many attempts as it counts"), "{report}");
    assert!(report.contains(&told), "{report}");
    Ok(())
}

/// How long a million orders take. In a release build and on a machine without other work: some ten seconds.
#[tokio::test]
#[ignore = "takes a minute; run it by name"]
async fn a_million_orders_are_reconciled_in_well_under_a_minute() -> Result<()> {
    const ORDERS: usize = 1_000_000;
    const LINE: &str = r#"{"item_id":"i","item_name":"n","quantity":1,"price":30.97}"#;
    let mut world = World::new().await?;
    let world_charges = world.ledger.charges.len();
    world
        .conn
        .execute(AssertSqlSafe(format!(
            "SET statement_timeout = 0;
             CREATE TABLE many AS SELECT gen_random_uuid() AS id, gen_random_uuid() AS pay FROM generate_series(1, {ORDERS});
             INSERT INTO orders (id, total_minor, created_at, updated_at, version, status, currency, customer_id)
                SELECT id, 3097, now(), now(), 3, 'CONFIRMED', 'USD', 'c' FROM many;
             INSERT INTO payments (id, order_id, amount_minor, created_at, answer_by, attempts, epoch, kind, status, currency, gateway_id)
                SELECT pay, id, 3097, now(), now(), 1, 1, 'charge', 'succeeded', 'USD', 'ch_' || pay FROM many;
             INSERT INTO payment_attempts SELECT pay, now(), now(), 1, 1, 'charge', 'succeeded' FROM many;
             INSERT INTO order_events (subject, at, version, what, to_status, actor, amount_minor, items)
                SELECT id, now(), 1, 'accepted', 'PENDING', 'api', 3097, '[{LINE}]' FROM many;
             INSERT INTO order_events (subject, at, version, what, from_status, to_status, actor)
                SELECT id, now(), 2, 'moved', 'PENDING', 'PAYMENT_PROCESSING', 'worker' FROM many;
             INSERT INTO order_events (subject, at, version, what, from_status, to_status, actor, payment_id, amount_minor)
                SELECT id, now(), 3, 'moved', 'PAYMENT_PROCESSING', 'CONFIRMED', 'worker', pay, 3097 FROM many"
        )))
        .await?;
    let many: Vec<(Uuid, Uuid)> =
        sqlx::query_as("SELECT id, pay FROM many").fetch_all(&mut world.conn).await?;
    let money = Money::from_minor(3_097, Currency::USD);
    world.ledger.charges.extend(many.iter().map(|(id, pay)| ChargeReceipt {
        id: gateway_id(*pay),
        key: pay.to_string(),
        reference: id.to_string(),
        amount: money.to_json(),
        currency: "USD".into(),
    }));
    let started = std::time::Instant::now();
    let report = reconcile(world.database.url(), &world.ledger).await?;
    println!("{report}\n{:?}", started.elapsed());
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.of(Invariant::LedgerExplained).checked as usize, ORDERS + world_charges + 1);
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    Ok(())
}
