-- The kitchen and the money back. A database that is in use keeps its orders: columns come without a rewrite, and those
-- confirmed before have no deadline, because nobody could have answered them.

-- An index over a table of millions takes longer than a statement may.
SET LOCAL statement_timeout = 0;

-- A wish: asked for while the charge was under way, decided when it is known.
ALTER TABLE orders
    ADD COLUMN cancel_requested_at timestamptz,
    ADD COLUMN cancel_actor        text,
    ADD COLUMN cancel_reason       text,
    ADD COLUMN cancel_request      uuid;

-- Which request made the move: one that is carried out twice, because its first answer was lost, knows itself again.
ALTER TABLE order_events ADD COLUMN request uuid;

ALTER TABLE payments
    -- Of a refund: why. Of a charge: nothing.
    ADD COLUMN reason    text,
    -- Of a charge for what was added to an order later: those lines. NULL: the order's own charge, which alone decides
    -- where the order stands.
    ADD COLUMN added     jsonb,
    -- Of the charge that confirmed its order: by then the kitchen must have answered. It stands here and not with the
    -- order, because an index over the order's status would make each of its moves write every index of it anew
    -- (no more HOT updates); this row is written anew at that moment anyway. NULL once the kitchen has answered.
    ADD COLUMN answer_by timestamptz;
CREATE INDEX payments_unanswered ON payments (answer_by) WHERE answer_by IS NOT NULL;
-- A charge is given back once.
CREATE UNIQUE INDEX payments_one_refund ON payments (refund_of) WHERE refund_of IS NOT NULL;

-- One that was never claimed may end, too: its order was cancelled before anything was sent.
DROP TRIGGER payments_legal_move ON payments;
CREATE TRIGGER payments_legal_move AFTER UPDATE OF status ON payments FOR EACH ROW
WHEN (NOT CASE OLD.status
    WHEN 'pending'    THEN NEW.status IN ('processing', 'failed')
    WHEN 'processing' THEN NEW.status IN ('processing', 'waiting', 'succeeded', 'failed')
    WHEN 'waiting'    THEN NEW.status IN ('processing')
    ELSE false END)
EXECUTE FUNCTION refuse_move();
