//! Waiting for the next thing that happens.

use futures_util::StreamExt;
use ringleaf_types::RouterId;
use tokio::time::Instant;

use super::{Answer, DocumentTask};
use crate::append::AppendEnd;
use crate::command::{Command, Step};
use ringleaf_document::Input;

/// What ended the wait.
pub(super) enum Woken {
    Stop,
    Abandon,
    Pending(Input),
    Append(AppendEnd),
    Answer(Option<Answer>),
    Step(Step),
    Deadline,
    Command(Command),
    Departed(RouterId, u64),
}

impl DocumentTask {
    /// Waits for one thing. While the document is `full`, requests stay in the mailbox.
    ///
    /// # Cancel safety
    ///
    /// Never dropped but with the task.
    pub(super) async fn wait(&mut self, full: bool, deadline: Option<Instant>) -> Woken {
        if let Some(input) = self.pending.pop_front() {
            return Woken::Pending(input);
        }
        let timed = self.set_timer(deadline);
        let listening = !full;
        let timed = timed && (self.commands_first == 0 || !listening);
        let Self { resident, append, answers, moving, mailbox, routers, timer, .. } = self;
        let (stopping, abandoned, commands_first) =
            (&mut self.stopping, &mut self.abandoned, &mut self.commands_first);
        tokio::select! {
            biased;
            () = resident.abandon.cancelled(), if !*abandoned => Woken::Abandon,
            () = resident.stop.cancelled(), if !*stopping => Woken::Stop,
            end = async { append.as_mut().expect("there is one").await }, if append.is_some() => Woken::Append(end),
            Some(answer) = answers.next(), if !answers.is_empty() => Woken::Answer(answer),
            Some(step) = moving.steps.recv() => Woken::Step(*step),
            () = timer.as_mut(), if timed => Woken::Deadline,
            command = mailbox.recv(), if listening => {
                resident.made_room(mailbox.is_empty());
                *commands_first = commands_first.saturating_sub(1);
                // The registry holds a sender, so no command is the end of everything.
                command.map_or(Woken::Stop, |command| Woken::Command(*command))
            },
            // Order: behind the mailbox, so that what a router sent before it went is carried out first.
            Some((router, attachment)) = routers.departures.next(), if listening && !routers.departures.is_empty() =>
                Woken::Departed(router, attachment),
        }
    }

    /// Sets the timer, unless it fires early enough already: moving a deadline back costs nothing, at the price of
    /// waking once for nothing.
    fn set_timer(&mut self, deadline: Option<Instant>) -> bool {
        let Some(deadline) = deadline else { return false };
        if !self.timer_set || deadline < self.timer.deadline() {
            self.timer.as_mut().reset(deadline);
            self.timer_set = true;
        }
        true
    }
}
