//! The state: a redb file that holds all facts up to a position of the journal, as rows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use redb::{Builder, Database};

use crate::store::StoreError;
use crate::store::disk::Disk;
use crate::store::ledger::Pending;
use crate::store::progress::Progress;
use crate::store::state::backend::Backend;
use crate::store::state::guard::guarded;
use crate::store::state::load::Loaded;

mod backend;
mod guard;
pub(super) mod load;
mod rows;
mod write;

/// The version of rows that this broker writes, and the newest it reads.
const VERSION: u32 = 1;

/// The state's file.
#[derive(Debug)]
pub(super) struct State {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    cache_bytes: usize,
    /// `None` after an error: it is opened anew.
    database: Mutex<Option<Database>>,
}

/// What one checkpoint writes.
#[derive(Debug, Default)]
pub(super) struct Checkpoint {
    pub(super) pending: Pending,
    /// The newest frame whose facts are in.
    pub(super) position: u64,
    pub(super) next_key: u64,
    pub(super) next_segment: u64,
}

impl State {
    pub(super) fn new(disk: Arc<dyn Disk>, path: PathBuf, cache_bytes: usize) -> Self {
        Self { disk, path, cache_bytes, database: Mutex::new(None) }
    }

    /// Everything in it; `Err(Ok(reason))`: it cannot be opened because it is damaged.
    ///
    /// # Errors
    /// When the operating system refuses, or a newer broker wrote it.
    pub(super) fn load(
        &self,
        progress: &mut Progress,
    ) -> Result<Result<Loaded, String>, StoreError> {
        let mut database = self.database.lock();
        let loaded = guarded(|| {
            let opened = self.open()?;
            let loaded = load::load(&opened, progress)?;
            *database = Some(opened);
            Ok(loaded)
        });
        let version = match &loaded {
            Ok(loaded) => loaded.version,
            Err(Failed::Damaged(reason)) => return Ok(Err(reason.clone())),
            Err(Failed::Refused(_)) => 0,
        };
        if version > VERSION {
            let (file, found, known) = (self.path.clone(), version, VERSION);
            return Err(StoreError::Newer { file, found, known });
        }
        let doing = || format!("reading {}", self.path.display());
        let loaded =
            loaded.map_err(|failed| StoreError::State { doing: doing(), reason: failed.words() });
        loaded.map(Ok)
    }

    /// Writes a checkpoint, all or nothing of it; returns when it is safe on disk.
    ///
    /// # Errors
    /// When it could not be written; the file is as it was before.
    pub(super) fn write(&self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        let mut database = self.database.lock();
        let written = guarded(|| {
            let opened = match database.take() {
                Some(opened) => opened,
                None => self.open()?,
            };
            write::write(&opened, checkpoint)?;
            *database = Some(opened);
            Ok(())
        });
        written.map_err(|failed| {
            let doing = format!("writing the checkpoint to {}", self.path.display());
            StoreError::State { doing, reason: failed.words() }
        })
    }

    /// Closes the file in order.
    pub(super) fn close(&self) {
        *self.database.lock() = None;
    }

    fn open(&self) -> Result<Database, Failed> {
        let file = match self.disk.open(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.disk.create(&self.path)
            }
            opened => opened,
        };
        let file = file.map_err(Failed::io)?;
        // What a killed process wrote is read here although it may not be safe yet, name included.
        file.sync().map_err(Failed::io)?;
        let folder = self.path.parent().unwrap_or(Path::new(""));
        self.disk.sync_folder(folder).map_err(Failed::io)?;
        let mut builder = Builder::new();
        builder.set_cache_size(self.cache_bytes);
        Ok(builder.create_with_backend(Backend(file))?)
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
