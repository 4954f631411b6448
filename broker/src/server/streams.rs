//! What is recorded while the broker runs: looked after every second, and changed by a reload.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Clock;
use crate::driver::Driver;
use crate::server::Settings;
use crate::server::reload::{Change, Part};
use crate::telemetry::log::{Log, StreamSettings};
use crate::telemetry::sealer::Sealer;

/// The streams of a server.
#[derive(Debug)]
pub(super) struct Streams {
    log: Log,
    driver: Arc<Driver>,
    /// Held by whoever tells the engine what it records, so that what it is told last holds.
    turn: Mutex<()>,
    /// Seals segments, once a stream wants that.
    sealer: Mutex<Option<Sealer>>,
}

/// The same, as a part that takes new settings.
pub(super) struct Recorded(pub(super) Arc<Streams>);

/// How often the log is looked after: what is too old goes, and a full disk is seen in time.
const TEND_EVERY: Duration = Duration::from_secs(1);

impl Streams {
    pub(super) fn new(log: Log, driver: Arc<Driver>) -> Self {
        Self { log, driver, turn: Mutex::default(), sealer: Mutex::default() }
    }

    pub(super) fn log(&self) -> &Log {
        &self.log
    }

    /// Looks after the log until it is dropped.
    pub(super) async fn tend(self: Arc<Self>) {
        self.begin_sealing();
        let clock = Clock::start();
        loop {
            tokio::time::sleep(TEND_EVERY).await;
            let streams = Arc::clone(&self);
            let tended = tokio::task::spawn_blocking(move || streams.look(clock.now().0));
            // A panic in there has been reported by the panic itself.
            if tended.await.is_err() {
                return;
            }
        }
    }

    fn look(&self, now_ms: u64) {
        let _turn = self.turn.lock();
        if let Some(streams) = self.log.tend(now_ms) {
            self.driver.record(streams);
        }
    }

    fn change(&self, streams: Vec<StreamSettings>) {
        let _turn = self.turn.lock();
        self.driver.record(self.log.change(streams));
        self.begin_sealing();
    }

    /// Begins to seal, if there is a stream to seal and nobody does so yet. Without a thread
    /// everything goes on, in segments.
    fn begin_sealing(&self) {
        let mut sealer = self.sealer.lock();
        if sealer.is_some() {
            return;
        }
        *sealer = Sealer::start(self.log.clone()).unwrap_or_else(|error| {
            tracing::error!(%error, "No segment is sealed before the next start: {error}.");
            None
        });
    }

    /// Waits until the thread that seals has ended.
    pub(super) fn end_sealing(&self) {
        drop(self.sealer.lock().take());
    }
}

impl Part for Recorded {
    fn name(&self) -> &'static str {
        "streams"
    }

    /// A stream that is new is opened; one that is gone records no more, and can still be read.
    fn prepare(&self, settings: &Settings) -> Result<Change, Vec<String>> {
        let (streams, wanted) = (Arc::clone(&self.0), settings.recorded.clone());
        streams.log.make_ready(&wanted).map_err(|error| vec![error.to_string()])?;
        Ok(Box::new(move || streams.change(wanted)))
    }
}
