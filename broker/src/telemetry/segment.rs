//! A segment: a file of batches, named by the offset of its first record.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::store::disk::{Disk, File};
use crate::telemetry::LogError;
use crate::telemetry::batch::{self, Batch, HEADER_BYTES};
use crate::telemetry::index::{Index, Written};

const EXTENSION: &str = ".log";
const INDEX_EXTENSION: &str = ".index";
/// An index that is being written.
const INDEX_BEGUN: &str = ".index.begun";

/// Bytes that a scan reads at a time.
const WINDOW_BYTES: usize = 1 << 20;

pub(super) fn path(folder: &Path, base: u64) -> PathBuf {
    folder.join(format!("{base:020}{EXTENSION}"))
}

pub(super) fn index_path(folder: &Path, base: u64) -> PathBuf {
    folder.join(format!("{base:020}{INDEX_EXTENSION}"))
}

/// The segments in a folder, oldest first.
pub(super) fn bases(disk: &dyn Disk, folder: &Path) -> Result<Vec<u64>, LogError> {
    let names = disk.list(folder).map_err(|source| LogError::io("reading", folder, source))?;
    let base = |name: &String| name.strip_suffix(EXTENSION)?.parse().ok();
    let mut bases: Vec<u64> = names.iter().filter_map(base).collect();
    bases.sort_unstable();
    Ok(bases)
}

/// What a scan found besides the batches.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scanned {
    /// Where the last whole batch ends.
    pub(super) end: u64,
    /// Bytes between whole batches that belong to none.
    pub(super) damaged_bytes: u64,
    /// Bytes behind the last one.
    pub(super) torn_bytes: u64,
}

/// Hands over every whole batch that begins in the file at `within.start` or behind it, and goes on
/// behind what is none. A batch whose first offset is `within.end` or more ends the scan.
pub(super) fn scan(
    file: &dyn File,
    within: Range<u64>,
    mut visit: impl FnMut(Batch<'_>, u64),
) -> io::Result<Scanned> {
    let (len, limit) = (file.len()?, within.end);
    let mut window = Window { file, len, at: 0, bytes: Vec::new() };
    let (mut at, mut next) = (within.start, 0);
    let mut scanned = Scanned { end: at, ..Scanned::default() };
    while at < len {
        let whole = window.batch(at)?.filter(|batch| batch.first >= next);
        match whole {
            Some(batch) if batch.first >= limit => break,
            Some(batch) => {
                scanned.damaged_bytes += at - scanned.end;
                next = batch.end;
                visit(batch, at);
                at += batch.bytes.len() as u64;
                scanned.end = at;
            }
            None => at += 1,
        }
    }
    scanned.torn_bytes = len.saturating_sub(scanned.end);
    Ok(scanned)
}

/// A part of the file, read ahead.
struct Window<'a> {
    file: &'a dyn File,
    len: u64,
    at: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    fn batch(&mut self, at: u64) -> io::Result<Option<Batch<'_>>> {
        let Some(len) = batch::len(self.bytes_at(at, HEADER_BYTES)?) else { return Ok(None) };
        if at + len as u64 > self.len {
            return Ok(None);
        }
        Ok(batch::read(self.bytes_at(at, len)?))
    }

    /// So many bytes from there on, or as many as there are.
    fn bytes_at(&mut self, at: u64, wanted: usize) -> io::Result<&[u8]> {
        let wanted = wanted.min(usize::try_from(self.len - at).unwrap_or(usize::MAX));
        let is_there = at >= self.at && at + wanted as u64 <= self.at + self.bytes.len() as u64;
        if !is_there {
            let rest = usize::try_from(self.len - at).unwrap_or(usize::MAX);
            self.bytes.resize(wanted.max(WINDOW_BYTES).min(rest), 0);
            self.at = at;
            self.file.read_at(at, &mut self.bytes)?;
        }
        let start = usize::try_from(at - self.at).expect("inside of the window");
        Ok(&self.bytes[start..start + wanted])
    }
}

/// A segment that gets no more records.
#[derive(Clone, Debug)]
pub(super) struct Sealed {
    pub(super) base: u64,
    /// The offset behind its last record.
    pub(super) end: u64,
    pub(super) bytes: u64,
    pub(super) time_min: u64,
    pub(super) time_max: u64,
    /// What is not safe on disk yet.
    pub(super) unsafe_yet: Option<(Arc<dyn File>, Arc<Index>)>,
}

impl Sealed {
    pub(super) fn new(base: u64, file: Arc<dyn File>, index: Index, bytes: u64) -> Self {
        let times = index.times();
        Self {
            base,
            end: index.end().unwrap_or(base),
            bytes,
            time_min: times.start,
            time_max: times.end,
            unsafe_yet: Some((file, Arc::new(index))),
        }
    }

    /// Reads what its index says; makes the index anew if it is not there or damaged.
    pub(super) fn open(disk: &dyn Disk, folder: &Path, base: u64) -> Result<Self, LogError> {
        let path = path(folder, base);
        let reading = |source| LogError::io("reading", &path, source);
        let file = disk.open(&path).map_err(reading)?;
        let bytes = file.len().map_err(reading)?;
        let index = read_index(disk, folder, base, bytes, &*file)?;
        let times = super::index::times(&index.blocks);
        Ok(Self {
            base,
            end: index.blocks.last().map_or(base, |block| block.end),
            bytes,
            time_min: times.start,
            time_max: times.end,
            unsafe_yet: None,
        })
    }
}

/// The index of a segment that is so many bytes long.
pub(super) fn read_index(
    disk: &dyn Disk,
    folder: &Path,
    base: u64,
    bytes: u64,
    file: &dyn File,
) -> Result<Written, LogError> {
    let path = index_path(folder, base);
    if let Some(written) = read_all(disk, &path).ok().and_then(|all| Written::read(&all, bytes)) {
        return Ok(written);
    }
    let segment = self::path(folder, base);
    let (index, scanned) =
        make_index(file, u64::MAX).map_err(|source| LogError::io("reading", &segment, source))?;
    if scanned.damaged_bytes + scanned.torn_bytes > 0 {
        let Scanned { damaged_bytes, torn_bytes, .. } = scanned;
        tracing::error!(
            "{} bytes of {} cannot be read; the rest is served.",
            damaged_bytes + torn_bytes,
            segment.display()
        );
    }
    let all = index.to_bytes(bytes);
    if let Err(error) = write_index(disk, folder, base, &all) {
        tracing::warn!(%error, "An index could not be written and is made again next time.");
    }
    let made = Written::read(&all, bytes);
    Ok(made.expect("what was just written can be read"))
}

pub(super) fn make_index(file: &dyn File, limit: u64) -> io::Result<(Index, Scanned)> {
    let mut index = Index::default();
    let scanned = scan(file, 0..limit, |batch, at| index.add(batch, at))?;
    Ok((index, scanned))
}

/// Writes an index beside its segment: it has its name only when it is whole and safe.
pub(super) fn write_index(
    disk: &dyn Disk,
    folder: &Path,
    base: u64,
    bytes: &[u8],
) -> Result<(), LogError> {
    let begun = folder.join(format!("{base:020}{INDEX_BEGUN}"));
    let writing = |source| LogError::io("writing", &begun, source);
    let file = disk.create(&begun).map_err(writing)?;
    file.write_at(0, bytes).map_err(writing)?;
    file.sync().map_err(writing)?;
    disk.rename(&begun, &index_path(folder, base)).map_err(writing)?;
    disk.sync_folder(folder).map_err(writing)
}

/// Removes a segment and what stands beside it. What is not there is no mistake.
pub(super) fn remove(disk: &dyn Disk, folder: &Path, base: u64) -> Result<(), LogError> {
    // The index first: an index without its segment would say nothing.
    for path in [index_path(folder, base), path(folder, base)] {
        match disk.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(LogError::io("removing", &path, error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn read_all(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(usize::MAX)];
    file.read_at(0, &mut bytes)?;
    Ok(bytes)
}
