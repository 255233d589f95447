WITH input AS (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[]) AS input(id, customer_id, items)
), paid AS (
    INSERT INTO payments (id, order_id, amount_minor, created_at, due_at, kind, status, currency)
    SELECT id, id, 3097, now(), now() + interval '3 s', 'charge', 'pending', 'USD' FROM input
), noted AS (
    INSERT INTO order_events (order_id, at, version, to_status, actor)
    SELECT id, now(), 1, 'PENDING', 'api' FROM input
)
INSERT INTO orders (id, total_minor, created_at, updated_at, version, status, currency, customer_id, items)
SELECT id, 3097, now(), now(), 1, 'PENDING', 'USD', customer_id, items::json FROM input
