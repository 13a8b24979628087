//! What the load says to a server, and what it understands of the answers.

use super::yjs::{Reader, write_bytes, write_var};

/// The protocol that a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    YWebsocket,
    Hocuspocus,
}

const SYNC: u64 = 0;
const AWARENESS: u64 = 1;
const SYNC_STATUS: u64 = 8;

/// A message from the server.
#[derive(Debug, PartialEq)]
pub(crate) enum Message<'a> {
    /// It asks for what we have.
    SyncStep1,
    /// All that we lacked.
    SyncStep2(&'a [u8]),
    Update(&'a [u8]),
    Awareness(&'a [u8]),
    /// A message of ours was taken in (Hocuspocus).
    Acknowledged,
    Other,
}

impl Dialect {
    /// What stands in front of every message about `document`.
    pub(crate) fn prefix(self, document: &str) -> Vec<u8> {
        let mut prefix = Vec::new();
        if self == Self::Hocuspocus {
            write_bytes(&mut prefix, document.as_bytes());
        }
        prefix
    }

    /// The messages that open a document, without their prefix.
    pub(crate) fn opening(self) -> Vec<Vec<u8>> {
        let sync_step_1 = vec![0, 0, 1, 0];
        match self {
            Self::YWebsocket => vec![sync_step_1],
            Self::Hocuspocus => {
                let mut auth = vec![2, 0];
                write_bytes(&mut auth, b"");
                write_bytes(&mut auth, b"4.8.0");
                vec![auth, sync_step_1]
            }
        }
    }

    /// Reads one frame, of which only the beginning may be there: its kind is known all the same.
    pub(crate) fn read(self, frame: &[u8]) -> Option<Message<'_>> {
        let mut reader = Reader::new(frame);
        if self == Self::Hocuspocus {
            reader.bytes()?;
        }
        Some(match reader.var()? {
            SYNC => {
                let kind = reader.byte()?;
                let bytes = reader.bytes().unwrap_or_default();
                match kind {
                    0 => Message::SyncStep1,
                    1 => Message::SyncStep2(bytes),
                    _ => Message::Update(bytes),
                }
            }
            AWARENESS => Message::Awareness(reader.bytes().unwrap_or_default()),
            SYNC_STATUS => Message::Acknowledged,
            _ => Message::Other,
        })
    }
}

/// The answer to a server's SyncStep1 by a client that has nothing.
pub(crate) const NOTHING: [u8; 5] = [0, 1, 2, 0, 0];

/// A message that brings an update.
pub(crate) fn update_message(update: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(update.len() + 8);
    write_var(&mut message, SYNC);
    message.push(2);
    write_bytes(&mut message, update);
    message
}

/// A message that brings awareness.
pub(crate) fn awareness_message(payload: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(payload.len() + 4);
    write_var(&mut message, AWARENESS);
    write_bytes(&mut message, payload);
    message
}
