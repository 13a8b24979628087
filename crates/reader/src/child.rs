//! The child: reads requests from stdin and answers on stdout, until stdin ends.
//!
//! The main thread does nothing but listen. So it notices at once when the parent is gone, whatever the library is at, and
//! ends the process.

use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use crate::bounds::Bounds;
use crate::crdt::{Unreadable, guarded};
use crate::protocol::{self, GREETING, HEADER_BYTES, Kind, Outcome};
use crate::{verify, view};

/// One request: what is asked, by its byte, and of which state.
struct Request {
    kind: u8,
    state: Vec<u8>,
}

/// Makes an answer.
pub(crate) type Answering = fn(u8, &[u8]) -> Result<Vec<u8>, Unreadable>;

/// Is a reader process, until the parent closes stdin. To be called before anything else is started; the process ends after
/// it, whatever the thread that reads is at.
///
/// # Errors
///
/// The limits cannot be set, or what comes is no request.
pub fn run(bounds: &Bounds) -> io::Result<()> {
    run_with(*bounds, answer)
}

pub(crate) fn run_with(bounds: Bounds, answering: Answering) -> io::Result<()> {
    // Panics are answers; nobody reads stderr before the end, and a full pipe would stop the process.
    std::panic::set_hook(Box::new(|_| {}));
    // Order: before anything is read, and before the thread has a stack.
    bounds.enter()?;
    let (requests, queue) = sync_channel(1);
    let work = move || {
        // Nobody hears an answer any more: stdin ends, too, and with it the process.
        let _parent_is_gone = answer_all(&queue, &bounds, answering);
    };
    thread::Builder::new().name("reader".into()).stack_size(bounds.stack_bytes()).spawn(work)?;
    say(&[GREETING])?;
    let mut stdin = io::stdin().lock();
    while let Some(request) = next(&mut stdin, bounds.message_bytes_max)? {
        if requests.send(request).is_err() {
            break;
        }
    }
    Ok(())
}

fn answer_all(queue: &Receiver<Request>, bounds: &Bounds, answering: Answering) -> io::Result<()> {
    for Request { kind, state } in queue {
        bounds.renew_cpu()?;
        let answered = guarded(|| answering(kind, &state));
        drop(state);
        let (outcome, bytes) = match answered {
            Ok(bytes) if bytes.len() as u64 > bounds.message_bytes_max => (Outcome::TooLarge, Vec::new()),
            Ok(bytes) => (Outcome::Done, bytes),
            Err(unreadable) => (Outcome::Refused, unreadable.to_string().into_bytes()),
        };
        say(&[&protocol::header(outcome.byte(), bytes.len()), &bytes])?;
    }
    Ok(())
}

pub(crate) fn answer(kind: u8, state: &[u8]) -> Result<Vec<u8>, Unreadable> {
    match Kind::from_byte(kind) {
        Some(Kind::Json) => view::json(state).map(|value| value.to_string().into_bytes()),
        Some(Kind::Text) => view::text(state).map(String::into_bytes),
        Some(Kind::Verify) => verify::verify(state).map(|bytes| (bytes as u64).to_be_bytes().to_vec()),
        #[cfg(test)]
        Some(Kind::Test(_)) => unreachable!("no byte stands for it"),
        None => panic!("there is no request {kind}"),
    }
}

fn say(parts: &[&[u8]]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    for part in parts {
        stdout.write_all(part)?;
    }
    stdout.flush()
}

/// The next request. None: there are no more.
fn next(stdin: &mut impl Read, bytes_max: u64) -> io::Result<Option<Request>> {
    let mut header = [0; HEADER_BYTES];
    match stdin.read_exact(&mut header) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let Some((bytes, kind)) = protocol::read_header(header).filter(|(bytes, _)| *bytes <= bytes_max) else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "this is no request"));
    };
    let mut state = vec![0; bytes as usize];
    stdin.read_exact(&mut state)?;
    Ok(Some(Request { kind, state }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_whole_or_refused_before_it_takes_memory() {
        let mut bytes = protocol::header(1, 3).to_vec();
        bytes.extend(b"abc");
        let request = next(&mut bytes.as_slice(), 3).unwrap().unwrap();
        assert_eq!((request.kind, request.state), (1, b"abc".to_vec()));
        assert!(next(&mut bytes.as_slice(), 2).is_err(), "too large");
        assert!(next(&mut &bytes[..7], 3).is_err(), "cut off");
        assert!(next(&mut &[0; HEADER_BYTES][..], 3).is_err(), "it announces nothing");
        assert!(next(&mut &bytes[..0], 3).unwrap().is_none());
    }
}
