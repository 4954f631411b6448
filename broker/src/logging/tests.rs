use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use super::*;

fn fixed() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(1_700_000_000_042)
}

fn settings(kinds: Kinds, format: Format, stamp: Stamp, to: &str) -> Settings {
    let destinations = to.parse().unwrap();
    Settings { kinds, format, stamp, destinations, facility: Facility::Daemon }
}

fn logged(level: Level, format: Format, stamp: Stamp, events: fn()) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.log");
    let log = Log::new(fixed);
    let to = format!("file {}", path.display());
    log.prepare(settings(level.kinds(), format, stamp, &to)).unwrap().apply();
    tracing::dispatcher::with_default(&Dispatch::new(Listener(log.clone())), events);
    log.flush();
    fs::read_to_string(path).unwrap()
}

fn some_events() {
    let (client, address) = ("a1", "192.0.2.1:5");
    tracing::error!(errno = 24, "Accepting failed.");
    tracing::warn!(client, address, "Client {client} [{address}] refused.");
    tracing::info!("Running.");
    tracing::debug!("Received PINGREQ from a1");
    tracing::debug!("\ta/b (QoS 1)");
    tracing::debug!(target: SUBSCRIBE, "a1 1 a/b");
    tracing::debug!(target: "hyper::insides", "nobody asked");
}

#[test]
fn people_read_mosquittos_lines_and_no_field_twice() {
    let lines = logged(Level::Info, Format::Human, Stamp::Epoch, some_events);
    let expected = "1700000000: Error: Accepting failed. errno=24\n\
                    1700000000: Warning: Client a1 [192.0.2.1:5] refused.\n\
                    1700000000: Running.\n";
    assert_eq!(lines, expected);
}

#[test]
fn levels_hide_what_is_less_important() {
    let rows = [
        (Level::Error, 1),
        (Level::Warn, 2),
        (Level::Info, 3),
        (Level::Debug, 6),
        (Level::Trace, 6),
    ];
    for (level, count) in rows {
        let lines = logged(level, Format::Human, Stamp::None, some_events);
        assert_eq!(lines.lines().count(), count, "{level:?}\n{lines}");
    }
}

#[test]
fn machines_read_one_object_per_line() {
    let lines = logged(Level::Warn, Format::Json, Stamp::Iso, some_events);
    let warning = [
        r#"{"timestamp":"2023-11-14T22:13:20.042Z","level":"WARN","#,
        r#""message":"Client a1 [192.0.2.1:5] refused.","#,
        r#""client":"a1","address":"192.0.2.1:5"}"#,
    ];
    assert_eq!(lines.lines().nth(1), Some(warning.concat().as_str()));
    let untimed = logged(Level::Error, Format::Json, Stamp::None, some_events);
    assert_eq!(untimed, "{\"level\":\"ERROR\",\"message\":\"Accepting failed.\",\"errno\":24}\n");
}

#[test]
fn no_client_writes_log_lines_of_its_own() {
    let forge = || {
        let client = "x\n1700000000: New client\u{1b}[2J\r";
        tracing::info!(client, "Client {client} disconnected.");
    };
    let lines = logged(Level::Info, Format::Human, Stamp::None, forge);
    let expected = "Client x\\n1700000000: New client\\u{1b}[2J\\r disconnected.\n";
    assert_eq!(lines, expected);
    let lines = logged(Level::Info, Format::Json, Stamp::None, forge);
    assert_eq!(lines.lines().count(), 1, "{lines}");
}

/// Renamed by logrotate, then opened anew; and other kinds, another file, from a reload on.
#[test]
fn files_are_reopened_and_settings_change_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let to = |name: &str| format!("file {}", path(name).display());
    let kinds = |text: &str| text.parse::<Kinds>().unwrap();
    let log = Log::new(fixed);
    let first = settings(kinds("information"), Format::Human, Stamp::None, &to("a"));
    log.prepare(first).unwrap().apply();
    tracing::dispatcher::with_default(&Dispatch::new(Listener(log.clone())), || {
        let say = |text: &str| {
            tracing::info!("{text}");
            tracing::info!(target: NOTICE, "notice {text}");
            log.flush();
        };
        say("one");
        fs::rename(path("a"), path("a.1")).unwrap();
        say("two");
        log.reopen();
        say("three");
        let nowhere = settings(kinds("all"), Format::Human, Stamp::None, &to("no/such"));
        let mistakes = log.prepare(nowhere).err().expect("no such folder");
        assert!(mistakes[0].starts_with("Cannot open the log file "), "{mistakes:?}");
        say("four");
        let both = format!("{}, {}", to("a"), to("b"));
        log.prepare(settings(kinds("notice"), Format::Human, Stamp::None, &both)).unwrap().apply();
        say("five");
    });
    let text = |name: &str| fs::read_to_string(path(name)).unwrap();
    assert_eq!(text("a.1"), "one\ntwo\n");
    assert_eq!(text("a"), "three\nfour\nnotice five\n");
    assert_eq!(text("b"), "notice five\n");
    assert_eq!(log.losses().load(Ordering::Relaxed), 0);
}

#[test]
fn lines_are_published_once_somebody_does_it_and_packets_never() {
    let log = Log::new(fixed);
    let all = Level::Trace.kinds();
    log.prepare(settings(all, Format::Human, Stamp::Epoch, "topic")).unwrap().apply();
    let published = Arc::new(parking_lot::Mutex::new(Vec::new()));
    tracing::dispatcher::with_default(&Dispatch::new(Listener(log.clone())), some_events);
    let taken = Arc::clone(&published);
    log.publish_with(Arc::new(move |messages| {
        let messages = messages.iter().map(|(topic, text)| format!("{topic} {text}"));
        taken.lock().extend(messages);
    }));
    log.flush();
    let expected = [
        "$SYS/broker/log/E 1700000000: Error: Accepting failed. errno=24",
        "$SYS/broker/log/W 1700000000: Warning: Client a1 [192.0.2.1:5] refused.",
        "$SYS/broker/log/I 1700000000: Running.",
        "$SYS/broker/log/M/subscribe 1700000000: a1 1 a/b",
    ];
    assert_eq!(*published.lock(), expected);
}
