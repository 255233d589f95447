//! Orders' own charges: each leaves the queue and becomes a payment in one statement, once only: what is not deleted is not
//! written. One that is to be tried again stays.

use std::time::Duration;

use domain::order::status::OrderStatus;
use domain::payment::{AttemptOutcome, PaymentKind, PaymentStatus};
use sqlx::PgConnection;
use uuid::Uuid;

use super::columns::Columns;
use super::{Done, Settled, Settlement};

/// Orders' own charges become final: each leaves the queue, and what comes of it is written.
pub(super) async fn end(
    conn: &mut PgConnection,
    batch: &[&Settlement],
    accept_in: Duration,
) -> sqlx::Result<Done> {
    let columns = Columns::of(batch);
    let row = sqlx::query!(
        r#"
        WITH input AS (
            SELECT * FROM unnest($1::uuid[], $2::int[], $3::attempt_outcome[], $4::text[], $5::text[], $6::text[])
                AS input(id, epoch, outcome, code, message, gateway_id)
        ), ended AS (
            DELETE FROM open_charges c USING input i
            WHERE c.id = ANY(ARRAY[i.id]) AND c.epoch = i.epoch AND c.trying IS NOT NULL
            RETURNING c.id, c.amount_minor, c.created_at, c.began_at, c.claimed_at, c.epoch, c.attempts, c.spent, c.trying,
                c.voiding, c.noted, c.currency, coalesce(c.accept_ms, $7::bigint) * interval '1 ms' AS accept_in, i.outcome, i.code, i.message, i.gateway_id,
                i.gateway_id IS NOT NULL AS is_paid
        ), tried AS (
            INSERT INTO payment_attempts (payment_id, started_at, finished_at, number, epoch, action, outcome, code, message)
            SELECT id, claimed_at, clock_timestamp(), attempts, epoch, trying, outcome, code, message FROM ended
        ), final AS (
            INSERT INTO payments (id, order_id, amount_minor, created_at, answer_by, epoch, attempts, spent, kind, status,
                                  voiding, currency, gateway_id, failure_code)
            SELECT id, id, amount_minor, created_at, CASE WHEN is_paid THEN now() + accept_in END, epoch,
                attempts, spent, 'charge', CASE WHEN is_paid THEN 'succeeded' ELSE 'failed' END::payment_status, voiding,
                currency, gateway_id, CASE WHEN NOT is_paid THEN code END
            FROM ended
        ), moved AS (
            UPDATE orders o
            SET status = CASE WHEN o.cancel_requested_at IS NOT NULL THEN 'CANCELLED'
                    WHEN e.is_paid THEN 'CONFIRMED' ELSE 'PAYMENT_FAILED' END::order_status,
                version = o.version + CASE WHEN e.noted THEN 1 ELSE 2 END, updated_at = now(),
                accept_by = CASE WHEN e.is_paid AND o.cancel_requested_at IS NULL
                    THEN now() + e.accept_in END
            FROM ended e
            -- As this statement's snapshot shows it, before a wish that the deletion waited for; and as it is once it is locked.
            WHERE o.id = e.id AND o.status IN ('PENDING', 'PAYMENT_PROCESSING')
            RETURNING o.id, o.version, o.status, o.cancel_actor, o.cancel_reason, o.cancel_request, e.noted, e.began_at,
                CASE WHEN NOT e.is_paid THEN e.code END AS failure_code,
                CASE WHEN e.is_paid THEN e.amount_minor END AS taken_minor
        ), said AS (
            INSERT INTO order_events (subject, at, began_at, version, what, from_status, to_status, actor, reason, payment_id,
                                      amount_minor, request)
            SELECT id, now(), CASE WHEN NOT noted THEN began_at END, version, 'moved',
                CASE WHEN noted THEN 'PAYMENT_PROCESSING' ELSE 'PENDING' END::order_status, status,
                coalesce(cancel_actor, 'worker'), coalesce(cancel_reason, failure_code), id, taken_minor, cancel_request
            FROM moved
        ), unconfirmed AS (
            -- Looked up in a hash of each; a join of the two would compare all with all.
            SELECT id, amount_minor, id IN (SELECT id FROM moved WHERE status = 'CANCELLED') AS is_cancelled
            FROM ended WHERE is_paid AND id NOT IN (SELECT id FROM moved WHERE status = 'CONFIRMED')
        )
        SELECT CASE WHEN (SELECT count(*) FROM ended) < cardinality($1) THEN ARRAY(SELECT id FROM ended) END AS only,
            array_agg(id) AS unconfirmed, array_agg(amount_minor) AS amounts, array_agg(is_cancelled) AS cancelled
        FROM unconfirmed
        "#,
        &columns.ids,
        &columns.epochs,
        &columns.outcomes as &[AttemptOutcome],
        &columns.codes as &[Option<String>],
        &columns.messages as &[Option<String>],
        &columns.gateway_ids as &[Option<String>],
        crate::millis(accept_in),
    )
    .fetch_one(conn)
    .await?;
    let unconfirmed = row.unconfirmed.unwrap_or_default().into_iter();
    let unconfirmed = unconfirmed.zip(row.amounts.unwrap_or_default()).zip(row.cancelled.unwrap_or_default());
    let settled = |((id, amount_minor), is_cancelled)| Settled {
        id,
        order_id: id,
        kind: PaymentKind::Charge,
        is_addition: false,
        status: PaymentStatus::Succeeded,
        amount_minor,
        moved_to: if is_cancelled { Some(OrderStatus::Cancelled) } else { None },
    };
    let unconfirmed = unconfirmed.map(settled).collect();
    Ok(Done { moved: row.only.unwrap_or(columns.ids), unconfirmed })
}

/// Locks the charges of a batch of which some stay in the queue, one after the other, as everybody does who locks several:
/// more than one statement follows.
pub(super) async fn lock(conn: &mut PgConnection, batch: &[&Settlement]) -> sqlx::Result<()> {
    let ids: Vec<Uuid> = batch.iter().map(|one| one.payment_id).collect();
    sqlx::query!("SELECT id FROM open_charges WHERE id = ANY($1) ORDER BY id FOR UPDATE", &ids)
        .fetch_all(conn)
        .await
        .map(drop)
}

/// Orders' own charges, which the caller holds, are to be tried again: they stay in the queue, and the rows of their tries
/// are written.
pub(super) async fn put_back(conn: &mut PgConnection, batch: &[&Settlement]) -> sqlx::Result<Vec<Uuid>> {
    let columns = Columns::of(batch);
    sqlx::query_scalar!(
        r#"
        WITH input AS (
            SELECT * FROM unnest($1::uuid[], $2::int[], $3::attempt_outcome[], $4::text[], $5::text[], $6::bigint[], $7::int[],
                                 $8::bool[])
                AS input(id, epoch, outcome, code, message, delay_ms, spend, void)
        ), tried AS (
            SELECT i.*, c.claimed_at, c.attempts, c.trying FROM input i JOIN open_charges c ON c.id = ANY(ARRAY[i.id])
            WHERE c.epoch = i.epoch AND c.trying IS NOT NULL
        ), put_back AS (
            UPDATE open_charges c
            SET trying = NULL, claimed_at = NULL, lease_until = NULL, due_at = now() + t.delay_ms * interval '1 ms',
                spent = c.spent + t.spend, voiding = c.voiding OR t.void
            FROM tried t WHERE c.id = ANY(ARRAY[t.id])
            RETURNING c.id, c.attempts, c.epoch, t.claimed_at, t.trying, t.outcome, t.code, t.message
        ), noted AS (
            INSERT INTO payment_attempts (payment_id, started_at, finished_at, number, epoch, action, outcome, code, message)
            SELECT id, claimed_at, clock_timestamp(), attempts, epoch, trying, outcome, code, message FROM put_back
        )
        SELECT id FROM put_back
        "#,
        &columns.ids,
        &columns.epochs,
        &columns.outcomes as &[AttemptOutcome],
        &columns.codes as &[Option<String>],
        &columns.messages as &[Option<String>],
        &columns.delays,
        &columns.spends,
        &columns.voids,
    )
    .fetch_all(conn)
    .await
}

/// The late answers of a batch: whoever claimed the charge since has written down that the try was abandoned, and only such a
/// row is changed. A statement after the others, because only a new snapshot shows a claim that they waited for.
pub(super) async fn close_abandoned(conn: &mut PgConnection, own: &[&Settlement]) -> sqlx::Result<()> {
    let columns = Columns::of(own);
    sqlx::query!(
        r#"
        UPDATE payment_attempts a
        SET outcome = i.outcome, code = i.code, message = i.message, finished_at = clock_timestamp()
        FROM unnest($1::uuid[], $2::int[], $3::int[], $4::attempt_outcome[], $5::text[], $6::text[])
            AS i(id, epoch, number, outcome, code, message)
        WHERE a.payment_id = i.id AND a.number = i.number AND a.epoch = i.epoch AND a.outcome = 'abandoned'
        "#,
        &columns.ids,
        &columns.epochs,
        &columns.numbers,
        &columns.outcomes as &[AttemptOutcome],
        &columns.codes as &[Option<String>],
        &columns.messages as &[Option<String>],
    )
    .execute(conn)
    .await
    .map(drop)
}
