//! `ringleaf top`: the cluster and its busiest documents, drawn again and again.

use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use serde_json::{Value, json};

use super::status::Look;
use super::text::{array, cell, count};
use crate::cli::{Format, Top};
use crate::client::{Ask, Client};
use crate::exit::Failure;
use crate::output::{self, Table};

/// The other screen of a terminal, without a cursor; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
const CLEAR: &str = "\x1b[H\x1b[2J";
const CTRL_C: u8 = 3;

pub(super) fn top(command: &Top) -> Result<(), Failure> {
    let client = Client::open(&command.server.target())?;
    let format = command.server.output.format;
    let (color, path) = (output::stdout_has_color(), format!("/api/v1/busiest?limit={}", command.limit));
    let look = || Ok::<_, Failure>((Look::take(&client)?, client.json(Ask::get(&path))?));
    // Nobody can see it change: one picture.
    if command.once || !std::io::stdout().is_terminal() || format == Format::Json {
        let (look, busiest) = look()?;
        let json = json!({ "status": look.json(), "busiest": busiest });
        return output::answer(format, &json, || picture(&look, &busiest, color));
    }
    let keys = Keys::listen();
    loop {
        let drawn = match look() {
            Ok((look, busiest)) => picture(&look, &busiest, color),
            // Whoever watches, waits for the server to come back.
            Err(failure) => format!("{failure}\n"),
        };
        if !output::print_to_reader(&format!("{CLEAR}{drawn}\nq quits\n"))? {
            return Ok(());
        }
        if keys.quit_within(Duration::from_secs(command.interval)) {
            return Ok(());
        }
    }
}

fn picture(look: &Look, busiest: &Value, color: bool) -> String {
    let mut table = Table::new(&["DOCUMENT", "NODE", "EDITORS", "MEMORY"]);
    for document in array(busiest, "documents") {
        let number = |name: &str| document[name].as_u64().unwrap_or_default();
        table.row([
            cell(document, "name"),
            cell(document, "node"),
            count(number("sessions")),
            output::size(number("bytes")),
        ]);
    }
    let mut text = look.summary(color);
    text.push_str("\nDocuments in memory with the most editors:\n\n");
    text.push_str(&table.render(color));
    for silent in array(busiest, "unanswered") {
        text.push_str(&format!("{} is left out: {}\n", cell(silent, "node"), cell(silent, "problem")));
    }
    text
}

/// Keys that are heard one by one, as long as this lives.
struct Keys {
    before: Option<Termios>,
}

impl Keys {
    fn listen() -> Self {
        let stdin = std::io::stdin();
        let before = tcgetattr(&stdin).ok();
        if let Some(mut modes) = before.clone() {
            // Ctrl-C is a key too: a signal would leave the terminal as it is.
            modes.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
            let _no_terminal = tcsetattr(&stdin, OptionalActions::Now, &modes);
        }
        let _nobody_listens = std::io::stdout().write_all(ENTER.as_bytes());
        Self { before }
    }

    /// Waits, and says whether somebody wants to leave.
    fn quit_within(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let stdin = std::io::stdin();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            if self.before.is_none() {
                std::thread::sleep(left);
                return false;
            }
            let mut fds = [PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN)];
            match poll(&mut fds, Some(&timeout)) {
                Ok(0) | Err(_) => return false,
                Ok(_) => {}
            }
            let mut keys = [0; 16];
            match rustix::io::read(&stdin, &mut keys) {
                Ok(0) | Err(_) => return true,
                Ok(read) if keys[..read].iter().any(|key| [b'q', b'Q', CTRL_C].contains(key)) => {
                    return true;
                }
                Ok(_) => {}
            }
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _nobody_listens = std::io::stdout().write_all(LEAVE.as_bytes());
        if let Some(before) = &self.before {
            let _no_terminal = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
    }
}
