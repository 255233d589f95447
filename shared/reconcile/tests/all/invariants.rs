//! Each invariant of the reconciliation is broken on purpose, and must be the one that says so.

use std::time::Duration;

use anyhow::Result;
use domain::channel::dialect::plain::PlainOrder;
use domain::channel::name::ChannelName;
use domain::channel::price_list::PriceList;
use domain::channel::settings::ChannelSettings;
use domain::gateway::{AskedAgain, ChargeReceipt, DeclinedKey, Ledger, LedgerRequests, RefundReceipt};
use domain::money::{Currency, Money};
use domain::order::NewOrder;
use domain::order::additions::NewAddition;
use domain::order::moves::{Actor, Expected, Move, Wanted};
use domain::order::status::OrderStatus;
use domain::payment::AttemptOutcome;
use reconcile::{Check, Invariant, Missing, accepted_missing, reconcile};
use sqlx::{AssertSqlSafe, Executor, PgConnection};
use store::accept::{Accept, IdempotencyKey, accept};
use store::additions::{Add, add};
use store::claim::claim;
use store::moves::carry_out;
use store::settle::{Next, Settlement, settle};
use store::sweep::claim_due;
use testbed::TestDatabase;
use uuid::Uuid;

const SOON: Duration = Duration::from_secs(60);

/// Six orders that ended in every way there is, one with an addition, and the ledger to them.
struct World {
    database: TestDatabase,
    conn: PgConnection,
    paid: NewOrder,
    keyed: NewOrder,
    declined: NewOrder,
    voided: NewOrder,
    rejected: NewOrder,
    extended: NewOrder,
    ledger: Ledger,
}

impl World {
    async fn new() -> Result<Self> {
        Self::on(TestDatabase::new().await?).await
    }

    /// The same in a database that was used before.
    async fn on(database: TestDatabase) -> Result<Self> {
        let mut conn = database.connect().await?;
        conn.execute(
            "TRUNCATE orders, in_kitchen, payments, open_charges, payment_attempts, order_events, names, order_details,
             stock, stock_changes, holds",
        )
        .await?;
        let [paid, keyed, declined, voided, rejected, extended] = std::array::from_fn(|_| an_order());
        let accepts = [&paid, &keyed, &declined, &voided, &rejected, &extended].map(|order| Accept {
            order: order.clone(),
            key: (order.id == keyed.id).then(|| IdempotencyKey {
                principal: "p".into(),
                key: "k".into(),
                request_hash: [0; 32],
                keep: SOON,
            }),
        });
        accept(&mut conn, &accepts, SOON).await?;
        let doubt = Next::Retry { delay: Duration::ZERO, spend: true, void: true };
        try_once(&mut conn, &voided, AttemptOutcome::InDoubt, doubt).await?;
        try_once(&mut conn, &voided, AttemptOutcome::Voided, Next::Failed).await?;
        try_once(&mut conn, &declined, AttemptOutcome::Declined, Next::Failed).await?;
        for order in [&paid, &keyed, &rejected, &extended] {
            let next = Next::Succeeded { gateway_id: gateway_id(order.payment_id()) };
            try_once(&mut conn, order, AttemptOutcome::Succeeded, next).await?;
        }
        let refund = reject(&mut conn, &rejected).await?;
        stock(&mut conn, [&keyed, &rejected]).await?;
        let addition = extend(&mut conn, &extended).await?;
        let charges = [&paid, &keyed, &rejected, &extended].map(charge_of);
        let ledger = Ledger {
            requests: LedgerRequests { charges: 7, voids: 1, refunds: 1 },
            charges: charges.into_iter().chain([addition]).collect(),
            refunds: vec![refund],
            voided: vec![voided.payment_id().to_string()],
            declined: vec![DeclinedKey {
                key: declined.payment_id().to_string(),
                code: "card_declined".into(),
            }],
            asked_again: vec![],
            named: vec![],
        };
        // From here on the tests do what the triggers would refuse.
        conn.execute("SET session_replication_role = replica").await?;
        Ok(Self { database, conn, paid, keyed, declined, voided, rejected, extended, ledger })
    }

    async fn broken(&self) -> Result<Vec<Invariant>> {
        let report = reconcile(self.database.url(), &self.ledger).await?;
        assert_eq!(report.is_clean(), report.broken().is_empty());
        Ok(report.broken())
    }

    /// What is broken once `sql` has run, with `$paid` and the like replaced by the order's id, `$paid.pay` by its
    /// charge's.
    async fn broken_by(&mut self, sql: &str) -> Result<Vec<Invariant>> {
        let mut sql = sql.to_owned();
        for (name, order) in [
            ("$paid", &self.paid),
            ("$keyed", &self.keyed),
            ("$declined", &self.declined),
            ("$voided", &self.voided),
            ("$rejected", &self.rejected),
            ("$extended", &self.extended),
        ] {
            sql = sql.replace(&format!("{name}.pay"), &format!("'{}'", order.payment_id()));
            sql = sql.replace(name, &format!("'{}'", order.id));
        }
        let done = self.conn.execute(AssertSqlSafe(sql.clone())).await?;
        assert!(done.rows_affected() > 0, "nothing was broken by {sql}");
        self.broken().await
    }
}

fn an_order() -> NewOrder {
    let body = r#"{"customer_id":"c","items":[{"item_id":"i","item_name":"n","quantity":2,"price":12.99}]}"#;
    NewOrder::parse(&serde_json::from_str(body).unwrap()).unwrap()
}

fn gateway_id(payment: Uuid) -> String {
    format!("ch_{payment}")
}

fn charge_of(order: &NewOrder) -> ChargeReceipt {
    ChargeReceipt {
        id: gateway_id(order.payment_id()),
        key: order.payment_id().to_string(),
        reference: order.id.to_string(),
        amount: order.total.to_json(),
        currency: order.total.currency().code().into(),
    }
}

async fn try_once(
    conn: &mut PgConnection,
    order: &NewOrder,
    outcome: AttemptOutcome,
    next: Next,
) -> Result<()> {
    let claimed = claim(conn, &[order.payment_id()], SOON).await?.remove(0);
    let settlement = Settlement::new(&claimed, outcome, next);
    assert_eq!(settle(conn, &[settlement], SOON).await?.len(), 1);
    Ok(())
}

/// Claims what is due, one payment, and has it succeed.
async fn succeed_due(conn: &mut PgConnection) -> Result<Uuid> {
    let claimed = claim_due(conn, 10, SOON).await?;
    assert_eq!(claimed.len(), 1);
    let payment_id = claimed[0].payment_id;
    let next = Next::Succeeded { gateway_id: gateway_id(payment_id) };
    let settlement = Settlement::new(&claimed[0], AttemptOutcome::Succeeded, next);
    assert_eq!(settle(conn, &[settlement], SOON).await?.len(), 1);
    Ok(payment_id)
}

/// The kitchen refuses a paid order, and the money went back.
async fn reject(conn: &mut PgConnection, order: &NewOrder) -> Result<RefundReceipt> {
    let (order_id, charge) = (order.id, order.payment_id());
    let (by, reason) = (Actor::Staff(None), Some("out of buns".to_owned()));
    carry_out(
        conn,
        &Move {
            request: Uuid::now_v7(),
            order_id,
            wanted: Wanted::Reject,
            by,
            reason,
            expected: Expected::default(),
        },
    )
    .await?;
    let refund = succeed_due(conn).await?;
    Ok(RefundReceipt {
        id: gateway_id(refund),
        key: refund.to_string(),
        charge_key: charge.to_string(),
        reference: order_id.to_string(),
        amount: order.total.to_json(),
        currency: "USD".into(),
    })
}

/// Two of 52 are held by an order that is paid, and two came back from one that was rejected.
async fn stock(conn: &mut PgConnection, [paid, rejected]: [&NewOrder; 2]) -> Result<()> {
    let sql = format!(
        "INSERT INTO stock (id, product_id, available, held, sold) VALUES ('{ITEM}', '{ITEM}', 50, 2, 0);
         INSERT INTO stock_changes (id, item, change, what, by) VALUES (gen_random_uuid(), '{ITEM}', 52, 'set', 'max');
         UPDATE orders SET stocked = true WHERE id IN ('{0}', '{1}');
         INSERT INTO holds (owner, part, item, quantity, state) VALUES
             ('{0}', '{0}', '{ITEM}', 2, 'held'), ('{1}', '{1}', '{ITEM}', 2, 'back')",
        paid.id, rejected.id
    );
    conn.execute(AssertSqlSafe(sql)).await?;
    Ok(())
}

/// Something that is counted.
const ITEM: Uuid = Uuid::from_u128(52);

/// Something more was ordered and charged.
async fn extend(conn: &mut PgConnection, order: &NewOrder) -> Result<ChargeReceipt> {
    let body =
        r#"{"payment_reference":"more","items":[{"item_id":"j","item_name":"m","quantity":1,"price":4.99}]}"#;
    let addition = NewAddition::parse(&serde_json::from_str(body)?, order.id, Currency::USD).unwrap();
    add(conn, &Add { order_id: order.id, by: Actor::Unnamed, addition, expected: Expected::default() })
        .await?;
    let charge = succeed_due(conn).await?;
    Ok(ChargeReceipt {
        id: gateway_id(charge),
        key: charge.to_string(),
        amount: Money::from_minor(499, Currency::USD).to_json(),
        ..charge_of(order)
    })
}

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
    let cases: [(&str, &[Invariant]); 47] = [
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
    ];
    let database = TestDatabase::new().await?;
    let mut wrong = Vec::new();
    for (sql, expected) in cases {
        let mut world = World::on(database.clone()).await?;
        let broken = world.broken_by(sql).await?;
        if broken != expected {
            wrong.push(format!("{sql}: {broken:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let mut world = World::on(database.clone()).await?;
    let unnamed = "DELETE FROM names WHERE kind = 'payment_reference'";
    assert_eq!(world.broken_by(unnamed).await?, [NamesWhole]);
    let mut world = World::on(database.clone()).await?;
    let misled = "UPDATE names SET named = $paid WHERE kind = 'payment_reference'";
    assert_eq!(world.broken_by(misled).await?, [NamesWhole]);
    let mut world = World::on(database.clone()).await?;
    let another = "INSERT INTO names SELECT named, NULL, now(), kind, scope, 'other', hash FROM names WHERE kind = 'idempotency_key'";
    assert_eq!(world.broken_by(another).await?, [OneOrderAKey]);
    // Those under which it was moved are as many as its moves.
    let moved = "INSERT INTO names SELECT named, gen_random_uuid(), now(), kind, scope, 'move', hash FROM names WHERE kind = 'idempotency_key'";
    assert_eq!(World::on(database).await?.broken_by(moved).await?, []);
    Ok(())
}

#[tokio::test]
async fn a_row_too_many_or_too_few_in_the_ledger_is_found() -> Result<()> {
    use Invariant::{
        ChargedOnce, FailedIsClosed, LedgerExplained, MoneyKept, RequestsCovered, SucceededInLedger,
    };
    let world = World::new().await?;
    let broken = async |change: &dyn Fn(&mut Ledger)| {
        let mut ledger = world.ledger.clone();
        change(&mut ledger);
        reconcile(world.database.url(), &ledger).await.map(|report| report.broken())
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
    let database = TestDatabase::new().await?;
    let mut world = World::on(database.clone()).await?;
    let order = paid_elsewhere(&mut world.conn).await?;
    assert_eq!(world.broken().await?, []);
    // The gateway took it as well.
    world.ledger.charges.push(charge_of(&order));
    assert_eq!(world.broken().await?, [LedgerExplained, ChargedOnce, MoneyKept]);
    world.ledger.requests.charges += 1;
    assert!(world.broken().await?.contains(&RequestsCovered));
    let mut wrong = Vec::new();
    for (sql, expected) in cases {
        let mut world = World::on(database.clone()).await?;
        let order = paid_elsewhere(&mut world.conn).await?;
        let sql = sql.replace("$elsewhere", &format!("'{}'", order.id));
        let broken = world.broken_by(&sql).await?;
        if broken != expected {
            wrong.push(format!("{sql}: {broken:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
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
    world.broken_by("UPDATE payments SET attempts = attempts + 1 WHERE id = $paid.pay").await?;
    let report = reconcile(world.database.url(), &world.ledger).await?.to_string();
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
