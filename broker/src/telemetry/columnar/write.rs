//! Writing records as columns, a row group at a time.

use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type,
};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::ColumnPath;

use crate::store::disk::File;
use crate::telemetry::Record;
use crate::telemetry::columnar::members::{self, Scalar};
use crate::telemetry::columnar::{
    CLIENT_ID, Fault, GroupNote, HEAD_BYTES, KEY, MAGIC, Notes, OFFSET, OURS, PAYLOAD,
    PAYLOAD_BINARY, QOS, RETAIN, TIME, TOPIC, USER_NAME, VERSION, schema,
};
use crate::telemetry::columns::{Column, ColumnKind, OWN};

/// Rows of a row group, and bytes of their topics, names and payloads: what a writer holds in
/// memory. A larger record stands alone.
const GROUP_ROWS_MAX: usize = 120_000;
const GROUP_BYTES_MAX: usize = 16 << 20;

/// Rows of a block, and bytes of them: what a reader holds in memory.
const BLOCK_ROWS_MAX: usize = 4096;
const BLOCK_BYTES_MAX: usize = 256 << 10;

/// Writes one file.
pub(in crate::telemetry) struct Writer {
    file: Arc<dyn File>,
    out: SerializedFileWriter<Sink>,
    columns: Vec<Column>,
    group: Group,
    notes: Notes,
}

/// Records on their way to a row group.
#[derive(Default)]
struct Group {
    bytes: Vec<u8>,
    rows: Vec<Row>,
}

/// A record; where its parts stand in the group's bytes.
struct Row {
    offset: i64,
    time: i64,
    topic: Range<usize>,
    client_id: Option<Range<usize>>,
    user_name: Option<Range<usize>>,
    payload: Range<usize>,
    is_text: bool,
    qos: u8,
    retain: bool,
}

/// The end of the file, with a checksum of what was written since somebody took it.
struct Sink {
    file: Arc<dyn File>,
    at: u64,
    checksum: u32,
}

impl Writer {
    pub(in crate::telemetry) fn new(
        file: Arc<dyn File>,
        columns: &[Column],
    ) -> Result<Self, Fault> {
        let sink = Sink { file: Arc::clone(&file), at: 0, checksum: 0 };
        let properties = Arc::new(properties());
        let mut out = SerializedFileWriter::new(sink, schema(columns)?, properties)?;
        out.write_all(&[0; HEAD_BYTES - MAGIC.len()])?;
        out.flush()?;
        out.inner_mut().take_checksum();
        let notes = Notes { version: VERSION, groups: Vec::new() };
        Ok(Self { file, out, columns: columns.to_vec(), group: Group::default(), notes })
    }

    pub(in crate::telemetry) fn add(&mut self, record: &Record<'_>) -> Result<(), Fault> {
        self.group.add(record);
        if self.group.is_full() { self.write_group() } else { Ok(()) }
    }

    /// Writes what is left, and all that makes it a file; it is not synced. Its length in bytes.
    pub(in crate::telemetry) fn finish(mut self) -> Result<u64, Fault> {
        self.write_group()?;
        let notes = serde_json::to_string(&self.notes).map_err(io::Error::from)?;
        self.out.append_key_value_metadata(KeyValue::new(KEY.to_owned(), notes));
        let tail_at = self.out.inner().at;
        self.out.finish()?;
        let checksum = self.out.inner_mut().take_checksum();
        let head = [&OURS[..], &tail_at.to_le_bytes(), &checksum.to_le_bytes()].concat();
        self.file.write_at(MAGIC.len() as u64, &head)?;
        Ok(self.out.inner().at)
    }

    fn write_group(&mut self) -> Result<(), Fault> {
        let Group { bytes, rows } = std::mem::take(&mut self.group);
        if rows.is_empty() {
            return Ok(());
        }
        let (bytes, blocks) = (Bytes::from(bytes), blocks(&rows));
        let at = self.out.inner().at;
        let mut group = self.out.next_row_group()?;
        for place in 0..OWN.len() + self.columns.len() {
            let mut column = group.next_column()?.expect("the schema has so many columns");
            let taken = place.checked_sub(OWN.len()).map(|taken| &self.columns[taken]);
            for block in &blocks {
                write_block(&mut column, (place, taken), &bytes, &rows[block.clone()])?;
            }
            column.close()?;
        }
        group.close()?;
        self.out.flush()?;
        self.notes.groups.push(GroupNote {
            at,
            bytes: self.out.inner().at - at,
            checksum: self.out.inner_mut().take_checksum(),
            blocks: blocks.iter().map(|block| block.len() as u32).collect(),
        });
        Ok(())
    }
}

/// Topics and names repeat; offsets and times grow; payloads differ.
fn properties() -> WriterProperties {
    let column = |at: usize| ColumnPath::from(OWN[at]);
    let level = ZstdLevel::try_new(1).expect("zstd has a level 1");
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("martlet ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(None)
        .set_data_page_row_count_limit(2 * BLOCK_ROWS_MAX)
        .set_data_page_size_limit(BLOCK_BYTES_MAX)
        .set_statistics_enabled(EnabledStatistics::Chunk);
    for at in [OFFSET, TIME] {
        properties = properties
            .set_column_dictionary_enabled(column(at), false)
            .set_column_encoding(column(at), Encoding::DELTA_BINARY_PACKED)
            .set_column_statistics_enabled(column(at), EnabledStatistics::Page);
    }
    for at in [PAYLOAD, PAYLOAD_BINARY] {
        properties = properties
            .set_column_dictionary_enabled(column(at), false)
            .set_column_statistics_enabled(column(at), EnabledStatistics::None);
    }
    properties.build()
}

impl Group {
    fn add(&mut self, record: &Record<'_>) {
        let mut keep = |part: &[u8]| {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(part);
            start..self.bytes.len()
        };
        let row = Row {
            offset: record.offset as i64,
            time: record.time_ms as i64,
            topic: keep(record.topic.as_bytes()),
            client_id: record.client_id.map(|name| keep(name.as_bytes())),
            user_name: record.user_name.map(|name| keep(name.as_bytes())),
            payload: keep(record.payload),
            is_text: std::str::from_utf8(record.payload).is_ok(),
            qos: record.qos.get(),
            retain: record.retain,
        };
        self.rows.push(row);
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= GROUP_ROWS_MAX || self.bytes.len() >= GROUP_BYTES_MAX
    }
}

/// Cuts rows into what is read at a time.
fn blocks(rows: &[Row]) -> Vec<Range<usize>> {
    let (mut blocks, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (at, row) in rows.iter().enumerate() {
        let more = row.payload.end - row.topic.start;
        if at > start && (at - start >= BLOCK_ROWS_MAX || bytes + more > BLOCK_BYTES_MAX) {
            blocks.push(start..at);
            (start, bytes) = (at, 0);
        }
        bytes += more;
    }
    blocks.push(start..rows.len());
    blocks
}

/// Some rows of one column: one of our own, or one that is `taken` out of payloads.
fn write_block(
    out: &mut SerializedColumnWriter<'_>,
    (place, taken): (usize, Option<&Column>),
    bytes: &Bytes,
    rows: &[Row],
) -> Result<(), Fault> {
    let part = |range: &Range<usize>| ByteArray::from(bytes.slice(range.clone()));
    let optional = |range: &Option<Range<usize>>| range.as_ref().map(part);
    if let Some(taken) = taken {
        let found = |row: &Row| members::find(taken, &bytes[row.payload.clone()]);
        return write_taken(out, taken.kind, rows.iter().map(found));
    }
    match place {
        OFFSET => required::<Int64Type>(out, rows.iter().map(|row| row.offset)),
        TIME => required::<Int64Type>(out, rows.iter().map(|row| row.time)),
        TOPIC => required::<ByteArrayType>(out, rows.iter().map(|row| part(&row.topic))),
        CLIENT_ID => some::<ByteArrayType>(out, rows.iter().map(|row| optional(&row.client_id))),
        USER_NAME => some::<ByteArrayType>(out, rows.iter().map(|row| optional(&row.user_name))),
        QOS => required::<Int32Type>(out, rows.iter().map(|row| i32::from(row.qos))),
        RETAIN => required::<BoolType>(out, rows.iter().map(|row| row.retain)),
        _ => {
            let wanted = |row: &Row| row.is_text == (place == PAYLOAD);
            let payload = |row: &Row| wanted(row).then(|| part(&row.payload));
            some::<ByteArrayType>(out, rows.iter().map(payload))
        }
    }
}

fn write_taken(
    out: &mut SerializedColumnWriter<'_>,
    kind: ColumnKind,
    found: impl Iterator<Item = Option<Scalar>>,
) -> Result<(), Fault> {
    match kind {
        ColumnKind::Number => some::<DoubleType>(
            out,
            found.map(|value| match value {
                Some(Scalar::Number(number)) => Some(number),
                _ => None,
            }),
        ),
        ColumnKind::String => some::<ByteArrayType>(
            out,
            found.map(|value| match value {
                Some(Scalar::String(text)) => Some(ByteArray::from(text.into_bytes())),
                _ => None,
            }),
        ),
        ColumnKind::Bool => some::<BoolType>(
            out,
            found.map(|value| match value {
                Some(Scalar::Bool(value)) => Some(value),
                _ => None,
            }),
        ),
    }
}

fn required<T: DataType>(
    out: &mut SerializedColumnWriter<'_>,
    values: impl Iterator<Item = T::T>,
) -> Result<(), Fault> {
    let values: Vec<T::T> = values.collect();
    out.typed::<T>().write_batch(&values, None, None)?;
    Ok(())
}

fn some<T: DataType>(
    out: &mut SerializedColumnWriter<'_>,
    values: impl Iterator<Item = Option<T::T>>,
) -> Result<(), Fault> {
    let (mut there, mut levels) = (Vec::new(), Vec::new());
    for value in values {
        levels.push(i16::from(value.is_some()));
        there.extend(value);
    }
    out.typed::<T>().write_batch(&there, Some(&levels), None)?;
    Ok(())
}

impl Sink {
    fn take_checksum(&mut self) -> u32 {
        std::mem::take(&mut self.checksum)
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(self.at, bytes)?;
        self.at += bytes.len() as u64;
        self.checksum = crc32c::crc32c_append(self.checksum, bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
