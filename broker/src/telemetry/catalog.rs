//! What the log remembers besides its records: named cursors, and topics that were deleted. One
//! small file, written anew with each change: beside, synced, renamed.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::store::disk::Disk;
use crate::telemetry::LogError;

const FILE: &str = "catalog.json";
/// A catalog that is being written.
const BEGUN: &str = "catalog.json.begun";
/// One that could not be read.
const DAMAGED: &str = "catalog.json.damaged";

/// The version that is written.
const VERSION: u32 = 1;

/// By topic: records below this offset are deleted.
pub(super) type Deleted = BTreeMap<Box<str>, u64>;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Catalog {
    version: u32,
    pub(super) cursors: BTreeMap<String, Cursor>,
    /// By stream.
    pub(super) deleted: BTreeMap<String, Deleted>,
}

/// A named cursor as it is kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Cursor {
    pub(super) stream: String,
    /// `None`: everything.
    pub(super) filter: Option<String>,
    /// Everything below was acknowledged.
    pub(super) position: u64,
}

impl Default for Catalog {
    fn default() -> Self {
        Self { version: VERSION, cursors: BTreeMap::new(), deleted: BTreeMap::new() }
    }
}

impl Catalog {
    /// Reads it. One that cannot be understood is set aside, and a new one begun.
    pub(super) fn load(disk: &dyn Disk, folder: &Path) -> Result<Self, LogError> {
        let path = folder.join(FILE);
        let reading = |source| LogError::io("reading", &path, source);
        let file = match disk.open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            opened => opened.map_err(reading)?,
        };
        let len = usize::try_from(file.len().map_err(reading)?).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len];
        file.read_at(0, &mut bytes).map_err(reading)?;
        match serde_json::from_slice::<Self>(&bytes) {
            Ok(catalog) if catalog.version <= VERSION => Ok(catalog),
            Ok(catalog) => Err(LogError::Newer { found: catalog.version, known: VERSION }),
            Err(error) => {
                tracing::error!(
                    "{} cannot be read: {error}. Cursors and deletions are lost; it is kept as {}.",
                    path.display(),
                    folder.join(DAMAGED).display()
                );
                disk.rename(&path, &folder.join(DAMAGED)).map_err(reading)?;
                Ok(Self::default())
            }
        }
    }

    /// Returns when it is safe.
    pub(super) fn save(&self, disk: &dyn Disk, folder: &Path) -> Result<(), LogError> {
        let begun = folder.join(BEGUN);
        let writing = |source| LogError::io("writing", &begun, source);
        let bytes = serde_json::to_vec(self).map_err(|error| writing(error.into()))?;
        let file = disk.create(&begun).map_err(writing)?;
        file.write_at(0, &bytes).map_err(writing)?;
        file.sync().map_err(writing)?;
        disk.rename(&begun, &folder.join(FILE)).map_err(writing)?;
        disk.sync_folder(folder).map_err(writing)
    }
}
