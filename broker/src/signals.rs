//! # Signals
//!
//! SIGTERM and SIGINT ask for an orderly stop; asked again, the broker ends at once. The others ask
//! a running broker for what mosquitto does at the same ones ([`Request`]); they never kill. All
//! are heard on a thread of its own, so that a broker that is stuck can still be stopped.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// What an operator can ask of a running broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// SIGHUP: read the configuration and its files again, and reopen the log.
    Reload,
    /// SIGUSR1: write down what is only in memory.
    Save,
    /// SIGUSR2: print the subscriptions to the log.
    PrintTree,
    /// SIGRTMIN: reopen the log, and nothing else.
    ReopenLog,
}

/// Where signals arrive.
#[derive(Debug)]
pub struct Heard {
    /// The first SIGTERM or SIGINT.
    pub stop: oneshot::Receiver<()>,
    /// The other signals, in order.
    pub requests: mpsc::Receiver<Request>,
}

/// How long after the first request another one is the same: `timeout`, terminals and supervisors
/// signal a process and then its group.
const SAME_REQUEST: Duration = Duration::from_millis(300);

/// Requests that wait to be seen to, while the store opens for example. At the bound: further ones
/// are refused in the log.
const REQUESTS_MAX: usize = 16;

/// Listens from here on.
///
/// `end_at_once` is called on the second SIGTERM or SIGINT, with the words to say.
///
/// # Errors
/// When the system gives no thread or no signals.
pub fn listen(end_at_once: fn(&str)) -> io::Result<Heard> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (ask, requests) = mpsc::channel(REQUESTS_MAX);
    let signals = runtime.block_on(async { Signals::register(ask) })?;
    let (stopping, stop) = oneshot::channel();
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || runtime.block_on(signals.hear(stopping, end_at_once)))?;
    Ok(Heard { stop, requests })
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user_1: Signal,
    user_2: Signal,
    realtime: Signal,
    requests: mpsc::Sender<Request>,
}

impl Signals {
    fn register(requests: mpsc::Sender<Request>) -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            user_1: signal(SignalKind::user_defined1())?,
            user_2: signal(SignalKind::user_defined2())?,
            realtime: signal(SignalKind::from_raw(libc::SIGRTMIN()))?,
            requests,
        })
    }

    async fn hear(mut self, stop: oneshot::Sender<()>, end_at_once: fn(&str)) {
        let name = self.end_asked().await;
        tracing::info!("{name}: stopping. A second signal ends at once.");
        // Nobody waits any more: the broker is stopping for a reason of its own.
        let _ = stop.send(());
        let same_again = async {
            loop {
                self.end_asked().await;
            }
        };
        // It always ends by the time.
        let _: Result<(), _> = timeout(SAME_REQUEST, same_again).await;
        let name = self.end_asked().await;
        end_at_once(&format!("{name} again: ended before the stop was complete."));
    }

    /// The name of the next signal that asks for an end; hands on the requests that come before.
    async fn end_asked(&mut self) -> &'static str {
        loop {
            let request = tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => Request::Reload,
                _ = self.user_1.recv() => Request::Save,
                _ = self.user_2.recv() => Request::PrintTree,
                _ = self.realtime.recv() => Request::ReopenLog,
            };
            if self.requests.try_send(request).is_err() {
                tracing::warn!("A signal is ignored: {REQUESTS_MAX} others wait, or it stops.");
            }
        }
    }
}
