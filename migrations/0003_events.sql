-- What has happened. Every change of an order writes one event and adds one to the order's version: what is not here did
-- not happen. So does what people do to a product; its events are counted here alone, under the lock of its row.
-- The events alone say where an order stands, what it is made of and where its money is; the reconciliation
-- replays them. Rows are only inserted; of their lines nothing but notes is overwritten, when personal data is forgotten.

CREATE TYPE event_what AS ENUM (
    'accepted',         -- it came to be, with these lines and this total
    'moved',            -- from one status to another; with the payment that decided it, and the money that was taken
    'added',            -- these lines, with a charge of their own
    'addition_charged', -- that charge took the money
    'addition_dropped', -- that charge failed, and the lines are off again
    'cancel_wished',    -- it is to be cancelled once its charge is known
    'told',             -- its channel said otherwise how, when or to whom it goes; the reason says which
    'forgotten',        -- its personal data is: the notes of its lines here, too, which alone are ever overwritten
    'late_capture',     -- a charge took the money after the order had ended, or beside the one that paid it
    'kept',             -- nobody came for the order, and the money of this payment stays
    'collected',        -- staff took the money of this payment when the order was handed over
    'refund_owed',      -- money is to go back: the refund is there
    'refunded',         -- it went back
    -- Of a product (0007): it has no status, no payment and no lines.
    'product_made', 'product_changed', 'price_changed',
    'price_dropped',    -- by more than half
    'product_deleted', 'stock_set', 'stock_added', 'stock_shipped'
);

CREATE TABLE order_events (
    subject      uuid         NOT NULL,               -- whose event: an order, or a product
    at           timestamptz  NOT NULL,
    -- Of a charge's settlement that moves a PENDING order: the first claim. So the row is two changes: one at this time, to
    -- PAYMENT_PROCESSING, of the version before; and the move from there.
    began_at     timestamptz,
    tx           bigint       NOT NULL DEFAULT txid_current(), -- the transaction that wrote it: what the feed reads by
    amount_minor bigint,                              -- of `accepted` the total; else the money of this change
    payment_id   uuid,
    request      uuid,                                -- carried out twice, because its first answer was lost, it knows itself again
    version      integer      NOT NULL,               -- 1, 2, .. of the subject, without a gap
    what         event_what   NOT NULL,
    from_status  order_status,
    to_status    order_status,                        -- of `accepted` and `moved`
    actor        text         NOT NULL,
    reason       text,
    items        json,                                -- of `accepted` all lines; of what was added or dropped those
    adjustments  json,                                -- beside these lines
    PRIMARY KEY (subject, version)
);
-- Events one change a row.
CREATE VIEW shown_events AS
SELECT subject, at, tx, amount_minor, payment_id, request, version, what,
    CASE WHEN began_at IS NULL THEN from_status ELSE 'PAYMENT_PROCESSING' END AS from_status, to_status, actor, reason, items,
    adjustments
FROM order_events
UNION ALL
SELECT subject, began_at, tx, NULL, NULL, NULL, version - 1, 'moved', from_status, 'PAYMENT_PROCESSING', 'worker', NULL, NULL,
    NULL
FROM order_events WHERE began_at IS NOT NULL
UNION ALL
SELECT o.id, c.began_at, 0, NULL, NULL, NULL, o.version + 1, 'moved', o.status, 'PAYMENT_PROCESSING', 'worker', NULL, NULL, NULL
FROM orders o JOIN open_charges c ON c.id = o.id WHERE o.status = 'PENDING' AND c.began_at IS NOT NULL;

-- The feed reads what a few transactions wrote. A batch shares one, so its entries are folded into few. (BRIN would leave
-- the newest pages, which are what a reader wants, without a summary.)
CREATE INDEX order_events_by_tx ON order_events (tx);

-- Moments of the feed (shared/store/src/feed.rs): which transactions had ended when one was noted. Between two of them lie
-- the events of those that ended meanwhile.
CREATE TABLE feed_ticks (
    tick    bigint      NOT NULL PRIMARY KEY,
    at      timestamptz NOT NULL,
    before_tx bigint    NOT NULL,                     -- of the transactions before this one all had ended,
    running bigint[]    NOT NULL                      -- but for these
);
INSERT INTO feed_ticks VALUES (0, now(), 0, '{}');
