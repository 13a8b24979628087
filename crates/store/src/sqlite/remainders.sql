-- Made beside the numbered formats, whenever a store is opened, so that the version before this one still opens it and
-- passes over this table. Never change it: a later format may. By name, because a document that was never written can have
-- remainders, too.
CREATE TABLE IF NOT EXISTS remainders (
    name TEXT NOT NULL,
    id INTEGER NOT NULL,
    piece INTEGER NOT NULL,
    record BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS remainders_by_name ON remainders (name, id, piece);
