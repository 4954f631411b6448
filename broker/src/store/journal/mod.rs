//! The journal: what a promise waits for. One frame and one sync for each commit, in segments that
//! are only ever appended to and go once the state holds what they say.
//!
//! A segment is written over one that has gone, where there is one; else it grows by zeros ahead of
//! its frames, many blocks at a time. So the sync of most commits writes the frame's block and
//! nothing of the file system's own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use martlet_engine::change::Change;

use crate::store::StoreError;
use crate::store::disk::Disk;
use crate::store::journal::current::{BLOCK_BYTES, Current, END_BYTES};
use crate::store::journal::frame::SegmentHeader;
use crate::store::journal::spares::Spares;

mod current;
mod frame;
pub(super) mod recovery;
mod search;
mod spares;

/// How the journal grows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes after which a segment gets no more frames.
    pub(super) segment_bytes: u64,
    /// Bytes by which a segment grows ahead of its frames.
    pub(super) ahead_bytes: u64,
    /// Segments that are kept for the next ones to be written over.
    pub(super) spares_max: usize,
    /// Gives the lower half of a segment's number.
    pub(super) draw: fn() -> u32,
}

/// The journal's end, where commits go.
#[derive(Debug)]
pub(super) struct Journal {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    bounds: Bounds,
    /// All on disk, oldest first.
    segments: Vec<Segment>,
    next_segment: u64,
    /// The last of `segments`, while it takes frames.
    current: Option<Current>,
    spares: Spares,
    /// The newest frame.
    last: u64,
    /// The newest frame that is safe, with all before it.
    synced: u64,
    buffer: Vec<u8>,
    /// A write or sync failed: nobody knows what the disk has of the frames up to this one, until
    /// the state holds them.
    in_doubt: Option<u64>,
}

/// A segment on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Segment {
    number: u64,
    /// The sequence number of its first frame.
    first: u64,
    /// It may be written over once nothing needs it: this process has made and filled it.
    is_spare: bool,
}

const EXTENSION: &str = ".journal";

impl Journal {
    /// The journal that goes on behind what was recovered, in a segment of its own: what a torn
    /// write left behind the last frame stays where it is, void.
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        folder: &Path,
        bounds: Bounds,
        recovered: recovery::Recovered,
    ) -> Self {
        let spares = Spares::new(&*disk, folder, bounds.spares_max);
        Self {
            disk,
            spares,
            folder: folder.to_owned(),
            bounds,
            segments: recovered.segments,
            next_segment: recovered.next_segment,
            current: None,
            last: recovered.last,
            synced: recovered.last,
            buffer: Vec::new(),
            in_doubt: None,
        }
    }

    /// The newest frame's sequence number.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Greater than the number of every segment so far.
    pub(super) fn next_segment(&self) -> u64 {
        self.next_segment
    }

    /// Whether every frame is safe.
    pub(super) fn is_safe(&self) -> bool {
        self.synced == self.last
    }

    /// Whether frames that were written may be lost: the state should take over what they say.
    pub(super) fn is_doubtful(&self) -> bool {
        self.in_doubt.is_some()
    }

    /// Whether frames that were never safe are among those in doubt: what comes behind them would
    /// be lost with them.
    pub(super) fn may_have_lost(&self) -> bool {
        self.in_doubt.is_some_and(|until| until > self.synced)
    }

    /// The state holds all frames up to this one: they are safe.
    pub(super) fn trust(&mut self, position: u64) {
        self.synced = self.synced.max(position);
        self.in_doubt = self.in_doubt.filter(|until| *until > position);
    }

    /// How many segments are on disk.
    pub(super) fn segments(&self) -> usize {
        self.segments.len()
    }

    /// Whether there are segments behind the newest.
    pub(super) fn has_old_segments(&self) -> bool {
        self.segments.len() > 1
    }

    /// Voids for good what stands behind the newest frame, by a segment that begins there.
    ///
    /// # Errors
    /// When that could not be written.
    pub(super) fn seal(&mut self) -> Result<(), StoreError> {
        self.create(self.last + 1)?;
        let current = self.current.as_mut().expect("made above");
        current
            .seal(&self.buffer, &*self.disk, &self.folder)
            .map_err(|source| StoreError::io(format!("writing {}", current.path.display()), source))
    }

    /// Appends a frame, and syncs it if asked. Its size in bytes.
    ///
    /// # Errors
    /// When it could not be written or synced; it is void, and the next goes to a new segment.
    pub(super) fn append(&mut self, changes: &[Change], sync: bool) -> Result<u64, StoreError> {
        let appended = self.try_append(changes, sync);
        if appended.is_err() {
            self.abandon();
        }
        appended
    }

    /// Makes what was appended safe.
    ///
    /// # Errors
    /// When nobody knows how much of it is.
    pub(super) fn sync(&mut self) -> Result<(), StoreError> {
        let synced = self.try_sync();
        if synced.is_err() {
            self.abandon();
        } else if self.synced < self.last {
            let doubt = std::io::Error::other("an earlier failure is not made good yet");
            return Err(StoreError::io("syncing the journal", doubt));
        }
        synced
    }

    /// Removes segments that say nothing that is not at or before `position`, or keeps them as
    /// spares.
    ///
    /// # Errors
    /// When one cannot be removed; it stays for the next time.
    pub(super) fn free(&mut self, position: u64) -> Result<(), StoreError> {
        while self.segments.get(1).is_some_and(|next| next.first <= position + 1) {
            let oldest = self.segments[0];
            let path = path(&self.folder, oldest.number);
            if oldest.is_spare && self.spares.keep(&*self.disk, &path) {
                self.segments.remove(0);
            } else {
                self.remove_oldest()?;
            }
        }
        Ok(())
    }

    /// Removes the spares: what comes is too little to need them.
    pub(super) fn drop_spares(&mut self) {
        self.spares.clear(&*self.disk);
    }

    /// Removes all segments: the state holds everything.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub(super) fn clear(&mut self) -> Result<(), StoreError> {
        self.drop_spares();
        self.current = None;
        while !self.segments.is_empty() {
            self.remove_oldest()?;
        }
        Ok(())
    }

    fn try_append(&mut self, changes: &[Change], sync: bool) -> Result<u64, StoreError> {
        self.end_if_full()?;
        self.buffer.clear();
        let sequence = self.last + 1;
        if self.current.is_none() {
            self.create(sequence)?;
        }
        let current = self.current.as_mut().expect("made above");
        frame::write(&mut self.buffer, current.number, sequence, self.synced, changes).map_err(
            |error| StoreError::io("appending to the journal", std::io::Error::other(error)),
        )?;
        let bytes = self.buffer.len() as u64;
        current.write(&mut self.buffer, self.bounds.ahead_bytes).map_err(|source| {
            StoreError::io(format!("writing {}", current.path.display()), source)
        })?;
        self.buffer.shrink_to(BUFFER_KEPT_BYTES);
        let before = std::mem::replace(&mut self.last, sequence);
        if sync && let Err(error) = self.try_sync() {
            self.last = before;
            return Err(error);
        }
        Ok(bytes)
    }

    fn try_sync(&mut self) -> Result<(), StoreError> {
        if self.synced == self.last {
            return Ok(());
        }
        if let Some(current) = &mut self.current {
            current.sync(&*self.disk, &self.folder).map_err(|source| {
                StoreError::io(format!("syncing {}", current.path.display()), source)
            })?;
        }
        if self.in_doubt.is_none_or(|until| until <= self.synced) {
            self.synced = self.last;
        }
        Ok(())
    }

    /// Nothing more goes to a segment that has enough.
    fn end_if_full(&mut self) -> Result<(), StoreError> {
        let segment_bytes = self.bounds.segment_bytes;
        let Some(end) = self.current.as_ref().map(|current| current.end) else { return Ok(()) };
        if end < segment_bytes {
            return Ok(());
        }
        self.try_sync()?;
        self.current = None;
        if let Some(newest) = self.segments.last_mut() {
            newest.is_spare = end <= segment_bytes * SPARE_SEGMENTS_MAX;
        }
        Ok(())
    }

    /// A new segment, its header in the buffer to be written with the first frame.
    fn create(&mut self, first: u64) -> Result<(), StoreError> {
        let number = self.draw_number();
        let path = path(&self.folder, number);
        let creating = |source| StoreError::io(format!("creating {}", path.display()), source);
        let current = match self.spares.take(&*self.disk, &path) {
            Some((file, len)) => Current::over(file, len, path, number),
            None => {
                let file = self.disk.create(&path).map_err(creating)?;
                Current::new(file, path, number)
            }
        };
        SegmentHeader { version: frame::VERSION, segment: number, first }.write(&mut self.buffer);
        self.segments.push(Segment { number, first, is_spare: false });
        self.current = Some(current);
        Ok(())
    }

    /// Greater than all so far. Its lower half is drawn: a spare is full of what clients have
    /// written, and none of them may know how to write a frame of a segment to come.
    fn draw_number(&mut self) -> u64 {
        let upper = self.next_segment.div_ceil(1 << 32) << 32;
        let number = upper | u64::from((self.bounds.draw)());
        self.next_segment = number + 1;
        number
    }

    /// Nothing more goes to the current segment. If it holds nothing that counts, it goes.
    fn abandon(&mut self) {
        self.in_doubt = Some(self.last);
        let Some(current) = self.current.take() else { return };
        let newest = self.segments.last().filter(|newest| newest.first > self.last);
        if newest.is_some() && self.disk.remove(&current.path).is_ok() {
            self.segments.pop();
        }
    }

    fn remove_oldest(&mut self) -> Result<(), StoreError> {
        let path = path(&self.folder, self.segments[0].number);
        match self.disk.remove(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StoreError::io(format!("removing {}", path.display()), error))
            }
            _ => {
                self.segments.remove(0);
                Ok(())
            }
        }
    }
}

/// Bytes that a spare may have, as a multiple of what a segment is to have: a commit may be large.
const SPARE_SEGMENTS_MAX: u64 = 2;

/// Room that the buffer keeps between commits.
const BUFFER_KEPT_BYTES: usize = 1 << 20;

fn path(folder: &Path, segment: u64) -> PathBuf {
    folder.join(format!("{segment:012}{EXTENSION}"))
}

fn number(name: &str) -> Option<u64> {
    name.strip_suffix(EXTENSION)?.parse().ok()
}
