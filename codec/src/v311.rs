//! What a client of MQTT 3.1.1 says and hears, in as little code as a microcontroller has room for:
//! no other version, no other role, no table of rules.
//!
//! The bytes are those of [`encode`](mod@crate::encode), the verdicts those of
//! [`decode`](mod@crate::decode); `tests/v311.rs` compares them. A PUBLISH is read and written
//! without its payload, which may be larger than any buffer. Nothing here can panic.

use crate::encode::EncodeError;
use crate::ids::PacketId;
use crate::packet::{Connect, Delivery, PacketType, Publish};
use crate::reason::{ConnectReturnCode, QoS};
use crate::topic::{SubscriptionFilter, TopicName};

/// PINGREQ.
pub const PINGREQ: [u8; 2] = [0xC0, 0];
/// DISCONNECT.
pub const DISCONNECT: [u8; 2] = [0xE0, 0];

/// What [`read`] found at the start of its input.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Found<'a> {
    /// The packet, or the head of a PUBLISH, is not all there.
    NeedMore {
        /// How many bytes are wanted at least.
        at_least: usize,
    },
    /// All of it is there.
    Packet(ServerPacket<'a>),
}

/// What a server sends.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum ServerPacket<'a> {
    /// CONNACK.
    ConnAck {
        /// Whether the server had this client's session.
        session_present: bool,
        /// The answer.
        code: ConnectReturnCode,
    },
    /// PUBLISH, without its payload.
    Publish(PublishHead<'a>),
    /// PUBACK, PUBREC, PUBREL or PUBCOMP.
    Ack(PacketType, PacketId),
    /// SUBACK.
    SubAck {
        /// The id of the SUBSCRIBE.
        id: PacketId,
        /// One for each filter: the QoS granted, or 0x80.
        codes: &'a [u8],
    },
    /// UNSUBACK.
    UnsubAck(PacketId),
    /// PINGRESP.
    PingResp,
}

/// A PUBLISH without its payload.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct PublishHead<'a> {
    /// QoS, id and DUP.
    pub delivery: Delivery,
    /// The RETAIN flag.
    pub retain: bool,
    /// The topic.
    pub topic: TopicName<'a>,
    /// Where the payload begins.
    pub head_len: usize,
    /// How long it is.
    pub payload_len: usize,
}

/// Bytes that are no packet of a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed {
    /// The id of the rule that was broken.
    pub rule: &'static str,
}

type Checked<T> = Result<T, Malformed>;

/// Finds the packet at the beginning of `input`, which a server sent.
pub fn read(input: &[u8]) -> Checked<Found<'_>> {
    let &[first, ref rest @ ..] = input else { return Ok(Found::NeedMore { at_least: 1 }) };
    check_first_byte(first)?;
    let Some((remaining_len, header_len)) = read_len(rest)? else {
        return Ok(Found::NeedMore { at_least: 1 });
    };
    let rest = input.get(header_len..).unwrap_or_default();
    if first >> 4 == PacketType::Publish as u8 {
        return read_publish(first, rest, remaining_len, header_len);
    }
    let Some(body) = rest.get(..remaining_len) else {
        return Ok(Found::NeedMore { at_least: remaining_len - rest.len() });
    };
    read_body(first, body).map(Found::Packet)
}

/// Writes CONNECT, which must be of 3.1.1.
pub fn write_connect(connect: &Connect<'_>, out: &mut [u8]) -> Result<usize, EncodeError> {
    let rule = |rule, text| Err(EncodeError::Illegal { rule, text });
    if connect.password.is_some() && connect.user_name.is_none() {
        return rule("MQTT-3.1.2-22", "a password without a user name");
    }
    let will = connect.will.as_ref();
    let fields: [Option<&[u8]>; 5] = [
        Some(connect.client_id.as_bytes()),
        will.map(|will| will.topic.as_bytes()),
        will.map(|will| will.payload),
        connect.user_name.map(str::as_bytes),
        connect.password,
    ];
    let texts = [Some(connect.client_id), connect.user_name];
    if texts.iter().flatten().any(|text| text.bytes().any(|byte| byte == 0)) {
        return rule("MQTT-1.5.3-2", "U+0000 in a string");
    }
    let mut len = CONNECT_HEAD.len() + 3;
    for field in fields.iter().flatten() {
        len += 2 + checked_len(field)?;
    }
    let mut writer = Writer::begin(0x10, len, 0, out)?;
    writer.put(&CONNECT_HEAD);
    let [high, low] = connect.keep_alive_s.to_be_bytes();
    writer.put(&[crate::encode::connect_flags(connect), high, low]);
    fields.iter().flatten().for_each(|field| writer.field(field));
    Ok(writer.len)
}

/// Writes a PUBLISH without its payload, whose length the packet tells. Its topic must be there.
pub fn write_publish_head(publish: &Publish<'_>, out: &mut [u8]) -> Result<usize, EncodeError> {
    let Some(topic) = publish.topic else { return Err(EncodeError::NotInVersion) };
    let id = publish.delivery.id();
    let id_len = if id.is_some() { 2 } else { 0 };
    let payload_len = publish.payload.len();
    let len = (2 + topic.as_bytes().len() + id_len).saturating_add(payload_len);
    let first = 0x30 | crate::encode::publish_flags(publish);
    let mut writer = Writer::begin(first, len, payload_len, out)?;
    writer.field(topic.as_bytes());
    if let Some(id) = id {
        writer.put(&id.get().to_be_bytes());
    }
    Ok(writer.len)
}

/// Writes SUBSCRIBE: filters, as [`SubscriptionFilter::parse`] takes them, and the QoS asked for.
pub fn write_subscribe<'f>(
    id: PacketId,
    filters: impl Iterator<Item = (&'f str, QoS)> + Clone,
    out: &mut [u8],
) -> Result<usize, EncodeError> {
    let texts = filters.clone().map(|(filter, _)| filter);
    let mut writer = begin_filters(0x82, id, texts, 1, out)?;
    for (filter, qos) in filters {
        writer.field(filter.as_bytes());
        writer.put(&[qos.get()]);
    }
    Ok(writer.len)
}

/// Writes UNSUBSCRIBE; filters as for [`write_subscribe`].
pub fn write_unsubscribe<'f>(
    id: PacketId,
    filters: impl Iterator<Item = &'f str> + Clone,
    out: &mut [u8],
) -> Result<usize, EncodeError> {
    let mut writer = begin_filters(0xA2, id, filters.clone(), 0, out)?;
    filters.for_each(|filter| writer.field(filter.as_bytes()));
    Ok(writer.len)
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP.
pub const fn ack(packet: PacketType, id: PacketId) -> [u8; 4] {
    let flags = if matches!(packet, PacketType::PubRel) { 0b0010 } else { 0 }; // [MQTT-3.6.1-1]
    let [high, low] = id.get().to_be_bytes();
    [(packet as u8) << 4 | flags, 2, high, low]
}

/// Only what a server sends, with the flags it must have [MQTT-2.2.2-2].
fn check_first_byte(first: u8) -> Checked<()> {
    match first {
        0x20 | 0x40 | 0x50 | 0x62 | 0x70 | 0x90 | 0xB0 | 0xD0 => Ok(()),
        0x30..=0x35 | 0x3A..=0x3D => Ok(()),
        0x38 | 0x39 => Err(Malformed { rule: "MQTT-3.3.1-2" }),
        0x36 | 0x37 | 0x3E | 0x3F => Err(Malformed { rule: "MQTT-3.3.1-4" }),
        _ => Err(Malformed { rule: "MQTT-2.2.2-2" }),
    }
}

/// Remaining Length, and the length of the fixed header.
fn read_len(rest: &[u8]) -> Checked<Option<(usize, usize)>> {
    let mut len = 0;
    for (at, &byte) in rest.iter().take(4).enumerate() {
        len |= usize::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(Some((len, at + 2)));
        }
    }
    if rest.len() < 4 { Ok(None) } else { Err(LENGTH) }
}

const LENGTH: Malformed = Malformed { rule: "MQTT 3.1.1 2.2.3" };
const ID_ZERO: Malformed = Malformed { rule: "MQTT-2.3.1-1" };

fn read_publish(
    first: u8,
    rest: &[u8],
    remaining_len: usize,
    header_len: usize,
) -> Checked<Found<'_>> {
    let id_len = if first & 0b0110 == 0 { 0 } else { 2 };
    let topic_len = match rest {
        &[high, low, ..] => usize::from(u16::from_be_bytes([high, low])),
        _ if remaining_len < 2 => return Err(LENGTH),
        _ => return Ok(Found::NeedMore { at_least: 2 - rest.len() }),
    };
    let head_len = 2 + topic_len + id_len;
    if remaining_len < head_len {
        return Err(LENGTH);
    }
    let Some(topic) = rest.get(2..2 + topic_len) else {
        return Ok(Found::NeedMore { at_least: head_len - rest.len() });
    };
    let Some(id) = rest.get(2 + topic_len..head_len) else {
        return Ok(Found::NeedMore { at_least: head_len - rest.len() });
    };
    // [MQTT-3.3.2-1] [MQTT-3.3.2-2]
    let topic = TopicName::new(topic).map_err(|_| Malformed { rule: "MQTT-3.3.2-1" })?;
    let dup = first & 0b1000 != 0;
    let delivery = match *id {
        [high, low] => {
            let id = PacketId::new(u16::from_be_bytes([high, low])).ok_or(ID_ZERO)?;
            if first & 0b0010 != 0 {
                Delivery::AtLeastOnce { id, dup }
            } else {
                Delivery::ExactlyOnce { id, dup }
            }
        }
        _ => Delivery::AtMostOnce,
    };
    Ok(Found::Packet(ServerPacket::Publish(PublishHead {
        delivery,
        retain: first & 1 != 0,
        topic,
        head_len: header_len + head_len,
        payload_len: remaining_len - head_len,
    })))
}

/// The rest of a packet that is not PUBLISH.
fn read_body(first: u8, body: &[u8]) -> Checked<ServerPacket<'_>> {
    let packet = PacketType::of(first);
    match (packet, body) {
        (Some(PacketType::ConnAck), &[flags @ 0..=1, code]) => {
            let code = ConnectReturnCode::new(code);
            let code = code.ok_or(Malformed { rule: "MQTT 3.1.1 3.2.2.3" })?;
            if flags == 1 && !matches!(code, ConnectReturnCode::Accepted) {
                return Err(Malformed { rule: "MQTT-3.2.2-4" });
            }
            Ok(ServerPacket::ConnAck { session_present: flags == 1, code })
        }
        (Some(PacketType::PingResp), []) => Ok(ServerPacket::PingResp),
        (Some(packet), &[high, low, ref codes @ ..]) => {
            let id = PacketId::new(u16::from_be_bytes([high, low])).ok_or(ID_ZERO)?;
            match (packet, codes) {
                (PacketType::SubAck, [_, ..]) => {
                    // [MQTT-3.9.3-2]
                    if codes.iter().any(|code| !matches!(code, 0..=2 | 0x80)) {
                        return Err(Malformed { rule: "MQTT-3.9.3-2" });
                    }
                    Ok(ServerPacket::SubAck { id, codes })
                }
                (PacketType::UnsubAck, []) => Ok(ServerPacket::UnsubAck(id)),
                (
                    PacketType::PubAck
                    | PacketType::PubRec
                    | PacketType::PubRel
                    | PacketType::PubComp,
                    [],
                ) => Ok(ServerPacket::Ack(packet, id)),
                _ => Err(LENGTH),
            }
        }
        _ => Err(LENGTH),
    }
}

/// `MQTT`, level 4 [MQTT-3.1.2-1].
const CONNECT_HEAD: [u8; 7] = *b"\0\x04MQTT\x04";

/// The head of SUBSCRIBE or UNSUBSCRIBE, whose filters have `extra` bytes each behind them.
fn begin_filters<'o, 'f>(
    first: u8,
    id: PacketId,
    filters: impl Iterator<Item = &'f str>,
    extra: usize,
    out: &'o mut [u8],
) -> Result<Writer<'o>, EncodeError> {
    let mut len = 2;
    for filter in filters {
        if SubscriptionFilter::parse(filter.as_bytes()).is_err() {
            return Err(EncodeError::Illegal { rule: "MQTT-4.7.3-1", text: "no topic filter" });
        }
        len += 2 + filter.len() + extra;
    }
    if len == 2 {
        // [MQTT-3.8.3-3] [MQTT-3.10.3-2]
        return Err(EncodeError::Illegal { rule: "MQTT-3.8.3-3", text: "no topic filter" });
    }
    let mut writer = Writer::begin(first, len, 0, out)?;
    writer.put(&id.get().to_be_bytes());
    Ok(writer)
}

const TOO_LONG: EncodeError = EncodeError::Illegal {
    rule: "MQTT 3.1.1 1.5.3",
    text: "a string or binary field has at most 65535 bytes",
};

fn checked_len(field: &[u8]) -> Result<usize, EncodeError> {
    if field.len() > usize::from(u16::MAX) { Err(TOO_LONG) } else { Ok(field.len()) }
}

/// Writes fields one behind the other. Its constructor made sure that there is room.
struct Writer<'o> {
    out: &'o mut [u8],
    len: usize,
}

impl<'o> Writer<'o> {
    /// Writes the fixed header of a packet whose `absent` last bytes are not written here.
    fn begin(
        first: u8,
        remaining_len: usize,
        absent: usize,
        out: &'o mut [u8],
    ) -> Result<Self, EncodeError> {
        if remaining_len > crate::sink::VARIABLE_BYTE_INTEGER_MAX as usize {
            return Err(EncodeError::PacketTooLarge);
        }
        let mut header = [first, 0, 0, 0, 0];
        let mut header_len = 1;
        let mut left = remaining_len;
        for digit in header.iter_mut().skip(1) {
            header_len += 1;
            *digit = (left & 0x7F) as u8;
            left >>= 7;
            if left == 0 {
                break;
            }
            *digit |= 0x80;
        }
        let needed = header_len + remaining_len - absent;
        if out.len() < needed {
            return Err(EncodeError::BufferTooSmall { needed });
        }
        let mut writer = Self { out, len: 0 };
        writer.put(header.get(..header_len).unwrap_or_default());
        Ok(writer)
    }

    fn put(&mut self, bytes: &[u8]) {
        let place = self.out.get_mut(self.len..).unwrap_or_default();
        for (to, from) in place.iter_mut().zip(bytes) {
            *to = *from;
        }
        self.len += bytes.len();
    }

    /// A length in two bytes, and as many bytes.
    fn field(&mut self, bytes: &[u8]) {
        self.put(&(bytes.len() as u16).to_be_bytes());
        self.put(bytes);
    }
}
