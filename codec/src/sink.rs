//! Where encoded bytes go: a packet is described once, and counted or written by it.

/// The most that a Variable Byte Integer holds.
pub(crate) const VARIABLE_BYTE_INTEGER_MAX: u32 = 268_435_455;

/// Takes fields one after the other.
pub(crate) trait Sink: Default {
    /// Bytes as they are.
    fn bytes(&mut self, bytes: &[u8]);

    /// One byte.
    #[inline]
    fn u8(&mut self, byte: u8) {
        self.bytes(&[byte]);
    }

    /// Two Byte Integer.
    #[inline]
    fn u16(&mut self, number: u16) {
        self.bytes(&number.to_be_bytes());
    }

    /// Length in two bytes, then the bytes, which are at most 65,535 (checked before).
    #[inline]
    fn binary(&mut self, bytes: &[u8]) {
        debug_assert!(bytes.len() <= usize::from(u16::MAX), "checked before writing");
        self.u16(bytes.len() as u16);
        self.bytes(bytes);
    }

    /// Variable Byte Integer: seven bits a byte, the lowest first. Four bytes hold
    /// [`VARIABLE_BYTE_INTEGER_MAX`]; what is more makes a packet that is too large to be written.
    #[inline]
    fn variable_byte_integer(&mut self, mut number: u32) {
        while number >= 0x80 {
            self.u8(number as u8 | 0x80);
            number >>= 7;
        }
        self.u8(number as u8);
    }
}

/// Counts.
#[derive(Default)]
pub(crate) struct Counter(pub(crate) usize);

impl Sink for Counter {
    #[inline]
    fn bytes(&mut self, bytes: &[u8]) {
        self.0 = self.0.saturating_add(bytes.len());
    }
}

/// Writes.
#[derive(Default)]
pub(crate) struct Buffer<'b> {
    /// What is still to be filled.
    pub(crate) rest: &'b mut [u8],
}

impl Sink for Buffer<'_> {
    #[inline]
    fn bytes(&mut self, bytes: &[u8]) {
        let (place, rest) = core::mem::take(&mut self.rest).split_at_mut(bytes.len());
        place.copy_from_slice(bytes);
        self.rest = rest;
    }
}
