//! Reading fields one after the other, never past the end.

use crate::ids::PacketId;
use crate::rules::{self, Checked, Rule};

/// What is left to read, and the rule that is broken where a field goes past its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    past_end: &'static Rule,
}

impl<'a> Reader<'a> {
    /// Reads a packet's body.
    #[inline]
    pub(crate) const fn new(body: &'a [u8]) -> Self {
        Self { rest: body, past_end: rules::CROSSES_END }
    }

    /// Reads properties.
    pub(crate) const fn of_properties(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, past_end: rules::PROPERTY_CROSSES_END }
    }

    /// What is left.
    #[inline]
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Nothing may be left.
    #[inline]
    pub(crate) fn finish(self) -> Checked<()> {
        if self.is_empty() { Ok(()) } else { Err(rules::TRAILING) }
    }

    /// Whether nothing is left.
    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `len` bytes.
    #[inline]
    pub(crate) fn bytes(&mut self, len: usize) -> Checked<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(self.past_end)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// One byte.
    #[inline]
    pub(crate) fn u8(&mut self) -> Checked<u8> {
        let (&byte, rest) = self.rest.split_first().ok_or(self.past_end)?;
        self.rest = rest;
        Ok(byte)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Checked<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(self.past_end)?;
        self.rest = rest;
        Ok(*array)
    }

    /// Two Byte Integer.
    #[inline]
    pub(crate) fn u16(&mut self) -> Checked<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// Four Byte Integer.
    pub(crate) fn u32(&mut self) -> Checked<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// Binary Data: its length in two bytes, then as many bytes.
    #[inline]
    pub(crate) fn binary(&mut self) -> Checked<&'a [u8]> {
        let len = self.u16()?;
        self.bytes(usize::from(len))
    }

    /// UTF-8 Encoded String; `ill_formed` is the rule that forbids anything else.
    pub(crate) fn string(&mut self, ill_formed: &'static Rule) -> Checked<&'a str> {
        let text = core::str::from_utf8(self.binary()?).map_err(|_| ill_formed)?;
        if text.as_bytes().contains(&0) {
            return Err(rules::UTF8_NULL); // [MQTT-1.5.3-2]
        }
        Ok(text)
    }

    /// Packet Identifier; `zero` is the rule that forbids 0.
    #[inline]
    pub(crate) fn packet_id(&mut self, zero: &'static Rule) -> Checked<PacketId> {
        PacketId::new(self.u16()?).ok_or(zero)
    }

    /// Variable Byte Integer of MQTT 5.0: four bytes at most, in its shortest form.
    pub(crate) fn variable_byte_integer(&mut self) -> Checked<u32> {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.u8()?;
            value |= u32::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 {
                    Err(rules::LENGTH_NOT_MINIMAL) // [MQTT5-1.5.5-1]
                } else {
                    Ok(value)
                };
            }
        }
        Err(rules::LENGTH_TOO_LONG)
    }
}
