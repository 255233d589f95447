-- Orders from channels (delivery platforms, aggregators), and what few orders have beside their items: how and where they
-- are handed over, and to whom. In a table of their own, so that an order without any of it costs what it did.

SET LOCAL statement_timeout = 0;

-- The channel took the money. Such a payment is there from the start and final; nobody claims it, no gateway knows it.
ALTER TYPE payment_kind ADD VALUE 'elsewhere';

CREATE TABLE order_details (
    order_id         uuid    NOT NULL PRIMARY KEY,
    paid_elsewhere   boolean NOT NULL,                -- its payment is of the kind 'elsewhere'
    channel          text,                            -- in lower case
    channel_order_id text,                            -- what the channel calls it
    content_hash     bytea,                           -- SHA-256 of what was ordered: the same order twice is one
    details          jsonb   NOT NULL,                -- fulfilment, customer, delivery_address, pickup_time
    imported         json,                            -- what came with it of its life elsewhere, to the letter: not jsonb
    CHECK ((channel IS NULL) = (channel_order_id IS NULL) AND (channel IS NULL) = (content_hash IS NULL))
);
-- For good, unlike an idempotency key.
CREATE UNIQUE INDEX order_details_by_channel ON order_details (channel, channel_order_id) WHERE channel IS NOT NULL;
-- A channel's orders, newest first.
CREATE INDEX order_details_of_channel ON order_details (channel, order_id) WHERE channel IS NOT NULL;

-- What a channel's articles cost where its orders do not say.
CREATE TABLE prices (
    channel     text   NOT NULL,                      -- in lower case
    plu         text   NOT NULL,
    price_minor bigint NOT NULL CHECK (price_minor >= 0),
    currency    text   NOT NULL,                      -- one a channel: its list is replaced as a whole
    PRIMARY KEY (channel, plu)
);
