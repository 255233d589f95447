//! claim: the payments named by a hint become this worker's, under a new epoch and until a lease ends.

pub mod names;
#[cfg(feature = "chaos")]
pub mod sabotage;

use std::time::Duration;

use domain::money::Money;
use domain::origin::Origin;
use domain::payment::AttemptAction;
use sqlx::PgConnection;
use uuid::Uuid;

use self::names::GatewayNames;
use crate::read::money;

/// On what terms payments are claimed.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// How long a claim holds.
    pub lease: Duration,
    /// How old a charge may be that has no time of its own; none: as old as it likes.
    pub age: Option<Duration>,
}

impl From<Duration> for Terms {
    fn from(lease: Duration) -> Self {
        Self { lease, age: None }
    }
}

/// A payment that this worker, and nobody else, may now take to the gateway.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The payment, and the gateway's idempotency key.
    pub payment_id: Uuid,
    /// The order that it is for.
    pub order_id: Uuid,
    /// Of a refund: the charge that it gives back.
    pub refund_of: Option<Uuid>,
    /// How much.
    pub amount: Money,
    /// Of this claim. Settling under another one does nothing.
    pub epoch: i32,
    /// Number of the try that begins with this claim.
    pub number: i32,
    /// What is to be asked of the gateway.
    pub action: AttemptAction,
    /// Tries that already count against the retry budget.
    pub spent: i32,
    /// Whether it was claimed in the queue, where the charges are that orders came in with. (That of an order for later is one, too, and
    /// waits among the payments.)
    pub queued: bool,
    /// Where it came from, where the message that named it knew.
    pub origin: Option<Box<Origin>>,
    /// The gateway's names for what is charged and for who pays, where the order has some.
    pub names: Option<Box<GatewayNames>>,
}

impl Claimed {
    /// Since when its order has waited for it, by the time in the id: of one for later that would say nothing.
    pub fn waits_since(&self) -> Option<Uuid> {
        (self.queued || self.payment_id != self.order_id).then_some(self.order_id)
    }
}

/// Claims those of `hints` that may be claimed: never claimed before, or due. The rest is somebody else's, done,
/// or not due yet, and is missing from the answer; so is what another transaction is just moving.
///
/// The claim of an order's own charge is the record of the try that follows, and what makes its order `PAYMENT_PROCESSING`:
/// nothing but its row is written. One whose try a dead worker left open has that try's row written now, as it was claimed
/// then. Of other payments, which are few, the try's row stands before the call.
///
/// A charge whose time is over is claimed by nobody but to be voided: `call_off.rs` ends it, a moment later.
pub async fn claim(
    conn: &mut PgConnection,
    hints: &[Uuid],
    terms: impl Into<Terms>,
) -> sqlx::Result<Vec<Claimed>> {
    let terms = terms.into();
    #[cfg(feature = "chaos")]
    if runtime::chaos::sabotaged("claim_after_call") {
        return sabotage::pretend_to_claim(conn, hints, terms).await;
    }
    write(conn, hints, terms).await
}

pub(crate) async fn write(
    conn: &mut PgConnection,
    hints: &[Uuid],
    Terms { lease, age }: Terms,
) -> sqlx::Result<Vec<Claimed>> {
    let rows = sqlx::query!(
        r#"
        WITH hint AS (
            SELECT DISTINCT id FROM unnest($1::uuid[]) AS hint(id)
        ), due AS (
            -- = ANY(ARRAY[..]): a plan made while the queue is empty must not walk all of it for each hint, as it may with a
            -- join of equals. So in all statements that meet the queue.
            SELECT c.id, c.trying, c.claimed_at FROM hint JOIN open_charges c ON c.id = ANY(ARRAY[hint.id])
            WHERE (c.epoch = 0 OR (c.due_at <= now() AND (c.lease_until IS NULL OR c.lease_until <= now())))
                AND (c.voiding OR charge_ends_at(c.expires_at, c.created_at, $3) > now()
                     OR now() > (SELECT until FROM clock_trust))
            ORDER BY hint.id FOR UPDATE OF c SKIP LOCKED
        ), claimed AS (
            UPDATE open_charges c
            SET epoch = c.epoch + 1, attempts = c.attempts + 1, began_at = coalesce(c.began_at, now()), claimed_at = now(),
                lease_until = now() + $2::bigint * interval '1 ms',
                -- Stays as it is, as a rule, and so no index is written: a lease ends later than a lost publish is noticed.
                due_at = least(c.due_at, now() + $2::bigint * interval '1 ms'),
                trying = CASE WHEN c.voiding THEN 'void' ELSE 'charge' END::attempt_action
            FROM due WHERE c.id = ANY(ARRAY[due.id])
            RETURNING c.id, c.amount_minor, c.currency, c.epoch, c.attempts, c.spent, c.trying, c.named,
                due.trying AS left_open, due.claimed_at AS left_at
        ), abandoned AS (
            INSERT INTO payment_attempts (payment_id, started_at, finished_at, number, epoch, action, outcome, code)
            SELECT id, left_at, now(), attempts - 1, epoch - 1, left_open, 'abandoned', 'lease_expired'
            FROM claimed WHERE left_open IS NOT NULL
        ), others_due AS (
            SELECT p.id FROM hint JOIN payments p ON p.id = hint.id
            -- Mostly there are none, and then none is looked for.
            WHERE (SELECT count(*) FROM claimed) < (SELECT count(*) FROM hint)
                AND (p.status = 'pending' OR (p.status IN ('processing', 'waiting') AND p.due_at <= now()))
                AND (p.kind <> 'charge' OR p.voiding
                     OR charge_ends_at(p.expires_at, p.created_at, $3) > now()
                     OR now() > (SELECT until FROM clock_trust))
            ORDER BY p.id FOR UPDATE OF p SKIP LOCKED
        ), others AS (
            UPDATE payments p
            SET status = 'processing', epoch = p.epoch + 1, attempts = p.attempts + 1,
                due_at = now() + $2::bigint * interval '1 ms'
            FROM others_due WHERE p.id = others_due.id
            RETURNING p.id, p.order_id, p.refund_of, p.amount_minor, p.currency, p.epoch, p.attempts, p.spent,
                CASE WHEN p.voiding THEN 'void' WHEN p.kind = 'refund' THEN 'refund' ELSE 'charge' END::attempt_action
                    AS action
        ), others_abandoned AS (
            UPDATE payment_attempts a SET outcome = 'abandoned', finished_at = now(), code = 'lease_expired'
            FROM others o WHERE o.attempts > 1 AND a.payment_id = o.id AND a.number = o.attempts - 1
                AND a.outcome IS NULL
        ), others_tried AS (
            INSERT INTO payment_attempts (payment_id, started_at, number, epoch, action)
            SELECT id, now(), attempts, epoch, action FROM others
        )
        SELECT id AS "id!", id AS "order_id!", NULL::uuid AS refund_of, amount_minor AS "amount_minor!",
            currency AS "currency!", epoch AS "epoch!", attempts AS "number!", spent AS "spent!",
            trying AS "action!: AttemptAction", true AS "queued!", named AS "named!"
        FROM claimed
        UNION ALL
        -- Few, so each charge among them is asked for its order's details.
        SELECT id, order_id, refund_of, amount_minor, currency, epoch, attempts, spent, action, false, true FROM others
        "#,
        hints,
        crate::millis(lease),
        age.map(crate::millis),
    )
    .fetch_all(&mut *conn)
    .await?;
    let named = rows.iter().filter(|row| row.named && row.action == AttemptAction::Charge);
    let named: Vec<Uuid> = named.map(|row| row.order_id).collect();
    let names = names::of(conn, &named).await?;
    rows.into_iter()
        .map(|row| {
            let is_charge = row.action == AttemptAction::Charge;
            Ok(Claimed {
                names: if is_charge { names.get(&row.order_id).cloned() } else { None },
                payment_id: row.id,
                order_id: row.order_id,
                refund_of: row.refund_of,
                amount: money(row.amount_minor, &row.currency)?,
                epoch: row.epoch,
                number: row.number,
                action: row.action,
                spent: row.spent,
                queued: row.queued,
                origin: None,
            })
        })
        .collect()
}
