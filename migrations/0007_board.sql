-- The orders that the kitchen has: ACCEPTED, PREPARING or READY. A restaurant's board asks for a few dozen orders among
-- millions that are over. An index on orders.status would find them, and would cost every order a new entry in each index
-- of its row at every move (PostgreSQL writes a row in place only where no index looks at what changed), while what is
-- not paid yet or not answered yet is found by its payment. So only what the kitchen has is listed here.
CREATE TABLE in_kitchen (
    order_id uuid PRIMARY KEY
);

-- By the database and not by the statements that move orders: programs of the version before, still running beside the
-- new ones, and a person at a console must not make an order vanish from the board.
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

INSERT INTO in_kitchen SELECT id FROM orders WHERE status IN ('ACCEPTED', 'PREPARING', 'READY');
