-- Of an order that took what there was (`allow_partial`): what it left, for each such line. NULL: nothing.
ALTER TABLE order_details ADD COLUMN left_out json;   -- [{line, item_id, item_name, asked, taken}]

-- What the till calls a product that comes in no variations; of others each variation has its own. No two that are sold at the same
-- place are called the same: whoever changes one looks, and nobody else changes one meanwhile (0007).
ALTER TABLE products ADD COLUMN plu text;

-- A channel whose plus name products: its orders take their stock.
ALTER TABLE channels ADD COLUMN by_plu boolean NOT NULL DEFAULT false;

-- Where a cart is to be ordered.
ALTER TABLE carts ADD COLUMN location text NOT NULL DEFAULT 'main';
