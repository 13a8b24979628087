//! The rules as they are.

use crate::facts::Fact;
use crate::rules::{Bounds, Rules};
use crate::search::{Outcome, search, story};

pub(crate) const BOUNDS: Bounds =
    Bounds { slots: 5, updates: 2, claims: 3, crashes: 1, snapshots: 2, trims: 1 };

#[test]
fn the_slot_log_keeps_every_fact_in_every_state() {
    let rules = Rules { bounds: BOUNDS, flaw: None };
    match search(&rules, &Fact::ALL) {
        Outcome::Holds { states, steps } => {
            eprintln!("{states} states, none more than {steps} steps away");
            assert!(states > 100_000, "a search of {states} states has not looked at much");
        }
        Outcome::Breaks { fact, actions } => panic!("{}", story(&rules, fact, &actions)),
    }
}
