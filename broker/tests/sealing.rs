//! The binary seals segments into Parquet files, and is killed while it does, again and again.

#![cfg(feature = "parquet")]
#![allow(missing_docs, unreachable_pub, reason = "a test")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops here")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use martlet::store::Store;
use martlet::store::disk::Real;
use martlet::store::durable::{self, Settings};
use martlet::telemetry::Position;
use martlet::telemetry::log::{self, Log, StreamSettings};
use martlet_codec::reason::QoS;
use martlet_codec::topic::TopicName;
use martlet_engine::change::{Change, Recorded};
use martlet_engine::filter::Filter;
use martlet_engine::input::Time;
use martlet_engine::message::Message;

/// Longer than anything takes unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);
const RECORDS: u64 = 20_000;
const SEGMENT_BYTES: u64 = 64 << 10;
/// A segment in a tenth of a second: there is time to be killed in.
const SLOWLY: &str = "\
    seal = 'parquet'\nseal_after_s = 0\nseal_bytes_per_s = 655360\n\
    [telemetry.columns]\nt = 'number'\n'gps.lat' = 'number'\n";

fn payload(offset: u64) -> String {
    format!("{{\"t\": {}.5, \"gps\": {{\"lat\": {offset}}}}}", offset % 40)
}

fn record(offset: u64) -> Change {
    let topic = format!("sensors/{}/climate", offset % 10);
    let topic = TopicName::new(topic.as_bytes()).unwrap();
    Change::Record(Recorded {
        stream: "sensors".into(),
        offset,
        time: Time(1_764_460_800_000 + offset * 1000),
        client_id: Some("c".into()),
        user_name: None,
        message: Message::new(topic, payload(offset).as_bytes(), QoS::AtLeastOnce, false),
    })
}

/// A folder as a broker with small segments has left it.
fn recorded(data: &Path) {
    let streams = vec![StreamSettings::new("sensors", vec![Filter::parse("sensors/#").unwrap()])];
    let settings =
        log::Settings { segment_bytes: SEGMENT_BYTES, ..log::Settings::new(data, streams) };
    let log = Log::new(Arc::new(Real), settings);
    let settings = Settings {
        recorder: Some(Arc::new(log)),
        ..Settings::new(data.to_owned(), "today".into())
    };
    let mut store = durable::open(settings).unwrap();
    store.load().unwrap();
    let all: Vec<u64> = (0..RECORDS).collect();
    for part in all.chunks(200) {
        store.commit(&part.iter().map(|at| record(*at)).collect::<Vec<_>>()).unwrap();
    }
    store.close().unwrap();
}

fn configure(dir: &Path, options: &str) {
    let text = format!(
        "[[listener]]\naddress = '127.0.0.1:0'\nallow_anonymous = true\n\
         [[telemetry]]\nname = 'sensors'\nfilters = ['sensors/#']\n{options}"
    );
    fs::write(dir.join("martlet.toml"), text).unwrap();
}

/// The binary, and the lines that it logs; killed in any case.
struct Broker {
    child: Child,
    lines: Receiver<String>,
}

impl Broker {
    /// With these options of the stream.
    fn start(dir: &Path, options: &str) -> Self {
        configure(dir, options);
        let mut command = Command::new(env!("CARGO_BIN_EXE_martlet"));
        command.current_dir(dir).env_clear().args(["-c", "martlet.toml", "--data", "data", "-v"]);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let (heard, lines) = sync_channel(1_000);
        // Whoever waits has gone when the broker is killed.
        thread::spawn(move || log.lines().map_while(Result::ok).try_for_each(|l| heard.send(l)));
        Self { child, lines }
    }

    fn reload(&self) {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, rustix::process::Signal::HUP).unwrap();
    }

    /// Waits for a line with these words.
    fn says(&self, words: &str) {
        let mut said = String::new();
        while !said.lines().last().is_some_and(|line| line.contains(words)) {
            let line = self.lines.recv_timeout(PATIENCE);
            said += &line.unwrap_or_else(|_| panic!("{words:?} is not in:\n{said}"));
            said.push('\n');
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn files(data: &Path, extension: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(data.join("telemetry/sensors")).unwrap();
    let all = all.map(|entry| entry.unwrap().path());
    all.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}

/// Every record is there, once, as it was.
fn check(data: &Path) {
    let log = Log::look(data).unwrap();
    let mut reader = log.reader("sensors", Position::Earliest, None).unwrap();
    let mut offset = 0;
    while let Some(record) = reader.next().unwrap() {
        assert_eq!((record.offset, record.payload), (offset, payload(offset).as_bytes()));
        assert_eq!(record.time_ms, 1_764_460_800_000 + offset * 1000);
        offset += 1;
    }
    assert_eq!((offset, reader.damaged_bytes()), (RECORDS, 0));
}

#[test]
fn killed_while_it_seals_it_loses_nothing_and_repeats_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    recorded(&data);
    let segments = files(&data, "log").len();
    assert!(segments > 10, "{segments}");
    let mut kills = 0;
    while files(&data, "parquet").len() < segments - 1 {
        let broker = Broker::start(dir.path(), SLOWLY);
        broker.says(" are in Parquet now");
        // It puts the file in its segment's place now; or, every other time, writes the next.
        if kills % 2 == 0 && files(&data, "parquet").len() < segments - 1 {
            broker.says(": sealing ");
        }
        drop(broker);
        kills += 1;
        check(&data);
    }
    let broker = Broker::start(dir.path(), SLOWLY);
    broker.says(" running");
    assert_eq!(files(&data, "begun").len(), 0);
    check(&data);
    assert_eq!(files(&data, "log").len(), 1, "the one that grows");
    let stats = stats(&data);
    assert!(stats.contains(&format!("\n  Parquet   {} of them, ", segments - 1)), "{stats}");
    drop(broker);
}

fn stats(data: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_martlet"));
    let stats = command.env_clear().arg("--data").arg(data).args(["log", "stats"]).output();
    String::from_utf8(stats.unwrap().stdout).unwrap()
}

#[test]
fn a_reload_changes_whether_it_is_sealed_and_how_long_it_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    recorded(&data);
    let segments = files(&data, "log").len();
    let broker = Broker::start(dir.path(), "");
    broker.says(" running");
    configure(dir.path(), "seal = 'parquet'\nseal_after_s = 0\n");
    broker.reload();
    (1..segments).for_each(|_| broker.says(" are in Parquet now"));
    assert_eq!(files(&data, "parquet").len(), segments - 1);
    until("the last one has taken its segment's place", || files(&data, "log").len() == 1);
    check(&data);
    let bytes = |extension| -> u64 {
        files(&data, extension).iter().map(|file| fs::metadata(file).unwrap().len()).sum()
    };
    let half = bytes("parquet") / 2 + bytes("log");
    configure(dir.path(), &format!("keep_bytes = {half}\n"));
    broker.reload();
    broker.says("records were kept long enough and go");
    let kept = files(&data, "parquet").len();
    assert!(0 < kept && kept < segments - 1, "{kept} of {segments}");
    // Its records are of another year.
    configure(dir.path(), "keep_s = 60\n");
    broker.reload();
    broker.says("records were kept long enough and go");
    until("all are gone", || files(&data, "parquet").is_empty());
}

/// Waits for what the disk is to show.
#[expect(clippy::disallowed_methods, reason = "a folder can only be looked at again")]
fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..6_000 {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("not before long: {what}");
}
