//! Segments that become Parquet files: nobody who reads sees a difference, and no record is lost.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use martlet::store::Store;
use martlet::store::disk::Disk;
use martlet::store::durable::Durable;
use martlet::telemetry::columns::{Column, ColumnKind};
use martlet::telemetry::log::{Log, Sealing};
use martlet::telemetry::rights::Rights;
use martlet::telemetry::{KeptRecord, Position, StreamStats};
use martlet_codec::topic::TopicName;
use martlet_engine::filter::Filter;
use martlet_engine::permit::Permit;

use crate::recording::{fill, filled, log, log_with, offsets, open, read_stream, record};
use crate::simulated::{Faults, Simulated, Stop};
use crate::workload::filter;

pub fn sealing() -> Sealing {
    Sealing { after: None, bytes_per_s: 1 << 30 }
}

pub fn sealing_log(disk: &Simulated, segment_bytes: u64) -> Log {
    log_with(disk, segment_bytes, |settings| martlet::telemetry::log::StreamSettings {
        sealing: Some(sealing()),
        columns: vec![Column { name: "t".into(), kind: ColumnKind::Number }],
        ..settings
    })
}

pub fn stats(log: &Log) -> StreamStats {
    log.stats("all").expect("there is the stream")
}

pub fn seal(log: &Log) {
    log.seal(0, &|_| true);
}

/// A log whose segments but the newest are Parquet files.
pub fn sealed(disk: &Simulated, segment_bytes: u64) -> (Durable, Log) {
    let (mut store, log) = fill(disk, sealing_log(disk, segment_bytes));
    seal(&log);
    assert_eq!(stats(&log).parquet_files, 0, "not before the state has it");
    store.close().expect("closed");
    seal(&log);
    let stats = stats(&log);
    assert_eq!(stats.parquet_files, stats.segments - 1);
    (store, log)
}

pub fn files(disk: &Simulated, extension: &str) -> Vec<PathBuf> {
    let is_it = |path: &PathBuf| path.extension().is_some_and(|found| found == extension);
    disk.files().into_keys().filter(is_it).collect()
}

fn read(log: &Log, from: Position, wanted: Option<&str>) -> Vec<KeptRecord> {
    read_stream(log, "all", from, wanted)
}

/// What any reader could ask.
fn answers(log: &Log) -> Vec<Vec<KeptRecord>> {
    let mut answers = Vec::new();
    for wanted in [None, Some("t/3"), Some("t/+"), Some("other/#")] {
        for from in [
            Position::Earliest,
            Position::Latest,
            Position::Offset(0),
            Position::Offset(333),
            Position::Offset(995),
            Position::Time(1_000 + 5_005),
            Position::Time(1 << 40),
        ] {
            answers.push(read(log, from, wanted));
        }
        let wanted = wanted.map(filter);
        answers
            .extend([1, 3, 200, 10_000].map(|n| log.last("all", wanted.clone(), n).expect("read")));
        let mut hour =
            log.reader("all", Position::Time(3_000), wanted).expect("there").until(3_050);
        let next = || hour.next().expect("read").map(|record| record.keep());
        answers.push(std::iter::from_fn(next).collect());
    }
    answers
}

/// A permit for one topic.
#[derive(Debug)]
struct Only(&'static str);

impl Permit for Only {
    fn may_publish(&self, _: &str, _: TopicName<'_>) -> bool {
        false
    }

    fn may_receive(&self, client_id: &str, topic: TopicName<'_>) -> bool {
        client_id == "c" && topic.as_str() == self.0
    }

    fn may_subscribe(&self, _: &str, _: &Filter) -> bool {
        false
    }
}

/// Not of a name, nor of a gap where something was.
#[test]
fn a_reader_hears_of_nothing_that_it_may_not_read() {
    for segment_bytes in [1, 5_000, 50_000] {
        let (_store, log) = sealed(&Simulated::new(1), segment_bytes);
        let rights = Rights::new("c".into(), Some(Arc::new(Only("t/3"))));
        let wanted = (None, rights.clone());
        let last = log.last_within("all", wanted, (5, usize::MAX)).expect("read");
        assert_eq!(last.len(), 5);
        assert!(last == log.last("all", Some(filter("t/3")), 5).expect("read"));
        let page = log.topics_for(&rights, "all", ("t/", "", 1)).expect("read");
        assert_eq!((&*page.topics[0].topic, page.has_more), ("t/3", false));
        assert!(log.topics("all", "t/", "", 1).expect("read").has_more);
    }
}

#[test]
fn readers_see_no_difference() {
    for segment_bytes in [1, 5_000, 50_000] {
        let (mut store, plain) = filled(&Simulated::new(1), segment_bytes);
        store.close().expect("closed");
        let disk = Simulated::new(1);
        let (store, log) = sealed(&disk, segment_bytes);
        assert!(answers(&plain) == answers(&log), "{segment_bytes}");
        let topics = |log: &Log| log.topics("all", "t/", "t/1", 5).expect("read");
        assert_eq!(topics(&plain), topics(&log));
        let times = |log: &Log| (stats(log).first_time_ms, stats(log).last_time_ms);
        assert_eq!(times(&plain), times(&log));
        drop((store, log));
        disk.restart(Stop::PowerCut);
        for lost in [false, true] {
            if lost {
                files(&disk, "index").iter().for_each(|path| disk.remove(path).expect("removed"));
            }
            let log = sealing_log(&disk, segment_bytes);
            let mut store = open(&disk, &log);
            store.load().expect("loaded");
            assert!(answers(&plain) == answers(&log), "{segment_bytes} after a restart, {lost}");
            assert!(stats(&log).parquet_files > 0);
            drop((store, log));
            disk.restart(Stop::PowerCut);
        }
        let log = sealing_log(&disk, segment_bytes);
        let mut store = open(&disk, &log);
        store.load().expect("loaded");
        store.commit(&[record(1_000, "late", b"1")]).expect("it goes on");
        assert_eq!(offsets(&read(&log, Position::Offset(999), None)), [999, 1_000]);
    }
}

#[test]
fn whoever_reads_meanwhile_goes_on() {
    let disk = Simulated::new(1);
    let (mut store, log) = fill(&disk, sealing_log(&disk, 5_000));
    let mut readers: Vec<_> = (0..1_000)
        .step_by(7)
        .map(|offset| log.reader("all", Position::Offset(offset), None).expect("there"))
        .collect();
    for (at, reader) in readers.iter_mut().enumerate() {
        for offset in 0..at % 5 {
            let next = reader.next().expect("read").map(|record| record.offset);
            assert_eq!(next, Some((at * 7 + offset) as u64).filter(|offset| *offset < 1_000));
        }
    }
    store.close().expect("closed");
    seal(&log);
    assert!(stats(&log).parquet_files > 5);
    for (at, reader) in readers.iter_mut().enumerate() {
        let first = at * 7 + at % 5;
        let rest = std::iter::from_fn(|| reader.next().expect("read").map(|r| r.offset));
        assert_eq!(rest.collect::<Vec<_>>(), (first as u64..1_000).collect::<Vec<_>>());
    }
}

/// A reader that looks at the files of a broker which seals them.
#[test]
fn whoever_knows_the_old_files_finds_the_new_ones() {
    let disk = Simulated::new(1);
    let (mut store, log) = fill(&disk, sealing_log(&disk, 5_000));
    store.close().expect("closed");
    let other = self::log(&disk, 5_000);
    martlet::store::recorder::Recorder::restore(&other, &[("all".into(), 1_000)].into())
        .expect("restored");
    let mut reader = other.reader("all", Position::Earliest, None).expect("there");
    assert_eq!(reader.next().expect("read").map(|record| record.offset), Some(0));
    seal(&log);
    let rest = std::iter::from_fn(|| reader.next().expect("read").map(|record| record.offset));
    assert_eq!(rest.collect::<Vec<_>>(), (1..1_000).collect::<Vec<_>>());
    assert_eq!(other.topics("all", "t/", "", 100).expect("read").topics.len(), 10);
}

#[test]
fn a_segment_that_is_old_enough_grows_no_more() {
    let disk = Simulated::new(1);
    let old = |settings| martlet::telemetry::log::StreamSettings {
        sealing: Some(Sealing { after: Some(Duration::from_secs(60)), ..sealing() }),
        ..settings
    };
    let (mut store, log) = fill(&disk, log_with(&disk, 1 << 30, old));
    store.sync().expect("synced");
    log.seal(61_000, &|_| true);
    assert_eq!(stats(&log).segments, 1, "its first record came at 1 s");
    log.seal(61_001, &|_| true);
    store.commit(&[record(1_000, "late", b"1")]).expect("committed");
    store.close().expect("closed");
    log.seal(61_001, &|_| true);
    assert_eq!((stats(&log).parquet_files, stats(&log).segments), (1, 2));
    log.seal(1 << 40, &|_| true);
    assert_eq!((stats(&log).parquet_files, stats(&log).segments), (2, 3), "without a commit");
    assert_eq!(read(&log, Position::Earliest, None).len(), 1_001);
    assert!(
        files(&disk, "parquet")[0].ends_with("00000000000000000000-00000000000000000999.parquet")
    );
}

#[test]
fn what_is_sealed_is_smaller_and_what_was_it_is_gone() {
    let disk = Simulated::new(1);
    let (_, plain) = filled(&Simulated::new(1), 50_000);
    let (_store, log) = sealed(&disk, 50_000);
    assert!(stats(&log).bytes < stats(&plain).bytes / 2, "{:?}", stats(&log));
    assert_eq!(files(&disk, "log").len(), 1, "the one that grows");
    assert_eq!(files(&disk, "begun").len(), 0);
}

#[test]
fn retention_deletes_sealed_files() {
    let disk = Simulated::new(1);
    let (store, log) = sealed(&disk, 5_000);
    let bytes = stats(&log).bytes;
    drop((store, log));
    disk.restart(Stop::PowerCut);
    let keep = |settings| martlet::telemetry::log::StreamSettings {
        keep_bytes: Some(bytes / 2),
        ..settings
    };
    let log = log_with(&disk, 5_000, keep);
    let mut store = open(&disk, &log);
    store.load().expect("loaded");
    let mut reader = log.reader("all", Position::Earliest, None).expect("there");
    assert_eq!(reader.next().expect("read").map(|record| record.offset), Some(0));
    log.tend(0);
    let first = stats(&log).first_offset;
    assert!(first > 300 && stats(&log).bytes <= bytes / 2, "{:?}", stats(&log));
    assert_eq!(stats(&log).expired, first);
    assert_eq!(offsets(&read(&log, Position::Earliest, None)), (first..1_000).collect::<Vec<_>>());
    assert_eq!(files(&disk, "parquet").len() as u64, stats(&log).parquet_files);
    let rest = std::iter::from_fn(|| reader.next().expect("read").map(|record| record.offset));
    assert_eq!(rest.last(), Some(999));
}

#[test]
fn topics_that_were_deleted_are_left_out() {
    let disk = Simulated::new(1);
    let (mut store, log) = fill(&disk, sealing_log(&disk, 5_000));
    for topic in (0..10).filter(|topic| *topic != 3) {
        log.delete_topic(&format!("t/{topic}")).expect("deleted");
    }
    store.commit(&[record(1_000, "t/4", b"again")]).expect("committed");
    store.close().expect("closed");
    let before = read(&log, Position::Earliest, None);
    assert_eq!(before.len(), 101);
    seal(&log);
    let after = read(&log, Position::Earliest, None);
    assert!(after == before);
    assert_eq!(offsets(&read(&log, Position::Offset(500), Some("t/3")))[..2], [503, 513]);
    let grown = files(&disk, "log")[0].file_stem().and_then(|name| name.to_str()?.parse().ok());
    let in_parquet = offsets(&after).into_iter().filter(|at| Some(*at as i64) < grown).count();
    assert_eq!(stats(&log).parquet_records, in_parquet as u64);
    // The bytes themselves are gone, but for the segment that grows.
    disk.remove(Path::new("data/telemetry/catalog.json")).expect("removed");
    drop((store, log));
    disk.restart(Stop::Kill);
    let log = sealing_log(&disk, 5_000);
    open(&disk, &log).load().expect("loaded");
    let grown = stats(&log).next_offset - 50;
    assert!(read(&log, Position::Earliest, Some("t/5")).iter().all(|r| r.offset > grown));
    assert_eq!(stats(&log).first_offset, 0);
}

#[test]
fn damage_costs_a_row_group_or_a_file_and_no_more() {
    let disk = Simulated::new(1);
    let (store, log) = sealed(&disk, 20_000);
    drop((store, log));
    let before = disk.files();
    let sealed = files(&disk, "parquet");
    assert!(sealed.len() > 3, "{sealed:?}");
    for path in &sealed {
        let held = path.file_stem().and_then(|name| name.to_str()?.split_once('-'));
        let (first, last) = held.expect("a range");
        let (first, last): (u64, u64) = (first.parse().expect("one"), last.parse().expect("one"));
        let len = before[path].len();
        for (at, aside) in [(30, 0), (len - 30, 1)] {
            let disk = Simulated::new(1);
            before.iter().for_each(|(path, bytes)| disk.put(path, bytes.clone()));
            let mut bytes = before[path].clone();
            bytes[at] ^= 1;
            disk.put(path, bytes);
            let log = sealing_log(&disk, 20_000);
            let mut store = open(&disk, &log);
            store.load().expect("loaded");
            let mut reader = log.reader("all", Position::Earliest, None).expect("there");
            let mut found = Vec::new();
            while let Some(record) = reader.next().expect("read") {
                found.push(record.offset);
            }
            let rest: Vec<u64> = (0..1_000).filter(|at| !(first..=last).contains(at)).collect();
            assert_eq!(found, rest, "{path:?} at {at}");
            assert!(reader.damaged_bytes() > 0);
            assert_eq!(files(&disk, "damaged").len(), aside);
            assert_eq!(log.last("all", Some(filter("t/9")), 1_000).expect("read").len(), {
                rest.iter().filter(|offset| *offset % 10 == 9).count()
            });
            store.commit(&[record(1_000, "a", b"1")]).expect("it goes on");
        }
    }
}

#[test]
fn a_segment_that_is_damaged_stays() {
    let disk = Simulated::new(1);
    let (mut store, log) = filled(&disk, 20_000);
    store.close().expect("closed");
    drop((store, log));
    let second = files(&disk, "log")[1].clone();
    let mut bytes = disk.files()[&second].clone();
    bytes[70] ^= 1;
    disk.put(&second, bytes.clone());
    let log = sealing_log(&disk, 20_000);
    open(&disk, &log).load().expect("loaded");
    seal(&log);
    seal(&log);
    assert_eq!(stats(&log).parquet_files, stats(&log).segments - 2);
    assert!(disk.files()[&second] == bytes);
    let mut reader = log.reader("all", Position::Earliest, None).expect("there");
    let found = std::iter::from_fn(|| reader.next().expect("read").map(|record| record.offset));
    assert_eq!(found.count(), 990);
}

#[test]
fn who_is_told_to_stop_leaves_nothing_behind() {
    let disk = Simulated::new(1);
    let (mut store, log) = fill(&disk, sealing_log(&disk, 20_000));
    store.close().expect("closed");
    let slow = |settings| martlet::telemetry::log::StreamSettings {
        sealing: Some(Sealing { bytes_per_s: 1, ..sealing() }),
        ..settings
    };
    drop((store, log));
    let log = log_with(&disk, 20_000, slow);
    open(&disk, &log).load().expect("loaded");
    let waited = Cell::new(Duration::ZERO);
    log.seal(0, &|wait| {
        waited.set(waited.get() + wait);
        waited.get() < Duration::from_secs(10_000)
    });
    assert_eq!(stats(&log).parquet_files, 0, "20,000 bytes take 20,000 s");
    assert_eq!(files(&disk, "begun").len(), 0);
    log.seal(0, &|_| true);
    assert!(stats(&log).parquet_files > 3);
}

#[test]
fn a_disk_that_refuses_costs_nothing() {
    for seed in 0..20 {
        let disk = Simulated::new(seed);
        let (mut store, log) = fill(&disk, sealing_log(&disk, 20_000));
        store.close().expect("closed");
        disk.set_faults(Faults { full: 20, write: 5, sync: 5 });
        (0..5).for_each(|_| seal(&log));
        assert_eq!(read(&log, Position::Earliest, None).len(), 1_000);
        disk.set_faults(Faults::default());
        seal(&log);
        assert_eq!(read(&log, Position::Earliest, None).len(), 1_000);
        assert_eq!(stats(&log).parquet_files, stats(&log).segments - 1);
        drop((store, log));
        disk.restart(Stop::PowerCut);
        let log = sealing_log(&disk, 20_000);
        open(&disk, &log).load().expect("loaded");
        assert_eq!(read(&log, Position::Earliest, None).len(), 1_000);
        assert_eq!(files(&disk, "begun").len(), 0);
    }
}

/// At each operation of the disk from the first to the last of sealing.
#[test]
fn a_power_cut_at_any_moment_loses_and_repeats_nothing() {
    let mut cuts = 0;
    for operations in 0.. {
        let disk = Simulated::new(operations);
        let (mut store, log) = fill(&disk, sealing_log(&disk, 50_000));
        store.close().expect("closed");
        disk.power_goes_in(operations);
        seal(&log);
        let is_through = !disk.is_without_power();
        drop((store, log));
        for stop in [Stop::PowerCut, Stop::Kill] {
            disk.restart(stop);
            let log = sealing_log(&disk, 50_000);
            let mut store = open(&disk, &log);
            assert_eq!(store.load().expect("loaded").streams[&Arc::from("all")], 1_000);
            let found = read(&log, Position::Earliest, None);
            assert_eq!(offsets(&found), (0..1_000).collect::<Vec<_>>(), "at {operations}");
            let sealed = stats(&log).parquet_files + stats(&log).segments;
            assert_eq!(files(&disk, "parquet").len() as u64, stats(&log).parquet_files);
            assert_eq!(files(&disk, "begun").len(), 0);
            assert!(sealed > 0);
        }
        if is_through {
            break;
        }
        cuts += 1;
    }
    assert!(cuts > 30, "{cuts}");
}
