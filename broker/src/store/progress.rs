//! How far a long start is, told to the log about every second.

use martlet_engine::input::Time;

use crate::clock::Clock;

/// Rows that are being read.
#[derive(Debug)]
pub(super) struct Progress {
    clock: Clock,
    began: Time,
    told: Time,
    rows: u64,
    /// How many there are.
    all: u64,
}

/// Rows after which the clock is looked at.
const LOOK_EVERY: u64 = 4096;
const TELL_EVERY_MS: u64 = 1000;

impl Progress {
    pub(super) fn begin() -> Self {
        let clock = Clock::start();
        let now = clock.now();
        Self { clock, began: now, told: now, rows: 0, all: 0 }
    }

    /// There are so many more rows to read.
    pub(super) fn expect(&mut self, rows: u64) {
        self.all += rows;
    }

    /// One more was read.
    pub(super) fn step(&mut self) {
        self.rows += 1;
        if self.rows.is_multiple_of(LOOK_EVERY) && self.is_time(self.clock.now()) {
            tracing::info!("Loading the store: {} of {} rows.", self.rows, self.all);
        }
    }

    /// Seconds since it began.
    pub(super) fn seconds(&self) -> f64 {
        (self.clock.now().0 - self.began.0) as f64 / 1000.0
    }

    fn is_time(&mut self, now: Time) -> bool {
        let is_time = now.0 >= self.told.0 + TELL_EVERY_MS;
        if is_time {
            self.told = now;
        }
        is_time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_each_second() {
        let mut progress = Progress::begin();
        let began = progress.told.0;
        let told = (0..5000).filter(|ms| progress.is_time(Time(began + ms)));
        assert_eq!(told.collect::<Vec<_>>(), [1000, 2000, 3000, 4000]);
    }
}
