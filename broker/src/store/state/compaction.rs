//! Giving back what the state's file has too much. The database uses free pages again but keeps
//! them: after a flood has drained, the file would stay as large as the flood was.

use serde::Serialize;

use crate::store::StoreError;
use crate::store::state::{Failed, Opened, State};

/// How the state's file is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Its length.
    pub file_bytes: u64,
    /// Bytes of the pages in use.
    pub allocated_bytes: u64,
    /// Bytes of keys and rows.
    pub stored_bytes: u64,
    /// Bytes in pages, used or not, that hold nothing.
    pub fragmented_bytes: u64,
}

/// What the last compaction left, or had before it when it failed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Compacted {
    file_bytes: u64,
    stored_bytes: u64,
}

impl Compacted {
    /// Whether another may do better. The database doubles its file when it needs a page: that
    /// alone is no reason.
    fn is_old(self, file_bytes: u64, stored_bytes: u64) -> bool {
        file_bytes > 2 * self.file_bytes || stored_bytes < self.stored_bytes / 2
    }
}

/// Bytes of rows beyond which a running broker leaves the file as it is: it moves as much at most,
/// and while it does no checkpoint is written, so that commits would wait once the journal is at
/// its bound.
const COMPACT_STORED_MAX: u64 = 256 << 20;

impl State {
    /// How the file is used. Reads all of it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(in crate::store) fn usage(&self) -> Result<Usage, StoreError> {
        self.with("reading", |opened| opened.usage())
    }

    /// Reads all pages, also those that no row stands in; what is wrong with them, in words.
    ///
    /// # Errors
    /// When the machine refuses.
    pub(in crate::store) fn verify(&self) -> Result<Option<String>, StoreError> {
        self.with("reading", |opened| match opened.database.check_integrity() {
            Ok(true) => Ok(None),
            Ok(false) => Ok(Some("its pages were not as they should be".to_owned())),
            Err(error) => match Failed::from(error) {
                Failed::Damaged(words) => Ok(Some(words)),
                refused @ Failed::Refused(_) => Err(refused),
            },
        })
    }

    /// Makes the file as small as it can be, and closes it.
    ///
    /// # Errors
    /// When that could not be done; all rows are there.
    pub(in crate::store) fn compact(&self) -> Result<(), StoreError> {
        self.with("compacting", Opened::compact)?;
        self.close();
        Ok(())
    }

    /// Gives back what the file has too much, if that is more than half of it and worth the while.
    pub(super) fn compact_if_it_pays(&self) -> Result<(), StoreError> {
        self.with("compacting", |opened| {
            let before = opened.file.len().map_err(Failed::io)?;
            if before <= self.compact_waste_bytes {
                return Ok(());
            }
            let mut counted = self.stored_bytes.lock();
            let stored = match *counted {
                Some(stored) => stored,
                None => opened.usage()?.stored_bytes,
            };
            *counted = Some(stored);
            drop(counted);
            let wasted = before.saturating_sub(stored);
            let mut last = self.last_compaction.lock();
            let pays = wasted > stored.max(self.compact_waste_bytes);
            if !pays || stored > COMPACT_STORED_MAX || !last.is_old(before, stored) {
                return Ok(());
            }
            *last = Compacted { file_bytes: before, stored_bytes: stored };
            opened.compact()?;
            let after = opened.file.len().map_err(Failed::io)?;
            last.file_bytes = after;
            tracing::info!("The state was {before} bytes and is {after} now.");
            Ok(())
        })
    }
}

impl Opened {
    fn usage(&self) -> Result<Usage, Failed> {
        let transaction = self.database.begin_write()?;
        let stats = transaction.stats()?;
        transaction.abort()?;
        Ok(Usage {
            file_bytes: self.file.len().map_err(Failed::io)?,
            allocated_bytes: stats.allocated_pages() * stats.page_size() as u64,
            stored_bytes: stats.stored_bytes(),
            fragmented_bytes: stats.fragmented_bytes(),
        })
    }

    fn compact(&mut self) -> Result<(), Failed> {
        self.database.compact()?;
        Ok(())
    }
}
