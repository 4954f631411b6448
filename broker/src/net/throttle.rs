//! How fast one client may publish. Whoever is faster is not read from for a while: its messages
//! wait where they are, in the network and at the client, and none is lost.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use martlet_engine::input::Time;

/// The bounds for every client, which may be changed while clients publish.
#[derive(Debug, Default)]
pub struct Rates {
    publishes_per_s: AtomicU32,
    bytes_per_s: AtomicU64,
    burst_s: AtomicU32,
}

/// What [`Rates`] are set to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// PUBLISH packets of one client a second; 0: no bound.
    pub publishes_per_s: u32,
    /// Bytes of PUBLISH packets of one client a second; 0: no bound.
    pub bytes_per_s: u64,
    /// For how many seconds' worth a client that was quiet may publish at once.
    pub burst_s: u32,
}

/// One client's standing: for each bound, when it would have been allowed all that it has sent, had
/// it kept to the rate, in microseconds.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    publishes_us: u64,
    bytes_us: u64,
    /// The client was held up since it was last quiet.
    slowed: bool,
    keep_alive_s: u16,
}

/// What comes of a PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    /// How long nothing should be read.
    pub(super) time: Duration,
    /// The bound that was passed.
    pub(super) bound: &'static str,
    /// The first time since the client was quiet.
    pub(super) first: bool,
}

/// A pause is so much longer than it would have to be, so that some messages may come after it.
const PAUSE_MORE: Duration = Duration::from_millis(20);

/// The longest pause, after which we look whether the client is still there.
const PAUSE_MAX: Duration = Duration::from_secs(30);

const SECOND_US: u64 = 1_000_000;

impl Rates {
    /// From now on these hold.
    pub fn set(&self, settings: Settings) {
        self.publishes_per_s.store(settings.publishes_per_s, Ordering::Relaxed);
        self.bytes_per_s.store(settings.bytes_per_s, Ordering::Relaxed);
        self.burst_s.store(settings.burst_s, Ordering::Relaxed);
    }

    /// Whether there is no bound.
    pub(super) fn are_free(&self) -> bool {
        self.publishes_per_s.load(Ordering::Relaxed) == 0
            && self.bytes_per_s.load(Ordering::Relaxed) == 0
    }

    fn settings(&self) -> Settings {
        Settings {
            publishes_per_s: self.publishes_per_s.load(Ordering::Relaxed),
            bytes_per_s: self.bytes_per_s.load(Ordering::Relaxed),
            burst_s: self.burst_s.load(Ordering::Relaxed),
        }
    }
}

impl Throttle {
    /// A client is never held up for longer than half of its Keep Alive, within which it may have
    /// nothing but a PINGREQ to say.
    pub(super) fn new(keep_alive_s: u16) -> Self {
        Self { keep_alive_s, ..Self::default() }
    }

    /// A PUBLISH of so many bytes has come.
    pub(super) fn charge(&mut self, rates: &Rates, bytes: usize, now: Time) -> Option<Wait> {
        let Settings { publishes_per_s, bytes_per_s, burst_s } = rates.settings();
        let now_us = now.0.saturating_mul(1000);
        if self.publishes_us.max(self.bytes_us) <= now_us {
            self.slowed = false;
        }
        let burst_us = u64::from(burst_s) * SECOND_US;
        let late = [
            (charge(&mut self.publishes_us, now_us, 1, publishes_per_s.into()), PUBLISHES),
            (charge(&mut self.bytes_us, now_us, bytes as u64, bytes_per_s), BYTES),
        ];
        let (ahead_us, bound) = late.into_iter().max_by_key(|(ahead_us, _)| *ahead_us)?;
        let over_us = ahead_us.checked_sub(burst_us).filter(|over_us| *over_us > 0)?;
        let longest = match self.keep_alive_s {
            0 => PAUSE_MAX,
            seconds => PAUSE_MAX.min(Duration::from_millis(u64::from(seconds) * 500)),
        };
        let time = (Duration::from_micros(over_us) + PAUSE_MORE).min(longest);
        let first = !std::mem::replace(&mut self.slowed, true);
        Some(Wait { time, bound, first })
    }
}

const PUBLISHES: &str = "limits.publishes_per_client_per_s";
const BYTES: &str = "limits.publish_bytes_per_client_per_s";

/// Adds what `amount` takes at so many a second; answers how far that is ahead of now.
fn charge(standing_us: &mut u64, now_us: u64, amount: u64, per_s: u64) -> u64 {
    if per_s == 0 {
        return 0;
    }
    let cost_us = amount.saturating_mul(SECOND_US) / per_s;
    *standing_us = (*standing_us).max(now_us).saturating_add(cost_us);
    *standing_us - now_us
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(publishes_per_s: u32, bytes_per_s: u64) -> Rates {
        let rates = Rates::default();
        rates.set(Settings { publishes_per_s, bytes_per_s, burst_s: 2 });
        rates
    }

    /// How many messages of `size` bytes go through within so many seconds.
    fn passed(rates: &Rates, size: usize, seconds: u64) -> u64 {
        let (mut throttle, mut now_ms, mut passed) = (Throttle::default(), 1_000_000, 0);
        let end_ms = now_ms + seconds * 1000;
        while now_ms < end_ms {
            passed += 1;
            if let Some(wait) = throttle.charge(rates, size, Time(now_ms)) {
                now_ms += u64::try_from(wait.time.as_millis()).expect("short");
            }
        }
        passed
    }

    #[test]
    fn so_many_messages_go_through_and_hardly_more() {
        let rows = [
            // Rates; size; seconds; at least; at most.
            (rates(10, 0), 5, 60, 610, 630),
            (rates(5000, 0), 5, 10, 59_000, 60_100),
            (rates(0, 1000), 100, 60, 610, 630),
            (rates(0, 1000), 5000, 60, 12, 14),
            (rates(10, 1000), 200, 60, 300, 320),
            (rates(5, 1_000_000), 200, 60, 305, 320),
        ];
        for (rates, size, seconds, least, most) in rows {
            let passed = passed(&rates, size, seconds);
            assert!((least..=most).contains(&passed), "{passed} for {rates:?} of {size}");
        }
    }

    #[test]
    fn a_client_that_was_quiet_may_publish_for_some_seconds_at_once() {
        let (rates, mut throttle) = (rates(10, 0), Throttle::default());
        for second in [100, 110, 200] {
            let now = Time(second * 1000);
            let free = (0..).take_while(|_| throttle.charge(&rates, 5, now).is_none()).count();
            assert_eq!(free, 20, "two seconds' worth");
        }
    }

    #[test]
    fn one_episode_is_told_once() {
        let (rates, mut throttle) = (rates(10, 0), Throttle::default());
        for began_s in [100, 200] {
            let mut told = 0;
            for number in 0..100 {
                let now = Time((began_s + number / 20) * 1000);
                let wait = throttle.charge(&rates, 5, now);
                told += u32::from(wait.is_some_and(|wait| wait.first && wait.bound == PUBLISHES));
            }
            assert_eq!(told, 1);
        }
    }

    #[test]
    fn nobody_is_held_up_beyond_half_of_its_keep_alive() {
        let rows = [(0, PAUSE_MAX), (10, Duration::from_secs(5)), (3600, PAUSE_MAX)];
        for (keep_alive_s, longest) in rows {
            let mut throttle = Throttle::new(keep_alive_s);
            let wait = throttle.charge(&rates(0, 1000), 10_000_000, Time(0));
            assert_eq!(wait.map(|wait| (wait.time, wait.bound)), Some((longest, BYTES)));
        }
    }

    #[test]
    fn without_bounds_nobody_waits() {
        let (rates, mut throttle) = (rates(0, 0), Throttle::default());
        assert!(rates.are_free());
        assert_eq!(throttle.charge(&rates, usize::MAX, Time(0)), None);
    }
}
