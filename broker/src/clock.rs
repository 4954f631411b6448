//! The only reader of the clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use martlet_engine::input::Time;

/// Unix time as it was when the broker started, carried on by the monotonic clock: a time that
/// never goes backward and that still means something after a restart.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    started_unix_ms: u64,
}

impl Clock {
    /// Reads both clocks once.
    #[expect(clippy::disallowed_methods, reason = "this is the room that reads the clock")]
    pub fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), started_unix_ms: millis(since_epoch) }
    }

    /// The time now, to the millisecond.
    #[expect(clippy::disallowed_methods, reason = "this is the room that reads the clock")]
    pub fn now(&self) -> Time {
        Time(self.started_unix_ms + millis(Instant::now().duration_since(self.started)))
    }

    /// How long from now until `time`; zero if it has passed.
    pub fn until(&self, time: Time) -> Duration {
        Duration::from_millis(time.0.saturating_sub(self.now().0))
    }
}

/// The monotonic clock, for what takes less than a millisecond.
#[expect(clippy::disallowed_methods, reason = "this is the room that reads the clock")]
pub fn monotonic() -> Instant {
    Instant::now()
}

/// The wall clock, which somebody may set: for people who read the log, never for the engine.
#[expect(clippy::disallowed_methods, reason = "this is the room that reads the clock")]
pub fn wall() -> SystemTime {
    SystemTime::now()
}

/// Unix time by the wall clock: for what others have dated, such as tokens.
pub fn wall_s() -> u64 {
    wall().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A time for the name of a file, as RFC 3339 writes it but for the colons.
pub fn date(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string().replace(':', "-")
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_forward_from_unix_time() {
        let clock = Clock::start();
        let first = clock.now();
        assert!(first.0 > 1_700_000_000_000, "milliseconds since 1970");
        assert!(clock.now() >= first);
        assert_eq!(clock.until(Time(0)), Duration::ZERO);
        assert!(clock.until(Time(first.0 + 60_000)) > Duration::from_secs(30));
    }
}
