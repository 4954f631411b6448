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
    use std::cell::Cell;

    use super::*;

    thread_local! {
        static GIVEN_BACK: Cell<u32> = const { Cell::new(0) };
    }

    #[tokio::test(start_paused = true)]
    async fn a_moment_after_a_thousand_have_left_it_is_given_back_once() {
        let surplus = Arc::new(Surplus::default());
        let tending = Arc::clone(&surplus).tend(|| GIVEN_BACK.set(GIVEN_BACK.get() + 1));
        let leaving = async {
            let mut seen = Vec::new();
            for closed in [1..1000, 1000..2500, 2500..3000, 3000..9001] {
                closed.for_each(|closed| surplus.after(closed));
                sleep(MOMENT - Duration::from_millis(1)).await;
                seen.push(GIVEN_BACK.get());
                sleep(Duration::from_millis(2)).await;
                seen.push(GIVEN_BACK.get());
            }
            seen
        };
        let seen = tokio::select! {
            () = tending => Vec::new(),
            seen = leaving => seen,
        };
        assert_eq!(seen, [0, 0, 0, 1, 1, 1, 1, 2]);
    }
}
