//! All other payments, which are in their table from the start: refunds, charges of additions, orders paid anew.

use std::time::Duration;

use domain::order::status::OrderStatus;
use domain::payment::{AttemptOutcome, PaymentKind, PaymentStatus};
use sqlx::PgConnection;

use super::columns::Columns;
use super::{Done, Settled, Settlement};

/// All other payments, and the order that waits for one because it is paid anew, move in one statement.
pub(super) async fn move_all(
    conn: &mut PgConnection,
    batch: &[&Settlement],
    accept_in: Duration,
) -> sqlx::Result<Done> {
    let columns = Columns::of(batch);
    let statuses: Vec<PaymentStatus> = batch.iter().map(|one| one.next.status()).collect();
    let settled = sqlx::query_as!(
        Settled,
        r#"
        WITH input AS (
            SELECT * FROM unnest($1::uuid[], $2::int[], $3::int[], $4::attempt_outcome[], $5::text[], $6::text[],
                                 $7::payment_status[], $8::text[], $9::bigint[], $10::int[], $11::bool[])
                AS input(id, epoch, number, outcome, code, message, status, gateway_id, delay_ms, spend, void)
        ), closed AS (
            UPDATE payment_attempts a
            SET outcome = i.outcome, code = i.code, message = i.message, finished_at = clock_timestamp()
            FROM input i
            WHERE a.payment_id = i.id AND a.number = i.number AND a.epoch = i.epoch
                AND (a.outcome IS NULL OR a.outcome = 'abandoned')
        ), settled AS (
            UPDATE payments p
            SET status = i.status,
                due_at = CASE WHEN i.status = 'waiting' THEN now() + i.delay_ms * interval '1 ms' END,
                gateway_id = i.gateway_id, spent = p.spent + i.spend, voiding = p.voiding OR i.void,
                failure_code = CASE WHEN i.status = 'failed' THEN i.code END,
                answer_by = CASE WHEN i.status = 'succeeded' AND decides(p)
                    THEN now() + coalesce((SELECT l.accept_seconds * 1000 FROM orders o JOIN locations l ON l.id = o.location
                                           WHERE o.id = p.order_id), $12::bigint) * interval '1 ms' END
            FROM input i
            WHERE p.id = i.id AND p.epoch = i.epoch AND p.status = 'processing'
            RETURNING p.id, p.order_id, p.kind, p.added IS NOT NULL AS is_addition, decides(p) AS decides, p.status, p.failure_code,
                p.amount_minor, p.answer_by
        ), moved AS (
            UPDATE orders o
            SET status = CASE WHEN o.cancel_requested_at IS NOT NULL THEN 'CANCELLED'
                    WHEN s.status = 'succeeded' THEN 'CONFIRMED' ELSE 'PAYMENT_FAILED' END::order_status,
                version = o.version + 1, updated_at = now(),
                accept_by = CASE WHEN o.cancel_requested_at IS NULL THEN s.answer_by END
            FROM settled s
            WHERE o.id = s.order_id AND o.status = 'PAYMENT_PROCESSING' AND s.decides AND s.status <> 'waiting'
            RETURNING o.id, o.version, o.status, o.cancel_actor, o.cancel_reason, o.cancel_request, s.id AS payment_id,
                s.failure_code, CASE WHEN s.status = 'succeeded' THEN s.amount_minor END AS taken_minor
        ), noted AS (
            INSERT INTO order_events (subject, at, version, what, from_status, to_status, actor, reason, payment_id,
                                      amount_minor, request)
            SELECT id, now(), version, 'moved', 'PAYMENT_PROCESSING', status, coalesce(cancel_actor, 'worker'),
                coalesce(cancel_reason, failure_code), payment_id, taken_minor, cancel_request FROM moved
        )
        SELECT id AS "id!", order_id AS "order_id!", kind AS "kind!: PaymentKind", is_addition AS "is_addition!",
            status AS "status!: PaymentStatus", amount_minor AS "amount_minor!",
            -- Looked up in a hash of each; a join of the two would compare all with all.
            CASE WHEN id IN (SELECT payment_id FROM moved WHERE status = 'CONFIRMED') THEN 'CONFIRMED'
                WHEN id IN (SELECT payment_id FROM moved WHERE status = 'CANCELLED') THEN 'CANCELLED'
            END::order_status AS "moved_to?: OrderStatus"
        FROM settled
        "#,
        &columns.ids,
        &columns.epochs,
        &columns.numbers,
        &columns.outcomes as &[AttemptOutcome],
        &columns.codes as &[Option<String>],
        &columns.messages as &[Option<String>],
        &statuses as &[PaymentStatus],
        &columns.gateway_ids as &[Option<String>],
        &columns.delays,
        &columns.spends,
        &columns.voids,
        crate::millis(accept_in),
    )
    .fetch_all(conn)
    .await?;
    let moved = settled.iter().map(|one| one.id).collect();
    Ok(Done { moved, unconfirmed: settled.into_iter().filter(Settled::took_unconfirmed).collect() })
}
