//! How long to wait before the next attempt.

use std::time::Duration;

/// Bounds of the wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The shortest, and the first.
    pub base: Duration,
    /// The longest. The same as `base`: always that.
    pub cap: Duration,
}

/// Grows from attempt to attempt, with jitter, so that a hundred bridges whose broker was away do
/// not all come back in the same second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    bounds: Bounds,
    last: Duration,
}

impl Backoff {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, last: bounds.base }
    }

    /// An attempt went well.
    pub(super) fn reset(&mut self) {
        self.last = self.bounds.base;
    }

    /// Somewhere between the base and three times the last wait, and no longer than the cap.
    pub(super) fn next(&mut self, entropy: u64) -> Duration {
        let Bounds { base, cap } = self.bounds;
        let highest = (self.last * 3).min(cap).max(base);
        let span = u64::try_from((highest - base).as_millis()).unwrap_or(u64::MAX);
        let more = Duration::from_millis(entropy % span.saturating_add(1));
        self.last = base + more;
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn waits_grow_to_the_cap_and_begin_again() {
        let mut backoff = Backoff::new(Bounds { base: 5 * S, cap: 30 * S });
        assert_eq!(backoff.next(0), 5 * S, "the shortest");
        assert_eq!(backoff.next(10_000), 15 * S, "three times the last at most");
        assert_eq!(backoff.next(25_000), 30 * S);
        assert_eq!(backoff.next(25_000), 30 * S, "and never beyond the cap");
        backoff.reset();
        assert!(backoff.next(u64::MAX) <= 15 * S);
        let mut constant = Backoff::new(Bounds { base: 10 * S, cap: 10 * S });
        assert_eq!([constant.next(7), constant.next(u64::MAX)], [10 * S, 10 * S]);
    }
}
