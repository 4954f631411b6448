//! The one reader of the clock here: a bench measures time.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Nanoseconds since the first call.
#[expect(clippy::disallowed_methods, reason = "what is measured is time")]
pub(crate) fn now_ns() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let elapsed = START.get_or_init(Instant::now).elapsed();
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}

/// Waits until that time of [`now_ns`], if it has not come.
#[expect(clippy::disallowed_methods, reason = "a rate is kept by waiting")]
pub(crate) fn rest_until(ns: u64) {
    std::thread::sleep(Duration::from_nanos(ns.saturating_sub(now_ns())));
}

/// Lets a broker come to rest before its memory is read.
#[expect(clippy::disallowed_methods, reason = "rest is the absence of events")]
pub(crate) fn rest() {
    std::thread::sleep(Duration::from_secs(1));
}

/// How long a broker may take to do what it does by itself, and how often it is looked at.
const PATIENCE_NS: u64 = 30_000_000_000;
const PAUSE: Duration = Duration::from_millis(10);

/// Waits until that is so; `false` when it is not so in the end.
#[expect(clippy::disallowed_methods, reason = "another process can only be looked at again")]
pub(crate) fn wait_until<E>(mut so: impl FnMut() -> Result<bool, E>) -> Result<bool, E> {
    let end_ns = now_ns() + PATIENCE_NS;
    while now_ns() < end_ns {
        if so()? {
            return Ok(true);
        }
        std::thread::sleep(PAUSE);
    }
    so()
}
