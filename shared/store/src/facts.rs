//! facts: what operators must know of the whole, whatever process did it: how old the oldest due payment is, what is
//! not final, what is in doubt, what contradicts itself. Each statement walks an index that holds only what is not
//! final, or the newest orders, and no further than a limit: ten million finished orders cost nothing.

use sqlx::PgConnection;

use domain::order::status::OrderStatus;

/// What is not final, now.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// How long the payment that is due longest has been due, in seconds; 0 where none is.
    pub oldest_due_seconds: f64,
    /// How long ago the oldest payment of each kind was made that is not final (nor held), in seconds; 0 where none is.
    pub oldest_open_seconds: [(&'static str, f64); 2],
    /// Payments by status: `held`, `pending`, `processing`, `waiting`.
    pub payments: [(&'static str, i64); 4],
    /// Payments of which a try left open whether the money moved, and none since has said.
    pub in_doubt: i64,
    /// Refunds that the gateway refused at the last try.
    pub refused_refunds: i64,
    /// How long the kitchen's oldest passed deadline has been waiting to be acted on, in seconds; 0 where none is.
    pub unanswered_seconds: f64,
    /// Orders with such a payment, by where they stand; what is missing is 0.
    pub orders: Vec<(OrderStatus, i64)>,
    /// For how many seconds an order of the kitchen's has stood where it does, the longest; what is missing is 0.
    pub oldest: Vec<(OrderStatus, f64)>,
}

/// Orders of the kitchen's of each status that are looked at, oldest first: should so many be left lying, it does not matter which is the oldest.
const OLDEST: i64 = 1_000;

/// Those of both tables that are due longest. In the order of their indexes, so that no more is read than is counted.
const OPEN: &str = "
    SELECT * FROM (
        (SELECT id, id AS order_id, 'charge'::payment_kind AS kind, charge_status(c) AS status, attempts, created_at,
            coalesce(lease_until, due_at) AS due_at
         FROM open_charges c ORDER BY c.due_at LIMIT $1)
        UNION ALL
        -- (The time of one for later counts from when it was let go.)
        (SELECT id, order_id, kind, status, attempts, coalesce(held_until, created_at), due_at FROM payments WHERE due_at IS NOT NULL ORDER BY due_at LIMIT $1)
    ) due ORDER BY due_at LIMIT $1";

/// Looks; counts no more than `limit` payments, longest due first.
pub async fn facts(conn: &mut PgConnection, limit: i64) -> sqlx::Result<Facts> {
    let (oldest_due_seconds, oldest_charge, oldest_refund, held, pending, processing, waiting, in_doubt, refused_refunds, unanswered_seconds) = sqlx::query_as(
        sqlx::AssertSqlSafe(format!(
            "WITH open AS ({OPEN})
         SELECT coalesce(greatest(extract(epoch FROM now() - min(due_at)), 0), 0)::float8,
                coalesce(greatest(extract(epoch FROM now() - min(created_at) FILTER (WHERE kind = 'charge')), 0), 0)::float8,
                coalesce(greatest(extract(epoch FROM now() - min(created_at) FILTER (WHERE kind = 'refund')), 0), 0)::float8,
                (SELECT count(*) FROM (
                    (SELECT FROM payments WHERE status = 'held' AND held_until IS NULL LIMIT $1)
                    UNION ALL
                    (SELECT FROM payments WHERE status = 'held' AND held_until IS NOT NULL LIMIT $1)) AS held),
                count(*) FILTER (WHERE status = 'pending'),
                count(*) FILTER (WHERE status = 'processing'),
                count(*) FILTER (WHERE status = 'waiting'),
                -- A try that the gateway did not look at says nothing of those before.
                count(*) FILTER (WHERE attempts > 0 AND EXISTS (
                    SELECT FROM payment_attempts a
                    WHERE a.payment_id = open.id AND a.outcome IN ('in_doubt', 'abandoned') AND NOT EXISTS (
                        SELECT FROM payment_attempts later
                        WHERE later.payment_id = open.id AND later.number > a.number
                            AND later.outcome IN ('declined', 'voided')))),
                count(*) FILTER (WHERE kind = 'refund' AND status = 'waiting' AND EXISTS (
                    SELECT FROM payment_attempts a
                    WHERE a.payment_id = open.id AND a.number = open.attempts AND a.outcome IN ('declined', 'voided', 'refused'))),
                (SELECT coalesce(greatest(extract(epoch FROM now() - min(answer_by)), 0), 0)::float8
                 FROM payments WHERE answer_by IS NOT NULL)
         FROM open"
        )),
    )
    .bind(limit)
    .fetch_one(&mut *conn)
    .await?;
    let orders = sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "WITH open AS ({OPEN})
         SELECT o.status, count(DISTINCT o.id) FROM open JOIN shown_orders o ON o.id = open.order_id GROUP BY o.status"
    )))
    .bind(limit)
    .fetch_all(&mut *conn)
    .await?;
    let oldest = sqlx::query_as(
        "SELECT s.status, max(extract(epoch FROM now() - o.updated_at))::float8
         FROM unnest('{ACCEPTED,PREPARING,READY}'::order_status[]) AS s(status)
         CROSS JOIN LATERAL (
             SELECT order_id FROM in_kitchen WHERE status = s.status ORDER BY order_id LIMIT $1
         ) k JOIN orders o ON o.id = k.order_id GROUP BY s.status",
    )
    .bind(OLDEST)
    .fetch_all(conn)
    .await?;
    let payments = [("held", held), ("pending", pending), ("processing", processing), ("waiting", waiting)];
    let oldest_open_seconds = [("charge", oldest_charge), ("refund", oldest_refund)];
    Ok(Facts {
        oldest_due_seconds,
        oldest_open_seconds,
        payments,
        in_doubt,
        refused_refunds,
        unanswered_seconds,
        orders,
        oldest,
    })
}

/// How many of the newest `limit` orders stand where their payments say they cannot: confirmed or later without a
/// charge that succeeded (or a payment that needs none); waiting for a payment that nobody will look
/// at again; failed, rejected or cancelled with the money taken, neither on its way back nor said to be kept; or not waiting for its own charge, which
/// is still in the queue.
pub async fn contradicting_orders(conn: &mut PgConnection, limit: i64) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "SELECT count(*)
         FROM (SELECT id, status FROM orders ORDER BY id DESC LIMIT $1) o
         CROSS JOIN LATERAL (
             SELECT count(*) FILTER (WHERE kind = 'charge' AND status = 'succeeded') AS charged,
                    count(*) FILTER (WHERE kind IN ('elsewhere', 'on_delivery', 'free') AND status <> 'failed') AS elsewhere,
                    count(*) FILTER (WHERE kind = 'charge' AND due_at IS NOT NULL) AS open,
                    EXISTS (SELECT FROM open_charges c WHERE c.id = o.id) AS is_queued,
                    coalesce(bool_or(status = 'held' AND held_until IS NOT NULL), false) AS is_for_later,
                    coalesce(sum(amount_minor) FILTER (WHERE kind = 'charge' AND status = 'succeeded'), 0) AS taken,
                    coalesce(sum(amount_minor) FILTER (WHERE kind = 'refund'), 0) AS given
             FROM payments WHERE id = o.id OR (order_id = o.id AND id <> order_id)
         ) p
         WHERE CASE
             WHEN o.status = 'PENDING' THEN p.is_queued = p.is_for_later
             WHEN o.status = 'PAYMENT_PROCESSING' THEN p.open = 0 AND NOT p.is_queued
             WHEN p.is_queued THEN true
             WHEN o.status IN ('CONFIRMED', 'ACCEPTED', 'PREPARING', 'READY', 'DELIVERED') THEN p.charged + p.elsewhere = 0
             ELSE p.taken > p.given AND NOT EXISTS (SELECT FROM order_events e WHERE e.subject = o.id AND e.what = 'kept') END",
    )
    .bind(limit)
    .fetch_one(conn)
    .await
}
