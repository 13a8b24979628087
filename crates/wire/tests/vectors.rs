//! Recorded sessions of real clients and servers, and what the real lib0 makes of values.

#![allow(clippy::unwrap_used, reason = "the helpers of a test may fail it")]

use bytes::Bytes;
use ringleaf_wire::lib0::{self, Malformed, Reader};
use ringleaf_wire::scan::{self, ScanLimits};
use ringleaf_wire::{ClientMessage, ServerMessage, y_websocket};
use serde_json::Value;

fn read(file: &str) -> Value {
    let path = format!("{}/../../tests/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// The frames of a recorded session: their bytes, and what an independent decoder said about them.
fn frames(file: &str) -> Vec<(Vec<u8>, String)> {
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    let entries = read(file);
    let with_hex = entries.as_array().unwrap().iter().filter(|entry| entry["hex"].is_string());
    let of_dialect = with_hex.filter(|entry| entry["proto"] != "hocuspocus");
    of_dialect.map(|entry| (unhex(&text(entry, "hex")), text(entry, "note"))).collect()
}

fn scan_message(message: &ClientMessage) {
    let limits = ScanLimits::default();
    match message {
        ClientMessage::SyncRequest { state_vector } => drop(scan::state_vector(state_vector).unwrap()),
        ClientMessage::SyncAnswer { update } | ClientMessage::Update { update } => {
            scan::update(update, &mut ()).unwrap();
        }
        ClientMessage::Awareness { payload } => drop(scan::awareness(payload, &limits).unwrap()),
        ClientMessage::QueryAwareness => {}
    }
}

fn encode(message: ClientMessage) -> Bytes {
    y_websocket::encode(&match message {
        ClientMessage::SyncRequest { state_vector } => ServerMessage::SyncRequest { state_vector },
        ClientMessage::SyncAnswer { update } => ServerMessage::SyncAnswer { update },
        ClientMessage::Update { update } => ServerMessage::Update { update },
        ClientMessage::Awareness { payload } => ServerMessage::Awareness { payload },
        ClientMessage::QueryAwareness => return Bytes::from_static(&[3]),
    })
}

#[test]
fn every_recorded_frame_is_one_message_that_passes_the_scan_and_is_written_alike() {
    for line in ["v1", "v2", "v3.0", "v3.1", "v4-y14"] {
        let frames = frames(&format!("y-websocket-{line}.json"));
        assert!(frames.len() > 20, "{line}");
        for (frame, note) in frames {
            let mut messages = y_websocket::decode(frame.clone().into());
            let all: Vec<_> = messages.by_ref().collect();
            assert_eq!((all.len(), messages.ignored_bytes()), (1, 0), "{line}: {note}");
            scan_message(&all[0]);
            let word = match &all[0] {
                ClientMessage::SyncRequest { .. } => "Sync/SyncStep1",
                ClientMessage::SyncAnswer { .. } => "Sync/SyncStep2",
                ClientMessage::Update { .. } => "Sync/Update",
                ClientMessage::Awareness { .. } => "Awareness",
                ClientMessage::QueryAwareness => "QueryAwareness",
            };
            assert!(note.starts_with(word), "{line}: {note}");
            assert_eq!(encode(all[0].clone())[..], frame, "{line}: {note}");
        }
    }
}

#[test]
fn odd_frames_mean_what_they_can() {
    let expected = |note: &str| match note.split(" = ").next().unwrap() {
        "QueryAwareness" | "QueryAwareness with payload (y-sweet client style)" => 1,
        "SyncStep1 empty" | "empty awareness" | "awareness clock 0 of an unknown client" => 1,
        "awareness clock 1" | "awareness null of an unknown client" => 1,
        "two messages in one frame: SyncStep1 + Awareness" => 2,
        "empty update" | "update with a missing dependency" => 1,
        _ => 0,
    };
    let frames = frames("edge.json");
    assert!(frames.len() > 15);
    for (frame, note) in frames {
        let messages: Vec<_> = y_websocket::decode(frame.into()).collect();
        assert_eq!(messages.len(), expected(&note), "{note}");
        messages.iter().for_each(scan_message);
    }
}

#[test]
fn awareness_is_read_as_clients_write_it() {
    let mut count = 0;
    for (frame, note) in frames("y-websocket-v3.1.json") {
        let Some(listed) = note.strip_prefix("Awareness ") else { continue };
        let listed: Value = serde_json::from_str(listed).unwrap();
        let mut messages = y_websocket::decode(frame.into());
        let Some(ClientMessage::Awareness { payload }) = messages.next() else { panic!("{note}") };
        let entries: Vec<_> = scan::awareness(&payload, &ScanLimits::default()).unwrap().collect();
        assert_eq!(entries.len(), listed.as_array().unwrap().len());
        for (entry, listed) in entries.iter().zip(listed.as_array().unwrap()) {
            assert_eq!(entry.client.get(), listed["client"].as_u64().unwrap());
            assert_eq!(u64::from(entry.clock.get()), listed["clock"].as_u64().unwrap());
            assert_eq!(entry.state.unwrap_or("null"), listed["state"].as_str().unwrap());
            count += 1;
        }
    }
    assert!(count > 5);
}

#[test]
fn values_are_encoded_as_lib0_does() {
    for entry in read("lib0.json")["encode"].as_array().unwrap() {
        let bytes = unhex(entry["hex"].as_str().unwrap());
        let mut reader = Reader::new(&bytes);
        let value = &entry["value"];
        let mut written = Vec::new();
        match entry["type"].as_str().unwrap() {
            "varUint" => {
                let number = reader.var_uint().unwrap();
                assert_eq!(Some(number), value.as_u64());
                lib0::write_var_uint(&mut written, number);
                assert_eq!(written, bytes);
                assert_eq!(lib0::var_uint_length(number), bytes.len());
            }
            "varInt" => assert_eq!(reader.var_int().unwrap(), value.as_i64().unwrap_or(0)),
            "varString" => {
                let text = reader.var_string().unwrap();
                assert_eq!(Some(text), value.as_str());
                lib0::write_var_string(&mut written, text);
                assert_eq!(written, bytes);
            }
            "any" => drop(reader.skip_any().unwrap()),
            _ => drop(reader.var_bytes().unwrap()),
        }
        assert!(reader.is_empty(), "{entry}");
    }
}

#[test]
fn what_lib0_throws_at_is_malformed() {
    for entry in read("lib0.json")["decodeEdgeCases"].as_array().unwrap() {
        let bytes = unhex(entry["hex"].as_str().unwrap());
        let mut reader = Reader::new(&bytes);
        let case = entry["case"].as_str().unwrap();
        let outcome = match case.split(' ').next().unwrap() {
            "varUint" => reader.var_uint().map(drop),
            "varString" => reader.var_string().map(drop),
            _ => reader.skip_any().map(drop),
        };
        let throws = entry["lib0"].as_str().is_some_and(|text| text.starts_with("THROWS"));
        // One more than JavaScript can count to: lib0 takes it, and no client has it.
        let expected = throws || case == "varUint 2^53";
        assert_eq!(outcome.is_err(), expected, "{case}: {outcome:?}");
    }
    assert_eq!(Reader::new(&[0x73]).skip_any(), Err(Malformed::UnknownTag { tag: 0x73 }));
}
