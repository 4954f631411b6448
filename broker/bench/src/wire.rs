//! Packets, encoded beforehand, and the payload that tells who sent it, as which, and when.

use martlet_codec::decode::{DecodeLimits, Decoded, decode};
use martlet_codec::encode::{encode, encoded_len};
use martlet_codec::ids::PacketId;
use martlet_codec::packet::{Ack, Connect, Delivery, Packet, Publish, Subscribe, Subscription};
use martlet_codec::payload::Subscriptions;
use martlet_codec::properties::Properties;
use martlet_codec::reason::{ProtocolVersion, QoS};
use martlet_codec::topic::{SubscriptionFilter, TopicName};

use crate::error::BenchError;

/// Bytes of every payload.
pub(crate) const PAYLOAD_LEN: usize = 64;

const VERSION: ProtocolVersion = ProtocolVersion::V311;
const LIMITS: DecodeLimits = DecodeLimits { packet_size_max: 1 << 20, topic_levels_max: 200 };

/// What a payload says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stamp {
    /// The publisher's number.
    pub(crate) publisher: u32,
    /// The message's number among its publisher's: 0, 1, 2 and so on.
    pub(crate) sequence: u64,
    /// When it was handed to the system, on this program's clock.
    pub(crate) sent_ns: u64,
}

impl Stamp {
    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        if payload.len() != PAYLOAD_LEN {
            return None;
        }
        let (sequence, rest) = payload.split_first_chunk()?;
        let (sent_ns, rest) = rest.split_first_chunk()?;
        let (publisher, _) = rest.split_first_chunk()?;
        Some(Self {
            publisher: u32::from_le_bytes(*publisher),
            sequence: u64::from_le_bytes(*sequence),
            sent_ns: u64::from_le_bytes(*sent_ns),
        })
    }

    fn write(self, payload: &mut [u8]) {
        payload[..8].copy_from_slice(&self.sequence.to_le_bytes());
        payload[8..16].copy_from_slice(&self.sent_ns.to_le_bytes());
        payload[16..20].copy_from_slice(&self.publisher.to_le_bytes());
    }
}

/// One publisher's PUBLISH, encoded once: id and stamp are written over for each message.
#[derive(Debug)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    qos: QoS,
}

impl Template {
    pub(crate) fn new(topic: &str, qos: QoS) -> Self {
        let (id, dup) = (PacketId::FIRST, false);
        let publish = Publish {
            delivery: match qos {
                QoS::AtMostOnce => Delivery::AtMostOnce,
                QoS::AtLeastOnce => Delivery::AtLeastOnce { id, dup },
                QoS::ExactlyOnce => Delivery::ExactlyOnce { id, dup },
            },
            retain: false,
            topic: Some(TopicName::new(topic.as_bytes()).expect("a scenario's topic is one")),
            properties: Properties::EMPTY,
            payload: &[0xA5; PAYLOAD_LEN],
        };
        Self { bytes: bytes(&Packet::Publish(publish)), qos }
    }

    /// Appends the PUBLISH with this id and stamp. The id stands right before the payload.
    pub(crate) fn append(&self, out: &mut Vec<u8>, id: PacketId, stamp: Stamp) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let packet = &mut out[start..];
        let payload_at = packet.len() - PAYLOAD_LEN;
        if self.qos != QoS::AtMostOnce {
            packet[payload_at - 2..payload_at].copy_from_slice(&id.get().to_be_bytes());
        }
        stamp.write(&mut packet[payload_at..]);
    }
}

/// CONNECT: a keep-alive of ten minutes.
pub(crate) fn connect(client_id: &str, clean_session: bool) -> Vec<u8> {
    bytes(&Packet::Connect(Connect {
        version: VERSION,
        bridge: false,
        clean_session,
        keep_alive_s: 600,
        properties: Properties::EMPTY,
        client_id,
        will: None,
        user_name: None,
        password: None,
    }))
}

/// PUBLISH at QoS 1.
pub(crate) fn publish(topic: &str, id: PacketId, payload: &[u8]) -> Vec<u8> {
    bytes(&Packet::Publish(Publish {
        delivery: Delivery::AtLeastOnce { id, dup: false },
        retain: false,
        topic: Some(TopicName::new(topic.as_bytes()).expect("a scenario's topic is one")),
        properties: Properties::EMPTY,
        payload,
    }))
}

/// PUBLISH at QoS 0.
pub(crate) fn publish_qos0(topic: &str, payload: &[u8], retain: bool) -> Vec<u8> {
    bytes(&Packet::Publish(Publish {
        delivery: Delivery::AtMostOnce,
        retain,
        topic: Some(TopicName::new(topic.as_bytes()).expect("a scenario's topic is one")),
        properties: Properties::EMPTY,
        payload,
    }))
}

/// SUBSCRIBE to one filter.
pub(crate) fn subscribe(filter: &str, qos: QoS) -> Vec<u8> {
    subscribe_all(&[filter.to_owned()], qos)
}

/// SUBSCRIBE to these.
pub(crate) fn subscribe_all(filters: &[String], qos: QoS) -> Vec<u8> {
    let subscriptions = filters.iter().map(|filter| {
        let filter = SubscriptionFilter::parse(filter.as_bytes());
        Subscription::new(filter.expect("a scenario's filter is one"), qos)
    });
    let subscriptions: Vec<_> = subscriptions.collect();
    bytes(&Packet::Subscribe(Subscribe {
        id: PacketId::FIRST,
        properties: Properties::EMPTY,
        subscriptions: Subscriptions::new(&subscriptions),
    }))
}

/// Appends an acknowledgement; `packet` makes it of an [`Ack`].
pub(crate) fn acknowledge(
    out: &mut Vec<u8>,
    packet: fn(Ack<'static>) -> Packet<'static>,
    id: PacketId,
) {
    let start = out.len();
    out.resize(start + 4, 0);
    encode(&packet(Ack::new(id)), VERSION, &mut out[start..])
        .expect("an acknowledgement of 3.1.1 has four bytes");
}

/// PINGREQ.
pub(crate) fn ping() -> Vec<u8> {
    bytes(&Packet::PingReq)
}

/// The packet at the beginning of `input` with its length, if it is all there.
pub(crate) fn next(input: &[u8]) -> Result<Option<(Packet<'_>, usize)>, BenchError> {
    match decode(input, VERSION, &LIMITS) {
        Ok(Decoded::Packet { packet, len, .. }) => Ok(Some((packet, len))),
        Ok(Decoded::NeedMore { .. }) => Ok(None),
        Err(error) => Err(BenchError::Malformed(error.text)),
    }
}

fn bytes(packet: &Packet<'_>) -> Vec<u8> {
    let len = encoded_len(packet, VERSION).expect("what we send is legal");
    let mut bytes = vec![0; len];
    encode(packet, VERSION, &mut bytes).expect("the buffer has the length that was asked for");
    bytes
}

#[cfg(test)]
mod tests {
    use martlet_codec::ids::PacketId;
    use martlet_codec::packet::{Delivery, Packet};
    use martlet_codec::reason::QoS;

    use super::{Stamp, Template, next};

    #[test]
    fn a_template_takes_id_and_stamp_at_every_qos() {
        let id = PacketId::new(0xBEEF).unwrap();
        let stamp = Stamp { publisher: 7, sequence: 1 << 40, sent_ns: 99 };
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let mut out = vec![1, 2, 3];
            Template::new("a/b", qos).append(&mut out, id, stamp);
            let (packet, len) = next(&out[3..]).unwrap().unwrap();
            assert_eq!(len, out.len() - 3);
            let Packet::Publish(publish) = packet else { panic!("{packet:?}") };
            assert_eq!(publish.delivery.qos(), qos);
            assert_eq!(Stamp::read(publish.payload), Some(stamp));
            if let Delivery::AtLeastOnce { id: found, .. } = publish.delivery {
                assert_eq!(found, id);
            }
        }
    }
}
