//! MQTT over WebSocket, over real sockets: whatever the frames, the packets are the same.

#![allow(missing_docs, unreachable_pub, reason = "a test")]

mod raw;
mod running;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use martlet::net::websocket;
use raw::client::{Client, Heard, Stream, tcp};
use raw::websocket::{
    BINARY, CLOSE, CONTINUATION, FINAL, PING, PONG, SUB_PROTOCOL, TEXT, WebSocket, frame, head,
    request,
};
use raw::{AckKind, Connect, Id, Packet, Publish};
use running::{Running, settings};

fn start() -> Running {
    start_with(websocket::Settings::default())
}

fn start_with(websocket: websocket::Settings) -> Running {
    let mut settings = settings();
    settings.listeners[0].0.websocket = Some(websocket);
    Running::start(settings)
}

fn publish(topic: &str, payload: impl Into<Vec<u8>>, qos: u8, id: u16) -> Packet {
    let id = if qos > 0 { Id::Number(id) } else { Id::None };
    Packet::Publish(Publish { qos, id, ..Publish::new(topic, payload) })
}

fn subscribe(client: &mut Client, filter: &str, qos: u8) {
    client.send(&Packet::Subscribe { id: Id::Number(1), filters: vec![(filter.into(), qos)] });
    client.expect(&format!("suback 1 {qos}"));
}

fn connect(broker: &Running, name: &str) -> Client {
    Client::open_websocket(broker.address()).introduce(Connect::new(name))
}

/// CONNECT, SUBSCRIBE, PUBLISH and PINGREQ in one go.
fn conversation(name: &str) -> Vec<u8> {
    let packets = [
        Packet::Connect(Box::new(Connect::new(name))),
        Packet::Subscribe { id: Id::Number(1), filters: vec![(format!("{name}/#"), 0)] },
        publish(&format!("{name}/x"), "piecemeal", 0, 0),
        Packet::PingReq,
    ];
    packets.iter().flat_map(Packet::encode).collect()
}

fn expect_conversation(client: &mut Client, name: &str) {
    client.expect("connack 0");
    client.expect("suback 1 0");
    client.expect(&format!("publish {name}/x \"piecemeal\""));
    client.expect("pingresp");
}

/// Packets may share frames and span them [MQTT-6.0.0-2].
#[test]
fn frames_may_be_cut_at_every_byte() {
    let broker = start();
    let whole = conversation("one").len();
    for cut in 1..=whole {
        let mut client = Client::open_websocket(broker.address());
        client.websocket().cut = cut;
        client.send_bytes(&conversation("one"));
        expect_conversation(&mut client, "one");
    }
    for at in 1..whole {
        let mut client = Client::open_websocket(broker.address());
        let mut front = conversation("two");
        let back = front.split_off(at);
        client.send_bytes(&front);
        client.send_bytes(&back);
        expect_conversation(&mut client, "two");
    }
}

#[test]
fn the_stream_may_be_cut_at_every_byte_the_request_included() {
    let broker = start();
    let mut tcp = tcp(broker.address()).expect("it listens");
    for byte in request(SUB_PROTOCOL).bytes() {
        tcp.write_all(&[byte]).expect("it reads");
    }
    let answer = head(&mut tcp);
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    let mut first = conversation("bytes");
    let rest = first.split_off(10);
    let frames = [
        frame(BINARY, &first),
        frame(FINAL | PING, b"in between"),
        frame(FINAL | CONTINUATION, &rest),
    ];
    for byte in frames.concat() {
        tcp.write_all(&[byte]).expect("it reads");
    }
    let mut bytes = [0; 16];
    tcp.read_exact(&mut bytes[..14]).expect("a Pong, and more");
    assert_eq!(bytes[..12], *b"\x8a\x0ain between", "between the frames that come");
    assert_eq!(bytes[12], FINAL | BINARY);
}

/// Bytes that come right behind the request are not lost, although nobody may send them yet.
#[test]
fn many_frames_may_come_in_one_write() {
    let broker = start();
    let mut tcp = tcp(broker.address()).expect("it listens");
    let mut bytes = request(SUB_PROTOCOL).into_bytes();
    bytes.extend(frame(FINAL | BINARY, &Packet::Connect(Box::new(Connect::new("burst"))).encode()));
    for id in 1..=3000 {
        bytes.extend(frame(FINAL | BINARY, &publish("t", id.to_string(), 1, id).encode()));
    }
    let (front, back) = bytes.split_at(request(SUB_PROTOCOL).len());
    tcp.write_all(&[front, back].concat()).expect("it reads");
    assert!(head(&mut tcp).starts_with("HTTP/1.1 101 "));
    let mut client = Client::over(Stream::WebSocket(Box::new(WebSocket::opened(tcp))));
    client.expect("connack 0");
    for id in 1..=3000 {
        client.expect(&format!("puback {id}"));
    }
    assert!(client.websocket().frames < 1000, "what is sent together shares a frame");
}

#[test]
fn payloads_arrive_whole_at_every_length_of_length() {
    let broker = start();
    let mut client = connect(&broker, "large");
    subscribe(&mut client, "t", 0);
    for around in [120, 127, 16_383, 65_535, 2_097_151_usize, 9_999_000] {
        for size in around - 8..around + 3 {
            let payload: Vec<u8> = (0..size).map(|at| (at * 31 % 251) as u8).collect();
            let sent = publish("t", payload, 0, 0);
            client.websocket().cut = [usize::MAX, 1000, 70_000][size % 3];
            client.send(&sent);
            assert!(client.expect_packet() == sent, "{size} bytes");
        }
    }
}

/// What a socket does not take goes on exactly where it was cut off.
#[test]
fn a_slow_reader_gets_every_byte_in_order() {
    const MESSAGES: u16 = 900;
    let broker = start();
    let mut sleeper = connect(&broker, "sleeper");
    subscribe(&mut sleeper, "t", 1);
    let mut publisher = Client::open_websocket(broker.address()).introduce(Connect::new("p"));
    let payload = |number: u16| -> Vec<u8> {
        let size = usize::from(number % 7) * 5000 + 10;
        let body = (0..size).map(|at| (at * 7 + usize::from(number)) as u8);
        number.to_be_bytes().into_iter().chain(body).collect()
    };
    for number in 1..=MESSAGES {
        publisher.send(&publish("t", payload(number), 1, number));
        publisher.expect(&format!("puback {number}"));
        if number % 50 == 0 {
            sleeper.websocket().send_raw(&frame(FINAL | PING, &number.to_be_bytes()));
        }
    }
    for number in 1..=MESSAGES {
        let Packet::Publish(got) = sleeper.expect_packet() else { panic!("a PUBLISH") };
        assert!(got.payload == payload(number), "message {number}");
        sleeper.send(&Packet::Ack(AckKind::PubAck, got.id));
    }
    sleeper.ping();
    let last = sleeper.websocket().heard.last().cloned();
    assert_eq!(last, Some((PONG, MESSAGES.to_be_bytes().to_vec())), "the last Ping is answered");
}

/// Only binary frames carry MQTT [MQTT-6.0.0-1].
#[test]
fn bad_frames_close_one_connection_with_a_reason() {
    let broker = start();
    let mut bystander = connect(&broker, "bystander");
    let rows: &[(Vec<u8>, u16, &str)] = &[
        (frame(FINAL | TEXT, &Packet::PingReq.encode()), 1003, "MQTT-6.0.0-1"),
        (vec![FINAL | BINARY, 2, 0xc0, 0], 1002, "RFC 6455"),
        (frame(FINAL | CONTINUATION, &Packet::PingReq.encode()), 1002, "RFC 6455"),
        (frame(FINAL | PING, &[0; 126]), 1002, "RFC 6455"),
        (frame(FINAL | BINARY, &[0xff, 0xff]), 1000, "flags"),
    ];
    for (number, (bytes, code, rule)) in rows.iter().enumerate() {
        let name = format!("bad-{number}");
        let mut client = connect(&broker, &name);
        client.websocket().send_raw(bytes);
        client.websocket().send_raw(&frame(FINAL | BINARY, b"more that nobody reads"));
        client.expect_closed();
        let close = (CLOSE, code.to_be_bytes().to_vec());
        assert_eq!(client.websocket().heard, [close], "{bytes:02x?}");
        bystander.ping();
        let lines = broker.log().with(&name).into_iter().filter(|l| l.contains("disconnected"));
        let lines: Vec<String> = lines.collect();
        assert!(lines.len() == 1, "{lines:?}");
        assert!(lines[0].contains(rule) || *rule == "flags", "{lines:?}");
    }
}

/// Both come in one read: what was right is answered, although the turn ends behind the Close.
#[test]
fn what_came_before_a_violation_is_acknowledged() {
    let broker = start();
    let mut client = connect(&broker, "half-right");
    client.ping();
    let right = frame(FINAL | BINARY, &publish("t", "x", 1, 1).encode());
    let wrong = frame(FINAL | BINARY, &[0xff, 0xff]);
    client.websocket().send_raw(&[right, wrong].concat());
    client.expect("puback 1");
    client.expect_closed();
    assert_eq!(client.websocket().heard, [(CLOSE, 1000_u16.to_be_bytes().to_vec())]);
}

/// The server closes the connection below, whoever closes the WebSocket first.
#[test]
fn both_sides_take_leave() {
    let broker = start();
    let mut watcher = connect(&broker, "watcher");
    subscribe(&mut watcher, "will", 0);
    let mut closes = connect(&broker, "closes");
    closes.websocket().send_raw(&frame(FINAL | CLOSE, &[3, 0xe9, b'b', b'y', b'e']));
    closes.expect_closed();
    assert_eq!(closes.websocket().heard, [(CLOSE, vec![3, 0xe9])], "the same code");
    let mut disconnects = connect(&broker, "disconnects");
    disconnects.send(&Packet::Disconnect);
    disconnects.websocket().send_raw(&frame(FINAL | CLOSE, &[3, 0xe8]));
    disconnects.expect_closed();
    assert_eq!(disconnects.websocket().heard, [(CLOSE, vec![3, 0xe8])], "once");
    let connect = Connect { will: Some(Publish::new("will", "gone")), ..Connect::new("leaves") };
    let mut leaves = Client::open_websocket(broker.address()).introduce(connect);
    leaves.websocket().send_raw(&frame(FINAL | CLOSE, &[]));
    leaves.expect_closed();
    // A Close is no DISCONNECT [MQTT-3.1.2-8].
    watcher.expect("publish will \"gone\"");
    let mut taken_over = Client::open_websocket(broker.address()).introduce(Connect::new("same"));
    let _successor = Client::open_websocket(broker.address()).introduce(Connect::new("same"));
    taken_over.expect_closed();
    assert_eq!(taken_over.websocket().heard, [(CLOSE, vec![3, 0xe8])]);
}

#[test]
fn an_orderly_stop_takes_leave_of_everybody() {
    let mut broker = start();
    let mut clients: Vec<Client> = (0..10).map(|n| connect(&broker, &format!("c{n}"))).collect();
    broker.restart();
    for client in &mut clients {
        client.expect_closed();
        assert_eq!(client.websocket().heard, [(CLOSE, vec![3, 0xe8])]);
    }
    connect(&broker, "afterwards").ping();
}

/// The sub-protocol that is agreed to is mqtt [MQTT-6.0.0-4].
#[test]
fn whoever_is_refused_is_told_why_and_the_log_too() {
    let broker = start_with(websocket::Settings {
        origins: [Box::from("https://good.example")].into(),
        request_bytes_max: 2048,
        ..websocket::Settings::default()
    });
    let origin = format!("{SUB_PROTOCOL}Origin: https://evil.example\r\n");
    let rows = [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "426 ", "upgrade"),
        ("POST / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "405 ", "GET"),
        (request("Sec-WebSocket-Protocol: chat\r\n"), "400 ", "sub-protocol mqtt"),
        (request(&origin), "403 ", "evil.example"),
        (request(&format!("A: {}\r\n", "x".repeat(3000))), "431 ", "too long"),
        ("\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01c".to_owned(), "", "over WebSocket only"),
        ("\x16\x03\x01\x02\0".to_owned(), "", "this is TLS"),
    ];
    for (request, status, reason) in rows {
        let mut tcp = tcp(broker.address()).expect("it listens");
        let client = tcp.local_addr().expect("an address").to_string();
        tcp.write_all(request.as_bytes()).expect("it reads");
        let answer = head(&mut tcp);
        let expected = if status.is_empty() { "" } else { &format!("HTTP/1.1 {status}") };
        assert!(answer.starts_with(expected), "{answer} instead of {status}");
        tcp.shutdown(Shutdown::Write).expect("a socket of ours");
        let mut rest = Vec::new();
        tcp.read_to_end(&mut rest).expect("it closes in order");
        let lines = broker.log().with(&client);
        let lines = lines.iter().filter(|line| line.contains("disconnected")).count();
        assert!(lines == 1 && broker.log().with(&client).concat().contains(reason), "{reason}");
    }
    let good = request(&origin.replace("evil", "good"));
    let tcp = tcp(broker.address()).expect("it listens");
    let websocket = Stream::WebSocket(Box::new(WebSocket::over(tcp, &good)));
    Client::over(websocket).introduce(Connect::new("page")).ping();
}

#[test]
fn who_opens_no_websocket_is_closed_in_time() {
    let mut settings = settings();
    settings.listeners[0].0.websocket = Some(websocket::Settings::default());
    settings.connect_timeout = Duration::from_millis(300);
    let broker = Running::start(settings);
    let mut silent = tcp(broker.address()).expect("it listens");
    let mut halting = tcp(broker.address()).expect("it listens");
    halting.write_all(b"GET / HTTP/1.1\r\n").expect("it reads");
    let mut speechless = Client::open_websocket(broker.address());
    for stream in [&mut silent, &mut halting] {
        assert_eq!(stream.read(&mut [0; 10]).expect("it closes in order"), 0);
    }
    speechless.expect_closed();
    assert_eq!(broker.log().with("connect timeout").len(), 3);
    let late = &broker.driver().traffic.connect_timeouts;
    assert_eq!(late.load(std::sync::atomic::Ordering::Relaxed), 3);
}

/// Behind a proxy that is believed, a client has its own address.
#[test]
fn clients_of_a_proxy_are_known_by_their_own_address() {
    let proxies = "127.0.0.1".parse().expect("a proxy");
    let broker = start_with(websocket::Settings { proxies, ..websocket::Settings::default() });
    let forwarded = request(&format!("{SUB_PROTOCOL}X-Forwarded-For: 192.0.2.7\r\n"));
    let tcp = tcp(broker.address()).expect("it listens");
    let websocket = Stream::WebSocket(Box::new(WebSocket::over(tcp, &forwarded)));
    Client::over(websocket).introduce(Connect::new("forwarded")).ping();
    let lines = broker.log().with("as forwarded");
    assert!(lines.len() == 1 && lines[0].contains("192.0.2.7:0"), "{lines:?}");
}

/// Frames with flipped bits hurt nobody but who sent them.
#[test]
fn random_frames_hurt_nobody_else() {
    let broker = start();
    let mut bystander = connect(&broker, "bystander");
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    for round in 0..300 {
        let name = format!("random-{round}");
        let mut client = Client::open_websocket(broker.address());
        let mut bytes = Vec::new();
        for (number, piece) in conversation(&name).chunks(1 + random() % 40).enumerate() {
            bytes.extend(frame(FINAL | BINARY, piece));
            if number % 3 == 1 {
                bytes.extend(frame(FINAL | PING, b"?"));
            }
        }
        for _ in 0..random() % 4 {
            let at = random() % bytes.len();
            bytes[at] ^= 1 << (random() % 8);
        }
        client.websocket().send_raw(&bytes);
        client.finish();
        while let Heard::Packet(_) = client.hear() {}
        bystander.ping();
    }
}
