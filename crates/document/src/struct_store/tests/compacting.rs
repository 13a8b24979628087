//! The shortest form says the same, and what was deleted is gone.

use proptest::prelude::*;

use super::generate::{choices, cutouts, make, messages};
use super::units::units;
use super::write::{Encoded, after, before, deletes, of, root, tombstone, update, within};
use super::*;

#[test]
fn a_deleted_struct_keeps_its_place_and_loses_what_it_holds() {
    let structs = |make: fn(write::Place<'static>) -> Encoded| {
        let apart = || root().map();
        [make(root().key("k")), apart(), make(after(1, 0)), apart(), make(before(1, 0))]
    };
    let updates =
        [of(1, 0, structs(|place| place.embed("\"secret\""))), deletes(1, &[(0, 1), (2, 1), (4, 1)])];
    let mut store = store(&updates);
    store.compact(Gc::Collect);
    let expected = update().of(1, 0, structs(|place| place.deleted(1)));
    let expected = expected.deletes(1, &[(0, 1), (2, 1), (4, 1)]).bytes();
    assert_eq!(encoded(&store), expected);
    assert!(!expected.windows(6).any(|bytes| bytes == b"secret"));
}

#[test]
fn deleted_content_stays_where_it_is_to_be_kept() {
    let updates = [of(1, 0, [root().text("ab")]), of(1, 2, [after(1, 1).text("c")]), deletes(1, &[(1, 1)])];
    let mut store = store(&updates);
    store.compact(Gc::Keep);
    assert_eq!(encoded(&store), update().of(1, 0, [root().text("abc")]).deletes(1, &[(1, 1)]).bytes());
    assert!(store.is_compact() && store.is_folded());
    store.compact(Gc::Collect);
    let cut = [root().text("a"), after(1, 0).deleted(1), after(1, 1).text("c")];
    assert_eq!(encoded(&store), update().of(1, 0, cut).deletes(1, &[(1, 1)]).bytes());
}

/// Three structs of two units each; every range of them.
#[test]
fn deleted_ranges_begin_and_end_anywhere() {
    let three = [root().text("ab"), root().text("cd"), after(1, 1).text("ef")];
    for start in 0..6 {
        for end in start + 1..=6 {
            for first in start..end {
                // In one piece, in two that touch, in two that overlap.
                let ranges = [(start, first + 1 - start), (first, end - first)];
                let mut store = store(&[of(1, 0, three.clone()), deletes(1, &ranges)]);
                let expected = units(&encoded(&store)).compacted();
                store.compact(Gc::Collect);
                let found = units(&encoded(&store));
                assert!(found.says_the_same_as(&expected), "{start}..{end} at {first}");
                assert_eq!(store.delete_set(), deletes(1, &[(start, end - start)])[1..]);
            }
        }
    }
}

#[test]
fn what_lies_within_a_deleted_type_becomes_tombstones() {
    let mut store = store(&[
        of(
            1,
            0,
            [root().map(), within(1, 0).key("k").map(), within(1, 1).text("abc"), after(1, 0).text("beside")],
        ),
        // Somebody else adds to it meanwhile, and no delete set names that.
        of(
            2,
            0,
            [within(1, 1).text("x"), after(2, 0).text("y"), before(1, 2).text("z"), root().text("elsewhere")],
        ),
        deletes(1, &[(0, 1)]),
    ]);
    store.compact(Gc::Collect);
    let expected = update()
        .of(2, 0, [tombstone(3), root().text("elsewhere")])
        .of(1, 0, [root().deleted(1), tombstone(4), after(1, 0).text("beside")])
        .deletes(2, &[(0, 3)])
        .deletes(1, &[(0, 5)])
        .bytes();
    assert_eq!(encoded(&store), expected);
}

#[test]
fn what_stands_beside_a_tombstone_is_one() {
    let mut store = store(&[
        of(1, 0, [tombstone(2), root().text("lives")]),
        of(
            2,
            0,
            [
                after(1, 1).text("left"),
                before(1, 0).text("right"),
                after(2, 3).text("and on"),
                root().text("lives"),
            ],
        ),
    ]);
    store.compact(Gc::Collect);
    let expected = update()
        .of(2, 0, [tombstone(15), root().text("lives")])
        .of(1, 0, [tombstone(2), root().text("lives")])
        .deletes(2, &[(0, 15)])
        .deletes(1, &[(0, 2)])
        .bytes();
    assert_eq!(encoded(&store), expected);
}

#[test]
fn what_was_admitted_into_a_deleted_type_afterwards_becomes_a_tombstone() {
    let mut store = store(&[of(1, 0, [root().map()]), deletes(1, &[(0, 1)])]);
    store.compact(Gc::Collect);
    store.admit(&of(2, 0, [within(1, 0).text("late")])).unwrap();
    store.compact(Gc::Collect);
    let tombstones = update().of(2, 0, [tombstone(4)]).of(1, 0, [root().deleted(1)]);
    assert_eq!(encoded(&store), tombstones.deletes(2, &[(0, 4)]).deletes(1, &[(0, 1)]).bytes());
}

#[test]
fn compacting_is_worth_it_after_growth_and_after_deletions() {
    let text = "x".repeat(40_000);
    let mut store = StructStore::load(of(1, 0, [root().text(&text)])).unwrap();
    assert!(store.is_compact() && !store.wants_compaction());
    store.admit(&of(2, 0, [root().text(&text[..4_000])])).unwrap();
    assert!(!store.is_compact() && !store.wants_compaction(), "a tenth");
    store.admit(&of(3, 0, [root().text(&text[..8_000])])).unwrap();
    assert!(store.wants_compaction(), "more than a quarter");
    store.compact(Gc::Collect);
    assert!(store.is_compact() && !store.wants_compaction());
    store.admit(&deletes(1, &[(0, 20_000)])).unwrap();
    assert!(store.wants_compaction());
    store.compact(Gc::Collect);
    assert!(!store.wants_compaction() && encoded(&store).len() < 33_000);
    let mut small = super::store(&[of(1, 0, [root().text("a")])]);
    assert!(!small.wants_compaction(), "whatever its share, it is little");
    small.admit(&of(1, 1, [after(1, 0).text(&text[..4_100])])).unwrap();
    assert!(small.wants_compaction());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Each unit is as it was, or deleted in its place, or a tombstone: exactly where Yjs would have it so.
    #[test]
    fn compacting_changes_nothing_that_is_to_be_seen(choices in choices(60), cutouts in cutouts(20)) {
        let made = make(&choices);
        let mut store = StructStore::new();
        admit_all(&mut store, &messages(&made, &cutouts));
        let before = units(&encoded(&store));
        store.compact(Gc::Keep);
        let kept = units(&encoded(&store));
        prop_assert_eq!((&kept.units, &kept.deleted), (&before.units, &before.deleted));
        store.compact(Gc::Collect);
        let collected = units(&encoded(&store));
        let expected = before.compacted();
        prop_assert_eq!(&collected.units, &expected.units);
        prop_assert_eq!(&collected.deleted, &expected.deleted);
        let once = encoded(&store);
        store.compact(Gc::Collect);
        prop_assert_eq!(encoded(&store), once.clone(), "a second time changes nothing");
        let mut loaded = StructStore::load(once.clone()).unwrap();
        prop_assert!(loaded.is_folded());
        loaded.compact(Gc::Collect);
        prop_assert_eq!(encoded(&loaded), once);
    }
}
