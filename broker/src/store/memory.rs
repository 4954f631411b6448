//! Stores without a disk.

use std::sync::Arc;

use martlet_engine::change::Change;
use martlet_engine::snapshot::Snapshot;
use parking_lot::Mutex;

use crate::store::{Store, StoreError};

/// Keeps nothing: the engine's own memory is all there is, and it ends with the process.
#[derive(Debug, Default)]
pub struct Volatile;

impl Store for Volatile {
    fn load(&mut self) -> Result<Snapshot, StoreError> {
        Ok(Snapshot::default())
    }

    fn commit(&mut self, _: &[Change]) -> Result<(), StoreError> {
        Ok(())
    }

    fn is_volatile(&self) -> bool {
        true
    }
}

/// Keeps a snapshot in memory that outlives the broker it served: for tests that restart one.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<Snapshot>>);

impl Store for Memory {
    fn load(&mut self) -> Result<Snapshot, StoreError> {
        Ok(self.0.lock().clone())
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let mut snapshot = self.0.lock();
        for change in changes {
            snapshot.apply(change);
        }
        Ok(())
    }
}
