//! Parquet: how records stand in columns. What is written here, every reader of Parquet reads; it
//! is read here again as the batches that segments have, so that readers see no difference.
//!
//! Behind the file's first four bytes stand twenty that other readers pass over: where its tail
//! begins (all that follows the last row group) and the tail's checksum. The tail holds, as
//! metadata named `martlet`, each row group's place, checksum and blocks: so nothing is decoded
//! that is not what was written.

use std::io;
use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::errors::ParquetError;
use parquet::schema::types::{Type, TypePtr};
use serde::{Deserialize, Serialize};

use crate::telemetry::columns::{Column, ColumnKind, OWN};

mod members;
pub(super) mod read;
pub(super) mod write;

/// This broker reads and writes Parquet.
pub(crate) const IS_BUILT: bool = true;

/// The name of our metadata in a file.
const KEY: &str = "martlet";
/// The version that is written.
const VERSION: u32 = 1;

/// What a file begins with, and what follows there.
const MAGIC: &[u8; 4] = b"PAR1";
const OURS: &[u8; 4] = b"mrtl";
const HEAD_BYTES: usize = 24;

/// Where each column stands.
const OFFSET: usize = 0;
const TIME: usize = 1;
const TOPIC: usize = 2;
const CLIENT_ID: usize = 3;
const USER_NAME: usize = 4;
const QOS: usize = 5;
const RETAIN: usize = 6;
const PAYLOAD: usize = 7;
const PAYLOAD_BINARY: usize = 8;

/// What a file says of itself.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Notes {
    version: u32,
    groups: Vec<GroupNote>,
}

/// One row group.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct GroupNote {
    /// Where it begins in the file, and its length.
    at: u64,
    bytes: u64,
    /// CRC-32C of that.
    checksum: u32,
    /// How many rows each of its blocks has: what is read at a time.
    blocks: Vec<u32>,
}

/// Why a file could not be read or written.
#[derive(Debug)]
pub(super) enum Fault {
    /// The operating system refused.
    Io(io::Error),
    /// It is not as it was written; what was lost, in bytes of the file.
    Damaged { reason: String, bytes: u64 },
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<ParquetError> for Fault {
    fn from(error: ParquetError) -> Self {
        match error {
            ParquetError::External(source) => match source.downcast::<io::Error>() {
                Ok(error) => Self::Io(*error),
                Err(other) => Self::Damaged { reason: other.to_string(), bytes: 0 },
            },
            other => Self::Damaged { reason: other.to_string(), bytes: 0 },
        }
    }
}

/// The columns of a file, in order.
fn schema(columns: &[Column]) -> Result<TypePtr, ParquetError> {
    let text = || Some(LogicalType::String);
    let time = || Some(LogicalType::timestamp(true, TimeUnit::MILLIS));
    let own = |at: usize| match at {
        OFFSET => (Physical::INT64, Repetition::REQUIRED, None),
        TIME => (Physical::INT64, Repetition::REQUIRED, time()),
        TOPIC => (Physical::BYTE_ARRAY, Repetition::REQUIRED, text()),
        CLIENT_ID | USER_NAME | PAYLOAD => (Physical::BYTE_ARRAY, Repetition::OPTIONAL, text()),
        QOS => (Physical::INT32, Repetition::REQUIRED, None),
        RETAIN => (Physical::BOOLEAN, Repetition::REQUIRED, None),
        _ => (Physical::BYTE_ARRAY, Repetition::OPTIONAL, None),
    };
    let taken = |kind: ColumnKind| match kind {
        ColumnKind::Number => (Physical::DOUBLE, Repetition::OPTIONAL, None),
        ColumnKind::String => (Physical::BYTE_ARRAY, Repetition::OPTIONAL, text()),
        ColumnKind::Bool => (Physical::BOOLEAN, Repetition::OPTIONAL, None),
    };
    let own = OWN.iter().enumerate().map(|(at, name)| (*name, own(at)));
    let taken = columns.iter().map(|column| (&*column.name, taken(column.kind)));
    let fields = own.chain(taken).map(|(name, (physical, repetition, logical))| {
        let field = Type::primitive_type_builder(name, physical).with_repetition(repetition);
        field.with_logical_type(logical).build().map(Arc::new)
    });
    let fields = fields.collect::<Result<_, _>>()?;
    Type::group_type_builder("record").with_fields(fields).build().map(Arc::new)
}

#[cfg(test)]
mod tests;
