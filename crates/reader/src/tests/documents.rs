//! Documents, read by a child.

use bytes::Bytes;
use serde_json::{Value, json};
use yrs::{Doc, ReadTxn, StateVector, Text, Transact, WriteTxn};

use super::{limits, reader};
use crate::{ReadError, Reader};

/// One struct of client 1 in the root type `t`: its content behind what says so.
fn one(content: u8, bytes: &[u8]) -> Bytes {
    [&[1, 1, 1, 0, content, 1, 1, b't'], bytes, &[0]].concat().into()
}

async fn json_of(reader: &Reader, state: Bytes) -> Result<Value, ReadError> {
    let answer = reader.turn().await?.json(state).await?;
    Ok(serde_json::from_slice(&answer).expect("it is JSON"))
}

#[tokio::test]
async fn a_child_reads_what_is_there() {
    let doc = Doc::new();
    let mut transaction = doc.transact_mut();
    transaction.get_or_insert_text("notes").push(&mut transaction, "hello 🙂");
    drop(transaction);
    let state = Bytes::from(doc.transact().encode_state_as_update_v1(&StateVector::default()));
    let reader = reader(&limits());
    assert_eq!(json_of(&reader, state.clone()).await.unwrap(), json!({ "notes": "hello 🙂" }));
    assert_eq!(reader.turn().await.unwrap().text(state.clone()).await.unwrap(), "hello 🙂");
    assert_eq!(reader.turn().await.unwrap().verify(state.clone()).await.unwrap(), state.len() as u64);
    assert_eq!(json_of(&reader, Bytes::from_static(&[0, 0])).await.unwrap(), json!({}));
}

/// The library's word for a value is the answer, and if it has none, why not.
#[tokio::test]
async fn values_are_what_the_library_makes_of_them() {
    let reader = reader(&limits());
    // A big integer in an array.
    let big = one(8, &[1, 0x7a, 0, 0, 0, 0, 0, 0, 0, 5]);
    assert_eq!(json_of(&reader, big).await.unwrap(), json!({ "t": [5] }));
    let embed = |json: &str| one(5, &[&[json.len() as u8], json.as_bytes()].concat());
    // Half of a pair of surrogates, in an embedded value.
    let half = embed("\"\\ud83d\"");
    let whole = embed("\"\\ud83d\\ude42\"");
    json_of(&reader, whole).await.unwrap();
    let unreadable =
        [half, Bytes::from_static(b"rubbish"), Bytes::from_static(&[1, 1, 1, 1, 0x84, 1, 0, 1, b'b', 0])];
    for state in unreadable {
        let error = json_of(&reader, state.clone()).await.unwrap_err();
        assert!(matches!(error, ReadError::Refused { .. }), "{state:?}: {error}");
        let error = reader.turn().await.unwrap().verify(state).await.unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("the CRDT library cannot read the document: it "), "{text}");
    }
}
