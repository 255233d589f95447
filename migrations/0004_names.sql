-- Names that clients and channels give, each to one thing. In a table of their own, because the tables of what they name
-- are to be partitioned: no index of theirs could see to it that a name is given once.

CREATE TYPE name_kind AS ENUM ('idempotency_key', 'channel_order', 'payment_reference');

CREATE TABLE names (
    named   uuid      NOT NULL,                       -- the order, or the payment, that is called so
    -- Of a key under which an order was moved, added to or paid anew: the request that did. NULL: the order came under it.
    request uuid,
    until timestamptz,                                -- from then on it may be forgotten; NULL: it is for good
    kind  name_kind   NOT NULL,
    scope text        NOT NULL,                       -- within which it is unique: the key's principal, the channel at a location, the order
    name  text        NOT NULL,
    hash  bytea,                                      -- SHA-256 of what came under it: the same again is no second one
    PRIMARY KEY (kind, scope, name)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 50000, autovacuum_vacuum_cost_limit = 2000);
-- For forgetting. (Not BRIN: names that are for good lie between those that end, and each look would read them all.)
CREATE INDEX names_by_end ON names (until) WHERE until IS NOT NULL;
