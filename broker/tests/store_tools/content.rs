//! What is in a store, and how small it can be.

use std::fs;
use std::process::{Command, Stdio};

use crate::binary::{BINARY, run, spawn, store};
use crate::{files, make};

const SESSIONS: &str = concat!(
    r#"{"record":"session","client_id":"c","connected":false,"#,
    r#""detached_since":"2023-11-14T22:13:20.000Z","#,
    r#""subscriptions":[{"filter":"$share/g/a/+","qos":2,"replay":false}],"#,
    r#""in_flight":2,"queued":1,"received":[100]}"#,
    "\n",
    r#"{"record":"in_flight","client_id":"c","packet_id":7,"awaits":"PUBACK","#,
    r#""topic":"a/b","payload":"one","qos":1,"retain":false}"#,
    "\n",
    r#"{"record":"in_flight","client_id":"c","packet_id":8,"awaits":"PUBCOMP"}"#,
    "\n",
    r#"{"record":"queued","client_id":"c","topic":"a/b","payload_base64":"/wB4","#,
    r#""qos":2,"retain":false,"share":"$share/g/a/+"}"#,
    "\n",
    r#"{"record":"session","client_id":"d","connected":true,"subscriptions":[],"#,
    r#""in_flight":0,"queued":0,"received":[]}"#,
    "\n",
    r#"{"record":"will","client_id":"d","topic":"w","payload":"gone","qos":1,"#,
    r#""retain":true}"#,
    "\n",
);
const RETAINED: &str = r#"{"record":"retained","topic":"r/1","payload":"ü\n\"","qos":1}
{"record":"retained","topic":"r/2","payload_base64":"gA==","qos":1}
"#;

#[test]
fn everything_is_exported_wherever_it_stands_and_nothing_changed() {
    for in_order in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path(), in_order);
        let before = files(dir.path());
        let all = [SESSIONS, RETAINED].concat();
        for (words, lines) in [
            (&["export"][..], all.as_str()),
            (&["export", "--sessions"], SESSIONS),
            (&["export", "--retained"], RETAINED),
            (&["export", "--sessions", "--retained"], &all),
        ] {
            let ended = store(words, dir.path());
            assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{words:?}");
            assert_eq!(ended.out, lines, "{words:?}");
        }
        let check = store(&["check"], dir.path());
        assert_eq!(check.code, Some(0), "{check:?}");
        assert!(check.out.starts_with(&format!("{}: sound\n", dir.path().display())), "{check:?}");
        assert_eq!(files(dir.path()), before);
    }
}

#[test]
fn an_export_goes_to_a_file_and_a_closed_pipe_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    make(&dir.path().join("data"), true);
    let data = dir.path().join("data");
    let file = dir.path().join("all.jsonl");
    let ended = store(&["export", "--output", file.to_str().unwrap()], &data);
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), ""), "{ended:?}");
    assert_eq!(fs::read_to_string(file).unwrap(), [SESSIONS, RETAINED].concat());
    let ended = store(&["export", "--output", "/dev/full"], &data);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.starts_with("Cannot write what was asked for: No space left"), "{ended:?}");
    let mut command = Command::new(BINARY);
    let mut child = spawn(command.args(["store", "export"]).arg(&data).stdout(Stdio::piped()));
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn statistics_count_all_of_it() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), false);
    let ended = store(&["stats", "--json"], dir.path());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let stats: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    for (path, value) in [
        ("/sessions/total", "2"),
        ("/sessions/connected", "1"),
        ("/sessions/detached", "1"),
        ("/sessions/detached_longest_since", "\"2023-11-14T22:13:20.000Z\""),
        ("/sessions/subscriptions", "1"),
        ("/sessions/received", "1"),
        ("/sessions/largest/0", r#"{"client_id":"c","messages":3}"#),
        ("/queued", r#"{"bytes":6,"messages":1}"#),
        ("/in_flight", r#"{"bytes":6,"messages":2}"#),
        ("/messages", r#"{"bytes":12,"messages":2}"#),
        ("/retained", r#"{"bytes":11,"messages":2}"#),
        ("/wills", r#"{"bytes":5,"messages":1}"#),
        ("/state_position", "0"),
        ("/newest_commit", "15"),
        ("/segments/0/bytes", "262144"),
        ("/set_aside", "[]"),
    ] {
        let got = stats.pointer(path).map(ToString::to_string);
        assert_eq!(got.as_deref(), Some(value), "{path}: {}", ended.out);
    }
    let text = store(&["stats"], dir.path());
    assert_eq!(text.code, Some(0), "{text:?}");
    let words: Vec<&str> = text.out.split_whitespace().collect();
    assert!(words.join(" ").contains("sessions 2: 1 connected, 1 detached (one since 2023-11-14"));
}

#[test]
fn compacting_makes_files_small_and_keeps_what_is_in_them() {
    for in_order in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path(), in_order);
        let length = || files(dir.path()).values().map(Vec::len).sum::<usize>();
        let before = length();
        let ended = store(&["compact"], dir.path());
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{ended:?}");
        assert!(ended.out.contains(" before, ") && ended.out.ends_with(" after\n"), "{ended:?}");
        assert!(length() <= before && length() < 100_000, "{before} {}", length());
        let export = store(&["export"], dir.path());
        assert_eq!(export.out, [SESSIONS, RETAINED].concat());
        assert_eq!(store(&["check"], dir.path()).code, Some(0));
    }
}

#[test]
fn the_folder_is_that_of_the_configuration_unless_it_is_named() {
    let dir = tempfile::tempdir().unwrap();
    make(&dir.path().join("here"), true);
    fs::write(dir.path().join("a.toml"), "[data]\ndir = 'here'\n").unwrap();
    let mut command = Command::new(BINARY);
    let ended = run(command.current_dir(dir.path()).args(["store", "check", "-c", "a.toml"]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.starts_with("here: sound\n"), "{ended:?}");
}
