//! What clients do to a broker that mean no good, or that are many: nobody else notices, nothing
//! that was acknowledged is lost, and nothing is left behind.

#![allow(missing_docs, unreachable_pub, reason = "a test")]

mod raw;
mod running;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use martlet_engine::limits::Limits;

use crate::raw::client::{Client, Heard};
use crate::raw::{AckKind, Connect, Id, Packet, Publish};
use crate::running::{Running, settings};

/// Longer than anything takes unless it is broken.
const PATIENCE: Duration = Duration::from_secs(20);

fn publish(topic: &str, payload: impl Into<Vec<u8>>, qos: u8, id: u16) -> Packet {
    let id = if qos == 0 { Id::None } else { Id::Number(id) };
    Packet::Publish(Publish { qos, id, ..Publish::new(topic, payload) })
}

fn subscribe(client: &mut Client, filter: &str, qos: u8) {
    let filters = vec![(filter.to_owned(), qos)];
    client.send(&Packet::Subscribe { id: Id::Number(1), filters });
    client.expect(&format!("suback 1 {qos}"));
}

/// What a client owes for this packet.
fn answer(packet: &Packet) -> Option<Packet> {
    let (kind, id) = match packet {
        Packet::Publish(publish) if publish.qos == 1 => (AckKind::PubAck, &publish.id),
        Packet::Publish(publish) if publish.qos == 2 => (AckKind::PubRec, &publish.id),
        Packet::Ack(AckKind::PubRec, id) => (AckKind::PubRel, id),
        Packet::Ack(AckKind::PubRel, id) => (AckKind::PubComp, id),
        _ => return None,
    };
    Some(Packet::Ack(kind, id.clone()))
}

/// Small clients write all they have before they read. What they have subscribed to themselves must
/// not keep the broker from reading on.
#[test]
fn a_client_may_write_before_it_reads() {
    const MESSAGES: usize = 1000;
    let broker = Running::start(settings());
    let mut client = Client::connect(broker.address(), "echo");
    subscribe(&mut client, "t", 0);
    let mut mouth = client.mouth();
    let (say, said) = mpsc::sync_channel(1);
    let speaker = thread::spawn(move || {
        // Far more than sockets and outbox hold.
        for _ in 0..MESSAGES {
            mouth.send(&publish("t", [b'x'; 20_000], 0, 0));
        }
        mouth.send(&Packet::PingReq);
        say.send(()).expect("the test waits");
    });
    said.recv_timeout(PATIENCE).expect("the broker reads while messages wait");
    speaker.join().expect("all was sent");
    let mut received = 0;
    while let Packet::Publish(_) = client.expect_packet() {
        received += 1;
    }
    assert!(0 < received && received < MESSAGES, "{received}: what did not fit was dropped");
}

/// QoS 1 here: at least once is once, as long as no connection breaks.
#[test]
fn under_load_every_message_arrives_once_and_in_order() {
    const PUBLISHERS: u8 = 3;
    const MESSAGES: u16 = 1000;
    let mut settings = settings();
    settings.driver.outbox_bytes_max = 4096;
    settings.driver.limits = Limits {
        queue_messages_max: 0,
        inflight_max: 7,
        sys_interval_s: 0,
        ..settings.driver.limits
    };
    let broker = Running::start(settings);
    let address = broker.address();
    let subscriber = |clean| {
        let name = format!("subscriber {clean}");
        let mut client = Client::connect_as(address, Connect { clean, ..Connect::new(&name) });
        subscribe(&mut client, "from/+", 2);
        thread::spawn(move || {
            let mut last = [0; PUBLISHERS as usize];
            while last != [MESSAGES; PUBLISHERS as usize] {
                let packet = client.expect_packet();
                if let Packet::Publish(got) = &packet {
                    let number = u16::from_be_bytes([got.payload[1], got.payload[2]]);
                    let last = &mut last[usize::from(got.payload[0])];
                    assert_eq!(number, *last + 1, "of publisher {}", got.payload[0]);
                    *last = number;
                }
                answer(&packet).iter().for_each(|answer| client.send(answer));
            }
        })
    };
    let subscribers = [subscriber(true), subscriber(false)];
    let publisher = |number: u8| {
        let mut client = Client::connect(address, &format!("publisher {number}"));
        thread::spawn(move || {
            let (topic, qos) = (format!("from/{number}"), 1 + number % 2);
            let mut settled = 0;
            for first in (1..=MESSAGES).step_by(50) {
                for id in first..first + 50 {
                    let payload = [[number].as_slice(), &id.to_be_bytes()].concat();
                    client.send(&publish(&topic, payload, qos, id));
                }
                while settled < first + 49 {
                    let packet = client.expect_packet();
                    match answer(&packet) {
                        Some(answer) => client.send(&answer),
                        None => settled += 1,
                    }
                }
            }
        })
    };
    let publishers: Vec<_> = (0..PUBLISHERS).map(publisher).collect();
    for thread in publishers.into_iter().chain(subscribers) {
        thread.join().expect("no assertion failed");
    }
}

#[test]
fn storms_leave_nothing_behind() {
    const THREADS: u8 = 4;
    const ROUNDS: u16 = 100;
    let broker = Running::start(settings());
    let address = broker.address();
    let mut bystander = Client::connect(address, "bystander");
    subscribe(&mut bystander, "will", 0);
    let storm = |number: u8| {
        thread::spawn(move || {
            for round in 0..ROUNDS {
                // All under one name, so that they take each other's session over.
                let connect = Connect {
                    clean: round % 3 == 0,
                    will: Some(Publish::new("will", "gone")),
                    ..Connect::new("same")
                };
                let mut client = Client::open(address);
                client.send(&Packet::Connect(Box::new(connect)));
                let filters = vec![(format!("storm/{number}/+"), 1), ("storm/#".to_owned(), 2)];
                client.send(&Packet::Subscribe { id: Id::Number(7), filters });
                client.send(&publish("storm/1/x", "x", round as u8 % 3, 9));
                match round % 4 {
                    0 => client.send(&Packet::Disconnect),
                    1 => client.finish(),
                    2 => drop(client.hear()),
                    _ => {}
                }
            }
        })
    };
    let storms: Vec<_> = (0..THREADS).map(storm).collect();
    for thread in storms {
        thread.join().expect("no assertion failed");
    }
    while let Heard::Packet(Packet::Publish(_)) = {
        bystander.send(&Packet::PingReq);
        bystander.hear()
    } {}
    // Some talk on while the broker stops.
    let mut floods: Vec<_> = (0..THREADS)
        .map(|number| {
            let mut client = Client::connect(address, &format!("flood {number}"));
            subscribe(&mut client, "flood", 1);
            thread::spawn(move || {
                for id in 1.. {
                    client.send(&publish("flood", "x", 1, id % 999 + 1));
                    match client.hear() {
                        Heard::Packet(packet) => {
                            answer(&packet).iter().for_each(|answer| client.send(answer));
                        }
                        Heard::Closed => break,
                        Heard::Silence => panic!("it neither answers nor closes"),
                    }
                }
            })
        })
        .collect();
    let driver = broker.driver();
    drop(bystander);
    drop(broker);
    for thread in floods.drain(..) {
        thread.join().expect("no assertion failed");
    }
    let traffic = &driver.traffic;
    let accepted = traffic.sockets_accepted.load(Ordering::Relaxed);
    assert_eq!(traffic.sockets_closed.load(Ordering::Relaxed), accepted);
    assert!(accepted > u64::from(ROUNDS) * u64::from(THREADS));
    assert_eq!(Arc::strong_count(&driver), 1, "no connection holds on to it");
}
