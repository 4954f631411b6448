//! Which broker wrote a state, before a byte of it is changed: to open the database marks its file
//! as open, and repairs what a killed process left.

use std::path::Path;
use std::sync::Arc;

use redb::{Builder, ReadableDatabase, TableError};

use crate::store::StoreError;
use crate::store::disk::Disk;
use crate::store::overlay::Overlay;
use crate::store::state::backend::Backend;
use crate::store::state::guard::guarded;
use crate::store::state::rows::{self, meta};
use crate::store::state::{Failed, VERSION};

/// Memory for the pages that the version stands in.
const CACHE_BYTES: usize = 1 << 20;

/// Answers as if it had opened the state, if one is there. What is damaged has no version.
///
/// # Errors
/// When a newer broker wrote it, or the operating system refuses.
pub(in crate::store) fn refuse_newer(disk: &dyn Disk, path: &Path) -> Result<(), StoreError> {
    match guarded(|| version(disk, path)) {
        Ok(version) if version > u64::from(VERSION) => {
            let found = u32::try_from(version).unwrap_or(u32::MAX);
            Err(StoreError::Newer { file: path.to_owned(), found, known: VERSION })
        }
        Ok(_) | Err(Failed::Damaged(_)) => Ok(()),
        Err(Failed::Refused(reason)) => {
            Err(StoreError::State { doing: format!("reading {}", path.display()), reason })
        }
    }
}

/// 0: there is none.
fn version(disk: &dyn Disk, path: &Path) -> Result<u64, Failed> {
    let file = match disk.open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        opened => opened.and_then(Overlay::over).map_err(Failed::io)?,
    };
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    let database = builder.create_with_backend(Backend(Arc::new(file)))?;
    let table = match database.begin_read()?.open_table(rows::META) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(0),
        opened => opened?,
    };
    let key = meta::VERSION.as_bytes();
    let Some(row) = table.get(key)? else { return Ok(0) };
    let version = rows::opened(key, row.value()).and_then(rows::read_number);
    version.map_err(|error| Failed::Damaged(error.to_string()))
}
