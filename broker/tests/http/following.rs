//! Streams of the log that are followed without having been named.

use serde_json::{Value, json};

use crate::client::{Http, Lines};
use crate::recorded::Recording;

/// What the browser's EventSource does: it keeps the last id, and comes back with it.
struct EventSource {
    lines: Lines,
    path: &'static str,
    last: Option<String>,
}

impl EventSource {
    fn open(broker: &Recording, path: &'static str) -> Self {
        Self { lines: Lines::of(broker.open(), path, &[]), path, last: None }
    }

    /// Its connection is cut, and messages are published before it is back.
    fn cut(&mut self, broker: &Recording, meanwhile: impl FnOnce()) {
        self.lines = Lines::of(broker.open(), "/realtime/elsewhere", &[]);
        meanwhile();
        let last = self.last.clone().unwrap_or_default();
        self.lines = Lines::of(broker.open(), self.path, &[("Last-Event-ID", &last)]);
    }

    /// Reads the fields of one block: the data of an event, if it is one.
    fn block(&mut self) -> Option<Value> {
        let mut data = None;
        loop {
            let line = self.lines.next().expect("a line");
            match line.split_once(": ") {
                Some(("id", id)) => self.last = Some(id.to_owned()),
                Some(("data", text)) => data = Some(serde_json::from_str(text).expect("JSON")),
                _ if line.is_empty() => return data,
                _ => assert!(line.starts_with(':'), "{line}"),
            }
        }
    }

    fn event(&mut self) -> Value {
        loop {
            if let Some(event) = self.block() {
                return event;
            }
        }
    }

    fn payloads(&mut self, count: usize) -> Vec<String> {
        let payload = |event: Value| event["payload"].as_str().expect("text").to_owned();
        (0..count).map(|_| payload(self.event())).collect()
    }
}

fn push(http: &mut Http, topic: &str, payload: &str) {
    let answer = http.ask(&format!("POST /push/{topic}"), &[], payload.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn a_reader_that_is_cut_and_comes_back_misses_nothing_and_names_no_stream() {
    let broker = Recording::start();
    let mut source = EventSource::open(&broker, "/realtime/sensors/%23");
    assert_eq!(source.block(), None, "it has an id before anything has come");
    source.cut(&broker, || broker.publish(0..2));
    assert_eq!(source.payloads(1), ["0"]);
    source.cut(&broker, || broker.publish(2..4));
    assert_eq!(source.payloads(3), ["1", "2", "3"], "also what was on its way");
    source.cut(&broker, || ());
    broker.publish(4..5);
    assert_eq!(source.payloads(1), ["4"], "and nothing twice");
    assert_eq!(source.last.as_deref(), Some("4"));
}

/// What was recorded before it came is not what is published from now on.
#[test]
fn a_stream_is_followed_from_now_on_behind_what_is_retained() {
    const TOPICS: usize = 1_000;
    let broker = Recording::start();
    broker.publish(0..3);
    let mut http = broker.open();
    let retained: String = (0..TOPICS)
        .map(|n| format!("{{\"topic\":\"sensors/{n}\",\"payload\":{n},\"retain\":true}}\n"))
        .collect();
    let lines = [("Content-Type", "application/x-ndjson")];
    assert_eq!(http.ask("POST /push/", &lines, retained.as_bytes()).status, 200);
    let mut source = EventSource::open(&broker, "/realtime/sensors/%23");
    push(&mut http, "sensors/a", "live");
    let first = (0..TOPICS).map(|_| source.event()).collect::<Vec<_>>();
    assert!(first.iter().all(|event| event["retain"] == true && event["offset"] == Value::Null));
    assert_eq!(source.last, Some((TOPICS + 2).to_string()), "they have no id of their own");
    let live = source.event();
    assert_eq!((&live["payload"], &live["offset"]), (&json!("live"), &json!(TOPICS + 3)));
}

#[test]
fn what_no_stream_records_wholly_comes_by_a_subscription() {
    let broker = Recording::start();
    let rows = [
        ("/realtime/sensors/%23", Some("plant"), ": from the stream plant"),
        ("/realtime/sensors/+/t", Some("plant"), ": from the stream plant"),
        ("/realtime/%23", None, ": a subscription: no ids"),
        ("/realtime/$share/g/sensors/%23", None, ": a subscription: no ids"),
        ("/realtime/sensors/%23?every=1000", None, ": a subscription: no ids"),
    ];
    for (path, stream, words) in rows {
        let mut http = broker.open();
        http.send(&format!("GET {path}"), &[], b"");
        let head = http.head();
        assert_eq!((head.status, head.header("martlet-stream")), (200, stream), "{path}");
        let chunk = http.chunk().expect("a beginning");
        let text = String::from_utf8_lossy(&chunk);
        assert_eq!(text.lines().next(), Some(words), "{path}");
    }
    let mut source = EventSource::open(&broker, "/realtime/%23");
    push(&mut broker.open(), "elsewhere", "x");
    assert_eq!((source.event()["payload"].clone(), source.last), (json!("x"), None));
}

/// Offsets of one stream mean nothing in another one.
#[test]
fn an_id_names_its_stream_where_there_are_several() {
    let streams = [("all", "#"), ("plant", "sensors/#"), ("other", "other/#")];
    let broker = Recording::of(&streams);
    push(&mut broker.open(), "elsewhere", "x");
    let mut source = EventSource::open(&broker, "/realtime/sensors/%23");
    broker.publish(0..1);
    assert_eq!(source.payloads(1), ["0"]);
    assert_eq!(source.last.as_deref(), Some("1@all"));
    source.last = Some("-1@plant".to_owned());
    source.cut(&broker, || broker.publish(1..2));
    assert_eq!(source.payloads(2), ["0", "1"]);
    assert_eq!(source.last.as_deref(), Some("1@plant"));
    for (last, status) in [("1@factory", 404), ("9@plant", 400), ("-2", 400), ("1@", 404)] {
        let headers = [("Last-Event-ID", last)];
        let answer = broker.open().ask("GET /realtime/sensors/%23", &headers, b"");
        assert_eq!(answer.status, status, "{last}: {}", answer.text());
    }
}

#[test]
fn a_websocket_has_offsets_without_having_named_a_stream() {
    let broker = Recording::start();
    broker.publish(0..1);
    let mut http = broker.open();
    http.ask("POST /push/sensors/a?retain=true", &[], b"kept");
    let stream = std::net::TcpStream::connect(broker.window()).expect("the window is open");
    let url = format!("ws://{}/realtime/sensors/%23", broker.window());
    let (mut socket, answer) = tungstenite::client(&url, stream).expect("a WebSocket");
    assert_eq!(answer.headers().get("martlet-stream").expect("it is named"), "plant");
    push(&mut http, "sensors/a", "live");
    for (payload, offset) in [("kept", Value::Null), ("live", json!(2))] {
        let text = socket.read().expect("a message").into_text().expect("text");
        let event: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((&event["payload"], &event["offset"]), (&json!(payload), &offset));
    }
}
