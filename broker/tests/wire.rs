//! What a broker must take from the network: bad bytes, slow readers, silence, packets in pieces.
//! Real sockets; nothing here is decided by how long it takes.

#![allow(missing_docs, unreachable_pub, reason = "a test")]

mod raw;
mod running;

use std::sync::atomic::Ordering;
use std::time::Duration;

use martlet::access::{self, Policy};
use martlet_engine::counters::Bound;
use raw::client::{Client, Heard};
use raw::{AckKind, Connect, Id, Packet, Publish};
use running::{Running, settings};

fn publish(topic: &str, payload: impl Into<Vec<u8>>, qos: u8, id: u16) -> Packet {
    let id = if qos > 0 { Id::Number(id) } else { Id::None };
    Packet::Publish(Publish { qos, id, ..Publish::new(topic, payload) })
}

impl running::Log {
    /// The lines about this client's end.
    fn ends(&self, client: &Client) -> Vec<String> {
        self.with(&format!("{}] disconnected", client.address()))
    }
}

fn subscribe(client: &mut Client, filter: &str, qos: u8) {
    client.send(&Packet::Subscribe { id: Id::Number(1), filters: vec![(filter.into(), qos)] });
    client.expect(&format!("suback 1 {qos}"));
}

/// Any client of 3.1.1 over TCP is served, without an extension of ours [MQTT-7.0.0-2]
/// [MQTT-7.1.1-1]; bad bytes close the connection they came on, and no other [MQTT-4.8.0-1]
/// [MQTT-4.8.0-2].
#[test]
fn bad_bytes_close_one_connection_and_leave_one_line_in_the_log() {
    let broker = Running::start(settings());
    let mut bystander = Client::connect(broker.address(), "bystander");
    subscribe(&mut bystander, "t", 1);
    let rows: &[(&[u8], &str)] = &[
        (&[0x00, 0x00], ""),
        (&[0xf0, 0x00], ""),
        (&[0x30, 0xff, 0xff, 0xff, 0xff], ""),
        (&[0x36, 0x05, 0, 1, b't', 0, 1], "MQTT-3.3.1-4"),
        (&[0x30, 0x04, 0, 1, b'#', b'x'], "MQTT-3.3.2-2"),
        (&[0x30, 0x04, 0, 1, 0xff, b'x'], "MQTT-3.3.2-1"),
        (&[0x30, 0x02, 0, 0], "MQTT-4.7.3-1"),
        (&[0x32, 0x06, 0, 1, b't', 0, 0, b'x'], "MQTT-2.3.1-1"),
        (&[0x80, 0x06, 0, 1, 0, 1, b't', 0], "MQTT-3.8.1-1"),
        (&[0x82, 0x02, 0, 1], "MQTT-3.8.3-3"),
        (&[0xc1, 0x00], "MQTT-2.2.2-2"),
        (&[0x10, 0x0d, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 0, 0, 1, b'a'], "MQTT-3.1.0-2"),
        (&[0x20, 0x02, 0, 0], ""),
    ];
    for (number, (bytes, rule)) in rows.iter().enumerate() {
        let mut client = Client::connect(broker.address(), &format!("bad-{number}"));
        client.send_bytes(bytes);
        client.expect_closed();
        bystander.ping();
        let ends = broker.log().ends(&client);
        assert_eq!(ends.len(), 1, "{bytes:02x?}: {ends:#?}");
        assert!(ends[0].contains(&format!("bad-{number}")), "who: {}", ends[0]);
        assert!(ends[0].contains(rule), "{rule}: {}", ends[0]);
    }
    bystander.send(&publish("t", "still here", 1, 9));
    let answers = [bystander.expect_packet(), bystander.expect_packet()].map(|p| p.to_string());
    assert!(answers.contains(&"puback 9".to_owned()), "{answers:?}");
}

#[test]
fn what_is_no_connect_is_closed_with_one_line() {
    let broker = Running::start(settings());
    let rows: &[&[u8]] = &[
        &[0xc0, 0x00],
        &[0x30, 0x03, 0, 1, b't'],
        b"GET / HTTP/1.1\r\nHost: martlet\r\n\r\n",
        &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc],
        &[0x10, 0x06, 0, 4, b'M', b'Q', b'T', b'T'],
        &[0x00],
        &[0xff; 100],
    ];
    for bytes in rows {
        let mut client = Client::open(broker.address());
        client.send_bytes(bytes);
        client.expect_closed();
        assert_eq!(broker.log().ends(&client).len(), 1, "{bytes:02x?}");
    }
}

#[test]
fn random_bytes_hurt_nobody_else() {
    let broker = Running::start(settings());
    let mut bystander = Client::connect(broker.address(), "bystander");
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..300 {
        let connected = round % 2 == 0;
        let mut client = Client::open(broker.address());
        if connected {
            client.send(&Packet::Connect(Box::new(Connect::new(&format!("random-{round}")))));
        }
        let len = random() % 64;
        let bytes: Vec<u8> = (0..len).map(|_| random() as u8).collect();
        client.send_bytes(&bytes);
        client.finish();
        while let Heard::Packet(_) = client.hear() {}
        bystander.ping();
    }
}

#[test]
fn the_log_names_the_port_that_the_system_chose() {
    let broker = Running::start(settings());
    let _client = Client::connect(broker.address(), "c");
    let lines = broker.log().with("New connection from");
    let port = format!("on port {}.", broker.address().port());
    assert!(lines.len() == 1 && lines[0].contains(&port), "{lines:?}");
}

/// Only level 5 is answered in 5.0's form; the conversations have the others [MQTT-3.1.2-2].
#[test]
fn a_client_of_5_0_can_read_why_it_is_refused() {
    let broker = Running::start(settings());
    let mut client = Client::open(broker.address());
    client.send_bytes(b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x01c");
    assert!(client.expect_packet() == Packet::Bytes(vec![0x20, 3, 0, 0x84, 0]));
    client.expect_closed();
    assert_eq!(broker.driver().traffic.connects_refused.load(Ordering::Relaxed), 1);
}

#[test]
fn packets_may_come_byte_by_byte() {
    let broker = Running::start(settings());
    let mut client = Client::open(broker.address());
    let packets = [
        Packet::Connect(Box::new(Connect::new("slow"))),
        Packet::Subscribe { id: Id::Number(1), filters: vec![("t/#".into(), 0)] },
        publish("t/x", "piecemeal", 0, 0),
        Packet::PingReq,
    ];
    for byte in packets.iter().flat_map(Packet::encode) {
        client.send_bytes(&[byte]);
    }
    client.expect("connack 0");
    client.expect("suback 1 0");
    client.expect("publish t/x \"piecemeal\"");
    client.expect("pingresp");
}

#[test]
fn many_packets_may_come_in_one_write() {
    let broker = Running::start(settings());
    let mut client = Client::open(broker.address());
    let mut bytes = Packet::Connect(Box::new(Connect::new("burst"))).encode();
    for id in 1..=5000 {
        bytes.extend(publish("t", id.to_string(), 1, id).encode());
    }
    client.send_bytes(&bytes);
    client.expect("connack 0");
    for id in 1..=5000 {
        client.expect(&format!("puback {id}"));
    }
}

#[test]
fn payloads_arrive_whole_at_every_length_of_length() {
    let broker = Running::start(settings());
    let mut client = Client::connect(broker.address(), "large");
    subscribe(&mut client, "t", 0);
    for around in [127, 16_383, 2_097_151_usize, 9_999_000] {
        for size in around - 6..around + 3 {
            let payload: Vec<u8> = (0..size).map(|at| (at * 31 % 251) as u8).collect();
            let sent = publish("t", payload, 0, 0);
            client.send(&sent);
            assert!(client.expect_packet() == sent, "{size} bytes");
        }
    }
}

#[test]
fn a_packet_over_the_limit_closes_its_connection_and_says_so() {
    let mut settings = settings();
    settings.decode_limits.packet_size_max = 1000;
    let broker = Running::start(settings);
    let mut client = Client::connect(broker.address(), "oversize");
    client.send(&publish("t", vec![b'x'; 990], 1, 1));
    client.expect("puback 1");
    client.send(&publish("t", vec![b'x'; 2000], 1, 2));
    client.expect_closed();
    let lines = broker.log().with("oversize packet");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("1000"), "{lines:?}");
}

#[test]
fn a_connect_may_be_large_and_no_larger() {
    let broker = Running::start(settings());
    let large = |password: usize| {
        let will = Some(Publish::new(&"w".repeat(1000), vec![b'x'; 65_535]));
        let (user, password) = (Some("u".repeat(1000)), Some("p".repeat(password)));
        Connect { will, user, password, ..Connect::new(&"c".repeat(1000)) }
    };
    Client::connect_as(broker.address(), large(60_000)).ping();
    let mut stranger = Client::open(broker.address());
    let bytes = Packet::Connect(Box::new(large(65_000))).encode();
    stranger.send_bytes(&bytes[..100]); // what it announces is enough
    stranger.expect_closed();
    assert_eq!(broker.log().with("CONNECT packet of more than 131072 bytes").len(), 1);
}

#[test]
fn a_slow_reader_does_not_hold_up_the_others() {
    const MESSAGES: u32 = 3000;
    let broker = Running::start(settings());
    let mut sleeper = Client::connect(broker.address(), "sleeper");
    subscribe(&mut sleeper, "t", 0);
    let mut reader = Client::connect(broker.address(), "reader");
    subscribe(&mut reader, "t", 0);
    let mut publisher = Client::connect(broker.address(), "publisher");
    // Far more than sockets and outbox hold.
    for number in 0..MESSAGES {
        let mut payload = vec![b'x'; 10_000];
        payload[..4].copy_from_slice(&number.to_be_bytes());
        publisher.send(&publish("t", payload, 0, 0));
        let Packet::Publish(got) = reader.expect_packet() else { panic!("a PUBLISH") };
        assert_eq!(got.payload[..4], number.to_be_bytes(), "in order, none lost");
    }
    publisher.ping();
    // The sleeper wakes: it has lost some, and is served on.
    sleeper.send(&Packet::PingReq);
    let mut last = None;
    let mut received = 0;
    while let Packet::Publish(got) = sleeper.expect_packet() {
        let number = u32::from_be_bytes([0, 1, 2, 3].map(|at| got.payload[at]));
        assert!(last < Some(number), "in order");
        last = Some(number);
        received += 1;
    }
    assert!(received < MESSAGES, "what did not fit was dropped");
    let dropping = broker.log().with("sleeper").into_iter().filter(|l| l.contains("dropped"));
    assert_eq!(dropping.count(), 1, "and said so once");
}

#[test]
fn what_was_on_its_way_at_qos_0_to_a_client_that_goes_is_counted() {
    const MESSAGES: u64 = 2_000;
    let broker = Running::start(settings());
    let mut sleeper = Client::connect(broker.address(), "sleeper");
    subscribe(&mut sleeper, "t", 0);
    let mut publisher = Client::connect(broker.address(), "publisher");
    // Far more than sockets and outbox hold.
    for _ in 0..MESSAGES {
        publisher.send(&publish("t", vec![b'x'; 10_000], 0, 0));
    }
    publisher.ping();
    drop(sleeper);
    let lost = || broker.driver().traffic.messages_unsent.load(Ordering::Relaxed);
    while lost() == 0 {
        std::thread::yield_now();
    }
    let dropped = broker.driver().numbers().counters.dropped(Bound::Outbox);
    assert!(dropped > 0 && dropped + lost() < MESSAGES, "{dropped} and {}", lost());
}

#[test]
fn a_slow_reader_at_qos_1_gets_everything_in_order() {
    const MESSAGES: u16 = 900;
    let broker = Running::start(settings());
    let mut sleeper = Client::connect(broker.address(), "sleeper");
    subscribe(&mut sleeper, "t", 1);
    let mut publisher = Client::connect(broker.address(), "publisher");
    for number in 1..=MESSAGES {
        publisher.send(&publish(
            "t",
            [&number.to_be_bytes()[..], &[b'x'; 5000]].concat(),
            1,
            number,
        ));
        publisher.expect(&format!("puback {number}"));
    }
    for number in 1..=MESSAGES {
        let Packet::Publish(got) = sleeper.expect_packet() else { panic!("a PUBLISH") };
        assert_eq!(got.payload[..2], number.to_be_bytes());
        sleeper.send(&Packet::Ack(AckKind::PubAck, got.id));
    }
    sleeper.ping();
}

/// A client that does not take its own acknowledgements is not read from, and gets them all later.
#[test]
fn a_client_that_reads_none_of_its_answers_gets_them_later() {
    const MESSAGES: u32 = 300_000;
    let broker = Running::start(settings());
    let mut client = Client::connect(broker.address(), "deaf");
    let mut bystander = Client::connect(broker.address(), "bystander");
    let batch: Vec<u8> = (1..=100).flat_map(|id| publish("t", "x", 1, id).encode()).collect();
    let mut mouth = client.mouth();
    let speaker = std::thread::spawn(move || {
        for _ in 0..MESSAGES / 100 {
            mouth.send_bytes(&batch);
        }
    });
    for _ in 0..100 {
        bystander.ping();
    }
    for number in 0..MESSAGES {
        client.expect(&format!("puback {}", number % 100 + 1));
    }
    speaker.join().expect("all was sent");
}

#[test]
fn who_sends_no_connect_is_closed_in_time() {
    let mut settings = settings();
    settings.connect_timeout = Duration::from_millis(200);
    let broker = Running::start(settings);
    let mut silent = Client::open(broker.address());
    let mut halting = Client::open(broker.address());
    halting.send_bytes(&[0x10, 0x0d, 0, 4, b'M']);
    let mut decent = Client::connect(broker.address(), "decent");
    silent.expect_closed();
    halting.expect_closed();
    decent.ping();
    for client in [silent, halting] {
        let lines = broker.log().ends(&client);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("connect timeout"), "{lines:?}");
    }
}

/// A peer whose cable was cut says nothing any more: its keep-alive finds it [MQTT-3.1.2-24].
#[test]
fn a_half_open_peer_is_found_by_its_keep_alive() {
    let broker = Running::start(settings());
    let mut watcher = Client::connect(broker.address(), "watcher");
    subscribe(&mut watcher, "will", 0);
    let will = Some(Publish::new("will", "silent"));
    let connect = Connect { keep_alive_s: 1, will, ..Connect::new("half-open") };
    let mut client = Client::connect_as(broker.address(), connect);
    watcher.expect("publish will \"silent\"");
    client.expect_closed();
    assert_eq!(broker.log().with("half-open").len(), 2, "one line for coming, one for going");
}

#[test]
fn who_may_not_come_in_is_told_so_and_nothing_more() {
    let mut settings = settings();
    let shut = Policy::load(&access::Settings::default()).expect("no files");
    settings.listeners[0].1 = shut.into();
    let broker = Running::start(settings);
    let mut client = Client::open(broker.address());
    client.send(&Packet::Connect(Box::new(Connect::new("stranger"))));
    client.expect("connack 5");
    client.expect_closed();
    let lines = broker.log().with("stranger");
    assert_eq!(lines.len(), 2, "one line says why, and one of mosquitto's that it goes: {lines:?}");
    assert!(lines[0].contains("anonymous"), "{lines:?}");
    assert!(lines[1].contains("disconnected: not authorised"), "{lines:?}");
}

#[test]
fn connections_over_the_bound_wait_their_turn() {
    let mut settings = settings();
    settings.connections_max = 2;
    let broker = Running::start(settings);
    let mut first = Client::connect(broker.address(), "first");
    let mut second = Client::connect(broker.address(), "second");
    let mut third = Client::open(broker.address());
    third.send(&Packet::Connect(Box::new(Connect::new("third"))));
    first.ping();
    second.ping();
    assert_eq!(broker.log().so_far("as third").len(), 0);
    first.send(&Packet::Disconnect);
    first.expect_closed();
    third.expect("connack 0");
    second.ping();
    let mut fourth = Client::open(broker.address());
    fourth.send(&Packet::Connect(Box::new(Connect::new("fourth"))));
    second.send(&Packet::Disconnect);
    fourth.expect("connack 0");
    assert_eq!(broker.log().with("connections_max is reached").len(), 1, "said once");
}

#[test]
fn an_orderly_stop_closes_every_connection_and_loses_no_answer() {
    let mut broker = Running::start(settings());
    let mut clients: Vec<Client> =
        (0..20).map(|n| Client::connect(broker.address(), &format!("c{n}"))).collect();
    for client in &mut clients {
        client.send(&publish("t", "x", 1, 7));
        client.expect("puback 7");
    }
    broker.restart();
    for client in &mut clients {
        client.expect_closed();
    }
    Client::connect(broker.address(), "afterwards").ping();
}
