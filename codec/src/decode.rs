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
