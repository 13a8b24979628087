//! The WebSocket's framing as far as a server reads it: from whatever bytes arrive to whole messages.
//!
//! It keeps nothing while no message is under way, which is what makes a hundred thousand idle sockets cheap, and a
//! message's bytes are copied once, into a buffer of its own size.

use bytes::Bytes;

/// Limit: how much is set aside for a message before its bytes are here. What a header claims costs nothing.
const RESERVED_BYTES_MAX: usize = 64 << 10;
const CONTROL_BYTES_MAX: u64 = 125;
const HEADER_BYTES_MAX: usize = 14;

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// One whole message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    Binary(Bytes),
    /// No client of ours sends text; it is not even kept. This many bytes.
    Text(usize),
    /// A part of a message has arrived, and another one follows.
    Fragment,
    Ping(Bytes),
    Pong,
    /// The peer closes, with this code if it gave one.
    Close(Option<u16>),
}

/// Why bytes are not the WebSocket protocol, or not for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a message is larger than {max} bytes")]
    TooLarge { max: usize },
    #[error("a frame is not masked")]
    NotMasked,
    #[error("a frame uses an extension that was not agreed upon")]
    ReservedBits,
    #[error("a frame is of the unknown kind {kind}")]
    UnknownKind { kind: u8 },
    #[error("a control frame is too long or fragmented")]
    BadControl,
    #[error("a fragment has no beginning, or a message begins inside another")]
    BadFragment,
    #[error("a close has no valid code")]
    BadClose,
}

/// Takes bytes as they come and gives messages when they are whole.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// Bytes of a header that is not whole yet.
    header: [u8; HEADER_BYTES_MAX],
    header_bytes: u8,
    /// The frame whose payload is being read.
    frame: Option<Frame>,
    /// The data message that is being put together.
    message: Option<Partial>,
    /// The payload of the control frame being read.
    control: Vec<u8>,
}

#[derive(Debug)]
struct Partial {
    kind: u8,
    /// What has arrived of it.
    length: usize,
    /// The same, unless it is text.
    bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    kind: u8,
    last: bool,
    left: u64,
    mask: [u8; 4],
}

impl Frames {
    /// Takes from `input` until a message or a fragment of one is whole (`Some`) or the input is used up (`None`).
    pub(crate) fn next(
        &mut self,
        input: &mut &[u8],
        message_bytes_max: usize,
    ) -> Result<Option<Message>, FrameError> {
        loop {
            let mut frame = match self.frame.take() {
                Some(frame) => frame,
                None => match self.read_header(input)? {
                    Some(frame) => {
                        self.begin(frame, message_bytes_max)?;
                        frame
                    }
                    None => return Ok(None),
                },
            };
            self.read_payload(&mut frame, input);
            if frame.left > 0 {
                self.frame = Some(frame);
                return Ok(None);
            }
            if let Some(message) = self.end(frame)? {
                return Ok(Some(message));
            }
        }
    }

    /// Bytes of the message that is being put together.
    pub(crate) fn held(&self) -> usize {
        self.message.as_ref().map_or(0, |message| message.bytes.len())
    }

    fn read_header(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, FrameError> {
        while let [first, rest @ ..] = *input {
            self.header[usize::from(self.header_bytes)] = *first;
            self.header_bytes += 1;
            *input = rest;
            if let Some(frame) = parse_header(&self.header[..usize::from(self.header_bytes)])? {
                self.header_bytes = 0;
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    /// Checks that the frame may come here, and makes room for what it brings.
    fn begin(&mut self, frame: Frame, max: usize) -> Result<(), FrameError> {
        if frame.kind >= CLOSE {
            self.control = Vec::with_capacity(frame.left as usize);
            return Ok(());
        }
        match (frame.kind, &self.message) {
            (CONTINUATION, Some(_)) => {}
            (CONTINUATION, None) | (_, Some(_)) => return Err(FrameError::BadFragment),
            (kind, None) => self.message = Some(Partial { kind, length: 0, bytes: Vec::new() }),
        }
        let Some(message) = &mut self.message else { return Ok(()) };
        let room = max.saturating_sub(message.length);
        if frame.left > room as u64 {
            return Err(FrameError::TooLarge { max });
        }
        let reserve = (frame.left as usize).min(RESERVED_BYTES_MAX);
        match (message.kind, frame.kind) {
            (TEXT, _) => {}
            // Exactly so much for each of a million fragments would be a million copies of all that came before.
            (_, CONTINUATION) => message.bytes.reserve(reserve),
            (_, _) => message.bytes.reserve_exact(reserve),
        }
        Ok(())
    }

    fn read_payload(&mut self, frame: &mut Frame, input: &mut &[u8]) {
        let take = frame.left.min(input.len() as u64) as usize;
        let (now, rest) = input.split_at(take);
        *input = rest;
        let mask = frame.mask;
        frame.mask.rotate_left(take % 4);
        frame.left -= take as u64;
        let into = match &mut self.message {
            Some(message) if frame.kind < CLOSE => {
                message.length += take;
                if message.kind == TEXT {
                    return;
                }
                &mut message.bytes
            }
            _ => &mut self.control,
        };
        if into.capacity() - into.len() < take {
            // Grow by doubling, but never beyond what this frame brings.
            let left = take + frame.left as usize;
            into.reserve_exact(left.min(into.len().max(take)));
        }
        let from = into.len();
        into.extend_from_slice(now);
        unmask(&mut into[from..], mask);
    }

    /// The frame is whole.
    fn end(&mut self, frame: Frame) -> Result<Option<Message>, FrameError> {
        if frame.kind >= CLOSE {
            let payload = std::mem::take(&mut self.control);
            return Ok(Some(match frame.kind {
                PING => Message::Ping(payload.into()),
                PONG => Message::Pong,
                _ => Message::Close(close_code(&payload)?),
            }));
        }
        if !frame.last {
            return Ok(Some(Message::Fragment));
        }
        Ok(self.message.take().map(|message| match message.kind {
            BINARY => Message::Binary(message.bytes.into()),
            _ => Message::Text(message.length),
        }))
    }
}

/// The frame that a header announces; `None`: it is not whole yet.
fn parse_header(bytes: &[u8]) -> Result<Option<Frame>, FrameError> {
    let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
    if first & 0x70 != 0 {
        return Err(FrameError::ReservedBits);
    }
    if second & 0x80 == 0 {
        return Err(FrameError::NotMasked);
    }
    let (kind, last) = (first & 0x0f, first & 0x80 != 0);
    if !matches!(kind, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG) {
        return Err(FrameError::UnknownKind { kind });
    }
    let (left, mask) = match (second & 0x7f, rest) {
        (126, [a, b, mask @ ..]) => (u64::from(u16::from_be_bytes([*a, *b])), mask),
        (127, [a, b, c, d, e, f, g, h, mask @ ..]) => {
            (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), mask)
        }
        (126 | 127, _) => return Ok(None),
        (short, mask) => (u64::from(short), mask),
    };
    if kind >= CLOSE && (!last || left > CONTROL_BYTES_MAX) {
        return Err(FrameError::BadControl);
    }
    Ok(mask.try_into().ok().map(|mask| Frame { kind, last, left, mask }))
}

fn close_code(payload: &[u8]) -> Result<Option<u16>, FrameError> {
    match payload {
        [] => Ok(None),
        [high, low, text @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            let valid = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
            (valid && std::str::from_utf8(text).is_ok()).then_some(Some(code)).ok_or(FrameError::BadClose)
        }
        [_] => Err(FrameError::BadClose),
    }
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let wide = u64::from(u32::from_ne_bytes(mask));
    let wide = (wide << 32 | wide).to_ne_bytes();
    let mut chunks = payload.chunks_exact_mut(8);
    for chunk in &mut chunks {
        for (byte, mask) in chunk.iter_mut().zip(wide) {
            *byte ^= mask;
        }
    }
    for (byte, mask) in chunks.into_remainder().iter_mut().zip(wide) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;
    use tokio_tungstenite::tungstenite;
    use tungstenite::protocol::frame::{
        Frame as TheirFrame,
        coding::{Data, OpCode},
    };

    use super::*;

    const MAX: usize = 1 << 20;

    fn masked(kind: u8, last: bool, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![kind | if last { 0x80 } else { 0 }];
        match payload.len() {
            length @ 0..=125 => frame.push(0x80 | length as u8),
            length @ 126..=0xffff => {
                frame.push(0x80 | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            length => {
                frame.push(0x80 | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        let mask = [0x12, 0x34, 0x56, 0x78];
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    fn read(bytes: &[u8], piece: usize) -> (Vec<Message>, Option<FrameError>) {
        let mut frames = Frames::default();
        let mut messages = Vec::new();
        for mut input in bytes.chunks(piece) {
            loop {
                match frames.next(&mut input, MAX) {
                    Ok(Some(Message::Fragment)) => {}
                    Ok(Some(message)) => messages.push(message),
                    Ok(None) => break,
                    Err(error) => return (messages, Some(error)),
                }
            }
        }
        (messages, None)
    }

    #[test]
    fn a_message_may_arrive_byte_by_byte() {
        for length in [0, 1, 7, 125, 126, 300, 70_000] {
            let payload: Vec<u8> = (0..length).map(|i| i as u8).collect();
            let bytes = masked(BINARY, true, &payload);
            for piece in [1, 3, 1_000, usize::MAX] {
                assert_eq!(
                    read(&bytes, piece).0,
                    [Message::Binary(payload.clone().into())],
                    "{length} {piece}"
                );
            }
        }
    }

    #[test]
    fn control_frames_come_between_fragments() {
        let bytes = [
            masked(BINARY, false, b"ab"),
            masked(PING, true, b"?"),
            masked(CONTINUATION, false, b"cd"),
            masked(PONG, true, b""),
            masked(CONTINUATION, true, b"e"),
            masked(TEXT, true, b"text"),
            masked(CLOSE, true, &1001_u16.to_be_bytes()),
        ]
        .concat();
        let expected = [
            Message::Ping(Bytes::from_static(b"?")),
            Message::Pong,
            Message::Binary(Bytes::from_static(b"abcde")),
            Message::Text(4),
            Message::Close(Some(1001)),
        ];
        assert_eq!(read(&bytes, 1), (expected.to_vec(), None));
        assert_eq!(read(&bytes, usize::MAX), (expected.to_vec(), None));
    }

    #[test]
    fn a_message_of_many_fragments_is_not_copied_for_each() {
        let mut frames = Frames::default();
        let mut capacities = std::collections::BTreeSet::new();
        for number in 0..100_000 {
            let fragment = masked(if number == 0 { BINARY } else { CONTINUATION }, false, &[7]);
            assert_eq!(frames.next(&mut &fragment[..], MAX), Ok(Some(Message::Fragment)));
            capacities.insert(frames.message.as_ref().unwrap().bytes.capacity());
        }
        assert_eq!(frames.held(), 100_000);
        assert!(capacities.len() < 30, "moved {} times", capacities.len());
    }

    #[test]
    fn text_is_not_kept_but_is_as_long_as_any_message_may_be() {
        let mut frames = Frames::default();
        let text = masked(TEXT, false, &[0xff; 600_000]);
        assert_eq!(frames.next(&mut &text[..], MAX), Ok(Some(Message::Fragment)));
        assert_eq!(frames.held(), 0);
        let more = masked(CONTINUATION, true, &[0xff; 600_000]);
        assert_eq!(frames.next(&mut &more[..], MAX), Err(FrameError::TooLarge { max: MAX }));
    }

    #[test]
    fn what_breaks_the_protocol_is_named() {
        for (bytes, error) in [
            (vec![0x82, 0x01, 0], FrameError::NotMasked),
            (vec![0xc2, 0x81], FrameError::ReservedBits),
            (vec![0x83, 0x81], FrameError::UnknownKind { kind: 3 }),
            (masked(PING, false, b""), FrameError::BadControl),
            (masked(PING, true, &[0; 126]), FrameError::BadControl),
            (masked(CONTINUATION, true, b""), FrameError::BadFragment),
            ([masked(BINARY, false, b""), masked(BINARY, true, b"")].concat(), FrameError::BadFragment),
            (masked(CLOSE, true, &[3]), FrameError::BadClose),
            (masked(CLOSE, true, &1005_u16.to_be_bytes()), FrameError::BadClose),
        ] {
            assert_eq!(read(&bytes, 1).1, Some(error), "{bytes:?}");
        }
    }

    #[test]
    fn a_message_is_too_large_as_soon_as_it_says_so() {
        let too_large = Some(FrameError::TooLarge { max: MAX });
        assert_eq!(read(&masked(BINARY, true, &vec![0; MAX + 1])[..14], 14).1, too_large);
        let mut claims_all = vec![0x82, 0xff];
        claims_all.extend([0xff; 12]);
        assert_eq!(read(&claims_all, 14).1, too_large);
        let half = vec![0; MAX / 2 + 1];
        let fragments = [masked(BINARY, false, &half), masked(CONTINUATION, true, &half)].concat();
        assert_eq!(read(&fragments, 4_096).1, too_large);
        assert_eq!(read(&masked(BINARY, true, &vec![0; MAX]), 4_096).1, None);
    }

    #[test]
    fn what_a_header_claims_costs_nothing() {
        let mut frames = Frames::default();
        let header = masked(BINARY, true, &vec![0; MAX]);
        assert_eq!(frames.next(&mut &header[..20], MAX), Ok(None));
        let capacity = frames.message.as_ref().unwrap().bytes.capacity();
        assert!(capacity <= RESERVED_BYTES_MAX, "{capacity}");
    }

    /// What the library that everybody uses makes of the same bytes, up to its first error.
    fn theirs(bytes: &[u8]) -> (Vec<Message>, Option<tungstenite::Error>) {
        use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
        struct Stream(Cursor<Vec<u8>>);
        impl std::io::Read for Stream {
            fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
                match self.0.read(into)? {
                    0 => Err(std::io::ErrorKind::WouldBlock.into()),
                    read => Ok(read),
                }
            }
        }
        impl std::io::Write for Stream {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let config = WebSocketConfig::default().max_message_size(Some(MAX)).max_frame_size(Some(MAX));
        let mut context = WebSocketContext::new(Role::Server, Some(config));
        let mut stream = Stream(Cursor::new(bytes.to_vec()));
        let mut messages = Vec::new();
        loop {
            match context.read(&mut stream) {
                Ok(tungstenite::Message::Binary(bytes)) => messages.push(Message::Binary(bytes)),
                Ok(tungstenite::Message::Text(_)) => messages.push(Message::Text(0)),
                Ok(tungstenite::Message::Ping(bytes)) => messages.push(Message::Ping(bytes)),
                Ok(tungstenite::Message::Pong(_)) => messages.push(Message::Pong),
                Ok(tungstenite::Message::Close(_) | tungstenite::Message::Frame(_)) => {
                    return (messages, None);
                }
                Err(tungstenite::Error::Io(_)) => return (messages, None),
                Err(error) => return (messages, Some(error)),
            }
        }
    }

    fn any_frame() -> impl Strategy<Value = Vec<u8>> {
        let payload = prop_oneof![
            4 => proptest::collection::vec(any::<u8>(), 0..40),
            1 => proptest::collection::vec(any::<u8>(), 120..300),
        ];
        let kind = prop_oneof![Just(CONTINUATION), Just(BINARY), Just(PING), Just(PONG), Just(BINARY)];
        (kind, any::<bool>(), payload).prop_map(|(kind, last, payload)| masked(kind, last, &payload))
    }

    proptest! {
        #[test]
        fn it_reads_what_the_library_reads(
            frames in proptest::collection::vec(any_frame(), 1..12),
            piece in 1_usize..50,
            flip in proptest::option::weighted(0.3, (any::<proptest::sample::Index>(), 0_u8..8)),
        ) {
            let mut bytes = frames.concat();
            if let Some((at, bit)) = flip {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
            }
            let (ours, error) = read(&bytes, piece);
            let (theirs, their_error) = theirs(&bytes);
            let not_utf8 = matches!(their_error, Some(tungstenite::Error::Utf8(_)));
            if their_error.is_some() {
                prop_assert!(error.is_some() || ours.len() >= theirs.len());
            }
            prop_assert_eq!(&ours[..theirs.len().min(ours.len())], &theirs[..theirs.len().min(ours.len())]);
            // The library minds what is no UTF-8; here a text is ignored, whatever it says.
            if error.is_none()
                && !not_utf8
                && !ours.iter().any(|m| matches!(m, Message::Close(_) | Message::Text(_)))
            {
                prop_assert_eq!(ours, theirs);
            }
        }

        #[test]
        fn it_reads_what_the_library_writes(payload in proptest::collection::vec(any::<u8>(), 0..70_000), mask: [u8; 4]) {
            let mut frame = TheirFrame::message(payload.clone(), OpCode::Data(Data::Binary), true);
            frame.header_mut().mask = Some(mask);
            let mut bytes = Vec::new();
            frame.format(&mut bytes).unwrap();
            prop_assert_eq!(read(&bytes, 1_000).0, [Message::Binary(payload.into())]);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), piece in 1_usize..50) {
            read(&bytes, piece);
        }
    }
}
