//! A file of a stream that gets no more records: a segment, or what was made of one in Parquet.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::store::disk::{Disk, File};
use crate::telemetry::LogError;
use crate::telemetry::batch;
use crate::telemetry::columnar::Fault;
use crate::telemetry::columnar::read::Columnar;
use crate::telemetry::index::{self, Block, Index, UNKNOWN, Written};
use crate::telemetry::segment::{self, Scanned};

const SEGMENT: &str = ".log";
const PARQUET: &str = ".parquet";
const INDEX: &str = ".index";
/// A Parquet file that is being written.
pub(super) const PARQUET_BEGUN: &str = ".parquet.begun";
/// What every file is called that is being written.
pub(super) const BEGUN: &str = ".begun";
/// One that cannot be read.
const DAMAGED: &str = "parquet.damaged";

/// A file that gets no more records.
#[derive(Clone, Debug)]
pub(super) struct Sealed {
    pub(super) form: Form,
    pub(super) base: u64,
    /// The offset behind its last record; [`UNKNOWN`] until it is [seen](close_ends) where the
    /// next file begins.
    pub(super) end: u64,
    pub(super) bytes: u64,
    /// Records, if it is a Parquet file.
    pub(super) rows: u64,
    /// 0 and [`UNKNOWN`] where damage has taken them.
    pub(super) time_min: u64,
    pub(super) time_max: u64,
    /// What is not safe on disk yet.
    pub(super) unsafe_yet: Option<(Arc<dyn File>, Arc<Index>)>,
}

/// How the records stand in a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// As batches.
    Segment,
    /// As columns.
    Parquet,
}

/// What the names in a folder say, each list oldest first.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// The first offset of each segment.
    pub(super) segments: Vec<u64>,
    /// The first offset of each Parquet file, and the one behind its last.
    pub(super) parquet: Vec<(u64, u64)>,
    /// Files that nobody finished.
    pub(super) begun: Vec<PathBuf>,
    /// Indexes without a file: who read one while it was removed may have made it again.
    pub(super) orphans: Vec<PathBuf>,
}

pub(super) fn segment_path(folder: &Path, base: u64) -> PathBuf {
    folder.join(format!("{base:020}{SEGMENT}"))
}

/// Its name tells the first and the last offset.
pub(super) fn parquet_path(folder: &Path, base: u64, end: u64) -> PathBuf {
    folder.join(format!("{base:020}-{:020}{PARQUET}", end - 1))
}

pub(super) fn index_path(path: &Path) -> PathBuf {
    path.with_extension("index")
}

/// The files in a folder.
pub(super) fn names(disk: &dyn Disk, folder: &Path) -> Result<Names, LogError> {
    let listed = disk.list(folder).map_err(|source| LogError::io("reading", folder, source))?;
    let mut names = Names::default();
    for name in &listed {
        if name.ends_with(BEGUN) {
            names.begun.push(folder.join(name));
        }
        names.segments.extend(name.strip_suffix(SEGMENT).and_then(|base| base.parse::<u64>().ok()));
        names.parquet.extend(name.strip_suffix(PARQUET).and_then(range));
    }
    let is_of = |index: &str, ending: &str| {
        listed.iter().any(|name| name.strip_suffix(ending).is_some_and(|stem| stem == index))
    };
    let indexes = listed.iter().filter_map(|name| name.strip_suffix(INDEX));
    let is_ours = |stem: &&str| stem.parse::<u64>().is_ok() || range(stem).is_some();
    let orphans =
        indexes.filter(is_ours).filter(|stem| !is_of(stem, SEGMENT) && !is_of(stem, PARQUET));
    names.orphans = orphans.map(|stem| folder.join(format!("{stem}{INDEX}"))).collect();
    names.segments.sort_unstable();
    names.parquet.sort_unstable();
    Ok(names)
}

fn range(name: &str) -> Option<(u64, u64)> {
    let (first, last) = name.split_once('-')?;
    let (first, end) = (first.parse().ok()?, last.parse::<u64>().ok()?.checked_add(1)?);
    (first < end).then_some((first, end))
}

/// Removes a file and its index. What is not there is no mistake.
pub(super) fn remove(disk: &dyn Disk, path: &Path) -> Result<(), LogError> {
    // The index first: an index without its file would say nothing.
    for path in [&index_path(path), path] {
        match disk.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(LogError::io("removing", path, error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Gives a Parquet file that cannot be read another name, so that it can still be looked at.
pub(super) fn set_aside(disk: &dyn Disk, path: &Path, reason: &str) -> Result<(), LogError> {
    let aside = path.with_extension(DAMAGED);
    let (from, to) = (path.display(), aside.display());
    tracing::error!("{from} cannot be read: {reason}. It is kept as {to}; the rest is served.");
    disk.rename(path, &aside).map_err(|source| LogError::io("renaming", path, source))?;
    remove(disk, path)
}

impl Sealed {
    /// A segment that grows no more.
    pub(super) fn new(base: u64, file: Arc<dyn File>, index: Index, bytes: u64) -> Self {
        let times = index.times();
        Self {
            form: Form::Segment,
            base,
            end: index.end().unwrap_or(base),
            bytes,
            rows: 0,
            time_min: times.start,
            time_max: times.end,
            unsafe_yet: Some((file, Arc::new(index))),
        }
    }

    /// Reads what a segment's index says; makes the index anew if it is not there or damaged.
    pub(super) fn open_segment(
        disk: &dyn Disk,
        folder: &Path,
        base: u64,
    ) -> Result<Self, LogError> {
        let path = segment_path(folder, base);
        let reading = |source| LogError::io("reading", &path, source);
        let file = disk.open(&path).map_err(reading)?;
        let bytes = file.len().map_err(reading)?;
        let index = index_of_segment(disk, &path, bytes, &*file)?;
        let end = index.blocks.last().map_or(base, |block| block.end);
        Ok(Self::of(Form::Segment, (base, end), bytes, &index))
    }

    /// The same of a Parquet file; `None`: it cannot be read, and was set aside.
    pub(super) fn open_parquet(
        disk: &dyn Disk,
        folder: &Path,
        (base, end): (u64, u64),
    ) -> Result<Option<Self>, LogError> {
        let path = parquet_path(folder, base, end);
        let reading = |source| LogError::io("reading", &path, source);
        let file: Arc<dyn File> = disk.open(&path).map_err(reading)?.into();
        let bytes = file.len().map_err(reading)?;
        match index_of_parquet(disk, &path, bytes, file) {
            Ok(index) => Ok(Some(Self::of(Form::Parquet, (base, end), bytes, &index))),
            Err(Fault::Damaged { reason, .. }) => {
                set_aside(disk, &path, &reason)?;
                Ok(None)
            }
            // It is kept and counted all the same.
            Err(Fault::Io(error)) if error.kind() == io::ErrorKind::Unsupported => {
                let unknown = Written::default();
                let mut sealed = Self::of(Form::Parquet, (base, end), bytes, &unknown);
                (sealed.time_max, sealed.rows) = (UNKNOWN, end - base);
                Ok(Some(sealed))
            }
            Err(Fault::Io(error)) => Err(reading(error)),
        }
    }

    fn of(form: Form, (base, end): (u64, u64), bytes: u64, index: &Written) -> Self {
        let times = index::times(&index.blocks);
        let (time_min, time_max) = (times.start, times.end);
        let rows = match form {
            Form::Segment => 0,
            Form::Parquet => index.blocks.iter().map(|block| block.bytes).sum(),
        };
        Self { form, base, end, bytes, rows, time_min, time_max, unsafe_yet: None }
    }

    pub(super) fn path(&self, folder: &Path) -> PathBuf {
        match self.form {
            Form::Segment => segment_path(folder, self.base),
            Form::Parquet => parquet_path(folder, self.base, self.end),
        }
    }
}

/// The index of a segment that is so many bytes long.
pub(super) fn index_of_segment(
    disk: &dyn Disk,
    path: &Path,
    bytes: u64,
    file: &dyn File,
) -> Result<Written, LogError> {
    if let Some(written) = written_index(disk, path, bytes) {
        return Ok(written);
    }
    let (mut index, scanned) = segment::make_index(file, u64::MAX)
        .map_err(|source| LogError::io("reading", path, source))?;
    index.add_gap(bytes, None);
    if scanned.damaged_bytes + scanned.torn_bytes > 0 {
        let Scanned { damaged_bytes, torn_bytes, .. } = scanned;
        tracing::error!(
            "{} bytes of {} cannot be read; the rest is served.",
            damaged_bytes + torn_bytes,
            path.display()
        );
    }
    Ok(write_again(disk, path, bytes, &index))
}

/// The index of a Parquet file that is so many bytes long.
pub(super) fn index_of_parquet(
    disk: &dyn Disk,
    path: &Path,
    bytes: u64,
    file: Arc<dyn File>,
) -> Result<Written, Fault> {
    if let Some(written) = written_index(disk, path, bytes) {
        return Ok(written);
    }
    let (mut index, mut lost) = (Index::default(), 0);
    each_block(file, |part, row, rows| match part {
        Part::Whole(batch) => index.add_block(batch, row, rows),
        Part::Lost(block, bytes) => {
            lost += bytes;
            index.add_lost(block);
        }
    })?;
    if lost > 0 {
        tracing::error!("{lost} bytes of {} cannot be read; the rest is served.", path.display());
    }
    Ok(write_again(disk, path, bytes, &index))
}

/// A block of a Parquet file.
pub(super) enum Part<'a> {
    Whole(batch::Batch<'a>),
    /// It is damaged: what the file's tail says of it, and how many bytes that costs.
    Lost(Block, u64),
}

/// Visits the blocks of a Parquet file, with the row at which each begins, and how many it has.
pub(super) fn each_block(
    file: Arc<dyn File>,
    mut visit: impl FnMut(Part<'_>, u64, u64),
) -> Result<(), Fault> {
    let mut columnar = Columnar::open(file)?;
    let mut read = Vec::new();
    for (row, rows) in columnar.blocks() {
        read.clear();
        match columnar.read(row, rows, &mut read) {
            Ok(()) => visit(Part::Whole(batch::trusted(&read)), row, rows),
            Err(Fault::Damaged { bytes, .. }) => {
                visit(Part::Lost(columnar.hull(row, rows)?, bytes), row, rows);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Where damage has taken a file's end, it ends where the next one begins; `last`: where the newest
/// segment does.
pub(super) fn close_ends(sealed: &mut [Sealed], last: u64) {
    let mut next = last;
    for file in sealed.iter_mut().rev() {
        if file.end == UNKNOWN {
            file.end = next.max(file.base);
        }
        next = file.base;
    }
}

fn written_index(disk: &dyn Disk, path: &Path, bytes: u64) -> Option<Written> {
    let all = read_all(disk, &index_path(path)).ok()?;
    Written::read(&all, bytes)
}

fn write_again(disk: &dyn Disk, path: &Path, bytes: u64, index: &Index) -> Written {
    let all = index.to_bytes(bytes);
    let folder = path.parent().unwrap_or(Path::new(""));
    if let Err(error) = segment::write_index(disk, folder, &index_path(path), &all) {
        tracing::warn!(%error, "An index could not be written and is made again next time.");
    }
    Written::read(&all, bytes).expect("what was just written can be read")
}

fn read_all(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(usize::MAX)];
    file.read_at(0, &mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_ranges_and_nothing_else_does() {
        let rows = [
            ("00000000000000000000-00000000000000000099", Some((0, 100))),
            ("00000000000000000007-00000000000000000007", Some((7, 8))),
            ("00000000000000000008-00000000000000000007", None),
            ("00000000000000000008", None),
            ("climate", None),
            ("1-18446744073709551615", None),
        ];
        for (name, expected) in rows {
            assert_eq!(range(name), expected, "{name}");
        }
        let path = parquet_path(Path::new("s"), 0, 100);
        assert_eq!(path.file_stem().and_then(|name| range(name.to_str()?)), Some((0, 100)));
        assert_eq!(index_path(&path).extension(), Some("index".as_ref()));
    }
}
