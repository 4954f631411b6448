//! Records as Parquet in pieces, one after the other, for whoever sends them on.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::store::disk::File;
use crate::telemetry::columnar::write::Writer;
use crate::telemetry::columnar::{self, Fault};
use crate::telemetry::columns::Column;
use crate::telemetry::{LogError, Record};

/// The pieces that are there, and the writer that makes more. It holds a row group in memory: 16
/// MiB, and the record that passes that.
pub struct ParquetPieces {
    /// `None`: it is finished.
    writer: Option<Writer>,
    pieces: Arc<Pieces>,
}

/// What a writer takes for a file: its end alone.
#[derive(Debug, Default)]
struct Pieces(Mutex<Tail>);

#[derive(Debug, Default)]
struct Tail {
    /// Bytes that were taken.
    taken: u64,
    bytes: Vec<u8>,
}

impl ParquetPieces {
    /// Whether this martlet was built with Parquet.
    pub const IS_BUILT: bool = columnar::IS_BUILT;

    /// Begins, with columns that are taken out of payloads.
    ///
    /// # Errors
    /// That this martlet was built without Parquet.
    pub fn new(columns: &[Column]) -> Result<Self, LogError> {
        let pieces = Arc::new(Pieces::default());
        let file = Arc::clone(&pieces) as Arc<dyn File>;
        let writer = Writer::new(file, columns).map_err(refused)?;
        Ok(Self { writer: Some(writer), pieces })
    }

    /// Adds a record, and what became a piece to `out`.
    ///
    /// # Errors
    /// That the record cannot be written so.
    ///
    /// # Panics
    /// When it is finished.
    pub fn add(&mut self, record: &Record<'_>, out: &mut Vec<u8>) -> Result<(), LogError> {
        let writer = self.writer.as_mut().expect("nobody adds to what is finished");
        writer.add(record).map_err(refused)?;
        self.pieces.take(out);
        Ok(())
    }

    /// Adds the last piece to `out`.
    ///
    /// # Errors
    /// That the last records cannot be written so.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), LogError> {
        if let Some(writer) = self.writer.take() {
            writer.finish().map_err(refused)?;
        }
        self.pieces.take(out);
        Ok(())
    }
}

impl Pieces {
    fn take(&self, out: &mut Vec<u8>) {
        let mut tail = self.0.lock();
        tail.taken += tail.bytes.len() as u64;
        out.append(&mut tail.bytes);
    }
}

impl File for Pieces {
    fn len(&self) -> io::Result<u64> {
        let tail = self.0.lock();
        Ok(tail.taken + tail.bytes.len() as u64)
    }

    fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    /// Only the end is here. Our own mark at the beginning, which other readers pass over, comes
    /// last and finds that place gone.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut tail = self.0.lock();
        let end = tail.taken + tail.bytes.len() as u64;
        if offset == end {
            tail.bytes.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

fn refused(fault: Fault) -> LogError {
    let source = match fault {
        Fault::Io(error) => error,
        Fault::Damaged { reason, .. } => io::Error::other(reason),
    };
    LogError::Io { doing: "writing Parquet".to_owned(), source }
}

impl std::fmt::Debug for ParquetPieces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParquetPieces").field("pieces", &self.pieces).finish_non_exhaustive()
    }
}
