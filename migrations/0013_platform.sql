-- Beside those who asked to be told (0008), a channel's platform is told what becomes of its orders, in its own words
-- (shared/domain/src/channel/dialect/back.rs): an endpoint like any other, with the same lanes, rows and tries. It is set with
-- its channel, whose row is locked first: so there is one for each.
-- Programs of the version before send it nothing: its `types` names a type that no event has.
ALTER TABLE webhooks
    ADD COLUMN platform text,                         -- the channel; `types` is {platform}, `locations` and `channels` are empty
    ADD COLUMN dialect  text,                         -- in which it is told; signed with a secret of the platform's own
    -- What is sent: the event alone; with the order as it was after it; with the personal data as it is when it is sent.
    ADD COLUMN with_order    boolean NOT NULL DEFAULT false,
    ADD COLUMN with_handover boolean NOT NULL DEFAULT false,
    ADD COLUMN failing_since timestamptz,             -- the first try that failed since one was taken; `because` may be `failing`, too
    ADD CONSTRAINT webhooks_platform CHECK ((platform IS NULL) = (dialect IS NULL)) NOT VALID,
    ADD CONSTRAINT webhooks_handover CHECK (with_order OR NOT with_handover) NOT VALID;
