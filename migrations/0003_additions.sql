-- What is added to an order later has a charge of its own; if that fails, its lines are taken off again.

SET LOCAL statement_timeout = 0;

-- When the lines of an addition whose charge failed were taken off its order.
ALTER TABLE payments ADD COLUMN dropped_at timestamptz;
CREATE INDEX payments_to_drop ON payments (order_id)
    WHERE added IS NOT NULL AND status = 'failed' AND dropped_at IS NULL;
-- A reference names one payment of an order.
CREATE UNIQUE INDEX payments_by_reference ON payments (order_id, reference) WHERE reference IS NOT NULL;
