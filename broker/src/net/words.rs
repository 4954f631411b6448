//! Packets in words, for the debug log, as mosquitto prints them.

use std::fmt::{self, Display, Formatter};

use martlet_codec::packet::{ConnAckCode, Delivery, Packet, Publish};

/// A packet in words: its name, whom it is from or to, and in parentheses what tells it from others
/// of its kind.
pub(super) struct Words<'a> {
    pub(super) packet: &'a Packet<'a>,
    /// E.g. `from`.
    pub(super) way: &'static str,
    pub(super) client: &'a str,
}

impl Display for Words<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { packet, way, client } = self;
        write!(f, "{} {way} {client}", name(packet))?;
        match packet {
            Packet::Connect(connect) => {
                let clean = u8::from(connect.clean_session);
                write!(f, " ('{}', c{clean}, k{})", connect.client_id, connect.keep_alive_s)
            }
            Packet::ConnAck(connack) => {
                let code = match connack.code {
                    ConnAckCode::V3(code) => code as u8,
                    ConnAckCode::V5(code) => code as u8,
                };
                write!(f, " ({}, {code})", u8::from(connack.session_present))
            }
            Packet::Publish(publish) => write_publish(publish, f),
            Packet::PubAck(ack)
            | Packet::PubRec(ack)
            | Packet::PubRel(ack)
            | Packet::PubComp(ack) => write!(f, " (m{})", ack.id),
            Packet::UnsubAck(unsuback) => write!(f, " (m{})", unsuback.id),
            Packet::Subscribe(subscribe) => {
                write!(f, " (m{}", subscribe.id)?;
                for subscription in subscribe.subscriptions.iter() {
                    write!(f, ", '{}' q{}", subscription.filter, subscription.qos.get())?;
                }
                f.write_str(")")
            }
            Packet::SubAck(suback) => {
                write!(f, " (m{}", suback.id)?;
                suback.codes.as_bytes().iter().try_for_each(|code| write!(f, ", {code}"))?;
                f.write_str(")")
            }
            Packet::Unsubscribe(unsubscribe) => {
                write!(f, " (m{}", unsubscribe.id)?;
                unsubscribe.filters.iter().try_for_each(|filter| write!(f, ", '{filter}'"))?;
                f.write_str(")")
            }
            Packet::PingReq | Packet::PingResp | Packet::Disconnect(_) | Packet::Auth(_) => Ok(()),
        }
    }
}

fn name(packet: &Packet<'_>) -> &'static str {
    match packet {
        Packet::Connect(_) => "CONNECT",
        Packet::ConnAck(_) => "CONNACK",
        Packet::Publish(_) => "PUBLISH",
        Packet::PubAck(_) => "PUBACK",
        Packet::PubRec(_) => "PUBREC",
        Packet::PubRel(_) => "PUBREL",
        Packet::PubComp(_) => "PUBCOMP",
        Packet::Subscribe(_) => "SUBSCRIBE",
        Packet::SubAck(_) => "SUBACK",
        Packet::Unsubscribe(_) => "UNSUBSCRIBE",
        Packet::UnsubAck(_) => "UNSUBACK",
        Packet::PingReq => "PINGREQ",
        Packet::PingResp => "PINGRESP",
        Packet::Disconnect(_) => "DISCONNECT",
        Packet::Auth(_) => "AUTH",
    }
}

fn write_publish(publish: &Publish<'_>, f: &mut Formatter<'_>) -> fmt::Result {
    let topic = publish.topic.map(|topic| topic.as_str()).unwrap_or_default();
    let (qos, retain) = (publish.delivery.qos().get(), u8::from(publish.retain));
    let (id, dup) = match publish.delivery {
        Delivery::AtMostOnce => (0, false),
        Delivery::AtLeastOnce { id, dup } | Delivery::ExactlyOnce { id, dup } => (id.get(), dup),
    };
    let (dup, len) = (u8::from(dup), publish.payload.len());
    write!(f, " (d{dup}, q{qos}, r{retain}, m{id}, '{topic}', ... ({len} bytes))")
}

#[cfg(test)]
mod tests {
    use martlet_codec::decode::{DecodeLimits, Decoded, decode};
    use martlet_codec::reason::ProtocolVersion;

    use super::*;

    #[test]
    fn packets_read_as_in_mosquittos_log() {
        let rows: &[(&[u8], &str)] = &[
            (b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01c", "CONNECT from c ('c', c1, k60)"),
            (b"\x20\x02\x01\x00", "CONNACK from c (1, 0)"),
            (b"\x20\x02\x00\x02", "CONNACK from c (0, 2)"),
            (b"\x3b\x07\0\x03a/b\0\x07", "PUBLISH from c (d1, q1, r1, m7, 'a/b', ... (0 bytes))"),
            (b"\x30\x04\0\x01ax", "PUBLISH from c (d0, q0, r0, m0, 'a', ... (1 bytes))"),
            (b"\x40\x02\0\x07", "PUBACK from c (m7)"),
            (b"\x82\x0b\0\x01\0\x01a\x01\0\x02+/\0", "SUBSCRIBE from c (m1, 'a' q1, '+/' q0)"),
            (b"\x82\x11\0\x01\0\x0c$share/g/+/#\x02", "SUBSCRIBE from c (m1, '$share/g/+/#' q2)"),
            (b"\x90\x04\0\x01\x00\x80", "SUBACK from c (m1, 0, 128)"),
            (b"\xa2\x05\0\x01\0\x01a", "UNSUBSCRIBE from c (m1, 'a')"),
            (b"\xb0\x02\0\x01", "UNSUBACK from c (m1)"),
            (b"\xc0\x00", "PINGREQ from c"),
        ];
        let limits = DecodeLimits { packet_size_max: 1000, topic_levels_max: 10 };
        for (bytes, words) in rows {
            let Ok(Decoded::Packet { packet, .. }) = decode(bytes, ProtocolVersion::V311, &limits)
            else {
                panic!("{words}");
            };
            let said = Words { packet: &packet, way: "from", client: "c" }.to_string();
            assert_eq!(said, *words);
        }
    }
}
