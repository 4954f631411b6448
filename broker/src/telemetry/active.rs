//! The segment of a stream that grows.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use martlet_engine::change::Recorded;

use crate::store::disk::{Disk, File};
use crate::telemetry::LogError;
use crate::telemetry::batch::{self, Batch};
use crate::telemetry::index::Index;
use crate::telemetry::sealed::segment_path;
use crate::telemetry::segment;

/// Records, and bytes of them, of one batch: what is checked by one checksum. A larger record
/// stands alone.
const BATCH_RECORDS_MAX: usize = 4096;
const BATCH_BYTES_MAX: usize = 256 << 10;

/// The segment that grows.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) base: u64,
    /// `None`: it could not be made yet.
    pub(super) file: Option<Arc<dyn File>>,
    pub(super) index: Index,
    /// Bytes in the file.
    pub(super) written: u64,
    /// What comes behind them.
    pub(super) unwritten: Vec<u8>,
    /// Bytes that are safe on disk, if its name is.
    pub(super) synced: u64,
    pub(super) is_named: bool,
}

impl Active {
    pub(super) fn new(base: u64) -> Self {
        Self {
            base,
            file: None,
            index: Index::default(),
            written: 0,
            unwritten: Vec::new(),
            synced: 0,
            is_named: false,
        }
    }

    /// One that is there, and how many bytes of it are whole.
    pub(super) fn reopened(base: u64, file: Arc<dyn File>, (index, written): (Index, u64)) -> Self {
        Self { file: Some(file), index, written, ..Self::new(base) }
    }

    pub(super) fn len(&self) -> u64 {
        self.written + self.unwritten.len() as u64
    }

    pub(super) fn add(&mut self, records: &[&Recorded]) {
        let (at, start) = (self.len(), self.unwritten.len());
        batch::write(&mut self.unwritten, records.iter().map(|record| batch::lend(record)));
        self.index.add(batch::trusted(&self.unwritten[start..]), at);
    }

    /// Reads what was written since by somebody else; the offset behind it. `None`: it is not the
    /// file that it was. A start cuts it, and what is behind may be written in other batches.
    pub(super) fn look_again(
        &mut self,
        disk: &dyn Disk,
        folder: &Path,
    ) -> Result<Option<u64>, LogError> {
        let path = segment_path(folder, self.base);
        let reading = |source| LogError::io("reading", &path, source);
        let file: Arc<dyn File> = match disk.open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(reading)?.into(),
        };
        if !self.begins_alike(&*file).map_err(reading)? {
            return Ok(None);
        }
        let (from, add) = (self.written, |batch: Batch<'_>, at| self.index.add(batch, at));
        let scanned = segment::scan(&*file, from..u64::MAX, |_| true, add);
        self.written = scanned.map_err(reading)?.end;
        self.file = Some(file);
        Ok(Some(self.index.end().unwrap_or(self.base)))
    }

    /// Whether the last block that is known stands in the file as it did: batch after batch, up to
    /// where it ends.
    fn begins_alike(&self, file: &dyn File) -> io::Result<bool> {
        if file.len()? < self.written {
            return Ok(false);
        }
        let Some(block) = self.index.blocks.last() else { return Ok(true) };
        let mut bytes = vec![0; usize::try_from(block.bytes).unwrap_or(usize::MAX)];
        file.read_at(block.at, &mut bytes)?;
        Ok(block.is_made_of(&bytes))
    }

    pub(super) fn write_out(&mut self, disk: &dyn Disk, folder: &Path) -> Result<(), LogError> {
        let path = segment_path(folder, self.base);
        let writing = |source| LogError::io("writing", &path, source);
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(disk.create(&path).map_err(writing)?.into()),
        };
        if self.unwritten.is_empty() {
            return Ok(());
        }
        file.write_at(self.written, &self.unwritten).map_err(writing)?;
        self.written += self.unwritten.len() as u64;
        self.unwritten.clear();
        self.unwritten.shrink_to(BATCH_BYTES_MAX);
        Ok(())
    }
}

/// How many of the records go into one batch: their offsets follow each other.
pub(super) fn batch_len(records: &[&Recorded]) -> usize {
    let mut bytes = 0;
    let fits = |(at, record): &(usize, &&Recorded)| {
        bytes += record.message.len();
        *at == 0
            || *at < BATCH_RECORDS_MAX
                && bytes <= BATCH_BYTES_MAX
                && record.offset == records[0].offset + *at as u64
    };
    records.iter().enumerate().take_while(fits).count()
}
