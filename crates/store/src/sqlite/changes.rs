//! What can be changed, and the statements that do it. Everything here runs inside the writer's transaction.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use ringleaf_types::{Body, DocumentId, Record, Slot, Snapshot};
use rusqlite::{Connection, ErrorCode, OptionalExtension, named_params};

use super::large::Content;
use super::overwrite::Overwriting;
use super::{notes, queries, remainders, schema};
use crate::{Created, Mark, StoreError, encoding};

/// Limit: rows that one transaction trims. About a millisecond.
pub(super) const TRIM_ROWS_MAX: u64 = 512;
/// Limit: documents of which the writer remembers something. When full, they are looked up again.
const KNOWN_MAX: usize = 65_536;

/// One thing to be done to one document.
pub(super) enum Change {
    CreateSlot {
        document: DocumentId,
        slot: Slot,
        record: Record,
    },
    /// The same for a record that was encoded beforehand, because it is large.
    CreateLargeSlot {
        document: DocumentId,
        slot: Slot,
        kind: u8,
        content: Content,
    },
    CreateSnapshot {
        document: DocumentId,
        upto: Slot,
        deleted: bool,
        content: Content,
    },
    AddPiece {
        rest: u64,
        piece: u32,
        bytes: Bytes,
    },
    DeletePieces {
        rest: u64,
    },
    Trim {
        document: DocumentId,
        plan: TrimPlan,
    },
    KeepRemainder {
        document: DocumentId,
        id: u64,
        piece: usize,
        bytes: Bytes,
    },
    DropRemainders {
        document: DocumentId,
        ids: Vec<u64>,
    },
    Purge {
        document: DocumentId,
        tombstone: Snapshot,
    },
    MarkAttempt {
        document: DocumentId,
    },
    MarkOutcome {
        document: DocumentId,
        failed: Option<String>,
    },
    Quarantine {
        document: DocumentId,
        reason: String,
    },
    Release {
        document: DocumentId,
    },
}

/// What a trim may delete, found by reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TrimPlan {
    /// The newest slot that may go; never above `previous`.
    pub(super) upto: Slot,
    /// The older of the two snapshots that stay. Both were read and are valid.
    pub(super) previous: Slot,
}

/// What became of a change.
#[derive(Debug)]
pub(super) enum Answer {
    Created(Created),
    Yes(bool),
    Count(u64),
    Mark(Mark),
    Done,
}

const MIXED_UP: &str = "each change has one kind of answer";

impl Answer {
    pub(super) fn created(self) -> Created {
        let Self::Created(created) = self else { panic!("{MIXED_UP}") };
        created
    }

    pub(super) fn yes(self) -> bool {
        let Self::Yes(yes) = self else { panic!("{MIXED_UP}") };
        yes
    }

    pub(super) fn count(self) -> u64 {
        let Self::Count(count) = self else { panic!("{MIXED_UP}") };
        count
    }

    pub(super) fn mark(self) -> Mark {
        let Self::Mark(mark) = self else { panic!("{MIXED_UP}") };
        mark
    }
}

impl Change {
    /// How many have waited for the commit that it is in: the updates of a slot, or whoever wanted it.
    pub(super) fn held(&self) -> usize {
        match self {
            Self::CreateSlot { record: Record { body: Body::Updates(updates), .. }, .. } => {
                updates.len().max(1)
            }
            Self::CreateSlot { .. }
            | Self::CreateLargeSlot { .. }
            | Self::CreateSnapshot { .. }
            | Self::AddPiece { .. }
            | Self::DeletePieces { .. }
            | Self::Trim { .. }
            | Self::KeepRemainder { .. }
            | Self::DropRemainders { .. }
            | Self::Purge { .. }
            | Self::MarkAttempt { .. }
            | Self::MarkOutcome { .. }
            | Self::Quarantine { .. }
            | Self::Release { .. } => 1,
        }
    }

    /// About how much it writes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::CreateSlot { record, .. } => encoding::record_bytes(record),
            Self::CreateLargeSlot { content, .. } | Self::CreateSnapshot { content, .. } => {
                content.beginning.len()
            }
            Self::AddPiece { bytes, .. } | Self::KeepRemainder { bytes, .. } => bytes.len(),
            Self::Purge { tombstone, .. } => tombstone.state.len(),
            Self::DeletePieces { .. }
            | Self::Trim { .. }
            | Self::DropRemainders { .. }
            | Self::MarkAttempt { .. }
            | Self::MarkOutcome { .. }
            | Self::Quarantine { .. }
            | Self::Release { .. } => 0,
        }
    }
}

/// Carries out changes, and remembers what makes that fast.
#[derive(Default)]
pub(super) struct Changes {
    known: HashMap<DocumentId, Known>,
    scratch: Vec<u8>,
    purged: bool,
}

/// What the writer remembers of a document. Nobody else writes, so it is what the database says.
#[derive(Clone, Copy)]
struct Known {
    number: i64,
    /// What the newest snapshot covers.
    covered: Option<Slot>,
}

/// What a slot's row holds besides its place and time.
struct SlotRow<'a> {
    kind: u8,
    rest: Option<u64>,
    record: &'a [u8],
}

/// The outer result is about the transaction, the inner one about this change alone.
pub(super) type Outcome = Result<Result<Answer, StoreError>, rusqlite::Error>;

impl Changes {
    pub(super) fn carry_out(&mut self, connection: &Connection, change: &Change) -> Outcome {
        let outcome = match change {
            Change::CreateSlot { document, slot, record } => {
                self.create_small_slot(connection, document, *slot, record)
            }
            Change::CreateLargeSlot { document, slot, kind, content } => {
                let row = SlotRow { kind: *kind, rest: content.rest, record: &content.beginning };
                self.create_slot(connection, document, *slot, row)
            }
            Change::CreateSnapshot { document, upto, deleted, content } => {
                self.create_snapshot(connection, document, *upto, *deleted, content)
            }
            Change::AddPiece { rest, piece, bytes } => add_piece(connection, *rest, *piece, bytes),
            Change::DeletePieces { rest } => delete_pieces(connection, *rest),
            Change::Trim { document, plan } => self.trim(connection, document, *plan),
            Change::KeepRemainder { document, id, piece, bytes } => {
                remainders::keep(connection, document, *id, *piece, bytes)
            }
            Change::DropRemainders { document, ids } => remainders::drop_all(connection, document, ids),
            Change::Purge { document, tombstone } => self.purge(connection, document, tombstone),
            Change::MarkAttempt { document } => notes::mark_attempt(connection, document),
            Change::MarkOutcome { document, failed } => {
                notes::mark_outcome(connection, document, failed.as_deref())
            }
            Change::Quarantine { document, reason } => notes::quarantine(connection, document, reason),
            Change::Release { document } => notes::release(connection, document),
        };
        match outcome {
            // A row that is too big for SQLite is refused before anything happens: the others need not suffer.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::TooBig) => Ok(Err(error.into())),
            outcome => outcome,
        }
    }

    /// After a rollback: what was written in it is void.
    pub(super) fn forget(&mut self) {
        self.known.clear();
        self.purged = false;
    }

    /// After a commit: whether it purged anything.
    pub(super) fn purged(&mut self) -> bool {
        std::mem::take(&mut self.purged)
    }

    fn create_small_slot(
        &mut self,
        connection: &Connection,
        document: &DocumentId,
        slot: Slot,
        record: &Record,
    ) -> Outcome {
        let mut scratch = std::mem::take(&mut self.scratch);
        encoding::encode_record(document, slot, record, &mut scratch);
        let row = SlotRow { kind: encoding::kind(&record.body), rest: None, record: &scratch };
        let outcome = self.create_slot(connection, document, slot, row);
        self.scratch = scratch;
        outcome
    }

    fn create_slot(
        &mut self,
        connection: &Connection,
        document: &DocumentId,
        slot: Slot,
        row: SlotRow<'_>,
    ) -> Outcome {
        if slot == Slot::ZERO {
            return Ok(Ok(Answer::Created(Created::Covered)));
        }
        let Known { number, covered } = self.known_or_new(connection, document)?;
        // Plain values, and no subquery: SQLite would keep a journal of its own for each such row.
        if covered < Some(slot) {
            let rows = connection
                .prepare_cached(
                    "INSERT INTO slots (document, slot, at, kind, rest, record) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                     ON CONFLICT (document, slot) DO NOTHING",
                )?
                .execute((
                    number,
                    integer(slot),
                    milliseconds(SystemTime::now()),
                    row.kind,
                    row.rest,
                    row.record,
                ))?;
            if rows == 1 {
                return Ok(Ok(Answer::Created(Created::Created)));
            }
        }
        let taken = connection
            .prepare_cached("SELECT record, rest FROM slots WHERE document = ?1 AND slot = ?2")?
            .query_row((number, integer(slot)), |row| queries::content(connection, row, 0))
            .optional()?;
        Ok(match taken {
            None => Ok(Answer::Created(Created::Covered)),
            Some(row) => encoding::decode_record(document, slot, row)
                .map(|record| Answer::Created(Created::Taken(record))),
        })
    }

    fn create_snapshot(
        &mut self,
        connection: &Connection,
        document: &DocumentId,
        upto: Slot,
        deleted: bool,
        content: &Content,
    ) -> Outcome {
        let Known { number, .. } = self.known_or_new(connection, document)?;
        // When the document last changed is the time of its last slot, not that of the snapshot.
        let mut statement = connection.prepare_cached(
            "INSERT INTO snapshots (document, upto, changed_at, deleted, rest, record)
             SELECT :document, :upto,
                    coalesce((SELECT at FROM slots WHERE document = :document AND slot = :upto), :now),
                    :deleted, :rest, :record
             WHERE NOT EXISTS (SELECT 1 FROM snapshots WHERE document = :document AND upto >= :upto)",
        )?;
        let rows = statement.execute(named_params! {
            ":document": number,
            ":upto": integer(upto),
            ":now": milliseconds(SystemTime::now()),
            ":deleted": deleted,
            ":rest": content.rest,
            ":record": content.beginning.as_ref(),
        })?;
        if rows == 1 {
            self.remember(document, Known { number, covered: Some(upto) });
        }
        Ok(Ok(Answer::Yes(rows == 1)))
    }

    fn trim(&mut self, connection: &Connection, document: &DocumentId, plan: TrimPlan) -> Outcome {
        assert!(plan.upto <= plan.previous, "a trim stays below the previous snapshot");
        let Some(Known { number, .. }) = self.known(connection, document)? else {
            return Ok(Ok(Answer::Count(0)));
        };
        let snapshots: u64 = connection
            .prepare_cached("SELECT count(*) FROM snapshots WHERE document = ?1 AND upto >= ?2")?
            .query_row((number, integer(plan.previous)), |row| row.get(0))?;
        if snapshots < 2 {
            // A purge came between. What the plan counted on is gone.
            return Ok(Ok(Answer::Count(0)));
        }
        // Order: from the lowest slot up, so that what is left never has a hole.
        let deleted = connection
            .prepare_cached(
                "DELETE FROM slots WHERE document = ?1 AND slot IN
                 (SELECT slot FROM slots WHERE document = ?1 AND slot <= ?2 ORDER BY slot LIMIT ?3)",
            )?
            .execute((number, integer(plan.upto), TRIM_ROWS_MAX))? as u64;
        if deleted == TRIM_ROWS_MAX {
            return Ok(Ok(Answer::Count(deleted)));
        }
        let snapshots = connection
            .prepare_cached(
                "DELETE FROM snapshots WHERE document = ?1 AND upto IN
                 (SELECT upto FROM snapshots WHERE document = ?1 AND upto < ?2 ORDER BY upto LIMIT ?3)",
            )?
            .execute((number, integer(plan.previous), TRIM_ROWS_MAX - deleted))?;
        Ok(Ok(Answer::Count(deleted + snapshots as u64)))
    }

    fn purge(&mut self, connection: &Connection, document: &DocumentId, tombstone: &Snapshot) -> Outcome {
        if self.known(connection, document)?.is_none() && !remainders::any(connection, document)? {
            return Ok(Ok(Answer::Yes(false)));
        }
        let Known { number, .. } = self.known_or_new(connection, document)?;
        let newer: bool = connection.query_row(
            "SELECT EXISTS (SELECT 1 FROM slots WHERE document = ?1 AND slot >= ?2)
                 OR EXISTS (SELECT 1 FROM snapshots WHERE document = ?1 AND upto >= ?2)",
            (number, integer(tombstone.upto)),
            |row| row.get(0),
        )?;
        if newer {
            return Ok(Ok(Answer::Yes(false)));
        }
        // Order: only for these statements, since it writes every page that they free.
        schema::overwrite_deleted(connection, "on")?;
        let wiped = wipe(connection, number, document);
        schema::overwrite_deleted(connection, "fast")?;
        wiped?;
        Overwriting::want(connection)?;
        self.purged = true;
        let beginning = encoding::encode_snapshot(document, tombstone).into();
        let content = Content { beginning, rest: None };
        self.create_snapshot(connection, document, tombstone.upto, tombstone.deleted, &content)
    }

    fn known(
        &mut self,
        connection: &Connection,
        document: &DocumentId,
    ) -> Result<Option<Known>, rusqlite::Error> {
        if let Some(&known) = self.known.get(document) {
            return Ok(Some(known));
        }
        let found = connection
            .prepare_cached(
                "SELECT id, (SELECT max(upto) FROM snapshots WHERE document = id) FROM documents WHERE name = ?1",
            )?
            .query_row([document.as_str()], |row| {
                let covered: Option<u64> = row.get(1)?;
                Ok(Known { number: row.get(0)?, covered: covered.map(Slot::new) })
            })
            .optional()?;
        if let Some(known) = found {
            self.remember(document, known);
        }
        Ok(found)
    }

    fn known_or_new(
        &mut self,
        connection: &Connection,
        document: &DocumentId,
    ) -> Result<Known, rusqlite::Error> {
        if let Some(known) = self.known(connection, document)? {
            return Ok(known);
        }
        let number = connection
            .prepare_cached("INSERT INTO documents (name, created_at) VALUES (?1, ?2)")?
            .insert((document.as_str(), milliseconds(SystemTime::now())))?;
        let known = Known { number, covered: None };
        self.remember(document, known);
        Ok(known)
    }

    fn remember(&mut self, document: &DocumentId, known: Known) {
        if self.known.len() >= KNOWN_MAX && !self.known.contains_key(document) {
            self.known.clear();
        }
        self.known.insert(document.clone(), known);
    }
}

fn add_piece(connection: &Connection, rest: u64, piece: u32, bytes: &Bytes) -> Outcome {
    connection.prepare_cached("INSERT INTO pieces (rest, piece, bytes) VALUES (?1, ?2, ?3)")?.execute((
        rest,
        piece,
        bytes.as_ref(),
    ))?;
    Ok(Ok(Answer::Done))
}

fn delete_pieces(connection: &Connection, rest: u64) -> Outcome {
    // Whatever the caller believes: pieces of a row that is there stay.
    connection
        .prepare_cached(
            "DELETE FROM pieces WHERE rest = ?1
             AND NOT EXISTS (SELECT 1 FROM slots WHERE rest = ?1)
             AND NOT EXISTS (SELECT 1 FROM snapshots WHERE rest = ?1)",
        )?
        .execute([rest])?;
    Ok(Ok(Answer::Done))
}

/// Deletes all rows of a document, and what they held from the file.
fn wipe(connection: &Connection, number: i64, document: &DocumentId) -> Result<(), rusqlite::Error> {
    for table in ["slots", "snapshots"] {
        // Order: zeros first, in place. Deleting moves rows that are still there to other pages, and of those SQLite
        // overwrites nothing where they were.
        for statement in [
            format!(
                "UPDATE pieces SET bytes = zeroblob(length(bytes))
                 WHERE rest IN (SELECT rest FROM {table} WHERE document = ?1 AND rest IS NOT NULL)"
            ),
            format!("UPDATE {table} SET record = zeroblob(length(record)) WHERE document = ?1"),
            format!("DELETE FROM {table} WHERE document = ?1"),
        ] {
            connection.execute(&statement, [number])?;
        }
    }
    remainders::wipe(connection, document)?;
    connection.execute("DELETE FROM attempts WHERE name = ?1", [document.as_str()]).map(drop)
}

/// A slot as SQLite stores it. Slots are checked before they come here.
pub(super) fn integer(slot: Slot) -> i64 {
    i64::try_from(slot.get()).unwrap_or(i64::MAX)
}

/// A time as SQLite stores it: milliseconds since 1970.
pub(super) fn milliseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
