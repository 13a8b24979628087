//! From the words of a script to bytes, and from bytes to what a script says.

use std::time::Duration;

use bytes::Bytes;
use ringleaf_document::Input;
use ringleaf_types::{
    Body, ClientId, Clock, Epoch, Incarnation, Presence, Record, RouterId, SessionId, Subject, Writer,
};
use ringleaf_wire::lib0::{write_var_string, write_var_uint};
use ringleaf_wire::scan::{self, ScanLimits};
use yrs::updates::decoder::Decode;
use yrs::{Doc, GetString, ReadTxn, StateVector, Text, Transact, Update};

/// Of the session of router 1 that has this number: its client, and how old that is.
pub(super) fn inherit(rest: &str) -> Input {
    let mut words = rest.split(' ').map(|word| word.parse().unwrap());
    let (session, client, age): (u64, u64, u64) =
        (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
    let presence = Presence {
        client: ClientId::new(client),
        clock: Clock::new(3),
        state: Some(Bytes::from_static(b"{}")),
        subject: Subject::anyone(),
        raised_by: Some((RouterId::new(1), SessionId::new(session))),
        age: Duration::from_secs(age),
    };
    Input::Inherit { presence: vec![presence] }
}

/// `TICKET TEXT`: client 77 has typed it. `TICKET early TEXT`: the last letter of it. `TICKET raw 00 00`: these bytes.
pub(super) fn import(rest: &str) -> Input {
    let (ticket, text) = rest.split_once(' ').unwrap();
    let update = match text.split_once(' ') {
        Some(("early", text)) => typed_last(77, text),
        Some(("raw", hex)) => bytes(hex),
        _ if text == "rubbish" => Bytes::from_static(&[9, 9]),
        _ => typed(77, text),
    };
    Input::Import { ticket: ticket.parse().unwrap(), update }
}

/// A record of another node: `EPOCH TEXT`, where the text may be `deletion` or nothing.
pub(super) fn foreign(what: &str) -> Record {
    let (epoch, text) = what.split_once(' ').unwrap_or((what, ""));
    let epoch = Epoch::new(epoch.parse().unwrap());
    let body = match text {
        "deletion" => Body::Deletion,
        "" => Body::Updates(Vec::new()),
        text => Body::Updates(vec![typed(88, text)]),
    };
    let writer = Writer { node: "b".parse().unwrap(), incarnation: Incarnation::new(9), nonce: 5 };
    Record { epoch, writer, body }
}

/// One update of a client that types a text at once.
pub(super) fn typed(client: u64, what: &str) -> Bytes {
    let doc = Doc::with_client_id(client);
    let root = doc.get_or_insert_text("t");
    root.push(&mut doc.transact_mut(), what);
    doc.transact().encode_state_as_update_v1(&StateVector::default()).into()
}

/// The last letter of what a client typed one by one, without those before.
pub(super) fn typed_last(client: u64, what: &str) -> Bytes {
    let doc = Doc::with_client_id(client);
    let root = doc.get_or_insert_text("t");
    let mut last = Bytes::new();
    for letter in what.chars() {
        let mut transaction = doc.transact_mut();
        root.push(&mut transaction, &letter.to_string());
        last = transaction.encode_update_v1().into();
    }
    last
}

pub(super) fn bytes(hex: &str) -> Bytes {
    hex.split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

/// `CLIENT CLOCK STATE`, the state without blanks.
pub(super) fn payload(entry: &str) -> Bytes {
    let mut parts = entry.splitn(3, ' ');
    let mut number = || parts.next().unwrap().parse::<u64>();
    let (client, clock) = (number().unwrap(), number().unwrap());
    let mut payload = vec![1];
    write_var_uint(&mut payload, client);
    write_var_uint(&mut payload, clock);
    write_var_string(&mut payload, parts.next().unwrap());
    payload.into()
}

pub(super) fn presence(payload: &[u8]) -> String {
    let entries = scan::awareness(payload, &ScanLimits::default()).unwrap();
    let entries: Vec<String> = entries
        .map(|entry| format!("{}@{} {}", entry.client, entry.clock, entry.state.unwrap_or("null")))
        .collect();
    if entries.is_empty() { "nobody".to_owned() } else { entries.join(", ") }
}

pub(super) fn body(body: &Body) -> String {
    match body {
        Body::Updates(updates) => format!("{} updates", updates.len()),
        Body::Deletion => "deletion".to_owned(),
        Body::Undeletion => "undeletion".to_owned(),
    }
}

pub(super) fn content(update: &[u8]) -> String {
    if update[0] == 0 { "no structs".to_owned() } else { format!("{:?}", text_of(update)) }
}

pub(super) fn text(doc: &Doc) -> String {
    let root = doc.get_or_insert_text("t");
    let transaction = doc.transact();
    root.get_string(&transaction)
}

/// The text after an update, if that can be applied to nothing; else its inserted pieces are told by their size.
pub(super) fn text_of(update: &[u8]) -> String {
    let doc = Doc::new();
    let root = doc.get_or_insert_text("t");
    let mut transaction = doc.transact_mut();
    transaction.apply_update(Update::decode_v1(update).unwrap()).unwrap();
    drop(transaction);
    root.get_string(&doc.transact())
}
