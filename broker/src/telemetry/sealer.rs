//! The thread that seals segments, while a broker runs: one, of the lowest priority.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::clock::Clock;
use crate::machine;
use crate::telemetry::log::Log;

/// How often it looks for something to do.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The thread. Dropped, it ends: a file that it was writing is begun again after the next start.
#[derive(Debug)]
pub struct Sealer {
    stopping: Arc<Stopping>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Stopping {
    is_asked: Mutex<bool>,
    asked: Condvar,
}

impl Sealer {
    /// Begins, if there is a stream to seal.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn start(log: Log) -> std::io::Result<Option<Self>> {
        if !log.seals() {
            return Ok(None);
        }
        let stopping = Arc::new(Stopping::default());
        let stopped = Arc::clone(&stopping);
        let run = move || {
            machine::step_back();
            let clock = Clock::start();
            loop {
                log.seal(clock.now().0, &|wait| stopped.wait(wait));
                if !stopped.wait(LOOK_EVERY) {
                    break;
                }
            }
        };
        let thread = thread::Builder::new().name("sealing".to_owned()).spawn(run)?;
        Ok(Some(Self { stopping, thread: Some(thread) }))
    }
}

impl Drop for Sealer {
    fn drop(&mut self) {
        *self.stopping.is_asked.lock() = true;
        self.stopping.asked.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic in there has been reported by the panic itself.
            let _ = thread.join();
        }
    }
}

impl Stopping {
    /// Waits so long; `false`: it is to stop.
    fn wait(&self, longest: Duration) -> bool {
        let mut is_asked = self.is_asked.lock();
        self.asked.wait_while_for(&mut is_asked, |is_asked| !*is_asked, longest);
        !*is_asked
    }
}
