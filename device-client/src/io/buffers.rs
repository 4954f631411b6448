//! Bytes between network and client, which survive a read or write that was given up.

#![allow(dead_code, reason = "for the drivers, of which there may be none")]

/// Bytes that came and were not taken, or are to go and did not.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: [u8; BYTES],
    start: usize,
    end: usize,
}

/// Enough for most packets of a sensor. Longer ones go through it in parts.
const BYTES: usize = 128;

impl Buffer {
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; BYTES], start: 0, end: 0 }
    }

    /// What is in it.
    pub(crate) fn filled(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start >= self.end
    }

    /// All of it, to be filled from the beginning. To be called when it is empty.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        self.clear();
        &mut self.bytes
    }

    /// So many bytes were put into [`space`](Self::space).
    pub(crate) fn fill(&mut self, len: usize) {
        self.end = len.min(BYTES);
    }

    /// So many of the first bytes are done with.
    pub(crate) fn take(&mut self, len: usize) {
        self.start = self.start.saturating_add(len).min(self.end);
    }

    pub(crate) fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }
}
