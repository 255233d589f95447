-- Who people are: those that the embedded issuer knows, how long they stay logged in, and the machines' tokens. People of
-- other issuers stand in no table of ours.

CREATE TYPE person_role AS ENUM ('customer', 'staff', 'manager', 'service', 'admin');

CREATE TABLE users (
    id            uuid        NOT NULL PRIMARY KEY,   -- UUIDv7; the subject of the tokens
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    role          person_role NOT NULL DEFAULT 'customer' CHECK (role <> 'service'),
    active        boolean     NOT NULL DEFAULT true,
    email         text        NOT NULL UNIQUE,        -- in lower case: who writes it otherwise means the same
    name          text,
    phone         text        UNIQUE,                 -- digits, with a + before them
    password_hash text        NOT NULL,               -- argon2id, with its parameters and salt
    locations     text[]      NOT NULL DEFAULT '{}'   -- of staff and managers: where they may look and act
);

-- One login on one device. Its refresh token names it and a generation; each use begins the next. See
-- shared/store/src/accounts/sessions.rs.
CREATE TABLE sessions (
    id         uuid        NOT NULL PRIMARY KEY,
    user_id    uuid        NOT NULL REFERENCES users,
    created_at timestamptz NOT NULL DEFAULT now(),
    renewed_at timestamptz NOT NULL DEFAULT now(),    -- when this generation began
    until      timestamptz NOT NULL,                  -- it ends by itself
    ended_at   timestamptz,                           -- or was ended: its access tokens are refused, too
    generation integer     NOT NULL DEFAULT 1,
    why        text                                   -- logged_out, stolen, password, changed, deactivated
);
CREATE INDEX sessions_of_user ON sessions (user_id) WHERE ended_at IS NULL;
CREATE INDEX sessions_by_end ON sessions (until);
-- What every api looks for each second or so.
CREATE INDEX sessions_ended ON sessions (ended_at) WHERE ended_at IS NOT NULL;

-- Opaque tokens of machines: cmd_<id>_<secret><checksum>.
CREATE TABLE service_tokens (
    id          text        NOT NULL PRIMARY KEY,
    created_at  timestamptz NOT NULL DEFAULT now(),
    until       timestamptz,                          -- NULL: until it is ended
    ended_at    timestamptz,
    role        person_role NOT NULL,
    name        text        NOT NULL,                 -- the service's: two tokens of one name are one principal
    created_by  text        NOT NULL,
    secret_hash bytea       NOT NULL,                 -- SHA-256: the secret is long and random
    channels    text[]      NOT NULL DEFAULT '{}',    -- of a service: through which it may order
    locations   text[]      NOT NULL DEFAULT '{}'
);

-- Where people have things brought to. Whose by the subject of their tokens: people of other issuers have some, too.
CREATE TABLE addresses (
    id         uuid        NOT NULL PRIMARY KEY,      -- UUIDv7
    updated_at timestamptz NOT NULL DEFAULT now(),
    owner      text        NOT NULL,
    label      text,                                  -- what they call it
    address    jsonb       NOT NULL                   -- street, city, postal_code
);
CREATE INDEX addresses_of_owner ON addresses (owner, id);
