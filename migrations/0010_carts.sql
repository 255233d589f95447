-- Carts. What is in one is held (0009, with the cart as `owner` and `part`) until it has not been changed for a while. Its order's
-- first statement deletes it, and takes its holds over.

CREATE TABLE carts (
    owner    text        NOT NULL PRIMARY KEY,        -- customer:<id>, or guest:<SHA-256 of the token>
    id       uuid        NOT NULL UNIQUE,             -- UUIDv7
    version  bigint      NOT NULL,                    -- one more with every change
    due_at   timestamptz NOT NULL,                    -- from then on it holds nothing
    currency text        NOT NULL,
    lines    json        NOT NULL                     -- as they were sent
);
-- For forgetting.
CREATE INDEX carts_by_end ON carts (due_at);
