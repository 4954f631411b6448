//! CONNECT, which says its own version, and CONNACK.

use crate::packet::{ConnAck, ConnAckCode, Connect, PacketType, Will};
use crate::properties::{Place, Properties};
use crate::reader::Reader;
use crate::reason::{ConnectReturnCode, ProtocolVersion, QoS};
use crate::rules::{self, Checked};

use super::{DecodeError, DecodeLimits, properties, reason_code, topic_name};

/// Reads CONNECT's body. `shortest`: whether its Remaining Length was.
#[cold]
pub(super) fn read<'a>(
    body: &'a [u8],
    shortest: bool,
    limits: &DecodeLimits,
) -> Result<Connect<'a>, DecodeError> {
    let mut reader = Reader::new(body);
    let (version, bridge) = read_protocol(&mut reader)?;
    if version == ProtocolVersion::V5 && !shortest {
        return Err(DecodeError::new(rules::LENGTH_NOT_MINIMAL, version));
    }
    read_rest(&mut reader, version, bridge, limits).map_err(|rule| DecodeError::new(rule, version))
}

/// Protocol Name and Protocol Level.
fn read_protocol(reader: &mut Reader<'_>) -> Result<(ProtocolVersion, bool), DecodeError> {
    let malformed = |rule| DecodeError::new(rule, ProtocolVersion::V311);
    let name = reader.binary().map_err(malformed)?;
    if !matches!(name, b"MQTT" | b"MQIsdp") {
        return Err(malformed(rules::PROTOCOL_NAME)); // [MQTT-3.1.2-1]
    }
    let level = reader.u8().map_err(malformed)?;
    match (name, level) {
        (b"MQIsdp", 0x03 | 0x83) => Ok((ProtocolVersion::V31, level & BRIDGE != 0)),
        (b"MQTT", 0x04 | 0x84) => Ok((ProtocolVersion::V311, level & BRIDGE != 0)),
        (b"MQTT", 0x05) => Ok((ProtocolVersion::V5, false)),
        // [MQTT-3.1.2-2]
        _ => Err(DecodeError { unknown_level: true, ..malformed(rules::PROTOCOL_LEVEL) }),
    }
}

/// What mosquitto's bridges add to the level (`try_private`).
const BRIDGE: u8 = 0x80;

fn read_rest<'a>(
    reader: &mut Reader<'a>,
    version: ProtocolVersion,
    bridge: bool,
    limits: &DecodeLimits,
) -> Checked<Connect<'a>> {
    let flags = ConnectFlags(reader.u8()?);
    flags.check(version)?;
    let keep_alive_s = reader.u16()?;
    let properties = properties(reader, version, PacketType::Connect)?;
    let client_id = match reader.rest() {
        [] => return Err(rules::CLIENT_ID_MISSING), // [MQTT-3.1.3-3]
        _ => reader.string(rules::CLIENT_ID_UTF8)?, // [MQTT-3.1.3-4]
    };
    let will = match flags.has(ConnectFlags::WILL) {
        true => Some(read_will(reader, flags, version, limits)?),
        false => None, // [MQTT-3.1.2-11]
    };
    // 3.1: "the Remaining Length takes precedence over the User Name flag", and over the other.
    let left_out = |reader: &Reader<'_>| version == ProtocolVersion::V31 && reader.is_empty();
    let user_name = match flags.has(ConnectFlags::USER_NAME) && !left_out(reader) {
        true if reader.is_empty() => return Err(rules::USER_MISSING), // [MQTT-3.1.2-19]
        true => Some(reader.string(rules::USER_UTF8)?),               // [MQTT-3.1.3-11]
        false => None,
    };
    let password = match flags.has(ConnectFlags::PASSWORD) && !left_out(reader) {
        true if reader.is_empty() => return Err(rules::PASSWORD_MISSING), // [MQTT-3.1.2-21]
        true => Some(reader.binary()?),
        false => None,
    };
    reader.finish()?; // [MQTT-3.1.2-18] [MQTT-3.1.2-20]
    let clean_session = flags.has(ConnectFlags::CLEAN_SESSION);
    Ok(Connect {
        version,
        bridge,
        clean_session,
        keep_alive_s,
        properties,
        client_id,
        will,
        user_name,
        password,
    })
}

/// Will properties, topic and payload, in this order [MQTT-3.1.3-1].
fn read_will<'a>(
    reader: &mut Reader<'a>,
    flags: ConnectFlags,
    version: ProtocolVersion,
    limits: &DecodeLimits,
) -> Checked<Will<'a>> {
    if reader.is_empty() {
        return Err(rules::WILL_MISSING); // [MQTT-3.1.2-9]
    }
    let properties = match version {
        ProtocolVersion::V5 => Properties::read(reader, Place::Will)?,
        ProtocolVersion::V31 | ProtocolVersion::V311 => Properties::EMPTY,
    };
    let topic = reader.binary()?; // [MQTT-3.1.3-10]
    let topic = topic_name(topic, limits, rules::WILL_UTF8, rules::WILL_WILDCARD)?;
    let payload = reader.binary()?;
    let qos = QoS::new(flags.will_qos()).ok_or(rules::WILL_QOS)?; // [MQTT-3.1.2-14]
    Ok(Will { topic, payload, qos, retain: flags.has(ConnectFlags::WILL_RETAIN), properties })
}

/// CONNECT's flags byte.
#[derive(Clone, Copy)]
struct ConnectFlags(u8);

impl ConnectFlags {
    const RESERVED: u8 = 0x01;
    const CLEAN_SESSION: u8 = 0x02;
    const WILL: u8 = 0x04;
    const WILL_RETAIN: u8 = 0x20;
    const PASSWORD: u8 = 0x40;
    const USER_NAME: u8 = 0x80;

    const fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    const fn will_qos(self) -> u8 {
        self.0 >> 3 & 0x03
    }

    /// No flag may contradict another.
    fn check(self, version: ProtocolVersion) -> Checked<()> {
        if self.has(Self::RESERVED) {
            return Err(rules::CONNECT_RESERVED); // [MQTT-3.1.2-3]
        }
        if self.will_qos() == 3 {
            return Err(rules::WILL_QOS); // [MQTT-3.1.2-14]
        }
        if !self.has(Self::WILL) && self.will_qos() != 0 {
            return Err(rules::WILL_QOS_WITHOUT_WILL); // [MQTT-3.1.2-13]
        }
        if !self.has(Self::WILL) && self.has(Self::WILL_RETAIN) {
            return Err(rules::WILL_RETAIN_WITHOUT_WILL); // [MQTT-3.1.2-15]
        }
        let password_alone = self.has(Self::PASSWORD) && !self.has(Self::USER_NAME);
        if password_alone && version < ProtocolVersion::V5 {
            return Err(rules::PASSWORD_WITHOUT_USER); // [MQTT-3.1.2-22]
        }
        Ok(())
    }
}

/// Reads CONNACK's body.
pub(super) fn read_connack<'a>(
    reader: &mut Reader<'a>,
    version: ProtocolVersion,
) -> Checked<ConnAck<'a>> {
    let flags = reader.u8()?;
    if flags & 0xFE != 0 || flags != 0 && version == ProtocolVersion::V31 {
        return Err(rules::CONNACK_FLAGS); // [MQTT5-3.2.2-1]
    }
    let code = match version {
        ProtocolVersion::V31 | ProtocolVersion::V311 => {
            ConnAckCode::V3(ConnectReturnCode::new(reader.u8()?).ok_or(rules::RETURN_CODE)?)
        }
        ProtocolVersion::V5 => ConnAckCode::V5(reason_code(reader, PacketType::ConnAck)?),
    };
    let session_present = flags == 1;
    if session_present && !code.is_accepted() {
        return Err(rules::SESSION_PRESENT_REFUSED); // [MQTT-3.2.2-4]
    }
    let properties = properties(reader, version, PacketType::ConnAck)?;
    Ok(ConnAck { session_present, code, properties })
}
