-- no-transaction
-- One statement: PostgreSQL makes no index concurrently within a transaction, and several statements are one.
CREATE INDEX CONCURRENTLY IF NOT EXISTS sample_by_table ON orders (sample_table) WHERE sample_table IS NOT NULL;
