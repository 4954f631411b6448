//! The bytes of a segment: its header, and one frame for each commit. All numbers are
//! little-endian.

use martlet_engine::change::Change;

use crate::store::record::{RecordError, Writer};

/// What a segment begins with.
pub(super) const MAGIC: [u8; 8] = *b"martletJ";
/// The version of segments that this broker writes, and the newest it reads.
pub(super) const VERSION: u32 = 2;
/// Bytes of a segment's header.
pub(super) const SEGMENT_HEADER_BYTES: usize = 32;
/// Bytes of a frame's header.
pub(super) const FRAME_HEADER_BYTES: usize = 24;
/// Bytes of facts that one frame may hold.
pub(super) const FRAME_BYTES_MAX: usize = 1 << 31;
/// Sequence numbers that may be missing between two frames found in one segment.
const GAP_MAX: u64 = 1 << 32;

/// What a segment's header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SegmentHeader {
    pub(super) version: u32,
    pub(super) segment: u64,
    /// The sequence number of its first frame. Frames with this or a greater one in segments before
    /// it are void: their commit failed.
    pub(super) first: u64,
}

impl SegmentHeader {
    pub(super) fn write(self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.version.to_le_bytes());
        out.extend_from_slice(&self.segment.to_le_bytes());
        out.extend_from_slice(&self.first.to_le_bytes());
        let checksum = crc32c::crc32c(&out[start..]);
        out.extend_from_slice(&checksum.to_le_bytes());
    }

    /// `None`: no header, or a broken one.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let header = bytes.get(..SEGMENT_HEADER_BYTES)?;
        let (fields, checksum) = header.split_at(SEGMENT_HEADER_BYTES - 4);
        let is_whole = fields.starts_with(&MAGIC) && u32_at(checksum, 0) == crc32c::crc32c(fields);
        is_whole.then(|| Self {
            version: u32_at(fields, 8),
            segment: u64_at(fields, 12),
            first: u64_at(fields, 20),
        })
    }
}

/// One commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Frame<'a> {
    pub(super) sequence: u64,
    /// The frame before which all were safe on disk when this one was written, itself included.
    pub(super) synced: u64,
    pub(super) facts: &'a [u8],
}

impl Frame<'_> {
    pub(super) fn bytes(&self) -> usize {
        FRAME_HEADER_BYTES + self.facts.len()
    }
}

/// Appends the frame of these facts.
///
/// # Errors
/// When they are too many for one; `out` is as it was.
pub(super) fn write(
    out: &mut Vec<u8>,
    segment: u64,
    sequence: u64,
    synced: u64,
    changes: &[Change],
) -> Result<(), RecordError> {
    let start = out.len();
    out.resize(start + FRAME_HEADER_BYTES, 0);
    let mut writer = Writer(out);
    changes.iter().for_each(|change| writer.change(change));
    let len = out.len() - start - FRAME_HEADER_BYTES;
    if len > FRAME_BYTES_MAX {
        out.truncate(start);
        return Err(RecordError::Value("the size of a commit"));
    }
    let frame = &mut out[start..];
    frame[0..4].copy_from_slice(&(len as u32).to_le_bytes());
    frame[8..16].copy_from_slice(&sequence.to_le_bytes());
    frame[16..24].copy_from_slice(&synced.to_le_bytes());
    let checksum = checksum(segment, frame, crc32c::crc32c_append);
    frame[4..8].copy_from_slice(&checksum.to_le_bytes());
    Ok(())
}

/// The frame that begins here, if one does that may follow `last`.
pub(super) fn read(bytes: &[u8], segment: u64, last: u64) -> Option<Frame<'_>> {
    check(claimed(bytes, last)?, segment, crc32c::crc32c_append)
}

/// What stands here, as long as it says that it is, if that may be a frame behind `last`.
pub(super) fn claimed(bytes: &[u8], last: u64) -> Option<&[u8]> {
    let header = bytes.get(..FRAME_HEADER_BYTES)?;
    let (len, sequence) = (u32_at(header, 0) as usize, u64_at(header, 8));
    let is_possible =
        len > 0 && sequence > last && sequence - last <= GAP_MAX && u64_at(header, 16) < sequence;
    bytes.get(..FRAME_HEADER_BYTES + len).filter(|_| is_possible)
}

/// What claims to be a frame, if its checksum says so too. `append` goes on with a checksum over
/// these bytes.
pub(super) fn check(
    frame: &[u8],
    segment: u64,
    append: impl Fn(u32, &[u8]) -> u32,
) -> Option<Frame<'_>> {
    (checksum(segment, frame, append) == u32_at(frame, 4)).then(|| Frame {
        sequence: u64_at(frame, 8),
        synced: u64_at(frame, 16),
        facts: &frame[FRAME_HEADER_BYTES..],
    })
}

/// Covers the segment's number too: a frame that an earlier segment left in the same place is none
/// of this one.
fn checksum(segment: u64, frame: &[u8], append: impl Fn(u32, &[u8]) -> u32) -> u32 {
    let checksum = crc32c::crc32c(&segment.to_le_bytes());
    let checksum = crc32c::crc32c_append(checksum, &frame[0..4]);
    append(checksum, &frame[8..])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes are four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes are eight bytes"))
}
