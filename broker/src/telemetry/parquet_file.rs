//! Records as one Parquet file of somebody's own: an export.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::store::disk::{Disk, File, Real};
use crate::telemetry::columnar::Fault;
use crate::telemetry::columnar::write::Writer;
use crate::telemetry::columns::Column;
use crate::telemetry::{LogError, Record};

/// A file that is being written: beside its place, until it is whole. Dropped before, nothing of it
/// stays.
pub struct ParquetFile {
    /// `None`: it is finished.
    writer: Option<Writer>,
    file: Arc<dyn File>,
    begun: PathBuf,
    path: PathBuf,
}

impl ParquetFile {
    /// Begins one, with columns that are taken out of payloads.
    ///
    /// # Errors
    /// The operating system's; that this martlet was built without Parquet.
    pub fn create(path: &Path, columns: &[Column]) -> Result<Self, LogError> {
        let mut begun = path.as_os_str().to_owned();
        begun.push(".begun");
        let begun = PathBuf::from(begun);
        let file = Real.create(&begun).map_err(|error| LogError::io("writing", &begun, error))?;
        let file: Arc<dyn File> = file.into();
        let mut made = Self { writer: None, file, begun, path: path.to_owned() };
        let writer = Writer::new(Arc::clone(&made.file), columns);
        made.writer = Some(writer.map_err(|fault| made.refused(fault))?);
        Ok(made)
    }

    /// Adds a record.
    ///
    /// # Errors
    /// The operating system's.
    ///
    /// # Panics
    /// Never: only [`finish`](Self::finish), which takes the file, ends the writing.
    pub fn add(&mut self, record: &Record<'_>) -> Result<(), LogError> {
        let writer = self.writer.as_mut().expect("it is not finished");
        writer.add(record).map_err(|fault| self.refused(fault))
    }

    /// Makes it whole and safe, and gives it its name.
    ///
    /// # Errors
    /// The operating system's.
    pub fn finish(mut self) -> Result<(), LogError> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        let done = writer.finish().and_then(|_| Ok(self.file.sync()?));
        let named = done.and_then(|()| Ok(Real.rename(&self.begun, &self.path)?));
        let folder = self.path.parent().unwrap_or(Path::new(""));
        named.and_then(|()| Ok(Real.sync_folder(folder)?)).map_err(|fault| self.refused(fault))
    }

    fn refused(&self, fault: Fault) -> LogError {
        let source = match fault {
            Fault::Io(error) => error,
            Fault::Damaged { reason, .. } => std::io::Error::other(reason),
        };
        LogError::io("writing", &self.begun, source)
    }
}

impl Drop for ParquetFile {
    fn drop(&mut self) {
        // After it was finished there is none of that name.
        let _ = Real.remove(&self.begun);
    }
}

impl std::fmt::Debug for ParquetFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParquetFile").field("path", &self.path).finish_non_exhaustive()
    }
}
