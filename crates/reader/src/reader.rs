//! Who is asked to read a document.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ringleaf_types::Limits;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::info_span;

use crate::bounds::Bounds;
use crate::error::ReadError;
use crate::metrics::Metrics;
use crate::process::Program;
use crate::protocol::Kind;
use crate::tasks::Tasks;
use crate::worker::{Idle, Job, Worker};

/// Reads documents in processes of their own, which are started on demand and used again. Dropping it kills them; see
/// [`Reader::stop`].
#[derive(Debug)]
pub struct Reader {
    turns: Arc<Semaphore>,
    /// How many more may wait for a turn.
    places: Semaphore,
    idle: Idle,
    message_bytes_max: u64,
    turn_timeout: Duration,
    stop: CancellationToken,
    tasks: Tasks,
    metrics: Metrics,
}

/// The right to have one document read, as soon as it is there. Get it first: who waits for it need not hold the document
/// meanwhile.
#[derive(Debug)]
pub struct Turn<'a> {
    reader: &'a Reader,
    permit: OwnedSemaphorePermit,
}

impl Reader {
    /// Starts no process yet. Needs a tokio runtime.
    pub fn new(program: &Program, limits: &Limits) -> Self {
        let bounds = Bounds::of(limits);
        let count = limits.reader_processes_max;
        let (idle, stop, tasks) = (Idle::default(), CancellationToken::new(), Tasks::default());
        for _ in 0..count {
            // Invariant: as many workers are idle as there are turns, so one place is enough.
            let (this, jobs) = mpsc::channel(1);
            idle.lock().expect("no holder of this lock panics").push(this.clone());
            let worker = Worker {
                program: program.clone(),
                bounds,
                timeout: limits.reader_timeout,
                idle_timeout: limits.reader_idle_timeout,
                jobs,
                this,
                idle: Arc::clone(&idle),
                stop: stop.clone(),
            };
            tasks.start(info_span!(parent: None, "reader"), worker.run());
        }
        Self {
            turns: Arc::new(Semaphore::new(count)),
            places: Semaphore::new(limits.reader_waiting_max),
            idle,
            message_bytes_max: bounds.message_bytes_max,
            turn_timeout: limits.reader_turn_timeout,
            stop,
            tasks,
            metrics: Metrics::new(),
        }
    }

    /// Waits for a turn, behind those who came before.
    ///
    /// # Errors
    ///
    /// [`ReadError::Busy`]: too many wait already, or it took too long. [`ReadError::Stopped`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the place in the queue.
    pub async fn turn(&self) -> Result<Turn<'_>, ReadError> {
        if let Ok(permit) = Arc::clone(&self.turns).try_acquire_owned() {
            return Ok(Turn { reader: self, permit });
        }
        let _place = self.places.try_acquire().map_err(|_| self.busy_or_stopped())?;
        match timeout(self.turn_timeout, Arc::clone(&self.turns).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Turn { reader: self, permit }),
            Ok(Err(_)) | Err(_) => Err(self.busy_or_stopped()),
        }
    }

    fn busy_or_stopped(&self) -> ReadError {
        if self.stop.is_cancelled() { ReadError::Stopped } else { ReadError::Busy }
    }

    /// Ends all reader processes and waits until they are gone. Nothing is read after that.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves processes that are killed, and that nobody has waited for.
    pub async fn stop(&self) {
        self.turns.close();
        self.stop.cancel();
        self.tasks.finished().await;
    }
}

impl Turn<'_> {
    /// The whole document as JSON, in bytes: one member per root type.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the process that reads.
    pub async fn json(self, state: Bytes) -> Result<Bytes, ReadError> {
        self.read(Kind::Json, state).await
    }

    /// The text of the first root type that has any.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the process that reads.
    pub async fn text(self, state: Bytes) -> Result<Bytes, ReadError> {
        self.read(Kind::Text, state).await
    }

    /// Decodes the document, encodes it, decodes that, and compares what both know. Answers its size as the CRDT library
    /// encodes it.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the process that reads.
    pub async fn verify(self, state: Bytes) -> Result<u64, ReadError> {
        let answer = self.read(Kind::Verify, state).await?;
        let size = <[u8; 8]>::try_from(&answer[..]).map(u64::from_be_bytes);
        size.map_err(|_| ReadError::Crashed { ended: crate::Ended::Nonsense, said: String::new() })
    }

    pub(crate) async fn read(self, kind: Kind, state: Bytes) -> Result<Bytes, ReadError> {
        let (began_at, reader) = (Instant::now(), self.reader);
        let answer = self.ask(kind, state).await;
        reader.metrics.read(began_at.elapsed(), answer.is_err());
        answer
    }

    async fn ask(self, kind: Kind, state: Bytes) -> Result<Bytes, ReadError> {
        let (bytes, max) = (state.len() as u64, self.reader.message_bytes_max);
        if bytes > max {
            return Err(ReadError::TooLarge { bytes, max });
        }
        let worker = self.reader.idle.lock().expect("no holder of this lock panics").pop();
        let worker = worker.expect("as many workers are idle as there are turns");
        let (reply, answer) = oneshot::channel();
        let job = Job { kind, state, reply, turn: self.permit };
        // A worker that has stopped takes none, and drops what it has.
        worker.try_send(job).map_err(|_| ReadError::Stopped)?;
        answer.await.unwrap_or(Err(ReadError::Stopped))
    }
}
