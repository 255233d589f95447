-- Numbers of what has happened, by quarters of an hour: sums of quarters are hours, days, weeks and months in any time zone. The
-- follower `roll_up` adds to them, in the transaction that moves its cursor, so that each event counts once. They can be made anew
-- from the events at any time (`follower rebuild roll_up`), and the reconciliation compares each row with the events.
--
-- A channel that an order has not is ''. No index looks at what changes: a row is written in place (HOT).

-- What happened at a location in an hour of UTC, by its four quarters: a list each of
--   orders:   how often what happened, in the quarter in which it did;
--   statuses: how often a status was entered, in the quarter of the entry; and how long stays were that are over, in the quarter of
--             their **entry**, however much later they ended: so no stay is late;
--   hourly:   the same of statuses by the whole hour, which is a third to read;
--   money:    what moved, by currency and kind;
--   reasons:  why orders failed, were rejected or cancelled: codes alone, whatever people wrote is 'other'.
-- Lists are packed (shared/domain/src/rolled/packed.rs), and strung together they are their sum. A number a row would be millions of
-- rows a month, of which a page of events writes hundreds; an hour a row is one to write and a few thousand to read.
CREATE TABLE rolled_hours (
    hour     timestamptz NOT NULL,
    location text        NOT NULL,
    channel  text        NOT NULL,
    orders   bytea       NOT NULL,
    statuses bytea       NOT NULL,
    hourly   bytea       NOT NULL,
    money    bytea       NOT NULL,
    reasons  bytea       NOT NULL,
    PRIMARY KEY (location, hour, channel)
) WITH (fillfactor = 50, toast_tuple_target = 4080);

-- Which customers come again.
CREATE TABLE rolled_customers (
    first_at    timestamptz NOT NULL,
    last_at     timestamptz NOT NULL,
    orders      bigint      NOT NULL,                 -- accepted, in this time
    delivered   bigint      NOT NULL,
    paid_minor  bigint      NOT NULL,                 -- came in, by whichever way
    back_minor  bigint      NOT NULL,                 -- went back, or has to
    customer_id text        NOT NULL,
    location    text        NOT NULL,
    currency    text        NOT NULL,
    PRIMARY KEY (customer_id, location, currency)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 50000,
        autovacuum_vacuum_cost_limit = 2000);

-- What a follower could not do last, and when. Whoever can write it down does: when the database is away nobody can.
CREATE TABLE feed_faults (
    follower text        NOT NULL PRIMARY KEY,
    at       timestamptz NOT NULL DEFAULT now(),
    fault    text        NOT NULL
);
