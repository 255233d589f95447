-- When dead rows are cleared away. By default a fifth of a table must be dead first: of ten million payments two millions,
-- each with its entries in every index, the one of what is due among them. A fiftieth comes sooner and is done sooner; and
-- no sooner than 50,000, so that a small table is not swept all day. Done at ten times the default pace, or it would
-- never catch up with ten thousand orders a second. Events and keys are never updated: the defaults serve them.
ALTER TABLE orders SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 50000,
                        autovacuum_vacuum_cost_limit = 2000);
ALTER TABLE payments SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 50000,
                          autovacuum_vacuum_cost_limit = 2000);
ALTER TABLE payment_attempts SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 50000,
                                  autovacuum_vacuum_cost_limit = 2000);
