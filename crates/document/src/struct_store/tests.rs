//! Small cases by hand.

use bytes::Bytes;
use ringleaf_types::{ClientId, Clock};
use ringleaf_wire::Refusal;
use ringleaf_wire::scan::{self, Harm};

use super::StructStore;

fn clock(store: &StructStore, client: u64) -> u32 {
    store.clock_of(ClientId::new(client)).get()
}

/// Two letters, and a weak link behind them: yrs writes such, and stock clients break on it.
const LETTERS_AND_A_WEAK_LINK: &[u8] =
    &[1, 2, 9, 0, 4, 1, 1, b't', 2, b'a', b'b', 7, 1, 1, b't', 7, 0, 9, 0, 0];

#[test]
fn what_would_harm_editors_is_not_in_the_news() {
    let mut store = StructStore::new();
    let admission = store.admit(&Bytes::from_static(LETTERS_AND_A_WEAK_LINK)).unwrap();
    let client = ClientId::new(9);
    assert_eq!(admission.barred, Some(Refusal::Harmful { client, harm: Harm::WeakLink }));
    assert_eq!(clock(&store, 9), 2);
    let news = admission.news.unwrap();
    assert_eq!(news, store.encode().concat(), "the letters alone");
}

/// Merged updates have a struct that stands for what is missing between them, and some of that may be there already.
#[test]
fn a_hole_of_which_the_beginning_is_known_is_kept_as_a_hole() {
    let mut store = StructStore::new();
    store.admit(&Bytes::from_static(&[1, 1, 9, 0, 4, 1, 1, b't', 2, b'a', b'b', 0])).unwrap();
    // A hole of five units from the first one on, and a letter after it.
    let with_hole = Bytes::from_static(&[1, 2, 9, 0, 10, 5, 0x84, 9, 4, 1, b'f', 0]);
    let remainder = store.admit(&with_hole).unwrap().remainder.unwrap();
    assert_eq!(scan::update(&remainder.update, &mut ()), Ok(()));
    assert_eq!(remainder.waits.get(&ClientId::new(9)), Some(&Clock::new(4)));
    store.admit(&Bytes::from_static(&[1, 1, 9, 2, 0x84, 9, 1, 3, b'c', b'd', b'e', 0])).unwrap();
    assert!(store.admit(&remainder.update).unwrap().remainder.is_none());
    assert_eq!(clock(&store, 9), 6);
}
