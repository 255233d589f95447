-- What can be ordered. A product is read, edited and versioned as a whole: its variations and options stand in its row, and each
-- has an id of its own that it keeps for as long as it is there.
--
-- What is deleted stays (`deleted_at`), and its name is free again. Orders never look here again: their lines have names and
-- prices of their own.

-- How often something was changed. Whoever changes something adds one and holds the row until it is committed: so whoever sees a
-- version sees all before it. Every api looks here, and reads only what is newer than what it has.
CREATE TABLE catalogue_versions (
    what    text   NOT NULL PRIMARY KEY,
    version bigint NOT NULL
);
INSERT INTO catalogue_versions VALUES ('articles', 0);

CREATE TABLE categories (
    id         uuid        NOT NULL PRIMARY KEY,      -- UUIDv7
    version    bigint      NOT NULL,                  -- of the catalogue, when it last changed
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    position   integer     NOT NULL DEFAULT 0,        -- small first
    name       text        NOT NULL
);
CREATE UNIQUE INDEX categories_by_name ON categories (lower(name)) WHERE deleted_at IS NULL;
CREATE INDEX categories_by_version ON categories (version);

CREATE TABLE products (
    id            uuid        NOT NULL PRIMARY KEY,   -- UUIDv7: those that were made first come first
    version       bigint      NOT NULL,               -- as of categories
    category_id   uuid,                               -- one that was deleted is none
    price_minor   bigint      NOT NULL CHECK (price_minor >= 0),
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    deleted_at    timestamptz,
    currency      text        NOT NULL,               -- of all its prices
    name          text        NOT NULL,
    updated_by    text        NOT NULL,
    tracked       boolean     NOT NULL DEFAULT false, -- it is counted (0009)
    description   text,
    picture_url   text,
    locations     text[]      NOT NULL CHECK (cardinality(locations) > 0), -- where it is sold, sorted
    variations    json        NOT NULL,               -- [{id, name, price_minor}]
    option_groups json        NOT NULL                -- [{id, name, min, max, options: [{id, name, price_minor}]}]
);
-- The same name may stand for another product at another place.
CREATE UNIQUE INDEX products_by_name ON products (lower(name), locations) WHERE deleted_at IS NULL;
CREATE INDEX products_by_version ON products (version);
