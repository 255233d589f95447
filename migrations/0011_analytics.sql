-- Numbers of what has happened, by quarters of an hour: sums of quarters are hours, days, weeks and months in any time zone. The
-- follower `roll_up` adds to them, in the transaction that moves its cursor, so that each event counts once. They can be made anew
-- from the events at any time (`follower rebuild roll_up`), and the reconciliation compares each row with the events.
--
-- A channel that an order has not is ''. No index looks at what changes: a row is written in place (HOT).

-- How often what happened, in the quarter in which it did.
CREATE TABLE rolled_orders (
    quarter   timestamptz NOT NULL,
    accepted  bigint      NOT NULL DEFAULT 0,
    confirmed bigint      NOT NULL DEFAULT 0,
    failed    bigint      NOT NULL DEFAULT 0,          -- times: one that is paid anew may fail again
    rejected  bigint      NOT NULL DEFAULT 0,
    cancelled bigint      NOT NULL DEFAULT 0,
    delivered bigint      NOT NULL DEFAULT 0,
    location  text        NOT NULL,
    channel   text        NOT NULL,
    PRIMARY KEY (location, quarter, channel)
) WITH (fillfactor = 50);

-- How often a status was entered, in the quarter of the entry.
CREATE TABLE rolled_entries (
    quarter  timestamptz  NOT NULL,
    entries  bigint       NOT NULL,
    status   order_status NOT NULL,
    location text         NOT NULL,
    channel  text         NOT NULL,
    PRIMARY KEY (location, quarter, status, channel)
) WITH (fillfactor = 50);

-- Stays in a status that are over, in the quarter of their **entry**, however much later they ended: so no stay is late. By how long
-- they were: bucket n holds those of at least the n-th bound and below the next (shared/domain/src/rolled/lengths.rs); 0 those below
-- the first.
CREATE TABLE rolled_stays (
    quarter  timestamptz  NOT NULL,
    stays    bigint       NOT NULL,
    total_ms bigint       NOT NULL,
    status   order_status NOT NULL,
    bucket   smallint     NOT NULL,
    location text         NOT NULL,
    channel  text         NOT NULL,
    PRIMARY KEY (location, quarter, status, channel, bucket)
) WITH (fillfactor = 50);

CREATE TYPE money_kind AS ENUM (
    'charged', 'elsewhere', 'collected',              -- came in: by the gateway, at the channel, in hand
    'refund_owed', 'refunded',                        -- is to go back by the gateway, and went
    'elsewhere_back', 'collected_back',               -- is to go back by the channel, and by hand
    'due',                                            -- to be paid in hand: less what came in, and what nobody has to pay any more
    'delivery_fee', 'service_fee', 'tip', 'tax', 'bag', 'discount', 'rounding', 'other' -- within what came in or is due
);
CREATE TABLE rolled_money (
    quarter      timestamptz NOT NULL,
    times        bigint      NOT NULL,
    amount_minor bigint      NOT NULL,
    kind         money_kind  NOT NULL,
    location     text        NOT NULL,
    channel      text        NOT NULL,
    currency     text        NOT NULL,
    PRIMARY KEY (location, quarter, channel, currency, kind)
) WITH (fillfactor = 50);

-- Why orders failed, were rejected or cancelled: codes alone, whatever people wrote is 'other'; no reason is 'none'.
CREATE TABLE rolled_reasons (
    quarter  timestamptz  NOT NULL,
    times    bigint       NOT NULL,
    status   order_status NOT NULL,
    location text         NOT NULL,
    channel  text         NOT NULL,
    reason   text         NOT NULL,
    PRIMARY KEY (location, quarter, channel, status, reason)
) WITH (fillfactor = 50);

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
