//! `martlet log` with the real binary, on a log that is being written and on one that is not.

#![allow(missing_docs, unreachable_pub, reason = "a test")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops here")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use martlet::store::Store;
use martlet::store::disk::Real;
use martlet::store::durable::{self, Durable, Settings};
use martlet::telemetry::log::{self, Log, StreamSettings};
use martlet_codec::reason::QoS;
use martlet_codec::topic::TopicName;
use martlet_engine::change::{Change, Recorded};
use martlet_engine::filter::Filter;
use martlet_engine::input::Time;
use martlet_engine::message::Message;

/// Longer than anything takes unless it is broken.
const PATIENCE: Duration = Duration::from_secs(20);

fn record(offset: u64, payload: &[u8]) -> Change {
    let topic = format!("sensors/{}/temperature", offset % 3);
    let topic = TopicName::new(topic.as_bytes()).unwrap();
    Change::Record(Recorded {
        stream: "sensors".into(),
        offset,
        time: Time(1_764_460_800_000 + offset * 1000),
        client_id: Some("c".into()),
        user_name: None,
        message: Message::new(topic, payload, QoS::AtLeastOnce, false),
    })
}

/// A store that is open, as a broker's is, with so many records in its log.
fn recorded(data: &Path, records: u64) -> Durable {
    let filters = vec![Filter::parse("sensors/#").unwrap()];
    let streams = vec![StreamSettings::new("sensors", filters)];
    let log = Log::new(Arc::new(Real), log::Settings::new(data, streams));
    let settings = Settings {
        recorder: Some(Arc::new(log)),
        ..Settings::new(data.to_owned(), "today".into())
    };
    let mut store = durable::open(settings).unwrap();
    store.load().unwrap();
    let all: Vec<u64> = (0..records).collect();
    for part in all.chunks(1000) {
        let batch: Vec<Change> = part.iter().map(|at| record(*at, b"21.5")).collect();
        store.commit(&batch).unwrap();
    }
    store
}

fn martlet(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_martlet"));
    command.env_clear().arg("--data").arg(data).arg("log").args(arguments);
    command
}

fn said(data: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = martlet(data, arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

fn line(offset: u64) -> String {
    format!(
        "{{\"offset\":{offset},\"time\":\"2025-11-30T00:00:0{offset}.000Z\",\"topic\":\
         \"sensors/{}/temperature\",\"qos\":1,\"retain\":false,\"client_id\":\"c\",\
         \"payload\":\"21.5\"}}\n",
        offset % 3
    )
}

#[test]
fn a_log_is_read_while_it_is_written_and_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    let mut store = recorded(data, 7);
    for closed in [false, true] {
        if closed {
            store.close().unwrap();
        }
        let good = |arguments: &[&str]| {
            let (code, out, err) = said(data, arguments);
            assert_eq!((code, err.as_str()), (Some(0), ""), "{arguments:?}");
            out
        };
        let lines = |offsets: &[u64]| offsets.iter().map(|at| line(*at)).collect::<String>();
        assert_eq!(good(&["cat"]), lines(&[0, 1, 2, 3, 4, 5, 6]));
        assert_eq!(good(&["cat", "--from", "5"]), lines(&[5, 6]));
        assert_eq!(good(&["cat", "sensors/1/+"]), lines(&[1, 4]));
        assert_eq!(good(&["cat", "-s", "sensors", "-n", "2"]), lines(&[0, 1]));
        let hour = ["cat", "--from", "2025-11-30T00:00:02Z", "--to", "2025-11-30T00:00:03Z"];
        assert_eq!(good(&hour), lines(&[2, 3]));
        assert_eq!(good(&["cat", "--from", "-1h"]), "");
        assert_eq!(good(&["tail", "--no-follow", "-n", "2"]), lines(&[5, 6]));
        let csv = good(&["cat", "--format", "csv", "--from", "6"]);
        assert!(
            csv.ends_with(
                "\r\n6,2025-11-30T00:00:06.000Z,sensors/0/temperature,1,false,c,,21.5,\r\n"
            ),
            "{csv}"
        );
        let topics = good(&["topics", "--json", "sensors/2"]);
        assert!(topics.contains("\"records\":2"), "{topics}");
        assert_eq!(topics.lines().count(), 1);
        assert_eq!(good(&["topics"]).lines().count(), 3);
        assert!(good(&["stats"]).starts_with("sensors\n  records   0 to 7 (not included)\n"));
        assert!(good(&["stats", "--json"]).contains("\"next_offset\":7"));
    }
}

#[test]
fn a_tail_sees_what_comes() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = recorded(dir.path(), 3);
    let mut tail =
        martlet(dir.path(), &["tail", "-n", "1"]).stdout(Stdio::piped()).spawn().unwrap();
    let out = BufReader::new(tail.stdout.take().unwrap());
    let (lines, heard) = sync_channel(16);
    let reader = thread::spawn(move || {
        out.lines().map_while(Result::ok).try_for_each(|line| lines.send(line))
    });
    let next = || heard.recv_timeout(PATIENCE).expect("a line") + "\n";
    assert_eq!(next(), line(2));
    for offset in 3..6 {
        store.commit(&[record(offset, b"21.5")]).unwrap();
        assert_eq!(next(), line(offset));
    }
    tail.kill().unwrap();
    tail.wait().unwrap();
    let _ = reader.join();
}

#[test]
fn an_export_that_was_cut_off_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut store = recorded(&data, 150_000);
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (whole, cut) = (file("whole"), file("cut"));
    let export = |output: &str| said(&data, &["export", "sensors/#", "-o", output]);
    let (code, _, err) = export(&whole);
    assert_eq!((code, err.as_str()), (Some(0), &*format!("150000 records are in {whole}.\n")));
    let half = fs::metadata(&whole).unwrap().len() * 2 / 3 / 512;
    let limited = Command::new("sh")
        .arg("-c")
        .arg(format!("ulimit -c 0; ulimit -f {half}; exec \"$@\""))
        .args(["sh", env!("CARGO_BIN_EXE_martlet"), "--data", data.to_str().unwrap()])
        .args(["log", "export", "sensors/#", "-o", &cut])
        .output()
        .unwrap();
    assert!(!limited.status.success(), "the file may not become so large");
    assert!(fs::exists(format!("{cut}.progress")).unwrap(), "it had begun: {limited:?}");
    let (damaged, noted) =
        (file("damaged"), fs::read_to_string(format!("{cut}.progress")).unwrap());
    // What comes meanwhile belongs to the next one.
    store.commit(&[record(150_000, b"late")]).unwrap();
    let (code, _, err) = said(&data, &["export", "other/#", "-o", &cut]);
    assert_eq!(code, Some(1));
    assert!(err.contains("was begun with another question: ask that again"), "{err}");
    let (code, _, err) = export(&cut);
    assert_eq!((code, err.as_str()), (Some(0), &*format!("150000 records are in {cut}.\n")));
    assert!(fs::read(&whole).unwrap() == fs::read(&cut).unwrap(), "the same bytes");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3, "nothing else is left");
    // What could not be read before counts to the end.
    fs::copy(&whole, &damaged).unwrap();
    assert!(noted.contains("\"damaged_bytes\":0"), "{noted}");
    let noted = noted.replace("\"damaged_bytes\":0", "\"damaged_bytes\":7");
    fs::write(format!("{damaged}.progress"), noted).unwrap();
    let (code, _, err) = export(&damaged);
    assert_eq!(code, Some(3), "{err}");
    assert!(err.ends_with("\n7 bytes of the log are damaged and were passed over.\n"), "{err}");
    let (code, _, err) = export(&cut);
    assert_eq!(code, Some(1));
    assert!(err.contains("cannot be made: File exists"), "{err}");
}

/// What is in such a file is tested where it is written and read, in `columnar`.
#[cfg(feature = "parquet")]
#[test]
fn an_export_as_parquet_is_whole_or_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let _store = recorded(&data, 10_000);
    let file = dir.path().join("climate.parquet").to_str().unwrap().to_owned();
    let export = |output: &str, more: &[&str]| {
        let asked = ["export", "sensors/1/#", "--format", "parquet", "-o", output];
        said(&data, &[&asked[..], more].concat())
    };
    let (code, out, err) = export(&file, &["--column", "t=number", "--column", "gps.lat=string"]);
    assert_eq!((code, out.as_str()), (Some(0), ""), "{err}");
    assert_eq!(err, format!("3333 records are in {file}.\n"));
    let bytes = fs::read(&file).unwrap();
    assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1") && bytes.len() < 100_000);
    for name in ["payload_binary", "gps.lat", "sensors/1/temperature"] {
        let holds = bytes.windows(name.len()).any(|part| part == name.as_bytes());
        assert!(holds, "{name}");
    }
    let rows: &[(&[&str], i32, &str)] = &[
        (&[], 1, "climate.parquet cannot be made: File exists.\n"),
        (&["--column", "t=float"], 2, "write NAME=number, NAME=string or NAME=bool"),
        (&["--column", "topic=string"], 2, "\"topic\" is a column of every record already"),
        (&["--column", "t=number", "--column", "t=bool"], 1, "--column t is there twice.\n"),
    ];
    for (more, expected, words) in rows {
        let (code, _, err) = export(&file, more);
        assert_eq!(code, Some(*expected), "{err}");
        assert!(err.contains(words), "{err}");
    }
    let (code, _, err) = said(&data, &["export", "-o", &file, "--column", "t=number"]);
    assert_eq!((code, err.as_str()), (Some(1), "--column is for --format parquet.\n"));
    let (code, _, err) = export("/nowhere/climate.parquet", &[]);
    assert_eq!(code, Some(1));
    assert!(err.starts_with("writing /nowhere/climate.parquet.begun: No such file"), "{err}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing else is left");
    let configuration = dir.path().join("martlet.toml");
    let text = "[[telemetry]]\nname = 'sensors'\nfilters = ['sensors/#']\n\
                columns = { humidity = 'number' }\n";
    fs::write(&configuration, text).unwrap();
    for (name, more, expected) in
        [("all", "", true), ("asked", "t=number", false), ("again", "", true)]
    {
        let file = dir.path().join(name).to_str().unwrap().to_owned();
        let configured = ["-c", configuration.to_str().unwrap()];
        let mut arguments = vec!["--format", "parquet", "-o", &file];
        arguments.extend(["--column", more].iter().filter(|_| !more.is_empty()));
        let mut command = martlet(&data, &["export"]);
        let output = command.args(arguments).args(configured).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let bytes = fs::read(&file).unwrap();
        assert_eq!(bytes.windows(8).any(|part| part == b"humidity"), expected, "{name}");
    }
}

#[test]
fn wrong_questions_are_told_what_is_right() {
    let dir = tempfile::tempdir().unwrap();
    let (code, _, err) = said(dir.path(), &["stats"]);
    assert_eq!(code, Some(1));
    assert!(err.starts_with("nothing is recorded in "), "{err}");
    let _store = recorded(dir.path(), 2);
    let rows: &[(&[&str], &str)] = &[
        (&["cat", "-s", "sensor"], "there is no stream \"sensor\"; there are: sensors.\n"),
        (&["cat", "a/#/b"], "\"a/#/b\" is no topic filter such as \"sensors/#\".\n"),
        (&["cat", "--from", "soon"], "--from takes \"earliest\", \"latest\", an offset, a time"),
        (&["cat", "--to", "5"], "--to takes a time ago such as \"-1h\" or a time such as"),
        (&["cat", "--from", "3"], "offset 3 of sensors has not come yet: the next one is 2.\n"),
        (&["tail", "-n", "10001"], "-n takes 10000 at most.\n"),
    ];
    for (arguments, expected) in rows {
        let (code, out, err) = said(dir.path(), arguments);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{arguments:?}");
        assert!(err.starts_with(expected), "{arguments:?}: {err}");
    }
}

#[test]
fn what_is_damaged_is_told_and_the_rest_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = recorded(dir.path(), 0);
    for offset in 0..3 {
        store.commit(&[record(offset, b"21.5")]).unwrap();
    }
    drop(store);
    let segment = dir.path().join("telemetry/sensors/00000000000000000000.log");
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, bytes).unwrap();
    for command in [&["cat"][..], &["tail", "--no-follow"]] {
        let (code, out, err) = said(dir.path(), command);
        assert_eq!((code, out), (Some(3), line(0) + &line(2)), "{err}");
        assert!(err.ends_with(" bytes of the log are damaged and were passed over.\n"), "{err}");
    }
}
