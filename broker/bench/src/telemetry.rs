//! The log's files: how fast they are written, sealed and read, and how large they are.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use martlet::store::StoreError;
use martlet::store::disk::Real;
use martlet::store::recorder::{Ends, Recorder};
use martlet::telemetry::columns::{Column, ColumnKind};
use martlet::telemetry::log::{self, Log, Sealing, StreamSettings};
use martlet::telemetry::{LogError, Position};
use martlet_codec::reason::QoS;
use martlet_codec::topic::TopicName;
use martlet_engine::change::{Change, Recorded};
use martlet_engine::filter::Filter;
use martlet_engine::input::Time;
use martlet_engine::message::Message;

use crate::clock::now_ns;
use crate::error::BenchError;

/// What is recorded.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) records: u64,
    pub(crate) topics: u64,
    /// Where the files stay; `None`: they go.
    pub(crate) keep: Option<PathBuf>,
}

/// Records of one commit.
const BATCH: u64 = 1000;
/// When the first record came, and how long after it each next one.
const BEGAN_MS: u64 = 1_764_460_800_000;
const RECORDS_PER_MS: u64 = 10;
pub(crate) const STREAM: &str = "sensors";

/// Records, seals, reads; prints a table in Markdown.
pub(crate) fn run(plan: &Plan) -> Result<(), BenchError> {
    let folder = tempfile::tempdir().map_err(BenchError::system("making a folder"))?;
    let data = plan.keep.as_deref().unwrap_or(folder.path());
    let log = Log::new(Arc::new(Real), log::Settings::new(data, vec![settings()]));
    println!("| what | records/s | seconds | bytes on disk |\n|---|---|---|---|");
    let row = |what: &str, records: u64, from_ns: u64| {
        let seconds = (now_ns() - from_ns) as f64 / 1e9;
        let bytes = log.stats(STREAM).map_or(0, |stats| stats.bytes);
        println!("| {what} | {:.0} | {seconds:.2} | {bytes} |", records as f64 / seconds);
    };
    let from = now_ns();
    record(&log, plan).map_err(BenchError::Store)?;
    row("recorded, and synced at the end", plan.records, from);
    let one = Filter::parse(&topic(plan.topics / 2)).expect("a topic is a filter");
    let hour = BEGAN_MS + plan.records / RECORDS_PER_MS / 2;
    for form in ["segments", "Parquet"] {
        if form == "Parquet" {
            let from = now_ns();
            log.seal(u64::MAX, &|_| true);
            row("sealed, read again and compared", plan.records, from);
        }
        let from = now_ns();
        let read = read(&log, Position::Earliest, None, plan.records).map_err(BenchError::Log)?;
        row(&format!("read from {form}, all"), read, from);
        let from = now_ns();
        let read = self::read(&log, Position::Earliest, Some(one.clone()), plan.records);
        row(&format!("read from {form}, one topic"), read.map_err(BenchError::Log)?, from);
        let from = now_ns();
        let read = self::read(&log, Position::Time(hour), None, BATCH).map_err(BenchError::Log)?;
        row(&format!("read from {form}, {BATCH} from a time on"), read, from);
    }
    report_folder(data, plan);
    Ok(())
}

/// Records in the folder of a broker, which may then start on that; nothing is sealed.
pub(crate) fn fill(data: &Path, plan: &Plan) -> Result<(), BenchError> {
    let log = Log::new(Arc::new(Real), log::Settings::new(data, vec![settings()]));
    record(&log, plan).map_err(BenchError::Store)
}

fn settings() -> StreamSettings {
    let column = |name: &str| Column { name: name.into(), kind: ColumnKind::Number };
    let filters = vec![Filter::parse("sensors/#").expect("a filter")];
    let sealing = Sealing { after: Some(Duration::ZERO), bytes_per_s: u64::MAX };
    let columns = vec![column("h"), column("t")];
    StreamSettings { sealing: Some(sealing), columns, ..StreamSettings::new(STREAM, filters) }
}

fn record(log: &Log, plan: &Plan) -> Result<(), StoreError> {
    log.restore(&Ends::new())?;
    for first in (0..plan.records).step_by(BATCH as usize) {
        let behind = plan.records.min(first + BATCH);
        log.append(&(first..behind).map(|offset| one(offset, plan.topics)).collect::<Vec<_>>())?;
    }
    log.sync()?;
    log.settled(&log.ends());
    Ok(())
}

fn topic(number: u64) -> String {
    format!("sensors/room-{number}/climate")
}

fn one(offset: u64, topics: u64) -> Change {
    // As if many spoke in no order.
    let mixed = offset.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
    let topic = topic(mixed % topics);
    let (t, h) = (1500 + mixed % 1000, 30 + mixed % 40);
    let payload = format!("{{\"t\": {}.{:02}, \"h\": {h}}}", t / 100, t % 100);
    Change::Record(Recorded {
        stream: STREAM.into(),
        offset,
        time: Time(BEGAN_MS + offset / RECORDS_PER_MS),
        client_id: Some(format!("gateway-{}", mixed % 4).into()),
        user_name: None,
        message: Message::new(
            TopicName::new(topic.as_bytes()).expect("a topic"),
            payload.as_bytes(),
            QoS::AtLeastOnce,
            false,
        ),
    })
}

/// How many were read.
fn read(log: &Log, from: Position, filter: Option<Filter>, most: u64) -> Result<u64, LogError> {
    let mut reader = log.reader(STREAM, from, filter)?;
    let mut read = 0;
    while read < most && reader.next()?.is_some() {
        read += 1;
    }
    Ok(read)
}

fn report_folder(data: &Path, plan: &Plan) {
    if plan.keep.is_some() {
        eprintln!("The files are in {}.", data.join(log::FOLDER).join(STREAM).display());
    }
}
