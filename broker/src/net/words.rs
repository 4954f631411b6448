//! Packets in words, for the debug log, as mosquitto prints them.

use std::fmt::{self, Display, Formatter};

use martlet_codec::packet::{ConnAckCode, Delivery, Packet, Publish};

use crate::logging::{SUBSCRIBE, UNSUBSCRIBE};

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
        let received = *way == "from";
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
            Packet::PubAck(ack) | Packet::PubComp(ack) if received => {
                write!(f, " (Mid: {}, RC:0)", ack.id)
            }
            Packet::PubRec(ack) | Packet::PubRel(ack) if received => {
                write!(f, " (Mid: {})", ack.id)
            }
            Packet::PubAck(ack) | Packet::PubRec(ack) => write!(f, " (m{}, rc0)", ack.id),
            Packet::PubRel(ack) | Packet::PubComp(ack) => write!(f, " (m{})", ack.id),
            Packet::Subscribe(_)
            | Packet::SubAck(_)
            | Packet::Unsubscribe(_)
            | Packet::UnsubAck(_) => Ok(()),
            Packet::PingReq | Packet::PingResp | Packet::Disconnect(_) | Packet::Auth(_) => Ok(()),
        }
    }
}

/// The target of lines that tell more of a packet.
const DEBUG: &str = module_path!();

/// What mosquitto says in lines of its own: the filters of a packet, for those who read packets and
/// for those who read who subscribes to what. A line that begins with what a client chose has just
/// its words, so that no client can write one that reads as another line of the log.
pub(super) fn filters(client: &str, packet: &Packet<'_>) -> Vec<(&'static str, String)> {
    match packet {
        Packet::Subscribe(subscribe) => {
            let subscriptions = subscribe.subscriptions.iter();
            let lines = subscriptions.flat_map(|subscription| {
                let (filter, qos) = (subscription.filter.to_string(), subscription.qos.get());
                let (client, word) = (OneWord(client), OneWord(&filter));
                [
                    (DEBUG, format!("\t{filter} (QoS {qos})")),
                    (SUBSCRIBE, format!("{client} {qos} {word}")),
                ]
            });
            lines.collect()
        }
        Packet::Unsubscribe(unsubscribe) => {
            let filters = unsubscribe.filters.iter();
            let lines = filters.flat_map(|filter| {
                let filter = filter.to_string();
                let (client, word) = (OneWord(client), OneWord(&filter));
                [(DEBUG, format!("\t{filter}")), (UNSUBSCRIBE, format!("{client} {word}"))]
            });
            lines.collect()
        }
        _ => Vec::new(),
    }
}

/// Written in quotes if it would be several words.
struct OneWord<'a>(&'a str);

impl Display for OneWord<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(text) = self;
        if text.contains(char::is_whitespace) { write!(f, "{text:?}") } else { f.write_str(text) }
    }
}

/// Writes those lines.
pub(super) fn log_filters(client: &str, packet: &Packet<'_>) {
    if !tracing::enabled!(tracing::Level::DEBUG)
        && !tracing::enabled!(target: SUBSCRIBE, tracing::Level::DEBUG)
        && !tracing::enabled!(target: UNSUBSCRIBE, tracing::Level::DEBUG)
    {
        return;
    }
    for (target, line) in filters(client, packet) {
        match target {
            SUBSCRIBE => tracing::debug!(target: SUBSCRIBE, "{line}"),
            UNSUBSCRIBE => tracing::debug!(target: UNSUBSCRIBE, "{line}"),
            _ => tracing::debug!("{line}"),
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

    fn said(bytes: &[u8], way: &'static str) -> (String, Vec<(&'static str, String)>) {
        let limits = DecodeLimits { packet_size_max: 1000, topic_levels_max: 10 };
        match decode(bytes, ProtocolVersion::V311, &limits) {
            Ok(Decoded::Packet { packet, .. }) => {
                let words = Words { packet: &packet, way, client: "c" }.to_string();
                (words, filters("c", &packet))
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn packets_read_as_in_mosquittos_log() {
        let rows: &[(&[u8], &str)] = &[
            (b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01c", "CONNECT from c ('c', c1, k60)"),
            (b"\x20\x02\x01\x00", "CONNACK to c (1, 0)"),
            (b"\x20\x02\x00\x02", "CONNACK to c (0, 2)"),
            (b"\x3b\x07\0\x03a/b\0\x07", "PUBLISH from c (d1, q1, r1, m7, 'a/b', ... (0 bytes))"),
            (b"\x30\x04\0\x01ax", "PUBLISH to c (d0, q0, r0, m0, 'a', ... (1 bytes))"),
            (b"\x40\x02\0\x07", "PUBACK from c (Mid: 7, RC:0)"),
            (b"\x40\x02\0\x07", "PUBACK to c (m7, rc0)"),
            (b"\x50\x02\0\x07", "PUBREC from c (Mid: 7)"),
            (b"\x50\x02\0\x07", "PUBREC to c (m7, rc0)"),
            (b"\x62\x02\0\x07", "PUBREL from c (Mid: 7)"),
            (b"\x62\x02\0\x07", "PUBREL to c (m7)"),
            (b"\x70\x02\0\x07", "PUBCOMP from c (Mid: 7, RC:0)"),
            (b"\x70\x02\0\x07", "PUBCOMP to c (m7)"),
            (b"\x82\x0b\0\x01\0\x01a\x01\0\x02+/\0", "SUBSCRIBE from c"),
            (b"\x90\x04\0\x01\x00\x80", "SUBACK to c"),
            (b"\xa2\x05\0\x01\0\x01a", "UNSUBSCRIBE from c"),
            (b"\xb0\x02\0\x01", "UNSUBACK to c"),
            (b"\xc0\x00", "PINGREQ from c"),
        ];
        for (bytes, words) in rows {
            let way = if words.contains(" from ") { "from" } else { "to" };
            assert_eq!(said(bytes, way).0, *words);
        }
    }

    #[test]
    fn filters_have_lines_of_their_own() {
        let subscribe = b"\x82\x15\0\x01\0\x01a\x01\0\x0c$share/g/+/#\x02";
        assert_eq!(
            said(subscribe, "from").1,
            [
                (DEBUG, "\ta (QoS 1)".to_owned()),
                (SUBSCRIBE, "c 1 a".to_owned()),
                (DEBUG, "\t$share/g/+/# (QoS 2)".to_owned()),
                (SUBSCRIBE, "c 2 $share/g/+/#".to_owned()),
            ]
        );
        let unsubscribe = b"\xa2\x05\0\x01\0\x01a";
        assert_eq!(
            said(unsubscribe, "from").1,
            [(DEBUG, "\ta".to_owned()), (UNSUBSCRIBE, "c a".to_owned())]
        );
        assert_eq!(said(b"\xc0\x00", "from").1, []);
    }

    #[test]
    fn each_part_of_such_a_line_is_one_word() {
        let unsubscribe = b"\xa2\x09\0\x01\0\x05a b/+";
        assert_eq!(said(unsubscribe, "from").1[1], (UNSUBSCRIBE, "c \"a b/+\"".to_owned()));
        for (text, word) in [("a:b", "a:b"), ("a b", "\"a b\""), ("\ta", "\"\\ta\"")] {
            assert_eq!(OneWord(text).to_string(), word);
        }
    }
}
