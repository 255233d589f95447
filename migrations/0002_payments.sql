-- Payments, the unit that workers process, and their tries.

CREATE TYPE payment_kind AS ENUM (
    'charge', 'refund',
    'elsewhere'                                       -- the channel took the money: final from the start, never claimed
);
CREATE TYPE payment_status AS ENUM (
    'held',                                           -- not to be looked at before its order's own charge is known
    'pending', 'processing', 'waiting', 'succeeded', 'failed'
);
CREATE TYPE attempt_action AS ENUM ('charge', 'void', 'refund');
CREATE TYPE attempt_outcome AS ENUM ('succeeded', 'declined', 'voided', 'in_doubt', 'unavailable', 'abandoned');

CREATE TABLE payments (
    -- The gateway's idempotency key, for good. An order's own charge has the order's id; every other has the order's time in
    -- its first 48 bits, so that all payments of an order lie in one range of ids.
    id             uuid           NOT NULL PRIMARY KEY,
    order_id       uuid           NOT NULL,
    amount_minor   bigint         NOT NULL CHECK (amount_minor >= 0),
    -- Of a charge: the sum of its refunds, given or owed. Whoever owes one adds to it first: no more can go back than came.
    refunded_minor bigint         NOT NULL DEFAULT 0,
    created_at     timestamptz    NOT NULL,
    due_at         timestamptz,                       -- by then someone must look at it; NULL while it is held or final
    -- Of the payment that confirmed its order: by then the kitchen must have answered; NULL once it has. It stands here
    -- and not with the order, because an index over it would make each move of an order write every index of it anew.
    answer_by      timestamptz,
    dropped_at     timestamptz,                       -- of a failed addition: when its lines were taken off the order
    refund_of      uuid,                              -- of a refund: the charge that it gives back
    epoch          integer        NOT NULL DEFAULT 0, -- one more with every claim; only its holder may settle
    attempts       integer        NOT NULL DEFAULT 0, -- tries made, voids included
    spent          integer        NOT NULL DEFAULT 0, -- tries that count against the retry budget
    kind           payment_kind   NOT NULL,
    status         payment_status NOT NULL,
    voiding        boolean        NOT NULL DEFAULT false, -- it is never charged again, only voided
    currency       text           NOT NULL,
    reference      text,                              -- the client's name for it, where it gave one
    gateway_id     text,
    failure_code   text,
    reason         text,                              -- of a refund: why
    -- Of a charge for what was added to an order later: those lines. NULL: the order's own, which alone decides where the
    -- order stands.
    added          json,
    CHECK (refunded_minor BETWEEN 0 AND amount_minor),
    CHECK ((status IN ('held', 'succeeded', 'failed')) = (due_at IS NULL)),
    CHECK ((kind = 'refund') = (refund_of IS NOT NULL))
) WITH (fillfactor = 70,                              -- as of orders
        autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 50000, autovacuum_vacuum_cost_limit = 2000);
-- The payments of an order beside its own charge, which the primary key finds.
CREATE INDEX payments_by_order ON payments (order_id) WHERE id <> order_id;
-- The one durable timer. Only what is not final is in it, so it stays small at any size of the table.
CREATE INDEX payments_due ON payments (due_at) WHERE due_at IS NOT NULL;
-- The kitchen's deadlines.
CREATE INDEX payments_unanswered ON payments (answer_by) WHERE answer_by IS NOT NULL;
-- What a sweep looks for: additions to be let go, and failed ones whose lines are to be taken off.
CREATE INDEX payments_held ON payments (order_id) WHERE status = 'held';
CREATE INDEX payments_to_drop ON payments (order_id)
    WHERE added IS NOT NULL AND status = 'failed' AND dropped_at IS NULL;
-- Refunds, newest first, for whoever looks after them.
CREATE INDEX payments_refunds ON payments (created_at, id) WHERE refund_of IS NOT NULL;

-- A final payment stays as it is. Only a claimed one can succeed; one that was never claimed may fail: its order ended
-- before anything was sent.
CREATE TRIGGER payments_legal_move AFTER UPDATE OF status ON payments FOR EACH ROW
WHEN (NOT CASE OLD.status
    WHEN 'held'       THEN NEW.status IN ('pending', 'failed')
    WHEN 'pending'    THEN NEW.status IN ('processing', 'failed')
    WHEN 'processing' THEN NEW.status IN ('processing', 'waiting', 'succeeded', 'failed')
    WHEN 'waiting'    THEN NEW.status IN ('processing')
    ELSE false END)
EXECUTE FUNCTION refuse_move();

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
) WITH (fillfactor = 70,
        autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 50000, autovacuum_vacuum_cost_limit = 2000);
