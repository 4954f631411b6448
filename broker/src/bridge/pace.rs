//! How fast messages may go out.

use martlet_engine::input::Time;

use crate::bridge::relay::after;

/// How many messages may go out now.
#[derive(Debug)]
pub(super) struct Pace {
    /// In a second; 0 is no bound.
    per_s: u32,
    /// In thousandths of a message.
    credit: u64,
    at: Time,
}

impl Pace {
    /// So many in a second, the first at once.
    pub(super) fn new(per_s: u32, now: Time) -> Self {
        Self { per_s, credit: 1000, at: now }
    }

    /// Time has passed.
    pub(super) fn earn(&mut self, now: Time) {
        let ms = now.0.saturating_sub(self.at.0);
        // A second's worth at the most: a bridge that was idle does not flood either.
        let most = u64::from(self.per_s) * 1000;
        self.credit = (self.credit + ms * u64::from(self.per_s)).min(most.max(1000));
        self.at = now;
    }

    /// Whether one may go.
    pub(super) fn spend(&mut self) -> bool {
        if self.per_s == 0 {
            return true;
        }
        let left = self.credit.checked_sub(1000);
        self.credit = left.unwrap_or(self.credit);
        left.is_some()
    }

    /// When there is enough for one.
    pub(super) fn next(&self) -> Option<Time> {
        if self.per_s == 0 {
            return None;
        }
        let missing = 1000_u64.saturating_sub(self.credit);
        Some(after(self.at, missing.div_ceil(u64::from(self.per_s))))
    }
}
