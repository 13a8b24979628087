//! What lacks its ground is handed back, exactly.

use super::units::units;
use super::write::{after, before, deletes, hole, of, root, tombstone, update, within};
use super::*;

/// Admits, and answers what is left: its bytes, what it waits for, and how many pieces there are.
fn left(store: &mut StructStore, update: &Bytes) -> (Bytes, Vec<(u64, u32)>, u64) {
    let remainder = store.admit(update).unwrap().remainder.unwrap();
    (remainder.update, clocks(&remainder.waits), remainder.pieces)
}

#[test]
fn structs_that_come_early_wait_for_the_unit_before_them() {
    let mut store = store(&[of(1, 0, [root().text("a")])]);
    let early = of(1, 3, [after(1, 2).text("d"), root().map()]);
    assert_eq!(left(&mut store, &early), (early.clone(), vec![(1, 2)], 2));
    assert_eq!(clock_of(&store, 1), 1);
    store.admit(&of(1, 1, [after(1, 0).text("b")])).unwrap();
    assert_eq!(left(&mut store, &early), (early.clone(), vec![(1, 2)], 2), "still too early");
    store.admit(&of(1, 2, [after(1, 1).text("c")])).unwrap();
    let admission = store.admit(&early).unwrap();
    assert_eq!((admission.news, admission.remainder), (Some(early), None));
    assert_eq!(encoded(&store), of(1, 0, [root().text("abcd"), root().map()]));
}

#[test]
fn left_right_and_parent_are_waited_for() {
    for place in [after(9, 4), before(9, 4), after(1, 0).before(9, 4), within(9, 4)] {
        let mut store = store(&[of(1, 0, [root().text("a")])]);
        let early = of(1, 1, [place.text("b"), root().text("c")]);
        assert_eq!(left(&mut store, &early), (early.clone(), vec![(9, 4)], 2), "{place:?}");
        assert_eq!(encoded(&store), of(1, 0, [root().text("a")]));
        store.admit(&of(9, 0, [root().text("0123")])).unwrap();
        assert_eq!(clock_of(&store, 1), 1);
        assert!(store.admit(&early).unwrap().remainder.is_some(), "unit 4 is not there yet");
        store.admit(&of(9, 4, [root().map()])).unwrap();
        assert_eq!(store.admit(&early).unwrap().news, Some(early.clone()), "{place:?}");
    }
}

/// The way of nearly every update, which looks at less.
#[test]
fn one_struct_alone_waits_for_its_ground_too() {
    for place in [after(9, 4), before(9, 4), after(1, 0).before(9, 4), after(1, 4)] {
        let mut store = store(&[of(9, 0, [root().text("0123")]), of(1, 0, [root().text("a")])]);
        let early = of(1, 1, [place.text("b")]);
        assert_eq!(store.admit(&early).unwrap().news, None, "{place:?}");
        let early = of(1, 2, [after(1, 0).text("c")]);
        assert_eq!(left(&mut store, &early).1, [(1, 1)]);
        assert_eq!(
            store.admit(&deletes(9, &[(3, 2)])).unwrap().remainder.unwrap().update,
            deletes(9, &[(4, 1)])
        );
        assert_eq!((clock_of(&store, 1), clock_of(&store, 9)), (1, 4));
    }
}

#[test]
fn what_is_complete_is_taken_and_the_rest_is_left() {
    let mut store = StructStore::new();
    let mixed = update()
        .of(3, 0, [root().text("well"), after(2, 0).text("early")])
        .of(2, 0, [after(9, 0).text("early"), root().text("behind it")])
        .of(1, 0, [root().text("well")])
        .deletes(9, &[(0, 2)])
        .deletes(3, &[(0, 6)])
        .bytes();
    let admission = store.admit(&mixed).unwrap();
    let news = update().of(3, 0, [root().text("well")]).of(1, 0, [root().text("well")]).deletes(3, &[(0, 4)]);
    assert_eq!(admission.news, Some(news.bytes()));
    let rest = update()
        .of(3, 4, [after(2, 0).text("early")])
        .of(2, 0, [after(9, 0).text("early"), root().text("behind it")])
        .deletes(9, &[(0, 2)])
        .deletes(3, &[(4, 2)])
        .bytes();
    let remainder = admission.remainder.unwrap();
    assert_eq!((&remainder.update, remainder.pieces), (&rest, 5));
    assert_eq!(clocks(&remainder.waits), [(2, 0), (3, 4), (9, 0)]);
    store.admit(&of(9, 0, [root().text("xy")])).unwrap();
    let admission = store.admit(&rest).unwrap();
    assert_eq!((admission.news, admission.remainder), (Some(rest), None));
    let at_once = super::store(&[of(9, 0, [root().text("xy")]), mixed]);
    assert_eq!(encoded(&store), encoded(&at_once), "as if nothing had been missing");
}

#[test]
fn of_a_struct_whose_beginning_is_there_only_the_rest_is_left() {
    let mut store = store(&[of(1, 0, [root().text("ab")])]);
    // Its sender says of these units something else: that they stand beside what is not there.
    let other = of(1, 0, [before(9, 0).text("abcd")]);
    let rest = of(1, 2, [after(1, 1).before(9, 0).text("cd")]);
    assert_eq!(left(&mut store, &other), (rest, vec![(9, 0)], 1));
}

#[test]
fn holes_are_waited_for_to_their_end() {
    let mut store = StructStore::new();
    let holed = of(1, 0, [root().text("a"), hole(3), after(1, 3).text("e"), hole(2), after(1, 6).text("h")]);
    // The hole before what is kept need not be kept.
    let rest = of(1, 4, [after(1, 3).text("e"), hole(2), after(1, 6).text("h")]);
    assert_eq!(left(&mut store, &holed), (rest.clone(), vec![(1, 3)], 3));
    store.admit(&of(1, 1, [after(1, 0).text("bc")])).unwrap();
    assert_eq!(left(&mut store, &rest).0, rest);
    // Of a message, what stands behind a hole that is known in part.
    assert_eq!(left(&mut store, &holed), (rest.clone(), vec![(1, 3)], 3));
    store.admit(&of(1, 3, [after(1, 2).text("d")])).unwrap();
    let rest = left(&mut store, &rest).0;
    assert_eq!((clock_of(&store, 1), units(&rest).units.len()), (5, 1));
    store.admit(&of(1, 5, [after(1, 4).text("fg")])).unwrap();
    assert_eq!(store.admit(&rest).unwrap().remainder, None);
    assert_eq!(encoded(&store), of(1, 0, [root().text("abcdefgh")]));
}

#[test]
fn deletions_that_come_early_wait_and_are_not_lost() {
    let mut store = store(&[of(1, 0, [root().text("abc")])]);
    let early = update().deletes(2, &[(1, 2), (0, 1), (7, 1)]).deletes(1, &[(2, 3), (0, 1)]).bytes();
    let (rest, waits, pieces) = left(&mut store, &early);
    assert_eq!(rest, update().deletes(2, &[(0, 3), (7, 1)]).deletes(1, &[(3, 2)]).bytes());
    assert_eq!((waits, pieces), (vec![(1, 3), (2, 0)], 4));
    assert_eq!(store.delete_set(), deletes(1, &[(0, 1), (2, 1)])[1..], "those of what is there are taken");
    store.admit(&of(1, 3, [after(1, 2).text("d")])).unwrap();
    let (rest, waits, _) = left(&mut store, &rest);
    assert_eq!(rest, update().deletes(2, &[(0, 3), (7, 1)]).deletes(1, &[(4, 1)]).bytes());
    assert_eq!(waits, [(1, 4), (2, 0)]);
    store.admit(&of(2, 0, [root().text(&"x".repeat(8))])).unwrap();
    store.admit(&of(1, 4, [after(1, 3).text("e")])).unwrap();
    assert_eq!(store.admit(&rest).unwrap().remainder, None);
    assert_eq!(
        store.delete_set(),
        update().deletes(2, &[(0, 3), (7, 1)]).deletes(1, &[(0, 1), (2, 3)]).bytes()[1..]
    );
}

#[test]
fn a_remainder_says_nothing_new_before_its_ground() {
    let mut store = StructStore::new();
    let early = update().of(2, 1, [after(2, 0).text("b")]).of(1, 0, [tombstone(1), after(2, 1).text("x")]);
    let first = store.admit(&early.deletes(2, &[(1, 4)]).bytes()).unwrap();
    assert_eq!(first.news, Some(update().of(1, 0, [tombstone(1)]).deletes(1, &[(0, 1)]).bytes()));
    let rest = first.remainder.unwrap();
    let again = store.admit(&rest.update).unwrap();
    assert_eq!((again.news, again.remainder), (None, Some(rest)));
}

#[test]
fn a_chain_of_many_clients_that_comes_backwards_is_taken_in_one_go() {
    let clients = 1..2_000_u64;
    let chain = |clients: Box<dyn Iterator<Item = u64>>| {
        clients
            .fold(update(), |update, client| update.of(client, 0, [after(client - 1, 0).text("x")]))
            .bytes()
    };
    let mut store = StructStore::new();
    let (rest, waits, pieces) = left(&mut store, &chain(Box::new(clients.clone().rev())));
    assert_eq!((waits.first(), pieces), (Some(&(0, 0)), 1_999));
    store.admit(&of(0, 0, [root().text("x")])).unwrap();
    assert_eq!(store.admit(&rest).unwrap().remainder, None);
    assert_eq!(store.client_count(), 2_000);
    let forward = super::store(&[of(0, 0, [root().text("x")]), chain(Box::new(clients))]);
    assert_eq!(encoded(&store), encoded(&forward));
}
