-- Where orders stand. A row is written once and moved a few times; what it was made of when it came in stands in its first
-- event (0003), which nobody changes.
--
-- No foreign keys between the hot tables: every row of an order is written by statements of ours, and a key check costs a
-- look-up and a row lock for each row (ARCHITECTURE, "Deliberately absent"). The reconciliation checks what a key would.
--
-- No table of orders, payments, attempts or events has a UNIQUE that does not contain its id: they are to be partitioned
-- by ranges of it. What must be unique across them is a name (0004).

-- Where food is made. Whatever names no location belongs to `main`, which is always there. A row stays for good, because orders
-- and people name it: one that is closed takes no new orders.
CREATE TABLE locations (
    id             text        NOT NULL PRIMARY KEY CHECK (id ~ '^[a-z0-9_-]{1,50}$'),
    name           text        NOT NULL,
    time_zone      text        NOT NULL,              -- as IANA has it
    currency       text        NOT NULL,              -- of orders that name none
    -- How long the kitchen has to take an order; NULL: as long as the programs' setting says.
    accept_seconds integer     CHECK (accept_seconds BETWEEN 1 AND 86400),
    -- How long before it is wanted an order for later is charged and put before the kitchen.
    lead_minutes   integer     NOT NULL CHECK (lead_minutes BETWEEN 0 AND 10080),
    closed_at      timestamptz CHECK (id <> 'main' OR closed_at IS NULL),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    updated_by     text        NOT NULL
);
INSERT INTO locations (id, name, time_zone, currency, lead_minutes, updated_by) VALUES ('main', 'Main', 'UTC', 'USD', 30, 'api');

CREATE TYPE order_status AS ENUM (
    'PENDING', 'PAYMENT_PROCESSING', 'CONFIRMED', 'PAYMENT_FAILED',
    'ACCEPTED', 'PREPARING', 'READY', 'DELIVERED', 'REJECTED', 'CANCELLED'
);

-- Columns stand from wide to narrow, so that alignment pads nothing.
CREATE TABLE orders (
    id                  uuid         NOT NULL PRIMARY KEY, -- UUIDv7: newest last, so newest first is the key backwards
    total_minor         bigint       NOT NULL CHECK (total_minor >= 0),
    created_at          timestamptz  NOT NULL,
    updated_at          timestamptz  NOT NULL,             -- of its newest event
    accept_by           timestamptz,                       -- set when confirmed: the kitchen's deadline, to be shown
    -- A wish: asked for while the charge was under way, decided when it is known.
    cancel_requested_at timestamptz,
    cancel_request      uuid,
    version             integer      NOT NULL,             -- of its newest event: 1 when accepted, one more with every change
    -- While it is PENDING here and its charge has been claimed, it is PAYMENT_PROCESSING: see `shown_orders` (0002).
    status              order_status NOT NULL,
    currency            text         NOT NULL,
    customer_id         text         NOT NULL,
    location            text         NOT NULL DEFAULT 'main',
    stocked             boolean,                           -- it holds something of the stock (0009); NULL: nothing
    cancel_actor        text,
    cancel_reason       text,
    -- Lines, and signed amounts beside them (fees, tips, discounts), once they are no longer those that it was accepted
    -- with; NULL: those of its first event. So a row without additions is narrow, and its moves stay cheap.
    items               json,
    adjustments         json
)
-- More than half a page stays free, so that the move by its payment, and those of the kitchen, find room beside the row
-- itself and need no index entries (HOT).
WITH (fillfactor = 45,
-- When dead rows are cleared away. By default a fifth of the table must be dead first, which comes late and lasts long; and
-- at ten times the default pace, or it would never catch up with ten thousand orders a second.
      autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 50000, autovacuum_vacuum_cost_limit = 2000);
-- A customer's orders, newest first.
CREATE INDEX orders_by_customer ON orders (customer_id, id);
-- A location's. Of those at `main`, as nearly all are in most houses, no entry is written.
CREATE INDEX orders_by_location ON orders (location, id) WHERE location <> 'main';

-- The table of legal moves, as in shared/domain/src/order/status.rs, and those that lead by another status (shared/domain/src/order/moves.rs); a test
-- compares them. The condition is evaluated without calling a function; only an illegal move calls one, to refuse it. After
-- the update, because before it every row would be locked first, and the lock logged, whatever the condition says.
CREATE FUNCTION refuse_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'illegal move of % %: % -> %', TG_TABLE_NAME, OLD.id, OLD.status, NEW.status
        USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME;
END $$;

CREATE TRIGGER orders_legal_move AFTER UPDATE OF status ON orders FOR EACH ROW
WHEN (NOT CASE OLD.status
    WHEN 'PENDING'            THEN NEW.status IN ('PAYMENT_PROCESSING', 'CONFIRMED', 'PAYMENT_FAILED', 'CANCELLED')
    WHEN 'PAYMENT_PROCESSING' THEN NEW.status IN ('CONFIRMED', 'PAYMENT_FAILED', 'CANCELLED')
    WHEN 'PAYMENT_FAILED'     THEN NEW.status IN ('PAYMENT_PROCESSING', 'CANCELLED')
    WHEN 'CONFIRMED'          THEN NEW.status IN ('ACCEPTED', 'PREPARING', 'REJECTED', 'CANCELLED')
    WHEN 'ACCEPTED'           THEN NEW.status IN ('PREPARING', 'CANCELLED')
    WHEN 'PREPARING'          THEN NEW.status IN ('READY', 'ACCEPTED', 'CANCELLED')
    WHEN 'READY'              THEN NEW.status IN ('DELIVERED', 'CANCELLED')
    ELSE false END)
EXECUTE FUNCTION refuse_move();

-- The orders that the kitchen has: ACCEPTED, PREPARING or READY. A restaurant's board asks for a few dozen orders among
-- millions that are over. An index on orders.status would find them, and would cost every order a new entry in each index
-- of its row at every move (PostgreSQL writes a row in place only where no index looks at what changed), while what is
-- not paid yet or not answered yet is found by its payment. So only what the kitchen has is listed here: each status by itself,
-- so that the newest of one are found among a million of another.
CREATE TABLE in_kitchen (
    order_id uuid         NOT NULL,
    status   order_status NOT NULL,
    PRIMARY KEY (status, order_id)
);

-- By the database and not by the statements that move orders: programs of the version before, still running beside the
-- new ones, and a person at a console must not make an order vanish from the board.
CREATE FUNCTION list_in_kitchen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.status IN ('ACCEPTED', 'PREPARING', 'READY') THEN
        DELETE FROM in_kitchen WHERE status = OLD.status AND order_id = NEW.id;
    END IF;
    IF NEW.status IN ('ACCEPTED', 'PREPARING', 'READY') THEN
        INSERT INTO in_kitchen VALUES (NEW.id, NEW.status) ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER orders_in_kitchen AFTER UPDATE OF status ON orders FOR EACH ROW
WHEN (OLD.status IN ('ACCEPTED', 'PREPARING', 'READY') OR NEW.status IN ('ACCEPTED', 'PREPARING', 'READY'))
EXECUTE FUNCTION list_in_kitchen();
