//! Clients that say and hear what the tests want.

use std::net::SocketAddr;

use crate::raw::client::{Client, Heard};
use crate::raw::{AckKind, Connect, Id, Packet, Publish};

/// A client with this subscription.
pub(crate) fn subscriber(address: SocketAddr, id: &str, filter: &str, qos: u8) -> Client {
    let mut client = Client::connect(address, id);
    subscribe(&mut client, filter, qos);
    client
}

/// A client whose session is kept; a new one gets this subscription.
pub(crate) fn kept(address: SocketAddr, id: &str, filter: &str, qos: u8) -> Client {
    let mut client = Client::open(address);
    client.send(&Packet::Connect(Box::new(Connect { clean: false, ..Connect::new(id) })));
    match client.expect_packet() {
        Packet::ConnAck { present: true, code: 0 } => {}
        Packet::ConnAck { present: false, code: 0 } => subscribe(&mut client, filter, qos),
        other => panic!("{other}"),
    }
    client
}

fn subscribe(client: &mut Client, filter: &str, qos: u8) {
    client.send(&Packet::Subscribe { id: Id::Number(1), filters: vec![(filter.to_owned(), qos)] });
    client.expect(&format!("suback 1 {qos}"));
}

/// Publishes, and waits until it is acknowledged.
pub(crate) fn publish(client: &mut Client, publish: Publish) {
    let qos = publish.qos;
    let id = if qos == 0 { Id::None } else { Id::Number(7) };
    client.send(&Packet::Publish(Publish { id, ..publish }));
    match qos {
        0 => client.ping(),
        1 => client.expect("puback 7"),
        _ => {
            client.expect("pubrec 7");
            client.send(&Packet::Ack(AckKind::PubRel, Id::Number(7)));
            client.expect("pubcomp 7");
        }
    }
}

pub(crate) fn message(topic: &str, payload: &str, qos: u8) -> Publish {
    Publish { qos, ..Publish::new(topic, payload) }
}

/// The next message, acknowledged: `topic payload qQOS`, and ` retained` where it is; `None`: the
/// connection ended.
pub(crate) fn next(client: &mut Client) -> Option<String> {
    loop {
        let message = match client.hear() {
            Heard::Packet(Packet::Publish(message)) => message,
            Heard::Packet(Packet::Ack(AckKind::PubRel, id)) => {
                client.send(&Packet::Ack(AckKind::PubComp, id));
                continue;
            }
            Heard::Packet(other) => panic!("{other}"),
            Heard::Closed => return None,
            Heard::Silence => panic!("no message"),
        };
        match message.qos {
            0 => {}
            1 => client.send(&Packet::Ack(AckKind::PubAck, message.id.clone())),
            _ => client.send(&Packet::Ack(AckKind::PubRec, message.id.clone())),
        }
        let retained = if message.retain { " retained" } else { "" };
        let payload = String::from_utf8_lossy(&message.payload);
        return Some(format!("{} {payload} q{}{retained}", message.topic, message.qos));
    }
}

#[track_caller]
pub(crate) fn expect_next(client: &mut Client, expected: &str) {
    assert_eq!(next(client).as_deref(), Some(expected));
}

/// Waits until the bridge's state is this, at the broker where it stands retained.
pub(crate) fn wait_for_state(address: SocketAddr, bridge: &str, state: &str) {
    let topic = format!("$SYS/broker/connection/{bridge}/state");
    let mut client = subscriber(address, "watcher", &topic, 0);
    loop {
        let said = next(&mut client).expect("a broker that runs");
        let said = said.strip_prefix(&format!("{topic} ")).unwrap().to_owned();
        if said.starts_with(state) {
            return;
        }
    }
}
