//! Numbers and vectors of TLS in a slice of bytes, in and out. Nothing here can panic.

/// What is left to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of `width` bytes, at most four.
    pub(super) fn number(&mut self, width: usize) -> Option<usize> {
        let bytes = self.take(width)?;
        Some(bytes.iter().fold(0, |number, byte| (number << 8) | usize::from(*byte)))
    }

    /// A vector behind its length of `width` bytes.
    pub(super) fn vector(&mut self, width: usize) -> Option<Self> {
        let len = self.number(width)?;
        self.take(len).map(Self)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Option<()> {
        self.is_empty().then_some(())
    }
}

/// Bytes that are being written. What does not fit is noticed at the end.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    bytes: &'a mut [u8],
    len: usize,
    full: bool,
}

impl<'a> Writer<'a> {
    pub(super) fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, len: 0, full: false }
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        let space = self.bytes.get_mut(self.len..).and_then(|rest| rest.get_mut(..bytes.len()));
        match space {
            Some(space) => {
                space.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            None => self.full = true,
        }
    }

    /// What `write` writes, behind its length of `width` bytes.
    pub(super) fn vector(&mut self, width: usize, write: impl FnOnce(&mut Self)) {
        let start = self.len;
        self.put([0; 4].get(..width).unwrap_or_default());
        write(self);
        let len = self.len.saturating_sub(start + width).to_be_bytes();
        let place = self.bytes.get_mut(start..).and_then(|rest| rest.get_mut(..width));
        if let (Some(place), Some(len)) = (place, len.get(len.len() - width..)) {
            place.copy_from_slice(len);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// What was written from `start` on.
    pub(super) fn since(&self, start: usize) -> &[u8] {
        self.bytes.get(start..self.len).unwrap_or_default()
    }

    /// How much was written, if all of it fitted.
    pub(super) fn finish(self) -> Option<usize> {
        (!self.full).then_some(self.len)
    }
}
