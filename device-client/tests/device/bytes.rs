//! Whatever comes, in whatever parts, between whatever the program does: no panic, nothing but
//! legal packets sent, and no more asked of the caller than the contract says.

use martlet_codec::decode::{Decoded, decode};
use martlet_codec::packet::PacketType;
use martlet_codec::reason::ProtocolVersion::V311;
use martlet_codec::reason::QoS;
use martlet_device::client::Client;
use martlet_device::event::Event;
use martlet_device::settings::{Publication, Settings, Subscription, WhenFull};

use crate::support::{ACCEPTED, Kept, LIMITS, RESUMED, ack, client, memory, publish};

const WISH: &[Subscription<'static>] = &[Subscription { filter: "a/+", qos: QoS::ExactlyOnce }];
const SETTINGS: Settings<'static> = {
    let settings = Settings::new("c");
    Settings { subscriptions: WISH, window: 2, when_full: WhenFull::DropOldest, ..settings }
};

#[test]
fn anything_may_come() {
    use crate::support::Random;

    let mut connections = 0;
    for seed in 1..3_000 {
        let mut random = Random::new(seed);
        let input: Vec<u8> = (0..400).map(|_| random.below(256) as u8).collect();
        connections += anything(&input);
    }
    assert!(connections > 1_000, "{connections}: the inputs reach little");
}

/// Each byte says what happens next. Returns how often the client was connected.
pub fn anything(input: &[u8]) -> u32 {
    let mut input = input.iter().copied();
    let mut client = client(SETTINGS, 48, 160);
    let mut kept = Kept::default();
    let mut wire = Vec::new();
    let mut now = 0;
    while let Some(step) = input.next() {
        let argument = input.next().unwrap_or_default();
        match step % 16 {
            0 => now += u64::from(argument) * 200,
            1 if client.is_attached() => {
                wire.clear();
                client.detach(now, u32::from(argument) << 24);
            }
            2 | 3 => {
                let payload = vec![argument; usize::from(argument % 40)];
                let qos = QoS::new(argument % 3).expect("0 to 2");
                let _ = client.publish(&Publication::new("a/b", &payload).qos(qos));
            }
            4 => {
                let wish = Subscription { filter: "b", qos: QoS::AtMostOnce };
                let _ = client.subscribe(&[wish]);
            }
            5 if argument < 20 => client.disconnect(),
            5 => client.connect(),
            6 if argument < 40 => {
                client.save(&mut kept).expect("it cannot fail");
                client = Client::new(SETTINGS, memory(48, 160)).expect("legal settings");
                assert_eq!(client.restore(&mut kept), Ok(true));
                wire.clear();
            }
            7 => {
                let bytes: Vec<u8> = input.by_ref().take(usize::from(argument % 16)).collect();
                receive(&mut client, now, &bytes);
            }
            _ => receive(&mut client, now, &packet(step, argument)),
        }
        if client.wants_connection(now) {
            wire.clear();
            client.attach(now).expect("CONNECT was written before");
        }
        transmit(&mut client, now, usize::from(4 + argument % 30), &mut wire);
        assert!(client.outstanding() <= 160 / 7);
        assert!(client.lent() == 0);
    }
    client.counters().connections
}

/// Something that a broker may send at some time.
fn packet(step: u8, argument: u8) -> Vec<u8> {
    let id = u16::from(argument % 8 + 1);
    match step % 16 {
        8 => ACCEPTED.to_vec(),
        9 => RESUMED.to_vec(),
        10 => ack(PacketType::PubAck, id),
        11 => ack(PacketType::PubRec, id),
        12 => ack(PacketType::PubRel, id),
        13 => ack(PacketType::PubComp, id),
        14 => vec![0x90, 3, 0, id as u8, argument % 3],
        _ => publish(argument % 3, id, "a/topic", &[7; 100][..usize::from(argument % 100)], false),
    }
}

fn receive(client: &mut Client<'_>, now: u64, mut bytes: &[u8]) {
    for _ in 0..1_000 {
        let Ok(taken) = client.receive(now, bytes) else { return };
        bytes = &bytes[taken..];
        let mut told = false;
        while let Some(event) = client.event() {
            told = true;
            if let Event::Message(message) = event {
                assert!(message.offset + message.payload.len() <= message.len);
                assert!(message.topic == "a/topic" || !message.topic.is_empty());
            }
        }
        // What is not taken waits for an event to be seen, or for acknowledgements to leave.
        if bytes.is_empty() || (taken == 0 && !told) {
            return;
        }
    }
    panic!("it does not end");
}

/// All that is sent on one connection are legal packets.
fn transmit(client: &mut Client<'_>, now: u64, part: usize, wire: &mut Vec<u8>) {
    let mut out = vec![0; part];
    let len = client.transmit(now, &mut out);
    wire.extend_from_slice(&out[..len]);
    loop {
        match decode(wire, V311, &LIMITS) {
            Ok(Decoded::Packet { len, .. }) => drop(wire.drain(..len)),
            Ok(Decoded::NeedMore { .. }) => return,
            Err(error) => panic!("{error}: {wire:02x?}"),
        }
    }
}
