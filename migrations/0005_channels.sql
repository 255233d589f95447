-- Orders from channels (delivery platforms, aggregators), and what few orders have beside their lines: how and where they
-- are handed over, and to whom. In a table of their own, so that an order without any of it costs nothing for it. All personal data
-- is here but for the notes of lines (0003): `api forget` takes out both.

CREATE TABLE order_details (
    order_id         uuid    NOT NULL PRIMARY KEY,
    expires_at       timestamptz,                     -- as it was asked for: when its charge is called off (0002)
    wanted_at        timestamptz,                     -- for when it was ordered
    held_until       timestamptz,                     -- of one for later: before, it is neither charged nor put before the kitchen
    paid_elsewhere   boolean NOT NULL,                -- its payment is of the kind 'elsewhere'
    on_delivery      boolean NOT NULL DEFAULT false,  -- its payments are of the kind 'on_delivery'
    collected        boolean NOT NULL DEFAULT false,  -- of such a one: staff took money for it
    kept             boolean NOT NULL DEFAULT false,  -- of both: nobody came for it, and the money stays where it is
    channel          text,                            -- in lower case
    channel_order_id text,                            -- what the channel calls it; a name of 0004, too
    payment_reference text,                           -- the client's name for its own payment; a name of 0004, too
    gateway_payment_method text,                      -- the gateway's names for what is charged, and for who pays
    gateway_customer text,
    named_until      timestamptz,                     -- until then no other order of the channel is called so; NULL: for good
    handover         jsonb   NOT NULL,                -- fulfilment, customer, delivery_address, pickup_time, note
    metadata         json,                            -- texts of its client's
    imported         json,                            -- what came with it of its life elsewhere, to the letter: not jsonb
    document         jsonb,                           -- by which document its channel said so last, and hashes of what it said before
    forgotten        boolean NOT NULL DEFAULT false,  -- its personal data is, and stays so whatever its channel sends again
    told             integer NOT NULL DEFAULT 0,      -- how many changes its channel told: as many events say so
    CHECK ((channel IS NULL) = (channel_order_id IS NULL)),
    CHECK (NOT (paid_elsewhere AND on_delivery)),
    CHECK (on_delivery OR NOT collected)
);
-- A channel's orders, newest first.
CREATE INDEX order_details_of_channel ON order_details (channel, order_id) WHERE channel IS NOT NULL;

-- Orders for later, soonest first.
CREATE INDEX order_details_for_later ON order_details (held_until, order_id) WHERE held_until IS NOT NULL;

-- What a channel's articles cost where its orders do not say.
CREATE TABLE prices (
    channel     text   NOT NULL,                      -- in lower case
    plu         text   NOT NULL,
    price_minor bigint NOT NULL CHECK (price_minor >= 0),
    currency    text   NOT NULL,                      -- one a channel: its list is replaced as a whole
    PRIMARY KEY (channel, plu)
);

-- How a channel speaks, and with what it signs. One without a row speaks the plain dialect, and is not believed to have taken
-- money.
CREATE TABLE channels (
    name        text        NOT NULL PRIMARY KEY,     -- in its normal form
    dialect     text        NOT NULL,
    currency    text,                                 -- of orders that name none
    -- Of amounts that are written in minor units: how many digits stand behind the point. NULL: as the dialect has it.
    digits      smallint    CHECK (digits BETWEEN 0 AND 6),
    decimals    boolean     NOT NULL,                 -- its amounts are decimals
    unique_days smallint    CHECK (unique_days > 0),  -- how long its numbers stay unique; NULL: for good
    locations   jsonb       NOT NULL,                 -- its names for locations, and ours
    secrets     bytea[]     NOT NULL CHECK (cardinality(secrets) <= 2),  -- sealed; it signs with one of them
    updated_at  timestamptz NOT NULL DEFAULT now(),
    updated_by  text        NOT NULL,
    CHECK (NOT decimals OR digits IS NULL)
);

-- Documents of channels that could not be taken, as they came: to be looked at, and sent again. They name people, so they are
-- not kept for long.
CREATE TABLE refused_documents (
    id       uuid        NOT NULL PRIMARY KEY,
    channel  text        NOT NULL,
    first_at timestamptz NOT NULL DEFAULT now(),
    last_at  timestamptz NOT NULL DEFAULT now(),
    times    integer     NOT NULL DEFAULT 1,
    paid     boolean     NOT NULL,                    -- said beside it: the channel took the money
    hash     bytea       NOT NULL,                    -- SHA-256: the same again is counted
    calls_off text,                                   -- the number of an order that it calls off, which had not come
    problems jsonb       NOT NULL,
    body     bytea       NOT NULL,
    UNIQUE (channel, hash)
);
CREATE INDEX refused_documents_calling_off ON refused_documents (channel, calls_off) WHERE calls_off IS NOT NULL;
CREATE INDEX refused_documents_of_channel ON refused_documents (channel, last_at, id);
