-- The orders that the kitchen has: ACCEPTED, PREPARING or READY. A restaurant's board asks for a few dozen orders among
-- millions that are over. An index on orders.status would find them, and would cost every order a new entry in each index
-- of its row at every move (PostgreSQL writes a row in place only where no index looks at what changed), while what is
-- not paid yet or not answered yet is found by its payment. So only what the kitchen took is noted here, by the move
-- that takes it there or away.
CREATE TABLE in_kitchen (
    order_id uuid PRIMARY KEY
);
INSERT INTO in_kitchen SELECT id FROM orders WHERE status IN ('ACCEPTED', 'PREPARING', 'READY');
