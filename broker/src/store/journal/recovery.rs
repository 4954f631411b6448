//! Reading what a journal still says: after an orderly stop, a kill, a power cut, or damage.
//!
//! - A frame is whole or it is not there: its checksum says which.
//! - Where a segment's header names a first frame, that frame and later ones in the segments before
//!   are void: their commit failed, and another took its place.
//! - Behind the last whole frame nothing was ever promised, unless something later says that it had
//!   been synced: then it is damage. What can be read behind the damage is read all the same.

use std::ops::Range;
use std::path::{Path, PathBuf};

use martlet_engine::change::Change;

use crate::store::StoreError;
use crate::store::damage::Damage;
use crate::store::disk::Disk;
use crate::store::journal::frame::{self, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::store::journal::search::{Place, Search};
use crate::store::journal::{BLOCK_BYTES, END_BYTES, Segment, number, path};
use crate::store::record::{Reader, RecordError};

/// What the journal is after reading it.
#[derive(Debug)]
pub(in crate::store) struct Recovered {
    pub(super) segments: Vec<Segment>,
    pub(super) next_segment: u64,
    /// The newest frame read, or the state's position.
    pub(super) last: u64,
    /// There are whole frames after `last` that were cut off: they must never count again.
    pub(in crate::store) has_cut: bool,
    /// Bytes of the frames read.
    pub(in crate::store) bytes: u64,
    /// What is missing.
    pub(in crate::store) damage: Vec<Damage>,
}

impl Recovered {
    /// The newest frame read, or the state's position.
    pub(in crate::store) fn last(&self) -> u64 {
        self.last
    }

    /// Greater than the number of every segment so far.
    pub(in crate::store) fn next_segment(&self) -> u64 {
        self.next_segment
    }
}

/// A segment as it was found.
struct Found {
    number: u64,
    path: PathBuf,
    /// What its header says is its first frame; of a broken header, what is found there.
    first: Option<u64>,
    frames: Vec<Place>,
    /// Bytes between frames that are none.
    has_holes: bool,
}

/// Looks at each segment's header.
///
/// # Errors
/// When a newer broker wrote one, or it cannot be read.
pub(in crate::store) fn refuse_newer(disk: &dyn Disk, folder: &Path) -> Result<(), StoreError> {
    for number in numbers(disk, folder)? {
        let path = path(folder, number);
        let mut header = [0; SEGMENT_HEADER_BYTES];
        match disk.open(&path).and_then(|file| file.read_at(0, &mut header)) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => continue,
            read => read
                .map_err(|source| StoreError::io(format!("reading {}", path.display()), source))?,
        }
        let header = SegmentHeader::read(&header);
        if let Some(SegmentHeader { version: found, .. }) = header
            && found > frame::VERSION
        {
            return Err(StoreError::Newer { file: path, found, known: frame::VERSION });
        }
    }
    Ok(())
}

/// Reads all frames after `position` and hands over their facts in order. `next_segment`: as the
/// state remembers it.
///
/// # Errors
/// When a file cannot be read.
pub(in crate::store) fn replay(
    disk: &dyn Disk,
    folder: &Path,
    (position, next_segment): (u64, u64),
    mut apply: impl FnMut(Change),
) -> Result<Recovered, StoreError> {
    let mut found = Vec::new();
    for number in numbers(disk, folder)? {
        found.push(find(disk, folder, number)?);
    }
    void(&mut found);
    let sure = synced(&found);
    let mut damage = Vec::new();
    let (mut last, mut replayed) = (position, 0);
    'all: for segment in &found {
        let unread = || segment.frames.iter().filter(|place| place.sequence > position);
        if unread().next().is_none() {
            continue;
        }
        let bytes = read(disk, &segment.path, false)?;
        for place in unread() {
            if place.sequence > last + 1 {
                if sure <= last {
                    break 'all; // lost before it was synced, and so is all that followed it
                }
                damage.push(missing(&found, last + 1..place.sequence));
            }
            if apply_frame(&bytes[place.bytes.clone()], &mut apply).is_err() {
                damage.push(missing(&found, place.sequence..place.sequence + 1));
            }
            last = place.sequence;
            replayed += place.bytes.len() as u64;
        }
    }
    disk.sync_folder(folder)
        .map_err(|source| StoreError::io(format!("syncing {}", folder.display()), source))?;
    if sure > last {
        damage.push(missing(&found, last + 1..sure + 1));
        last = sure;
    }
    let mut frames = found.iter().flat_map(|segment| &segment.frames);
    let has_cut = frames.any(|place| place.sequence > last);
    let after = found.last().map_or(0, |segment| segment.number + 1);
    let segments = found.iter().map(|segment| Segment {
        number: segment.number,
        first: segment.first.unwrap_or(last + 1),
        is_spare: false,
    });
    let segments = segments.collect();
    let next_segment = next_segment.max(after);
    Ok(Recovered { segments, next_segment, last, has_cut, bytes: replayed, damage })
}

/// Gives the segments with damage another name, so that nothing of them is lost.
///
/// # Errors
/// When one cannot be renamed.
pub(in crate::store) fn set_aside(
    disk: &dyn Disk,
    recovered: &mut Recovered,
    date: &str,
) -> Result<(), StoreError> {
    for damage in &mut recovered.damage {
        for file in &damage.files {
            let number = file.file_name().and_then(|name| name.to_str()).and_then(number);
            let at = recovered.segments.iter().position(|segment| Some(segment.number) == number);
            let Some(at) = at else { continue }; // set aside before
            Damage::set_aside(disk, file, date)?;
            recovered.segments.remove(at);
        }
        damage.set_aside_on = Some(date.to_owned());
    }
    Ok(())
}

fn numbers(disk: &dyn Disk, folder: &Path) -> Result<Vec<u64>, StoreError> {
    let names = disk
        .list(folder)
        .map_err(|source| StoreError::io(format!("reading {}", folder.display()), source))?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| number(name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// `sync`: what a killed process wrote may not be safe yet, and what comes will rest on it: on its
/// frames, and on a header too, by which frames before it are void.
fn read(disk: &dyn Disk, path: &Path, sync: bool) -> Result<Vec<u8>, StoreError> {
    let reading = |source| StoreError::io(format!("reading {}", path.display()), source);
    let file = disk.open(path).map_err(reading)?;
    let len = usize::try_from(file.len().map_err(reading)?).unwrap_or(usize::MAX);
    let mut bytes = vec![0; len];
    file.read_at(0, &mut bytes).map_err(reading)?;
    if sync {
        file.sync().map_err(reading)?;
    }
    Ok(bytes)
}

fn find(disk: &dyn Disk, folder: &Path, number: u64) -> Result<Found, StoreError> {
    let path = path(folder, number);
    let bytes = read(disk, &path, true)?;
    let header = SegmentHeader::read(&bytes);
    let header = header.filter(|header| header.segment == number);
    let mut frames: Vec<Place> = Vec::new();
    let mut has_holes = header.is_none();
    let mut last = header.map_or(0, |header| header.first.saturating_sub(1));
    let mut at = SEGMENT_HEADER_BYTES.min(bytes.len());
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let search = Search::new(&bytes, number);
    while let Some(next) = search.next(at..end, last) {
        has_holes |= next.bytes.start > at;
        (at, last) = (next.bytes.end, next.sequence);
        frames.push(next);
    }
    has_holes |= !ends_at(&bytes, at);
    let first = header.map(|header| header.first);
    let first = first.or_else(|| frames.first().map(|place| place.sequence));
    Ok(Found { number, path, first, frames, has_holes })
}

/// Whether there are zeros behind the last frame, up to a block's end. What an earlier segment left
/// may stand behind them.
fn ends_at(bytes: &[u8], at: usize) -> bool {
    let end = (at + END_BYTES as usize).next_multiple_of(BLOCK_BYTES as usize).min(bytes.len());
    bytes[at..end].iter().all(|byte| *byte == 0)
}

/// Takes out the frames that a later segment says are void.
fn void(found: &mut [Found]) {
    let mut first_after = u64::MAX;
    for segment in found.iter_mut().rev() {
        segment.frames.retain(|place| place.sequence < first_after);
        first_after = segment.first.map_or(first_after, |first| first.min(first_after));
    }
}

/// The newest frame that must be there: others say that it was synced.
fn synced(found: &[Found]) -> u64 {
    let frames = found.iter().flat_map(|segment| &segment.frames);
    frames.map(|place| place.synced).max().unwrap_or(0)
}

fn missing(found: &[Found], sequences: Range<u64>) -> Damage {
    let is_meant = |segment: &&Found| {
        segment.has_holes && segment.first.is_none_or(|first| first < sequences.end)
    };
    let files = found.iter().filter(is_meant).map(|segment| segment.path.clone()).collect();
    let commits = sequences.end - sequences.start;
    Damage::new(files, format!("{commits} commits, {} on, cannot be read", sequences.start))
}

fn apply_frame(frame: &[u8], apply: &mut impl FnMut(Change)) -> Result<(), RecordError> {
    let mut facts = Reader(&frame[frame::FRAME_HEADER_BYTES..]);
    while !facts.is_empty() {
        apply(facts.change()?);
    }
    Ok(())
}
