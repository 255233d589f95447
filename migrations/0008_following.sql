-- How far those have come who follow what has happened (shared/store/src/feed.rs): a row each. It is written in the transaction
-- that holds what the page led to, so that each event takes effect once.
CREATE TABLE feed_cursors (
    follower  text        NOT NULL PRIMARY KEY,
    tick      bigint      NOT NULL,
    noted_at  timestamptz NOT NULL,                   -- when that tick was noted: after a lost database there may be another
    subject   uuid,                                   -- within the tick, the last event that was followed; NULL: all of it
    version   integer,
    moved_at  timestamptz NOT NULL DEFAULT now(),
    -- Of one that asks somebody else between a page and its cursor: who does so now, and until when nobody else may.
    holder    uuid,
    held_until timestamptz,
    CHECK ((subject IS NULL) = (version IS NULL))
);

-- Events that a follower could not work off, and what came after them of the same order: aside until somebody says `retry`, while it
-- goes on with the others.
CREATE TABLE feed_aside (
    follower text        NOT NULL,
    subject  uuid        NOT NULL,
    version  integer     NOT NULL,
    at       timestamptz NOT NULL DEFAULT now(),
    why      text        NOT NULL,
    PRIMARY KEY (follower, subject, version)
);

-- Who is told of what happens (Standard Webhooks). Empty lists choose everything.
CREATE TABLE webhooks (
    id          uuid        NOT NULL PRIMARY KEY,
    url         text        NOT NULL,
    types       text[]      NOT NULL,
    locations   text[]      NOT NULL,
    channels    text[]      NOT NULL,
    secrets     bytea[]     NOT NULL CHECK (cardinality(secrets) BETWEEN 1 AND 2), -- sealed, newest first; it is signed with each
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    created_by  text        NOT NULL,
    disabled_at timestamptz,                          -- nothing is sent since, and what happens is not kept for it
    removed_at  timestamptz,                          -- the same, until what is left of it is cleared away
    because     text                                  -- why: `gone` (it answered 410), `told` (somebody disabled it)
);

CREATE TYPE delivery_status AS ENUM (
    'behind',                                         -- another one of the order's is before it
    'waiting',                                        -- the next of its order: to be sent when it is due
    'taken',                                          -- the endpoint said that it has it
    'parked'                                          -- tried for long enough; sent again when somebody says so
);

-- What is to be told to whom. Of an endpoint and an order one at a time is `waiting`; the next becomes it when that one is taken or
-- parked. So an order's changes arrive in their order, and those of others do not wait for them. No foreign key: what is left of an
-- endpoint that was removed is cleared away a little at a time.
CREATE TABLE deliveries (
    webhook  uuid            NOT NULL,
    subject  uuid            NOT NULL,
    due_at   timestamptz,                             -- of what waits: then it is sent, or sent again because its sender died
    made_at  timestamptz     NOT NULL DEFAULT now(),
    ended_at timestamptz,                             -- taken or parked
    version  integer         NOT NULL,
    epoch    integer         NOT NULL DEFAULT 0,      -- one more with each claim: who was slower than its lease ends nothing
    attempts integer         NOT NULL DEFAULT 0,      -- since it was made, or was to be sent again
    status   delivery_status NOT NULL DEFAULT 'behind',
    type     text            NOT NULL,
    body     text            NOT NULL,                -- the same with each try
    PRIMARY KEY (webhook, subject, version),
    CHECK ((status = 'waiting') = (due_at IS NOT NULL)),
    CHECK ((status IN ('taken', 'parked')) = (ended_at IS NOT NULL))
);
CREATE INDEX deliveries_due ON deliveries (webhook, due_at) WHERE due_at IS NOT NULL;
CREATE UNIQUE INDEX deliveries_one_at_a_time ON deliveries (webhook, subject) WHERE status = 'waiting';
CREATE INDEX deliveries_parked ON deliveries (webhook, ended_at) WHERE status = 'parked';
CREATE INDEX deliveries_taken ON deliveries (ended_at) WHERE status = 'taken';

-- Every try.
CREATE TABLE delivery_attempts (
    webhook uuid        NOT NULL,
    subject uuid        NOT NULL,
    version integer     NOT NULL,
    number  integer     NOT NULL,                     -- the epoch of its claim
    at      timestamptz NOT NULL,
    took_ms integer     NOT NULL,
    status  smallint,                                 -- of the answer; NULL: there was none
    fault   text,                                     -- why there was none
    PRIMARY KEY (webhook, subject, version, number)
);
