-- What there is of what is counted. available + held + sold = what was put in, at every moment, for each item: a variation, or a
-- product that comes in none.

INSERT INTO catalogue_versions VALUES ('stock', 0);

CREATE TABLE stock (
    id         uuid   NOT NULL PRIMARY KEY,           -- the variation's, or the product's
    product_id uuid   NOT NULL,
    available  bigint NOT NULL DEFAULT 0 CHECK (available >= 0),
    held       bigint NOT NULL DEFAULT 0 CHECK (held >= 0), -- by orders that may end without it, and by carts
    sold       bigint NOT NULL DEFAULT 0 CHECK (sold >= 0), -- handed over
    turned     bigint NOT NULL DEFAULT 0              -- the version of 'stock' at which it last ran out, or was there again
)
-- The row of what everybody wants is written hundreds of times a second, always in place: no index looks at what changes.
WITH (fillfactor = 50, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0.1);
CREATE INDEX stock_by_turn ON stock (turned);
CREATE INDEX stock_of_product ON stock (product_id);

-- What is sold out is known to every api without asking. After the statement, when it holds all its rows: so nobody who holds the
-- version waits for a row.
CREATE FUNCTION note_turn() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE catalogue_versions SET version = version + 1 WHERE what = 'stock';
    UPDATE stock SET turned = (SELECT version FROM catalogue_versions WHERE what = 'stock') WHERE id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER stock_turns AFTER UPDATE OF available ON stock FOR EACH ROW
WHEN ((OLD.available > 0) <> (NEW.available > 0)) EXECUTE FUNCTION note_turn();

-- What people put in and took out. The sum of an item's changes is what was put in.
CREATE TYPE stock_what AS ENUM (
    'set',                                            -- so many are to be had now
    'add',                                            -- so many came
    'count',                                          -- so many lie there, those that are held among them
    'ship'                                            -- so many left without an order
);
CREATE TABLE stock_changes (
    id     uuid        NOT NULL PRIMARY KEY,          -- of the request: carried out twice, it knows itself again
    item   uuid        NOT NULL,
    change bigint      NOT NULL,
    at     timestamptz NOT NULL DEFAULT now(),
    what   stock_what  NOT NULL,
    by     text        NOT NULL,
    reason text
);
CREATE INDEX stock_changes_of_item ON stock_changes (item, id);

-- What of an item an order has taken. Its end marks it as due, in the same transaction; a chore of the workers' sweep then counts
-- it to what is available, or to what is sold. So whoever ends an order never waits for the row of what everybody wants.
CREATE TYPE hold_state AS ENUM (
    'held',                                           -- it counts as held
    'sold',                                           -- the order was handed over
    'back',                                           -- the order ended, or its payment failed: it may take it again
    'dropped'                                         -- what was added, or a cart, came to nothing: nobody takes it again
);
CREATE TABLE holds (
    owner    uuid       NOT NULL,                     -- the order; or the cart (0010)
    part     uuid       NOT NULL,                     -- the payment that it came in with: the order's own, or an addition's; the cart
    item     uuid       NOT NULL,
    due_at   timestamptz,                             -- from then on it is counted as what it becomes
    quantity bigint     NOT NULL CHECK (quantity > 0),
    state    hold_state NOT NULL DEFAULT 'held',
    becomes  hold_state,
    PRIMARY KEY (owner, part, item),
    CHECK ((due_at IS NULL) = (becomes IS NULL)),
    CHECK (state = 'held' OR due_at IS NULL)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 50000,
        autovacuum_vacuum_cost_limit = 2000);
CREATE INDEX holds_due ON holds (due_at) WHERE due_at IS NOT NULL;

-- By the database, as with the kitchen's list: no statement that ends an order can forget it. Orders without stock pay nothing but
-- the look at their own `stocked`.
CREATE FUNCTION end_holds() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE holds SET due_at = now(), becomes = CASE WHEN NEW.status = 'DELIVERED' THEN 'sold' ELSE 'back' END::hold_state
    WHERE owner = NEW.id AND state = 'held' AND due_at IS NULL;
    RETURN NULL;
END $$;
CREATE TRIGGER orders_end_holds AFTER UPDATE OF status ON orders FOR EACH ROW
WHEN (NEW.stocked AND NEW.status IN ('PAYMENT_FAILED', 'DELIVERED', 'REJECTED', 'CANCELLED'))
EXECUTE FUNCTION end_holds();
