-- Names are long and rows many: rows refer to documents by number. A document's row is never deleted.
CREATE TABLE documents (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT;

-- The log. A rowid table, so that new rows go to its end; only the small index is written all over.
CREATE TABLE slots (
    document INTEGER NOT NULL,
    slot INTEGER NOT NULL,
    at INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    rest INTEGER,
    record BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX slots_by_document ON slots (document, slot);
-- Few rows: what a listing needs to know whether a document is deleted.
CREATE INDEX deletions_by_document ON slots (document, slot) WHERE kind <> 0;

CREATE TABLE snapshots (
    document INTEGER NOT NULL,
    upto INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    rest INTEGER,
    record BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX snapshots_by_document ON snapshots (document, upto);

-- What is too large for one commit is written in pieces beforehand, so that no other document waits behind it. Only then
-- comes the row that holds the beginning and, in `rest`, the number of the pieces. Pieces without a row are void.
CREATE TABLE pieces (
    rest INTEGER NOT NULL,
    piece INTEGER NOT NULL,
    bytes BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX pieces_by_rest ON pieces (rest, piece);
CREATE INDEX slots_with_rest ON slots (rest) WHERE rest IS NOT NULL;
CREATE INDEX snapshots_with_rest ON snapshots (rest) WHERE rest IS NOT NULL;
CREATE TRIGGER rest_of_slot AFTER DELETE ON slots WHEN old.rest IS NOT NULL BEGIN
    DELETE FROM pieces WHERE rest = old.rest;
END;
CREATE TRIGGER rest_of_snapshot AFTER DELETE ON snapshots WHEN old.rest IS NOT NULL BEGIN
    DELETE FROM pieces WHERE rest = old.rest;
END;

-- By name, because a document that was never written can be noted too, without becoming one that was.
CREATE TABLE attempts (
    name TEXT PRIMARY KEY,
    attempts INTEGER NOT NULL,
    reason TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE quarantine (
    name TEXT PRIMARY KEY,
    reason TEXT NOT NULL,
    since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
