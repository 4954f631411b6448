//! The seam to the disk: files by path, written at offsets. The real one is [`Real`]; tests put a
//! simulated one in its place that loses what was not synced.

use std::fmt::Debug;
use std::fs::{self, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// A file system, as far as a store needs one.
pub trait Disk: Debug + Send + Sync {
    /// Makes the folder and those above it that are not there; they survive a power cut.
    ///
    /// # Errors
    /// The operating system's.
    fn create_folder(&self, path: &Path) -> io::Result<()>;

    /// The names of the files in a folder, in no order.
    ///
    /// # Errors
    /// The operating system's.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// `NotFound` when it is not there; else the operating system's.
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>>;

    /// Makes an empty file, in place of any that has this name, and opens it. Its name survives a
    /// power cut after [`sync_folder`](Self::sync_folder).
    ///
    /// # Errors
    /// The operating system's.
    fn create(&self, path: &Path) -> io::Result<Box<dyn File>>;

    /// Gives a file another name, in place of any that has it.
    ///
    /// # Errors
    /// The operating system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// The operating system's.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Returns when the folder's names are as safe as the disk can make them.
    ///
    /// # Errors
    /// The operating system's.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Takes the file, made if it is not there, for this process alone; `None`: another has it.
    /// It is free again when the answer is dropped or the process ends, however it ends.
    ///
    /// # Errors
    /// The operating system's.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>>;

    /// Bytes that are free for this process on the disk that holds a folder.
    ///
    /// # Errors
    /// The operating system's.
    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        let _ = folder;
        Ok(u64::MAX)
    }

    /// The process that has taken this file, in words, where that can be known.
    fn holder(&self, path: &Path) -> Option<String> {
        let _ = path;
        None
    }
}

/// A lock that is held until it is dropped.
pub trait Lock: Debug + Send + Sync {}

/// An open file.
#[expect(clippy::len_without_is_empty, reason = "nobody asks whether a file is empty")]
pub trait File: Debug + Send + Sync {
    /// Its length in bytes.
    ///
    /// # Errors
    /// The operating system's.
    fn len(&self) -> io::Result<u64>;

    /// Fills `out` from there.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file ends before that; else the operating system's.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes` there; the file grows as needed. After an error any part may be there.
    ///
    /// # Errors
    /// The operating system's.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file or fills it up with zeros.
    ///
    /// # Errors
    /// The operating system's.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Returns when its bytes are as safe as the disk can make them. After an error nobody knows
    /// which are: asking again proves nothing.
    ///
    /// # Errors
    /// The operating system's.
    fn sync(&self) -> io::Result<()>;
}

/// The operating system's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct Real;

#[derive(Debug)]
struct RealFile(fs::File);

/// Who may read what is kept, besides the broker: its group, such as those who analyse the log.
const FILE_MODE: u32 = 0o640;
const FOLDER_MODE: u32 = 0o750;

impl Real {
    /// Opens a file that is only read: its writes fail.
    ///
    /// # Errors
    /// `NotFound` when it is not there; else the operating system's.
    pub(super) fn open_to_read(self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(RealFile(fs::File::open(path)?)))
    }
}

/// Those above it are as anybody's: root may make them for another user, who must get through.
fn create_folder(path: &Path, mode: u32) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    let create = || fs::DirBuilder::new().mode(mode).create(path);
    let Some(parent) = path.parent() else { return create() };
    create_folder(parent, 0o777)?;
    match create() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
        // A folder above may belong to somebody else and not be readable: then it is theirs to
        // keep.
        Ok(()) => Real.sync_folder(parent).or(Ok(())),
    }
}

impl Disk for Real {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        create_folder(path, FOLDER_MODE)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let names = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.file_name()));
        let names: Vec<_> = names.collect::<io::Result<_>>()?;
        Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect())
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(FILE_MODE);
        Ok(Box::new(RealFile(options.open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        fs::File::open(folder)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE);
        let file = options.open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(RealFile(file)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        let found = rustix::fs::statvfs(folder)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    /// As Linux tells it.
    fn holder(&self, path: &Path) -> Option<String> {
        let file = fs::metadata(path).ok()?;
        let (device, inode) = (file.dev(), file.ino());
        let major = (device >> 8) & 0xFFF | (device >> 32) & !0xFFF;
        let minor = device & 0xFF | (device >> 12) & !0xFF;
        let place = format!("{major:02x}:{minor:02x}:{inode}");
        let locks = fs::read_to_string("/proc/locks").ok()?;
        let mut locks = locks.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let process = *locks.find(|lock| lock.get(5) == Some(&place.as_str()))?.get(4)?;
        let name = fs::read_to_string(format!("/proc/{process}/comm")).ok()?;
        Some(format!("process {process} ({})", name.trim_end()))
    }
}

impl Lock for RealFile {}

impl File for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_kept_is_not_for_everybody_and_others_get_through_to_their_own() {
        let dir = tempfile::tempdir().expect("a folder");
        let [plain, above, folder] = ["plain", "above", "above/kept"].map(|n| dir.path().join(n));
        let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode();
        fs::create_dir(&plain).expect("a folder of ours");
        Real.create_folder(&folder).expect("it can be made");
        Real.create(&folder.join("file")).expect("it can be made");
        assert_eq!(mode(&above), mode(&plain));
        assert_eq!(mode(&folder) & 0o007, 0);
        assert_eq!(mode(&folder.join("file")) & 0o007, 0);
    }
}
