//! A terminal on which a picture is drawn again and again, and whose keys are heard one by one.

use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use super::screen::{Room, sort_of};
use crate::admin::Sort;
use crate::exit::Failure;
use crate::{output, signals};

/// The other screen, without a cursor, and lines that end at the edge; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
const CTRL_C: u8 = 3;
const ESCAPE: u8 = 0x1b;
/// So long the terminal may take to be as it was, when a signal asks for it.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);
/// Where nobody says how large it is.
const USUAL: Room = Room { columns: 80, rows: 24 };

/// What somebody pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Quit,
    Sort(Sort),
}

impl Key {
    /// One read. Escape comes alone; what begins with it and goes on is an arrow or another key without a meaning here.
    fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [] | [ESCAPE] => return Some(Self::Quit),
            [ESCAPE, ..] => return None,
            _ => {}
        }
        bytes.iter().find_map(|byte| match byte {
            b'q' | b'Q' | &CTRL_C => Some(Self::Quit),
            byte => sort_of(*byte).map(Self::Sort),
        })
    }
}

/// The terminal is as it was before when this is dropped.
pub(super) struct Terminal {
    before: Termios,
    asked_to_end: Arc<AtomicBool>,
    drawn: Vec<String>,
    room: Room,
}

impl Terminal {
    /// None: nobody watches, or nobody could press a key.
    pub(super) fn enter() -> Result<Option<Self>, Failure> {
        let stdin = std::io::stdin();
        let before = tcgetattr(&stdin).ok().filter(|_| std::io::stdout().is_terminal());
        let Some(before) = before else { return Ok(None) };
        // Order: before the terminal changes.
        let asked_to_end = signals::asked_to_end(LEAVE_TIMEOUT)?;
        let mut modes = before.clone();
        // Ctrl-C is a key too: a signal would leave the terminal as it is.
        modes
            .local_modes
            .remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG | LocalModes::IEXTEN);
        if tcsetattr(&stdin, OptionalActions::Now, &modes).is_err() {
            return Ok(None);
        }
        let _nobody_listens = std::io::stdout().write_all(ENTER.as_bytes());
        Ok(Some(Self { before, asked_to_end, drawn: Vec::new(), room: Room { columns: 0, rows: 0 } }))
    }

    /// How large it is now.
    pub(super) fn room(&self) -> Room {
        let size = tcgetwinsize(std::io::stdout()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
        size.map_or(USUAL, |size| Room { columns: size.ws_col.into(), rows: size.ws_row.into() })
    }

    /// Shows the lines, if they are not there yet. Answers whether anyone still sees them.
    pub(super) fn draw(&mut self, lines: Vec<String>, room: Room) -> Result<bool, Failure> {
        if lines == self.drawn && room == self.room {
            return Ok(true);
        }
        let text: Vec<String> = lines.iter().map(|line| format!("\x1b[2K{line}")).collect();
        (self.drawn, self.room) = (lines, room);
        output::print_to_reader(&format!("\x1b[H{}\x1b[J\x1b[H", text.join("\r\n")))
    }

    /// Waits for a key that means something, but not longer than that.
    pub(super) fn key_within(&self, time: Duration) -> Option<Key> {
        let stdin = std::io::stdin();
        let timeout = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() };
        let mut fds = [PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN)];
        let polled = poll(&mut fds, Some(&timeout));
        if self.asked_to_end.load(Ordering::Relaxed) {
            return Some(Key::Quit);
        }
        match polled {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
        let mut bytes = [0; 16];
        match rustix::io::read(&stdin, &mut bytes) {
            Ok(read) => Key::of(&bytes[..read]),
            Err(rustix::io::Errno::INTR) => None,
            // The terminal is gone.
            Err(_) => Some(Key::Quit),
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let mut stdout = std::io::stdout();
        let _nobody_listens = stdout.write_all(LEAVE.as_bytes()).and_then(|()| stdout.flush());
        let _no_terminal = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_quits_and_an_arrow_does_not() {
        for quits in [&b"q"[..], b"Q", b"\x03", b"\x1b", b"", b"xq"] {
            assert_eq!(Key::of(quits), Some(Key::Quit), "{quits:?}");
        }
        for nothing in [&b"\x1b[A"[..], b"\x1bOq", b"x", b"\r"] {
            assert_eq!(Key::of(nothing), None, "{nothing:?}");
        }
        assert_eq!(Key::of(b"u"), Some(Key::Sort(Sort::Updates)));
        assert_eq!(Key::of(b"M"), Some(Key::Sort(Sort::Size)));
    }
}
