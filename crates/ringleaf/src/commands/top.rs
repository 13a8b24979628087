//! `ringleaf top`: the cluster and its busiest documents, drawn again and again.
//!
//! ```text
//!  keys ──▶ this thread ──ask──▶ the one that looks ──▶ server
//!           draws      ◀─heard──
//! ```
//!
//! Who looks may wait for a node that does not answer; keys and the size of the terminal are heard all the same.

mod grid;
mod screen;
mod terminal;

use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;

use super::status::Look;
use crate::admin::Sort;
use crate::cli::{Format, Top};
use crate::client::{Ask, Client};
use crate::exit::{Exit, Failure};
use crate::output;
use screen::{Heard, report, screen};
use terminal::{Key, Terminal};

/// So long a change of the terminal's size, or an answer, waits until it is drawn.
const GLANCE_INTERVAL: Duration = Duration::from_millis(100);
/// Documents that are shown if nobody says how many, where nothing has to fit.
const DEFAULT: u32 = 20;

/// What is to be looked at.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    sort: Sort,
    limit: u32,
}

pub(super) fn top(command: &Top) -> Result<(), Failure> {
    let client = Client::open(&command.server.target())?;
    let format = command.server.output.format;
    // Nobody can see it change: one picture.
    let terminal = if command.once || format == Format::Json { None } else { Terminal::enter()? };
    match terminal {
        Some(terminal) => watch(command, client, terminal),
        None => {
            let wanted = Wanted { sort: command.sort, limit: command.limit.unwrap_or(DEFAULT) };
            let heard = look(&client, wanted)?;
            let json = json!({ "status": heard.look.json(), "busiest": heard.busiest });
            output::answer(format, &json, || report(&heard, output::stdout_has_color()))
        }
    }
}

fn look(client: &Client, wanted: Wanted) -> Result<Heard, Failure> {
    let path = format!("/api/v1/busiest?sort={}&limit={}", wanted.sort.word(), wanted.limit);
    let (look, busiest) = (Look::take(client)?, client.json(Ask::get(&path))?);
    Ok(Heard { look, busiest, at: output::rfc3339(SystemTime::now()) })
}

/// Draws until somebody quits.
fn watch(command: &Top, client: Client, mut terminal: Terminal) -> Result<(), Failure> {
    let (ask, answers) = start_looking(client)?;
    let (mut heard, mut problem): (Option<Heard>, Option<String>) = (None, None);
    let mut sort = command.sort;
    let mut due = Some(Instant::now());
    let color = output::stdout_has_color();
    loop {
        let room = terminal.room();
        match answers.try_recv() {
            Ok(answer) => {
                let sorted = |heard: &Heard| heard.busiest["sort"].as_str() == Some(sort.word());
                let again = if answer.as_ref().is_ok_and(|heard| !sorted(heard) && heard.knows_sorts()) {
                    Duration::ZERO
                } else {
                    Duration::from_secs(command.interval)
                };
                due = Some(Instant::now() + again);
                match answer {
                    Ok(new) => (heard, problem) = (Some(new), None),
                    // Whoever watches, waits for the server to come back.
                    Err(failure) => problem = Some(failure.message),
                }
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => {
                return Err(Failure::new(Exit::Failed, "top", "the thread that looks has ended"));
            }
        }
        if due.is_some_and(|due| due <= Instant::now()) {
            let rows = u32::try_from(room.rows).unwrap_or(DEFAULT);
            let wanted = Wanted { sort, limit: command.limit.unwrap_or(rows) };
            // Order: one question at a time, so there is room for it.
            due = ask.try_send(wanted).err().map(|_| Instant::now() + GLANCE_INTERVAL);
        }
        if !terminal.draw(screen(heard.as_ref(), problem.as_deref(), room, color), room)? {
            return Ok(());
        }
        match terminal.key_within(GLANCE_INTERVAL) {
            Some(Key::Quit) => return Ok(()),
            Some(Key::Sort(by)) => {
                sort = by;
                // A question that is on its way is followed by another when its answer is here.
                due = due.map(|_| Instant::now());
            }
            None => {}
        }
    }
}

type Looking = (SyncSender<Wanted>, Receiver<Result<Heard, Failure>>);

/// The thread ends when nobody asks any more.
fn start_looking(client: Client) -> Result<Looking, Failure> {
    let (ask, questions) = sync_channel::<Wanted>(1);
    let (answer, answers) = sync_channel(1);
    let looking = move || {
        for wanted in questions {
            if answer.send(look(&client, wanted)).is_err() {
                break;
            }
        }
    };
    std::thread::Builder::new()
        .name("look".into())
        .spawn(looking)
        .map(|_| (ask, answers))
        .map_err(|error| Failure::new(Exit::Failed, "thread", format!("no thread can be started: {error}")))
}

impl Heard {
    /// A server of an older version sorts by sessions, and does not say so.
    fn knows_sorts(&self) -> bool {
        self.busiest["sort"].is_string()
    }
}
