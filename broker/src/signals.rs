//! # Signals
//!
//! SIGTERM and SIGINT ask for an orderly stop; asked again, the broker ends at once. Those that ask
//! mosquitto for something else (SIGHUP, SIGUSR1, SIGUSR2) never kill. They are heard on a thread
//! of their own, so that a broker that is stuck can still be stopped.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How long after the first request another one is the same: `timeout`, terminals and supervisors
/// signal a process and then its group.
const SAME_REQUEST: Duration = Duration::from_millis(300);

/// Listens from here on; the receiver is told of the first SIGTERM or SIGINT.
///
/// `end_at_once` is called on the second one, with the words to say.
///
/// # Errors
/// When the system gives no thread or no signals.
pub fn listen(end_at_once: fn(&str)) -> io::Result<oneshot::Receiver<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
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
    user_1: Signal,
    user_2: Signal,
}

impl Signals {
    fn register() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            user_1: signal(SignalKind::user_defined1())?,
            user_2: signal(SignalKind::user_defined2())?,
        })
    }

    async fn hear(mut self, stop: oneshot::Sender<()>, end_at_once: fn(&str)) {
        let name = self.request().await;
        tracing::info!("{name}: stopping. A second signal ends at once.");
        // Nobody waits any more: the broker is stopping for a reason of its own.
        let _ = stop.send(());
        let same_again = async {
            loop {
                self.request().await;
            }
        };
        // It always ends by the time.
        let _: Result<(), _> = timeout(SAME_REQUEST, same_again).await;
        let name = self.request().await;
        end_at_once(&format!("{name} again: ended before the stop was complete."));
    }

    /// The name of the next signal that asks for an end.
    async fn request(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => tracing::warn!(
                    "SIGHUP: the configuration cannot be reloaded while running yet. Restart to \
                     apply changes."
                ),
                _ = self.user_1.recv() => tracing::info!(
                    "SIGUSR1 has no effect: there is no database to save on request."
                ),
                _ = self.user_2.recv() => tracing::info!("SIGUSR2 has no effect."),
            }
        }
    }
}
