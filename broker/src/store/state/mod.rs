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
const VERSION: u32 = 3;

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
}

#[derive(Debug)]
struct Opened {
    database: Database,
    file: Arc<dyn File>,
    /// Bytes of all keys and rows; `None`: they were not counted yet.
    stored_bytes: Option<u64>,
}

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
        let (last_compaction, opened) = (Mutex::default(), Mutex::new(None));
        Self { disk, path, cache_bytes, compact_waste_bytes, last_compaction, opened }
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
            let opened = self.open()?;
            let loaded = load::load(&opened.database, progress)?;
            *slot = Some(opened);
            Ok(loaded)
        });
        if let Err(Failed::Damaged(reason)) = loaded {
            return Ok(Err(reason));
        }
        let doing = || format!("reading {}", self.path.display());
        let loaded =
            loaded.map_err(|failed| StoreError::State { doing: doing(), reason: failed.words() });
        loaded.map(Ok)
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
        self.with("writing the checkpoint to", |opened| {
            let grown = write::write(&opened.database, checkpoint)?;
            let stored = opened.stored_bytes.zip(grown);
            opened.stored_bytes = stored.map(|(stored, grown)| stored.saturating_add_signed(grown));
            Ok(())
        })?;
        if let Some(recorder) = &checkpoint.recorder {
            recorder.settled(&checkpoint.ends());
        }
        if let Err(error) = self.compact_if_it_pays() {
            tracing::warn!(%error, "The state stays larger than it need be.");
        }
        Ok(())
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
                None => self.open()?,
            };
            let done = run(&mut opened)?;
            *slot = Some(opened);
            Ok(done)
        });
        done.map_err(|failed| {
            let doing = format!("{doing} {}", self.path.display());
            StoreError::State { doing, reason: failed.words() }
        })
    }

    /// Closes the file in order.
    pub(super) fn close(&self) {
        *self.opened.lock() = None;
    }

    fn open(&self) -> Result<Opened, Failed> {
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
        builder.set_cache_size(self.cache_bytes);
        let database = builder.create_with_backend(Backend(Arc::clone(&file)))?;
        let stored_bytes = is_new.then_some(0);
        Ok(Opened { database, file, stored_bytes })
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
