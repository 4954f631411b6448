//! The segment that takes frames.

use std::path::{Path, PathBuf};

use crate::store::disk::{Disk, File};

/// A block of a file system.
pub(super) const BLOCK_BYTES: u64 = 4096;
const ZEROS: [u8; BLOCK_BYTES as usize] = [0; BLOCK_BYTES as usize];

/// Zeros behind the newest frame, where the file goes on: no frame begins with as many.
pub(super) const END_BYTES: u64 = 4;

#[derive(Debug)]
pub(super) struct Current {
    file: Box<dyn File>,
    pub(super) path: PathBuf,
    pub(super) number: u64,
    /// Where the next frame goes.
    pub(super) end: u64,
    /// The file's length.
    len: u64,
    /// From `end` up to here are zeros, and from here on what another segment left.
    clean: u64,
    /// Whether its name is safe.
    is_named: bool,
}

impl Current {
    /// In an empty file.
    pub(super) fn new(file: Box<dyn File>, path: PathBuf, number: u64) -> Self {
        Self { file, path, number, end: 0, len: 0, clean: u64::MAX, is_named: false }
    }

    /// In a file of this length that another segment is still in.
    pub(super) fn over(file: Box<dyn File>, len: u64, path: PathBuf, number: u64) -> Self {
        Self { len, clean: 0, ..Self::new(file, path, number) }
    }

    /// Writes only a header, and makes it safe.
    pub(super) fn seal(
        &mut self,
        header: &[u8],
        disk: &dyn Disk,
        folder: &Path,
    ) -> std::io::Result<()> {
        self.file.write_at(0, header)?;
        (self.end, self.len) = (header.len() as u64, self.len.max(header.len() as u64));
        self.sync(disk, folder)
    }

    /// Writes a frame at the end.
    pub(super) fn write(&mut self, frame: &mut Vec<u8>, ahead_bytes: u64) -> std::io::Result<()> {
        let end = self.end + frame.len() as u64;
        if end > self.len {
            self.grow(end.next_multiple_of(ahead_bytes))?;
            self.clean = u64::MAX;
        } else if end + END_BYTES > self.clean {
            // To the block's end: what was there is not read from the disk to be kept.
            self.clean = (end + END_BYTES).next_multiple_of(BLOCK_BYTES).min(self.len);
            frame.resize((self.clean - self.end) as usize, 0);
        }
        self.file.write_at(self.end, frame)?;
        self.end = end;
        Ok(())
    }

    /// Makes what is in it safe, its name too.
    pub(super) fn sync(&mut self, disk: &dyn Disk, folder: &Path) -> std::io::Result<()> {
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
            let piece = (BLOCK_BYTES - self.len % BLOCK_BYTES).min(len - self.len);
            self.file.write_at(self.len, &ZEROS[..piece as usize])?;
            self.len += piece;
        }
        Ok(())
    }
}
