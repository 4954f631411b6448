//! A segment: a file of batches.

use std::io;
use std::ops::Range;
use std::path::Path;

use crate::store::disk::{Disk, File};
use crate::telemetry::LogError;
use crate::telemetry::batch::{self, Batch, HEADER_BYTES};
use crate::telemetry::index::Index;

/// An index that is being written; its name ends in [`BEGUN`](crate::telemetry::sealed::BEGUN).
const INDEX_BEGUN: &str = "index.begun";

/// Bytes that a scan reads at a time.
const WINDOW_BYTES: usize = 1 << 20;

/// What a scan found besides the batches.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scanned {
    /// Where the last whole batch ends.
    pub(super) end: u64,
    /// Bytes between whole batches that belong to none.
    pub(super) damaged_bytes: u64,
    /// Bytes behind the last one.
    pub(super) torn_bytes: u64,
    /// It was told to stop before the end.
    pub(super) is_stopped: bool,
}

/// Hands over every whole batch that begins in the file at `within.start` or behind it, and goes on
/// behind what is none, nor is in the order of offsets. Of batches whose first offset is
/// `within.end` or more none is handed over. `go_on` hears of how many bytes a checksum was made,
/// and says whether to.
pub(super) fn scan(
    file: &dyn File,
    within: Range<u64>,
    mut go_on: impl FnMut(usize) -> bool,
    mut visit: impl FnMut(Batch<'_>, u64),
) -> io::Result<Scanned> {
    let (len, limit) = (file.len()?, within.end);
    let mut window = Window { file, len, at: 0, bytes: Vec::new() };
    let (mut at, mut next) = (within.start, 0);
    let mut scanned = Scanned { end: at, ..Scanned::default() };
    while at < len && !scanned.is_stopped {
        let Some(bytes) = window.len_at(at)? else {
            at += 1;
            continue;
        };
        scanned.is_stopped = !go_on(bytes);
        let Some(batch) = batch::read(window.bytes_at(at, bytes)?) else {
            at += 1;
            continue;
        };
        let (start, is_next) = (at, batch.first >= next);
        at += bytes as u64;
        // What comes behind one that is above the limit may still be below it: where damage has
        // taken the offset of that one, it takes no more.
        if batch.first >= limit {
            continue;
        }
        scanned.damaged_bytes += if is_next { start } else { at } - scanned.end;
        scanned.end = at;
        if is_next {
            next = batch.end;
            visit(batch, start);
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
    /// How long the batch is that may begin there.
    fn len_at(&mut self, at: u64) -> io::Result<Option<usize>> {
        let len = batch::len(self.bytes_at(at, HEADER_BYTES)?);
        Ok(len.filter(|len| at + *len as u64 <= self.len))
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

pub(super) fn make_index(file: &dyn File, limit: u64) -> io::Result<(Index, Scanned)> {
    let mut index = Index::default();
    let scanned = scan(file, 0..limit, |_| true, |batch, at| index.add(batch, at))?;
    Ok((index, scanned))
}

/// Writes an index beside its file: it has its name only when it is whole and safe.
pub(super) fn write_index(
    disk: &dyn Disk,
    folder: &Path,
    path: &Path,
    bytes: &[u8],
) -> Result<(), LogError> {
    let begun = path.with_extension(INDEX_BEGUN);
    let written = write_whole(disk, &begun, bytes)
        .and_then(|()| disk.rename(&begun, path))
        .inspect_err(|_| drop(disk.remove(&begun)));
    let safe = written.and_then(|()| disk.sync_folder(folder));
    safe.map_err(|source| LogError::io("writing", &begun, source))
}

fn write_whole(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = disk.create(path)?;
    file.write_at(0, bytes)?;
    file.sync()
}
