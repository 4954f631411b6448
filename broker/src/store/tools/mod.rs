//! What operators do with a store that no broker works on: see whether it is sound, what is in it,
//! take it out, make its files small. All but the last change nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use martlet_engine::snapshot::Snapshot;

use crate::store::damage::Damage;
use crate::store::disk::{Disk, Lock};
use crate::store::durable::{self, Durable, JOURNAL, LOCK, STATE, STATE_REBUILT, Settings};
use crate::store::tools::view::View;
use crate::store::{Store, StoreError};

pub mod check;
pub mod compact;
pub mod export;
pub mod stats;
pub mod view;

/// A store that is looked at, as a broker would find it. Nothing of it is changed, and no broker
/// can start on it meanwhile.
#[derive(Debug)]
pub struct Look {
    folder: PathBuf,
    files: Files,
    store: Durable,
    _lock: Box<dyn Lock>,
}

/// Opens the store in a folder to look at it, and reads all of it.
///
/// # Errors
/// When there is none, it cannot be read, a broker works on it, or a newer one wrote it. Damage is
/// no error.
pub fn look(folder: &Path) -> Result<Look, StoreError> {
    let files = Files::of(folder)?;
    let view = Arc::new(View::default());
    let lock = folder.join(LOCK);
    let locking = |source| StoreError::io(format!("reading {}", lock.display()), source);
    let lock = view.lock(&lock).map_err(locking)?.ok_or_else(|| StoreError::Locked {
        folder: folder.to_owned(),
        holder: view.holder(&lock),
    })?;
    let settings = Settings { background: false, ..Settings::new(folder.into(), String::new()) };
    let store = durable::open_on(view, settings)?;
    Ok(Look { folder: folder.to_owned(), files, store, _lock: lock })
}

impl Look {
    /// What cannot be read.
    pub fn damage(&self) -> &[Damage] {
        self.store.damage()
    }

    fn facts(&self) -> &Snapshot {
        self.store.facts()
    }
}

/// The files of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Files {
    state: Option<Measured>,
    /// The journal's segments, oldest first.
    segments: Vec<Measured>,
    /// What was set aside because it was damaged.
    aside: Vec<Measured>,
}

/// A file and its length.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Measured {
    /// The file.
    #[serde(serialize_with = "shown")]
    pub file: PathBuf,
    /// Its length.
    pub bytes: u64,
}

impl Files {
    /// # Errors
    /// When there are none.
    fn of(folder: &Path) -> Result<Self, StoreError> {
        let reading = |source| StoreError::io(format!("reading {}", folder.display()), source);
        if !std::fs::metadata(folder).map_err(reading)?.is_dir() {
            return Err(StoreError::NotAFolder { folder: folder.to_owned() });
        }
        let here = listed(folder)?;
        let journal = folder.join(JOURNAL);
        let journal = if journal.is_dir() { listed(&journal)? } else { Vec::new() };
        let named = |name: &str| here.iter().find(|sized| sized.file.ends_with(name)).cloned();
        let state = named(STATE).or_else(|| named(STATE_REBUILT));
        let is_segment = |file: &&Measured| file.file.extension().is_some_and(|e| e == "journal");
        let segments: Vec<_> = journal.iter().filter(is_segment).cloned().collect();
        let aside = here.iter().chain(&journal).filter(|sized| Damage::is_aside(&sized.file));
        let files = Self { state, segments, aside: aside.cloned().collect() };
        match files.state.is_none() && files.segments.is_empty() && files.aside.is_empty() {
            true => Err(StoreError::Missing { folder: folder.to_owned() }),
            false => Ok(files),
        }
    }

    /// Bytes of those that a broker works with.
    fn bytes(&self) -> u64 {
        self.state.iter().chain(&self.segments).map(|sized| sized.bytes).sum()
    }
}

/// The files in a folder, by name.
fn listed(folder: &Path) -> Result<Vec<Measured>, StoreError> {
    let reading = |source| StoreError::io(format!("reading {}", folder.display()), source);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(reading)? {
        let entry = entry.map_err(reading)?;
        let bytes = entry.metadata().map_err(reading)?.len();
        files.push(Measured { file: entry.path(), bytes });
    }
    files.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(files)
}

/// A path for JSON, which knows texts only.
fn shown<S: serde::Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

/// Bytes as people read them.
fn size(bytes: u64) -> String {
    let (mut number, mut unit) = (bytes as f64, "bytes");
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if number < 1024.0 {
            break;
        }
        (number, unit) = (number / 1024.0, larger);
    }
    if unit == "bytes" { format!("{bytes} bytes") } else { format!("{number:.1} {unit}") }
}
