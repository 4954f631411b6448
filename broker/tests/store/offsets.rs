//! Offsets that are damaged or missing: nothing is served under another's, what is lost is counted,
//! and nothing that is whole is cut.

use std::path::{Path, PathBuf};

use martlet::store::Store;
use martlet::store::disk::Disk;
use martlet::store::recorder::Recorder;
use martlet::telemetry::Position;
use martlet::telemetry::log::Log;

use crate::lost::{copy, held, read, stopped};
use crate::recording::{log, offsets, open, read_stream, record};
use crate::sealing::{files, seal, sealing_log, stats};
use crate::simulated::{Simulated, Stop};

/// Where the batches of a segment begin, and how long they are.
fn batches(segment: &[u8]) -> Vec<(usize, usize)> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at < segment.len() {
        let len = segment[at + 8..at + 12].try_into().expect("four bytes");
        let bytes = u32::from_be_bytes(len) as usize + 12;
        found.push((at, bytes));
        at += bytes;
    }
    found
}

/// As a broker wrote it that had no checksum of offsets yet.
fn of_before(segment: &mut [u8]) {
    for (at, _) in batches(segment) {
        segment[at + 12..at + 16].fill(0);
    }
}

fn started(disk: &Simulated) -> Log {
    let log = sealing_log(disk, 20_000);
    open(disk, &log).load().expect("loaded");
    log
}

/// A batch in the middle of the segment, with this bit of its first offset flipped.
fn flipped(disk: &Simulated, path: &Path, bit: usize) -> (Simulated, usize) {
    let disk = copy(disk);
    let mut bytes = disk.files()[path].clone();
    let all = batches(&bytes);
    let (at, len) = all[all.len() / 2];
    bytes[at + bit / 8] ^= 1 << (bit % 8);
    disk.put(path, bytes);
    (disk, len)
}

#[test]
fn a_flipped_bit_in_an_offset_costs_its_batch_and_no_more() {
    let (disk, all) = stopped(false);
    for path in [&all[1], &all[all.len() - 1]] {
        for bit in 0..64 {
            let (disk, len) = flipped(&disk, path, bit);
            let before = disk.files()[path].clone();
            for start in 0..2 {
                let log = started(&disk);
                let (found, cost) = read(&log, None);
                let what = format!("{path:?}, bit {bit}, start {start}");
                assert_eq!((found.len(), cost), (990, len as u64), "{what}");
                assert!(found.is_sorted_by(|a, b| a < b) && found[989] == 999, "{what}");
                assert_eq!(log.last("all", None, 1_000).expect("read").len(), 990, "{what}");
                assert!(disk.files()[path] == before, "{what}: not a byte changes");
                drop(log);
                disk.restart(Stop::Kill);
            }
            let log = started(&disk);
            seal(&log);
            assert!(disk.files()[path] == before, "it is not sealed");
            assert_eq!(read(&log, None).0.len(), 990);
        }
    }
}

#[test]
fn of_segments_of_before_nothing_is_cut_and_no_batch_lost_uncounted() {
    let (disk, all) = stopped(false);
    for path in &all {
        let mut bytes = disk.files()[path].clone();
        of_before(&mut bytes);
        disk.put(path, bytes);
    }
    assert_eq!(read(&started(&copy(&disk)), None), ((0..1_000).collect(), 0), "they are read");
    for path in [&all[1], &all[all.len() - 1]] {
        for bit in 0..64 {
            let (disk, _) = flipped(&disk, path, bit);
            let before = disk.files()[path].clone();
            let log = started(&disk);
            let (found, cost) = read(&log, None);
            let what = format!("{path:?}, bit {bit}");
            assert!(found.is_sorted_by(|a, b| a < b), "{what}");
            // Nobody can tell where it stays in its block.
            assert!(bit >= 48 || found.len() == 990 && cost > 0, "{what}");
            assert!(disk.files()[path] == before, "{what}: not a byte changes");
        }
    }
}

/// Without one of its files, or with one that ends behind its first batch.
fn shortened(disk: &Simulated, path: &Path, is_gone: bool) -> Simulated {
    let disk = copy(disk);
    if is_gone {
        let other = Simulated::new(1);
        let files = disk.files().into_iter().filter(|(other, _)| other != path);
        files.for_each(|(path, bytes)| other.put(&path, bytes));
        return other;
    }
    let mut bytes = disk.files()[path].clone();
    bytes.truncate(batches(&bytes)[0].1);
    disk.put(path, bytes);
    disk
}

#[test]
fn records_that_are_in_no_file_any_more_are_counted_by_everybody() {
    let (disk, all) = stopped(false);
    for at in 1..all.len() {
        for is_gone in [true, false] {
            let disk = shortened(&disk, &all[at], is_gone);
            let missing = held(&all, at);
            let missing = missing.start + if is_gone { 0 } else { 10 }..missing.end;
            let mut expected: Vec<u64> = (0..1_000).filter(|o| !missing.contains(o)).collect();
            let log = log(&disk, 20_000);
            let mut store = open(&disk, &log);
            store.load().expect("loaded");
            let lost = missing.end - missing.start;
            let mut reader = log.reader("all", Position::Earliest, None).expect("there");
            while reader.next().expect("read").is_some() {}
            // Who waits for more is not told at once that there is more.
            assert_eq!((reader.offset(), reader.damaged_bytes()), (1_000, lost), "{missing:?}");
            assert_eq!(read(&log, None), (expected.clone(), lost), "{missing:?}, {is_gone}");
            store.commit(&[record(1_000, "a", b"1")]).expect("it goes on");
            expected.push(1_000);
            assert_eq!(read(&log, None), (expected.clone(), lost), "{missing:?}, {is_gone}");
            store.close().expect("closed");
            drop((store, log));
            disk.restart(Stop::Kill);
            assert_eq!(read(&started(&disk), None), (expected, lost), "after a start");
        }
    }
}

#[test]
fn a_parquet_file_that_a_start_sets_aside_is_counted() {
    let (disk, all) = stopped(true);
    let (path, missing) = (&all[1], held(&all, 1));
    let mut bytes = disk.files()[path].clone();
    let at = bytes.len() - 30;
    bytes[at] ^= 1;
    disk.put(path, bytes);
    disk.remove(&path.with_extension("index")).expect("it was there");
    let log = started(&disk);
    assert_eq!(files(&disk, "damaged").len(), 1);
    assert_eq!(read(&log, None).1, missing.end - missing.start);
    assert_eq!(stats(&log).damaged_bytes, missing.end - missing.start);
}

fn only_segment(disk: &Simulated) -> PathBuf {
    let all = files(disk, "log");
    assert_eq!(all.len(), 1, "{all:?}");
    all[0].clone()
}

/// A start cuts the segment where the state ends, and writes what the journal has in other batches.
#[test]
fn who_looks_on_while_a_broker_is_killed_and_starts_sees_all() {
    let disk = Simulated::new(1);
    let log_of_broker = log(&disk, 1 << 20);
    let mut store = open(&disk, &log_of_broker);
    store.load().expect("loaded");
    let commit = |store: &mut dyn Store, range: std::ops::Range<u64>| {
        range.for_each(|at| store.commit(&[record(at, "t", b"21.5")]).expect("committed"));
    };
    commit(&mut store, 0..10);
    store.close().expect("closed");
    let looking = log(&disk, 1 << 20);
    let mut readers = Vec::new();
    for end in 10..30 {
        commit(&mut store, end..end + 1);
        match end {
            10 => looking.restore(&[].into()).expect("looked"),
            _ => looking.look_again().expect("looked"),
        }
        let mut reader = looking.reader("all", Position::Offset(end), None).expect("there");
        assert_eq!(reader.next().expect("read").map(|record| record.offset), Some(end));
        assert_eq!(reader.next().expect("read"), None);
        readers.push(reader);
    }
    let before = disk.files()[&only_segment(&disk)].clone();
    disk.power_goes_in(0);
    drop((store, log_of_broker));
    disk.restart(Stop::Kill);
    let log_of_broker = log(&disk, 1 << 20);
    let mut store = open(&disk, &log_of_broker);
    store.load().expect("loaded");
    commit(&mut store, 30..60);
    let after = disk.files()[&only_segment(&disk)].clone();
    assert!(!after.starts_with(&before), "in other batches");
    looking.look_again().expect("looked");
    let all = read_stream(&looking, "all", Position::Earliest, None);
    assert_eq!(offsets(&all), (0..60).collect::<Vec<_>>());
    for (mut reader, at) in readers.into_iter().zip(10..) {
        let rest = std::iter::from_fn(|| reader.next().expect("read").map(|r| r.offset));
        assert_eq!(rest.collect::<Vec<_>>(), (at + 1..60).collect::<Vec<_>>());
        assert_eq!(reader.damaged_bytes(), 0);
    }
}
