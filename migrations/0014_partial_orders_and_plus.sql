-- Of an order that took what there was (`allow_partial`): what it left, for each such line. NULL: nothing.
ALTER TABLE order_details ADD COLUMN left_out json;   -- [{line, item_id, item_name, asked, taken}]
