//! Frames among bytes that are none: behind damage, and before what an earlier segment left.

use std::cell::OnceCell;
use std::ops::Range;

use crate::store::journal::frame::{self, Frame};

/// The bytes of a segment.
pub(super) struct Search<'a> {
    bytes: &'a [u8],
    segment: u64,
    sums: OnceCell<Sums<'a>>,
}

/// Checksums of the bytes before each step, and what it takes to put them together.
struct Sums<'a> {
    bytes: &'a [u8],
    before: Vec<u32>,
    /// What so many bytes behind it make of a checksum, for each digit of their number.
    shifts: [[u32; 256]; 4],
}

/// Where a frame stands.
pub(super) struct Place {
    pub(super) sequence: u64,
    pub(super) synced: u64,
    pub(super) bytes: Range<usize>,
}

/// Frames that claim to be shorter are read through.
const SHORT_BYTES: usize = 4096;
const STEP_BYTES: usize = 256;

impl<'a> Search<'a> {
    pub(super) fn new(bytes: &'a [u8], segment: u64) -> Self {
        Self { bytes, segment, sums: OnceCell::new() }
    }

    /// The first whole frame that begins there and may follow `last`.
    pub(super) fn next(&self, starts: Range<usize>, last: u64) -> Option<Place> {
        let first = frame::read(self.bytes.get(starts.start..)?, self.segment, last);
        if let Some(frame) = first.filter(|_| !starts.is_empty()) {
            return Some(place(starts.start, frame));
        }
        starts.skip(1).find_map(|at| self.frame(at, last))
    }

    /// The frame at any place. What stands there may be what clients wish: bytes that claim to be
    /// long frames again and again cost no more than others.
    fn frame(&self, at: usize, last: u64) -> Option<Place> {
        let bytes = &self.bytes[at..];
        let claimed = frame::claimed(bytes, last)?;
        let is_short = claimed.len() <= SHORT_BYTES;
        let end = at + claimed.len();
        let append = |sum, behind: &[u8]| match is_short {
            true => crc32c::crc32c_append(sum, behind),
            false => self.sums().append(sum, end - behind.len()..end),
        };
        let frame = frame::check(claimed, self.segment, append)?;
        Some(place(at, frame))
    }

    fn sums(&self) -> &Sums<'a> {
        self.sums.get_or_init(|| Sums::new(self.bytes))
    }
}

fn place(at: usize, frame: Frame<'_>) -> Place {
    let bytes = at..at + frame.bytes();
    Place { sequence: frame.sequence, synced: frame.synced, bytes }
}

impl<'a> Sums<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let mut sum = 0;
        let steps = bytes.chunks(STEP_BYTES).map(|step| {
            sum = crc32c::crc32c_append(sum, step);
            sum
        });
        let before = std::iter::once(0).chain(steps).collect();
        Self { bytes, before, shifts: shifts() }
    }

    /// Goes on with a checksum over these bytes: what stands before them is taken out of the
    /// checksum of all up to their end.
    fn append(&self, sum: u32, bytes: Range<usize>) -> u32 {
        let (before, len) = (self.before(bytes.start) ^ sum, bytes.len() as u32);
        let digits = self.shifts.iter().zip(len.to_le_bytes());
        let shifted = digits
            .filter(|(_, digit)| *digit > 0)
            .fold(before, |sum, (shifts, digit)| times(shifts[usize::from(digit)], sum));
        shifted ^ self.before(bytes.end)
    }

    /// The checksum of all bytes before `at`.
    fn before(&self, at: usize) -> u32 {
        let step = at / STEP_BYTES;
        crc32c::crc32c_append(self.before[step], &self.bytes[step * STEP_BYTES..at])
    }
}

/// The polynomial of CRC-32C, and x to the power of zero, lowest power first.
const POLYNOMIAL: u32 = 0x82F6_3B78;
const ONE: u32 = 1 << 31;

/// The product of two polynomials, as CRC-32C divides them.
fn times(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    for bit in (0..32).rev() {
        product ^= b & (a >> bit & 1).wrapping_neg();
        b = b >> 1 ^ POLYNOMIAL & (b & 1).wrapping_neg();
    }
    product
}

fn shifts() -> [[u32; 256]; 4] {
    let mut unit = ONE >> 8; // one byte
    [(); 4].map(|()| {
        let mut digit = [ONE; 256];
        for n in 1..256 {
            digit[n] = times(digit[n - 1], unit);
        }
        unit = times(digit[255], unit);
        digit
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_over_any_stretch_is_what_reading_it_gives() {
        let bytes: Vec<u8> = (0..3000_u32).map(|n| ((n * n) >> 3) as u8).collect();
        let sums = Sums::new(&bytes);
        for start in (0..=bytes.len()).step_by(37) {
            for end in (start..=bytes.len()).step_by(41) {
                for sum in [0, 7] {
                    let read = crc32c::crc32c_append(sum, &bytes[start..end]);
                    assert_eq!(sums.append(sum, start..end), read, "{start}..{end}");
                }
            }
        }
    }
}
