-- The truth about every order. Four hot tables; a row of each is written once and moved a few times.
--
-- No foreign keys between them: every row of an order is written by one statement of ours, and a key check costs
-- a look-up and a row lock per row on the hot path. The reconciliation checks what a foreign key would.

CREATE TYPE order_status AS ENUM (
    'PENDING', 'PAYMENT_PROCESSING', 'CONFIRMED', 'PAYMENT_FAILED',
    'ACCEPTED', 'PREPARING', 'READY', 'DELIVERED', 'REJECTED', 'CANCELLED'
);
CREATE TYPE payment_kind AS ENUM ('charge', 'refund');
CREATE TYPE payment_status AS ENUM ('pending', 'processing', 'waiting', 'succeeded', 'failed');
CREATE TYPE attempt_action AS ENUM ('charge', 'void', 'refund');
CREATE TYPE attempt_outcome AS ENUM ('succeeded', 'declined', 'voided', 'in_doubt', 'unavailable', 'abandoned');

-- Columns stand from wide to narrow, so that alignment pads nothing.
CREATE TABLE orders (
    id          uuid         NOT NULL PRIMARY KEY,   -- UUIDv7: newest last, so newest first is the key backwards
    total_minor bigint       NOT NULL CHECK (total_minor > 0),
    created_at  timestamptz  NOT NULL,
    updated_at  timestamptz  NOT NULL,
    accept_by   timestamptz,                         -- set when confirmed: the kitchen's deadline
    version     integer      NOT NULL,               -- 1 when accepted, one more with every move
    status      order_status NOT NULL,
    currency    text         NOT NULL,
    customer_id text         NOT NULL,
    items       jsonb        NOT NULL                -- as priced when the order came in
) WITH (fillfactor = 70);                            -- room for the two moves of a payment on the same page
CREATE INDEX orders_by_customer ON orders (customer_id, id);

CREATE TABLE payments (
    id           uuid           NOT NULL PRIMARY KEY, -- the gateway's idempotency key, for good
    order_id     uuid           NOT NULL,
    amount_minor bigint         NOT NULL CHECK (amount_minor > 0),
    created_at   timestamptz    NOT NULL,
    due_at       timestamptz,                         -- by then someone must look at it; NULL once it is final
    epoch        integer        NOT NULL DEFAULT 0,   -- one more with every claim; only its holder may settle
    attempts     integer        NOT NULL DEFAULT 0,   -- tries made, voids included
    spent        integer        NOT NULL DEFAULT 0,   -- tries that count against the retry budget
    kind         payment_kind   NOT NULL,
    status       payment_status NOT NULL,
    voiding      boolean        NOT NULL DEFAULT false, -- the budget is spent: it is never charged again, only voided
    currency     text           NOT NULL,
    refund_of    uuid,                                -- of a refund: the charge that it gives back
    reference    text,                                -- the client's name for it, where it gave one
    gateway_id   text,
    failure_code text,
    CHECK ((status IN ('succeeded', 'failed')) = (due_at IS NULL)),
    CHECK ((kind = 'refund') = (refund_of IS NOT NULL))
) WITH (fillfactor = 70);
CREATE INDEX payments_by_order ON payments (order_id);
-- The one durable timer. Only what is not final is in it, so it stays small at any size of the table.
CREATE INDEX payments_due ON payments (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE payment_attempts (
    payment_id  uuid           NOT NULL,
    started_at  timestamptz    NOT NULL,              -- written before the call
    finished_at timestamptz,                          -- written after it
    number      integer        NOT NULL,
    epoch       integer        NOT NULL,
    action      attempt_action NOT NULL,
    outcome     attempt_outcome,
    code        text,
    message     text,
    PRIMARY KEY (payment_id, number)
) WITH (fillfactor = 70);

CREATE TABLE order_events (
    order_id    uuid         NOT NULL,
    at          timestamptz  NOT NULL,
    version     integer      NOT NULL,
    from_status order_status,                         -- NULL: the order came to be
    to_status   order_status NOT NULL,
    actor       text         NOT NULL,
    reason      text,
    PRIMARY KEY (order_id, version)
);

-- One order per key: the same key with the same body replays the answer, with another body it is refused.
CREATE TABLE idempotency_keys (
    order_id     uuid        NOT NULL,
    created_at   timestamptz NOT NULL,
    principal    text        NOT NULL,
    key          text        NOT NULL,
    request_hash bytea       NOT NULL,                -- SHA-256 of the body as it came
    PRIMARY KEY (principal, key)
);
-- For forgetting old keys: rows lie in the order of time, so a few pages of BRIN find them.
CREATE INDEX idempotency_keys_by_age ON idempotency_keys USING brin (created_at);

-- The table of legal moves, as in shared/src/order.rs; a test compares the two. The condition is evaluated
-- without calling a function; only an illegal move calls one, to refuse it. After the update, because before it
-- every row would be locked first, and the lock logged, whatever the condition says.
CREATE FUNCTION refuse_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'illegal move of % %: % -> %', TG_TABLE_NAME, OLD.id, OLD.status, NEW.status
        USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME;
END $$;

CREATE TRIGGER orders_legal_move AFTER UPDATE OF status ON orders FOR EACH ROW
WHEN (NOT CASE OLD.status
    WHEN 'PENDING'            THEN NEW.status IN ('PAYMENT_PROCESSING', 'CANCELLED')
    WHEN 'PAYMENT_PROCESSING' THEN NEW.status IN ('CONFIRMED', 'PAYMENT_FAILED', 'CANCELLED')
    WHEN 'PAYMENT_FAILED'     THEN NEW.status IN ('PAYMENT_PROCESSING', 'CANCELLED')
    WHEN 'CONFIRMED'          THEN NEW.status IN ('ACCEPTED', 'PREPARING', 'REJECTED', 'CANCELLED')
    WHEN 'ACCEPTED'           THEN NEW.status IN ('PREPARING', 'CANCELLED')
    WHEN 'PREPARING'          THEN NEW.status IN ('READY', 'ACCEPTED', 'CANCELLED')
    WHEN 'READY'              THEN NEW.status IN ('DELIVERED')
    ELSE false END)
EXECUTE FUNCTION refuse_move();

-- A final payment stays as it is, and only a claimed one can become final.
CREATE TRIGGER payments_legal_move AFTER UPDATE OF status ON payments FOR EACH ROW
WHEN (NOT CASE OLD.status
    WHEN 'pending'    THEN NEW.status IN ('processing')
    WHEN 'processing' THEN NEW.status IN ('processing', 'waiting', 'succeeded', 'failed')
    WHEN 'waiting'    THEN NEW.status IN ('processing')
    ELSE false END)
EXECUTE FUNCTION refuse_move();
