WITH input AS (
    SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[],
                         $6::text[], $7::text[], $8::bytea[])
        AS input(id, total_minor, currency, customer_id, items, principal, key, request_hash)
), keyed AS (
    INSERT INTO idempotency_keys (order_id, created_at, principal, key, request_hash)
    SELECT id, now(), principal, key, request_hash FROM input WHERE key IS NOT NULL ORDER BY principal, key
    ON CONFLICT (principal, key) DO NOTHING
    RETURNING order_id
), fresh AS (
    SELECT * FROM input WHERE key IS NULL OR id IN (SELECT order_id FROM keyed)
), ordered AS (
    INSERT INTO orders (id, total_minor, created_at, updated_at, version, status, currency, customer_id, items)
    SELECT id, total_minor, now(), now(), 1, 'PENDING', currency, customer_id, items::json FROM fresh
    RETURNING id, created_at
), paid AS (
    INSERT INTO payments (id, order_id, amount_minor, created_at, due_at, kind, status, currency)
    SELECT id, id, total_minor, now(), now() + $9::bigint * interval '1 ms', 'charge', 'pending', currency
    FROM fresh
), noted AS (
    INSERT INTO order_events (order_id, at, version, to_status, actor)
    SELECT id, now(), 1, 'PENDING', 'api' FROM fresh
)
SELECT id, created_at FROM ordered
