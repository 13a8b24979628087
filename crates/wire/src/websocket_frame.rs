//! The WebSocket's own framing, as far as a server writes it: unmasked, unfragmented, once for all who get the bytes.

use bytes::Bytes;

const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// Bytes of the longest header.
pub const HEADER_BYTES_MAX: usize = 10;

/// Bytes of the longest payload of a ping, a pong or a close.
pub const CONTROL_BYTES_MAX: usize = 125;

/// Frames each payload as one binary message, all in one buffer, in order.
pub fn server_binary<'a, I>(payloads: I) -> Bytes
where
    I: IntoIterator<Item = &'a [u8]>,
    I::IntoIter: Clone,
{
    let payloads = payloads.into_iter();
    let capacity = payloads.clone().map(|payload| header_length(payload.len()) + payload.len()).sum();
    let mut out = Vec::with_capacity(capacity);
    for payload in payloads {
        append_binary(&mut out, payload);
    }
    out.into()
}

/// Appends one binary message to a buffer.
pub fn append_binary(out: &mut Vec<u8>, payload: &[u8]) {
    append_binary_header(out, payload.len());
    out.extend_from_slice(payload);
}

/// Appends the header of a binary message. Its payload, of exactly this length, must follow.
pub fn append_binary_header(out: &mut Vec<u8>, payload_length: usize) {
    out.push(BINARY);
    match payload_length {
        0..=125 => out.push(payload_length as u8),
        126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(payload_length as u16).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(payload_length as u64).to_be_bytes());
        }
    }
}

/// Bytes that the header of a payload takes.
pub const fn header_length(payload_length: usize) -> usize {
    match payload_length {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => HEADER_BYTES_MAX,
    }
}

/// A ping without a payload.
pub const fn ping() -> Bytes {
    Bytes::from_static(&[PING, 0])
}

/// The pong to a ping. A payload that no ping can have is cut short.
pub fn pong(payload: &[u8]) -> Bytes {
    control(PONG, &payload[..payload.len().min(CONTROL_BYTES_MAX)])
}

/// A close with its code and a text, which is cut short if it is too long for a close.
pub fn close(code: u16, text: &str) -> Bytes {
    let mut payload = Vec::with_capacity(CONTROL_BYTES_MAX);
    payload.extend_from_slice(&code.to_be_bytes());
    payload.extend_from_slice(&text.as_bytes()[..text.floor_char_boundary(CONTROL_BYTES_MAX - 2)]);
    control(CLOSE, &payload)
}

fn control(kind: u8, payload: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(2 + payload.len());
    out.push(kind);
    out.push(payload.len() as u8);
    out.extend_from_slice(payload);
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_payload_is_one_binary_message() {
        assert_eq!(server_binary([&[1, 1, 0][..], &[9]])[..], [0x82, 3, 1, 1, 0, 0x82, 1, 9]);
        assert_eq!(server_binary(std::iter::empty())[..], []);
    }

    #[test]
    fn the_header_has_the_shortest_form() {
        for (length, header) in [
            (0, &[0x82, 0][..]),
            (125, &[0x82, 125]),
            (126, &[0x82, 126, 0, 126]),
            (65_535, &[0x82, 126, 0xff, 0xff]),
            (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut out = Vec::new();
            append_binary_header(&mut out, length);
            assert_eq!(out, header);
            assert_eq!(header_length(length), header.len());
            let framed = server_binary([&vec![0; length][..]]);
            assert_eq!(framed.len(), header.len() + length);
        }
    }

    #[test]
    fn a_control_frame_is_never_too_long() {
        assert_eq!(ping()[..], [0x89, 0]);
        assert_eq!(pong(&[1, 2])[..], [0x8a, 2, 1, 2]);
        assert_eq!(close(1012, "server restarts")[..4], [0x88, 17, 0x03, 0xf4]);
        let long = close(1000, &"é".repeat(100));
        assert_eq!(long[1], 124, "cut between two characters");
        assert_eq!(long.len(), 126);
        assert_eq!(pong(&[0; 300]).len(), 127);
    }
}
