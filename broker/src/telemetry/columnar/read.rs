//! Reading records out of columns, a block at a time, as the batch that a segment would have.

use std::io::{self, BufReader, Read};
use std::sync::Arc;

use bytes::Bytes;
use martlet_codec::reason::QoS;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_typed_column_reader};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, FileReader, Length};
use parquet::file::serialized_reader::{ReadOptionsBuilder, SerializedFileReader};
use parquet::file::statistics::Statistics;

use crate::store::disk::File;
use crate::telemetry::Record;
use crate::telemetry::batch;
use crate::telemetry::columnar::{
    CLIENT_ID, Fault, GroupNote, HEAD_BYTES, KEY, MAGIC, Notes, OFFSET, OURS, PAYLOAD,
    PAYLOAD_BINARY, QOS, RETAIN, TIME, TOPIC, USER_NAME, VERSION, schema,
};
use crate::telemetry::columns::OWN;
use crate::telemetry::index::{Block, UNKNOWN};

/// Bytes that are checked at a time.
const WINDOW_BYTES: usize = 64 << 10;
/// A tail is far smaller than this.
const TAIL_BYTES_MAX: u64 = 256 << 20;

/// A file that is being read.
pub(in crate::telemetry) struct Columnar {
    file: Arc<dyn File>,
    reader: SerializedFileReader<Chunks>,
    groups: Vec<GroupNote>,
    /// For each row group whether it is as it was written; `None`: nobody has looked yet.
    whole: Vec<Option<bool>>,
    open: Option<Open>,
}

/// The row group that is read.
struct Open {
    group: usize,
    columns: Columns,
    /// Its next row.
    next: usize,
}

/// The columns of a row group, each read up to the same row.
struct Columns {
    offset: ColumnReaderImpl<Int64Type>,
    time: ColumnReaderImpl<Int64Type>,
    topic: ColumnReaderImpl<ByteArrayType>,
    client_id: ColumnReaderImpl<ByteArrayType>,
    user_name: ColumnReaderImpl<ByteArrayType>,
    qos: ColumnReaderImpl<Int32Type>,
    retain: ColumnReaderImpl<BoolType>,
    payload: ColumnReaderImpl<ByteArrayType>,
    payload_binary: ColumnReaderImpl<ByteArrayType>,
}

/// The file as the reader of columns wants it.
struct Chunks {
    file: Arc<dyn File>,
    len: u64,
}

struct Cursor {
    file: Arc<dyn File>,
    at: u64,
    end: u64,
}

impl std::fmt::Debug for Columnar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Columnar").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Columnar {
    /// Reads what the file says of itself.
    pub(in crate::telemetry) fn open(file: Arc<dyn File>) -> Result<Self, Fault> {
        let len = file.len()?;
        check_tail(&*file, len)?;
        let chunks = Chunks { file: Arc::clone(&file), len };
        let options = ReadOptionsBuilder::new().with_page_index().build();
        let reader = SerializedFileReader::new_with_options(chunks, options)?;
        let groups = notes(&reader)?.groups;
        let rows =
            |group: &GroupNote| group.blocks.iter().map(|rows| i64::from(*rows)).sum::<i64>();
        let found = reader.metadata().row_groups().iter().map(|group| group.num_rows());
        let is_ours = schema(&[])?.get_fields().iter().eq(reader
            .metadata()
            .file_metadata()
            .schema()
            .get_fields()
            .iter()
            .take(OWN.len()));
        if !is_ours || !found.eq(groups.iter().map(rows)) {
            return Err(damaged("its columns are not those of a log", len));
        }
        let whole = vec![None; groups.len()];
        Ok(Self { file, reader, groups, whole, open: None })
    }

    /// What is read at a time: where it begins, and how many rows it has.
    pub(in crate::telemetry) fn blocks(&self) -> Vec<(u64, u64)> {
        let mut next = 0;
        let blocks = self.groups.iter().flat_map(|group| &group.blocks).map(|rows| {
            let at = next;
            next += u64::from(*rows);
            (at, u64::from(*rows))
        });
        blocks.collect()
    }

    /// What the tail says of a block that cannot be read: the offsets and times of its row group.
    pub(in crate::telemetry) fn hull(&self, row: u64, rows: u64) -> Result<Block, Fault> {
        let (group, _) = self.place(row)?;
        let group = self.reader.metadata().row_group(group);
        let said = |column: usize| match group.column(column).statistics() {
            Some(Statistics::Int64(said)) => {
                let bounds = said.min_opt().zip(said.max_opt());
                bounds.map_or((0, UNKNOWN), |(min, max)| (*min as u64, *max as u64))
            }
            _ => (0, UNKNOWN),
        };
        let ((first, last), (time_min, time_max)) = (said(OFFSET), said(TIME));
        let end = last.saturating_add(1);
        Ok(Block { first, end, at: row, bytes: rows, time_min, time_max })
    }

    /// Appends so many records from that row on, which begin a block, as one batch.
    pub(in crate::telemetry) fn read(
        &mut self,
        row: u64,
        rows: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let (group, row) = self.place(row)?;
        self.check(group)?;
        let rows = usize::try_from(rows).unwrap_or(usize::MAX);
        let is_before = |open: &Open| open.group == group && open.next <= row;
        let mut open = match self.open.take().filter(is_before) {
            Some(open) => open,
            None => Open { group, columns: Columns::open(&self.reader, group)?, next: 0 },
        };
        open.columns.skip(row - open.next)?;
        open.columns.read(rows, out)?;
        open.next = row + rows;
        self.open = Some(open);
        Ok(())
    }

    /// Whether a row group is as it was written; what is lost is said once.
    fn check(&mut self, group: usize) -> Result<(), Fault> {
        let GroupNote { at, bytes, checksum, .. } = self.groups[group];
        let known = self.whole[group];
        let is_whole = match known {
            Some(is_whole) => is_whole,
            None => checksum_of(&*self.file, at, bytes)? == checksum,
        };
        self.whole[group] = Some(is_whole);
        let lost = if known.is_none() { bytes } else { 0 };
        is_whole.then_some(()).ok_or_else(|| damaged("a row group is damaged", lost))
    }

    /// The row group of a row, and which of its rows that is.
    fn place(&self, row: u64) -> Result<(usize, usize), Fault> {
        let mut row = usize::try_from(row).unwrap_or(usize::MAX);
        for (at, group) in self.groups.iter().enumerate() {
            let rows: usize = group.blocks.iter().map(|rows| *rows as usize).sum();
            if row < rows {
                return Ok((at, row));
            }
            row -= rows;
        }
        Err(damaged("its index is another file's", 0))
    }
}

fn damaged(reason: &str, bytes: u64) -> Fault {
    Fault::Damaged { reason: reason.to_owned(), bytes }
}

/// The tail is as it was written.
fn check_tail(file: &dyn File, len: u64) -> Result<(), Fault> {
    let not_whole = || damaged("it is not whole", len);
    if len < HEAD_BYTES as u64 {
        return Err(not_whole());
    }
    let mut head = [0; HEAD_BYTES];
    file.read_at(0, &mut head)?;
    let tail_at = u64::from_le_bytes(head[8..16].try_into().expect("eight bytes are eight bytes"));
    let checksum = u32::from_le_bytes(head[16..20].try_into().expect("four bytes are four bytes"));
    if !head.starts_with(MAGIC) || head[4..8] != *OURS {
        return Err(damaged("it is not one of the log's", len));
    }
    let is_possible = tail_at < len && len - tail_at < TAIL_BYTES_MAX;
    let is_whole = is_possible && checksum_of(file, tail_at, len - tail_at)? == checksum;
    is_whole.then_some(()).ok_or_else(not_whole)
}

fn checksum_of(file: &dyn File, mut at: u64, mut bytes: u64) -> io::Result<u32> {
    let (mut checksum, mut window) = (0, vec![0; WINDOW_BYTES]);
    while bytes > 0 {
        let len = usize::try_from(bytes).unwrap_or(usize::MAX).min(WINDOW_BYTES);
        file.read_at(at, &mut window[..len])?;
        checksum = crc32c::crc32c_append(checksum, &window[..len]);
        (at, bytes) = (at + len as u64, bytes - len as u64);
    }
    Ok(checksum)
}

fn notes(reader: &SerializedFileReader<Chunks>) -> Result<Notes, Fault> {
    let all = reader.metadata().file_metadata().key_value_metadata();
    let ours = all.into_iter().flatten().find(|one| one.key == KEY);
    let ours = ours.and_then(|one| one.value.as_deref()).unwrap_or_default();
    match serde_json::from_str::<Notes>(ours) {
        Ok(notes) if notes.version <= VERSION => Ok(notes),
        Ok(_) => Err(Fault::Io(io::Error::other("a newer broker wrote it"))),
        Err(error) => Err(damaged(&error.to_string(), 0)),
    }
}

impl Columns {
    fn open(reader: &SerializedFileReader<Chunks>, group: usize) -> Result<Self, Fault> {
        let group = reader.get_row_group(group)?;
        let column = |at: usize| group.get_column_reader(at);
        Ok(Self {
            offset: typed(column(OFFSET)?),
            time: typed(column(TIME)?),
            topic: typed(column(TOPIC)?),
            client_id: typed(column(CLIENT_ID)?),
            user_name: typed(column(USER_NAME)?),
            qos: typed(column(QOS)?),
            retain: typed(column(RETAIN)?),
            payload: typed(column(PAYLOAD)?),
            payload_binary: typed(column(PAYLOAD_BINARY)?),
        })
    }

    fn skip(&mut self, rows: usize) -> Result<(), Fault> {
        if rows == 0 {
            return Ok(());
        }
        self.offset.skip_records(rows)?;
        self.time.skip_records(rows)?;
        self.topic.skip_records(rows)?;
        self.client_id.skip_records(rows)?;
        self.user_name.skip_records(rows)?;
        self.qos.skip_records(rows)?;
        self.retain.skip_records(rows)?;
        self.payload.skip_records(rows)?;
        self.payload_binary.skip_records(rows)?;
        Ok(())
    }

    fn read(&mut self, rows: usize, out: &mut Vec<u8>) -> Result<(), Fault> {
        let offset = required(&mut self.offset, rows)?;
        let time = required(&mut self.time, rows)?;
        let topic = required(&mut self.topic, rows)?;
        let client_id = some(&mut self.client_id, rows)?;
        let user_name = some(&mut self.user_name, rows)?;
        let qos = required(&mut self.qos, rows)?;
        let retain = required(&mut self.retain, rows)?;
        let payload = some(&mut self.payload, rows)?;
        let payload_binary = some(&mut self.payload_binary, rows)?;
        let names = client_id.each().zip(user_name.each());
        let payloads = payload.each().zip(payload_binary.each());
        let mut records = Vec::with_capacity(rows);
        for (row, ((client_id, user_name), (text, binary))) in names.zip(payloads).enumerate() {
            records.push(Record {
                offset: offset[row] as u64,
                time_ms: time[row] as u64,
                topic: as_text(&topic[row])?,
                client_id: client_id.map(as_text).transpose()?,
                user_name: user_name.map(as_text).transpose()?,
                qos: as_qos(qos[row])?,
                retain: retain[row],
                payload: text.or(binary).map(ByteArray::data).unwrap_or_default(),
            });
        }
        batch::write(out, records.iter().copied());
        Ok(())
    }
}

fn as_text(value: &ByteArray) -> Result<&str, Fault> {
    std::str::from_utf8(value.data()).map_err(|_| damaged("a text is none", 0))
}

fn as_qos(value: i32) -> Result<QoS, Fault> {
    let qos = u8::try_from(value).ok().and_then(QoS::new);
    qos.ok_or_else(|| damaged("a QoS is none", 0))
}

/// Their types were compared when the file was opened.
fn typed<T: DataType>(column: ColumnReader) -> ColumnReaderImpl<T> {
    get_typed_column_reader(column)
}

fn required<T: DataType>(
    column: &mut ColumnReaderImpl<T>,
    rows: usize,
) -> Result<Vec<T::T>, Fault> {
    let mut values = Vec::with_capacity(rows);
    column.read_records(rows, None, None, &mut values)?;
    match values.len() == rows {
        true => Ok(values),
        false => Err(damaged("a column has too few rows", 0)),
    }
}

/// Values of a column that has gaps.
struct Gapped {
    levels: Vec<i16>,
    values: Vec<ByteArray>,
}

impl Gapped {
    fn each(&self) -> impl Iterator<Item = Option<&ByteArray>> {
        let mut values = self.values.iter();
        self.levels.iter().map(move |level| if *level > 0 { values.next() } else { None })
    }
}

fn some(column: &mut ColumnReaderImpl<ByteArrayType>, rows: usize) -> Result<Gapped, Fault> {
    let (mut levels, mut values) = (Vec::with_capacity(rows), Vec::new());
    column.read_records(rows, Some(&mut levels), None, &mut values)?;
    match levels.len() == rows {
        true => Ok(Gapped { levels, values }),
        false => Err(damaged("a column has too few rows", 0)),
    }
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.len
    }
}

impl ChunkReader for Chunks {
    type T = BufReader<Cursor>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let cursor = Cursor { file: Arc::clone(&self.file), at: start, end: self.len };
        Ok(BufReader::new(cursor))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let mut bytes = vec![0; length];
        self.file.read_at(start, &mut bytes)?;
        Ok(bytes.into())
    }
}

impl Read for Cursor {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let len = out.len().min(left);
        self.file.read_at(self.at, &mut out[..len])?;
        self.at += len as u64;
        Ok(len)
    }
}
