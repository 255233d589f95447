-- How far those have come who follow what has happened (shared/store/src/feed.rs): a row each. It is written in the transaction
-- that holds what the page led to, so that each event takes effect once.
CREATE TABLE feed_cursors (
    follower  text        NOT NULL PRIMARY KEY,
    tick      bigint      NOT NULL,
    noted_at  timestamptz NOT NULL,                   -- when that tick was noted: after a lost database there may be another
    subject   uuid,                                   -- within the tick, the last event that was followed; NULL: all of it
    version   integer,
    moved_at  timestamptz NOT NULL DEFAULT now(),
    CHECK ((subject IS NULL) = (version IS NULL))
);
