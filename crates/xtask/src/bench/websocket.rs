//! The client's half of WebSocket, by hand: a library would cost more than most of the servers that are measured.

pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

const MASK: [u8; 4] = [0x5a, 0x17, 0xc3, 0x88];

/// The request that asks for the upgrade.
pub(crate) fn request(port: u16, path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}

/// Where the frames begin, if the whole answer is there.
pub(crate) fn end_of_response(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// Writes one masked frame whose payload is `parts`, one behind the other.
pub(crate) fn write_frame(out: &mut Vec<u8>, opcode: u8, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    out.push(0x80 | opcode);
    match length {
        0..126 => out.push(0x80 | length as u8),
        126..65_536 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    let payload = out.len();
    for part in parts {
        out.extend_from_slice(part);
    }
    for (at, byte) in out[payload..].iter_mut().enumerate() {
        *byte ^= MASK[at & 3];
    }
}

/// The head of a frame from the server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Head {
    pub(crate) opcode: u8,
    /// How many bytes the head itself takes.
    pub(crate) bytes: usize,
    pub(crate) payload: usize,
}

/// Reads the head of a frame; `None` if it is not there yet. Servers do not mask and none of the peers fragments.
pub(crate) fn read_head(bytes: &[u8]) -> Option<Head> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (head, payload) = match second & 0x7f {
        126 => (4, u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)),
        short => (2, u64::from(short)),
    };
    Some(Head { opcode: first & 0x0f, bytes: head, payload: usize::try_from(payload).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_frame_says_how_long_it_is() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![7; length];
            let mut frame = Vec::new();
            write_frame(&mut frame, BINARY, &[&payload[..length / 2], &payload[length / 2..]]);
            let head = read_head(&frame).unwrap();
            assert_eq!((head.opcode, head.payload), (BINARY, length));
            assert_eq!(frame.len(), head.bytes + MASK.len() + length);
        }
    }

    #[test]
    fn a_cut_head_is_not_read() {
        assert_eq!(read_head(&[0x82]), None);
        assert_eq!(read_head(&[0x82, 126, 1]), None);
        assert_eq!(read_head(&[0x82, 127, 0, 0, 0, 0, 0, 0, 1]), None);
    }
}
