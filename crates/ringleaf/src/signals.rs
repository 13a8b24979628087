//! SIGTERM and SIGINT; and SIGHUP, for commands that draw on a terminal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::{Exit, Failure};

/// The signals that ask the process to end. Once listened to, they no longer end it by themselves.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(crate) fn listen() -> Result<Self, Failure> {
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// The name of the next one.
    ///
    /// # Cancel safety
    ///
    /// No signal is lost by dropping the future.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

fn listen(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(deaf)
}

fn deaf(error: std::io::Error) -> Failure {
    Failure::new(Exit::Failed, "signals", format!("signals cannot be listened to: {error}"))
}

/// For a command that has something to put right before it ends: becomes true when SIGTERM or SIGHUP asks it to. One
/// that does not end within `patience`, because its terminal takes nothing, is ended.
pub(crate) fn asked_to_end(patience: Duration) -> Result<Arc<AtomicBool>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(deaf)?;
    let asked = Arc::new(AtomicBool::new(false));
    let tell = Arc::clone(&asked);
    let (mut terminate, mut hangup) = {
        let _where_signals_arrive = runtime.enter();
        (listen(SignalKind::terminate())?, listen(SignalKind::hangup())?)
    };
    let hear = async move {
        tokio::select! {
            biased;
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
        tell.store(true, Ordering::Relaxed);
        tokio::time::sleep(patience).await;
        std::process::exit(Exit::Interrupted as i32);
    };
    let thread = std::thread::Builder::new().name("signals".into());
    thread.spawn(move || runtime.block_on(hear)).map_err(deaf)?;
    Ok(asked)
}
