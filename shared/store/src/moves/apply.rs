//! Orders move, and what follows for their payments.

use domain::event::What;
use domain::order::moves::on_the_way;
use domain::order::status::OrderStatus;
use sqlx::PgConnection;
use uuid::Uuid;

use super::locks::Charge;
use crate::events::{Change, note};
use crate::refunds::{Owed, owe};

/// One step of one order, decided.
pub(crate) struct Step {
    pub(crate) order_id: Uuid,
    pub(crate) from: OrderStatus,
    pub(crate) to: OrderStatus,
    pub(crate) actor: String,
    pub(crate) reason: Option<String>,
    /// Why the money goes back, if any does.
    pub(crate) refund_reason: &'static str,
    /// What was taken stays.
    pub(crate) keeps: bool,
    pub(crate) request: Option<Uuid>,
}

impl Step {
    /// Whether it ends without being delivered.
    const fn ends(&self) -> bool {
        matches!(self.to, OrderStatus::Rejected | OrderStatus::Cancelled)
    }
}

/// Moves orders of which the caller holds all charges; says which moved. Where an order ends without being delivered: what
/// was never sent is closed (what nobody claimed, and those of `unsent`), what may be on its way is only voided from now on, and
/// what was taken is given back, each charge by a refund of its own; or it is written down that it stays.
pub(crate) async fn apply(
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

/// Notes with an order that its payment is being processed, before anything else is noted there: else nobody writes that down
/// before its charge is settled. The caller holds orders and charges. Does nothing where no claim has begun, or it is noted already.
pub(crate) async fn note_processing(conn: &mut PgConnection, orders: &[Uuid]) -> sqlx::Result<()> {
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
