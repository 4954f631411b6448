//! Bytes on their way to the other broker, and which messages among them have left.

use std::collections::VecDeque;

use martlet_codec::encode::{self, EncodeError};
use martlet_codec::packet::Packet;
use martlet_codec::reason::ProtocolVersion;

/// Packets behind each other, as far as the stream has not taken them.
#[derive(Debug, Default)]
pub(in crate::bridge) struct Out {
    bytes: Vec<u8>,
    /// How many of them the stream has.
    taken: usize,
    /// Where messages end that are not wholly taken.
    messages: VecDeque<End>,
}

#[derive(Clone, Copy, Debug)]
struct End {
    at: usize,
    /// Nobody sends it again.
    at_most_once: bool,
}

impl Out {
    /// Whether the stream has everything.
    pub(in crate::bridge) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes that are held.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// What the stream is to take next.
    pub(in crate::bridge) fn rest(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    /// The stream has taken so many bytes; how many messages have left with them.
    pub(super) fn take(&mut self, len: usize) -> u64 {
        self.taken += len;
        let before = self.messages.len();
        while self.messages.front().is_some_and(|message| message.at <= self.taken) {
            self.messages.pop_front();
        }
        let left = before - self.messages.len();
        if self.taken == self.bytes.len() {
            self.bytes.clear();
            self.taken = 0;
        }
        left as u64
    }

    /// Messages at QoS 0 that have not wholly left.
    pub(super) fn unsent(&self) -> u64 {
        self.messages.iter().filter(|message| message.at_most_once).count() as u64
    }

    /// Puts a packet behind the others.
    pub(super) fn put(
        &mut self,
        packet: &Packet<'_>,
        version: ProtocolVersion,
        size_max: u32,
    ) -> Result<(), EncodeError> {
        let len = encode::encoded_len(packet, version)?;
        if u32::try_from(len).map_or(true, |len| len > size_max) {
            return Err(EncodeError::PacketTooLarge);
        }
        let start = self.bytes.len();
        self.bytes.resize(start + len, 0);
        encode::encode(packet, version, &mut self.bytes[start..])?;
        Ok(())
    }

    /// The last packet is a message.
    pub(super) fn mark_message(&mut self, at_most_once: bool) {
        self.messages.push_back(End { at: self.bytes.len(), at_most_once });
    }
}
