//! The judge in front of the CRDT library: what it admits of random sessions, shuffled, repeated and partly missing,
//! never leaves anything pending, and in the end everything is there.

#![allow(clippy::unwrap_used, reason = "the helpers of a test may fail it")]

use std::sync::{Arc, Mutex};

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use ringleaf_document::{Seen, Verdict};
use yrs::updates::decoder::Decode;
use yrs::updates::encoder::Encode;
use yrs::{
    Any, Array, ArrayPrelim, Doc, GetString, Map, MapPrelim, ReadTxn, StateVector, Text, TextPrelim,
    Transact, Update, WriteTxn, XmlElementPrelim, XmlFragment, XmlTextPrelim,
};

/// An editor with its replica, and the updates that it has emitted.
struct Editor {
    doc: Doc,
    emitted: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Editor {
    fn new(client: u64) -> Self {
        let doc = Doc::with_client_id(client);
        let emitted = Arc::new(Mutex::new(Vec::new()));
        let sink = emitted.clone();
        doc.observe_update_v1("sent", move |_, event| sink.lock().unwrap().push(event.update.clone()))
            .unwrap();
        Self { doc, emitted }
    }

    /// Makes one random change and answers the update that a client would send.
    fn edit(&self, random: &mut StdRng) -> Vec<Vec<u8>> {
        self.emitted.lock().unwrap().clear();
        {
            let mut txn = self.doc.transact_mut();
            match random.random_range(0..12) {
                0..4 => {
                    let text = txn.get_or_insert_text("text");
                    let at = random.random_range(0..=text.len(&txn));
                    // Only at the boundaries of characters: the offsets of this library are in bytes.
                    let at = floor_char_boundary(&text.get_string(&txn), at);
                    text.insert(&mut txn, at, ["a", "bc", "dé", "😀"][random.random_range(0..4)]);
                }
                4..6 => {
                    let text = txn.get_or_insert_text("text");
                    let string = text.get_string(&txn);
                    let from = floor_char_boundary(&string, random.random_range(0..=text.len(&txn)));
                    let to = floor_char_boundary(&string, (from + 4).min(string.len() as u32));
                    text.remove_range(&mut txn, from, to.saturating_sub(from));
                }
                6 => {
                    let map = txn.get_or_insert_map("map");
                    let key = ["x", "y"][random.random_range(0..2)];
                    map.insert(&mut txn, key, random.random_range(0..100_i64));
                }
                7 => {
                    let map = txn.get_or_insert_map("map");
                    let nested = map.insert(&mut txn, "nested", MapPrelim::default());
                    nested.insert(&mut txn, "deep", MapPrelim::from([("v", Any::Null)]));
                }
                8 => {
                    let array = txn.get_or_insert_array("array");
                    let at = random.random_range(0..=array.len(&txn));
                    array.insert_range(&mut txn, at, [1_i64, 2, 3]);
                    array.insert(&mut txn, at, TextPrelim::new("in an array"));
                }
                9 => {
                    let array = txn.get_or_insert_array("array");
                    let length = array.len(&txn);
                    if length > 2 {
                        array.remove_range(&mut txn, random.random_range(0..length - 1), 2);
                    }
                    array.push_back(&mut txn, ArrayPrelim::from([1, 2]));
                }
                10 => {
                    let xml = txn.get_or_insert_xml_fragment("xml");
                    let element = xml.push_back(&mut txn, XmlElementPrelim::empty("p"));
                    element.push_back(&mut txn, XmlTextPrelim::new("words"));
                }
                _ => {
                    let xml = txn.get_or_insert_xml_fragment("xml");
                    if xml.len(&txn) > 1 {
                        xml.remove_range(&mut txn, 0, 1);
                    }
                }
            }
        }
        std::mem::take(&mut *self.emitted.lock().unwrap())
    }

    fn hear(&self, other: &Self) {
        let vector = self.doc.transact().state_vector();
        let update = other.doc.transact().encode_state_as_update_v1(&vector);
        self.doc.transact_mut().apply_update(Update::decode_v1(&update).unwrap()).unwrap();
    }

    /// What the editor would answer to a sync request.
    fn answer(&self, state_vector: &[u8]) -> Vec<u8> {
        let vector = StateVector::decode_v1(state_vector).unwrap();
        self.doc.transact().encode_state_as_update_v1(&vector)
    }
}

fn floor_char_boundary(text: &str, at: u32) -> u32 {
    text.floor_char_boundary(at as usize) as u32
}

/// A server with a replica that is built of what the judge admits.
struct Server {
    seen: Seen,
    doc: Doc,
}

impl Server {
    fn new() -> Self {
        Self { seen: Seen::new(), doc: Doc::with_client_id(999) }
    }

    /// Takes what is complete of an update, and answers how much is not.
    fn take(&mut self, update: &[u8]) -> u64 {
        let verdict = self.seen.judge(update).unwrap();
        let (admitted, left) = match verdict {
            Verdict::NothingNew => (vec![], 0),
            Verdict::Complete => (vec![update.to_vec()], 0),
            Verdict::Partial { complete, left } => {
                (complete.iter().map(|bytes| bytes.to_vec()).collect(), left)
            }
        };
        for bytes in admitted {
            let update = Update::decode_v1(&bytes).unwrap();
            self.doc.transact_mut().apply_update(update).unwrap();
            self.seen.take_in(&bytes).unwrap();
        }
        let txn = self.doc.transact();
        assert!(!txn.has_missing_updates(), "something is pending after {update:?}");
        // What was seen is what the library says, without holes.
        let mut clocks: Vec<_> =
            txn.state_vector().iter().map(|(client, &clock)| (client.get(), clock)).collect();
        clocks.sort_unstable();
        let seen: Vec<_> = self.seen.clocks().map(|(client, clock)| (client.get(), clock.get())).collect();
        assert_eq!(seen, clocks);
        left
    }
}

fn content(doc: &Doc) -> String {
    let (text, map, array, xml) = (
        doc.get_or_insert_text("text"),
        doc.get_or_insert_map("map"),
        doc.get_or_insert_array("array"),
        doc.get_or_insert_xml_fragment("xml"),
    );
    let txn = doc.transact();
    let map = yrs::types::ToJson::to_json(&map, &txn);
    let sorted = match map {
        Any::Map(entries) => {
            let mut entries: Vec<_> = entries.iter().map(|(key, value)| format!("{key}={value}")).collect();
            entries.sort();
            entries.join(",")
        }
        other => format!("{other}"),
    };
    let array = yrs::types::ToJson::to_json(&array, &txn);
    format!("{} | {sorted} | {array} | {}", text.get_string(&txn), xml.get_string(&txn))
}

/// Lets three editors work, now and then together; answers them with all updates that they have sent.
fn session(random: &mut StdRng, edits: usize) -> (Vec<Editor>, Vec<Vec<u8>>) {
    let editors: Vec<_> = [1, 7, (1 << 53) - 1].into_iter().map(Editor::new).collect();
    let mut sent = Vec::new();
    for _ in 0..edits {
        let editor = random.random_range(0..editors.len());
        sent.extend(editors[editor].edit(random));
        if random.random_bool(0.3) {
            let other = random.random_range(0..editors.len());
            if other != editor {
                editors[editor].hear(&editors[other]);
                editors[editor].emitted.lock().unwrap().clear();
            }
        }
    }
    (editors, sent)
}

#[test]
fn nothing_is_ever_pending_and_in_the_end_everything_is_there() {
    for seed in 0..150 {
        let mut random = StdRng::seed_from_u64(seed);
        let (editors, sent) = session(&mut random, 40);
        let mut server = Server::new();

        let mut arriving = sent.clone();
        for update in &sent {
            if random.random_bool(0.2) {
                arriving.push(update.clone());
            }
        }
        arriving.shuffle(&mut random);
        arriving.retain(|_| random.random_bool(0.8));
        for update in &arriving {
            server.take(update);
        }

        // Each editor is asked for what is missing, and answers with all that it has.
        let everybody = Editor::new(50);
        for editor in &editors {
            let left = server.take(&editor.answer(&server.seen.state_vector()));
            assert_eq!(left, 0, "seed {seed}: an editor without a hole answers completely");
            everybody.hear(editor);
        }
        assert_eq!(content(&server.doc), content(&everybody.doc), "seed {seed}");

        // What they repeat when they connect again brings nothing, once their deletions are known.
        for editor in &editors {
            editor.hear(&everybody);
            server.take(&editor.answer(&server.seen.state_vector()));
        }
        for editor in &editors {
            let again = editor.answer(&server.seen.state_vector());
            assert_eq!(server.seen.judge(&again), Ok(Verdict::NothingNew), "seed {seed}");
            assert_eq!(server.seen.judge(&editor.answer(&[0])), Ok(Verdict::NothingNew), "seed {seed}");
            let vector = editor.doc.transact().state_vector().encode_v1();
            assert_eq!(server.seen.lacks_nothing(&vector), Ok(true));
        }

        // A stored state says the same as the updates of which it was made.
        let state = server.doc.transact().encode_state_as_update_v1(&StateVector::default());
        let mut loaded = Seen::new();
        loaded.take_in(&state).unwrap();
        assert_eq!(loaded.state_vector(), server.seen.state_vector(), "seed {seed}");
        assert_eq!(loaded.delete_set(), server.seen.delete_set(), "seed {seed}");
    }
}

#[test]
fn an_update_with_a_hole_is_cut_to_what_the_library_takes_without_pending() {
    let mut cut_short = 0;
    for seed in 1_000..1_150 {
        let mut random = StdRng::seed_from_u64(seed);
        let (_, mut sent) = session(&mut random, 30);
        // An editor whose own store has holes: it sends merged updates of which some are missing.
        sent.retain(|_| random.random_bool(0.85));
        let merged = yrs::merge_updates_v1(&sent).unwrap();
        let mut server = Server::new();
        let left = server.take(&merged);
        cut_short += u64::from(left > 0);
        let vector = server.seen.state_vector();
        assert_eq!(server.take(&merged), left, "seed {seed}: the same rest stays behind every time");
        assert_eq!(server.seen.state_vector(), vector, "seed {seed}: it brings nothing the second time");
    }
    assert!(cut_short > 50, "only {cut_short} sessions had a hole");
}

#[test]
fn of_what_is_half_known_only_the_end_is_admitted_and_everything_is_there() {
    let mut overlaps = 0;
    for seed in 2_000..2_150 {
        let mut random = StdRng::seed_from_u64(seed);
        let editors: Vec<_> = [1, 7, 300].into_iter().map(Editor::new).collect();
        let mut server = Server::new();
        let mut asked_with = vec![server.seen.state_vector()];
        for _ in 0..60 {
            let editor = &editors[random.random_range(0..editors.len())];
            editor.edit(&mut random);
            if random.random_bool(0.2) {
                // It answers a question that was asked long ago: the server has heard of some of it meanwhile.
                let vector = asked_with.choose(&mut random).unwrap();
                let answer = editor.answer(vector);
                let verdict = server.seen.judge(&answer).unwrap();
                overlaps += u64::from(matches!(verdict, Verdict::Partial { left: 0, .. }));
                assert_eq!(server.take(&answer), 0, "seed {seed}");
                asked_with.push(server.seen.state_vector());
            }
            if random.random_bool(0.2) {
                let others = &editors[random.random_range(0..editors.len())];
                if !std::ptr::eq(editor, others) {
                    others.hear(editor);
                }
            }
        }
        let everybody = Editor::new(50);
        for editor in &editors {
            server.take(&editor.answer(&[0]));
            everybody.hear(editor);
        }
        assert_eq!(content(&server.doc), content(&everybody.doc), "seed {seed}");
    }
    assert!(overlaps > 100, "only {overlaps} answers overlapped with what was known");
}
