//! Updates that yrs has made: what receivers see is what they saw without a server.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::Index;
use yrs::types::Attrs;
use yrs::types::ToJson;
use yrs::updates::decoder::Decode;
use yrs::updates::encoder::Encode;
use yrs::{
    Any, Array, ArrayPrelim, Doc, GetString, Map, MapPrelim, OffsetKind, Options, ReadTxn, StateVector, Text,
    Transact, Update, WriteTxn, XmlElementPrelim, XmlFragment,
};

use super::*;

#[derive(Debug, Clone)]
struct Edit {
    editor: usize,
    kind: u8,
    at: u32,
    length: u32,
    /// Afterwards this editor hears of everything so far.
    hears: Option<usize>,
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let edit = (0..3_usize, 0..12_u8, 0..40_u32, 1..5_u32, proptest::option::weighted(0.4, 0..3_usize))
        .prop_map(|(editor, kind, at, length, hears)| Edit { editor, kind, at, length, hears });
    proptest::collection::vec(edit, 1..60)
}

fn doc(client: u64) -> Doc {
    let options = Options::with_client_id(yrs::ClientID::new(client));
    let doc = Doc::with_options(Options { offset_kind: OffsetKind::Utf16, ..options });
    doc.get_or_insert_text("t");
    doc.get_or_insert_array("a");
    doc.get_or_insert_map("m");
    doc.get_or_insert_xml_fragment("x");
    doc
}

fn edit(doc: &Doc, edit: &Edit) -> Bytes {
    let mut transaction = doc.transact_mut();
    let t = transaction.get_or_insert_text("t");
    let a = transaction.get_or_insert_array("a");
    let m = transaction.get_or_insert_map("m");
    let x = transaction.get_or_insert_xml_fragment("x");
    let within = |end: u32| edit.at % (end + 1);
    let part = |end: u32| {
        let from = within(end.saturating_sub(1));
        (from, edit.length.min(end - from))
    };
    let key = ["k", "l", "m"][edit.at as usize % 3];
    match edit.kind {
        0..3 => t.insert(&mut transaction, 0, &"abcd"[..edit.length as usize]),
        3 => {
            let end = t.len(&transaction);
            t.insert(&mut transaction, end, "é∑");
        }
        4 => {
            let (from, length) = part(t.len(&transaction));
            t.remove_range(&mut transaction, from, length);
        }
        5 => {
            let (from, length) = part(t.len(&transaction));
            let bold = Attrs::from([(Arc::from("b"), Any::from(edit.at.is_multiple_of(2)))]);
            t.format(&mut transaction, from, length, bold);
        }
        6 => {
            let at = within(a.len(&transaction));
            a.insert_range(&mut transaction, at, (0..edit.length).map(i64::from));
        }
        7 => {
            let (from, length) = part(a.len(&transaction));
            a.remove_range(&mut transaction, from, length);
        }
        8 => {
            m.insert(&mut transaction, key, i64::from(edit.at));
        }
        9 => {
            let inner = ArrayPrelim::from([1, 2, 3]);
            m.insert(&mut transaction, key, MapPrelim::from([("inner", inner)]));
        }
        10 => {
            m.remove(&mut transaction, key);
        }
        _ => {
            let end = x.len(&transaction);
            if edit.at.is_multiple_of(3) && end > 0 {
                x.remove_range(&mut transaction, edit.at % end, 1);
            } else {
                let element = x.insert(&mut transaction, within(end), XmlElementPrelim::empty("p"));
                element.insert(&mut transaction, 0, XmlElementPrelim::empty("b"));
            }
        }
    }
    transaction.encode_update_v1().into()
}

fn apply(doc: &Doc, update: &[u8]) {
    let mut transaction = doc.transact_mut();
    transaction.apply_update(Update::decode_v1(update).unwrap()).unwrap();
    assert!(!transaction.has_missing_updates(), "a receiver was sent something with a hole");
}

/// What an application would show.
fn view(doc: &Doc) -> (String, Any, String, StateVector) {
    let transaction = doc.transact();
    let xml = transaction.get_xml_fragment("x").unwrap().get_string(&transaction);
    let text = transaction.get_text("t").unwrap().get_string(&transaction);
    let m = transaction.get_map("m").unwrap().to_json(&transaction);
    let a = transaction.get_array("a").unwrap().to_json(&transaction);
    (text, Any::from(vec![a, m]), xml, transaction.state_vector())
}

/// Edits them, and answers what each edit sent.
fn play(docs: &[Doc], edits: &[Edit]) -> Vec<Bytes> {
    let mut sent: Vec<Bytes> = Vec::new();
    for one in edits {
        sent.push(edit(&docs[one.editor], one));
        if let Some(hears) = one.hears {
            sent.iter().for_each(|update| apply_any(&docs[hears], update));
        }
    }
    sent
}

/// As they come, with holes that close later.
fn apply_any(doc: &Doc, update: &[u8]) {
    doc.transact_mut().apply_update(Update::decode_v1(update).unwrap()).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn receivers_see_what_editors_made(
        edits in edits(),
        order in proptest::collection::vec(any::<Index>(), 60),
        rest_at in proptest::collection::vec(0..6_u8, 60),
    ) {
        let docs: Vec<Doc> = (1..=3).map(doc).collect();
        let mut messages = play(&docs, &edits);
        let reference = doc(100);
        messages.iter().for_each(|update| apply_any(&reference, update));
        let (early, later) = (doc(101), doc(102));
        messages[..messages.len() / 2].iter().for_each(|update| apply_any(&early, update));

        for (number, index) in order.iter().enumerate().take(messages.len()) {
            let other = index.index(messages.len());
            messages.swap(number, other);
        }
        let mut store = StructStore::new();
        let mut waiting = Vec::new();
        for (message, rest) in messages.iter().chain(&messages).zip(rest_at.iter().cycle()) {
            waiting = admit_all(&mut store, waiting.iter().chain([message]));
            match rest {
                0 => store.compact(Gc::Collect),
                1 => store.compact(Gc::Keep),
                2 => store = StructStore::load(encoded(&store)).unwrap(),
                // Somebody joins while it goes on.
                3 => {
                    let seen = later.transact().state_vector().encode_v1();
                    apply(&later, &store.diff(&seen).unwrap().concat());
                }
                _ => {}
            }
        }
        prop_assert_eq!(waiting.len(), 0);
        let expected = view(&reference);
        for stage in ["as it came", "compacted"] {
            let fresh = doc(103);
            apply(&fresh, &encoded(&store));
            prop_assert_eq!(view(&fresh), expected.clone(), "{}", stage);
            for partial in [&early, &later] {
                let seen = partial.transact().state_vector().encode_v1();
                apply(partial, &store.diff(&seen).unwrap().concat());
                prop_assert_eq!(view(partial), expected.clone(), "{}", stage);
            }
            store.compact(Gc::Collect);
        }
    }
}
