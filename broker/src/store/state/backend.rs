//! The database's file, through our seam to the disk.

use std::io;
use std::sync::Arc;

use redb::StorageBackend;

use crate::store::disk::File;

/// Nobody else has the file: the folder is locked.
#[derive(Debug)]
pub(super) struct Backend(pub(super) Arc<dyn File>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, bytes)
    }
}
