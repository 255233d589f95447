-- A new table may be made as one likes: no old program knows it.
CREATE TABLE sample_notes (
    order_id uuid NOT NULL PRIMARY KEY,
    note     text NOT NULL
);
CREATE INDEX sample_notes_by_note ON sample_notes (note);
