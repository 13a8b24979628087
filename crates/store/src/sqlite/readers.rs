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
