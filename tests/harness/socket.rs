//! A WebSocket client made by hand: it can stop reading, send rubbish, and vanish.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::http::{self, HttpAnswer};

/// How the server refused to make a socket.
#[derive(Debug)]
pub struct Refused(pub HttpAnswer);

/// A request for a socket that is under way: many can be, before any answer is read.
#[derive(Debug)]
pub struct Asked(TcpStream);

impl Asked {
    /// # Panics
    /// When nobody listens there.
    pub fn for_socket(address: SocketAddr, path: &str) -> Self {
        let mut stream = TcpStream::connect(address).expect("the server listens");
        ask(&mut stream, path, "").expect("the server reads");
        Self(stream)
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// When the server answers with anything but 101.
    ///
    /// # Panics
    /// When the connection ends before there is an answer.
    pub fn answer(mut self) -> Result<Socket, Refused> {
        let head = answer(&mut self.0).expect("an answer to the handshake");
        Socket::answered(self.0, &head)
    }
}

/// What arrives on a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Message(Vec<u8>),
    /// The server said goodbye.
    Closed {
        code: u16,
        reason: String,
    },
    /// The connection ended without a goodbye.
    Ended,
    /// Nothing within the time.
    Silence,
}

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    read: VecDeque<u8>,
    /// A message that arrives in several frames.
    partial: Vec<u8>,
    pub pings: usize,
    pub answer_pings: bool,
}

impl Socket {
    /// Opens `ws://address/path`; the path goes out as it is.
    ///
    /// # Panics
    /// When nobody listens there, or the server refuses.
    pub fn open(address: SocketAddr, path: &str) -> Self {
        Self::try_open(address, path, "").unwrap_or_else(|refused| panic!("refused: {refused:?}"))
    }

    /// As [`Socket::open`], with more header lines (each ended by `\r\n`).
    ///
    /// # Errors
    /// When the server answers with anything but 101.
    ///
    /// # Panics
    /// When nobody listens there.
    pub fn try_open(address: SocketAddr, path: &str, headers: &str) -> Result<Self, Refused> {
        let stream = TcpStream::connect(address).expect("the server listens");
        Self::over(stream, path, headers)
    }

    /// As [`Socket::try_open`] over a connection that exists already.
    ///
    /// # Errors
    /// When the server answers with anything but 101.
    ///
    /// # Panics
    /// When the connection ends before there is an answer.
    pub fn over(mut stream: TcpStream, path: &str, headers: &str) -> Result<Self, Refused> {
        let head = handshake(&mut stream, path, headers)
            .unwrap_or_else(|error| panic!("{error} instead of an answer to the handshake of {path:?}"));
        Self::answered(stream, &head)
    }

    fn answered(stream: TcpStream, head: &[u8]) -> Result<Self, Refused> {
        if head.starts_with(b"HTTP/1.1 101") {
            return Ok(Self::from_stream(stream));
        }
        Err(Refused(http::parse(head).expect("an HTTP answer")))
    }

    /// As [`Socket::open`] at an address where perhaps nobody listens, or somebody who is about to end.
    pub fn reach(address: SocketAddr, path: &str) -> Option<Self> {
        let mut stream = TcpStream::connect(address).ok()?;
        let head = handshake(&mut stream, path, "").ok()?;
        head.starts_with(b"HTTP/1.1 101").then(|| Self::from_stream(stream))
    }

    fn from_stream(stream: TcpStream) -> Self {
        Self { stream, read: VecDeque::new(), partial: Vec::new(), pings: 0, answer_pings: true }
    }

    /// Sends one binary message.
    ///
    /// # Errors
    /// When the connection has ended.
    pub fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.send_frame(BINARY, message)
    }

    /// # Errors
    /// When the connection has ended.
    pub fn send_text(&mut self, message: &str) -> io::Result<()> {
        self.send_frame(TEXT, message.as_bytes())
    }

    /// # Errors
    /// When the connection has ended.
    pub fn send_close(&mut self, code: u16) -> io::Result<()> {
        self.send_frame(CLOSE, &code.to_be_bytes())
    }

    /// # Errors
    /// When the connection has ended.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    fn send_frame(&mut self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        let mut frame = vec![0x80 | opcode];
        // A client must mask; with this key the payload stays as it is.
        match payload.len() {
            length @ 0..126 => frame.push(0x80 | length as u8),
            length @ 126..=0xffff => {
                frame.push(0x80 | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            length => {
                frame.push(0x80 | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend_from_slice(payload);
        self.stream.write_all(&frame)
    }

    /// The next message or the end, whatever comes first within the time. Pings are answered.
    pub fn receive(&mut self, within: Duration) -> Event {
        let until = Instant::now() + within;
        loop {
            while let Some((last, opcode, payload)) = self.take_frame() {
                match opcode {
                    PING => {
                        self.pings += 1;
                        if self.answer_pings {
                            let _ = self.send_frame(PONG, &payload);
                        }
                    }
                    PONG => {}
                    CLOSE => return closed(&payload),
                    _ => {
                        self.partial.extend(payload);
                        if last {
                            return Event::Message(std::mem::take(&mut self.partial));
                        }
                    }
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Event::Silence;
            }
            let _ = self.stream.set_read_timeout(Some(left.max(Duration::from_millis(1))));
            let mut buffer = [0; 16 * 1024];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Event::Ended,
                Ok(count) => self.read.extend(&buffer[..count]),
                Err(error) if is_no_end(&error) => {}
                Err(_) => return Event::Ended,
            }
        }
    }

    fn take_frame(&mut self) -> Option<(bool, u8, Vec<u8>)> {
        let bytes = self.read.make_contiguous();
        let (&first, &second) = (bytes.first()?, bytes.get(1)?);
        let (start, length) = match second & 0x7f {
            126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
            127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
            short => (2, usize::from(short)),
        };
        let payload = bytes.get(start..start + length)?.to_vec();
        self.read.drain(..start + length);
        Some((first & 0x80 != 0, first & 0x0f, payload))
    }

    /// The stream itself, to stop reading or to end it without a goodbye.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Ends the connection without a goodbye.
    pub fn cut(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// Nothing within the time, or somebody looked at this process with a debugger.
fn is_no_end(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}

/// Asks for a socket and reads the answer.
fn handshake(stream: &mut TcpStream, path: &str, headers: &str) -> io::Result<Vec<u8>> {
    ask(stream, path, headers)?;
    answer(stream)
}

fn ask(stream: &mut TcpStream, path: &str, headers: &str) -> io::Result<()> {
    let address = stream.peer_addr()?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    );
    stream.set_nodelay(true)?;
    stream.write_all(request.as_bytes())
}

/// Of an answer that is a socket only the head is read, of a refusal everything.
fn answer(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    if !head.starts_with(b"HTTP/1.1 101") {
        let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
        let _ = stream.read_to_end(&mut head);
    }
    Ok(head)
}

fn closed(payload: &[u8]) -> Event {
    let code = payload.get(..2).map_or(1005, |code| u16::from_be_bytes([code[0], code[1]]));
    let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default()).into_owned();
    Event::Closed { code, reason }
}
