//! The owner of one reader process at a time: starts it for the first request, keeps it for the next, ends it when it is idle,
//! late, or wanted no more.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::bounds::Bounds;
use crate::error::{Ended, ReadError, TimeLimit};
use crate::process::{Death, Process, Program, Said};
use crate::protocol::{Kind, Outcome};

/// What the kernel sends for too much CPU time, and what a process does to itself that has no memory left.
const SIGXCPU: i32 = 24;
const SIGABRT: i32 = 6;
/// How the standard library says the latter.
const NO_MEMORY: &str = "memory allocation of";

/// A child that has read more than this is not used again: what the library leaves behind in the allocator would be missing
/// for the next document.
const REUSED_BYTES_MAX: usize = 1 << 20;

/// A request on its way to a worker.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) kind: Kind,
    pub(crate) state: Bytes,
    pub(crate) reply: oneshot::Sender<Result<Bytes, ReadError>>,
    /// The turn; given back when the worker can take another job.
    pub(crate) turn: OwnedSemaphorePermit,
}

/// Workers that have nothing to do. The last that had is asked first, since it may still have its process.
pub(crate) type Idle = Arc<Mutex<Vec<mpsc::Sender<Job>>>>;

pub(crate) struct Worker {
    pub(crate) program: Program,
    pub(crate) bounds: Bounds,
    pub(crate) timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) jobs: mpsc::Receiver<Job>,
    pub(crate) this: mpsc::Sender<Job>,
    pub(crate) idle: Idle,
    pub(crate) stop: CancellationToken,
}

enum Next {
    Job(Job),
    /// The process has had nothing to do for long, or has ended by itself.
    Rest,
    Stop,
}

impl Worker {
    pub(crate) async fn run(mut self) {
        let mut process = None;
        loop {
            match self.next(&mut process).await {
                Next::Job(job) => self.serve(&mut process, job).await,
                Next::Rest => end(&mut process).await,
                Next::Stop => break,
            }
        }
        end(&mut process).await;
    }

    async fn next(&mut self, process: &mut Option<Process>) -> Next {
        let rested = async {
            match process {
                Some(process) => {
                    let _either = timeout(self.idle_timeout, process.ended()).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Next::Stop,
            job = self.jobs.recv() => job.map_or(Next::Stop, Next::Job),
            () = rested => Next::Rest,
        }
    }

    async fn serve(&self, process: &mut Option<Process>, job: Job) {
        let Job { kind, state, mut reply, turn } = job;
        let answer = tokio::select! {
            biased;
            () = self.stop.cancelled() => Some(Err(ReadError::Stopped)),
            () = reply.closed() => None,
            answer = self.read(process, kind, &state) => Some(answer),
        };
        // Whatever was cut off is still at work.
        let of_use = matches!(&answer, Some(Ok(_) | Err(ReadError::Refused { .. })));
        if !of_use || state.len() > REUSED_BYTES_MAX {
            end(process).await;
        }
        drop(state);
        // Order: before the answer, so that whoever hears it and asks again finds this worker and its process.
        self.idle.lock().expect("no holder of this lock panics").push(self.this.clone());
        drop(turn);
        if let Some(answer) = answer {
            let _has_left = reply.send(answer);
        }
    }

    /// Has the state read, within the time that there is.
    async fn read(
        &self,
        process: &mut Option<Process>,
        kind: Kind,
        state: &[u8],
    ) -> Result<Bytes, ReadError> {
        match timeout(self.timeout, self.ask(process, kind, state)).await {
            Ok(answer) => answer,
            Err(_) => Err(ReadError::TooLong { after: self.timeout, limit: TimeLimit::Wall }),
        }
    }

    async fn ask(&self, slot: &mut Option<Process>, kind: Kind, state: &[u8]) -> Result<Bytes, ReadError> {
        let process = match slot {
            Some(process) => process,
            // Order: it is in its place before anybody waits for it, so that it is ended if nobody does.
            None => slot.insert(Process::spawn(&self.program, &self.bounds).map_err(not_started)?),
        };
        if let Err(error) = process.ready().await {
            return Err(match slot.take() {
                Some(process) => not_started(process.death().await.before_ready(&error)),
                None => ReadError::Stopped,
            });
        }
        let max = self.bounds.message_bytes_max;
        let Ok(Said { outcome, bytes }) = process.ask(kind, state, max).await else {
            return Err(match slot.take() {
                Some(process) => self.in_words(process.death().await),
                None => ReadError::Stopped,
            });
        };
        match outcome {
            Outcome::Done => Ok(bytes.into()),
            Outcome::Refused => Err(ReadError::Refused { why: String::from_utf8_lossy(&bytes).into_owned() }),
            Outcome::TooLarge => Err(ReadError::AnswerTooLarge { max }),
        }
    }

    fn in_words(&self, Death { ended, said }: Death) -> ReadError {
        match (self.bounds.memory_bytes_max, self.bounds.cpu_seconds_max) {
            (Some(max), _) if ended == Ended::Signal(SIGABRT) && said.starts_with(NO_MEMORY) => {
                ReadError::OutOfMemory { max }
            }
            (_, Some(seconds)) if ended == Ended::Signal(SIGXCPU) => {
                ReadError::TooLong { after: Duration::from_secs(seconds), limit: TimeLimit::Cpu }
            }
            _ => ReadError::Crashed { ended, said },
        }
    }
}

fn not_started(source: std::io::Error) -> ReadError {
    ReadError::NotStarted { source }
}

async fn end(process: &mut Option<Process>) {
    if let Some(process) = process.take() {
        process.end().await;
    }
}
