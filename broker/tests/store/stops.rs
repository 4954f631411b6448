//! The machine stops in the middle of sealing and of retention, and again while it starts; or its
//! disk fills up. What was recorded and not to go is there afterwards, once.

use std::ops::Range;

use martlet::store::Store;
use martlet::telemetry::Position;
use martlet::telemetry::log::{Log, StreamSettings};
use martlet_engine::change::Change;

use crate::dice::Dice;
use crate::recording::{log_with, offsets, open, read_stream, record};
use crate::sealing::{files, seal, sealing, sealing_log, stats};
use crate::simulated::{Faults, Simulated, Stop};

const RECORDS: u64 = 200;
const SEGMENT_BYTES: u64 = 8_000;

/// A log of so many records in some four segments, all of it in the state, and who wrote it.
fn recorded(disk: &Simulated) -> Log {
    let log = sealing_log(disk, SEGMENT_BYTES);
    let mut store = open(disk, &log);
    store.load().expect("loaded");
    for first in (0..RECORDS).step_by(10) {
        let batch: Vec<Change> =
            (first..first + 10).map(|offset| record(offset, "t", &[b'x'; 100])).collect();
        store.commit(&batch).expect("committed");
    }
    store.close().expect("closed");
    log
}

/// The log as the next start finds it, which itself is a moment in which the machine may stop.
fn started(disk: &Simulated) -> Option<Log> {
    let log = sealing_log(disk, SEGMENT_BYTES);
    let mut store = martlet::store::durable::open_on(
        std::sync::Arc::new(disk.clone()),
        martlet::store::durable::Settings {
            recorder: Some(std::sync::Arc::new(log.clone())),
            background: false,
            cache_bytes: 1 << 20,
            ..martlet::store::durable::Settings::new("data".into(), "today".into())
        },
    )
    .ok()?;
    store.load().ok()?;
    Some(log)
}

/// Everything from `first` on is there, once, in files that belong to somebody.
fn check(disk: &Simulated, first: Range<u64>, what: &str) {
    let log = started(disk).expect("a disk with power");
    let found = offsets(&read_stream(&log, "all", Position::Earliest, None));
    let begins = found.first().copied().unwrap_or(RECORDS);
    assert!(first.contains(&begins), "{what}: {first:?} and {found:?}");
    assert_eq!(found, (begins..RECORDS).collect::<Vec<_>>(), "{what}");
    let stats = stats(&log);
    assert_eq!(files(disk, "parquet").len() as u64, stats.parquet_files, "{what}");
    assert_eq!(files(disk, "log").len() as u64, stats.segments - stats.parquet_files, "{what}");
    assert_eq!(files(disk, "begun").len(), 0, "{what}");
}

/// Killed at some moment of sealing, also between a file's new name and the sync that makes that
/// safe; then the power is cut at some moment of the start.
#[test]
fn killed_while_it_seals_and_without_power_while_it_starts_it_loses_nothing() {
    let (mut in_both, mut renamed) = (0, 0);
    for seed in 0..400 {
        let (mut dice, disk) = (Dice(seed), Simulated::new(seed));
        let log = recorded(&disk);
        disk.power_goes_in(1 + dice.below(60));
        seal(&log);
        let killed = disk.is_without_power();
        drop(log);
        disk.restart(Stop::Kill);
        renamed += u32::from(!files(&disk, "parquet").is_empty());
        disk.power_goes_in(1 + dice.below(20));
        drop(started(&disk));
        let cut = disk.is_without_power();
        disk.restart(Stop::PowerCut);
        in_both += u32::from(killed && cut);
        check(&disk, 0..1, &format!("seed {seed}"));
    }
    assert!(in_both > 100 && renamed > 100, "{in_both}, {renamed}");
}

/// The first offset that is kept where files go, the oldest first, while all are larger than that.
fn first_kept(disk: &Simulated, keep_bytes: u64) -> u64 {
    let mut all: Vec<(u64, u64)> = Vec::new();
    for path in files(disk, "log").into_iter().chain(files(disk, "parquet")) {
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name");
        let first = name.split('-').next().expect("an offset").parse().expect("a number");
        all.push((first, disk.files()[&path].len() as u64));
    }
    all.sort_unstable();
    let mut bytes: u64 = all.iter().map(|(_, bytes)| bytes).sum();
    let to_go = |(_, len): &&(u64, u64)| {
        let goes = bytes > keep_bytes;
        bytes -= len;
        goes
    };
    let gone = all[..all.len() - 1].iter().take_while(to_go).count();
    all[gone].0
}

/// Stopped in the middle of deleting what is too much, and again.
#[test]
fn stopped_while_it_deletes_it_loses_nothing_that_is_kept() {
    for sealed in [false, true] {
        let (mut stopped, mut half) = (0, 0);
        for seed in 0..200 {
            let (mut dice, disk) = (Dice(seed), Simulated::new(seed));
            let log = recorded(&disk);
            if sealed {
                seal(&log);
            }
            let keep_bytes = stats(&log).bytes / 3;
            drop(log);
            let keeps = |disk: &Simulated| {
                let keeping = |settings| StreamSettings {
                    keep_bytes: Some(keep_bytes),
                    sealing: Some(sealing()),
                    ..settings
                };
                let log = log_with(disk, SEGMENT_BYTES, keeping);
                open(disk, &log).load().expect("loaded");
                log
            };
            disk.restart(Stop::PowerCut);
            let first = first_kept(&disk, keep_bytes);
            let whole = files(&disk, "log").len() + files(&disk, "parquet").len();
            for stop in [Stop::Kill, Stop::PowerCut] {
                let log = keeps(&disk);
                disk.power_goes_in(1 + dice.below(8));
                log.tend(0);
                stopped += u32::from(disk.is_without_power());
                drop(log);
                disk.restart(stop);
                let left = files(&disk, "log").len() + files(&disk, "parquet").len();
                half += u32::from(left < whole);
                check(&disk, 0..first + 1, &format!("seed {seed}, {stop:?}"));
            }
            let log = keeps(&disk);
            log.tend(0);
            let stats = stats(&log);
            let is_enough = stats.bytes <= keep_bytes || stats.segments == 1;
            assert!(is_enough, "seed {seed}: it goes on, {stats:?}");
            assert_eq!(stats.first_offset, first, "seed {seed}: and leaves what may stay");
            drop(log);
            disk.restart(Stop::PowerCut);
            check(&disk, 0..first + 1, &format!("seed {seed}"));
        }
        assert!(stopped > 100 && half > 100, "{stopped}, {half}");
    }
}

/// There is room for so much of what is sealed, and no more.
#[test]
fn a_disk_that_fills_up_while_it_seals_costs_nothing() {
    let mut refused = 0;
    for seed in 0..60 {
        let disk = Simulated::new(seed);
        let log = recorded(&disk);
        let used = disk.used();
        disk.set_capacity(used + seed * 60);
        (0..3).for_each(|_| seal(&log));
        refused += stats(&log).seal_failures;
        let all = (0..RECORDS).collect::<Vec<_>>();
        assert_eq!(offsets(&read_stream(&log, "all", Position::Earliest, None)), all);
        assert_eq!(files(&disk, "begun").len(), 0, "seed {seed}: what it could not finish goes");
        assert!(disk.used() <= used + seed * 60);
        if seed % 2 == 0 {
            disk.set_faults(Faults::default());
            disk.set_capacity(u64::MAX);
            seal(&log);
            assert_eq!(stats(&log).parquet_files, stats(&log).segments - 1, "seed {seed}");
        }
        drop(log);
        disk.set_capacity(u64::MAX);
        disk.restart(Stop::PowerCut);
        check(&disk, 0..1, &format!("seed {seed}"));
    }
    assert!(refused > 30, "{refused}");
}
