//! A large document of a known shape, written down directly as Yjs would encode it.
//!
//! One author types, pastes, jumps and deletes; every insertion knows its neighbours, so that the state of the whole is
//! a walk over the insertions and needs no CRDT.

use super::random::Random;
use super::yjs::{self, CONTENT_DELETED, CONTENT_STRING, Id};

/// The author of the whole trace.
const AUTHOR: u64 = 1_234_567;
const NONE: u32 = u32::MAX;

/// What the author does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) edits: usize,
    /// Characters per insertion: 1 when typed, more when pasted.
    pub(crate) characters: u64,
    /// Of a hundred edits, so many delete.
    pub(crate) deletes_percent: u64,
    /// Edits in a row at one place, on average.
    pub(crate) burst: u64,
}

/// The state of a document and where one can type in it.
pub(crate) struct Trace {
    /// All of it as one update.
    pub(crate) state: Vec<u8>,
    /// The insertions that are still there, in the order of the text.
    visible: Vec<u32>,
    characters: u64,
}

/// The document of 260,000 single-character edits, of which about 105,000 characters are left.
pub(crate) fn big() -> Trace {
    Trace::write(BIG)
}

const BIG: Plan = Plan { edits: 260_000, characters: 1, deletes_percent: 30, burst: 10 };

/// One edit of the author: each has a number, which is the clock of what it inserts.
#[derive(Clone, Copy)]
enum Edit {
    Insert(u32),
    Delete(u32),
}

struct Insertion {
    left: u32,
    right: u32,
    deleted: bool,
}

/// Each edit of the big document as an update of its own, as its author's client would send it.
#[allow(dead_code, reason = "for the figures of the store, which are another program")]
pub(crate) fn big_as_updates() -> Vec<Vec<u8>> {
    let mut updates = Vec::with_capacity(BIG.edits);
    let written = write(BIG, |edit, insertions| {
        updates.push(match edit {
            Edit::Delete(number) => {
                let mut update = vec![0, 1];
                yjs::write_var(&mut update, AUTHOR);
                update.push(1);
                yjs::write_var(&mut update, u64::from(number));
                update.push(1);
                update
            }
            Edit::Insert(number) => {
                let Insertion { left, right, .. } = insertions[number as usize];
                let id = |of| (of != NONE).then_some((AUTHOR, u64::from(of)));
                yjs::typed((AUTHOR, u64::from(number)), id(left), id(right), "e")
            }
        });
    });
    drop(written);
    updates
}

/// Plays the plan: all insertions, and those that are visible in the end. `tell` hears of each edit.
fn write(plan: Plan, mut tell: impl FnMut(Edit, &[Insertion])) -> (Vec<Insertion>, Vec<u32>, Random) {
    let mut random = Random::new(plan.edits as u64);
    let mut insertions: Vec<Insertion> = Vec::new();
    // A gap buffer: what stands before the cursor, and reversed what stands behind it.
    let (mut before, mut behind) = (Vec::<u32>::new(), Vec::<u32>::new());
    let mut left_in_burst = 0;
    let mut deletes = false;
    for _ in 0..plan.edits {
        if left_in_burst == 0 {
            left_in_burst = 1 + random.below(2 * plan.burst);
            deletes = random.below(100) < plan.deletes_percent;
            if !deletes && random.below(3) == 0 {
                let place = random.below(1 + (before.len() + behind.len()) as u64);
                move_cursor(&mut before, &mut behind, place as usize);
            }
        }
        left_in_burst -= 1;
        if deletes && let Some(deleted) = before.pop() {
            insertions[deleted as usize].deleted = true;
            tell(Edit::Delete(deleted), &insertions);
        } else {
            let (left, right) = (before.last().copied(), behind.last().copied());
            let number = insertions.len() as u32;
            before.push(number);
            insertions.push(Insertion {
                left: left.unwrap_or(NONE),
                right: right.unwrap_or(NONE),
                deleted: false,
            });
            tell(Edit::Insert(number), &insertions);
        }
    }
    before.extend(behind.into_iter().rev());
    (insertions, before, random)
}

impl Trace {
    pub(crate) fn write(plan: Plan) -> Self {
        let (insertions, before, mut random) = write(plan, |_, _| {});
        Self {
            state: encode(&insertions, plan.characters, &mut random),
            visible: before,
            characters: plan.characters,
        }
    }

    /// Where the writer `number` of `all` types: between these two characters.
    pub(crate) fn place(&self, number: usize, all: usize) -> (Id, Id) {
        let at = (number + 1) * (self.visible.len() - 1) / (all + 1);
        (last_of(self.visible[at], self.characters), first_of(self.visible[at + 1], self.characters))
    }
}

fn move_cursor(before: &mut Vec<u32>, behind: &mut Vec<u32>, place: usize) {
    if place < before.len() {
        behind.extend(before.drain(place..).rev());
    } else {
        let moved = behind.len() - (place - before.len()).min(behind.len());
        before.extend(behind.drain(moved..).rev());
    }
}

fn first_of(insertion: u32, characters: u64) -> Id {
    (AUTHOR, u64::from(insertion) * characters)
}

fn last_of(insertion: u32, characters: u64) -> Id {
    (AUTHOR, (u64::from(insertion) + 1) * characters - 1)
}

/// The insertions from `start` on that Yjs would hold as one item: typed in a row, and all deleted or none.
fn run_from(insertions: &[Insertion], start: usize) -> usize {
    let first = &insertions[start];
    let goes_on = |(number, next): &(usize, &Insertion)| {
        next.deleted == first.deleted && next.right == first.right && next.left as usize == number - 1
    };
    1 + insertions.iter().enumerate().skip(start + 1).take_while(goes_on).count()
}

fn encode(insertions: &[Insertion], characters: u64, random: &mut Random) -> Vec<u8> {
    let (mut items, mut structs, mut deleted) = (Vec::new(), 0, Vec::<(u64, u64)>::new());
    let mut at = 0;
    while at < insertions.len() {
        let Insertion { left, right, deleted: is_deleted } = insertions[at];
        let run = run_from(insertions, at);
        let length = run as u64 * characters;
        let content = if is_deleted { CONTENT_DELETED } else { CONTENT_STRING };
        let left = (left != NONE).then(|| last_of(left, characters));
        let right = (right != NONE).then(|| first_of(right, characters));
        yjs::write_item_head(&mut items, content, left, right);
        if is_deleted {
            yjs::write_var(&mut items, length);
            let clock = at as u64 * characters;
            match deleted.last_mut() {
                Some((start, so_far)) if *start + *so_far == clock => *so_far += length,
                _ => deleted.push((clock, length)),
            }
        } else {
            let text: Vec<u8> = (0..length).map(|_| b"etaoin shrdlu"[random.below(13) as usize]).collect();
            yjs::write_bytes(&mut items, &text);
        }
        structs += 1;
        at += run;
    }
    let mut state = vec![1];
    yjs::write_var(&mut state, structs);
    yjs::write_var(&mut state, AUTHOR);
    yjs::write_var(&mut state, 0);
    state.extend(items);
    state.push(1);
    yjs::write_var(&mut state, AUTHOR);
    yjs::write_var(&mut state, deleted.len() as u64);
    for (clock, length) in deleted {
        yjs::write_var(&mut state, clock);
        yjs::write_var(&mut state, length);
    }
    state
}

#[cfg(test)]
mod tests {
    use yrs::updates::decoder::Decode as _;
    use yrs::{Doc, GetString as _, ReadTxn as _, Transact as _, Update};

    use super::*;

    fn text_length(trace: &Trace) -> u64 {
        trace.visible.len() as u64 * trace.characters
    }

    fn decoded(trace: &Trace) -> u64 {
        let doc = Doc::new();
        let text = doc.get_or_insert_text("t");
        let mut transaction = doc.transact_mut();
        transaction.apply_update(Update::decode_v1(&trace.state).unwrap()).unwrap();
        assert!(!transaction.has_missing_updates());
        text.get_string(&transaction).len() as u64
    }

    #[test]
    fn a_crdt_reads_the_trace_as_it_was_meant() {
        for (characters, deletes_percent) in [(1, 30), (1, 0), (20, 10)] {
            let trace = Trace::write(Plan { edits: 5_000, characters, deletes_percent, burst: 6 });
            assert_eq!(decoded(&trace), text_length(&trace));
        }
    }

    #[test]
    fn the_big_document_has_the_size_that_the_goals_speak_of() {
        let trace = big();
        assert!((95_000..115_000).contains(&text_length(&trace)), "{} characters", text_length(&trace));
        assert!((280_000..340_000).contains(&trace.state.len()), "{} bytes", trace.state.len());
    }

    #[test]
    fn a_writer_types_between_two_neighbours() {
        let trace = Trace::write(Plan { edits: 1_000, characters: 1, deletes_percent: 30, burst: 6 });
        let ((_, left), (_, right)) = trace.place(3, 10);
        let at = trace.visible.iter().position(|insertion| u64::from(*insertion) == left).unwrap();
        assert_eq!(u64::from(trace.visible[at + 1]), right);
    }
}
