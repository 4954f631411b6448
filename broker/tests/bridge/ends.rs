//! Either broker is killed while messages cross, again and again: nothing is lost, and what was
//! sent at QoS 2 comes once.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::process::Signal;

use crate::broker::{Broker, Wire};
use crate::raw::client::{Client, Heard};
use crate::raw::{AckKind, Connect, Id, Packet, Publish};
use crate::talk::kept;

/// How often somebody is killed.
const ROUNDS: usize = 8;
/// Packets that the hearer hears before the next end.
const BETWEEN: usize = 300;

#[test]
fn killed_in_turn_while_messages_go_out_they_lose_nothing() {
    siege("# out 2", Side::Near);
}

#[test]
fn killed_in_turn_while_messages_come_in_they_lose_nothing() {
    siege("# in 2", Side::Far);
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Near,
    Far,
}

/// Publishes at one side and hears at the other one, while one broker after the other is killed and
/// the wire is cut.
fn siege(topic: &str, from: Side) {
    let mut far = Broker::start("");
    let wire = Wire::to(far.address());
    let mut near = Broker::start(&format!(
        "[[bridge]]\nname = 'b'\nremote_client_id = 'g'\naddresses = ['127.0.0.1:{}']\n\
         topics = ['{topic}']\nrestart = '1'\nnotifications = false\n",
        wire.port()
    ));
    let mut publisher = Publisher::default();
    let mut hearer = Hearer::default();
    // Both sessions are there before anything is published: what nobody wants is not kept.
    let hears_at = if from == Side::Near { far.address() } else { near.address() };
    drop(kept(hears_at, "hearer", "load/#", 2));
    near.said().wait_for("is connected to", 1);
    for round in 0..ROUNDS {
        let (says_at, hears_at) = match from {
            Side::Near => (near.address(), far.address()),
            Side::Far => (far.address(), near.address()),
        };
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let _stopping = Stop(&stop);
            scope.spawn(|| publisher.publish(says_at, &stop));
            hearer.listen(hears_at, BETWEEN, "");
            match round % 3 {
                0 => far.end(Signal::KILL),
                1 => near.end(Signal::KILL),
                _ => wire.cut(),
            }
        });
        match round % 3 {
            0 => far.start_again(),
            1 => near.start_again(),
            _ => {}
        }
        wire.lead(far.address());
    }
    let (says_at, hears_at) = match from {
        Side::Near => (near.address(), far.address()),
        Side::Far => (far.address(), near.address()),
    };
    publisher.finish(says_at);
    publisher.begin_last();
    publisher.finish(says_at);
    hearer.listen(hears_at, usize::MAX, "load/last");
    settle(&publisher, &hearer.heard);
}

/// Lets the publisher end, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A subscriber that keeps the rules of QoS 2 from one connection to the next.
#[derive(Default)]
struct Hearer {
    heard: Vec<String>,
    /// Ids of messages that it has, and whose PUBREL has not come [MQTT-4.3.3-2].
    received: HashSet<u16>,
}

impl Hearer {
    /// Hears so many packets, or until the connection ends, or until this topic.
    fn listen(&mut self, address: SocketAddr, packets: usize, last: &str) {
        let mut client = kept(address, "hearer", "load/#", 2);
        for _ in 0..packets {
            match client.hear() {
                Heard::Packet(Packet::Publish(message)) => {
                    self.take(&message);
                    let ack = if message.qos == 1 { AckKind::PubAck } else { AckKind::PubRec };
                    client.send(&Packet::Ack(ack, message.id.clone()));
                    if message.topic == last {
                        return;
                    }
                }
                Heard::Packet(Packet::Ack(AckKind::PubRel, id)) => {
                    self.received.remove(&id.get());
                    client.send(&Packet::Ack(AckKind::PubComp, id));
                }
                Heard::Closed => return,
                other => panic!("{other:?}"),
            }
        }
    }

    fn take(&mut self, message: &Publish) {
        if message.qos == 1 || self.received.insert(message.id.get()) {
            let payload = String::from_utf8_lossy(&message.payload);
            self.heard.push(format!("{} {payload} q{}", message.topic, message.qos));
        }
    }
}

fn settle(publisher: &Publisher, heard: &[String]) {
    let mut times: HashMap<&str, usize> = HashMap::new();
    for message in heard {
        *times.entry(message.as_str()).or_default() += 1;
    }
    let mut wrongs = Vec::new();
    for (qos, number) in &publisher.acknowledged {
        let name = format!("load/{qos} {number} q{qos}");
        let found = times.get(name.as_str()).copied().unwrap_or(0);
        if found == 0 || (*qos == 2 && found != 1) {
            wrongs.push(format!("{name}: {found} times"));
        }
    }
    let count = publisher.acknowledged.len();
    assert!(count > ROUNDS * BETWEEN / 2, "little was tested: {count} acknowledged");
    assert!(wrongs.is_empty(), "{wrongs:#?}");
    let newest: Vec<usize> = heard
        .iter()
        .filter_map(|message| message.strip_prefix("load/2 ")?.split(' ').next()?.parse().ok())
        .collect();
    assert!(newest.is_sorted(), "QoS 2 comes in order");
}

/// Sends one message after the other, and keeps it until it is acknowledged.
#[derive(Default)]
struct Publisher {
    number: usize,
    /// The message that is open, and whether PUBREC came.
    open: Option<(Publish, bool)>,
    acknowledged: Vec<(u8, usize)>,
}

impl Publisher {
    fn publish(&mut self, address: SocketAddr, stop: &AtomicBool) {
        let Some(mut client) = connect(address) else { return };
        while !stop.load(Ordering::SeqCst) {
            if self.complete(&mut client).is_none() {
                return;
            }
            self.begin(if self.number.is_multiple_of(2) { 2 } else { 1 });
        }
    }

    fn finish(&mut self, address: SocketAddr) {
        let mut client = connect(address).expect("a broker that runs");
        self.complete(&mut client).expect("a broker that runs");
    }

    fn begin(&mut self, qos: u8) {
        self.number += 1;
        let id = Id::Number(1 + (self.number % 60_000) as u16);
        let payload = self.number.to_string();
        let message = Publish { qos, id, ..Publish::new(&format!("load/{qos}"), payload) };
        self.open = Some((message, false));
    }

    fn begin_last(&mut self) {
        let message = Publish { qos: 1, id: Id::Number(65_000), ..Publish::new("load/last", "0") };
        self.open = Some((message, false));
        self.number = usize::MAX;
    }

    /// Sends what is open until it is acknowledged; `None`: the connection ended first.
    fn complete(&mut self, client: &mut Client) -> Option<()> {
        let Some((message, received)) = &mut self.open else { return Some(()) };
        let (id, qos) = (message.id.clone(), message.qos);
        client.send(&match received {
            false => Packet::Publish(message.clone()),
            true => Packet::Ack(AckKind::PubRel, id.clone()),
        });
        message.dup = true;
        loop {
            match client.hear() {
                Heard::Packet(Packet::Ack(AckKind::PubRec, _)) => {
                    *received = true;
                    client.send(&Packet::Ack(AckKind::PubRel, id.clone()));
                }
                Heard::Packet(Packet::Ack(AckKind::PubAck | AckKind::PubComp, _)) => break,
                Heard::Closed => return None,
                other => panic!("{other:?}"),
            }
        }
        if message.topic != "load/last" {
            self.acknowledged.push((qos, self.number));
        }
        self.open = None;
        Some(())
    }
}

fn connect(address: SocketAddr) -> Option<Client> {
    let mut client = Client::try_open(address).ok()?;
    let connect = Connect { clean: false, ..Connect::new("publisher") };
    client.send(&Packet::Connect(Box::new(connect)));
    match client.hear() {
        Heard::Packet(Packet::ConnAck { code: 0, .. }) => Some(client),
        Heard::Closed => None,
        other => panic!("{other:?}"),
    }
}
