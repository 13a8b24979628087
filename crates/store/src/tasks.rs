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

/// Starts a task that lives until its work is done; whoever gives it work decides when.
#[expect(clippy::disallowed_methods, reason = "this is the module for it")]
pub(crate) fn run(name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
    let span = tracing::info_span!("store", task = name);
    tokio::spawn(tracing::Instrument::instrument(work, span));
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::*;

    const CHILD: &str = "RINGLEAF_STORE_PANIC";

    /// The life of the child below; does nothing when the tests run normally.
    #[test]
    fn child() {
        if std::env::var_os(CHILD).is_some() {
            let thread = thread("store-test", || panic!("announced")).unwrap();
            let _ = thread.join();
        }
    }

    #[test]
    fn a_panic_in_a_thread_ends_the_process() {
        let ended = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tasks::tests::child", "--test-threads", "1"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        assert_eq!(ended.status.signal(), Some(6), "{ended:?}");
    }

    #[test]
    fn a_thread_has_a_name_and_ends_quietly() {
        let thread = thread("store-test", || {
            assert_eq!(std::thread::current().name(), Some("store-test"));
        });
        thread.unwrap().join().unwrap();
    }

    #[tokio::test]
    async fn blocking_work_that_panics_gives_nothing() {
        assert_eq!(blocking(|| 7).await, Some(7));
        assert_eq!(blocking(|| -> u8 { panic!("announced") }).await, None);
    }
}
