//! The store of structs beside Yjs 13, Yjs 14 and yrs: random sessions of real editors, and every reader compared with one who got
//! the editors' own updates.
//!
//! ```text
//!  Node (tests/clients/differential): editors, readers, what they should read
//!    │ requests over a pipe                                       ▲ answers
//!    ▼                                                            │
//!  Half ──▶ Harbor (the store under test, and remainders beside it), Replica (yrs)
//! ```
//!
//! `RINGLEAF_TEST_SEED` repeats a run, `RINGLEAF_TEST_SESSION` one session of it.
//!
//! Start reading at [`run::sessions`], then in `main.mjs`.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "all of it is tests, helpers too")]

mod half;
mod harbor;
mod pipe;
mod replica;
mod run;

/// Each of these takes all processors.
mod alone {
    use crate::run::{self, Kind};

    /// Who got everything through the store reads what editors wrote, in whatever order and form it came, and edits on with
    /// those who never met the store.
    #[test]
    fn every_reader_of_the_store_reads_what_the_editors_wrote() {
        run::sessions(Kind::Session, if harness::long() { 100_000 } else { 2000 });
    }

    /// Messages overtake one another, editors leave and come back, and some have lost a part of what they had stored.
    #[test]
    fn whoever_can_have_everything_has_it_in_the_end() {
        run::sessions(Kind::Lost, if harness::long() { 15_000 } else { 300 });
    }

    /// With plain Yjs in the place of the store.
    #[test]
    fn the_comparison_asks_no_more_than_yjs_can_do() {
        run::sessions(Kind::PlainSession, 100);
        run::sessions(Kind::PlainLost, 50);
    }
}
