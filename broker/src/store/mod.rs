//! The disk's seam: what the driver needs from whoever keeps the facts.

use martlet_engine::change::Change;
use martlet_engine::snapshot::Snapshot;

pub mod memory;

/// Keeps facts. Knows changes, not packets.
pub trait Store: Send {
    /// Everything that was kept, for a new engine. Called once, before the first commit.
    ///
    /// # Errors
    /// When what is there cannot be read.
    fn load(&mut self) -> Result<Snapshot, StoreError>;

    /// Keeps these facts, all or none of them, as firmly as this store can; returns when they are
    /// kept. Promises that rest on them leave after this returned (I2).
    ///
    /// # Errors
    /// When they could not be kept. The store is as it was before.
    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError>;

    /// Whether `commit` returns at once because nothing outlives the process, so that nobody need
    /// wait for another thread to call it.
    fn is_volatile(&self) -> bool {
        false
    }
}

/// Why facts could not be kept or read: the machine's fault.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done, and to which file.
        doing: String,
        /// The operating system's words.
        source: std::io::Error,
    },
}
