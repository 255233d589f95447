-- Endpoints of which more orders wait than one may have: each follows what has happened by itself, as far as there is room, and
-- writes down no more. Where there is no row an endpoint is told with all others, by the cursor `webhooks` of feed_cursors.
CREATE TABLE late_webhooks (
    webhook  uuid        NOT NULL PRIMARY KEY,
    tick     bigint      NOT NULL,                    -- as in feed_cursors
    noted_at timestamptz NOT NULL,
    subject  uuid,
    version  integer,
    since    timestamptz NOT NULL DEFAULT now(),
    CHECK ((subject IS NULL) = (version IS NULL))
);
