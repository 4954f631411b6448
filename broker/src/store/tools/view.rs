//! A disk that is only looked at. Files are read as they are, what is written stays in memory and
//! goes with it: so a store can be opened by the very code that a broker opens it with, repairs and
//! all, and nothing of it is changed.

use std::collections::BTreeMap;
use std::fs::{self, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::store::disk::{self, Disk, File, Lock};

/// The disk.
#[derive(Debug, Default)]
pub struct View(Mutex<BTreeMap<PathBuf, Option<Seen>>>);

/// A file as whoever looks sees it. `None` in the table: it was removed.
type Seen = Arc<Mutex<Image>>;

/// A file and what was written over it.
#[derive(Debug)]
struct Image {
    below: Option<fs::File>,
    /// Bytes of `below` that still count.
    below_len: u64,
    len: u64,
    pages: BTreeMap<u64, Box<[u8; PAGE_BYTES]>>,
}

#[derive(Debug)]
struct Handle(Seen);

/// Nothing to be held: no broker was ever here.
#[derive(Debug)]
struct Free;

/// Held together with others who only look.
#[derive(Debug)]
struct Shared(#[expect(dead_code, reason = "an open file is what holds a lock")] fs::File);

const PAGE_BYTES: usize = 4096;

impl Lock for Free {}
impl Lock for Shared {}

impl Disk for View {
    fn create_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut names = match disk::Real.list(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            names => names?,
        };
        for (path, file) in self.0.lock().iter().filter(|(path, _)| path.parent() == Some(folder)) {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            names.retain(|other| other != name);
            names.extend(file.is_some().then(|| name.to_owned()));
        }
        Ok(names)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(Handle(self.see(path)?)))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let image = Image { below: None, below_len: 0, len: 0, pages: BTreeMap::new() };
        let file = Arc::new(Mutex::new(image));
        self.0.lock().insert(path.to_owned(), Some(Arc::clone(&file)));
        Ok(Box::new(Handle(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let file = self.see(from)?;
        let mut seen = self.0.lock();
        seen.insert(from.to_owned(), None);
        seen.insert(to.to_owned(), Some(file));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.lock().insert(path.to_owned(), None);
        Ok(())
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        let file = match fs::File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Some(Box::new(Free)));
            }
            opened => opened?,
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(Some(Box::new(Shared(file)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn holder(&self, path: &Path) -> Option<String> {
        disk::Real.holder(path)
    }
}

impl View {
    fn see(&self, path: &Path) -> io::Result<Seen> {
        let mut seen = self.0.lock();
        if let Some(file) = seen.get(path) {
            return file.clone().ok_or_else(|| io::ErrorKind::NotFound.into());
        }
        let below = fs::File::open(path)?;
        let len = below.metadata()?.len();
        let image = Image { below: Some(below), below_len: len, len, pages: BTreeMap::new() };
        let file = Arc::new(Mutex::new(image));
        seen.insert(path.to_owned(), Some(Arc::clone(&file)));
        Ok(file)
    }
}

impl Image {
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if offset + out.len() as u64 > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.read_below(offset, out)?;
        let end = offset + out.len() as u64;
        let pages = offset / PAGE_BYTES as u64..=end / PAGE_BYTES as u64;
        for (number, page) in self.pages.range(pages) {
            let start = number * PAGE_BYTES as u64;
            let (from, to) = (start.max(offset), (start + PAGE_BYTES as u64).min(end));
            if from < to {
                let written = &page[(from - start) as usize..(to - start) as usize];
                out[(from - offset) as usize..(to - offset) as usize].copy_from_slice(written);
            }
        }
        Ok(())
    }

    /// What `below` has of it; zeros behind its end.
    fn read_below(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let there = self.below_len.saturating_sub(offset).min(out.len() as u64) as usize;
        let (there, behind) = out.split_at_mut(there);
        behind.fill(0);
        match &self.below {
            Some(below) => below.read_exact_at(there, offset),
            None => Ok(()),
        }
    }

    fn write(&mut self, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
        self.len = self.len.max(offset + bytes.len() as u64);
        while !bytes.is_empty() {
            let (number, at) = (offset / PAGE_BYTES as u64, (offset % PAGE_BYTES as u64) as usize);
            let (piece, rest) = bytes.split_at(bytes.len().min(PAGE_BYTES - at));
            if !self.pages.contains_key(&number) {
                let mut page = Box::new([0; PAGE_BYTES]);
                self.read_below(number * PAGE_BYTES as u64, &mut page[..])?;
                self.pages.insert(number, page);
            }
            if let Some(page) = self.pages.get_mut(&number) {
                page[at..at + piece.len()].copy_from_slice(piece);
            }
            offset += piece.len() as u64;
            bytes = rest;
        }
        Ok(())
    }

    fn set_len(&mut self, len: u64) {
        if len < self.len {
            let (whole, part) = (len / PAGE_BYTES as u64, (len % PAGE_BYTES as u64) as usize);
            self.pages.retain(|number, _| *number < whole + u64::from(part > 0));
            if let Some(page) = self.pages.get_mut(&whole) {
                page[part..].fill(0);
            }
            self.below_len = self.below_len.min(len);
        }
        self.len = len;
    }
}

impl File for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().len)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.lock().read(offset, out)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.lock().write(offset, bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.lock().set_len(len);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any reads, writes and cuts give what they give on a real file, which stays as it was.
    #[test]
    fn a_view_reads_as_a_file_and_leaves_the_file_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (seen, other) = (folder.path().join("seen"), folder.path().join("other"));
        let bytes: Vec<u8> = (0..20_000_u32).map(|n| n as u8).collect();
        fs::write(&seen, &bytes).unwrap();
        fs::write(&other, &bytes).unwrap();
        let view = View::default();
        let (view, real) = (view.open(&seen).unwrap(), disk::Real.open(&other).unwrap());
        let mut state = 7_u64;
        let mut below = |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % bound
        };
        for _ in 0..2000 {
            let (offset, len) = (below(30_000), below(9_000) as usize);
            let written = vec![below(256) as u8; len];
            match below(4) {
                0 => [&view, &real].map(|file| file.set_len(offset).unwrap()),
                1 => [&view, &real].map(|file| file.write_at(offset, &written).unwrap()),
                _ => {
                    let [from_view, from_real] = [&view, &real].map(|file| {
                        let mut out = vec![1; len];
                        file.read_at(offset, &mut out).map(|()| out).map_err(|e| e.kind())
                    });
                    assert_eq!(from_view, from_real);
                    [(), ()]
                }
            };
            assert_eq!(view.len().unwrap(), real.len().unwrap());
        }
        assert_eq!(fs::read(&seen).unwrap(), bytes);
    }
}
