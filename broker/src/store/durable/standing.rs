//! A store from inside, for the tools of operators.

use martlet_engine::snapshot::Snapshot;

use crate::store::durable::Durable;
use crate::store::state::State;
use crate::store::{Store, StoreError};

/// How far the journal and the state have come.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Standing {
    /// The commit up to which the state holds everything.
    pub(in crate::store) state_position: u64,
    /// The newest commit.
    pub(in crate::store) newest: u64,
    /// Bytes of the commits between these.
    pub(in crate::store) behind_bytes: u64,
}

impl Durable {
    pub(in crate::store) fn standing(&self) -> Standing {
        Standing {
            state_position: self.state_position,
            newest: self.journal.last(),
            behind_bytes: self.bytes_since,
        }
    }

    /// What it holds, until [`Store::load`] takes it away.
    pub(in crate::store) fn facts(&self) -> &Snapshot {
        self.loaded.as_ref().expect("tools look before they load, if they do at all")
    }

    pub(in crate::store) fn state(&self) -> &State {
        self.checkpoints.state()
    }

    /// Writes all to the state, gives back the room that nothing needs, and closes the store.
    pub(in crate::store) fn close_compactly(mut self) -> Result<(), StoreError> {
        self.close()?;
        self.state().compact()
    }
}
