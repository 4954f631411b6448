//! Packets to bytes.

use crate::packet::Packet;
use crate::reason::ProtocolVersion;

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
    let _ = (packet, version);
    todo!()
}

/// Writes the packet to the beginning of `out` in its shortest form and returns its length.
pub fn encode(
    packet: &Packet<'_>,
    version: ProtocolVersion,
    out: &mut [u8],
) -> Result<usize, EncodeError> {
    let _ = (packet, version, out);
    todo!()
}
