//! How deeply shared types may lie within each other.

use ringleaf_wire::Refusal;
use ringleaf_wire::scan::{Harm, TYPE_NESTING_MAX};

use super::units::units;
use super::write::{after, deletes, of, root, update, within};
use super::*;

const MAX: u32 = TYPE_NESTING_MAX;

fn too_deep(client: u64) -> Option<Refusal> {
    Some(Refusal::Harmful { client: ClientId::new(client), harm: Harm::TypesTooDeep })
}

/// Types of client 1, the first of which lies in the document, and each other one in that before it.
fn nested(from: u32, count: u32) -> Bytes {
    of(
        1,
        from,
        (from..from + count).map(|clock| if clock == 0 { root().map() } else { within(1, clock - 1).map() }),
    )
}

#[test]
fn two_thousand_levels_are_taken_and_no_more() {
    let mut store = StructStore::new();
    let message = nested(0, MAX + 500);
    let with_others = {
        let count = MAX + 500;
        let types =
            (0..count).map(|clock| if clock == 0 { root().map() } else { within(1, clock - 1).map() });
        update().of(2, 0, [root().text("well")]).of(1, 0, types).bytes()
    };
    let admission = store.admit(&with_others).unwrap();
    assert_eq!(admission.barred, too_deep(1));
    let news = units(&admission.news.clone().unwrap());
    assert_eq!(news.units.len() as u32, 4 + MAX + 1, "what is refused is not handed on");
    assert_eq!((clock_of(&store, 1), clock_of(&store, 2)), (MAX + 1, 4), "the rest is taken");
    assert_eq!(admission.remainder, None, "nobody waits for what is refused for good");
    assert!(admission.news.unwrap().len() < with_others.len(), "nobody gets it either");
    assert_eq!(store.admit(&message).unwrap().barred, too_deep(1), "again");
    assert_eq!(clock_of(&store, 1), MAX + 1);
}

#[test]
fn it_does_not_matter_in_how_many_messages_they_come() {
    for step in [1, 7, 1_999, 2_000] {
        let mut store = StructStore::new();
        let mut barred = None;
        while barred.is_none() {
            barred = store.admit(&nested(clock_of(&store, 1), step)).unwrap().barred;
            if step == 7 && clock_of(&store, 1).is_multiple_of(100) {
                store.compact(Gc::Collect);
            }
        }
        assert_eq!((barred, clock_of(&store, 1)), (too_deep(1), MAX + 1), "{step} at a time");
        let beside = of(2, 0, [within(1, MAX - 1).map(), within(1, 3).text("well")]);
        assert_eq!(store.admit(&beside).unwrap().barred, None);
        let deeper = of(3, 0, [within(1, MAX).text("x"), root().text("y")]);
        assert_eq!(store.admit(&deeper).unwrap().barred, too_deep(3));
        assert_eq!(clock_of(&store, 3), 0);
    }
}

/// A neighbor says where something lies as well as a parent.
#[test]
fn what_stands_beside_something_lies_as_deep() {
    let mut store = store(&[nested(0, MAX)]);
    let beside = of(2, 0, [after(1, MAX - 1).map(), within(2, 0).map(), within(2, 1).text("x")]);
    let admission = store.admit(&beside).unwrap();
    assert_eq!((admission.barred, clock_of(&store, 2)), (too_deep(2), 2));
}

#[test]
fn many_in_one_place_are_not_deep() {
    let mut store = store(&[of(1, 0, [root().map()])]);
    let children = |client| of(client, 0, (0..3_000).map(|_| within(1, 0).map()));
    for client in 2..6 {
        assert_eq!(store.admit(&children(client)).unwrap().barred, None);
    }
    let deeper = of(9, 0, [within(5, 2_999).map(), within(9, 0).text("x")]);
    assert_eq!(store.admit(&deeper).unwrap().barred, None);
}

#[test]
fn deleted_levels_do_not_count() {
    let mut store = store(&[nested(0, MAX + 1)]);
    assert_eq!(store.admit(&nested(MAX + 1, 1)).unwrap().barred, too_deep(1));
    store.admit(&deletes(1, &[(0, 1)])).unwrap();
    // Where things lie is looked at again when they are made compact.
    store.compact(Gc::Collect);
    assert_eq!(store.admit(&nested(MAX + 1, 1)).unwrap().barred, None, "nobody sees it");
    store.compact(Gc::Collect);
    assert_eq!(
        encoded(&store),
        update().of(1, 0, [root().deleted(1), write::tombstone(MAX + 1)]).deletes(1, &[(0, MAX + 2)]).bytes()
    );
    let again =
        of(2, 0, (0..=MAX).map(|clock| if clock == 0 { root().map() } else { within(2, clock - 1).map() }));
    assert_eq!(store.admit(&again).unwrap().barred, None);
}

/// What an earlier release took in stays readable, and what is added to it is measured.
#[test]
fn deeper_levels_that_were_stored_once_are_loaded() {
    let mut store = StructStore::load(nested(0, 3 * MAX)).unwrap();
    assert_eq!(clock_of(&store, 1), 3 * MAX);
    assert_eq!(store.admit(&of(2, 0, [within(1, 2 * MAX).text("x")])).unwrap().barred, too_deep(2));
    assert_eq!(store.admit(&of(3, 0, [within(1, MAX - 1).text("x")])).unwrap().barred, None);
    let mut replayed = StructStore::new();
    assert_eq!(replayed.admit_stored(&nested(0, 3 * MAX)).unwrap().barred, None);
    assert_eq!(clock_of(&replayed, 1), 3 * MAX);
}

/// What has to be looked at beside an update is known before.
#[test]
fn the_whole_is_only_looked_at_where_types_could_lie_too_deep() {
    let store = store(&[nested(0, 100)]);
    assert_eq!(store.looked_at_bytes(1_000), 0);
    assert_eq!(store.looked_at_bytes(20_000), store.encoded_bytes());
    let flat = super::store(&[of(1, 0, [root().text(&"x".repeat(100_000))])]);
    assert!(flat.looked_at_bytes(1 << 20) < flat.encoded_bytes() / 4, "there are no types in it");
    let mut deep = super::store(&[nested(0, MAX)]);
    deep.admit(&nested(MAX, 1)).unwrap();
    assert_eq!(deep.looked_at_bytes(20), deep.encoded_bytes());
}
