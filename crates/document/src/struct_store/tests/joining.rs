//! A struct joins its predecessor exactly where Yjs would join them.

use super::units::units;
use super::write::{Encoded, Place, after, before, deletes, of, root, tombstone};
use super::*;

/// How many structs there are of client 1 when it writes these one after the other; and nothing is changed by that.
fn structs(parts: &[Encoded]) -> usize {
    // What they refer to: text of client 9.
    let ground = of(9, 0, [root().text("0123456789")]);
    let whole = of(1, 0, parts.to_vec());
    let mut one_by_one = store(std::slice::from_ref(&ground));
    let mut clock = 0;
    for part in parts {
        let before = clock;
        one_by_one.admit(&of(1, clock, [part.clone()])).unwrap();
        clock = clock_of(&one_by_one, 1);
        assert!(clock > before);
    }
    let at_once = store(&[ground.clone(), whole.clone()]);
    assert_eq!(encoded(&one_by_one), encoded(&at_once), "it does not matter how they come");
    let (mine, theirs) = (units(&encoded(&at_once)), units(&whole));
    assert!(theirs.units.iter().all(|(at, unit)| mine.units.get(at) == Some(unit)), "nothing is changed");
    mine.structs - 1
}

/// A struct that stands there.
type Make = fn(Place<'static>) -> Encoded;

/// Two structs of three units, the second of which stands there.
type Pair = fn(Place<'static>, Place<'static>) -> [Encoded; 2];

const JOINING: [(&str, Pair); 4] = [
    ("text", |first, second| [first.text("abc"), second.text("def")]),
    ("values", |first, second| [first.any(&[&[0x7d, 1][..]; 3]), second.any(&[&[0x7e][..]; 3])]),
    ("old values", |first, second| [first.json(&["1"; 3]), second.json(&["undefined"; 3])]),
    ("deleted", |first, second| [first.deleted(3), second.deleted(3)]),
];

#[test]
fn structs_of_one_kind_that_follow_on_each_other_are_one() {
    for (kind, pair) in JOINING {
        assert_eq!(structs(&pair(root(), after(1, 2))), 1, "{kind}");
        assert_eq!(structs(&pair(after(9, 3), after(1, 2))), 1, "{kind} behind another client's");
        assert_eq!(structs(&pair(root().key("k"), after(1, 2).key("k"))), 1, "{kind} under a key");
    }
}

#[test]
fn right_origins_must_be_equal() {
    for (kind, pair) in JOINING {
        assert_eq!(structs(&pair(before(9, 4), after(1, 2).before(9, 4))), 1, "{kind}: the same");
        assert_eq!(structs(&pair(before(9, 4), after(1, 2).before(9, 5))), 2, "{kind}: another one");
        assert_eq!(structs(&pair(before(9, 4), after(1, 2))), 2, "{kind}: none on the second");
        assert_eq!(structs(&pair(root(), after(1, 2).before(9, 4))), 2, "{kind}: none on the first");
    }
}

#[test]
fn the_left_origin_must_be_the_last_unit_of_the_same_client() {
    for (kind, pair) in JOINING {
        assert_eq!(structs(&pair(root(), after(1, 1))), 2, "{kind}: not the last unit");
        assert_eq!(structs(&pair(root(), after(1, 0))), 2, "{kind}: the first unit");
        assert_eq!(structs(&pair(root(), after(9, 2))), 2, "{kind}: the same clock of another client");
        assert_eq!(structs(&pair(root(), root())), 2, "{kind}: none");
    }
}

#[test]
fn what_has_one_unit_by_its_nature_is_never_joined() {
    let kinds: [(&str, Make); 5] = [
        ("buffer", |place| place.binary(&[1])),
        ("embed", |place| place.embed("{}")),
        ("format", |place| place.format("b", "true")),
        ("shared type", |place| place.map()),
        ("subdocument", |place| place.subdocument("s")),
    ];
    for (kind, make) in kinds {
        assert_eq!(structs(&[make(root()), make(after(1, 0))]), 2, "{kind}");
    }
}

#[test]
fn different_kinds_are_not_joined() {
    let last = || after(1, 0);
    let text = || root().text("a");
    let values: &[&[u8]] = &[&[0x7e]];
    assert_eq!(structs(&[text(), last().any(values)]), 2);
    assert_eq!(structs(&[text(), last().deleted(1)]), 2);
    assert_eq!(structs(&[root().deleted(1), last().text("a")]), 2);
    assert_eq!(structs(&[root().any(values), last().json(&["1"])]), 2);
    assert_eq!(structs(&[root().deleted(1), tombstone(1)]), 2);
    assert_eq!(structs(&[tombstone(1), last().deleted(1)]), 2);
}

#[test]
fn tombstones_are_one_wherever_they_were() {
    assert_eq!(structs(&[tombstone(2), tombstone(3), tombstone(200)]), 1);
    assert_eq!(structs(&[tombstone(2), root().text("a"), tombstone(3)]), 3);
}

/// The number before what a struct holds takes more bytes at 128 and at 16,384.
#[test]
fn a_struct_that_grows_stays_readable() {
    for length in [126, 127, 128, 129, 16_382, 16_384, 16_400] {
        let parts = (0..length).map(|clock: u32| match clock {
            0 => root().text("x"),
            _ => after(1, clock - 1).text("x"),
        });
        let mut store = StructStore::new();
        for (clock, part) in (0..).zip(parts) {
            store.admit(&of(1, clock, [part])).unwrap();
        }
        assert_eq!(encoded(&store), of(1, 0, [root().text(&"x".repeat(length as usize))]), "{length}");
    }
}

/// A base is kept as it is, and joined when everything is.
#[test]
fn what_follows_on_the_base_is_joined_when_it_is_compacted() {
    let (first, second) = (of(1, 0, [root().text("ab")]), of(1, 2, [after(1, 1).text("c")]));
    let mut store = StructStore::load(first).unwrap();
    store.admit(&second).unwrap();
    assert_eq!(units(&encoded(&store)).structs, 2);
    store.fold();
    assert_eq!(units(&encoded(&store)).structs, 2);
    store.compact(Gc::Keep);
    assert_eq!(encoded(&store), of(1, 0, [root().text("abc")]));
}

#[test]
fn what_is_deleted_later_is_joined_all_the_same() {
    let updates = [of(1, 0, [root().text("ab")]), deletes(1, &[(1, 1)]), of(1, 2, [after(1, 1).text("c")])];
    let store = store(&updates);
    assert_eq!(units(&encoded(&store)).structs, 1);
}

#[test]
fn the_rest_of_a_struct_whose_beginning_is_there_joins_it() {
    let store = store(&[of(1, 0, [root().text("ab")]), of(1, 0, [root().text("abcd")])]);
    assert_eq!(encoded(&store), of(1, 0, [root().text("abcd")]));
    // Not when whoever sends it has other neighbors in mind.
    let ground = of(9, 0, [root().text("0")]);
    let store = super::store(&[ground, of(1, 0, [root().text("ab")]), of(1, 0, [before(9, 0).text("abcd")])]);
    assert_eq!(units(&encoded(&store)).structs, 1 + 2);
}
