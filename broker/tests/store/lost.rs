//! Files of the log that are damaged or gone: what that costs is counted by everybody who reads,
//! also where the index had to be made again from what is left.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use martlet::store::Store;
use martlet::store::disk::{Disk, File, Lock};
use martlet::store::recorder::Recorder;
use martlet::telemetry::Position;
use martlet::telemetry::log::{FOLDER, Log, Settings, StreamSettings};
use parking_lot::Mutex;

use crate::recording::{filled, log, log_with, offsets, open};
use crate::sealing::{files, seal, sealed, sealing_log, stats};
use crate::simulated::{Simulated, Stop};
use crate::workload::filter;

/// Which records a file holds, by what its name and the next one's say.
pub fn held(all: &[PathBuf], at: usize) -> Range<u64> {
    let first = |path: &PathBuf| {
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name");
        name.split('-').next().expect("an offset").parse().expect("a number")
    };
    first(&all[at])..all.get(at + 1).map_or(1_000, first)
}

/// A stopped log of 1,000 records: segments, or Parquet files and a segment that grows.
pub fn stopped(in_parquet: bool) -> (Simulated, Vec<PathBuf>) {
    let disk = Simulated::new(1);
    let extension = if in_parquet { "parquet" } else { "log" };
    if in_parquet {
        drop(sealed(&disk, 20_000));
    } else {
        let (mut store, log) = filled(&disk, 20_000);
        store.close().expect("closed");
        drop((store, log));
    }
    disk.restart(Stop::Kill);
    let mut all = files(&disk, extension);
    all.extend(files(&disk, "log").into_iter().filter(|_| in_parquet));
    assert!(all.len() > 4, "{all:?}");
    (disk, all)
}

pub fn copy(disk: &Simulated) -> Simulated {
    let copy = Simulated::new(1);
    disk.files().into_iter().for_each(|(path, bytes)| copy.put(&path, bytes));
    copy
}

/// Everything that a new reader finds, and how much it could not read.
pub fn read(log: &Log, wanted: Option<&str>) -> (Vec<u64>, u64) {
    let mut reader = log.reader("all", Position::Earliest, wanted.map(filter)).expect("there");
    let mut found = Vec::new();
    while let Some(record) = reader.next().expect("read") {
        found.push(record.offset);
    }
    (found, reader.damaged_bytes())
}

#[test]
fn damage_is_counted_by_everybody_also_under_an_index_that_was_made_again() {
    for in_parquet in [false, true] {
        let (disk, all) = stopped(in_parquet);
        for (at, path) in all[..all.len() - 1].iter().enumerate() {
            let (mut costs, index) = (Vec::new(), path.with_extension("index"));
            for lost in [false, true] {
                let disk = copy(&disk);
                let mut bytes = disk.files()[path].clone();
                bytes[70] ^= 1;
                disk.put(path, bytes);
                if lost {
                    disk.remove(&index).expect("it was there");
                }
                let log = sealing_log(&disk, 20_000);
                open(&disk, &log).load().expect("loaded");
                let (found, cost) = read(&log, None);
                costs.push(cost);
                assert!(cost > 0 && stats(&log).damaged_bytes == cost, "{path:?}, {lost}");
                let hole: Vec<u64> = (0..1_000).filter(|at| !found.contains(at)).collect();
                assert!(hole.iter().all(|offset| held(&all, at).contains(offset)), "{path:?}");
                assert!(!hole.is_empty());
                let nines = |found: &[u64]| found.iter().filter(|at| *at % 10 == 9).count();
                assert_eq!(read(&log, None), (found.clone(), cost), "the next one too");
                assert_eq!(read(&log, Some("t/9")).0.len(), nines(&found));
                let last = log.last("all", Some(filter("t/9")), 1_000).expect("read");
                assert_eq!(last.len(), nines(&found));
                let topics = log.topics("all", "", "", 100).expect("read");
                assert_eq!(topics.is_incomplete, lost, "an index that was made again says so");
                assert!(disk.files().contains_key(&index));
                drop(log);
                disk.restart(Stop::Kill);
                let log = sealing_log(&disk, 20_000);
                open(&disk, &log).load().expect("loaded");
                assert_eq!(read(&log, None), (found, cost), "and after a start");
            }
            assert_eq!(costs[0], costs[1], "{path:?}");
        }
    }
}

#[test]
fn a_segment_of_which_nothing_is_left_is_counted_and_the_others_are_served() {
    let (disk, all) = stopped(false);
    for (at, path) in all[..all.len() - 1].iter().enumerate() {
        for kept in [0, 3_000] {
            let disk = copy(&disk);
            let mut bytes = disk.files()[path].clone();
            bytes[kept..].fill(0);
            let len = bytes.len() as u64;
            disk.put(path, bytes);
            disk.remove(&path.with_extension("index")).expect("it was there");
            let log = log(&disk, 20_000);
            let mut store = open(&disk, &log);
            store.load().expect("loaded");
            let (found, cost) = read(&log, None);
            let rest: Vec<u64> = (0..1_000).filter(|o| !held(&all, at).contains(o)).collect();
            assert_eq!(found.iter().filter(|o| !held(&all, at).contains(o)).count(), rest.len());
            assert_eq!((found.len() == rest.len(), cost == len), (kept == 0, kept == 0), "{cost}");
            assert!(found.is_sorted() && cost > 0);
        }
    }
}

/// What is kept until its newest record is so old.
fn keeping(disk: &Simulated, keep: Duration) -> Log {
    log_with(disk, 20_000, |settings| StreamSettings { keep: Some(keep), ..settings })
}

#[test]
fn retention_takes_nothing_early_whose_newest_record_is_damaged() {
    for in_parquet in [false, true] {
        let (disk, all) = stopped(in_parquet);
        let (path, in_it) = (&all[0], held(&all, 0));
        let mut bytes = disk.files()[path].clone();
        if in_parquet {
            bytes[70] ^= 1;
        } else {
            bytes.fill(0);
        }
        disk.put(path, bytes);
        disk.remove(&path.with_extension("index")).expect("it was there");
        let log = keeping(&disk, Duration::from_secs(1));
        let mut store = open(&disk, &log);
        store.load().expect("loaded");
        // Of a Parquet file the tail says it; of a segment, what came next.
        let newest = 1_000 + 10 * if in_parquet { in_it.end - 1 } else { in_it.end };
        log.tend(newest + 1_000);
        assert!(disk.files().contains_key(path), "{in_parquet}");
        log.tend(newest + 1_001);
        assert!(!disk.files().contains_key(path), "{in_parquet}");
        let next = held(&all, 1);
        assert_eq!(stats(&log).first_offset, next.start);
        assert_eq!(stats(&log).first_time_ms, Some(1_000 + 10 * next.start));
    }
}

#[test]
fn a_file_that_the_disk_does_not_delete_still_counts_and_goes_later() {
    let (disk, all) = stopped(false);
    let log = keeping(&disk, Duration::from_millis(1));
    let mut store = open(&disk, &log);
    store.load().expect("loaded");
    let before = stats(&log);
    disk.refuse_to_remove(true);
    log.tend(1 << 40);
    let stuck = stats(&log);
    assert_eq!((stuck.first_offset, stuck.bytes, stuck.expired), (0, before.bytes, 0));
    assert_eq!(read(&log, None).0.len(), 1_000);
    disk.refuse_to_remove(false);
    log.tend(1 << 40);
    assert!(stats(&log).first_offset >= held(&all, all.len() - 1).start);
    assert!(!disk.files().contains_key(&all[0]));
}

#[test]
fn the_last_records_come_once_where_a_file_goes_meanwhile() {
    let (disk, _) = stopped(false);
    let late = log(&disk, 20_000);
    late.restore(&[("all".into(), 1_000)].into()).expect("restored");
    let log =
        log_with(&disk, 20_000, |settings| StreamSettings { keep_bytes: Some(50_000), ..settings });
    open(&disk, &log).load().expect("loaded");
    log.tend(0);
    let first = stats(&log).first_offset;
    assert!(first > 200, "{first}");
    assert_eq!(stats(&late).first_offset, 0, "it does not know");
    let last = late.last("all", None, 10_000).expect("read");
    assert_eq!(offsets(&last), (first..1_000).collect::<Vec<_>>());
    assert_eq!(read(&late, None), ((first..1_000).collect(), 0), "retention is no damage");
}

/// A disk on which something happens as soon as somebody has seen what is there.
struct Restless {
    disk: Simulated,
    happens: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl std::fmt::Debug for Restless {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Restless").field("disk", &self.disk).finish_non_exhaustive()
    }
}

impl Disk for Restless {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.disk.create_folder(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let names = self.disk.list(folder);
        if folder.ends_with("all")
            && let Some(happens) = self.happens.lock().take()
        {
            happens();
        }
        names
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        self.disk.open(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        self.disk.create(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.disk.sync_folder(folder)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        self.disk.lock(path)
    }
}

#[test]
fn who_looks_while_files_are_sealed_looks_again() {
    let (disk, all) = stopped(false);
    let busy = sealing_log(&disk, 20_000);
    open(&disk, &busy).load().expect("loaded");
    let happens: Box<dyn FnOnce() + Send> = Box::new(move || seal(&busy));
    let restless = Restless { disk: disk.clone(), happens: Mutex::new(Some(happens)) };
    let streams = vec![StreamSettings::new("all", vec![filter("#")])];
    let folder = Path::new("data").join(FOLDER);
    let looking = Log::new(Arc::new(restless), Settings { folder, streams, segment_bytes: 20_000 });
    looking.restore(&[("all".into(), 1_000)].into()).expect("it finds what is there now");
    assert_eq!(files(&disk, "parquet").len(), all.len() - 1, "they were sealed meanwhile");
    assert_eq!(read(&looking, None), ((0..1_000).collect(), 0));
}

#[test]
fn a_reader_that_finds_little_stops_in_between() {
    let (_disk, log) = {
        let disk = Simulated::new(1);
        let (mut store, log) = filled(&disk, 1_000);
        store.close().expect("closed");
        (disk, log)
    };
    let (mut reader, mut steps) =
        (log.reader("all", Position::Earliest, Some(filter("none"))).expect("there"), 0);
    loop {
        let mut blocks = 8;
        assert_eq!(reader.next_within(&mut blocks).expect("read"), None);
        steps += 1;
        if blocks > 0 {
            break;
        }
    }
    assert!(steps > 5, "{steps}");
    assert_eq!(reader.offset(), 1_000);
    let mut reader = log.reader("all", Position::Earliest, Some(filter("t/3"))).expect("there");
    let (mut found, mut blocks) = (0, 1);
    while blocks > 0 || found < 100 {
        blocks = 1;
        found += u32::from(reader.next_within(&mut blocks).expect("read").is_some());
    }
    assert_eq!(found, 100);
}

#[test]
fn what_the_disk_does_not_read_counts_as_damage_in_the_end() {
    let (disk, all) = stopped(false);
    let log = sealing_log(&disk, 20_000);
    open(&disk, &log).load().expect("loaded");
    let (in_it, len) = (held(&all, 1), disk.files()[&all[1]].len() as u64);
    disk.refuse_to_read(Some((all[1].clone(), 2_000..2_001)));
    let mut reader = log.reader("all", Position::Earliest, None).expect("there");
    let (mut found, mut refused) = (Vec::new(), 0);
    loop {
        match reader.next() {
            Ok(Some(record)) => found.push(record.offset),
            Ok(None) => break,
            Err(_) => refused += 1,
        }
    }
    let rest: Vec<u64> = (0..1_000).filter(|offset| !in_it.contains(offset)).collect();
    assert_eq!((refused, reader.damaged_bytes()), (2, len), "twice it may be a moment's");
    assert_eq!(found, rest);
    (0..3).for_each(|_| seal(&log));
    assert_eq!(stats(&log).parquet_files, stats(&log).segments - 2, "all but this are sealed");
    assert!(disk.files().contains_key(&all[1]), "it stays");
    disk.refuse_to_read(None);
    assert_eq!(read(&log, None), ((0..1_000).collect(), 0), "it was the disk");
}

#[test]
fn a_segment_that_is_sealed_and_that_the_disk_does_not_remove_goes_later() {
    let (disk, all) = stopped(false);
    let log = sealing_log(&disk, 20_000);
    open(&disk, &log).load().expect("loaded");
    disk.refuse_to_remove(true);
    seal(&log);
    assert_eq!(files(&disk, "parquet").len(), all.len() - 1, "one after the other");
    log.tend(0);
    assert_eq!(files(&disk, "log").len(), all.len());
    disk.refuse_to_remove(false);
    log.tend(0);
    assert_eq!(files(&disk, "log"), all[all.len() - 1..]);
    assert_eq!(read(&log, None), ((0..1_000).collect(), 0));
}

#[test]
fn an_index_without_its_file_goes_at_a_start() {
    let (disk, all) = stopped(false);
    let orphan = all[0].with_file_name("00000000000000005000.index");
    disk.put(&orphan, b"made by who read while it was removed".to_vec());
    open(&disk, &sealing_log(&disk, 20_000)).load().expect("loaded");
    assert!(!disk.files().contains_key(&orphan));
    assert!(disk.files().contains_key(&all[0].with_extension("index")));
}
