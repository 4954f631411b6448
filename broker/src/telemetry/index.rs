//! What stands where in a segment: blocks by offset and time, and for each topic the blocks that
//! hold it. In memory while the segment grows; in a file beside it from then on, which is made anew
//! from the segment where it is missing or damaged.

use std::collections::HashMap;
use std::ops::Range;

use foldhash::fast::RandomState;

use crate::telemetry::batch::{self, Batch};

/// Bytes of a segment after which a new block begins: what a reader reads at a time.
const BLOCK_BYTES: u64 = 64 << 10;

/// Topics of one segment that are indexed by name. What is on others is found by reading all
/// blocks, and counted under no name.
const TOPICS_MAX: usize = 65_536;

const MAGIC: &[u8; 8] = b"martletI";
const VERSION: u64 = 1;

/// Batches that follow each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Block {
    /// The offset of its first record, and the one behind its last.
    pub(super) first: u64,
    pub(super) end: u64,
    /// Where it begins in the file, and its length: bytes of a segment, rows of a Parquet file.
    pub(super) at: u64,
    pub(super) bytes: u64,
    pub(super) time_min: u64,
    pub(super) time_max: u64,
}

/// An offset or a newest time that damage has taken. An oldest time is 0 then.
pub(super) const UNKNOWN: u64 = u64::MAX;

impl Block {
    /// Whether the batch can be one of its.
    pub(super) fn holds(&self, batch: Batch<'_>) -> bool {
        (self.first..self.end).contains(&batch.first)
    }

    /// Whether these are its batches, if it has any.
    pub(super) fn is_made_of(&self, bytes: &[u8]) -> bool {
        let (mut next, mut rest) = (self.first, bytes);
        while let Some(batch) = batch::read(rest).filter(|batch| batch.first >= next) {
            (next, rest) = (batch.end, &rest[batch.bytes.len()..]);
        }
        next == self.end && rest.is_empty()
    }

    fn of(batch: Batch<'_>, at: u64, bytes: u64) -> Self {
        let Batch { first, end, time_min, time_max, .. } = batch;
        Self { first, end, at, bytes, time_min, time_max }
    }
}

/// One topic's part in a segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Posting {
    pub(super) records: u64,
    /// Of topics and payloads.
    pub(super) bytes: u64,
    pub(super) first_offset: u64,
    pub(super) last_offset: u64,
    pub(super) first_time: u64,
    pub(super) last_time: u64,
    /// The blocks that hold it, in order, each once.
    pub(super) blocks: Vec<u32>,
}

/// A segment's index.
#[derive(Clone, Default, Debug)]
pub(super) struct Index {
    pub(super) blocks: Vec<Block>,
    topics: HashMap<Box<str>, Posting, RandomState>,
    /// There are topics beyond [`TOPICS_MAX`], or blocks that could not be read.
    pub(super) has_more_topics: bool,
}

impl Index {
    /// Notes a batch that stands there in the file.
    pub(super) fn add(&mut self, batch: Batch<'_>, at: u64) {
        let bytes = batch.bytes.len() as u64;
        match self.blocks.last_mut() {
            Some(last) if last.bytes < BLOCK_BYTES && last.at + last.bytes == at => {
                last.end = batch.end;
                last.bytes += bytes;
                last.time_min = last.time_min.min(batch.time_min);
                last.time_max = last.time_max.max(batch.time_max);
            }
            _ => {
                self.add_gap(at, Some(batch));
                self.blocks.push(Block::of(batch, at, bytes));
            }
        }
        self.note_topics(batch);
    }

    /// Notes that what stands between the last block and `end` belongs to no batch: whoever reads
    /// comes upon it, and counts it. `next`: what follows.
    pub(super) fn add_gap(&mut self, end: u64, next: Option<Batch<'_>>) {
        let last = self.blocks.last();
        let (first, after) = last.map_or((0, 0), |last| (last.end, last.time_max));
        let (before, until) = next.map_or((UNKNOWN, UNKNOWN), |next| (next.first, next.time_max));
        let start = last.map_or(0, |last| last.at + last.bytes);
        for at in (start..end).step_by(BLOCK_BYTES as usize) {
            self.add_lost(Block {
                first,
                end: before.max(first),
                at,
                bytes: (end - at).min(BLOCK_BYTES),
                time_min: next.map_or(after, |next| after.min(next.time_min)),
                time_max: until.max(after),
            });
        }
    }

    /// Notes a block that cannot be read. What it held has no names.
    pub(super) fn add_lost(&mut self, block: Block) {
        self.blocks.push(block);
        self.has_more_topics = true;
    }

    /// Notes a batch of so many rows from that row on, which are a block of a Parquet file.
    pub(super) fn add_block(&mut self, batch: Batch<'_>, row: u64, rows: u64) {
        self.blocks.push(Block::of(batch, row, rows));
        self.note_topics(batch);
    }

    /// Notes the topics of the batch, which is in the last block.
    fn note_topics(&mut self, batch: Batch<'_>) {
        let block = u32::try_from(self.blocks.len() - 1).expect("a segment has few blocks");
        for place in batch.places() {
            let topic = std::str::from_utf8(place.topic(batch.bytes)).unwrap_or("");
            if let Some(posting) = self.topics.get_mut(topic) {
                posting.add(place.bytes(), place.offset, place.time, block);
            } else if self.topics.len() < TOPICS_MAX {
                let posting = Posting::new(place.bytes(), place.offset, place.time, block);
                self.topics.insert(topic.into(), posting);
            } else {
                self.has_more_topics = true;
            }
        }
    }

    /// Its topics, in no order.
    pub(super) fn topics(&self) -> impl Iterator<Item = (&str, &Posting)> {
        self.topics.iter().map(|(topic, posting)| (&**topic, posting))
    }

    /// The offset behind the last record.
    pub(super) fn end(&self) -> Option<u64> {
        self.blocks.last().map(|block| block.end)
    }

    /// The times of the oldest and newest record, 0 and [`UNKNOWN`] where these are not known.
    pub(super) fn times(&self) -> Range<u64> {
        times(&self.blocks)
    }

    /// As the file beside a segment has it; `covers`: how long the segment is.
    pub(super) fn to_bytes(&self, covers: u64) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(MAGIC);
        for number in [VERSION, covers, u64::from(self.has_more_topics), self.blocks.len() as u64] {
            write_number(&mut out, number);
        }
        for block in &self.blocks {
            let Block { first, end, at, bytes, time_min, time_max } = *block;
            for number in [first, end - first, at, bytes, time_min, time_max - time_min] {
                write_number(&mut out, number);
            }
        }
        let mut topics: Vec<_> = self.topics().collect();
        topics.sort_unstable_by_key(|(topic, _)| *topic);
        write_number(&mut out, topics.len() as u64);
        for (topic, posting) in topics {
            write_number(&mut out, topic.len() as u64);
            out.extend_from_slice(topic.as_bytes());
            posting.write(&mut out);
        }
        let checksum = crc32c::crc32c(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }
}

/// An index as its file has it: the blocks are read, the topics when somebody asks.
#[derive(Clone, Default, Debug)]
pub(super) struct Written {
    pub(super) blocks: Vec<Block>,
    pub(super) has_more_topics: bool,
    topics: Vec<u8>,
}

impl Written {
    /// `None`: it is not whole, or of another segment than one that is `covers` bytes long.
    pub(super) fn read(bytes: &[u8], covers: u64) -> Option<Self> {
        let (content, checksum) = bytes.split_last_chunk::<4>()?;
        if crc32c::crc32c(content).to_le_bytes() != *checksum {
            return None;
        }
        let mut rest = content.strip_prefix(MAGIC)?;
        let numbers = &mut rest;
        if read_number(numbers)? != VERSION || read_number(numbers)? != covers {
            return None;
        }
        let has_more_topics = read_number(numbers)? != 0;
        let count = read_number(numbers)?;
        let mut blocks = Vec::new();
        for _ in 0..count {
            let (first, records) = (read_number(numbers)?, read_number(numbers)?);
            let (at, bytes) = (read_number(numbers)?, read_number(numbers)?);
            let (time_min, span) = (read_number(numbers)?, read_number(numbers)?);
            let (end, time_max) = (first + records, time_min + span);
            blocks.push(Block { first, end, at, bytes, time_min, time_max });
        }
        Some(Self { blocks, has_more_topics, topics: rest.to_vec() })
    }

    /// Its topics by name.
    pub(super) fn topics(&self) -> impl Iterator<Item = (&str, Posting)> {
        let mut rest = &self.topics[..];
        let count = read_number(&mut rest).unwrap_or(0);
        (0..count).map_while(move |_| {
            let len = usize::try_from(read_number(&mut rest)?).ok()?;
            let (topic, behind) = rest.split_at_checked(len)?;
            rest = behind;
            Some((std::str::from_utf8(topic).ok()?, Posting::read(&mut rest)?))
        })
    }
}

pub(super) fn times(blocks: &[Block]) -> Range<u64> {
    let min = blocks.iter().map(|block| block.time_min).min().unwrap_or(0);
    let max = blocks.iter().map(|block| block.time_max).max().unwrap_or(0);
    min..max
}

impl Posting {
    fn new(bytes: u64, offset: u64, time: u64, block: u32) -> Self {
        Self {
            records: 1,
            bytes,
            first_offset: offset,
            last_offset: offset,
            first_time: time,
            last_time: time,
            blocks: vec![block],
        }
    }

    fn add(&mut self, bytes: u64, offset: u64, time: u64, block: u32) {
        self.records += 1;
        self.bytes += bytes;
        (self.last_offset, self.last_time) = (offset, time);
        if self.blocks.last() != Some(&block) {
            self.blocks.push(block);
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let Self { records, bytes, first_offset, last_offset, first_time, last_time, blocks } =
            self;
        let numbers = [*records, *bytes, *first_offset, *last_offset, *first_time, *last_time];
        for number in numbers.into_iter().chain([blocks.len() as u64]) {
            write_number(out, number);
        }
        let mut before = 0;
        for block in blocks {
            write_number(out, u64::from(block - before));
            before = *block;
        }
    }

    fn read(rest: &mut &[u8]) -> Option<Self> {
        let mut number = || read_number(rest);
        let (records, bytes) = (number()?, number()?);
        let (first_offset, last_offset) = (number()?, number()?);
        let (first_time, last_time) = (number()?, number()?);
        let (mut blocks, mut block) = (Vec::new(), 0);
        for _ in 0..number()? {
            block += u32::try_from(number()?).ok()?;
            blocks.push(block);
        }
        Some(Self { records, bytes, first_offset, last_offset, first_time, last_time, blocks })
    }
}

fn write_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn read_number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, behind) = rest.split_first()?;
        *rest = behind;
        number |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Index {
        let block = |at: u64| Block {
            first: at,
            end: at + 3,
            at: at * 100,
            bytes: 300,
            time_min: 1 << 40,
            time_max: (1 << 40) + at,
        };
        let posting =
            |blocks: &[u32]| Posting { blocks: blocks.to_vec(), ..Posting::new(9, 1, 2, 0) };
        let topics = [("a/b".into(), posting(&[0, 2])), ("ä".into(), posting(&[1]))];
        Index {
            blocks: [0, 3, 6].map(block).to_vec(),
            topics: topics.into_iter().collect(),
            has_more_topics: true,
        }
    }

    #[test]
    fn an_index_is_read_as_it_was_written() {
        let index = index();
        let written = Written::read(&index.to_bytes(900), 900).expect("whole");
        assert_eq!(written.blocks, index.blocks);
        assert!(written.has_more_topics);
        let mut topics: Vec<_> = index.topics().map(|(t, p)| (t, p.clone())).collect();
        topics.sort_by_key(|(topic, _)| *topic);
        assert_eq!(written.topics().collect::<Vec<_>>(), topics);
    }

    #[test]
    fn one_that_is_cut_damaged_or_of_another_segment_is_none() {
        let bytes = index().to_bytes(900);
        assert!(Written::read(&bytes, 901).is_none());
        for end in 0..bytes.len() {
            assert!(Written::read(&bytes[..end], 900).is_none(), "cut at {end}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Written::read(&flipped, 900).is_none(), "bit {bit}");
        }
    }
}
