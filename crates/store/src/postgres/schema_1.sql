-- Names are bytes of UTF-8, so that their order is that of the bytes under every locale. A document's row is never deleted.
CREATE TABLE ringleaf_documents (
    document BYTEA PRIMARY KEY,
    created_at INT8 NOT NULL
);

CREATE TABLE ringleaf_slots (
    document BYTEA NOT NULL,
    slot INT8 NOT NULL,
    at INT8 NOT NULL,
    kind INT2 NOT NULL,
    record BYTEA NOT NULL,
    PRIMARY KEY (document, slot)
);
-- Few rows: what a listing needs to know whether a document is deleted.
CREATE INDEX ringleaf_deletions ON ringleaf_slots (document, slot) WHERE kind <> 0;

CREATE TABLE ringleaf_snapshots (
    document BYTEA NOT NULL,
    upto INT8 NOT NULL,
    at INT8 NOT NULL,
    changed_at INT8 NOT NULL,
    deleted BOOL NOT NULL,
    record BYTEA NOT NULL,
    PRIMARY KEY (document, upto)
);

CREATE TABLE ringleaf_attempts (
    document BYTEA PRIMARY KEY,
    attempts INT8 NOT NULL,
    reason TEXT
);

CREATE TABLE ringleaf_quarantine (
    document BYTEA PRIMARY KEY,
    reason TEXT NOT NULL,
    since INT8 NOT NULL
);
