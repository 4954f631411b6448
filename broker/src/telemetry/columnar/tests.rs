//! What is written as columns is read as it was, and not at all where it is damaged.

use std::io;
use std::sync::Arc;

use martlet_codec::reason::QoS;
use parking_lot::Mutex;
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::read::Columnar;
use super::write::Writer;
use super::{Fault, HEAD_BYTES};
use crate::store::disk::File;
use crate::telemetry::batch;
use crate::telemetry::columns::{Column, ColumnKind};
use crate::telemetry::parquet_pieces::ParquetPieces;
use crate::telemetry::{KeptRecord, Record};

/// A file in memory.
#[derive(Clone, Debug, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl File for Memory {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().len() as u64)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let (bytes, start) = (self.0.lock(), offset as usize);
        let part = bytes.get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(part);
        Ok(())
    }

    fn write_at(&self, offset: u64, from: &[u8]) -> io::Result<()> {
        let (mut bytes, start) = (self.0.lock(), offset as usize);
        let len = bytes.len().max(start + from.len());
        bytes.resize(len, 0);
        bytes[start..start + from.len()].copy_from_slice(from);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.lock().resize(len as usize, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Every shape that a record has; offsets with gaps, times that go back.
fn record(at: u64) -> KeptRecord {
    let payload = match at % 7 {
        0 => Vec::new(),
        1 => vec![0xFF, at as u8, 0],
        2 => vec![b'x'; 70_000],
        _ => format!("{{\"t\": {at}, \"gps\": {{\"lat\": \"{at}\"}}}}").into_bytes(),
    };
    KeptRecord {
        offset: 1_000 + at * 3 / 2,
        time_ms: 1_700_000_000_000 + (at ^ 5) * 10,
        topic: format!("sensors/{}/ä", at % 10).into(),
        client_id: (!at.is_multiple_of(3)).then(|| format!("c{}", at % 4).into()),
        user_name: at.is_multiple_of(5).then(|| "u".into()),
        qos: QoS::new((at % 3) as u8).expect("a QoS"),
        retain: at.is_multiple_of(4),
        payload: payload.into(),
    }
}

fn written(records: &[KeptRecord]) -> Memory {
    let column = |name: &str, kind| Column { name: name.into(), kind };
    let columns = [column("gps.lat", ColumnKind::String), column("t", ColumnKind::Number)];
    let file = Memory::default();
    let mut writer = Writer::new(Arc::new(file.clone()), &columns).expect("begun");
    records.iter().for_each(|record| writer.add(&record.lend()).expect("added"));
    assert_eq!(writer.finish().expect("finished"), file.len().expect("it has one"));
    file
}

fn all(file: &Memory) -> Result<Vec<KeptRecord>, Fault> {
    let mut columnar = Columnar::open(Arc::new(file.clone()))?;
    let mut found = Vec::new();
    for (row, rows) in columnar.blocks() {
        block(&mut columnar, row, rows, &mut found)?;
    }
    Ok(found)
}

fn block(
    columnar: &mut Columnar,
    row: u64,
    rows: u64,
    found: &mut Vec<KeptRecord>,
) -> Result<(), Fault> {
    let mut bytes = Vec::new();
    columnar.read(row, rows, &mut bytes)?;
    let batch = batch::read(&bytes).expect("a whole batch");
    assert_eq!(batch.bytes.len(), bytes.len(), "one alone");
    found.extend(batch.places().map(|place| place.record(batch.bytes).keep()));
    assert!(found.iter().skip(row as usize).all(|r| (batch.first..batch.end).contains(&r.offset)));
    Ok(())
}

#[test]
fn records_are_read_as_they_were_written() {
    for count in [0, 1, 3_000] {
        let records: Vec<KeptRecord> = (0..count).map(record).collect();
        let found = all(&written(&records)).expect("whole");
        assert!(found == records, "{count}");
    }
}

#[test]
fn blocks_are_read_in_any_order() {
    let records: Vec<KeptRecord> = (0..2_000).map(record).collect();
    let file = written(&records);
    let mut columnar = Columnar::open(Arc::new(file)).expect("whole");
    let blocks = columnar.blocks();
    assert!(blocks.len() > 20, "{}", blocks.len());
    let forward: Vec<usize> = (0..blocks.len()).step_by(5).collect();
    let back = (0..blocks.len()).rev().step_by(3);
    for at in forward.into_iter().chain(back) {
        let ((row, rows), mut found) = (blocks[at], Vec::new());
        block(&mut columnar, row, rows, &mut found).expect("whole");
        assert!(found == records[row as usize..(row + rows) as usize], "block {at}");
    }
}

#[test]
fn many_rows_go_into_several_row_groups() {
    let payload = b"{\"t\": 20.69, \"h\": 40}";
    let file = Memory::default();
    let mut writer = Writer::new(Arc::new(file.clone()), &[]).expect("begun");
    let record = |offset| Record {
        offset,
        time_ms: offset,
        topic: "sensors/garden/climate",
        client_id: Some("garden"),
        user_name: None,
        qos: QoS::AtLeastOnce,
        retain: false,
        payload,
    };
    for offset in 0..130_000 {
        writer.add(&record(offset)).expect("added");
    }
    let bytes = writer.finish().expect("finished");
    assert!(bytes < 130_000 * 5, "{bytes} bytes");
    let columnar = Columnar::open(Arc::new(file.clone())).expect("whole");
    assert_eq!(columnar.blocks().iter().map(|(_, rows)| rows).sum::<u64>(), 130_000);
    let found = all(&file).expect("whole");
    assert!(found.iter().enumerate().all(|(at, found)| found.lend() == record(at as u64)));
}

/// Whatever bit flips, what is read is what was written, or an error; nothing else.
#[test]
fn a_flipped_bit_is_found() {
    let records: Vec<KeptRecord> = (0..6).filter(|at| at % 7 != 2).map(record).collect();
    let file = written(&records);
    let whole = file.0.lock().clone();
    let mut harmless = 0;
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        match all(&Memory(Arc::new(Mutex::new(bytes)))) {
            Err(Fault::Damaged { .. }) => {}
            Err(Fault::Io(error)) => panic!("bit {bit}: {error}"),
            Ok(found) => {
                assert!(found == records, "bit {bit}");
                harmless += 1;
            }
        }
    }
    let unused = HEAD_BYTES - 20;
    assert_eq!(harmless, unused * 8, "only what nobody reads");
}

#[test]
fn a_file_that_is_cut_is_none() {
    let records: Vec<KeptRecord> = (0..5).map(record).collect();
    let file = written(&records);
    let whole = file.0.lock().clone();
    for end in (0..whole.len()).step_by(7) {
        let cut = Memory(Arc::new(Mutex::new(whole[..end].to_vec())));
        assert!(matches!(all(&cut), Err(Fault::Damaged { .. })), "cut at {end}");
    }
}

/// Sent on as they come, they are the file, but for our own mark at its beginning.
#[test]
fn pieces_are_a_file_for_every_reader() {
    let records: Vec<KeptRecord> = (0..3_000).map(record).collect();
    let file = Memory::default();
    let mut whole = Writer::new(Arc::new(file.clone()), &[]).expect("a file in memory");
    let mut pieces = ParquetPieces::new(&[]).expect("it is built");
    let (mut sent, mut longest) = (Vec::new(), 0);
    for record in &records {
        whole.add(&record.lend()).expect("a file in memory");
        let mut piece = Vec::new();
        pieces.add(&record.lend(), &mut piece).expect("memory");
        longest = longest.max(piece.len());
        sent.extend(piece);
    }
    assert!(sent.len() > HEAD_BYTES && longest < sent.len(), "a row group leaves when it is full");
    pieces.finish(&mut sent).expect("memory");
    whole.finish().expect("a file in memory");
    let mut expected = file.0.lock().clone();
    expected[4..HEAD_BYTES].fill(0);
    assert!(sent == expected, "{} bytes, not {}", sent.len(), expected.len());
    let reader = SerializedFileReader::new(bytes::Bytes::from(sent)).expect("a file of Parquet");
    assert_eq!(reader.metadata().file_metadata().num_rows(), 3_000);
    let rows = reader.get_row_iter(None).expect("rows").map(|row| row.expect("a row"));
    let last = rows.last().expect("one at least").to_string();
    assert!(last.contains(&format!("offset: {}", records[2_999].offset)), "{last}");
}
