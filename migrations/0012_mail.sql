-- Mail to customers. What is to be sent stands among the deliveries (0008): in a lane of its own that is no endpoint
-- (shared/store/src/mail.rs), in the order of an order's versions, with lease and attempts as everything that leaves the house. Its
-- `body` says which mail, and to which person; who that is, and what was ordered, is looked up when it is sent.

-- Which mails about their orders people chose. Without a row: those that everybody gets.
CREATE TABLE mail_preferences (
    person     uuid        NOT NULL PRIMARY KEY,      -- of `users` (0006): nobody else's e-mail address is known
    mails      text[]      NOT NULL,                  -- shared/domain/src/mail.rs has their names
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- Who is to be written when the price of a product drops, each time, until they say otherwise. Among the deliveries `id` stands where
-- an order's stands, so that each person's mails come by the versions of the product.
CREATE TABLE sale_notices (
    id         uuid        NOT NULL PRIMARY KEY,      -- UUIDv7
    person     uuid        NOT NULL,
    product    uuid        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (person, product)
);
CREATE INDEX sale_notices_of_product ON sale_notices (product, id);
