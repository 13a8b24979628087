//! The dialect of y-websocket: one protocol message is one binary WebSocket message, without an envelope.
//!
//! Stock clients read the first protocol message of a frame and drop the rest, so [`encode`] makes one frame of each.
//! The other way around a frame may hold several: [`decode`] yields them all.

use bytes::Bytes;

use crate::lib0::{Malformed, Reader, var_uint_length, write_var_uint};
use crate::{ClientMessage, ServerMessage};

const SYNC: u64 = 0;
const AWARENESS: u64 = 1;
const AUTH: u64 = 2;
const QUERY_AWARENESS: u64 = 3;

const SYNC_REQUEST: u64 = 0;
const SYNC_ANSWER: u64 = 1;
const UPDATE: u64 = 2;

/// An awareness message about nobody. Every client takes it for a sign of life, and none does anything else with it.
pub const KEEPALIVE: &[u8] = &[0x01, 0x01, 0x00];

/// The messages of one frame, in order.
///
/// What cannot be understood ends the iteration: nothing after it can be told apart. That is not always an error (some
/// clients append stray bytes), so it is only counted: see [`Messages::ignored_bytes`].
#[derive(Debug)]
pub struct Messages {
    rest: Bytes,
    frame_bytes: usize,
}

/// Splits a frame from an editor into its messages. One that is most of its frame shares the frame's memory; others are
/// copied, so that a few bytes never keep a large frame alive.
pub fn decode(frame: Bytes) -> Messages {
    Messages { frame_bytes: frame.len(), rest: frame }
}

impl Messages {
    /// How many bytes of the frame were not read yet.
    pub fn bytes_left(&self) -> usize {
        self.rest.len()
    }

    /// After the last message: how many bytes were left that are not a message.
    pub fn ignored_bytes(&self) -> usize {
        self.rest.len()
    }

    /// Reads one message; `None` is a message that means nothing to a server.
    fn read(&mut self) -> Result<Option<ClientMessage>, Malformed> {
        let rest = self.rest.clone();
        let mut reader = Reader::new(&rest);
        let message = match reader.var_uint()? {
            SYNC => {
                let kind = reader.var_uint()?;
                let payload = self.keep(reader.var_bytes()?);
                match kind {
                    SYNC_REQUEST => Some(ClientMessage::SyncRequest { state_vector: payload }),
                    SYNC_ANSWER => Some(ClientMessage::SyncAnswer { update: payload }),
                    UPDATE => Some(ClientMessage::Update { update: payload }),
                    _ => return Err(Malformed::UnknownTag { tag: kind as u8 }),
                }
            }
            AWARENESS => Some(ClientMessage::Awareness { payload: self.keep(reader.var_bytes()?) }),
            AUTH => {
                // Servers deny permissions, clients do not.
                reader.var_uint()?;
                reader.var_bytes()?;
                None
            }
            QUERY_AWARENESS => {
                // Whatever follows belongs to it: some clients send their own states along.
                reader.bytes(reader.remaining() as u64)?;
                Some(ClientMessage::QueryAwareness)
            }
            kind => return Err(Malformed::UnknownTag { tag: kind as u8 }),
        };
        self.rest = rest.slice(reader.position()..);
        Ok(message)
    }

    fn keep(&self, payload: &[u8]) -> Bytes {
        if payload.len() < self.frame_bytes / 2 {
            Bytes::copy_from_slice(payload)
        } else {
            self.rest.slice_ref(payload)
        }
    }
}

impl Iterator for Messages {
    type Item = ClientMessage;

    fn next(&mut self) -> Option<ClientMessage> {
        while !self.rest.is_empty() {
            match self.read() {
                Ok(Some(message)) => return Some(message),
                Ok(None) => {}
                Err(_) => return None,
            }
        }
        None
    }
}

/// The frame for a message, without the WebSocket's own header.
pub fn encode(message: &ServerMessage) -> Bytes {
    let (mut out, payload) = encode_head(message);
    out.reserve_exact(payload.len());
    out.extend_from_slice(payload);
    out.into()
}

/// The same in two parts, the second of which is the message's own payload, uncopied.
pub fn encode_head(message: &ServerMessage) -> (Vec<u8>, &Bytes) {
    let (prefix, payload): (&[u64], &Bytes) = match message {
        ServerMessage::SyncRequest { state_vector } => (&[SYNC, SYNC_REQUEST], state_vector),
        ServerMessage::SyncAnswer { update } => (&[SYNC, SYNC_ANSWER], update),
        ServerMessage::Update { update } => (&[SYNC, UPDATE], update),
        ServerMessage::Awareness { payload } => (&[AWARENESS], payload),
    };
    let mut head = Vec::with_capacity(prefix.len() + var_uint_length(payload.len() as u64));
    for &part in prefix {
        write_var_uint(&mut head, part);
    }
    write_var_uint(&mut head, payload.len() as u64);
    (head, payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode_all(frame: &'static [u8]) -> (Vec<ClientMessage>, usize) {
        let mut messages = decode(Bytes::from_static(frame));
        let all: Vec<_> = messages.by_ref().collect();
        (all, messages.ignored_bytes())
    }

    fn bytes(bytes: &'static [u8]) -> Bytes {
        Bytes::from_static(bytes)
    }

    #[test]
    fn one_frame_may_hold_several_messages() {
        let (messages, ignored) = decode_all(&[0, 0, 1, 0, 1, 6, 1, 7, 0, 2, 0x7b, 0x7d, 0, 2, 2, 0, 0]);
        assert_eq!(
            messages,
            [
                ClientMessage::SyncRequest { state_vector: bytes(&[0]) },
                ClientMessage::Awareness { payload: bytes(&[1, 7, 0, 2, 0x7b, 0x7d]) },
                ClientMessage::Update { update: bytes(&[0, 0]) },
            ]
        );
        assert_eq!(ignored, 0);
    }

    #[test]
    fn what_is_not_a_message_ends_the_frame_and_is_counted() {
        for (frame, ignored) in [
            (&[][..], 0),
            (&[0], 1),
            (&[0, 0], 2),
            (&[0, 9, 0], 3),
            (&[0x20], 1),
            (&[0x66, 1, 5], 3),
            (&[0, 2, 5, 1], 4),
            (&[0xff, 0xff], 2),
        ] {
            assert_eq!(decode_all(frame), (vec![], ignored), "{frame:?}");
        }
        let (messages, ignored) = decode_all(&[0, 1, 2, 0, 0, 0, 0]);
        assert_eq!(messages, [ClientMessage::SyncAnswer { update: bytes(&[0, 0]) }]);
        assert_eq!(ignored, 2, "a stray tail, as y-websocket 4 appends it");
    }

    #[test]
    fn a_small_message_does_not_keep_a_large_frame() {
        let shares = |frame: &Bytes, message: ClientMessage| {
            let ClientMessage::Update { update } = message else { panic!("{message:?}") };
            frame.as_ptr_range().contains(&update.as_ptr())
        };
        let update = |length| encode(&ServerMessage::Update { update: Bytes::from(vec![7; length]) });
        let alone = update(1_000);
        assert!(shares(&alone, decode(alone.clone()).next().unwrap()), "nothing is copied without need");
        for parts in [[&update(1_000)[..], &[0xff; 5_000]], [&update(5_000)[..], &update(1_000)[..]]] {
            let frame = Bytes::from(parts.concat());
            let small = decode(frame.clone())
                .find(|message| matches!(message, ClientMessage::Update { update } if update.len() == 1_000));
            assert!(!shares(&frame, small.unwrap()));
        }
    }

    #[test]
    fn a_query_takes_what_follows_for_its_own() {
        assert_eq!(decode_all(&[3]), (vec![ClientMessage::QueryAwareness], 0));
        assert_eq!(decode_all(&[3, 6, 1, 7, 0, 2, 0x7b, 0x7d]), (vec![ClientMessage::QueryAwareness], 0));
    }

    #[test]
    fn a_denial_from_a_client_means_nothing() {
        assert_eq!(decode_all(&[2, 0, 2, b'n', b'o']), (vec![], 0));
    }

    #[test]
    fn what_is_encoded_is_one_message() {
        let update = bytes(&[0, 0]);
        assert_eq!(encode(&ServerMessage::SyncRequest { state_vector: bytes(&[0]) })[..], [0, 0, 1, 0]);
        assert_eq!(encode(&ServerMessage::SyncAnswer { update: update.clone() })[..], [0, 1, 2, 0, 0]);
        assert_eq!(encode(&ServerMessage::Update { update })[..], [0, 2, 2, 0, 0]);
        assert_eq!(encode(&ServerMessage::Awareness { payload: bytes(&[0]) })[..], *KEEPALIVE);
        let large = Bytes::from(vec![7; 300]);
        let frame = encode(&ServerMessage::Update { update: large.clone() });
        assert_eq!(decode(frame).collect::<Vec<_>>(), [ClientMessage::Update { update: large }]);
    }
}
