//! Which of the slots that wait go into the next statement. Decisions only, nothing is sent here.

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;
use ringleaf_types::{DocumentId, Slot};
use tokio::sync::oneshot;

use crate::{Created, StoreError};

/// Limit: slots of one statement.
const ROWS_MAX: usize = 1_024;
/// Limit: bytes of one statement, unless a single slot is larger.
const BYTES_MAX: usize = 4 << 20;
/// A slot above this is sent alone, so that small ones do not wait for it.
const ALONE_BYTES: usize = 256 << 10;
/// Limit: documents that are remembered as contended. Above it: forgotten, which costs a shared wait and nothing else.
const CONTENDED_MAX: usize = 4_096;

/// One slot to be created.
pub(super) struct Job {
    pub(super) document: DocumentId,
    pub(super) slot: Slot,
    pub(super) kind: i16,
    pub(super) record: Bytes,
    pub(super) reply: oneshot::Sender<Result<Created, StoreError>>,
}

/// What waits, and which documents are in a statement now.
#[derive(Default)]
pub(super) struct Waiting {
    queue: VecDeque<Job>,
    busy: HashSet<DocumentId>,
    contended: HashSet<DocumentId>,
}

impl Waiting {
    pub(super) fn add(&mut self, job: Job) {
        self.queue.push_back(job);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.busy.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// The next statement's slots, sorted by key: two statements that meet on two documents must not wait crosswise. Empty:
    /// all that wait belong to documents that are in a statement already.
    pub(super) fn next(&mut self) -> Vec<Job> {
        let mut chosen: Vec<Job> = Vec::new();
        let mut later = VecDeque::new();
        // Slots of one document stay in their order: once one is left for later, so are those behind it.
        let mut passed = HashSet::new();
        let mut bytes = 0;
        let mut full = false;
        for job in std::mem::take(&mut self.queue) {
            let blocked = full || self.busy.contains(&job.document) || passed.contains(&job.document);
            let alone = job.record.len() > ALONE_BYTES || self.contended.contains(&job.document);
            let fits = chosen.len() < ROWS_MAX && bytes + job.record.len() <= BYTES_MAX;
            if blocked || !(chosen.is_empty() || (fits && !alone)) {
                if !full {
                    passed.insert(job.document.clone());
                }
                later.push_back(job);
                continue;
            }
            bytes += job.record.len();
            full = alone;
            self.busy.insert(job.document.clone());
            chosen.push(job);
        }
        self.queue = later;
        chosen.sort_unstable_by(|a, b| a.document.as_str().cmp(b.document.as_str()));
        chosen
    }

    /// A statement has ended. Whether somebody else wanted a document's slot decides if it travels alone from now on.
    pub(super) fn ended(&mut self, outcomes: Vec<(DocumentId, bool)>) {
        for (document, contended) in outcomes {
            self.busy.remove(&document);
            if !contended {
                self.contended.remove(&document);
            } else {
                if self.contended.len() >= CONTENDED_MAX {
                    self.contended.clear();
                }
                self.contended.insert(document);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(waiting: &mut Waiting, name: &str, slot: u64, bytes: usize) {
        let (reply, _) = oneshot::channel();
        let record = Bytes::from(vec![0; bytes]);
        waiting.add(Job { document: name.parse().unwrap(), slot: Slot::new(slot), kind: 0, record, reply });
    }

    fn next(waiting: &mut Waiting) -> Vec<(String, u64)> {
        waiting.next().iter().map(|job| (job.document.as_str().into(), job.slot.get())).collect()
    }

    fn pair(name: &str, slot: u64) -> (String, u64) {
        (name.into(), slot)
    }

    fn end(waiting: &mut Waiting, name: &str, contended: bool) {
        waiting.ended(vec![(name.parse().unwrap(), contended)]);
    }

    #[test]
    fn slots_of_many_documents_share_a_statement_in_order_of_their_keys() {
        let mut waiting = Waiting::default();
        for name in ["c", "a", "b"] {
            add(&mut waiting, name, 1, 10);
        }
        assert_eq!(next(&mut waiting), [pair("a", 1), pair("b", 1), pair("c", 1)]);
    }

    #[test]
    fn a_document_is_in_one_statement_at_a_time_and_keeps_its_order() {
        let mut waiting = Waiting::default();
        for slot in 1..=3 {
            add(&mut waiting, "a", slot, 10);
        }
        assert_eq!(next(&mut waiting), [pair("a", 1)]);
        assert_eq!(next(&mut waiting), []);
        end(&mut waiting, "a", false);
        assert_eq!(next(&mut waiting), [pair("a", 2)]);
        end(&mut waiting, "a", false);
        assert_eq!(next(&mut waiting), [pair("a", 3)]);
        assert!(!waiting.is_idle());
        end(&mut waiting, "a", false);
        assert!(waiting.is_idle());
    }

    #[test]
    fn a_large_slot_travels_alone_and_its_followers_behind_it() {
        let mut waiting = Waiting::default();
        add(&mut waiting, "a", 1, 10);
        add(&mut waiting, "b", 1, ALONE_BYTES + 1);
        add(&mut waiting, "b", 2, 10);
        add(&mut waiting, "c", 1, 10);
        assert_eq!(next(&mut waiting), [pair("a", 1), pair("c", 1)]);
        assert_eq!(next(&mut waiting), [pair("b", 1)]);
        assert_eq!(next(&mut waiting), []);
    }

    #[test]
    fn a_contended_document_travels_alone_until_it_is_not() {
        let mut waiting = Waiting::default();
        end(&mut waiting, "a", true);
        add(&mut waiting, "a", 1, 10);
        add(&mut waiting, "b", 1, 10);
        assert_eq!(next(&mut waiting), [pair("a", 1)]);
        assert_eq!(next(&mut waiting), [pair("b", 1)]);
        end(&mut waiting, "a", false);
        end(&mut waiting, "b", false);
        add(&mut waiting, "a", 2, 10);
        add(&mut waiting, "b", 2, 10);
        assert_eq!(next(&mut waiting), [pair("a", 2), pair("b", 2)]);
    }

    #[test]
    fn a_statement_has_a_size() {
        let mut waiting = Waiting::default();
        for i in 0..ROWS_MAX + 1 {
            add(&mut waiting, &format!("d{i}"), 1, 10);
        }
        assert_eq!(next(&mut waiting).len(), ROWS_MAX);
        assert_eq!(next(&mut waiting).len(), 1);
        for i in 0..20 {
            add(&mut waiting, &format!("e{i}"), 1, ALONE_BYTES);
        }
        assert_eq!(next(&mut waiting).len(), BYTES_MAX / ALONE_BYTES);
    }
}
