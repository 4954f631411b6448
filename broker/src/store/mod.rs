//! The disk's seam: what the driver needs from whoever keeps the facts.
//!
//! [`durable`] keeps them in a journal, which promises wait for, and in the state, which the
//! journal is written into from time to time; `docs/persistence.md` says how, and why a crash at
//! any moment loses nothing. [`memory`] keeps them as long as the process lives.

use std::path::PathBuf;
use std::time::Duration;

use martlet_engine::change::Change;
use martlet_engine::snapshot::Snapshot;

use crate::store::damage::Damage;

pub mod damage;
pub mod disk;
pub mod durable;
pub mod memory;
pub mod record;
pub mod recorder;
pub mod tools;

mod edits;
mod journal;
mod ledger;
mod overlay;
mod progress;
mod state;

/// Keeps facts. Knows changes, not packets.
pub trait Store: Send {
    /// Everything that was kept, for a new engine. Called once, before the first commit.
    ///
    /// # Errors
    /// When what is there cannot be read.
    fn load(&mut self) -> Result<Snapshot, StoreError>;

    /// What could not be read when the store was opened. All of it was logged as errors.
    fn damage(&self) -> &[Damage] {
        &[]
    }

    /// Keeps these facts, all or none of them, as firmly as this store can; returns when they are
    /// kept. Promises that rest on them leave after this returned (I2).
    ///
    /// # Errors
    /// When they could not be kept. The store is as it was before.
    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError>;

    /// Keeps these facts as `commit` does, but nobody waits for them: a kill of the process loses
    /// none of them, a power cut perhaps what came since the last `commit` or [`sync`](Self::sync).
    ///
    /// # Errors
    /// As `commit`.
    fn note(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        self.commit(changes)
    }

    /// Makes what was noted as firm as what was committed.
    ///
    /// # Errors
    /// When that could not be done; it is to be asked for again.
    fn sync(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Whether `commit` returns at once because nothing outlives the process, so that nobody need
    /// wait for another thread to call it.
    fn is_volatile(&self) -> bool {
        false
    }

    /// How often [`tick`](Self::tick) wants to be called, between commits; `None`: never.
    fn tick_every(&self) -> Option<Duration> {
        None
    }

    /// One more such time has passed: does what is due by time.
    ///
    /// # Errors
    /// When it could not be done; the next tick tries again. What was committed is kept.
    fn tick(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Begins to write down what only a journal has, ahead of its time; does not wait for it.
    ///
    /// # Errors
    /// When an earlier checkpoint failed. What was committed is kept all the same.
    fn checkpoint(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// The last call, for an orderly end: leaves everything as a quick start wants it.
    ///
    /// # Errors
    /// When that could not be done. What was committed is kept all the same.
    fn close(&mut self) -> Result<(), StoreError> {
        Ok(())
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
    /// Another process works on the same folder.
    #[error(
        "{} is in use by {}: stop that one, or give this one a folder of its own",
        folder.display(),
        holder.as_deref().unwrap_or("another process")
    )]
    Locked {
        /// Which.
        folder: PathBuf,
        /// The process, in words, if it is known.
        holder: Option<String>,
    },
    /// Something else stands where the folder should be.
    #[error("{} is not a folder: name another place, or move it away", folder.display())]
    NotAFolder {
        /// Which.
        folder: PathBuf,
    },
    /// A tool was shown a folder without a store.
    #[error("there is no store in {}", folder.display())]
    Missing {
        /// Which.
        folder: PathBuf,
    },
    /// A newer broker wrote it.
    #[error(
        "{} has format {found} and this broker reads up to {known}: start the newer one again",
        file.display()
    )]
    Newer {
        /// Which file.
        file: PathBuf,
        /// Its format version.
        found: u32,
        /// The newest that is known here.
        known: u32,
    },
    /// The state's database refused.
    #[error("{doing}: {reason}")]
    State {
        /// What was being done, and to which file.
        doing: String,
        /// The database's words.
        reason: String,
    },
}

impl StoreError {
    fn io(doing: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io { doing: doing.into(), source }
    }
}
