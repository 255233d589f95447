-- Payments, the unit that workers process, and their tries.
--
-- An order's own charge is one row of `open_charges` until it is final, and one of `payments` from then on: its settlement
-- deletes the one and writes the other. (That of an order for later is a payment from the start, and held.) All other payments (refunds, charges of additions, of orders that are paid anew) are
-- rows of `payments` from the start. The views at the end show both as one.

CREATE TYPE payment_kind AS ENUM (
    'charge', 'refund',
    'elsewhere',                                      -- the channel took the money: final from the start, never claimed
    'on_delivery',                                    -- due until staff say that it came in; never claimed
    'free'                                            -- nothing is to be paid: final from the start, never claimed
);
CREATE TYPE payment_status AS ENUM (
    'held',                                           -- not to be looked at before its order's own charge is known, or its time comes
    'due',                                            -- to be paid when its order is handed over
    'pending', 'processing', 'waiting', 'succeeded', 'failed'
);
CREATE TYPE attempt_action AS ENUM ('charge', 'void', 'refund');
CREATE TYPE attempt_outcome AS ENUM ('succeeded', 'declined', 'voided', 'pending', 'in_doubt', 'refused', 'unavailable',
                                     'misconfigured', 'abandoned');

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
    -- Of a charge: it is called off if it is not final by then. NULL: so long after it was made as the workers' setting says.
    expires_at     timestamptz,
    -- Of the own charge of an order for later: until then it is held, and nobody looks at it but whoever lets it go.
    held_until     timestamptz,
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
    CHECK ((status IN ('held', 'due', 'succeeded', 'failed')) = (due_at IS NULL)),
    CHECK ((kind = 'refund') = (refund_of IS NOT NULL)),
    CHECK (held_until IS NULL OR (kind = 'charge' AND id = order_id))
) WITH (fillfactor = 70,                              -- as of orders
        autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 50000, autovacuum_vacuum_cost_limit = 2000);
-- The payments of an order beside its own charge, which the primary key finds.
CREATE INDEX payments_by_order ON payments (order_id) WHERE id <> order_id;
-- The one durable timer. Only what is not final is in it, so it stays small at any size of the table.
CREATE INDEX payments_due ON payments (due_at) WHERE due_at IS NOT NULL;
-- The kitchen's deadlines.
CREATE INDEX payments_unanswered ON payments (answer_by) WHERE answer_by IS NOT NULL;
-- What a sweep looks for: additions to be let go, and failed ones whose lines are to be taken off.
CREATE INDEX payments_held ON payments (order_id) WHERE status = 'held' AND held_until IS NULL;
CREATE INDEX payments_to_drop ON payments (order_id)
    WHERE added IS NOT NULL AND status = 'failed' AND dropped_at IS NULL;
-- Charges of orders for later, soonest first.
CREATE INDEX payments_for_later ON payments (held_until) WHERE status = 'held' AND held_until IS NOT NULL;
-- Refunds, newest first, for whoever looks after them.
CREATE INDEX payments_refunds ON payments (created_at, id) WHERE refund_of IS NOT NULL;
-- And those of them that are not final.
CREATE INDEX payments_refunds_open ON payments (created_at, id) WHERE refund_of IS NOT NULL AND due_at IS NOT NULL;

-- How far the clock is believed. Workers push it ahead of the clock while they watch; a clock that went past it went further
-- than anybody saw (it was put forward, another server has another clock, nobody watched), and then no deadline counts until an
-- operator says so. Of a new database nobody can be late: the first hour is free.
CREATE TABLE clock_trust (
    one   boolean     NOT NULL PRIMARY KEY DEFAULT true CHECK (one),
    until timestamptz NOT NULL
);
INSERT INTO clock_trust (until) VALUES (now() + interval '1 hour');

-- A final payment stays as it is. Only a claimed one can succeed, or one that is paid in hand; one of which nothing was sent may fail: its order ended
-- before.
CREATE TRIGGER payments_legal_move AFTER UPDATE OF status ON payments FOR EACH ROW
WHEN (NOT CASE OLD.status
    WHEN 'held'       THEN NEW.status IN ('pending', 'failed')
    WHEN 'due'        THEN NEW.status IN ('succeeded', 'failed')
    WHEN 'pending'    THEN NEW.status IN ('processing', 'failed')
    WHEN 'processing' THEN NEW.status IN ('processing', 'waiting', 'succeeded', 'failed')
    WHEN 'waiting'    THEN NEW.status IN ('processing', 'failed')
    ELSE false END)
EXECUTE FUNCTION refuse_move();

CREATE TABLE payment_attempts (
    payment_id  uuid           NOT NULL,
    started_at  timestamptz    NOT NULL,              -- before the call
    finished_at timestamptz,                          -- after it
    number      integer        NOT NULL,
    epoch       integer        NOT NULL,
    action      attempt_action NOT NULL,
    outcome     attempt_outcome,
    code        text,
    message     text,
    PRIMARY KEY (payment_id, number)
) WITH (fillfactor = 70,
        autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 50000, autovacuum_vacuum_cost_limit = 2000);

-- The queue of orders' own charges. What is done to every order is done here, so the row is narrow, and a claim changes no
-- column that an index looks at: the row is written in place (HOT).
CREATE TABLE open_charges (
    id           uuid           NOT NULL PRIMARY KEY, -- the order's, and the charge's
    amount_minor bigint         NOT NULL,             -- the order's total when it came in, so no less than 0
    created_at   timestamptz    NOT NULL,
    due_at       timestamptz    NOT NULL,             -- by then someone must look at it, unless it is being tried
    expires_at   timestamptz,                         -- as of payments
    began_at     timestamptz,                         -- of its first claim: since then its order is PAYMENT_PROCESSING
    -- The claim is the record of its try, committed before the call. Its row in `payment_attempts` is written when it is
    -- settled, or by whoever claims next.
    claimed_at   timestamptz,
    lease_until  timestamptz,
    epoch        integer        NOT NULL DEFAULT 0,   -- the rest as of payments
    attempts     integer        NOT NULL DEFAULT 0,
    spent        integer        NOT NULL DEFAULT 0,
    accept_ms    integer,                             -- how long the kitchen has; NULL: as the programs' setting says
    trying       attempt_action,                      -- what is being asked of the gateway; NULL: nothing is
    voiding      boolean        NOT NULL DEFAULT false,
    noted        boolean        NOT NULL DEFAULT false, -- PAYMENT_PROCESSING stands with its order: more was noted there since
    named        boolean        NOT NULL DEFAULT false, -- the gateway has names for what is charged or who pays: its order's details say which
    currency     text           NOT NULL,
    CHECK ((trying IS NULL) = (lease_until IS NULL) AND (trying IS NULL) = (claimed_at IS NULL)
           AND (epoch = 0) = (began_at IS NULL))
) WITH (fillfactor = 40,                              -- a claimed row is longer, and finds room beside the first
        autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 50000, autovacuum_vacuum_cost_limit = 2000);
-- What is due, longest first. What is being tried is met on the way and passed over: no more than all workers have in hand.
CREATE INDEX open_charges_due ON open_charges (due_at);

-- What is to be called off at a time of its own. The others are called off in the order in which they came.
CREATE INDEX open_charges_expiring ON open_charges (expires_at) WHERE expires_at IS NOT NULL;

-- When a charge may no longer be begun: at its own time, or when it is older than `age`, in ms. Where neither is given, never.
CREATE FUNCTION charge_ends_at(expires_at timestamptz, created_at timestamptz, age bigint) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce(expires_at, created_at + age * interval '1 ms', 'infinity')
$$;

-- The lowest id that a UUIDv7 made at this time can have.
CREATE FUNCTION first_id(at timestamptz) RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT rpad(lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0'), 32, '0')::uuid
$$;

-- A try begins with an epoch of its own and in no other way.
CREATE FUNCTION refuse_claim() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'illegal claim of charge %: epoch % -> %, % -> %', OLD.id, OLD.epoch, NEW.epoch, OLD.trying, NEW.trying
        USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME;
END $$;
CREATE TRIGGER open_charges_legal_claim AFTER UPDATE OF epoch, trying ON open_charges FOR EACH ROW
WHEN (NOT CASE NEW.epoch - OLD.epoch
    WHEN 1 THEN NEW.trying IS NOT NULL
    WHEN 0 THEN NEW.trying IS NULL
    ELSE false END)
EXECUTE FUNCTION refuse_claim();

-- Where such a charge stands, as a payment.
CREATE FUNCTION charge_status(c open_charges) RETURNS payment_status LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN c.trying IS NOT NULL THEN 'processing' WHEN c.epoch > 0 THEN 'waiting' ELSE 'pending' END::payment_status
$$;

-- Whether it decides where its order stands: not a refund, nor the charge of an addition.
CREATE FUNCTION decides(p payments) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT p.kind = 'charge' AND p.added IS NULL
$$;

-- Payments as they are shown: those of both tables.
CREATE VIEW shown_payments AS
SELECT id, order_id, amount_minor, refunded_minor, created_at, due_at, answer_by, expires_at, held_until, dropped_at, refund_of, epoch, attempts, spent,
    kind, status, voiding, currency, reference, gateway_id, failure_code, reason, added
FROM payments
UNION ALL
SELECT id, id, amount_minor, 0, created_at, coalesce(lease_until, due_at), NULL, expires_at, NULL, NULL, NULL, epoch, attempts, spent,
    'charge', charge_status(c), voiding, currency, NULL, NULL, NULL, NULL, NULL
FROM open_charges c;

-- Tries, with those that are under way.
CREATE VIEW shown_attempts AS
SELECT payment_id, started_at, finished_at, number, epoch, action, outcome, code, message FROM payment_attempts
UNION ALL
SELECT id, claimed_at, NULL, attempts, epoch, trying, NULL, NULL, NULL FROM open_charges WHERE trying IS NOT NULL;

-- Orders as they are shown: a claimed charge means PAYMENT_PROCESSING, without any row of the order being written.
-- (OFFSET 0: the charge is looked up for an order that is PENDING, and never joined.)
CREATE VIEW shown_orders AS
SELECT o.id, o.total_minor, o.created_at, coalesce(charge.began_at, o.updated_at) AS updated_at, o.accept_by,
    o.cancel_requested_at, o.cancel_request, o.version + (charge.began_at IS NOT NULL)::int AS version,
    CASE WHEN charge.began_at IS NULL THEN o.status ELSE 'PAYMENT_PROCESSING' END AS status,
    o.currency, o.customer_id, o.location, o.cancel_actor, o.cancel_reason, o.items, o.adjustments,
    o.status AS written_status
FROM orders o LEFT JOIN LATERAL (
    SELECT began_at FROM open_charges WHERE o.status = 'PENDING' AND id = o.id OFFSET 0
) charge ON true;
