//! Bytes to packets.

use crate::packet::Packet;
use crate::reason::{ProtocolVersion, ReasonCode};

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
    /// The id of the rule that was broken, e.g. `MQTT-2.2.2-2`, in the version that was spoken; the
    /// section for a statement without an id; the name of the limit that was passed.
    pub rule: &'static str,
    /// What was wrong, in a few words.
    pub text: &'static str,
    /// In a CONNECT whose Protocol Level is not supported: the form of the CONNACK to send before
    /// closing, 0x01 in 3.1.1's form or 0x84 in 5.0's [MQTT-3.1.2-2].
    pub answer_level: Option<ProtocolVersion>,
}

/// Finds the packet at the beginning of `input`.
///
/// A CONNECT is decoded by the protocol name and level that it carries; `version` is for all others.
pub fn decode<'a>(
    input: &'a [u8],
    version: ProtocolVersion,
    limits: &DecodeLimits,
) -> Result<Decoded<'a>, DecodeError> {
    let _ = (input, version, limits);
    todo!()
}
