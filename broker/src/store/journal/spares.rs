//! Segments that nothing needs any more, and that the next ones are written over: no block is made,
//! filled with zeros or given back.
//!
//! Only a segment that this process has made and filled becomes a spare, and a start keeps none. So
//! what stands in a spare has numbers that this process has used, and never that of the segment
//! which it becomes, nor of any that a later process makes.

use std::path::{Path, PathBuf};

use crate::store::disk::{Disk, File};

/// The spares, by their names.
#[derive(Debug)]
pub(super) struct Spares {
    max: usize,
    paths: Vec<PathBuf>,
}

const EXTENSION: &str = "spare";

impl Spares {
    /// None. What an earlier process left goes; what cannot go stays for the next start.
    pub(super) fn new(disk: &dyn Disk, folder: &Path, max: usize) -> Self {
        let names = disk.list(folder).unwrap_or_default();
        let paths = names.iter().map(|name| folder.join(name));
        let mut left = Self { max, paths: paths.filter(|path| is_spare(path)).collect() };
        left.clear(disk);
        Self { max, paths: Vec::new() }
    }

    /// Makes a spare of a segment, if there is to be one more.
    pub(super) fn keep(&mut self, disk: &dyn Disk, segment: &Path) -> bool {
        let path = segment.with_extension(EXTENSION);
        let is_kept = self.paths.len() < self.max && disk.rename(segment, &path).is_ok();
        if is_kept {
            self.paths.push(path);
        }
        is_kept
    }

    /// Makes this segment of a spare, if there is one that can be had. What was in it is still
    /// there: so many bytes.
    pub(super) fn take(&mut self, disk: &dyn Disk, segment: &Path) -> Option<(Box<dyn File>, u64)> {
        let path = self.paths.pop()?;
        let taken = disk.open(&path).and_then(|file| {
            let len = file.len()?;
            disk.rename(&path, segment)?;
            Ok((file, len))
        });
        if taken.is_err() {
            self.paths.push(path);
            self.clear(disk);
        }
        taken.ok()
    }

    /// Removes all of them; what cannot go stays for the next time.
    pub(super) fn clear(&mut self, disk: &dyn Disk) {
        let is_gone = |path: &PathBuf| match disk.remove(path) {
            Ok(()) => true,
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        };
        self.paths.retain(|path| !is_gone(path));
    }
}

fn is_spare(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == EXTENSION)
}
