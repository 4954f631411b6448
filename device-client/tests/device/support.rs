//! A client with memory of its own, and packets by their names.

use martlet_codec::decode::{DecodeLimits, Decoded, decode};
use martlet_codec::ids::PacketId;
use martlet_codec::packet::{Ack, Delivery, Packet, PacketType};
use martlet_codec::reason::ProtocolVersion::V311;
use martlet_codec::reason::QoS;
use martlet_device::client::Client;
use martlet_device::client::storage::Storage;
use martlet_device::error::Error;
use martlet_device::event::Event;
use martlet_device::settings::{Memory, Publication, Settings};

pub const LIMITS: DecodeLimits =
    DecodeLimits { packet_size_max: u32::MAX, topic_levels_max: u16::MAX };
pub const ACCEPTED: &[u8] = b"\x20\x02\x00\x00";
pub const RESUMED: &[u8] = b"\x20\x02\x01\x00";

pub fn client(settings: Settings<'static>, receive: usize, outbox: usize) -> Client<'static> {
    Client::new(settings, memory(receive, outbox)).expect("legal settings")
}

pub fn memory(receive: usize, outbox: usize) -> Memory<'static> {
    let receive = Box::leak(vec![0xEE; receive].into_boxed_slice());
    let outbox = Box::leak(vec![0xEE; outbox].into_boxed_slice());
    Memory { receive, outbox }
}

/// Connected, with nothing to say.
pub fn online(settings: Settings<'static>) -> Client<'static> {
    let mut client = client(settings, 256, 512);
    connect(&mut client, 0, ACCEPTED);
    client
}

/// A new connection that the broker answers like this.
pub fn connect(client: &mut Client<'_>, now: u64, connack: &[u8]) {
    client.attach(now).expect("CONNECT was written before");
    let connect = sent(client, now);
    assert!(connect[0].starts_with("CONNECT"), "{connect:?}");
    assert_eq!(client.receive(now, connack), Ok(connack.len()));
    assert!(matches!(client.event(), Some(Event::Connected { .. })));
}

/// The connection breaks and another one comes.
pub fn reconnect(client: &mut Client<'_>, connack: &[u8]) {
    client.detach(0, 0);
    connect(client, 0, connack);
}

/// What the client sends now, in words.
pub fn sent(client: &mut Client<'_>, now: u64) -> Vec<String> {
    let mut bytes = Vec::new();
    let mut out = [0; 7];
    loop {
        let len = client.transmit(now, &mut out);
        if len == 0 {
            return words(&bytes);
        }
        bytes.extend_from_slice(&out[..len]);
    }
}

/// Gives all bytes to the client, in parts of this size; what it tells, in words.
pub fn heard(client: &mut Client<'_>, bytes: &[u8], part: usize) -> Result<Vec<String>, Error> {
    let mut events = Vec::new();
    for mut bytes in bytes.chunks(part) {
        while !bytes.is_empty() {
            let taken = client.receive(0, bytes)?;
            bytes = &bytes[taken..];
            let before = events.len();
            while let Some(event) = client.event() {
                events.push(word(&event));
            }
            assert!(taken > 0 || events.len() > before, "it goes on");
        }
    }
    Ok(events)
}

pub fn word(event: &Event<'_>) -> String {
    match event {
        Event::Connected { session_present } => format!("connected {session_present}"),
        Event::Message(m) => format!(
            "{} {} {}+{}/{}{}",
            m.topic,
            m.qos.get(),
            m.offset,
            m.payload.len(),
            m.len,
            if m.dup { " dup" } else { "" }
        ),
        Event::Published(id) => format!("published {id}"),
        Event::Subscribed { id, codes, standing } => {
            format!("subscribed {id} {:?} {standing:?}", codes.as_bytes())
        }
        Event::Unsubscribed(id) => format!("unsubscribed {id}"),
        Event::Disconnected => "disconnected".into(),
    }
}

/// Each packet in a few words.
pub fn words(mut bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let Ok(Decoded::Packet { packet, len, .. }) = decode(bytes, V311, &LIMITS) else {
            panic!("no whole packet: {bytes:02x?}");
        };
        found.push(match packet {
            Packet::Connect(connect) => format!("CONNECT {}", connect.client_id),
            Packet::Publish(publish) => {
                let (id, dup) = match publish.delivery {
                    Delivery::AtMostOnce => (0, false),
                    Delivery::AtLeastOnce { id, dup } | Delivery::ExactlyOnce { id, dup } => {
                        (id.get(), dup)
                    }
                };
                let dup = if dup { " dup" } else { "" };
                let topic = publish.topic.map(|topic| topic.as_str()).unwrap_or_default();
                let payload = String::from_utf8_lossy(publish.payload);
                format!("PUBLISH{} {id} {topic}={payload}{dup}", publish.delivery.qos().get())
            }
            Packet::PubAck(ack) => format!("PUBACK {}", ack.id),
            Packet::PubRec(ack) => format!("PUBREC {}", ack.id),
            Packet::PubRel(ack) => format!("PUBREL {}", ack.id),
            Packet::PubComp(ack) => format!("PUBCOMP {}", ack.id),
            Packet::Subscribe(subscribe) => format!("SUBSCRIBE {}", subscribe.id),
            Packet::Unsubscribe(unsubscribe) => format!("UNSUBSCRIBE {}", unsubscribe.id),
            other => format!("{:?}", other.packet_type()).to_uppercase(),
        });
        bytes = &bytes[len..];
    }
    found
}

pub fn ack(packet: PacketType, number: u16) -> Vec<u8> {
    let ack = Ack::new(id(number));
    let packet = match packet {
        PacketType::PubAck => Packet::PubAck(ack),
        PacketType::PubRec => Packet::PubRec(ack),
        PacketType::PubRel => Packet::PubRel(ack),
        PacketType::PubComp => Packet::PubComp(ack),
        _ => panic!("{packet:?}"),
    };
    let mut bytes = vec![0; 4];
    martlet_codec::encode::encode(&packet, V311, &mut bytes).expect("four bytes");
    bytes
}

/// PUBLISH as a broker sends it.
pub fn publish(qos: u8, number: u16, topic: &str, payload: &[u8], dup: bool) -> Vec<u8> {
    let delivery = match qos {
        0 => Delivery::AtMostOnce,
        1 => Delivery::AtLeastOnce { id: id(number), dup },
        _ => Delivery::ExactlyOnce { id: id(number), dup },
    };
    let topic = martlet_codec::topic::TopicName::new(topic.as_bytes()).expect("a topic");
    let packet = Packet::Publish(martlet_codec::packet::Publish {
        delivery,
        retain: false,
        topic: Some(topic),
        properties: martlet_codec::properties::Properties::EMPTY,
        payload,
    });
    let mut bytes = vec![0; payload.len() + topic.as_bytes().len() + 16];
    let len = martlet_codec::encode::encode(&packet, V311, &mut bytes).expect("room");
    bytes.truncate(len);
    bytes
}

pub fn id(number: u16) -> PacketId {
    PacketId::new(number).expect("not zero")
}

pub fn message(topic: &'static str, payload: &'static str, qos: u8) -> Publication<'static> {
    let qos = QoS::new(qos).expect("0 to 2");
    Publication::new(topic, payload.as_bytes()).qos(qos)
}

/// Flash that never fails.
#[derive(Default)]
pub struct Kept(pub Vec<u8>);

impl Storage for Kept {
    type Error = ();

    fn save(&mut self, parts: &[&[u8]]) -> Result<(), ()> {
        self.0 = parts.concat();
        Ok(())
    }

    fn load(&mut self, offset: usize, out: &mut [u8]) -> Result<usize, ()> {
        let kept = self.0.get(offset..).unwrap_or_default();
        let len = kept.len().min(out.len());
        out[..len].copy_from_slice(&kept[..len]);
        Ok(len)
    }
}

/// xorshift64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % bound
    }
}
