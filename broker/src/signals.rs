//! # Signals
//!
//! SIGTERM and SIGINT ask for an orderly stop; asked again, the broker ends at once. SIGHUP never
//! kills. They are heard on a thread of their own, so that a broker that is stuck can still be
//! stopped.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// Listens from here on; the receiver is told of the first SIGTERM or SIGINT.
///
/// `end_at_once` is called on the second one, with the words to say.
///
/// # Errors
/// When the system gives no thread or no signals.
pub fn listen(end_at_once: fn(&str)) -> io::Result<oneshot::Receiver<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let signals = runtime.block_on(async { Signals::register() })?;
    let (stop, stopped) = oneshot::channel();
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || runtime.block_on(signals.hear(stop, end_at_once)))?;
    Ok(stopped)
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn register() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn hear(mut self, stop: oneshot::Sender<()>, end_at_once: fn(&str)) {
        let mut stop = Some(stop);
        loop {
            let name = tokio::select! {
                _ = self.terminate.recv() => "SIGTERM",
                _ = self.interrupt.recv() => "SIGINT",
                _ = self.hangup.recv() => {
                    tracing::warn!(
                        "SIGHUP: the configuration cannot be reloaded while running yet. Restart \
                         to apply changes."
                    );
                    continue;
                }
            };
            match stop.take() {
                Some(stop) => {
                    tracing::info!("{name}: stopping. A second signal ends at once.");
                    // Nobody waits any more: the broker is stopping for a reason of its own.
                    let _ = stop.send(());
                }
                None => end_at_once(&format!("{name} again: ended before the stop was complete.")),
            }
        }
    }
}
