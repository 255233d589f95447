//! Orders that ended in every way there is, for the tests beside this file.

use std::time::Duration;

use anyhow::Result;
use domain::gateway::{ChargeReceipt, DeclinedKey, Ledger, LedgerRequests, RefundReceipt};
use domain::money::{Currency, Money};
use domain::order::NewOrder;
use domain::order::additions::NewAddition;
use domain::order::moves::{Actor, Expected, Move, Wanted};
use domain::payment::AttemptOutcome;
use reconcile::{Invariant, Report, compare, reconcile};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use store::accept::{Accept, IdempotencyKey, accept};
use store::additions::{Add, add};
use store::claim::claim;
use store::moves::carry_out;
use store::settle::{Next, Settlement, settle};
use store::sweep::claim_due;
use testbed::TestDatabase;
use uuid::Uuid;

pub(crate) const SOON: Duration = Duration::from_secs(60);

/// Six orders that ended in every way there is, one with an addition, and the ledger to them.
pub(crate) struct World {
    pub(crate) database: TestDatabase,
    pub(crate) conn: PgConnection,
    pub(crate) paid: NewOrder,
    pub(crate) keyed: NewOrder,
    pub(crate) declined: NewOrder,
    pub(crate) voided: NewOrder,
    pub(crate) rejected: NewOrder,
    pub(crate) extended: NewOrder,
    pub(crate) ledger: Ledger,
}

impl World {
    pub(crate) async fn new() -> Result<Self> {
        let database = TestDatabase::new().await?;
        let mut conn = database.connect().await?;
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

    /// What is broken, as anybody finds it.
    pub(crate) async fn broken(&self) -> Result<Vec<Invariant>> {
        let report = reconcile(self.database.url(), &self.ledger).await?;
        assert_eq!(report.is_clean(), report.broken().is_empty());
        Ok(report.broken())
    }

    /// What is said once `sql` has run, with `$paid` and the like replaced by the order's id, `$paid.pay` by its charge's. Then
    /// all is as it was.
    pub(crate) async fn report_of(&mut self, sql: &str) -> Result<Report> {
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
        let mut tx = self.conn.begin().await?;
        let done = tx.execute(AssertSqlSafe(sql.clone())).await?;
        assert!(done.rows_affected() > 0, "nothing was broken by {sql}");
        let report = compare(&mut tx, &self.ledger).await?;
        tx.rollback().await?;
        Ok(report)
    }

    /// What is broken by it.
    pub(crate) async fn broken_by(&mut self, sql: &str) -> Result<Vec<Invariant>> {
        Ok(self.report_of(sql).await?.broken())
    }

    /// Each statement of `cases` must break what stands beside it, and nothing else.
    pub(crate) async fn are_broken_by(&mut self, cases: &[(&str, &[Invariant])]) -> Result<()> {
        let mut wrong = Vec::new();
        for (sql, expected) in cases {
            let broken = self.broken_by(sql).await?;
            if broken != *expected {
                wrong.push(format!("{sql}: {broken:?}"));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        Ok(())
    }
}

pub(crate) fn an_order() -> NewOrder {
    let body = r#"{"customer_id":"c","items":[{"item_id":"i","item_name":"n","quantity":2,"price":12.99}]}"#;
    NewOrder::parse(&serde_json::from_str(body).unwrap()).unwrap()
}

pub(crate) fn gateway_id(payment: Uuid) -> String {
    format!("ch_{payment}")
}

pub(crate) fn charge_of(order: &NewOrder) -> ChargeReceipt {
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
