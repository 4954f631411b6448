//! Packets to bytes.

use core::fmt;

use crate::packet::{
    Auth, ConnAck, ConnAckCode, Connect, Delivery, Packet, PacketType, Publish, Subscription,
};
use crate::payload::options_byte;
use crate::properties::Properties;
use crate::reason::{ProtocolVersion, ReasonCode};
use crate::rules::Rule;
use crate::sink::{Buffer, Counter, Sink, VARIABLE_BYTE_INTEGER_MAX};
use crate::topic::{SHARE_PREFIX, SubscriptionFilter};

mod check;

/// Why a packet cannot be encoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EncodeError {
    /// The buffer is too small.
    BufferTooSmall {
        /// The length of the packet in bytes.
        needed: usize,
    },
    /// The packet is larger than MQTT allows (Remaining Length over 268,435,455).
    PacketTooLarge,
    /// This version of MQTT has no such packet or field.
    NotInVersion,
    /// The packet breaks a rule that its types do not keep by themselves.
    Illegal {
        /// The id of the rule.
        rule: &'static str,
        /// What is wrong, in a few words.
        text: &'static str,
    },
}

/// The length of the packet in bytes, fixed header included.
pub fn encoded_len(packet: &Packet<'_>, version: ProtocolVersion) -> Result<usize, EncodeError> {
    check::check(packet, version)?;
    let mut body = Counter::default();
    write_body(packet, version, &mut body);
    Ok(body.0 + header_len(remaining_len(body)?))
}

/// Writes the packet to the beginning of `out` in its shortest form and returns its length.
///
/// Only what [`decode`](crate::decode::decode) would accept is written. A CONNECT is written in the
/// version that it names itself, whatever `version` says.
#[inline]
pub fn encode(
    packet: &Packet<'_>,
    version: ProtocolVersion,
    out: &mut [u8],
) -> Result<usize, EncodeError> {
    if let Packet::Publish(publish) = packet {
        return encode_publish(publish, publish.payload, version, out);
    }
    check::check(packet, version)?;
    let first_byte = (packet.packet_type() as u8) << 4 | flags(packet);
    let mut body = Counter::default();
    write_body(packet, version, &mut body);
    let (mut buffer, len) = begin(first_byte, body, 0, out)?;
    write_body(packet, version, &mut buffer);
    debug_assert!(buffer.rest.is_empty(), "counted and written by the same description");
    Ok(len)
}

/// Writes all of a PUBLISH but its payload, and returns the length of that: for who sends a large
/// payload from where it lies.
#[inline]
pub fn publish_head(
    publish: &Publish<'_>,
    version: ProtocolVersion,
    out: &mut [u8],
) -> Result<usize, EncodeError> {
    encode_publish(publish, &[], version, out)
}

/// [`encode`] for the packet that is sent most; `payload` is all of the payload, or none of it.
#[inline]
fn encode_publish(
    publish: &Publish<'_>,
    payload: &[u8],
    version: ProtocolVersion,
    out: &mut [u8],
) -> Result<usize, EncodeError> {
    if publish.topic.is_none() || !publish.properties.is_empty() {
        check::check(&Packet::Publish(*publish), version)?;
    }
    let mut body = Counter::default();
    write_publish(publish, publish.payload, version, &mut body);
    let first_byte = (PacketType::Publish as u8) << 4 | publish_flags(publish);
    let absent = publish.payload.len() - payload.len();
    let (mut buffer, len) = begin(first_byte, body, absent, out)?;
    write_publish(publish, payload, version, &mut buffer);
    debug_assert!(buffer.rest.is_empty(), "counted and written by the same description");
    Ok(len)
}

/// Writes the fixed header; the buffer is as large as the body without its `absent` last bytes.
#[inline]
fn begin(
    first_byte: u8,
    body: Counter,
    absent: usize,
    out: &mut [u8],
) -> Result<(Buffer<'_>, usize), EncodeError> {
    let remaining_len = remaining_len(body)?;
    let len = header_len(remaining_len) + remaining_len as usize - absent;
    let rest = out.get_mut(..len).ok_or(EncodeError::BufferTooSmall { needed: len })?;
    let mut buffer = Buffer { rest };
    buffer.u8(first_byte);
    buffer.variable_byte_integer(remaining_len);
    Ok((buffer, len))
}

#[inline]
fn remaining_len(body: Counter) -> Result<u32, EncodeError> {
    let len = u32::try_from(body.0).ok().filter(|&len| len <= VARIABLE_BYTE_INTEGER_MAX);
    len.ok_or(EncodeError::PacketTooLarge)
}

/// The first byte and Remaining Length.
#[inline]
fn header_len(remaining_len: u32) -> usize {
    let mut header = Counter(1);
    header.variable_byte_integer(remaining_len);
    header.0
}

/// The lower half of the first byte [MQTT-2.2.2-1].
#[inline]
fn flags(packet: &Packet<'_>) -> u8 {
    match packet {
        Packet::Publish(publish) => publish_flags(publish),
        // [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1]
        Packet::PubRel(_) | Packet::Subscribe(_) | Packet::Unsubscribe(_) => 0b0010,
        Packet::Connect(_)
        | Packet::ConnAck(_)
        | Packet::PubAck(_)
        | Packet::PubRec(_)
        | Packet::PubComp(_)
        | Packet::SubAck(_)
        | Packet::UnsubAck(_)
        | Packet::PingReq
        | Packet::PingResp
        | Packet::Disconnect(_)
        | Packet::Auth(_) => 0,
    }
}

#[inline]
pub(crate) fn publish_flags(publish: &Publish<'_>) -> u8 {
    let dup = match publish.delivery {
        Delivery::AtMostOnce => false, // [MQTT-3.3.1-2]
        Delivery::AtLeastOnce { dup, .. } | Delivery::ExactlyOnce { dup, .. } => dup,
    };
    u8::from(dup) << 3 | publish.delivery.qos().get() << 1 | u8::from(publish.retain)
}

/// Describes what stands behind the fixed header. Nothing can go wrong any more here.
#[inline]
fn write_body(packet: &Packet<'_>, version: ProtocolVersion, sink: &mut impl Sink) {
    match packet {
        Packet::Publish(publish) => write_publish(publish, publish.payload, version, sink),
        Packet::Connect(connect) => write_connect(connect, sink),
        Packet::ConnAck(connack) => write_connack(connack, version, sink),
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            sink.u16(ack.id.get()); // [MQTT-2.3.1-6]
            write_reason_and_properties(ack.reason, &ack.properties, sink);
        }
        Packet::Subscribe(subscribe) => {
            sink.u16(subscribe.id.get());
            write_properties(&subscribe.properties, version, sink);
            for subscription in subscribe.subscriptions.iter() {
                write_subscription(&subscription, sink);
            }
        }
        Packet::SubAck(suback) => {
            sink.u16(suback.id.get()); // [MQTT-2.3.1-7]
            write_properties(&suback.properties, version, sink);
            sink.bytes(suback.codes.as_bytes()); // [MQTT-3.9.3-1]
        }
        Packet::Unsubscribe(unsubscribe) => {
            sink.u16(unsubscribe.id.get());
            write_properties(&unsubscribe.properties, version, sink);
            for filter in unsubscribe.filters.iter() {
                write_filter(&filter, sink);
            }
        }
        Packet::UnsubAck(unsuback) => {
            sink.u16(unsuback.id.get()); // [MQTT-2.3.1-7]
            write_properties(&unsuback.properties, version, sink);
            sink.bytes(unsuback.codes.as_bytes());
        }
        Packet::PingReq | Packet::PingResp => {}
        Packet::Disconnect(disconnect) => {
            write_reason_and_properties(disconnect.reason, &disconnect.properties, sink);
        }
        Packet::Auth(auth) => write_auth(auth, sink),
    }
}

#[inline(always)] // Into the hot path, whose sink then lives in registers: half the time.
fn write_publish(
    publish: &Publish<'_>,
    payload: &[u8],
    version: ProtocolVersion,
    sink: &mut impl Sink,
) {
    sink.binary(publish.topic.map_or(&[], |topic| topic.as_bytes()));
    if let Some(id) = publish.delivery.id() {
        sink.u16(id.get()); // [MQTT-2.3.1-5]
    }
    write_properties(&publish.properties, version, sink);
    sink.bytes(payload);
}

/// Payload fields in the order of [MQTT-3.1.3-1].
fn write_connect(connect: &Connect<'_>, sink: &mut impl Sink) {
    let (name, level): (&[u8], u8) = match connect.version {
        ProtocolVersion::V31 => (b"MQIsdp", 3),
        ProtocolVersion::V311 => (b"MQTT", 4),
        ProtocolVersion::V5 => (b"MQTT", 5),
    };
    sink.binary(name);
    sink.u8(level | u8::from(connect.bridge) << 7);
    sink.u8(connect_flags(connect));
    sink.u16(connect.keep_alive_s);
    write_properties(&connect.properties, connect.version, sink);
    sink.binary(connect.client_id.as_bytes());
    if let Some(will) = &connect.will {
        write_properties(&will.properties, connect.version, sink);
        sink.binary(will.topic.as_bytes());
        sink.binary(will.payload);
    }
    if let Some(user_name) = connect.user_name {
        sink.binary(user_name.as_bytes());
    }
    if let Some(password) = connect.password {
        sink.binary(password);
    }
}

pub(crate) fn connect_flags(connect: &Connect<'_>) -> u8 {
    // [MQTT-3.1.2-11]
    let will =
        connect.will.map_or(0, |will| 0x04 | will.qos.get() << 3 | u8::from(will.retain) << 5);
    u8::from(connect.user_name.is_some()) << 7
        | u8::from(connect.password.is_some()) << 6
        | will
        | u8::from(connect.clean_session) << 1
}

fn write_connack(connack: &ConnAck<'_>, version: ProtocolVersion, sink: &mut impl Sink) {
    // 3.1 keeps this byte reserved.
    sink.u8(u8::from(connack.session_present && version > ProtocolVersion::V31));
    sink.u8(match connack.code {
        ConnAckCode::V3(code) => code.get(),
        ConnAckCode::V5(code) => code.get(),
    });
    write_properties(&connack.properties, version, sink);
}

/// The shortest form, the only one before 5.0: what says nothing is left out (MQTT 5.0 3.4.2.1).
fn write_reason_and_properties(
    reason: ReasonCode,
    properties: &Properties<'_>,
    sink: &mut impl Sink,
) {
    if reason != ReasonCode::Success || !properties.is_empty() {
        sink.u8(reason.get());
    }
    if !properties.is_empty() {
        write_properties(properties, ProtocolVersion::V5, sink);
    }
}

fn write_auth(auth: &Auth<'_>, sink: &mut impl Sink) {
    if auth.reason != ReasonCode::Success || !auth.properties.is_empty() {
        sink.u8(auth.reason.get());
        write_properties(&auth.properties, ProtocolVersion::V5, sink);
    }
}

fn write_subscription(subscription: &Subscription<'_>, sink: &mut impl Sink) {
    write_filter(&subscription.filter, sink);
    sink.u8(options_byte(subscription));
}

fn write_filter(filter: &SubscriptionFilter<'_>, sink: &mut impl Sink) {
    sink.u16(filter.len() as u16); // At most 65,535: checked before.
    if let Some(share) = filter.share {
        sink.bytes(SHARE_PREFIX);
        sink.bytes(share.as_bytes());
        sink.bytes(b"/");
    }
    sink.bytes(filter.filter.as_bytes());
}

/// Property Length and properties; nothing before 5.0.
#[inline]
fn write_properties(properties: &Properties<'_>, version: ProtocolVersion, sink: &mut impl Sink) {
    if version < ProtocolVersion::V5 {
        return;
    }
    if properties.is_empty() {
        return sink.u8(0); // [MQTT5-2.2.2-1]
    }
    // By value, so that a sink whose packet has no properties can live in registers.
    *sink = write_some_properties(properties, core::mem::take(sink));
}

#[inline(never)]
fn write_some_properties<S: Sink>(properties: &Properties<'_>, mut sink: S) -> S {
    let mut len = Counter::default();
    properties.iter().for_each(|property| property.write(&mut len));
    sink.variable_byte_integer(u32::try_from(len.0).unwrap_or(u32::MAX));
    properties.iter().for_each(|property| property.write(&mut sink));
    sink
}

impl EncodeError {
    #[cold]
    fn illegal(rule: &'static Rule, version: ProtocolVersion) -> Self {
        let id = if version == ProtocolVersion::V5 { rule.v5 } else { rule.v3 };
        Self::Illegal { rule: id, text: rule.text }
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BufferTooSmall { needed } => write!(f, "the packet takes {needed} bytes"),
            Self::PacketTooLarge => f.write_str("larger than any MQTT packet may be"),
            Self::NotInVersion => f.write_str("not in this version of MQTT"),
            Self::Illegal { rule, text } => write!(f, "{text} [{rule}]"),
        }
    }
}

impl core::error::Error for EncodeError {}
