//! A disk that fills up: what the streams of the log do then, by what each is told to do.

use std::path::Path;
use std::sync::Arc;

use martlet::store::Store;
use martlet::store::durable::Durable;
use martlet::telemetry::Position;
use martlet::telemetry::log::{self, Log, StreamSettings, WhenFull};
use martlet_engine::change::Change;

use crate::recording::{offsets, open, read_stream, record};
use crate::simulated::Simulated;
use crate::workload::filter;

/// What must stay free.
const FREE_MIN: u64 = 40_000;

/// A stream that does this when the disk is full, in segments of some twenty records.
fn stream(disk: &Simulated, full: WhenFull) -> (Durable, Log) {
    let settings = StreamSettings::new("all", vec![filter("#")]);
    let streams = vec![StreamSettings { full, free_bytes_min: FREE_MIN, ..settings }];
    let folder = Path::new("data").join(log::FOLDER);
    let settings = log::Settings { folder, streams, segment_bytes: 3000 };
    let log = Log::new(Arc::new(disk.clone()), settings);
    let mut store = open(disk, &log);
    store.load().expect("loaded");
    (store, log)
}

fn commit(store: &mut Durable, offsets: std::ops::Range<u64>) {
    for first in offsets.step_by(10) {
        let batch: Vec<Change> =
            (first..first + 10).map(|offset| record(offset, "t", &[b'x'; 100])).collect();
        store.commit(&batch).expect("there is room");
    }
    // What the journal has goes into the state, so that it takes no room.
    store.close().expect("closed");
}

/// What the engine is told, if anything is new.
fn stopped(log: &Log) -> Option<bool> {
    log.tend(1).map(|streams| streams[0].stopped)
}

#[test]
fn a_stream_that_stops_keeps_all_it_has_and_goes_on_when_there_is_room() {
    let disk = Simulated::new(1);
    let (mut store, log) = stream(&disk, WhenFull::Stop);
    commit(&mut store, 0..200);
    let used = disk.used();
    disk.set_capacity(used + FREE_MIN);
    assert_eq!(stopped(&log), None, "just enough is free");
    disk.set_capacity(used + FREE_MIN - 1);
    assert_eq!(stopped(&log), Some(true));
    assert!(log.stats("all").expect("a stream").is_stopped);
    assert_eq!(stopped(&log), None, "the engine is told once");
    let all: Vec<u64> = (0..200).collect();
    assert_eq!(offsets(&read_stream(&log, "all", Position::Earliest, None)), all);
    disk.set_capacity(used + FREE_MIN + FREE_MIN / 4 - 1);
    assert_eq!(stopped(&log), None, "not for so little: it would stop again at once");
    disk.set_capacity(used + FREE_MIN + FREE_MIN / 4);
    assert_eq!(stopped(&log), Some(false));
    assert!(!log.stats("all").expect("a stream").is_stopped);
}

#[test]
fn a_stream_that_drops_the_oldest_makes_room_and_goes_on() {
    let disk = Simulated::new(1);
    let (mut store, log) = stream(&disk, WhenFull::DropOldest);
    commit(&mut store, 0..200);
    let used = disk.used();
    disk.set_capacity(used + FREE_MIN - 5000);
    assert_eq!(stopped(&log), None, "it made room");
    assert!(disk.used() <= used - 5000);
    let kept = offsets(&read_stream(&log, "all", Position::Earliest, None));
    let first = kept[0];
    assert!((40..=100).contains(&first), "as few as must go: {first}");
    assert_eq!(kept, (first..200).collect::<Vec<_>>(), "and of the oldest alone");
    assert_eq!(log.stats("all").expect("a stream").first_offset, first);
    // Others fill the disk: nothing of the stream's would help.
    disk.set_capacity(FREE_MIN / 2);
    assert_eq!(stopped(&log), Some(true));
}

/// Some disks give back later what was deleted, and a file that is being read stays until then.
#[test]
fn a_disk_that_gives_back_late_does_not_cost_everything() {
    let disk = Simulated::new(1);
    let (mut store, log) = stream(&disk, WhenFull::DropOldest);
    commit(&mut store, 0..200);
    disk.tell_free(FREE_MIN - 5000);
    let first = |now_ms| {
        assert_eq!(log.tend(now_ms), None, "it records on");
        log.stats("all").expect("a stream").first_offset
    };
    let at_once = first(1);
    assert!((40..=100).contains(&at_once), "as few as must go: {at_once}");
    assert_eq!(first(1_000), at_once, "it waits");
    assert_eq!(first(30_000), at_once, "it waits");
    let later = first(30_001);
    assert!(at_once < later && later < 180, "it was not enough: {later}");
}
