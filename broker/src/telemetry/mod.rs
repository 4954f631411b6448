//! # The log: what the broker records
//!
//! A *stream* is a name and topic filters. The engine gives each message that matches one its place
//! in the stream, an offset; the store keeps it in the journal frame that the publisher's
//! acknowledgement waits for, and hands it to the [`log::Log`], which appends it to the stream's
//! newest *segment*. The journal makes the promise: it lets a frame go only after the segments that
//! hold its records are synced, and a start appends what is missing from it. So a message that was
//! acknowledged is in the log, once; `docs/telemetry.md` has the argument and the bytes.
//!
//! Whoever reads holds a [`reader::Reader`]: it sees what is safe on disk, goes on when there is
//! more, and holds one block of records in memory.

use std::path::Path;
use std::sync::Arc;

use martlet_codec::reason::QoS;
/// Where a reader begins.
pub use martlet_engine::history::Position;

use crate::store::StoreError;

pub mod columns;
pub mod cursors;
pub mod lines;
pub mod log;
pub mod look;
pub mod parquet_file;
pub mod parquet_pieces;
pub mod position;
pub mod reader;
pub mod rights;
pub mod sealer;
pub mod topics;
mod waiting;

mod active;
mod batch;
mod catalog;
#[cfg_attr(not(feature = "parquet"), path = "columnar/absent.rs")]
pub(crate) mod columnar;
mod index;
mod load;
mod plan;
mod room;
mod seal;
mod sealed;
mod segment;
mod stream;

/// A record as a reader lends it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// Its place in the stream.
    pub offset: u64,
    /// When the broker received it, in Unix milliseconds.
    pub time_ms: u64,
    /// The Topic Name it was published to.
    pub topic: &'a str,
    /// Who published it; `None`: the broker itself.
    pub client_id: Option<&'a str>,
    /// The publisher's User Name, if it gave one.
    pub user_name: Option<&'a str>,
    /// The QoS it was published at.
    pub qos: QoS,
    /// The RETAIN flag it was published with.
    pub retain: bool,
    /// The payload.
    pub payload: &'a [u8],
}

/// A record of its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeptRecord {
    /// As in [`Record`].
    pub offset: u64,
    /// As in [`Record`].
    pub time_ms: u64,
    /// As in [`Record`].
    pub topic: Box<str>,
    /// As in [`Record`].
    pub client_id: Option<Box<str>>,
    /// As in [`Record`].
    pub user_name: Option<Box<str>>,
    /// As in [`Record`].
    pub qos: QoS,
    /// As in [`Record`].
    pub retain: bool,
    /// As in [`Record`].
    pub payload: Box<[u8]>,
}

impl Record<'_> {
    /// A copy that outlives the reader's next step.
    pub fn keep(&self) -> KeptRecord {
        KeptRecord {
            offset: self.offset,
            time_ms: self.time_ms,
            topic: self.topic.into(),
            client_id: self.client_id.map(Into::into),
            user_name: self.user_name.map(Into::into),
            qos: self.qos,
            retain: self.retain,
            payload: self.payload.into(),
        }
    }
}

impl KeptRecord {
    /// As a reader lends it.
    pub fn lend(&self) -> Record<'_> {
        Record {
            offset: self.offset,
            time_ms: self.time_ms,
            topic: &self.topic,
            client_id: self.client_id.as_deref(),
            user_name: self.user_name.as_deref(),
            qos: self.qos,
            retain: self.retain,
            payload: &self.payload,
        }
    }
}

/// What a stream is at this moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamStats {
    /// Its name.
    pub stream: Arc<str>,
    /// The offset of the oldest record that is kept.
    pub first_offset: u64,
    /// The offset behind the newest record that is safe on disk.
    pub next_offset: u64,
    /// Bytes on disk, without the indexes.
    pub bytes: u64,
    /// Files.
    pub segments: u64,
    /// Those of them that are sealed into Parquet.
    pub parquet_files: u64,
    /// Bytes of these.
    pub parquet_bytes: u64,
    /// Records in these.
    pub parquet_records: u64,
    /// How often a segment was not sealed since the start: it or what was made of it is damaged, or
    /// the disk refused. The log says which.
    pub seal_failures: u64,
    /// Bytes of damage that readers have come upon since the start, each time that one did.
    pub damaged_bytes: u64,
    /// When the oldest record came.
    pub first_time_ms: Option<u64>,
    /// When the newest record came.
    pub last_time_ms: Option<u64>,
    /// Bytes that the disk did not take yet; they are in the journal.
    pub unwritten_bytes: u64,
    /// Records that were deleted since the start: they were too old, or too many, or the disk was
    /// full.
    pub expired: u64,
    /// It records nothing for now: the disk is full.
    pub is_stopped: bool,
}

/// Why the log could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The operating system refused.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done, and to which file.
        doing: String,
        /// The operating system's words.
        source: std::io::Error,
    },
    /// Nothing is recorded under this name.
    #[error("there is no stream {stream:?}; there are: {known}")]
    NoStream {
        /// The name.
        stream: String,
        /// Those that there are.
        known: String,
    },
    /// There is no cursor of that name.
    #[error("there is no cursor {cursor:?}; there are: {known}")]
    NoCursor {
        /// The name.
        cursor: String,
        /// Those that there are.
        known: String,
    },
    /// The lease is not out: it was acknowledged, or its time was over.
    #[error("cursor {cursor:?} has no lease {lease}: its time was over, or it was acknowledged")]
    NoLease {
        /// Of which cursor.
        cursor: String,
        /// Which lease.
        lease: u64,
    },
    /// A cursor cannot be called that.
    #[error("{name:?} is no name: letters, digits, \"-\" and \"_\", 64 at most")]
    BadName {
        /// What it was to be called.
        name: String,
    },
    /// There is a bound.
    #[error("there are {most} {what} already, which is the most")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The bound.
        most: usize,
    },
    /// A newer broker wrote the catalog.
    #[error("the log's catalog has format {found} and this broker reads up to {known}")]
    Newer {
        /// Its format version.
        found: u32,
        /// The newest that is known here.
        known: u32,
    },
    /// The offset has not come yet.
    #[error("offset {offset} of {stream} has not come yet: the next one is {end}")]
    Beyond {
        /// Of which stream.
        stream: Arc<str>,
        /// What was asked for.
        offset: u64,
        /// The offset that comes next.
        end: u64,
    },
}

impl LogError {
    fn io(doing: &str, path: &Path, source: std::io::Error) -> Self {
        Self::Io { doing: format!("{doing} {}", path.display()), source }
    }
}

impl From<LogError> for StoreError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Io { doing, source } => Self::Io { doing, source },
            other => {
                let source = std::io::Error::other(other.to_string());
                Self::Io { doing: "recording".to_owned(), source }
            }
        }
    }
}
