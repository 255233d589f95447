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
        answer_by = CASE WHEN i.status = 'succeeded' AND p.kind = 'charge' AND p.added IS NULL
            THEN now() + $12::bigint * interval '1 ms' END
    FROM input i
    WHERE p.id = i.id AND p.epoch = i.epoch AND p.status = 'processing'
    RETURNING p.id, p.order_id, p.kind, p.status, p.failure_code, p.amount_minor, p.currency,
        p.kind = 'charge' AND p.added IS NULL AS own
), moved AS (
    UPDATE orders o
    SET status = CASE WHEN o.cancel_requested_at IS NOT NULL THEN 'CANCELLED'
            WHEN s.status = 'succeeded' THEN 'CONFIRMED' ELSE 'PAYMENT_FAILED' END::order_status,
        version = o.version + 1, updated_at = now(),
        accept_by = CASE WHEN s.status = 'succeeded' AND o.cancel_requested_at IS NULL
            THEN now() + $12::bigint * interval '1 ms' END
    FROM settled s
    WHERE o.id = s.order_id AND o.status = 'PAYMENT_PROCESSING' AND s.own AND s.status <> 'waiting'
    RETURNING o.id, o.version, o.status, o.cancel_actor, o.cancel_reason, o.cancel_request, s.id AS payment_id,
        s.status AS paid, s.failure_code, s.amount_minor, s.currency
), noted AS (
    INSERT INTO order_events (order_id, at, version, from_status, to_status, actor, reason, request)
    SELECT id, now(), version, 'PAYMENT_PROCESSING', status, coalesce(cancel_actor, 'worker'),
        coalesce(cancel_reason, failure_code), cancel_request FROM moved
), odd AS MATERIALIZED (
    SELECT id, order_id, amount_minor, currency FROM settled
    WHERE kind = 'charge' AND status = 'succeeded' AND order_id NOT IN (SELECT id FROM moved)
), late AS MATERIALIZED (
    SELECT odd.*, o.status FROM odd JOIN orders o ON o.id = odd.order_id FOR UPDATE OF o
), refunded AS (
    INSERT INTO payments (id, order_id, refund_of, amount_minor, created_at, due_at, kind, status, currency, reason)
    SELECT gen_random_uuid(), order_id, id, amount_minor, now(), now(), 'refund', 'pending', currency, why FROM (
        SELECT id AS order_id, payment_id AS id, amount_minor, currency, 'cancelled' AS why FROM moved
        WHERE status = 'CANCELLED' AND paid = 'succeeded'
        UNION ALL
        SELECT order_id, id, amount_minor, currency, 'late_capture' FROM late
        WHERE status IN ('CANCELLED', 'REJECTED', 'PAYMENT_FAILED')) AS back
    ON CONFLICT (refund_of) WHERE refund_of IS NOT NULL DO NOTHING
)
SELECT id FROM settled
