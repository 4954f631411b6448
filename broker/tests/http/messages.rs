//! Publishing and the live tail.

use std::net::TcpStream;

use martlet_engine::counters::Bound;
use serde_json::{Value, json};

use crate::client::{Fields, Http, Lines};
use crate::raw::client::Client;
use crate::raw::{Id, Packet};
use crate::running::Running;
use crate::{open, settings};

const LINES: (&str, &str) = ("Content-Type", "application/x-ndjson");
const ACCEPT_LINES: (&str, &str) = ("Accept", "application/x-ndjson");

fn subscriber(broker: &Running, filter: &str) -> Client {
    let mut client = Client::connect(broker.address(), "subscriber");
    let filters = vec![(filter.to_owned(), 2)];
    client.send(&Packet::Subscribe { id: Id::Number(1), filters });
    client.expect("suback 1 2");
    client
}

fn heard(client: &mut Client) -> (String, Vec<u8>, u8) {
    match client.expect_packet() {
        Packet::Publish(publish) => (publish.topic, publish.payload, publish.qos),
        packet => panic!("{packet:?}"),
    }
}

#[test]
fn what_is_pushed_reaches_subscribers_as_it_is() {
    let broker = Running::start(settings());
    let mut subscriber = subscriber(&broker, "#");
    let mut http = open(&broker);
    let rows: &[(&str, &[u8], u16, &str, u8)] = &[
        ("/push/a/b", b"21.5", 200, "a/b", 1),
        ("/push/a/b?qos=0", b"x", 202, "a/b", 0),
        ("/push/a/b?qos=2", b"\xff\x00", 200, "a/b", 2),
        ("/push/%C3%A4%20b/c%2Fd", b"{}", 200, "ä b/c/d", 1),
        ("/push//leading", b"", 200, "/leading", 1),
        ("/push/a+b", b"a plus in a path is a plus", 400, "", 0),
    ];
    for (path, payload, status, topic, qos) in rows {
        let answer = http.ask(&format!("POST {path}"), &[], payload);
        assert_eq!(answer.status, *status, "{path}: {}", answer.text());
        if *status < 300 {
            assert_eq!(answer.json()["topic"], *topic);
            assert_eq!(answer.json()["durable"], *qos > 0, "{path}");
            assert_eq!(heard(&mut subscriber), ((*topic).to_owned(), payload.to_vec(), *qos));
        }
    }
}

#[test]
fn one_connection_is_one_client() {
    let broker = Running::start(settings());
    let mut http = open(&broker);
    for _ in 0..5 {
        assert_eq!(http.ask("POST /push/t", &[], b"x").status, 200);
    }
    assert_eq!(broker.driver().numbers().counters.connects_accepted, 1);
    assert_eq!(broker.driver().numbers().gauges.connected, 1);
    drop(http);
    while broker.driver().numbers().gauges.connected > 0 {
        std::thread::yield_now();
    }
    assert_eq!(broker.log().with("connection closed by client").len(), 1);
}

#[test]
fn a_retained_push_is_there_for_those_who_come_later() {
    let broker = Running::start(settings());
    assert_eq!(open(&broker).ask("POST /push/t?retain=true", &[], b"kept").status, 200);
    let mut tail = Lines::of(open(&broker), "/realtime/t", &[ACCEPT_LINES]);
    let message = tail.json();
    assert_eq!((&message["payload"], &message["retain"]), (&json!("kept"), &json!(true)));
}

#[test]
fn a_batch_is_published_line_by_line() {
    let broker = Running::start(settings());
    let mut subscriber = subscriber(&broker, "#");
    let body = "{\"payload\":\"text\"}\n\n{\"topic\":\"own\",\"payload\":{\"t\":1.50}}\r\n\
                {\"payload_base64\":\"/wA=\",\"qos\":2}\n{\"payload\":17,\"qos\":0}";
    let answer = open(&broker).ask("POST /push/path", &[LINES], body.as_bytes());
    assert_eq!((answer.status, &answer.json()["published"]), (200, &json!(4)), "{answer:?}");
    let expected: [(&str, &[u8], u8); 4] = [
        ("path", b"text", 1),
        ("own", b"{\"t\":1.50}", 1),
        ("path", b"\xff\0", 2),
        ("path", b"17", 0),
    ];
    for (topic, payload, qos) in expected {
        assert_eq!(heard(&mut subscriber), (topic.to_owned(), payload.to_vec(), qos));
    }
}

#[test]
fn a_batch_is_published_while_it_still_comes() {
    let broker = Running::start(settings());
    let mut subscriber = subscriber(&broker, "#");
    let mut http = open(&broker);
    http.send_bytes(b"POST /push/t HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n");
    http.send_bytes(b"Content-Type: application/x-ndjson\r\n\r\n");
    for n in 0..3 {
        let line = format!("{{\"payload\":{n}}}\n");
        http.send_bytes(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes());
        assert_eq!(heard(&mut subscriber).1, n.to_string().as_bytes());
    }
    http.send_bytes(b"0\r\n\r\n");
    assert_eq!(http.answer().json()["published"], 3);
}

#[test]
fn a_bad_line_ends_a_batch_and_says_which_it_is_and_what_was_done() {
    let broker = Running::start(settings());
    let good = "{\"payload\":\"x\"}\n";
    let rows = [
        ("{\"payload\":\"x\",\"quos\":1}", "line 3: no such object: unknown field `quos`"),
        ("{}", "line 3: there is no payload"),
        ("[1]", "line 3: no such object"),
        ("{\"payload\":1,\"payload_base64\":\"\"}", "exclude each other"),
        ("{\"payload_base64\":\"?\"}", "is no base64"),
        ("{\"payload\":1,\"qos\":3}", "qos is 0, 1 or 2, not 3"),
        ("{\"payload\":1,\"topic\":\"a/#\"}", "\"a/#\" is no topic name"),
    ];
    for (line, expected) in rows {
        let body = format!("{good}{good}{line}\n{good}");
        let answer = open(&broker).ask("POST /push/t", &[LINES], body.as_bytes());
        assert_eq!((answer.status, &answer.json()["published"]), (400, &json!(2)), "{line}");
        let detail = answer.json()["detail"].as_str().expect("a text").to_owned();
        assert!(detail.contains(expected), "{detail}");
    }
    let answer = open(&broker).ask("POST /push/", &[LINES], good.as_bytes());
    assert!(answer.text().contains("neither line nor path has a topic"), "{answer:?}");
}

/// Requests that are refused, and a part of what they are told.
const BAD: &[(&str, &[u8], u16, &str)] = &[
    ("POST /push/", b"x", 400, "name a topic"),
    ("POST /push/a/%23", b"x", 400, "is no topic name"),
    ("POST /push/a%00b", b"x", 400, "is no topic name"),
    ("POST /push/a?qos=3", b"x", 400, "qos is 0, 1 or 2"),
    ("POST /push/a?qos=high", b"x", 400, "qos: invalid digit"),
    (
        "POST /push/a?retained=true",
        b"x",
        400,
        "unknown field `retained`, expected `qos` or `retain`",
    ),
    ("POST /push/$SYS/broker/uptime", b"x", 403, "$SYS is the broker's own"),
    ("GET /push/a", b"", 405, "GET is not for this path"),
    ("GET /realtime/a/%23/b", b"", 400, "(# is written %23 in a URL)"),
    ("GET /realtime/a?every=5", b"", 400, "every is 100 to 60000 milliseconds"),
    ("GET /realtime/a%2F%FF", b"", 400, ""),
    ("GET /nowhere", b"", 404, "/spec lists all others"),
    ("GET /clients?limit=0", b"", 400, "limit is 1 to 1000"),
    ("GET /assets/../x", b"", 404, ""),
    ("DELETE /", b"", 405, ""),
];

#[test]
fn bad_requests_are_told_what_is_wrong_with_them() {
    let broker = Running::start(settings());
    let mut http = open(&broker);
    for (line, body, status, part) in BAD {
        let answer = http.ask(line, &[], body);
        assert_eq!(answer.status, *status, "{line}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{line}");
        assert_eq!(answer.json()["status"], *status, "{line}");
        let detail = answer.json()["detail"].as_str().expect("a text").to_owned();
        assert!(detail.contains(part) && !detail.is_empty(), "{line}: {detail}");
    }
    let deep = format!("POST /push/{}", "a/".repeat(300));
    assert!(http.ask(&deep, &[], b"x").text().contains("topic_levels_max"));
}

#[test]
fn what_is_too_large_is_refused_before_it_is_read() {
    let mut settings = settings();
    settings.window.as_mut().expect("there is one").0.decode_limits.packet_size_max = 1024;
    let broker = Running::start(settings);
    let rows: &[(Fields<'_>, usize, u16, &str)] = &[
        (&[], 1000, 200, ""),
        (&[], 1024, 413, "limits.packet_size_max"),
        (&[], 2 << 20, 413, "http.body_bytes_max"),
        (&[LINES], 2000, 413, "line 1: more than 1024 bytes"),
    ];
    for (headers, len, status, part) in rows {
        let mut http = open(&broker);
        let mut head = format!("POST /push/t HTTP/1.1\r\nHost: {}\r\n", broker.window());
        head += &format!("Content-Length: {len}\r\n");
        headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        http.send_bytes(format!("{head}\r\n").as_bytes());
        if *len < 1 << 20 {
            http.send_bytes(&vec![b' '; *len]);
        }
        let answer = http.answer();
        assert_eq!(answer.status, *status, "{len}: {}", answer.text());
        assert!(answer.text().contains(part), "{len}: {}", answer.text());
    }
}

#[test]
fn a_tail_comes_as_events_or_as_lines() {
    let broker = Running::start(settings());
    let mut events = Lines::of(open(&broker), "/realtime/a/%23", &[]);
    let mut lines = Lines::of(open(&broker), "/realtime/a/+", &[ACCEPT_LINES]);
    let mut all = Lines::of(open(&broker), "/realtime/", &[ACCEPT_LINES]);
    let mut http = open(&broker);
    http.ask("POST /push/b", &[], b"elsewhere");
    http.ask("POST /push/a/b?qos=2", &[], b"\xff");
    let expected = json!({"topic": "a/b", "payload_base64": "/w==", "qos": 2, "retain": false});
    let without_time = |mut message: Value| {
        let time = message["time"].take();
        assert!(time.as_str().is_some_and(|time| time.ends_with('Z')), "{time}");
        message.as_object_mut().expect("an object").remove("time");
        message
    };
    assert_eq!(events.next().as_deref(), Some(": a subscription: no ids"));
    assert_eq!(events.next().as_deref(), Some(""));
    let event = events.next().expect("an event");
    let event = event.strip_prefix("data: ").expect("its data");
    assert_eq!(without_time(serde_json::from_str(event).expect("JSON")), expected);
    assert_eq!(without_time(lines.json()), expected);
    assert_eq!(all.json()["topic"], "b");
}

/// Nobody loses anything without being told, and the count is exact.
#[test]
fn a_reader_that_stalls_is_told_how_much_it_lost() {
    const MESSAGES: u64 = 400;
    let broker = Running::start(settings());
    let mut stalled = Lines::of(open(&broker), "/realtime/t", &[ACCEPT_LINES]);
    let mut brisk = Lines::of(open(&broker), "/realtime/t", &[ACCEPT_LINES]);
    let mut http = open(&broker);
    // Far more than sockets and outbox hold.
    for _ in 0..MESSAGES {
        assert_eq!(http.ask("POST /push/t", &[], &[b'x'; 50_000]).status, 200);
        assert_eq!(brisk.json()["topic"], "t", "others are undisturbed");
    }
    let (mut got, mut lost) = (0, 0);
    while got + lost < MESSAGES {
        match stalled.json()["dropped"].as_u64() {
            Some(count) => lost += count,
            None => got += 1,
        }
    }
    assert!(lost > 0, "{got} came");
    assert_eq!(broker.driver().numbers().counters.dropped(Bound::Outbox), lost);
    let stats = http.get("/stats").json();
    assert_eq!(stats["http"]["tail_dropped"], lost);
}

#[test]
fn a_reader_that_wants_less_gets_the_last_of_each_topic() {
    let broker = Running::start(settings());
    let mut tail = Lines::of(open(&broker), "/realtime/%23?every=500", &[ACCEPT_LINES]);
    let body: String =
        (0..1000).map(|n| format!("{{\"topic\":\"t/{}\",\"payload\":{n}}}\n", n % 2)).collect();
    assert_eq!(open(&broker).ask("POST /push/", &[LINES], body.as_bytes()).status, 200);
    let mut seen = 0;
    loop {
        let message = tail.json();
        seen += 1;
        if message["payload"] == "999" {
            break;
        }
    }
    assert!(seen < 1000, "{seen}");
}

#[test]
fn a_tail_comes_over_a_websocket() {
    let broker = Running::start(settings());
    let mut http = open(&broker);
    http.ask("POST /push/t?retain=true", &[], b"kept");
    let stream = TcpStream::connect(broker.window()).expect("the window is open");
    let url = format!("ws://{}/realtime/t", broker.window());
    let (mut socket, answer) = tungstenite::client(&url, stream).expect("a WebSocket");
    assert_eq!(answer.status(), 101);
    let mut next = || {
        let text = socket.read().expect("a message").into_text().expect("text");
        serde_json::from_str::<Value>(&text).expect("JSON")
    };
    assert_eq!((next()["payload"].take(), 1), (json!("kept"), 1));
    http.ask("POST /push/t", &[], b"live");
    let message = next();
    assert_eq!((&message["payload"], &message["retain"]), (&json!("live"), &json!(false)));
    socket.close(None).expect("it is open");
    assert!(socket.read().is_err() || socket.read().is_err(), "it is closed from both ends");
    while broker.driver().numbers().gauges.subscriptions > 0 {
        std::thread::yield_now();
    }
    let bad = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "8")];
    let answer = open(&broker).ask("GET /realtime/t", &bad, b"");
    assert_eq!((answer.status, answer.header("sec-websocket-version")), (400, Some("13")));
}

/// A WebSocket takes a place as long as it lives, as every other connection does.
#[test]
fn websockets_are_connections_of_the_window() {
    let mut settings = settings();
    settings.window.as_mut().expect("there is one").0.connections_max = 2;
    let broker = Running::start(settings);
    let url = format!("ws://{}/realtime/t", broker.window());
    let tail = || {
        let stream = TcpStream::connect(broker.window()).expect("the window is open");
        tungstenite::client(&url, stream).expect("a WebSocket").0
    };
    let (mut one, mut other) = (tail(), tail());
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    let mut third = open(&broker);
    let waiting = std::thread::spawn(move || {
        third.send("GET /healthz", &[], b"");
        tell.send(third.answer().status).expect("the test waits");
    });
    let early = told.recv_timeout(std::time::Duration::from_millis(300));
    assert!(early.is_err(), "it waits for a place: {early:?}");
    one.close(None).expect("it is open");
    assert!(one.read().is_err() || one.read().is_err(), "it is closed from both ends");
    assert_eq!(told.recv().expect("an answer"), 200);
    waiting.join().expect("it was answered");
    drop(broker);
    let last = other.read().expect("a broker that stops waits for it");
    assert!(last.is_close(), "{last:?}");
}

#[test]
fn whoever_goes_away_in_the_middle_leaves_nothing_behind() {
    let broker = Running::start(settings());
    for _ in 0..10 {
        let mut tail = open(&broker);
        tail.send("GET /realtime/t", &[], b"");
        assert_eq!(tail.head().status, 200);
        tail.vanish();
        let mut half = open(&broker);
        half.send_bytes(
            b"POST /push/t HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhal",
        );
        half.vanish();
    }
    open(&broker).ask("POST /push/t", &[], b"to nobody");
    while broker.driver().numbers().gauges.sessions > 0 {
        std::thread::yield_now();
    }
}

#[test]
fn a_broker_that_stops_ends_its_tails() {
    let broker = Running::start(settings());
    let mut tail = Lines::of(open(&broker), "/realtime/t", &[]);
    let idle: Http = open(&broker);
    let stopped = std::thread::spawn(move || drop(broker));
    while tail.next().is_some() {}
    stopped.join().expect("an orderly stop");
    drop(idle);
}
