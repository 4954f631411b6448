//! A disk that is only looked at. Files are read as they are, what is written stays in memory and
//! goes with it: so a store can be opened by the very code that a broker opens it with, repairs and
//! all, and nothing of it is changed.

use std::collections::BTreeMap;
use std::fs::{self, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::store::disk::{self, Disk, File, Lock};
use crate::store::overlay::Overlay;

/// The disk.
#[derive(Debug, Default)]
pub struct View(Mutex<BTreeMap<PathBuf, Option<Seen>>>);

/// A file as whoever looks sees it. `None` in the table: it was removed.
type Seen = Arc<Overlay>;

#[derive(Debug)]
struct Handle(Seen);

/// Nothing to be held: no broker was ever here.
#[derive(Debug)]
struct Free;

/// Held together with others who only look.
#[derive(Debug)]
struct Shared(#[expect(dead_code, reason = "an open file is what holds a lock")] fs::File);

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
        let file = Arc::new(Overlay::default());
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
        let file = Arc::new(Overlay::over(disk::Real.open_to_read(path)?)?);
        seen.insert(path.to_owned(), Some(Arc::clone(&file)));
        Ok(file)
    }
}

impl File for Handle {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
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
