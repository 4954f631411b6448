//! The journal: what a promise waits for. One frame and one sync for each commit, in segments that
//! are only ever appended to and go once the state holds what they say.
//!
//! A segment grows by zeros ahead of its frames, many blocks at a time, so that the sync of most
//! commits writes the frame's block and nothing of the file system's own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use martlet_engine::change::Change;

use crate::store::StoreError;
use crate::store::disk::{Disk, File};
use crate::store::journal::frame::SegmentHeader;

mod frame;
pub(super) mod recovery;

/// How the journal grows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes after which a segment gets no more frames.
    pub(super) segment_bytes: u64,
    /// Bytes by which a segment grows ahead of its frames.
    pub(super) ahead_bytes: u64,
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
}

#[derive(Debug)]
struct Current {
    file: Box<dyn File>,
    path: PathBuf,
    number: u64,
    /// Where the next frame goes.
    end: u64,
    /// The file's length; zeros from `end` on.
    len: u64,
    /// Whether its name is safe.
    is_named: bool,
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
        Self {
            disk,
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
        let path = current.path.clone();
        let writing = |source| StoreError::io(format!("writing {}", path.display()), source);
        current.file.write_at(0, &self.buffer).map_err(writing)?;
        current.file.sync().map_err(writing)?;
        self.disk.sync_folder(&self.folder).map_err(writing)?;
        current.end = self.buffer.len() as u64;
        (current.len, current.is_named) = (current.end, true);
        Ok(())
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

    /// Removes segments that say nothing that is not at or before `position`.
    ///
    /// # Errors
    /// When one cannot be removed; it stays for the next time.
    pub(super) fn free(&mut self, position: u64) -> Result<(), StoreError> {
        while self.segments.get(1).is_some_and(|next| next.first <= position + 1) {
            self.remove_oldest()?;
        }
        Ok(())
    }

    /// Removes all segments: the state holds everything.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub(super) fn clear(&mut self) -> Result<(), StoreError> {
        self.current = None;
        while !self.segments.is_empty() {
            self.remove_oldest()?;
        }
        Ok(())
    }

    fn try_append(&mut self, changes: &[Change], sync: bool) -> Result<u64, StoreError> {
        let is_full = |current: &Current| current.end >= self.bounds.segment_bytes;
        if self.current.as_ref().is_some_and(is_full) {
            self.try_sync()?;
            self.current = None;
        }
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
        current.write(&self.buffer, self.bounds.ahead_bytes).map_err(|source| {
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

    /// A new segment, its header in the buffer to be written with the first frame.
    fn create(&mut self, first: u64) -> Result<(), StoreError> {
        let number = self.next_segment;
        self.next_segment += 1;
        let path = path(&self.folder, number);
        let file = self
            .disk
            .create(&path)
            .map_err(|source| StoreError::io(format!("creating {}", path.display()), source))?;
        SegmentHeader { version: frame::VERSION, segment: number, first }.write(&mut self.buffer);
        self.segments.push(Segment { number, first });
        self.current = Some(Current { file, path, number, end: 0, len: 0, is_named: false });
        Ok(())
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

impl Current {
    /// Writes a frame at the end.
    fn write(&mut self, frame: &[u8], ahead_bytes: u64) -> std::io::Result<()> {
        let end = self.end + frame.len() as u64;
        if end > self.len {
            self.grow(end.next_multiple_of(ahead_bytes))?;
        }
        self.file.write_at(self.end, frame)?;
        self.end = end;
        Ok(())
    }

    /// Makes what is in it safe, its name too.
    fn sync(&mut self, disk: &dyn Disk, folder: &Path) -> std::io::Result<()> {
        self.file.sync()?;
        if !self.is_named {
            disk.sync_folder(folder)?;
            self.is_named = true;
        }
        Ok(())
    }

    /// Fills up with zeros. Block by block: what one call writes, the page cache keeps in one
    /// piece, and counts all of it as written when a frame changes a part of it.
    fn grow(&mut self, len: u64) -> std::io::Result<()> {
        while self.len < len {
            let piece = (ZEROS.len() as u64 - self.len % ZEROS.len() as u64).min(len - self.len);
            self.file.write_at(self.len, &ZEROS[..piece as usize])?;
            self.len += piece;
        }
        Ok(())
    }
}

/// A block of a file system.
const ZEROS: [u8; 4096] = [0; 4096];

/// Room that the buffer keeps between commits.
const BUFFER_KEPT_BYTES: usize = 1 << 20;

fn path(folder: &Path, segment: u64) -> PathBuf {
    folder.join(format!("{segment:012}{EXTENSION}"))
}

fn number(name: &str) -> Option<u64> {
    name.strip_suffix(EXTENSION)?.parse().ok()
}
