//! How the store is, for `$SYS`.

use std::sync::atomic::{AtomicU64, Ordering};

use martlet_engine::input::{StoreHealth, Time};

use crate::store::Store;

/// Told by the store's thread, asked by the pump.
#[derive(Debug)]
pub(super) struct Health {
    damage: Vec<Box<str>>,
    commits_failed: AtomicU64,
    /// In the engine's milliseconds; 0: the store works.
    failing_since: AtomicU64,
}

impl Health {
    pub(super) fn new(store: &dyn Store) -> Self {
        let damage = store.damage().iter().map(|damage| damage.to_string().into());
        Self {
            damage: damage.collect(),
            commits_failed: AtomicU64::new(0),
            failing_since: AtomicU64::new(0),
        }
    }

    /// A commit failed.
    pub(super) fn failed(&self, now: Time) {
        self.commits_failed.fetch_add(1, Ordering::Relaxed);
        // Only the first one's time counts.
        let _ = self.failing_since.compare_exchange(0, now.0, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The store works again.
    pub(super) fn recovered(&self) {
        self.failing_since.store(0, Ordering::Relaxed);
    }

    pub(super) fn report(&self) -> StoreHealth {
        let failing_since = self.failing_since.load(Ordering::Relaxed);
        StoreHealth {
            damage: self.damage.clone(),
            commits_failed: self.commits_failed.load(Ordering::Relaxed),
            failing_since: (failing_since != 0).then_some(Time(failing_since)),
        }
    }
}
