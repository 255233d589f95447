-- Less to write for each order; measured in instructions of PostgreSQL an order: a sixth less, and a fifth less WAL.

-- The tables are rewritten and indexed anew: with millions of orders that takes longer than a statement may.
SET LOCAL statement_timeout = 0;

-- An order's own charge has the order's id, so the primary key finds it; only what came later needs the index. (Charges
-- written before this have ids of their own, and stay in it.)
DROP INDEX payments_by_order;
CREATE INDEX payments_by_order ON payments (order_id) WHERE id <> order_id;

-- Nobody looks into the lines in the database: kept as the text that was checked, they need not be taken apart.
ALTER TABLE orders ALTER COLUMN items TYPE json;

-- Half a page stays free, so that both moves of a payment, and those of the kitchen, find room beside the row itself and
-- need no index entries (HOT). At 70 % most did not.
ALTER TABLE orders SET (fillfactor = 50);
