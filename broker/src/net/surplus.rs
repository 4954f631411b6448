//! When memory that clients leave behind goes back to the system.
//!
//! What a thread has freed an allocator may keep for it until it allocates again, and so what
//! others have freed of its memory: a broker that clients have left does not allocate. So each
//! thread that serves them is asked to give back what it has too much, a moment after so many
//! connections have ended that it is worth it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

/// How many connections end before it is worth it: they leave a megabyte behind, or several, and
/// to look for it takes as long as a few of them took to connect.
const CLOSED_MIN: u64 = 1000;

/// How long after that: when one of them leaves, others mostly do.
const MOMENT: Duration = Duration::from_millis(500);

/// Counts the connections that end, for those who give back.
#[derive(Debug, Default)]
pub struct Surplus(watch::Sender<()>);

impl Surplus {
    /// A connection has ended, the `closed`th.
    pub(super) fn after(&self, closed: u64) {
        if closed.is_multiple_of(CLOSED_MIN) {
            self.0.send_replace(());
        }
    }

    /// Has the thread that runs this call `give_back` whenever it is worth it, for ever.
    pub async fn tend(self: Arc<Self>, give_back: fn()) {
        let mut many = self.0.subscribe();
        while many.changed().await.is_ok() {
            sleep(MOMENT).await;
            many.mark_unchanged();
            give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thousandth_that_leaves_is_worth_it() {
        let surplus = Surplus::default();
        let mut many = surplus.0.subscribe();
        let seen = [1..=999, 1000..=1999, 2000..=2000, 2001..=2999].map(|closed| {
            closed.for_each(|closed| surplus.after(closed));
            let seen = many.has_changed().expect("it is there");
            many.mark_unchanged();
            seen
        });
        assert_eq!(seen, [false, true, true, false]);
    }
}
