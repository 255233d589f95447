-- Expand, with the strongest lock there is, for a moment: a column that may be empty, one with a constant default
-- (neither writes a row anew), and a check that is not yet made for what is there.
ALTER TABLE orders ADD COLUMN sample_table text;
ALTER TABLE orders ADD COLUMN sample_rank bigint NOT NULL DEFAULT 0;
ALTER TABLE orders ADD CONSTRAINT sample_rank_is_a_rank CHECK (sample_rank >= 0) NOT VALID;
