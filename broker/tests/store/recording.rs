//! The log behind the store: what is read is what was recorded.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use martlet::store::Store;
use martlet::store::disk::Disk;
use martlet::store::durable::{self, Durable, Settings};
use martlet::store::recorder::{Ends, Recorder};
use martlet::telemetry::log::{self, Log, StreamSettings};
use martlet::telemetry::{KeptRecord, LogError, Position};
use martlet_codec::topic::TopicName;
use martlet_engine::change::{Change, Recorded};
use martlet_engine::input::Time;
use martlet_engine::message::Message;

use crate::facts::retain;
use crate::simulated::{Faults, Simulated, Stop};
use crate::workload::{filter, qos, streams};

/// All records by stream.
pub type Records = BTreeMap<Arc<str>, Vec<KeptRecord>>;

/// The log of the streams of the workload.
pub fn log(disk: &Simulated, segment_bytes: u64) -> Log {
    log_with(disk, segment_bytes, |settings| settings)
}

/// The same, with other settings of each stream.
pub fn log_with(
    disk: &Simulated,
    segment_bytes: u64,
    with: impl Fn(StreamSettings) -> StreamSettings,
) -> Log {
    let streams = streams().into_iter();
    let streams = streams.map(|stream| with(StreamSettings::new(&stream.name, stream.filters)));
    let folder = Path::new("data").join(log::FOLDER);
    let settings = log::Settings { folder, streams: streams.collect(), segment_bytes };
    Log::new(Arc::new(disk.clone()), settings)
}

pub fn note(records: &mut Records, change: &Change) {
    let Change::Record(recorded) = change else { return };
    let Recorded { stream, offset, time, client_id, user_name, message } = recorded;
    records.entry(stream.clone()).or_default().push(KeptRecord {
        offset: *offset,
        time_ms: time.0,
        topic: message.topic().as_str().into(),
        client_id: client_id.as_deref().map(Into::into),
        user_name: user_name.as_deref().map(Into::into),
        qos: message.qos(),
        retain: message.retain(),
        payload: message.payload().into(),
    });
}

/// Those below the ends.
pub fn upto(records: &Records, ends: &BTreeMap<Arc<str>, u64>) -> Records {
    let below = |(stream, records): (&Arc<str>, &Vec<KeptRecord>)| {
        let end = ends.get(stream).copied().unwrap_or(0);
        let below: Vec<_> = records.iter().filter(|record| record.offset < end).cloned().collect();
        (!below.is_empty()).then(|| (stream.clone(), below))
    };
    records.iter().filter_map(below).collect()
}

/// Everything that the log has.
pub fn read(log: &Log) -> Records {
    let streams = log.streams().into_iter().filter_map(|stream| {
        let found = read_stream(log, &stream, Position::Earliest, None);
        (!found.is_empty()).then_some((stream, found))
    });
    streams.collect()
}

pub fn read_stream(log: &Log, name: &str, from: Position, wanted: Option<&str>) -> Vec<KeptRecord> {
    let mut reader = log.reader(name, from, wanted.map(filter)).expect("there is the stream");
    let mut found = Vec::new();
    while let Some(record) = reader.next().expect("a disk that can be read") {
        found.push(record.keep());
    }
    assert_eq!(reader.damaged_bytes(), 0);
    found
}

pub fn record(offset: u64, topic: &str, payload: &[u8]) -> Change {
    let topic = TopicName::new(topic.as_bytes()).expect("a topic");
    Change::Record(Recorded {
        stream: "all".into(),
        offset,
        time: Time(1_000 + offset * 10),
        client_id: Some("c".into()),
        user_name: None,
        message: Message::new(topic, payload, qos(1), false),
    })
}

pub fn open(disk: &Simulated, log: &Log) -> Durable {
    let recorder: Arc<dyn Recorder> = Arc::new(log.clone());
    let settings = Settings {
        recorder: Some(recorder),
        background: false,
        cache_bytes: 1 << 20,
        ..Settings::new("data".into(), "today".into())
    };
    durable::open_on(Arc::new(disk.clone()), settings).expect("opened")
}

/// A log of 1,000 records on ten topics in segments of this size, and the store that wrote it.
pub fn filled(disk: &Simulated, segment_bytes: u64) -> (Durable, Log) {
    fill(disk, log(disk, segment_bytes))
}

/// The same in another log.
pub fn fill(disk: &Simulated, log: Log) -> (Durable, Log) {
    let mut store = open(disk, &log);
    store.load().expect("loaded");
    for first in (0..1_000).step_by(10) {
        let batch: Vec<Change> = (first..first + 10)
            .map(|offset| record(offset, &format!("t/{}", offset % 10), &[b'x'; 100]))
            .collect();
        store.commit(&batch).expect("committed");
    }
    (store, log)
}

pub fn offsets(records: &[KeptRecord]) -> Vec<u64> {
    records.iter().map(|record| record.offset).collect()
}

#[test]
fn a_reader_finds_places_topics_and_times() {
    for segment_bytes in [1, 20_000, 1 << 30] {
        let disk = Simulated::new(1);
        let (mut store, log) = filled(&disk, segment_bytes);
        for closed in [false, true] {
            if closed {
                store.close().expect("closed");
            }
            let read = |from, filter| offsets(&read_stream(&log, "all", from, filter));
            assert_eq!(read(Position::Earliest, None), (0..1_000).collect::<Vec<_>>());
            assert_eq!(read(Position::Offset(995), None), [995, 996, 997, 998, 999]);
            assert_eq!(read(Position::Latest, None), [0; 0]);
            assert_eq!(read(Position::Time(1_000 + 9_985), None), [999]);
            assert_eq!(read(Position::Offset(980), Some("t/3")), [983, 993]);
            assert_eq!(read(Position::Earliest, Some("t/+")).len(), 1_000);
            assert_eq!(read(Position::Earliest, Some("t/7")).len(), 100);
            assert_eq!(read(Position::Earliest, Some("other/#")), [0; 0]);
            let mut hour =
                log.reader("all", Position::Time(3_000), None).expect("there").until(3_050);
            assert_eq!(hour.next().expect("read").map(|r| r.offset), Some(200));
            let rest = std::iter::from_fn(|| hour.next().expect("read").map(|r| r.offset));
            assert_eq!(rest.collect::<Vec<_>>(), [201, 202, 203, 204, 205]);
            let last = log.last("all", Some(filter("t/4")), 3).expect("read");
            assert_eq!(offsets(&last), [974, 984, 994]);
        }
    }
}

/// How many blocks are read, and files looked at, of the records from one time to another, and how
/// many records those are.
fn blocks_between(log: &Log, from: u64, until: u64) -> (u64, usize) {
    let reader = log.reader("all", Position::Time(from), None).expect("there");
    let (mut reader, mut left, mut records) = (reader.until(until), u64::MAX, 0);
    while reader.next_within(&mut left).expect("read").is_some() {
        records += 1;
    }
    (u64::MAX - left, records)
}

#[test]
fn who_asks_for_an_hour_of_a_day_reads_an_hour() {
    const HOUR: u64 = 1_000; // as many records, every 10 ms
    let disk = Simulated::new(1);
    let log = log(&disk, 2 << 20);
    let mut store = open(&disk, &log);
    store.load().expect("loaded");
    for first in (0..24 * HOUR).step_by(100) {
        let commit = (first..first + 100).map(|offset| record(offset, "t/1", &[b'x'; 500]));
        store.commit(&commit.collect::<Vec<_>>()).expect("committed");
    }
    let (day, records) = blocks_between(&log, 0, u64::MAX);
    assert_eq!(records, 24 * HOUR as usize);
    assert!(day > 24 * 4, "{day} blocks");
    let begin = 1_000 + 10 * 7 * HOUR;
    let (hour, records) = blocks_between(&log, begin, begin + 10 * HOUR - 1);
    assert_eq!(records, HOUR as usize);
    // One at either end that is not wholly wanted, and each file is asked for its times.
    let files = log.stats("all").expect("there").segments;
    assert!(hour <= day / 24 + 2 + files, "{hour} of {day} blocks, {files} files");
}

#[test]
fn topics_come_in_pages_with_what_they_hold() {
    for segment_bytes in [1, 20_000, 1 << 30] {
        let (_store, log) = filled(&Simulated::new(1), segment_bytes);
        let page = log.topics("all", "t/", "t/3", 2).expect("read");
        let names: Vec<&str> = page.topics.iter().map(|topic| &*topic.topic).collect();
        assert_eq!((names, page.has_more, page.is_incomplete), (vec!["t/4", "t/5"], true, false));
        let topic = &page.topics[0];
        assert_eq!((topic.records, topic.bytes), (100, 100 * 103));
        assert_eq!((topic.first_offset, topic.last_offset), (4, 994));
        assert_eq!((topic.first_time_ms, topic.last_time_ms), (1_040, 10_940));
        let rest = log.topics("all", "t/", "t/5", 100).expect("read");
        assert_eq!((rest.topics.len(), rest.has_more), (4, false));
        assert_eq!(log.topics("all", "u", "", 100).expect("read").topics, []);
    }
}

#[test]
fn who_reads_at_the_end_goes_on_when_there_is_more() {
    let disk = Simulated::new(1);
    let (mut store, log) = filled(&disk, 5_000);
    let mut reader = log.reader("all", Position::Latest, None).expect("there");
    assert_eq!(reader.next().expect("read"), None);
    for offset in 1_000..1_200 {
        store.commit(&[record(offset, "late", b"1")]).expect("committed");
        let next = reader.next().expect("read").expect("it is there");
        assert_eq!((next.offset, next.topic), (offset, "late"));
        assert_eq!(reader.next().expect("read"), None);
    }
}

#[test]
fn what_a_power_cut_may_take_is_not_to_be_seen() {
    let disk = Simulated::new(1);
    let (mut store, log) = filled(&disk, 1 << 20);
    let end = || log.stats("all").expect("there").next_offset;
    store.note(&[record(1_000, "a", b"1")]).expect("noted");
    assert_eq!(end(), 1_000);
    store.sync().expect("synced");
    assert_eq!(end(), 1_001);
    store.note(&[record(1_001, "a", b"1")]).expect("noted");
    store.commit(&[record(1_002, "a", b"1")]).expect("committed");
    assert_eq!(end(), 1_003);
}

#[test]
fn wrong_questions_are_told_what_is_right() {
    let (_store, log) = filled(&Simulated::new(1), 1 << 20);
    let told = log.reader("al", Position::Earliest, None).expect_err("no such stream");
    assert_eq!(told.to_string(), "there is no stream \"al\"; there are: all, some");
    let told = log.reader("all", Position::Offset(1_001), None).expect_err("not yet");
    assert!(matches!(told, LogError::Beyond { offset: 1_001, end: 1_000, .. }), "{told}");
}

#[test]
fn damage_in_a_segment_costs_what_stands_there_and_no_more() {
    let disk = Simulated::new(1);
    let (mut store, log) = filled(&disk, 20_000);
    store.close().expect("closed");
    drop((store, log));
    let files = disk.files();
    let segments: Vec<_> =
        files.keys().filter(|path| path.extension().is_some_and(|e| e == "log")).collect();
    assert!(segments.len() > 3, "{segments:?}");
    for (at, path) in segments.iter().enumerate() {
        let disk = Simulated::new(1);
        files.iter().for_each(|(path, bytes)| disk.put(path, bytes.clone()));
        let mut bytes = files[*path].clone();
        bytes[70] ^= 1; // in the first batch of ten records
        disk.put(path, bytes);
        let log = self::log(&disk, 20_000);
        let mut store = open(&disk, &log);
        store.load().expect("loaded");
        let mut reader = log.reader("all", Position::Earliest, None).expect("there");
        let mut found = 0;
        while reader.next().expect("read").is_some() {
            found += 1;
        }
        assert_eq!(found, 990, "segment {at}");
        store.commit(&[record(1_000, "a", b"1")]).expect("it goes on");
    }
}

#[test]
fn an_index_that_is_lost_or_damaged_is_made_anew() {
    let disk = Simulated::new(1);
    let (mut store, log) = filled(&disk, 20_000);
    store.close().expect("closed");
    drop((store, log));
    let indexes: Vec<_> =
        disk.files().into_keys().filter(|p| p.extension().is_some_and(|e| e == "index")).collect();
    assert!(indexes.len() > 3);
    for (at, path) in indexes.iter().enumerate() {
        match at % 2 {
            0 => disk.remove(path).expect("removed"),
            _ => disk.put(path, b"martletI and nothing".to_vec()),
        }
    }
    let log = self::log(&disk, 20_000);
    open(&disk, &log).load().expect("loaded");
    assert_eq!(read_stream(&log, "all", Position::Earliest, Some("t/1")).len(), 100);
}

#[test]
fn retention_deletes_whole_segments_and_readers_pass_over() {
    let disk = Simulated::new(1);
    let settings = |keep_ms: Option<u64>, keep_bytes| log::Settings {
        folder: Path::new("data").join(log::FOLDER),
        streams: vec![StreamSettings {
            keep: keep_ms.map(std::time::Duration::from_millis),
            keep_bytes,
            ..StreamSettings::new("all", vec![filter("#")])
        }],
        segment_bytes: 20_000,
    };
    let (mut store, log) = filled(&disk, 20_000);
    store.close().expect("closed");
    drop((store, log));
    let files = disk.files();
    for (keep_ms, keep_bytes) in [(Some(5_000), None), (None, Some(70_000))] {
        let disk = Simulated::new(1);
        files.iter().for_each(|(path, bytes)| disk.put(path, bytes.clone()));
        let log = Log::new(Arc::new(disk.clone()), settings(keep_ms, keep_bytes));
        let mut store = open(&disk, &log);
        store.load().expect("loaded");
        let mut reader = log.reader("all", Position::Earliest, None).expect("there");
        assert_eq!(reader.next().expect("read").map(|r| r.offset), Some(0));
        assert_eq!(log.tend(11_000), None);
        let stats = log.stats("all").expect("there");
        assert!((300..700).contains(&stats.first_offset), "{stats:?}");
        assert_eq!(stats.expired, stats.first_offset);
        let left = read_stream(&log, "all", Position::Earliest, None);
        assert_eq!(offsets(&left), (stats.first_offset..1_000).collect::<Vec<_>>());
        let mut last = 0;
        while let Some(record) = reader.next().expect("read") {
            assert!(record.offset > last);
            last = record.offset;
        }
        assert_eq!(last, 999, "who was reading goes on");
        drop((store, log));
        disk.restart(Stop::PowerCut);
        let log = Log::new(Arc::new(disk.clone()), settings(keep_ms, keep_bytes));
        let mut store = open(&disk, &log);
        assert_eq!(store.load().expect("loaded").streams[&Arc::from("all")], 1_000);
        // All of it is old: the offsets go on all the same.
        assert_eq!(log.tend(1 << 40), None);
        store.commit(&[record(1_000, "a", b"1")]).expect("committed");
        let end = log.stats("all").expect("there").next_offset;
        assert_eq!(end, 1_001);
    }
}

#[test]
fn a_state_that_is_lost_costs_no_record() {
    let disk = Simulated::new(1);
    let (mut store, log) = filled(&disk, 20_000);
    store.close().expect("closed");
    drop((store, log));
    let kept: Vec<_> = disk.files().into_iter().collect();
    let disk = Simulated::new(2);
    let in_log = |path: &Path| path.components().any(|c| c.as_os_str() == log::FOLDER);
    kept.into_iter().filter(|(path, _)| in_log(path)).for_each(|(path, b)| disk.put(&path, b));
    let log = self::log(&disk, 20_000);
    let mut store = open(&disk, &log);
    let found = store.load().expect("loaded");
    assert_eq!(found.streams[&Arc::from("all")], 1_000, "offsets go on behind what is there");
    assert_eq!(read_stream(&log, "all", Position::Earliest, None).len(), 1_000);
    assert_eq!(log.ends(), Ends::from([("all".into(), 1_000), ("some".into(), 0)]));
}

/// What the journal could not make safe belongs to the state's transaction: a power cut on the way
/// takes it from the log and from all else, or from neither. It is the first of its stream, of
/// which the state knows nothing before.
#[test]
fn after_a_failed_sync_the_log_has_what_the_state_has() {
    let mut found_all = std::collections::BTreeSet::new();
    for operations in 0..60 {
        let disk = Simulated::new(operations);
        let log = log(&disk, 1 << 20);
        let mut store = open(&disk, &log);
        store.load().expect("loaded");
        store.commit(&[retain("t", "safe")]).expect("committed");
        store.note(&[record(0, "t", b"doubtful"), retain("t", "doubtful")]).expect("noted");
        disk.set_faults(Faults { sync: 100, ..Faults::default() });
        store.sync().expect_err("the disk refuses");
        disk.set_faults(Faults::default());
        disk.power_goes_in(operations);
        for _ in 0..3 {
            let _ = store.checkpoint();
        }
        drop(store);
        disk.power_goes_in(0);
        disk.restart(Stop::PowerCut);
        let log = self::log(&disk, 1 << 20);
        let found = open(&disk, &log).load().expect("loaded");
        let retained = found.retained.values().next().expect("one").payload().to_vec();
        let end = found.streams.get("all").copied().unwrap_or(0);
        let read = offsets(&read_stream(&log, "all", Position::Earliest, None));
        let expected = if retained == b"safe" { vec![] } else { vec![0] };
        assert_eq!((end, &read), (expected.len() as u64, &expected), "{operations}");
        found_all.insert(end);
    }
    assert_eq!(Vec::from_iter(found_all), [0, 1], "the power went before and after");
}
