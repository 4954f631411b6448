//! Bytes to packets.

use core::fmt;

use crate::packet::{
    Ack, Auth, Delivery, Disconnect, Packet, PacketType, Publish, SubAck, Subscribe, UnsubAck,
    Unsubscribe,
};
use crate::payload::{Filters, ReasonCodes, Subscriptions};
use crate::properties::{Place, Properties, TOPIC_ALIAS};
use crate::reader::Reader;
use crate::reason::{ProtocolVersion, ReasonCode};
use crate::rules::{self, Checked, Rule};
use crate::topic::{TopicName, fits_levels};

mod connect;

/// What a decoder accepts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DecodeLimits {
    /// The largest packet, fixed header included, in bytes (the protocol's own limit is
    /// 268,435,460).
    pub packet_size_max: u32,
    /// The most levels of a topic name or filter.
    pub topic_levels_max: u16,
}

/// What [`decode`] found at the start of its input.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Decoded<'a> {
    /// The packet is not all there. `at_least` more bytes are wanted (an estimate from below).
    NeedMore {
        /// 1 while the fixed header is incomplete; then what is missing of the packet.
        at_least: usize,
    },
    /// A whole packet.
    Packet {
        /// The packet.
        packet: Packet<'a>,
        /// Its length, fixed header included: the next packet begins here.
        len: usize,
        /// The length of its fixed header (type byte and Remaining Length).
        header_len: usize,
    },
}

/// Why bytes are no packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DecodeError {
    /// What MQTT 5.0 answers. [`ReasonCode::PacketTooLarge`] is said of a packet over
    /// [`DecodeLimits::packet_size_max`], and of nothing else.
    pub reason: ReasonCode,
    /// The id of the rule that was broken, in the version that was spoken: `MQTT-2.2.2-2` of 3.1.1,
    /// `MQTT5-2.1.3-1` of 5.0; the section for a statement without an id, `MQTT 5.0 2.2.2.2`; the
    /// name of the limit that was passed.
    pub rule: &'static str,
    /// What was wrong, in a few words.
    pub text: &'static str,
    /// This is a CONNECT whose Protocol Level no version has: CONNACK 0x01 in 3.1.1's form is to be
    /// sent before closing [MQTT-3.1.2-2].
    pub unknown_level: bool,
}

/// Finds the packet at the beginning of `input`.
///
/// A CONNECT is decoded by the protocol name and level that it carries; `version` is for all
/// others. Wrong types and flags and packets over the limit are refused as soon as the bytes that
/// say so are there. What may be sent by a client only, or by a server only, is decoded all the
/// same: the caller knows who speaks.
#[inline]
pub fn decode<'a>(
    input: &'a [u8],
    version: ProtocolVersion,
    limits: &DecodeLimits,
) -> Result<Decoded<'a>, DecodeError> {
    let header = match FixedHeader::read(input, version) {
        Ok(Some(header)) => header,
        Ok(None) => return Ok(Decoded::NeedMore { at_least: 1 }),
        Err(rule) => return Err(DecodeError::new(rule, version)),
    };
    let len = header.len + header.remaining_len;
    if len > usize::try_from(limits.packet_size_max).unwrap_or(usize::MAX) {
        return Err(DecodeError::new(rules::PACKET_TOO_LARGE, version));
    }
    let Some(body) = input.get(header.len..len) else {
        return Ok(Decoded::NeedMore { at_least: len - input.len() });
    };
    let packet = if header.packet_type == PacketType::Connect {
        Packet::Connect(connect::read(body, header.shortest, limits)?)
    } else {
        read_packet(&header, body, version, limits)
            .map_err(|rule| DecodeError::new(rule, version))?
    };
    Ok(Decoded::Packet { packet, len, header_len: header.len })
}

impl DecodeError {
    #[cold]
    fn new(rule: &'static Rule, version: ProtocolVersion) -> Self {
        let id = if version == ProtocolVersion::V5 { rule.v5 } else { rule.v3 };
        Self { reason: rule.reason, rule: id, text: rule.text, unknown_level: false }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.text, self.rule)
    }
}

impl core::error::Error for DecodeError {}

/// What stands in front of every packet's body.
struct FixedHeader {
    packet_type: PacketType,
    first_byte: u8,
    remaining_len: usize,
    /// Its own length.
    len: usize,
    /// Whether Remaining Length took as few bytes as it could.
    shortest: bool,
}

impl FixedHeader {
    /// Reads the header; `None` while it is not all there.
    #[inline]
    fn read(input: &[u8], version: ProtocolVersion) -> Checked<Option<Self>> {
        let Some((&first_byte, rest)) = input.split_first() else { return Ok(None) };
        let packet_type = check_first_byte(first_byte, version)?;
        let mut remaining_len = 0;
        for (at, &byte) in rest.iter().take(4).enumerate() {
            remaining_len |= usize::from(byte & 0x7F) << (7 * at);
            if byte & 0x80 == 0 {
                let shortest = byte != 0 || at == 0;
                if !shortest && version == ProtocolVersion::V5 && packet_type != PacketType::Connect
                {
                    return Err(rules::LENGTH_NOT_MINIMAL); // [MQTT5-1.5.5-1]
                }
                let len = at + 2;
                return Ok(Some(Self { packet_type, first_byte, remaining_len, len, shortest }));
            }
        }
        if rest.len() < 4 { Ok(None) } else { Err(rules::LENGTH_TOO_LONG) }
    }
}

/// Checks type and flags [MQTT-2.2.2-2].
#[inline]
fn check_first_byte(first_byte: u8, version: ProtocolVersion) -> Checked<PacketType> {
    let packet_type = PacketType::of(first_byte).ok_or(rules::TYPE_RESERVED)?;
    let flags = first_byte & 0x0F;
    let (expected, rule) = match packet_type {
        PacketType::Publish => return check_publish_flags(flags).map(|()| packet_type),
        PacketType::PubRel => (0b0010, rules::PUBREL_FLAGS), // [MQTT-3.6.1-1]
        PacketType::Subscribe => (0b0010, rules::SUBSCRIBE_FLAGS), // [MQTT-3.8.1-1]
        PacketType::Unsubscribe => (0b0010, rules::UNSUBSCRIBE_FLAGS), // [MQTT-3.10.1-1]
        PacketType::Disconnect => (0, rules::DISCONNECT_FLAGS), // [MQTT-3.14.1-1]
        PacketType::Auth if version < ProtocolVersion::V5 => return Err(rules::TYPE_RESERVED),
        PacketType::Auth => (0, rules::AUTH_FLAGS),
        PacketType::Connect
        | PacketType::ConnAck
        | PacketType::PubAck
        | PacketType::PubRec
        | PacketType::PubComp
        | PacketType::SubAck
        | PacketType::UnsubAck
        | PacketType::PingReq
        | PacketType::PingResp => (0, rules::FLAGS),
    };
    // 3.1 sends PUBREL, SUBSCRIBE and UNSUBSCRIBE at QoS 1, with DUP when they are sent again.
    let dup_of_v31 = version == ProtocolVersion::V31 && expected != 0 && flags == 0b1010;
    if flags == expected || dup_of_v31 { Ok(packet_type) } else { Err(rule) }
}

#[inline]
fn check_publish_flags(flags: u8) -> Checked<()> {
    match flags >> 1 {
        0b011 | 0b111 => Err(rules::PUBLISH_QOS), // [MQTT-3.3.1-4]
        0b100 => Err(rules::DUP_QOS_0),           // [MQTT-3.3.1-2]
        _ => Ok(()),
    }
}

/// Reads the body of any packet but CONNECT.
#[inline]
fn read_packet<'a>(
    header: &FixedHeader,
    body: &'a [u8],
    version: ProtocolVersion,
    limits: &DecodeLimits,
) -> Checked<Packet<'a>> {
    let reader = &mut Reader::new(body);
    let packet = match header.packet_type {
        PacketType::Publish => {
            return publish(header.first_byte, reader, version, limits).map(Packet::Publish);
        }
        PacketType::Connect => unreachable!("read by its own version, not by the connection's"),
        PacketType::ConnAck => Packet::ConnAck(connect::read_connack(reader, version)?),
        PacketType::PubAck => Packet::PubAck(ack(reader, version, PacketType::PubAck)?),
        PacketType::PubRec => Packet::PubRec(ack(reader, version, PacketType::PubRec)?),
        PacketType::PubRel => Packet::PubRel(ack(reader, version, PacketType::PubRel)?),
        PacketType::PubComp => Packet::PubComp(ack(reader, version, PacketType::PubComp)?),
        PacketType::Subscribe => Packet::Subscribe(subscribe(reader, version, limits)?),
        PacketType::SubAck => Packet::SubAck(suback(reader, version)?),
        PacketType::Unsubscribe => Packet::Unsubscribe(unsubscribe(reader, version, limits)?),
        PacketType::UnsubAck => Packet::UnsubAck(unsuback(reader, version)?),
        PacketType::PingReq => Packet::PingReq,
        PacketType::PingResp => Packet::PingResp,
        PacketType::Disconnect => Packet::Disconnect(disconnect(reader, version)?),
        PacketType::Auth => Packet::Auth(auth(reader)?),
    };
    reader.finish()?;
    Ok(packet)
}

#[inline]
fn publish<'a>(
    first_byte: u8,
    reader: &mut Reader<'a>,
    version: ProtocolVersion,
    limits: &DecodeLimits,
) -> Checked<Publish<'a>> {
    // [MQTT-3.3.2-1]
    let topic = match reader.binary()? {
        [] if version == ProtocolVersion::V5 => None,
        bytes => Some(topic_name(bytes, limits, rules::TOPIC_UTF8, rules::TOPIC_WILDCARD)?),
    };
    let dup = first_byte & 0b1000 != 0;
    let delivery = match first_byte & 0b0110 {
        0b0000 => Delivery::AtMostOnce, // No id [MQTT-2.3.1-5].
        0b0010 => Delivery::AtLeastOnce { id: reader.packet_id(rules::ID_ZERO)?, dup },
        _ => Delivery::ExactlyOnce { id: reader.packet_id(rules::ID_ZERO)?, dup },
    };
    let properties = properties(reader, version, PacketType::Publish)?;
    if topic.is_none() && !properties.has(TOPIC_ALIAS) {
        return Err(rules::NO_TOPIC);
    }
    let retain = first_byte & 1 != 0;
    Ok(Publish { delivery, retain, topic, properties, payload: reader.rest() })
}

/// A topic name of a PUBLISH or Will, with no more levels than the limit.
#[inline]
fn topic_name<'a>(
    bytes: &'a [u8],
    limits: &DecodeLimits,
    ill_formed: &'static Rule,
    wildcard: &'static Rule,
) -> Checked<TopicName<'a>> {
    let name = TopicName::new(bytes).map_err(|error| rules::topic(error, ill_formed, wildcard))?;
    if fits_levels(bytes, limits.topic_levels_max) { Ok(name) } else { Err(rules::NAME_LEVELS) }
}

/// The properties of a packet: none before 5.0.
#[inline]
fn properties<'a>(
    reader: &mut Reader<'a>,
    version: ProtocolVersion,
    packet: PacketType,
) -> Checked<Properties<'a>> {
    if version == ProtocolVersion::V5 {
        Properties::read(reader, Place::In(packet))
    } else {
        Ok(Properties::EMPTY)
    }
}

fn ack<'a>(
    reader: &mut Reader<'a>,
    version: ProtocolVersion,
    packet: PacketType,
) -> Checked<Ack<'a>> {
    let id = reader.packet_id(rules::ACK_ID_ZERO)?;
    let (reason, properties) = reason_and_properties(reader, version, packet)?;
    Ok(Ack { id, reason, properties })
}

/// What MQTT 5.0 lets a packet leave out from its end: the reason code if it is `Success` and
/// nothing follows, Property Length if no properties follow (3.4.2.1, 3.14.2.1).
fn reason_and_properties<'a>(
    reader: &mut Reader<'a>,
    version: ProtocolVersion,
    packet: PacketType,
) -> Checked<(ReasonCode, Properties<'a>)> {
    if reader.is_empty() || version < ProtocolVersion::V5 {
        return Ok((ReasonCode::Success, Properties::EMPTY));
    }
    let reason = reason_code(reader, packet)?;
    if reader.is_empty() {
        return Ok((reason, Properties::EMPTY));
    }
    Ok((reason, Properties::read(reader, Place::In(packet))?))
}

/// A reason code that this packet may carry (MQTT 5.0 2.4).
fn reason_code(reader: &mut Reader<'_>, packet: PacketType) -> Checked<ReasonCode> {
    ReasonCode::new(reader.u8()?)
        .filter(|code| code.is_for(packet))
        .ok_or(rules::reason_code(packet))
}

fn subscribe<'a>(
    reader: &mut Reader<'a>,
    version: ProtocolVersion,
    limits: &DecodeLimits,
) -> Checked<Subscribe<'a>> {
    let id = reader.packet_id(rules::ID_ZERO)?; // [MQTT-2.3.1-1]
    let properties = properties(reader, version, PacketType::Subscribe)?;
    let subscriptions = Subscriptions::read(reader, version, limits.topic_levels_max)?;
    Ok(Subscribe { id, properties, subscriptions })
}

fn unsubscribe<'a>(
    reader: &mut Reader<'a>,
    version: ProtocolVersion,
    limits: &DecodeLimits,
) -> Checked<Unsubscribe<'a>> {
    let id = reader.packet_id(rules::ID_ZERO)?; // [MQTT-2.3.1-1]
    let properties = properties(reader, version, PacketType::Unsubscribe)?;
    let filters = Filters::read(reader, limits.topic_levels_max)?;
    Ok(Unsubscribe { id, properties, filters })
}

fn suback<'a>(reader: &mut Reader<'a>, version: ProtocolVersion) -> Checked<SubAck<'a>> {
    let id = reader.packet_id(rules::SUBACK_ID_ZERO)?; // [MQTT-2.3.1-7]
    let properties = properties(reader, version, PacketType::SubAck)?;
    let codes = ReasonCodes::read(reader);
    codes.check(version, PacketType::SubAck)?;
    Ok(SubAck { id, properties, codes })
}

fn unsuback<'a>(reader: &mut Reader<'a>, version: ProtocolVersion) -> Checked<UnsubAck<'a>> {
    let id = reader.packet_id(rules::SUBACK_ID_ZERO)?; // [MQTT-2.3.1-7]
    if version < ProtocolVersion::V5 {
        return Ok(UnsubAck { id, properties: Properties::EMPTY, codes: ReasonCodes::EMPTY });
    }
    let properties = Properties::read(reader, Place::In(PacketType::UnsubAck))?;
    let codes = ReasonCodes::read(reader);
    codes.check(version, PacketType::UnsubAck)?;
    Ok(UnsubAck { id, properties, codes })
}

fn disconnect<'a>(reader: &mut Reader<'a>, version: ProtocolVersion) -> Checked<Disconnect<'a>> {
    let (reason, properties) = reason_and_properties(reader, version, PacketType::Disconnect)?;
    Ok(Disconnect { reason, properties })
}

fn auth<'a>(reader: &mut Reader<'a>) -> Checked<Auth<'a>> {
    if reader.is_empty() {
        return Ok(Auth { reason: ReasonCode::Success, properties: Properties::EMPTY });
    }
    let reason = reason_code(reader, PacketType::Auth)?;
    let properties = Properties::read(reader, Place::In(PacketType::Auth))?;
    let auth = Auth { reason, properties };
    auth.check_method()?;
    Ok(auth)
}
