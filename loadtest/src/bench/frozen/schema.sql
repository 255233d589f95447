-- The tables of ae1e3cc that an order's hot path touches, as its seven migrations left them, with every index, check and
-- trigger: they are part of what an order cost. Columns stand in the order in which they came.
CREATE SCHEMA frozen;

CREATE TYPE order_status AS ENUM (
    'PENDING', 'PAYMENT_PROCESSING', 'CONFIRMED', 'PAYMENT_FAILED',
    'ACCEPTED', 'PREPARING', 'READY', 'DELIVERED', 'REJECTED', 'CANCELLED'
);
CREATE TYPE payment_kind AS ENUM ('charge', 'refund', 'elsewhere');
CREATE TYPE payment_status AS ENUM ('pending', 'processing', 'waiting', 'succeeded', 'failed');
CREATE TYPE attempt_action AS ENUM ('charge', 'void', 'refund');
CREATE TYPE attempt_outcome AS ENUM ('succeeded', 'declined', 'voided', 'in_doubt', 'unavailable', 'abandoned');

CREATE TABLE orders (
    id                  uuid         NOT NULL PRIMARY KEY,
    total_minor         bigint       NOT NULL CHECK (total_minor > 0),
    created_at          timestamptz  NOT NULL,
    updated_at          timestamptz  NOT NULL,
    accept_by           timestamptz,
    version             integer      NOT NULL,
    status              order_status NOT NULL,
    currency            text         NOT NULL,
    customer_id         text         NOT NULL,
    items               json         NOT NULL,
    cancel_requested_at timestamptz,
    cancel_actor        text,
    cancel_reason       text,
    cancel_request      uuid
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 50000,
        autovacuum_vacuum_cost_limit = 2000);
CREATE INDEX orders_by_customer ON orders (customer_id, id);

CREATE TABLE payments (
    id           uuid           NOT NULL PRIMARY KEY,
    order_id     uuid           NOT NULL,
    amount_minor bigint         NOT NULL CHECK (amount_minor > 0),
    created_at   timestamptz    NOT NULL,
    due_at       timestamptz,
    epoch        integer        NOT NULL DEFAULT 0,
    attempts     integer        NOT NULL DEFAULT 0,
    spent        integer        NOT NULL DEFAULT 0,
    kind         payment_kind   NOT NULL,
    status       payment_status NOT NULL,
    voiding      boolean        NOT NULL DEFAULT false,
    currency     text           NOT NULL,
    refund_of    uuid,
    reference    text,
    gateway_id   text,
    failure_code text,
    reason       text,
    added        jsonb,
    answer_by    timestamptz,
    dropped_at   timestamptz,
    CHECK ((status IN ('succeeded', 'failed')) = (due_at IS NULL)),
    CHECK ((kind = 'refund') = (refund_of IS NOT NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 50000,
        autovacuum_vacuum_cost_limit = 2000);
CREATE INDEX payments_by_order ON payments (order_id) WHERE id <> order_id;
CREATE INDEX payments_due ON payments (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX payments_unanswered ON payments (answer_by) WHERE answer_by IS NOT NULL;
CREATE UNIQUE INDEX payments_one_refund ON payments (refund_of) WHERE refund_of IS NOT NULL;
CREATE INDEX payments_to_drop ON payments (order_id)
    WHERE added IS NOT NULL AND status = 'failed' AND dropped_at IS NULL;
CREATE UNIQUE INDEX payments_by_reference ON payments (order_id, reference) WHERE reference IS NOT NULL;

CREATE TABLE payment_attempts (
    payment_id  uuid           NOT NULL,
    started_at  timestamptz    NOT NULL,
    finished_at timestamptz,
    number      integer        NOT NULL,
    epoch       integer        NOT NULL,
    action      attempt_action NOT NULL,
    outcome     attempt_outcome,
    code        text,
    message     text,
    PRIMARY KEY (payment_id, number)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 50000,
        autovacuum_vacuum_cost_limit = 2000);

CREATE TABLE order_events (
    order_id    uuid         NOT NULL,
    at          timestamptz  NOT NULL,
    version     integer      NOT NULL,
    from_status order_status,
    to_status   order_status NOT NULL,
    actor       text         NOT NULL,
    reason      text,
    request     uuid,
    PRIMARY KEY (order_id, version)
);

CREATE TABLE idempotency_keys (
    order_id     uuid        NOT NULL,
    created_at   timestamptz NOT NULL,
    principal    text        NOT NULL,
    key          text        NOT NULL,
    request_hash bytea       NOT NULL,
    PRIMARY KEY (principal, key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys USING brin (created_at);

CREATE TABLE in_kitchen (
    order_id uuid PRIMARY KEY
);

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

CREATE TRIGGER payments_legal_move AFTER UPDATE OF status ON payments FOR EACH ROW
WHEN (NOT CASE OLD.status
    WHEN 'pending'    THEN NEW.status IN ('processing', 'failed')
    WHEN 'processing' THEN NEW.status IN ('processing', 'waiting', 'succeeded', 'failed')
    WHEN 'waiting'    THEN NEW.status IN ('processing')
    ELSE false END)
EXECUTE FUNCTION refuse_move();

CREATE FUNCTION list_in_kitchen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.status IN ('ACCEPTED', 'PREPARING', 'READY') THEN
        INSERT INTO in_kitchen VALUES (NEW.id) ON CONFLICT DO NOTHING;
    ELSE
        DELETE FROM in_kitchen WHERE order_id = NEW.id;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER orders_in_kitchen AFTER UPDATE OF status ON orders FOR EACH ROW
WHEN ((OLD.status IN ('ACCEPTED', 'PREPARING', 'READY')) <> (NEW.status IN ('ACCEPTED', 'PREPARING', 'READY')))
EXECUTE FUNCTION list_in_kitchen();
