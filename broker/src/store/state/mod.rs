//! The state: a redb file that holds all facts up to a position of the journal, as rows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use martlet_engine::change::Change;
use parking_lot::Mutex;
use redb::{Builder, Database};

use crate::store::StoreError;
use crate::store::disk::{Disk, File};
use crate::store::edits::Edit;
use crate::store::ledger::Pending;
use crate::store::progress::Progress;
use crate::store::recorder::{self, Ends, Recorder};
use crate::store::state::backend::Backend;
use crate::store::state::compaction::Compacted;
use crate::store::state::guard::guarded;
use crate::store::state::load::Loaded;

mod backend;
pub(super) mod compaction;
mod guard;
pub(super) mod load;
mod rows;
pub(super) mod version;
mod write;

/// The version of rows that this broker writes, and the newest it reads.
const VERSION: u32 = 4;

/// The state's file.
#[derive(Debug)]
pub(super) struct State {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    cache_bytes: usize,
    compact_waste_bytes: u64,
    last_compaction: Mutex<Compacted>,
    /// `None` after an error: it is opened anew.
    opened: Mutex<Option<Opened>>,
    /// Bytes of all keys and rows; `None`: they were not counted yet.
    stored_bytes: Mutex<Option<u64>>,
}

#[derive(Debug)]
struct Opened {
    database: Database,
    file: Arc<dyn File>,
}

/// A cache of so many times the bytes of a checkpoint's messages holds all pages that it writes:
/// keys and what else a page has are less than half of them, and half a cache is for writing.
const CACHE_FOR_MESSAGES: usize = 3;

/// The largest cache of a checkpoint. Half of it holds what the journal's 16 MiB leave; what comes
/// beyond (behind a slow disk, or of a whole state written anew) has pages that are written twice.
const CHECKPOINT_CACHE_MAX: usize = 32 << 20;

/// What one checkpoint writes.
#[derive(Debug, Default)]
pub(super) struct Checkpoint {
    pub(super) pending: Pending,
    /// The newest frame whose facts are in.
    pub(super) position: u64,
    pub(super) next_key: u64,
    pub(super) next_segment: u64,
    /// Recorded messages that were never safe in the journal. Only once they are safe here may the
    /// log have them: it would else show what a power cut takes from everybody else.
    pub(super) records: Vec<Change>,
    /// Who keeps what was recorded, and has to have it before the journal lets it go.
    pub(super) recorder: Option<Arc<dyn Recorder>>,
}

impl Checkpoint {
    /// Where the log goes on after it, of the streams that have moved.
    fn ends(&self) -> Ends {
        let moved = self.pending.streams.0.iter().filter_map(|(stream, edit)| match edit {
            Edit::Insert(end) | Edit::Replace(end) => Some((stream.clone(), *end)),
            Edit::Delete => None,
        });
        recorder::before(&self.records, moved.collect())
    }
}

impl State {
    /// `compact_waste_bytes`: bytes that nothing needs before they are given back.
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        path: PathBuf,
        cache_bytes: usize,
        compact_waste_bytes: u64,
    ) -> Self {
        let (last_compaction, stored_bytes) = (Mutex::default(), Mutex::new(None));
        let opened = Mutex::new(None);
        Self { disk, path, cache_bytes, compact_waste_bytes, last_compaction, opened, stored_bytes }
    }

    /// Everything in it; `Err(Ok(reason))`: it cannot be opened because it is damaged.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub(super) fn load(
        &self,
        progress: &mut Progress,
    ) -> Result<Result<Loaded, String>, StoreError> {
        let mut slot = self.opened.lock();
        let loaded = guarded(|| {
            let opened = self.open(self.cache_bytes)?;
            let loaded = load::load(&opened.database, progress)?;
            *slot = Some(opened);
            Ok(loaded)
        });
        if let Err(Failed::Damaged(reason)) = loaded {
            return Ok(Err(reason));
        }
        loaded.map(Ok).map_err(|failed| self.refused("reading", failed))
    }

    /// Writes a checkpoint, all or nothing of it; returns when it is safe on disk. Then gives back
    /// what the file has too much, if that is much.
    ///
    /// # Errors
    /// When it could not be written; the file is as it was before.
    pub(super) fn write(&self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        if let Some(recorder) = &checkpoint.recorder {
            recorder.sync()?;
        }
        let is_large = self.open_for(checkpoint)?;
        self.with("writing the checkpoint to", |opened| {
            let grown = write::write(&opened.database, checkpoint)?;
            let mut stored = self.stored_bytes.lock();
            *stored = stored.zip(grown).map(|(stored, grown)| stored.saturating_add_signed(grown));
            Ok(())
        })?;
        if let Some(recorder) = &checkpoint.recorder {
            recorder.settled(&checkpoint.ends());
        }
        if let Err(error) = self.compact_if_it_pays() {
            tracing::warn!(%error, "The state stays larger than it need be.");
        }
        if is_large {
            self.close(); // so that the memory for its pages goes
        }
        Ok(())
    }

    /// Opens the file with a cache that holds the pages of this checkpoint, if they are many: one
    /// that has to leave the cache is written, read again for its checksum, and written once more.
    /// Whether it did.
    fn open_for(&self, checkpoint: &Checkpoint) -> Result<bool, StoreError> {
        let wanted = checkpoint.pending.message_bytes().saturating_mul(CACHE_FOR_MESSAGES);
        let cache_bytes = wanted.min(CHECKPOINT_CACHE_MAX);
        if cache_bytes <= self.cache_bytes {
            return Ok(false);
        }
        self.close();
        let opened = guarded(|| self.open(cache_bytes));
        *self.opened.lock() = Some(opened.map_err(|failed| self.refused("opening", failed))?);
        Ok(true)
    }

    /// Does something with the open file. After an error it is opened anew.
    fn with<T>(
        &self,
        doing: &str,
        run: impl FnOnce(&mut Opened) -> Result<T, Failed>,
    ) -> Result<T, StoreError> {
        let mut slot = self.opened.lock();
        let done = guarded(|| {
            let mut opened = match slot.take() {
                Some(opened) => opened,
                None => self.open(self.cache_bytes)?,
            };
            let done = run(&mut opened)?;
            *slot = Some(opened);
            Ok(done)
        });
        if done.is_err() {
            *self.stored_bytes.lock() = None;
        }
        done.map_err(|failed| self.refused(doing, failed))
    }

    fn refused(&self, doing: &str, failed: Failed) -> StoreError {
        let doing = format!("{doing} {}", self.path.display());
        StoreError::State { doing, reason: failed.words() }
    }

    /// Closes the file in order; where it is damaged, it is left as it is for the next start.
    pub(super) fn close(&self) {
        let closed = guarded(|| {
            drop(self.opened.lock().take());
            Ok(())
        });
        if let Err(failed) = closed {
            let (path, reason) = (self.path.display(), failed.words());
            tracing::warn!("Closing {path}: {reason}.");
        }
    }

    fn open(&self, cache_bytes: usize) -> Result<Opened, Failed> {
        let (opened, is_new) = match self.disk.open(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                (self.disk.create(&self.path), true)
            }
            opened => (opened, false),
        };
        let file: Arc<dyn File> = opened.map_err(Failed::io)?.into();
        // What a killed process wrote is read here although it may not be safe yet, name included.
        file.sync().map_err(Failed::io)?;
        let folder = self.path.parent().unwrap_or(Path::new(""));
        self.disk.sync_folder(folder).map_err(Failed::io)?;
        let mut builder = Builder::new();
        builder.set_cache_size(cache_bytes);
        let database = builder.create_with_backend(Backend(Arc::clone(&file)))?;
        if is_new {
            *self.stored_bytes.lock() = Some(0);
        }
        Ok(Opened { database, file })
    }
}

/// As `close`: the database looks at its pages again when it is dropped.
impl Drop for State {
    fn drop(&mut self) {
        self.close();
    }
}

/// Why the database did not do it.
#[derive(Debug)]
enum Failed {
    /// The operating system, or the database, would not; another time it may.
    Refused(String),
    /// The file is not what it was.
    Damaged(String),
}

impl Failed {
    fn io(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof => {
                Self::Damaged(error.to_string())
            }
            _ => Self::Refused(error.to_string()),
        }
    }

    fn words(self) -> String {
        match self {
            Self::Refused(reason) | Self::Damaged(reason) => reason,
        }
    }
}

impl<E: Into<redb::Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        match error.into() {
            redb::Error::Io(error) => Self::io(error),
            error @ (redb::Error::Corrupted(_)
            | redb::Error::TableTypeMismatch { .. }
            | redb::Error::TableIsMultimap(_)
            | redb::Error::RepairAborted) => Self::Damaged(error.to_string()),
            error => Self::Refused(error.to_string()),
        }
    }
}
