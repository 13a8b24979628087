//! Connections that read, so that no read waits behind a commit.

use std::path::Path;
use std::sync::{Arc, Mutex};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::{OpenStoreError, schema};
use crate::{StoreError, tasks};

/// Limit: reads that run at once. More only compete for the same disk and cores; they wait their turn, in order.
const READERS_MAX: usize = 8;
const READERS_MIN: usize = 2;

/// A pool of connections; one read has one of them to itself.
pub(super) struct Readers {
    connections: Arc<Mutex<Vec<Connection>>>,
    /// One permit for each connection in the pool; closed when the store is.
    permits: Arc<Semaphore>,
    count: u32,
}

impl Readers {
    pub(super) fn open(database: &Path) -> Result<Self, OpenStoreError> {
        let cores = std::thread::available_parallelism().map_or(READERS_MIN, usize::from);
        let count = cores.clamp(READERS_MIN, READERS_MAX);
        let connections = (0..count)
            .map(|_| schema::open_for_reading(database))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| OpenStoreError::database(database, source))?;
        Ok(Self {
            connections: Arc::new(Mutex::new(connections)),
            permits: Arc::new(Semaphore::new(count)),
            count: count as u32,
        })
    }

    /// Runs a read on a thread that may wait for the disk.
    ///
    /// # Cancel safety
    ///
    /// A read that is dropped runs to its end and keeps its connection until then.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let connections = self.connections.clone();
        let result = tasks::blocking(move || {
            let taken = connections.lock().expect("no holder of this lock panics").pop();
            let connection = taken.expect("a permit stands for a connection");
            let result = read(&connection);
            connections.lock().expect("no holder of this lock panics").push(connection);
            // Order: the permit goes back after the connection.
            drop(permit);
            result
        });
        result.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Waits for the reads that run, then closes all connections. Later reads are refused.
    pub(super) async fn close(&self) {
        let all = self.permits.acquire_many(self.count).await;
        self.permits.close();
        drop(all);
        let connections =
            std::mem::take(&mut *self.connections.lock().expect("no holder of this lock panics"));
        let _ = tasks::blocking(move || drop(connections)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::time::Duration;

    use tempfile::TempDir;
    use tokio::sync::oneshot;

    use super::*;

    fn readers() -> (Arc<Readers>, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("ringleaf.db");
        drop(schema::open_for_writing(&database).unwrap());
        (Arc::new(Readers::open(&database).unwrap()), folder)
    }

    fn one(connection: &Connection) -> Result<u8, StoreError> {
        Ok(connection.query_row("SELECT 1", [], |row| row.get(0))?)
    }

    /// A read that lasts until it is told to end.
    fn long_read(
        readers: &Arc<Readers>,
    ) -> (impl Future<Output = Result<u8, StoreError>> + use<>, Arc<Barrier>) {
        let (readers, barrier) = (readers.clone(), Arc::new(Barrier::new(2)));
        let end = barrier.clone();
        let read = async move {
            readers
                .run(move |connection| {
                    end.wait();
                    one(connection)
                })
                .await
        };
        (read, barrier)
    }

    #[tokio::test]
    async fn two_reads_run_at_the_same_time() {
        let (readers, _folder) = readers();
        let (first, end) = long_read(&readers);
        let other = async {
            let one = readers.run(one).await;
            end.wait();
            one
        };
        let (first, other) = tokio::join!(first, other);
        assert_eq!((first.unwrap(), other.unwrap()), (1, 1));
    }

    #[tokio::test]
    async fn many_reads_take_turns() {
        let (readers, _folder) = readers();
        let reads = (0..200).map(|_| readers.run(one));
        for outcome in futures_util::future::join_all(reads).await {
            assert_eq!(outcome.unwrap(), 1);
        }
        assert_eq!(readers.connections.lock().unwrap().len() as u32, readers.count);
    }

    #[tokio::test]
    async fn a_read_that_fails_gives_its_connection_back() {
        let (readers, _folder) = readers();
        for _ in 0..50 {
            let outcome = readers.run(|connection| Ok(connection.execute_batch("SELECT nothing")?)).await;
            assert!(outcome.is_err());
        }
        assert_eq!(readers.run(one).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_read_that_is_dropped_gives_its_connection_back() {
        let (readers, _folder) = readers();
        for _ in 0..20 {
            let (read, end) = long_read(&readers);
            // The first poll takes a connection and starts the read.
            assert!(tokio::time::timeout(Duration::from_millis(1), read).await.is_err());
            end.wait();
        }
        for _ in 0..50 {
            assert_eq!(readers.run(one).await.unwrap(), 1);
        }
    }

    #[tokio::test]
    async fn closing_waits_for_the_reads_that_run_and_refuses_later_ones() {
        let (readers, _folder) = readers();
        let (read, end) = long_read(&readers);
        let (started, running) = oneshot::channel();
        let close = async {
            running.await.unwrap();
            let closed = tokio::time::timeout(Duration::from_millis(50), readers.close()).await;
            assert!(closed.is_err(), "a read still runs");
            end.wait();
            readers.close().await;
            assert!(matches!(readers.run(one).await, Err(StoreError::Closed)));
            assert!(readers.connections.lock().unwrap().is_empty());
        };
        let read = async {
            let mut read = std::pin::pin!(read);
            // The first poll takes the connection.
            assert!(tokio::time::timeout(Duration::from_millis(1), &mut read).await.is_err());
            started.send(()).unwrap();
            assert_eq!(read.await.unwrap(), 1);
        };
        tokio::join!(close, read);
        readers.close().await;
    }
}
