//! What is taken of an update, what is left out, and what is handed on of it.

use ringleaf_wire::Refusal;
use ringleaf_wire::scan::Harm;

use super::units::units;
use super::write::{after, before, deletes, hole, of, root, tombstone, update, within};
use super::*;

#[test]
fn an_update_that_is_all_new_is_handed_on_as_it_came() {
    let mut store = StructStore::new();
    for bytes in [
        of(1, 0, [root().text("ab")]),
        of(1, 2, [after(1, 1).text("c")]),
        update().of(2, 0, [after(1, 0).text("x"), root().map()]).deletes(1, &[(1, 1)]).bytes(),
        deletes(1, &[(0, 1)]),
    ] {
        let admission = store.admit(&bytes).unwrap();
        assert_eq!(admission.news, Some(bytes.clone()));
        assert_eq!(admission.remainder, None);
        assert_eq!(store.admit(&bytes).unwrap(), Admission::default(), "a second time it brings nothing");
    }
}

#[test]
fn of_an_update_that_is_partly_known_the_rest_is_handed_on() {
    let mut store = store(&[of(1, 0, [root().text("ab")]), deletes(1, &[(0, 1)])]);
    let mixed = update()
        .of(2, 0, [root().text("x")])
        .of(1, 0, [root().text("ab"), after(1, 1).text("cd")])
        .deletes(1, &[(0, 2)])
        .bytes();
    let admission = store.admit(&mixed).unwrap();
    let rest = update().of(2, 0, [root().text("x")]).of(1, 2, [after(1, 1).text("cd")]);
    assert_eq!(admission.news, Some(rest.deletes(1, &[(0, 2)]).bytes()));
    assert_eq!(admission.grown, [2, 1].map(ClientId::new));
}

/// Stock clients send all deletions that they ever heard of.
#[test]
fn deletions_that_are_known_are_not_handed_on_again() {
    let ranges: Vec<(u32, u32)> = (0..20).map(|number| (number * 2, 1)).collect();
    let mut store = store(&[of(1, 0, [root().text(&"x".repeat(60))]), deletes(1, &ranges)]);
    let more = [ranges.as_slice(), &[(50, 1)]].concat();
    assert_eq!(store.admit(&deletes(1, &more)).unwrap().news, Some(deletes(1, &[(50, 1)])));
    assert_eq!(store.admit(&deletes(1, &more)).unwrap().news, None);
}

#[test]
fn nothing_is_taken_of_bytes_that_are_no_update() {
    let mut good = StructStore::new();
    let whole = update().of(2, 0, [root().text("x")]).of(1, 0, [root().text("a")]).deletes(1, &[(0, 1)]);
    let whole = whole.bytes();
    for length in 0..whole.len() {
        assert!(good.admit(&whole.slice(..length)).is_err(), "{length} bytes");
        assert!(good.admit(&[&whole[..], &[0]].concat().into()).is_err());
    }
    assert!(good.is_empty());
    assert_eq!(encoded(&good), [0, 0][..]);
    let twice = update().of(1, 0, [root().text("a")]).of(1, 1, [after(1, 0).text("b")]).bytes();
    assert_eq!(good.admit(&twice), Err(Refusal::ClientTwice { client: ClientId::new(1) }));
    let twice = update().deletes(1, &[(0, 1)]).deletes(1, &[(1, 1)]).bytes();
    assert_eq!(good.admit(&twice), Err(Refusal::ClientTwice { client: ClientId::new(1) }));
    assert!(good.admit(&of(1, 0, [tombstone(0)])).is_err());
    assert!(good.is_empty());
}

#[test]
fn clients_in_any_order_are_taken() {
    let odd = update()
        .of(1, 0, [after(3, 0).text("a")])
        .of(3, 0, [after(2, 0).text("c")])
        .of(2, 0, [root().text("b")])
        .deletes(1, &[(0, 1)])
        .deletes(3, &[(0, 1)])
        .bytes();
    let mut store = StructStore::new();
    assert_eq!(store.admit(&odd).unwrap().remainder, None);
    assert!(units(&encoded(&store)).says_the_same_as(&units(&odd)));
    assert_eq!(store.state_vector(), write::seen(&[(3, 1), (2, 1), (1, 1)]), "higher clients first");
}

#[test]
fn structs_without_units_are_dropped() {
    let mut store = StructStore::new();
    let nothing = root().text("");
    let admission = store.admit(&of(1, 0, [nothing.clone()])).unwrap();
    assert_eq!(admission, Admission::default());
    let between =
        of(1, 0, [nothing.clone(), root().text("a"), root().any(&[]), after(1, 0).text("b"), nothing]);
    store.admit(&between).unwrap();
    assert_eq!(encoded(&store), of(1, 0, [root().text("ab")]));
    assert_eq!(store.admit(&deletes(1, &[(0, 0), (1, 0)])).unwrap(), Admission::default());
    assert_eq!(store.admit(&deletes(1, &[(7, 0)])).unwrap(), Admission::default(), "of what will come, too");
}

#[test]
fn holes_are_never_taken() {
    let mut store = StructStore::new();
    let holed = of(1, 0, [root().text("a"), hole(2), after(1, 2).text("d")]);
    let admission = store.admit(&holed).unwrap();
    assert_eq!(admission.news, Some(of(1, 0, [root().text("a")])));
    assert_eq!(clock_of(&store, 1), 1);
    // Where it is known what lies there, they do not matter.
    let mut store = super::store(&[of(1, 0, [root().text("abc")])]);
    assert_eq!(store.admit(&holed).unwrap().remainder, None);
    assert_eq!(encoded(&store), of(1, 0, [root().text("abcd")]));
}

#[test]
fn what_waits_for_itself_or_in_a_circle_is_left() {
    let mut store = StructStore::new();
    let itself = of(1, 0, [after(1, 0).text("a")]);
    assert!(store.admit(&itself).unwrap().remainder.is_some());
    assert!(
        store.admit(&of(1, 0, [before(1, 5).text("a"), after(1, 0).text("b")])).unwrap().remainder.is_some()
    );
    let circle = update().of(2, 0, [after(1, 0).text("b")]).of(1, 0, [before(2, 0).text("a")]).bytes();
    let admission = store.admit(&circle).unwrap();
    assert_eq!((admission.news, store.is_empty()), (None, true));
    let beside = update().of(3, 0, [root().text("well")]).of(2, 0, [after(1, 0).text("b")]).of(
        1,
        0,
        [before(2, 0).text("a")],
    );
    assert_eq!(store.admit(&beside.bytes()).unwrap().news, Some(of(3, 0, [root().text("well")])));
}

/// Yjs makes a tombstone of it; others break on it.
#[test]
fn what_lies_in_something_that_is_no_shared_type_becomes_a_tombstone() {
    let mut store = store(&[of(1, 0, [root().text("ab"), root().map(), root().deleted(1), tombstone(1)])]);
    let child = |client, clock| of(client, 0, [within(1, clock).key("k").text("x")]);
    assert_eq!(
        store.admit(&child(2, 1)).unwrap().news,
        Some(update().of(2, 0, [tombstone(1)]).deletes(2, &[(0, 1)]).bytes())
    );
    for (client, clock) in [(3, 2), (4, 3), (5, 4)] {
        assert_eq!(
            store.admit(&child(client, clock)).unwrap().news,
            Some(child(client, clock)),
            "may be one"
        );
    }
}

#[test]
fn what_would_harm_editors_is_left_out_and_the_rest_goes_on() {
    let mut store = StructStore::new();
    let mixed = update()
        .of(3, 0, [after(1, 1).text("leans on it")])
        .of(2, 0, [root().text("well")])
        .of(1, 0, [root().text("a"), after(1, 0).weak_link(), after(1, 1).text("b")])
        .deletes(1, &[(0, 1), (2, 1)])
        .bytes();
    let admission = store.admit(&mixed).unwrap();
    let barred = Refusal::Harmful { client: ClientId::new(1), harm: Harm::WeakLink };
    assert_eq!(admission.barred, Some(barred));
    let news = update().of(2, 0, [root().text("well")]).of(1, 0, [root().text("a")]).deletes(1, &[(0, 1)]);
    assert_eq!(admission.news, Some(news.bytes()));
    let rest = admission.remainder.unwrap();
    assert_eq!(rest.update, of(3, 0, [after(1, 1).text("leans on it")]), "nothing of the client itself");
    // Nothing of it is handed on either, where nothing waits and nothing is cut.
    let harmful =
        |place: write::Place<'static>| update().of(8, 0, [root().text("x")]).of(7, 0, [place.weak_link()]);
    let mut store = StructStore::new();
    for update in [harmful(root()), harmful(root()).deletes(7, &[(0, 1)])] {
        let mut store = StructStore::new();
        let admission = store.admit(&update.bytes()).unwrap();
        assert_eq!((admission.news, admission.remainder), (Some(of(8, 0, [root().text("x")])), None));
    }
    let admission = store.admit(&of(7, 0, [root().weak_link()])).unwrap();
    assert_eq!((admission.news, store.is_empty()), (None, true));
    // What was stored once is taken by the rules of then.
    let mut stored = StructStore::new();
    assert_eq!(
        stored.admit_stored(&mixed).unwrap(),
        Admission {
            news: Some(mixed.clone()),
            grown: [3, 2, 1].map(ClientId::new).into(),
            ..Admission::default()
        }
    );
}

/// Others get what is admitted, and not what came with it.
#[test]
fn what_would_harm_editors_does_not_go_out_with_what_is_new_beside_it() {
    let link = of(1, 0, [root().text("a"), after(1, 0).weak_link()]);
    let admission = StructStore::new().admit(&link).unwrap();
    assert_eq!((admission.news, admission.remainder), (Some(of(1, 0, [root().text("a")])), None));
    let beside = update().of(2, 0, [root().text("well")]).of(1, 0, [root().weak_link()]).bytes();
    assert_eq!(StructStore::new().admit(&beside).unwrap().news, Some(of(2, 0, [root().text("well")])));
}

#[test]
fn whether_everything_is_there_is_answered_without_taking_anything() {
    let store = store(&[of(1, 0, [root().text("abc")]), deletes(1, &[(1, 1)])]);
    let holds = |update: &Bytes| store.holds(update).unwrap();
    assert!(holds(&of(1, 1, [after(1, 0).text("bc")])) && holds(&deletes(1, &[(1, 1), (7, 0)])));
    assert!(holds(&of(1, 0, [hole(90)])));
    assert!(!holds(&of(1, 1, [after(1, 0).text("bcd")])) && !holds(&of(2, 0, [root().text("x")])));
    assert!(!holds(&deletes(1, &[(0, 2)])) && !holds(&deletes(2, &[(0, 1)])));
}
