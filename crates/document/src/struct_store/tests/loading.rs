//! Stored bytes in, stored bytes out; and what somebody lacks.

use proptest::prelude::*;

use super::generate::{choices, cutouts, make, message, messages, whole};
use super::units::units;
use super::write::{after, deletes, hole, of, root, seen, tombstone, update, within};
use super::*;

#[test]
fn what_was_encoded_loads_as_it_is_without_a_copy() {
    let mut store =
        store(&[of(2, 0, [root().text("xy")]), of(1, 0, [root().text("ab")]), deletes(2, &[(1, 1)])]);
    store.compact(Gc::Collect);
    let state = encoded(&store);
    let loaded = StructStore::load(state.clone()).unwrap();
    assert_eq!(encoded(&loaded), state);
    assert_eq!(encoded(&loaded).as_ptr(), state.as_ptr());
    assert!(loaded.is_folded() && loaded.is_compact());
    assert_eq!(StructStore::load(Bytes::from_static(&[0, 0])).unwrap().client_count(), 0);
}

/// As other programs write it, or as it was stored by an earlier release.
#[test]
fn states_of_another_form_are_taken_for_what_they_say() {
    let plain = update().of(2, 0, [after(1, 0).text("b")]).of(1, 0, [root().text("a")]).deletes(1, &[(0, 1)]);
    let odd = update().of(1, 0, [root().text("a")]).of(2, 0, [after(1, 0).text("b")]).deletes(1, &[(0, 1)]);
    let scattered = update()
        .of(2, 0, [after(1, 0).text("b")])
        .of(1, 0, [root().text(""), root().text("a")])
        .deletes(2, &[(0, 0)])
        .deletes(1, &[(0, 1), (0, 1)]);
    for state in [&plain, &odd, &scattered] {
        let loaded = StructStore::load(state.bytes()).unwrap();
        assert_eq!(encoded(&loaded), plain.bytes());
        assert_eq!(loaded.state_vector(), seen(&[(2, 1), (1, 1)]));
    }
    let deleted =
        StructStore::load(of(1, 0, [root().text("a"), tombstone(2), after(1, 2).deleted(1)])).unwrap();
    assert_eq!(deleted.delete_set(), deletes(1, &[(1, 3)])[1..], "what is deleted by its kind");
    assert!(!deleted.is_folded());
    let holed = of(1, 0, [root().text("a"), hole(2), root().text("d")]);
    assert_eq!(clock_of(&StructStore::load(holed).unwrap(), 1), 1, "nothing behind a hole");
    let late = of(1, 3, [root().text("a")]);
    assert!(StructStore::load(late).unwrap().is_empty());
    let early = deletes(1, &[(0, 1)]);
    assert_eq!(encoded(&StructStore::load(early).unwrap()), [0, 0][..]);
    assert!(StructStore::load(Bytes::from_static(&[1])).is_err());
}

#[test]
fn everything_as_slices_is_everything_in_one() {
    let long = "x".repeat(5_000);
    let mut store = StructStore::load(of(2, 0, [root().text(&long)])).unwrap();
    store.admit(&of(1, 0, [after(2, 7).text(&long)])).unwrap();
    store.admit(&of(2, 5_000, [root().map()])).unwrap();
    store.admit(&deletes(2, &[(3, 4)])).unwrap();
    let expected = update()
        .of(2, 0, [root().text(&long), root().map()])
        .of(1, 0, [after(2, 7).text(&long)])
        .deletes(2, &[(3, 4)])
        .bytes();
    let parts = store.encode();
    assert_eq!((parts.len(), parts.is_empty()), (expected.len(), false));
    assert_eq!(parts.concat(), expected);
    store.fold();
    assert_eq!((encoded(&store), store.is_folded()), (expected, true));
}

#[test]
fn a_difference_always_has_all_deletions() {
    let mut store = store(&[of(2, 0, [root().text("xy")]), of(1, 0, [root().text("ab")])]);
    store.admit(&update().deletes(2, &[(1, 1)]).deletes(1, &[(0, 1)]).bytes()).unwrap();
    for folded in [false, true] {
        if folded {
            store.fold();
        }
        let lacks = |clocks: &[(u64, u32)]| store.diff(&seen(clocks)).unwrap().concat();
        let all = update().deletes(2, &[(1, 1)]).deletes(1, &[(0, 1)]);
        assert_eq!(lacks(&[(2, 2), (1, 2)]), all.bytes());
        assert_eq!(lacks(&[(2, 9), (1, 2), (7, 5)]), all.bytes(), "whoever has more");
        let one = update().of(1, 1, [after(1, 0).text("b")]).deletes(2, &[(1, 1)]).deletes(1, &[(0, 1)]);
        assert_eq!(lacks(&[(2, 2), (1, 1)]), one.bytes());
        assert_eq!(lacks(&[]), encoded(&store));
        assert_eq!([&[0], &store.delete_set()[..]].concat(), all.bytes());
    }
    assert!(store.diff(&[5]).is_err());
}

#[test]
fn who_has_every_unit_lacks_nothing() {
    let store = store(&[of(2, 0, [root().text("xy")]), of(1, 0, [root().text("ab")])]);
    let lacks_nothing = |clocks: &[(u64, u32)]| store.lacks_nothing(&seen(clocks)).unwrap();
    assert!(lacks_nothing(&[(2, 2), (1, 2)]) && lacks_nothing(&[(1, 3), (9, 9), (2, 2)]));
    assert!(!lacks_nothing(&[(2, 2), (1, 1)]) && !lacks_nothing(&[(2, 2)]) && !lacks_nothing(&[]));
    assert!(!lacks_nothing(&[(2, 2), (2, 2)]), "a client twice is not two");
    assert!(StructStore::new().lacks_nothing(&seen(&[])).unwrap());
    assert!(store.lacks_nothing(&[7]).is_err());
}

#[test]
fn structs_of_a_large_base_are_found_by_their_units() {
    let structs =
        (0..3_000).map(|clock| if clock == 0 { root().map() } else { within(1, clock - 1).key("key").map() });
    let mut store = StructStore::load(of(1, 0, structs.take(1_500))).unwrap();
    store.fold();
    for clock in 0..1_500 {
        let found = store.find(ClientId::new(1), clock).unwrap();
        assert_eq!((found.clock.get(), found.length), (clock, 1));
    }
    assert!(store.find(ClientId::new(1), 1_500).is_none() && store.find(ClientId::new(2), 0).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_store_comes_back_from_its_bytes(choices in choices(60), cutouts in cutouts(20), gc in any::<bool>()) {
        let made = make(&choices);
        let mut store = StructStore::new();
        let left = admit_all(&mut store, &messages(&made, &cutouts));
        prop_assert_eq!(left.len(), 0);
        let gc = if gc { Gc::Collect } else { Gc::Keep };
        for stage in ["as it came", "folded", "compacted"] {
            let state = encoded(&store);
            let loaded = StructStore::load(state.clone()).unwrap();
            prop_assert_eq!(encoded(&loaded), state.clone(), "{}", stage);
            prop_assert_eq!(loaded.state_vector(), store.state_vector());
            prop_assert_eq!(loaded.delete_set(), store.delete_set());
            prop_assert!(loaded.holds(&whole(&made)).unwrap());
            if stage == "folded" { store.compact(gc) } else { store.fold() }
            if stage != "folded" { prop_assert_eq!(encoded(&store), state) }
        }
    }

    /// From every clock, also such that lie within structs or beyond what there is.
    #[test]
    fn a_difference_is_what_a_state_vector_lacks(
        choices in choices(60),
        deleted in proptest::collection::vec((any::<usize>(), 1..3_u32), 0..6),
        clocks in proptest::collection::vec(0..40_u32, 4),
        stage in 0..3_u8,
    ) {
        let made = make(&choices);
        let deleted: Vec<_> = deleted.iter().map(|(number, length)| {
            let of = &made[number % made.len()];
            (of.client, of.clocks.start, (*length).min(of.clocks.end - of.clocks.start))
        }).collect();
        let mut store = store(&[message(&made, &deleted).bytes()]);
        match stage {
            0 => {}
            1 => store.fold(),
            _ => store.compact(Gc::Collect),
        }
        let clocks: Vec<_> = (1..).zip(clocks).collect();
        let difference = units(&store.diff(&seen(&clocks)).unwrap().concat());
        let mut expected = units(&encoded(&store));
        expected.units.retain(|(client, clock), _| clocks.iter().all(|(of, from)| of != client || clock >= from));
        prop_assert_eq!(&difference.units, &expected.units);
        prop_assert_eq!(difference.deleted, expected.deleted);
    }
}
