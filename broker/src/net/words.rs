//! Packets in words, for the debug log, as mosquitto prints them.

use std::fmt::{self, Display, Formatter};

use martlet_codec::packet::{Delivery, Packet, Publish};

/// A packet in words: its name and, in parentheses, what tells it from others of its kind.
pub(super) struct Words<'a>(pub(super) &'a Packet<'a>);

impl Display for Words<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Packet::Connect(connect) => {
                let clean = u8::from(connect.clean_session);
                let (id, keep_alive) = (connect.client_id.escape_debug(), connect.keep_alive_s);
                write!(f, "CONNECT ('{id}', c{clean}, k{keep_alive})")
            }
            Packet::ConnAck(connack) => {
                write!(f, "CONNACK ({}, {:?})", u8::from(connack.session_present), connack.code)
            }
            Packet::Publish(publish) => write_publish(publish, f),
            Packet::PubAck(ack) => write!(f, "PUBACK (m{})", ack.id),
            Packet::PubRec(ack) => write!(f, "PUBREC (m{})", ack.id),
            Packet::PubRel(ack) => write!(f, "PUBREL (m{})", ack.id),
            Packet::PubComp(ack) => write!(f, "PUBCOMP (m{})", ack.id),
            Packet::Subscribe(subscribe) => {
                write!(f, "SUBSCRIBE (m{}", subscribe.id)?;
                for subscription in subscribe.subscriptions.iter() {
                    let filter = subscription.filter;
                    write!(f, ", {filter:?} (QoS {})", subscription.qos.get())?;
                }
                f.write_str(")")
            }
            Packet::SubAck(suback) => {
                write!(f, "SUBACK (m{}, {:02x?})", suback.id, suback.codes.as_bytes())
            }
            Packet::Unsubscribe(unsubscribe) => {
                write!(f, "UNSUBSCRIBE (m{}", unsubscribe.id)?;
                unsubscribe.filters.iter().try_for_each(|filter| write!(f, ", {filter:?}"))?;
                f.write_str(")")
            }
            Packet::UnsubAck(unsuback) => write!(f, "UNSUBACK (m{})", unsuback.id),
            Packet::PingReq => f.write_str("PINGREQ"),
            Packet::PingResp => f.write_str("PINGRESP"),
            Packet::Disconnect(_) => f.write_str("DISCONNECT"),
            Packet::Auth(_) => f.write_str("AUTH"),
        }
    }
}

fn write_publish(publish: &Publish<'_>, f: &mut Formatter<'_>) -> fmt::Result {
    let topic = publish.topic.map(|topic| topic.as_str()).unwrap_or_default().escape_debug();
    let (qos, retain) = (publish.delivery.qos().get(), u8::from(publish.retain));
    let (id, dup) = match publish.delivery {
        Delivery::AtMostOnce => (0, false),
        Delivery::AtLeastOnce { id, dup } | Delivery::ExactlyOnce { id, dup } => (id.get(), dup),
    };
    let (dup, len) = (u8::from(dup), publish.payload.len());
    write!(f, "PUBLISH (d{dup}, q{qos}, r{retain}, m{id}, '{topic}', ... ({len} bytes))")
}
