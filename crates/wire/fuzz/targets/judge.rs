//! What the judge admits of a sequence of updates, the CRDT library takes without a panic, and nothing is pending.
//!
//! The input is a number of updates, each behind its length.
#![no_main]

use ringleaf_document::{Seen, Verdict};
use ringleaf_wire::lib0::Reader;
use yrs::updates::decoder::Decode;
use yrs::{Doc, ReadTxn, StateVector, Transact, Update};

fn admit(seen: &mut Seen, update: &[u8]) -> Vec<Vec<u8>> {
    let parts = match seen.judge(update) {
        Ok(Verdict::Complete) => vec![update.to_vec()],
        Ok(Verdict::Partial { complete, .. }) => complete.iter().map(|bytes| bytes.to_vec()).collect(),
        Ok(Verdict::NothingNew) | Err(_) => vec![],
    };
    for part in &parts {
        assert_eq!(seen.judge(part), Ok(Verdict::Complete), "what was cut is complete");
        seen.take_in(part).expect("what was admitted passes the scan");
    }
    match seen.judge(update) {
        Ok(Verdict::Complete) => panic!("an update is new a second time"),
        Ok(Verdict::Partial { complete, .. }) => assert!(complete.is_empty(), "it is new a second time"),
        Ok(Verdict::NothingNew) | Err(_) => {}
    }
    parts
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut reader = Reader::new(bytes);
    let mut seen = Seen::new();
    let doc = Doc::with_client_id(1 << 40);
    while let Ok(update) = reader.var_bytes() {
        for part in admit(&mut seen, update) {
            let decoded = Update::decode_v1(&part).expect("what is admitted decodes");
            // It has its own reasons to refuse, such as a parent that is not a shared type; then the document is over.
            if doc.transact_mut().apply_update(decoded).is_err() {
                return;
            }
            assert!(!doc.transact().has_missing_updates(), "something is pending");
        }
    }
    let state = doc.transact().encode_state_as_update_v1(&StateVector::default());
    let mut loaded = Seen::new();
    loaded.take_in(&state).expect("a state passes the scan");
    assert_eq!(loaded.state_vector(), seen.state_vector(), "a state holds what was seen");
});
