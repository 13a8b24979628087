//! Where this crate starts threads, so that each has an owner and a name.

use std::thread::JoinHandle;

/// Starts a thread for as long as the store lives. A panic in it ends the process: a store that broke one of its own
/// promises must not go on, and the log is whole on disk.
pub(crate) fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    let span = tracing::info_span!("store");
    std::thread::Builder::new().name(name.into()).spawn(move || {
        let _in_span = span.entered();
        let guard = AbortOnPanic;
        work();
        std::mem::forget(guard);
    })
}

struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        tracing::error!("the store broke a promise of its own, the process ends");
        std::process::abort();
    }
}

/// Runs work that waits for the disk on a thread that may wait. `None`: it panicked, or the runtime is stopping.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}
