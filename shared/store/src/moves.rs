//! moves: what people ask for is carried out: an order moves and its event is noted, together with what follows for its
//! payments. What the clock does to orders that nobody answered goes the same way (`deadline.rs`).
//!
//! Every transaction here locks the charges of an order before the order, as claiming and settling do. So whoever ends
//! an order knows of each charge whether it was ever sent, and no charge can be sent that is not told so.

use domain::event::What;
use domain::order::moves::{Move, Refusal, Ruling, Standing, Wanted, on_the_way};
use domain::order::status::OrderStatus;
use domain::payment::{PaymentKind, PaymentStatus};
use runtime::chaos::crash_point;
use sqlx::{Connection, PgConnection, Postgres, Transaction};
use time::OffsetDateTime;
use uuid::Uuid;

use super::at_sight::{self, Sight};
use super::events::{Change, done_before, note};
use super::keyed::{Before, Keyed, Request};
use super::read::{self, Whole};
use super::refunds::{Owed, owe};

/// What became of a request.
#[derive(Debug, Clone)]
pub enum Moved {
    /// The order as it stands now: moved, or with the wish noted.
    Done {
        /// With all that belongs to it.
        whole: Box<Whole>,
        /// Whether it is only a wish yet.
        wish: bool,
    },
    /// It was not to be moved so. A normal outcome of a race.
    Refused {
        /// Why not.
        refusal: Refusal,
        /// Where it stands.
        status: OrderStatus,
    },
    /// The same was asked under the same key before, and done: the order as it stands now.
    Replayed {
        /// With all that belongs to it.
        whole: Box<Whole>,
    },
    /// Something else was asked under the same key before.
    KeyReused,
    /// There is no such order, or not for whoever asks.
    NotFound,
}

/// One step of one order, decided.
pub(super) struct Step {
    pub(super) order_id: Uuid,
    pub(super) from: OrderStatus,
    pub(super) to: OrderStatus,
    pub(super) actor: String,
    pub(super) reason: Option<String>,
    /// Why the money goes back, if any does.
    pub(super) refund_reason: &'static str,
    /// What was taken stays.
    pub(super) keeps: bool,
    pub(super) request: Option<Uuid>,
}

impl Step {
    /// Whether it ends without being delivered.
    const fn ends(&self) -> bool {
        matches!(self.to, OrderStatus::Rejected | OrderStatus::Cancelled)
    }
}

/// What a transaction came to.
pub(super) enum Decided {
    Done {
        wish: bool,
    },
    Refused {
        refusal: Refusal,
        status: OrderStatus,
    },
    /// Nothing is done: its key says that something was, before.
    Before(Before),
    NotFound,
}

/// Carries out what is asked for. Running it twice is harmless: the second run finds the first one's event.
pub async fn carry_out(conn: &mut PgConnection, asked: impl Into<Keyed<'_, Move>>) -> sqlx::Result<Moved> {
    let Keyed { ask, key } = asked.into();
    let request = Request { order_id: ask.order_id, id: ask.request, key };
    match at_sight::look(conn, ask).await? {
        Sight::Open => {}
        Sight::NotFound => return Ok(Moved::NotFound),
        Sight::Refused { refusal, status } => {
            return answer(conn, Decided::Refused { refusal, status }, request).await;
        }
    }
    let mut tx = conn.begin().await?;
    let decided = rule_and_move(&mut tx, ask).await?;
    let decided = end(tx, decided, request).await?;
    answer(conn, decided, request).await
}

/// Ends the transaction as what came of it says, with the request's key where it is done. Aloud, whatever it was: a transaction
/// that is merely dropped keeps its locks until the connection's next use.
pub(super) async fn end(
    mut tx: Transaction<'_, Postgres>,
    decided: Decided,
    request: Request<'_>,
) -> sqlx::Result<Decided> {
    if let Decided::Done { .. } = decided {
        match request.take_key(&mut tx).await? {
            None | Some(Before::This) => {
                crash_point("api.before_move");
                tx.commit().await?;
                return Ok(decided);
            }
            Some(before) => {
                tx.rollback().await?;
                return Ok(Decided::Before(before));
            }
        }
    }
    tx.rollback().await?;
    Ok(decided)
}

/// The answer. What it shows is read after the commit: nobody waits for a lock meanwhile, and it may show what happened since.
/// What was refused may have been done before, by the same request.
pub(super) async fn answer(
    conn: &mut PgConnection,
    decided: Decided,
    request: Request<'_>,
) -> sqlx::Result<Moved> {
    let before = match decided {
        Decided::NotFound => return Ok(Moved::NotFound),
        Decided::Done { .. } => Before::This,
        Decided::Before(before) => before,
        Decided::Refused { refusal, status } => match request.before(conn).await? {
            None => return Ok(Moved::Refused { refusal, status }),
            Some(before) => before,
        },
    };
    if before == Before::Other {
        return Ok(Moved::KeyReused);
    }
    let Some(whole) = read::whole(conn, request.order_id).await?.map(Box::new) else {
        return Ok(Moved::NotFound);
    };
    Ok(match decided {
        Decided::Done { wish } => Moved::Done { whole, wish },
        _ => Moved::Replayed { whole },
    })
}

async fn rule_and_move(conn: &mut PgConnection, ask: &Move) -> sqlx::Result<Decided> {
    let charges =
        if touches_money(ask.wanted) { lock_charges(conn, &[ask.order_id]).await? } else { Vec::new() };
    let Some(order) = lock_order(conn, ask.order_id).await? else { return Ok(Decided::NotFound) };
    if !ask.by.may_see(&order.customer_id, &order.location) {
        return Ok(Decided::NotFound);
    }
    // To and fro between these two a request that runs a second time would be legal again.
    let to_and_fro = matches!(ask.wanted.to(), OrderStatus::Accepted | OrderStatus::Preparing);
    if to_and_fro && done_before(conn, ask.order_id, ask.request).await? {
        return Ok(Decided::Done { wish: false });
    }
    if !ask.expected.has(order.version) {
        // It has changed, perhaps by this very request.
        return Ok(match done_before(conn, ask.order_id, ask.request).await? {
            true => Decided::Done { wish: order.wished },
            false => order.changed(),
        });
    }
    let cancels = ask.wanted.to() == OrderStatus::Cancelled;
    let unsent = if cancels { never_sent(conn, &charges).await? } else { Vec::new() };
    let standing = Standing {
        status: order.status,
        in_flight: charges.iter().any(|charge| charge.in_flight() && !unsent.contains(&charge.id)),
        late: charges.iter().any(|charge| charge.answer_by.is_some_and(|by| by <= order.seen_at)),
        wished: order.wished,
    };
    let ruling = standing.rule(ask.wanted, ask.reason.is_some());
    match ruling {
        Ruling::Move => {
            if order.status == OrderStatus::PaymentProcessing {
                note_processing(conn, &[ask.order_id]).await?;
            }
            apply(conn, &[step(ask, order.status)], &charges, &unsent).await?;
        }
        Ruling::Wish => {
            note_processing(conn, &[ask.order_id]).await?;
            wish(conn, ask).await?;
        }
        Ruling::Wished => {}
        Ruling::Refused(_) if done_before(conn, ask.order_id, ask.request).await? => {}
        Ruling::Refused(refusal) => return Ok(Decided::Refused { refusal, status: order.status }),
    }
    Ok(Decided::Done { wish: matches!(ruling, Ruling::Wish | Ruling::Wished) })
}

/// Whether what is asked for may end a payment, or answers what its deadline asks.
const fn touches_money(wanted: Wanted) -> bool {
    !matches!(wanted.to(), OrderStatus::Ready | OrderStatus::Delivered)
}

fn step(ask: &Move, from: OrderStatus) -> Step {
    let to = ask.wanted.to();
    let (reason, refund_reason) = match ask.wanted {
        Wanted::NoShow { .. } => (Some(NO_SHOW.to_owned()), NO_SHOW),
        _ if to == OrderStatus::Rejected => (ask.reason.clone(), "rejected"),
        _ => (ask.reason.clone(), "cancelled"),
    };
    Step {
        order_id: ask.order_id,
        from,
        to,
        actor: ask.by.name(),
        reason,
        refund_reason,
        keeps: ask.wanted == Wanted::NoShow { refund: false },
        request: Some(ask.request),
    }
}

/// Why an order was cancelled that nobody came for, and its money went back.
const NO_SHOW: &str = "no_show";

/// A charge of an order, or what its channel took instead, locked.
pub(super) struct Charge {
    pub(super) id: Uuid,
    pub(super) order_id: Uuid,
    kind: PaymentKind,
    pub(super) status: PaymentStatus,
    amount_minor: i64,
    pub(super) answer_by: Option<OffsetDateTime>,
    /// Not that of an addition.
    own: bool,
}

impl Charge {
    /// The order's own, claimed at least once and not final: it may have been sent.
    const fn in_flight(&self) -> bool {
        self.own && matches!(self.status, PaymentStatus::Processing | PaymentStatus::Waiting)
    }

    /// Money was taken for it: here, in hand or by its channel.
    fn took_money(&self) -> bool {
        self.status == PaymentStatus::Succeeded && self.kind != PaymentKind::Free
    }

    /// It was our gateway that took it.
    fn is_ours(&self) -> bool {
        self.kind == PaymentKind::Charge
    }
}

/// Locks all charges of these orders: first each order's own and nothing else, then the others, in the order of their ids.
///
/// A statement sees what was committed when it began. A settlement that it waits for takes an order's own charge out of the
/// queue and writes it among the payments, where that statement cannot see it; so where none is found, there is another look, and
/// that finds it. Whoever adds a charge holds the order's own meanwhile: once that is held, the next statement sees all others.
pub(super) async fn lock_charges(conn: &mut PgConnection, orders: &[Uuid]) -> sqlx::Result<Vec<Charge>> {
    let mut charges = lock_own(conn, orders).await?;
    let is_missing = |order: &&Uuid| !charges.iter().any(|charge| charge.id == **order);
    let missing: Vec<Uuid> = orders.iter().filter(is_missing).copied().collect();
    if !missing.is_empty() {
        charges.extend(lock_own(conn, &missing).await?);
    }
    let others = sqlx::query_as!(
        Charge,
        r#"SELECT id, order_id, kind AS "kind: PaymentKind", status AS "status: PaymentStatus", amount_minor, answer_by,
                  added IS NULL AS "own!" FROM payments
           WHERE order_id = ANY($1) AND id <> order_id AND kind <> 'refund' ORDER BY id FOR UPDATE"#,
        orders
    )
    .fetch_all(conn)
    .await?;
    charges.extend(others);
    Ok(charges)
}

/// Locks what these orders came with, in the queue or among the payments.
async fn lock_own(conn: &mut PgConnection, orders: &[Uuid]) -> sqlx::Result<Vec<Charge>> {
    sqlx::query_as!(
        Charge,
        r#"
        WITH queued AS (
            SELECT id, charge_status(c) AS status, amount_minor FROM open_charges c WHERE id = ANY($1) ORDER BY id FOR UPDATE
        ), final AS (
            SELECT id, kind, status, amount_minor, answer_by FROM payments WHERE id = ANY($1) ORDER BY id FOR UPDATE
        )
        SELECT id AS "id!", id AS "order_id!", 'charge'::payment_kind AS "kind!: PaymentKind",
            status AS "status!: PaymentStatus", amount_minor AS "amount_minor!", NULL::timestamptz AS answer_by, true AS "own!"
        FROM queued
        UNION ALL
        SELECT id, id, kind, status, amount_minor, answer_by, true FROM final
        "#,
        orders
    )
    .fetch_all(conn)
    .await
}

/// Those of these charges that wait for another try, and at which no gateway ever looked: each of their tries says so. The caller
/// holds them, so nobody takes one to the gateway before it ends.
///
/// A statement of its own: what came of the last try was committed by whoever the lock was waited for, and only a new snapshot
/// shows it.
pub(super) async fn never_sent(conn: &mut PgConnection, charges: &[Charge]) -> sqlx::Result<Vec<Uuid>> {
    let waiting = charges.iter().filter(|charge| charge.status == PaymentStatus::Waiting);
    let waiting: Vec<Uuid> = waiting.map(|charge| charge.id).collect();
    if waiting.is_empty() { Ok(waiting) } else { never_sent_of(conn, &waiting).await }
}

/// The same of these.
pub(super) async fn never_sent_of(conn: &mut PgConnection, waiting: &[Uuid]) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        r#"SELECT id AS "id!" FROM unnest($1::uuid[]) AS waiting(id)
           WHERE NOT EXISTS (
               SELECT FROM payment_attempts a
               WHERE a.payment_id = waiting.id AND a.outcome IS DISTINCT FROM 'unavailable')"#,
        waiting
    )
    .fetch_all(conn)
    .await
}

/// What of an order decides, locked.
pub(super) struct Locked {
    pub(super) status: OrderStatus,
    pub(super) version: i32,
    pub(super) customer_id: String,
    pub(super) location: String,
    pub(super) wished: bool,
    pub(super) seen_at: OffsetDateTime,
}

impl Locked {
    /// The answer to somebody who has seen another version.
    pub(super) const fn changed(&self) -> Decided {
        Decided::Refused { refusal: Refusal::VersionChanged { now: self.version }, status: self.status }
    }
}

/// Locks an order. Its status and version are those that are shown, the time one that is believed (`clock.rs`).
pub(super) async fn lock_order(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Locked>> {
    sqlx::query_as!(
        Locked,
        r#"SELECT CASE WHEN status = 'PENDING' AND EXISTS (
                      SELECT FROM open_charges c WHERE c.id = o.id AND c.began_at IS NOT NULL)
                      THEN 'PAYMENT_PROCESSING' ELSE status END AS "status!: OrderStatus",
                  version + (status = 'PENDING' AND EXISTS (
                      SELECT FROM open_charges c WHERE c.id = o.id AND c.began_at IS NOT NULL))::int AS "version!",
                  customer_id, location, cancel_requested_at IS NOT NULL AS "wished!",
                  least(clock_timestamp(), (SELECT until FROM clock_trust)) AS "seen_at!"
           FROM orders o WHERE id = $1 FOR UPDATE"#,
        id
    )
    .fetch_optional(conn)
    .await
}

/// Notes with an order that its payment is being processed, before anything else is noted there: else nobody writes that down
/// before its charge is settled. The caller holds orders and charges. Does nothing where no claim has begun, or it is noted already.
pub(super) async fn note_processing(conn: &mut PgConnection, orders: &[Uuid]) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        WITH begun AS (
            UPDATE open_charges SET noted = true WHERE id = ANY($1) AND began_at IS NOT NULL AND NOT noted RETURNING id, began_at
        ), moved AS (
            UPDATE orders o SET status = 'PAYMENT_PROCESSING', version = o.version + 1, updated_at = b.began_at
            FROM begun b WHERE o.id = b.id AND o.status = 'PENDING'
            RETURNING o.id, o.version, b.began_at
        )
        INSERT INTO order_events (subject, at, version, what, from_status, to_status, actor)
        SELECT id, began_at, version, 'moved', 'PENDING', 'PAYMENT_PROCESSING', 'worker' FROM moved
        "#,
        orders
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Notes that the order is to be cancelled once its charge is known. The charge is never sent again, only voided; what
/// that finds, or what a worker that just sent it hears, settles the wish.
async fn wish(conn: &mut PgConnection, ask: &Move) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        WITH wished AS (
            UPDATE orders SET cancel_requested_at = now(), cancel_actor = $2, cancel_reason = $3, cancel_request = $4
            WHERE id = $1 AND cancel_requested_at IS NULL
        ), own AS (
            UPDATE open_charges SET voiding = true, due_at = CASE WHEN trying IS NULL THEN now() ELSE due_at END WHERE id = $1
        )
        UPDATE payments SET voiding = true, due_at = CASE WHEN status = 'waiting' THEN now() ELSE due_at END
        WHERE (id = $1 OR (order_id = $1 AND id <> order_id)) AND kind = 'charge'
            AND status IN ('pending', 'processing', 'waiting')
        "#,
        ask.order_id,
        ask.by.name(),
        ask.reason,
        ask.request
    )
    .execute(&mut *conn)
    .await?;
    let change = Change {
        order_id: ask.order_id,
        what: What::CancelWished,
        actor: ask.by.name(),
        reason: ask.reason.clone(),
        money: None,
        items: None,
        request: Some(ask.request),
    };
    note(conn, &[change]).await
}

/// Moves orders of which the caller holds all charges; says which moved. Where an order ends without being delivered: what
/// was never sent is closed (what nobody claimed, and those of `unsent`), what may be on its way is only voided from now on, and
/// what was taken is given back, each charge by a refund of its own; or it is written down that it stays.
pub(super) async fn apply(
    conn: &mut PgConnection,
    steps: &[Step],
    charges: &[Charge],
    unsent: &[Uuid],
) -> sqlx::Result<Vec<Uuid>> {
    let moved = move_orders(conn, steps, unsent).await?;
    let (mut kept, mut owed) = (Vec::new(), Vec::new());
    for step in steps.iter().filter(|step| step.ends() && moved.contains(&step.order_id)) {
        for charge in charges.iter().filter(|one| one.order_id == step.order_id && one.took_money()) {
            if step.keeps {
                let money = (charge.id, charge.amount_minor);
                kept.push(Change::of_payment(step.order_id, What::Kept, &step.actor, None, money));
            } else if charge.is_ours() {
                let why = step.refund_reason.to_owned();
                owed.push(Owed { charge_id: charge.id, why, actor: step.actor.clone() });
            }
        }
    }
    keep_elsewhere(conn, steps, &moved).await?;
    let changes = owe(conn, &owed).await?;
    note(conn, &[kept, changes].concat()).await?;
    Ok(moved)
}

/// What the channels of these orders took, or staff in hand, stays there, where it is to: nobody has to give it back.
async fn keep_elsewhere(conn: &mut PgConnection, steps: &[Step], moved: &[Uuid]) -> sqlx::Result<()> {
    let keeps = steps.iter().filter(|step| step.keeps && moved.contains(&step.order_id));
    let keeps: Vec<Uuid> = keeps.map(|step| step.order_id).collect();
    if keeps.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "UPDATE order_details SET kept = true WHERE order_id = ANY($1) AND (paid_elsewhere OR collected)",
        &keeps
    )
    .execute(conn)
    .await
    .map(drop)
}

/// The moves themselves, and what follows for charges that took nothing, in one statement. Where a step leads by another
/// status, that move is written, too.
///
/// No condition of its look-ups is that of a partial index: one that was empty when the planner looked would be read
/// whole for each order, also when it has a million entries.
async fn move_orders(conn: &mut PgConnection, steps: &[Step], unsent: &[Uuid]) -> sqlx::Result<Vec<Uuid>> {
    let orders: Vec<Uuid> = steps.iter().map(|step| step.order_id).collect();
    let from: Vec<OrderStatus> = steps.iter().map(|step| step.from).collect();
    let via: Vec<Option<OrderStatus>> = steps.iter().map(|step| on_the_way(step.from, step.to)).collect();
    let to: Vec<OrderStatus> = steps.iter().map(|step| step.to).collect();
    let actors: Vec<String> = steps.iter().map(|step| step.actor.clone()).collect();
    let reasons: Vec<Option<String>> = steps.iter().map(|step| step.reason.clone()).collect();
    let whys: Vec<String> = steps.iter().map(|step| step.refund_reason.to_owned()).collect();
    let requests: Vec<Option<Uuid>> = steps.iter().map(|step| step.request).collect();
    sqlx::query_scalar!(
        r#"
        WITH input AS (
            SELECT * FROM unnest($1::uuid[], $2::order_status[], $3::order_status[], $4::order_status[], $5::text[],
                                 $6::text[], $7::text[], $8::uuid[])
                AS input(id, from_status, via_status, to_status, actor, reason, why, request)
        ), moved AS (
            UPDATE orders o SET status = i.to_status, updated_at = now(),
                version = o.version + CASE WHEN i.via_status IS NULL THEN 1 ELSE 2 END
            FROM input i WHERE o.id = i.id AND o.status = i.from_status
            RETURNING o.id, o.version, i.from_status, i.via_status, i.to_status, i.actor, i.reason, i.why, i.request
        ), noted AS (
            INSERT INTO order_events (subject, at, version, what, from_status, to_status, actor, reason, request)
            SELECT id, now(), version - 1, 'moved'::event_what, from_status, via_status, actor, 'implicit', NULL
            FROM moved WHERE via_status IS NOT NULL
            UNION ALL
            SELECT id, now(), version, 'moved', coalesce(via_status, from_status), to_status, actor, reason, request
            FROM moved
        ), ended AS (
            SELECT id, why FROM moved WHERE to_status IN ('REJECTED', 'CANCELLED', 'PAYMENT_FAILED')
        ), unsent AS (
            DELETE FROM open_charges c USING ended e
            WHERE c.id = ANY(ARRAY[e.id]) AND (c.epoch = 0 OR (c.trying IS NULL AND c.id = ANY($9)))
            RETURNING c.id, c.amount_minor, c.created_at, c.epoch, c.attempts, c.spent, c.voiding, c.currency, e.why
        ), never_sent AS (
            INSERT INTO payments (id, order_id, amount_minor, created_at, epoch, attempts, spent, kind, status, voiding, currency,
                                  failure_code)
            SELECT id, id, amount_minor, created_at, epoch, attempts, spent, 'charge', 'failed', voiding, currency, why
            FROM unsent
        ), closed AS (
            -- What was to be paid in hand, too: nothing came in.
            UPDATE payments p SET status = 'failed', due_at = NULL, answer_by = NULL, failure_code = e.why
            FROM ended e WHERE (p.id = e.id OR (p.order_id = e.id AND p.id <> p.order_id)) AND p.kind IN ('charge', 'on_delivery')
                AND (p.status IN ('held', 'due', 'pending') OR (p.status = 'waiting' AND p.id = ANY($9)))
        ), called_off AS (
            UPDATE payments p
            SET voiding = true, due_at = CASE WHEN p.status = 'waiting' THEN now() ELSE p.due_at END
            FROM ended e WHERE (p.id = e.id OR (p.order_id = e.id AND p.id <> p.order_id)) AND p.kind = 'charge'
                AND (p.status = 'processing' OR (p.status = 'waiting' AND p.id <> ALL($9)))
        ), answered AS (
            UPDATE payments p SET answer_by = NULL
            FROM moved m
            WHERE m.from_status = 'CONFIRMED' AND (p.id = m.id OR (p.order_id = m.id AND p.id <> p.order_id))
                AND p.kind <> 'refund' AND p.added IS NULL
                -- What is closed above is answered there: a statement changes a row once.
                AND (p.status = 'succeeded' OR (p.status = 'due' AND m.to_status NOT IN ('REJECTED', 'CANCELLED')))
        )
        SELECT id FROM moved
        "#,
        &orders,
        &from as &[OrderStatus],
        &via as &[Option<OrderStatus>],
        &to as &[OrderStatus],
        &actors,
        &reasons as &[Option<String>],
        &whys,
        &requests as &[Option<Uuid>],
        unsent,
    )
    .fetch_all(conn)
    .await
}
