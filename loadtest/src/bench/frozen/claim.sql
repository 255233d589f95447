WITH hint AS (
    SELECT DISTINCT id FROM unnest($1::uuid[]) AS hint(id)
), due AS (
    SELECT p.id FROM hint JOIN payments p ON p.id = hint.id
    WHERE p.status = 'pending' OR (p.status IN ('processing', 'waiting') AND p.due_at <= now())
    ORDER BY p.id FOR UPDATE OF p SKIP LOCKED
), claimed AS (
    UPDATE payments p
    SET status = 'processing', epoch = p.epoch + 1, attempts = p.attempts + 1,
        due_at = now() + $2::bigint * interval '1 ms'
    FROM due WHERE p.id = due.id
    RETURNING p.id, p.order_id, p.refund_of, p.kind, p.amount_minor, p.currency, p.epoch, p.attempts, p.spent,
        CASE WHEN p.voiding THEN 'void' WHEN p.kind = 'refund' THEN 'refund' ELSE 'charge' END::attempt_action
            AS action
), abandoned AS (
    UPDATE payment_attempts a SET outcome = 'abandoned', finished_at = now(), code = 'lease_expired'
    FROM claimed c WHERE c.attempts > 1 AND a.payment_id = c.id AND a.number = c.attempts - 1
        AND a.outcome IS NULL
), tried AS (
    INSERT INTO payment_attempts (payment_id, started_at, number, epoch, action)
    SELECT id, now(), attempts, epoch, action FROM claimed
), moved AS (
    UPDATE orders o SET status = 'PAYMENT_PROCESSING', version = o.version + 1, updated_at = now()
    FROM claimed c WHERE o.id = c.order_id AND o.status = 'PENDING' AND c.kind = 'charge'
    RETURNING o.id, o.version
), noted AS (
    INSERT INTO order_events (order_id, at, version, from_status, to_status, actor)
    SELECT id, now(), version, 'PENDING', 'PAYMENT_PROCESSING', 'worker' FROM moved
)
SELECT id, order_id, refund_of, amount_minor, currency, epoch, attempts AS number, spent, action
FROM claimed
