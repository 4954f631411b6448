//! Reading a stream from some place on, in the order of its offsets, in bounded memory.

use std::sync::Arc;
use std::time::Duration;

use martlet_engine::filter::Filter;

use crate::telemetry::batch::{self, Batch, HEADER_BYTES, Place};
use crate::telemetry::columnar::Fault;
use crate::telemetry::index::Block;
use crate::telemetry::plan::{self, Plan, Wanted};
use crate::telemetry::stream::{self, READS_MAX, Stream};
use crate::telemetry::{LogError, Position, Record};

/// Reads one stream. It holds a block of records at a time, whatever the stream holds.
///
/// [`next`](Self::next) answers `None` at the end of what is safe on disk; asked again later, it
/// goes on. What retention deletes in front of it is passed over.
#[derive(Debug)]
pub struct Reader {
    stream: Arc<Stream>,
    wanted: Wanted,
    /// Everything below was read.
    next: u64,
    plan: Option<Box<Plan>>,
    /// How many blocks of the plan were begun.
    begun: usize,
    /// The block that is read, and where in it the batch stands.
    bytes: Vec<u8>,
    batch_at: usize,
    /// Where in the batch its next record begins; 0: no batch was begun.
    record_at: usize,
    /// The last block was read up to here, for who reads on at the end of what is there.
    tail: Option<Tail>,
    damaged_bytes: u64,
}

/// Where in a block reading stopped because what follows was not to be seen yet.
#[derive(Clone, Copy, Debug)]
struct Tail {
    /// The block's file, by its first offset, where the block begins in it, and how often the
    /// files had been looked at anew.
    block: stream::Place,
    skip: u64,
}

impl Reader {
    /// From there on, of what `filter` matches; `None`: everything.
    pub(super) fn new(
        stream: Arc<Stream>,
        from: Position,
        filter: Option<Filter>,
    ) -> Result<Self, LogError> {
        let mut wanted = Wanted { filter, ..Wanted::everything() };
        let (start, end) = plan::bounds(&stream);
        let next = match from {
            Position::Earliest => start,
            Position::Latest => end,
            Position::Offset(offset) if offset > end => {
                let stream = stream.name.clone();
                return Err(LogError::Beyond { stream, offset, end });
            }
            Position::Offset(offset) => offset.max(start),
            Position::Time(time) => {
                wanted.from_ms = time;
                start
            }
        };
        Ok(Self {
            stream,
            wanted,
            next,
            plan: None,
            begun: 0,
            bytes: Vec::new(),
            batch_at: 0,
            record_at: 0,
            tail: None,
            damaged_bytes: 0,
        })
    }

    /// Leaves out what is newer than this.
    #[must_use]
    pub fn until(mut self, time_ms: u64) -> Self {
        self.wanted.until_ms = time_ms;
        self
    }

    /// The offset that it goes on with: everything below was read, or is not wanted.
    pub fn offset(&self) -> u64 {
        self.next
    }

    /// Bytes that could not be read so far: damage on the disk.
    pub fn damaged_bytes(&self) -> u64 {
        self.damaged_bytes
    }

    /// The next record; `None`: there is none yet.
    ///
    /// # Errors
    /// When the disk cannot be read. Asked again, it tries again, and passes over what cannot be
    /// read again and again.
    #[expect(clippy::should_implement_trait, reason = "what it lends ends with the next call")]
    pub fn next(&mut self) -> Result<Option<Record<'_>>, LogError> {
        let mut all = u64::MAX;
        self.next_within(&mut all)
    }

    /// As [`next`](Self::next), but it reads so many blocks at most, which it counts down: where
    /// little is wanted, the next record may be far. `None` and none left: ask again.
    ///
    /// # Errors
    /// When the disk cannot be read. Asked again, it tries again.
    pub fn next_within(&mut self, blocks: &mut u64) -> Result<Option<Record<'_>>, LogError> {
        let found = loop {
            if let Some(found) = self.in_batch() {
                break Some(found);
            }
            if self.next_batch()? {
                continue;
            }
            if *blocks == 0 || !self.next_block()? && !self.next_plan()? {
                break None;
            }
            *blocks -= 1;
        };
        Ok(found.map(|(batch_at, place)| place.record(&self.bytes[batch_at..])))
    }

    /// Blocks until there is something newer than what was read, or for so long.
    pub fn wait(&self, longest: Duration) -> bool {
        self.stream.wait_newer(self.next, longest) > self.next
    }

    /// The next record of the batch that is wanted, and where the batch begins.
    fn in_batch(&mut self) -> Option<(usize, Place)> {
        if self.record_at == 0 {
            return None;
        }
        let shown = self.plan.as_ref().map_or(0, |plan| plan.shown);
        let bytes = &self.bytes[self.batch_at..];
        let batch = batch::trusted(&bytes[..batch::len(bytes)?]);
        while let Some(place) = batch.place(self.record_at).filter(|place| place.offset < shown) {
            self.record_at = place.end;
            if place.offset < self.next {
                continue;
            }
            self.next = place.offset + 1;
            if self.wanted.takes(&place, batch) {
                return Some((self.batch_at, place));
            }
        }
        if batch.end <= shown {
            self.batch_at += batch.bytes.len();
            self.record_at = 0;
        } else {
            self.stop_in_block();
        }
        None
    }

    /// The next batch of the block.
    fn next_batch(&mut self) -> Result<bool, LogError> {
        while self.batch_at < self.bytes.len() {
            match batch::read(&self.bytes[self.batch_at..]) {
                Some(batch) if !self.is_of_block(batch) => {
                    let bytes = batch.bytes.len();
                    self.note_damage(bytes as u64, "a batch stands where another belongs");
                    self.batch_at += bytes;
                }
                Some(Batch { first, .. }) if self.is_unseen(first) => {
                    self.stop_in_block();
                    return Ok(false);
                }
                Some(Batch { end, bytes, .. }) if end <= self.next => self.batch_at += bytes.len(),
                Some(_) => {
                    self.record_at = HEADER_BYTES;
                    return Ok(true);
                }
                None => {
                    self.note_damage(1, "a batch is not as it was written");
                    self.batch_at += 1;
                }
            }
        }
        Ok(false)
    }

    /// Whether the block that is read can hold the batch: its offset may be damaged, where an
    /// earlier version wrote it.
    fn is_of_block(&self, batch: Batch<'_>) -> bool {
        let plan = self.plan.as_ref();
        let block = plan.and_then(|plan| plan.blocks.get(self.begun.checked_sub(1)?));
        block.is_none_or(|block| block.holds(batch))
    }

    fn is_unseen(&self, offset: u64) -> bool {
        self.plan.as_ref().is_none_or(|plan| offset >= plan.shown)
    }

    /// What follows is not to be seen yet: the next plan goes on here.
    fn stop_in_block(&mut self) {
        self.tail = self.plan.as_ref().and_then(|plan| self.tail_of(plan));
        self.bytes.clear();
        (self.batch_at, self.record_at) = (0, 0);
    }

    /// How far the last block of a plan that was begun was read.
    fn tail_of(&self, plan: &Plan) -> Option<Tail> {
        let block = plan.blocks.get(self.begun - 1)?;
        let skip = skipped(self.tail, plan, block) + self.batch_at as u64;
        Some(Tail { block: place(plan, block), skip })
    }

    fn next_block(&mut self) -> Result<bool, LogError> {
        let Some(plan) = &mut self.plan else { return Ok(false) };
        let Some(block) = plan.blocks.get(self.begun).copied() else {
            self.next = self.next.max(plan.end);
            return Ok(false);
        };
        let skip = skipped(self.tail, plan, &block);
        let at = place(plan, &block);
        (self.batch_at, self.record_at) = (0, 0);
        match plan.read(&block, skip, &mut self.bytes) {
            Ok(()) => self.stream.note_read(at),
            Err(Fault::Damaged { reason, bytes }) => {
                self.bytes.clear();
                self.note_damage(bytes, &reason);
            }
            Err(Fault::Io(source)) => {
                self.bytes.clear();
                if self.stream.note_failure(at) < READS_MAX {
                    return Err(LogError::io("reading", &self.stream.folder, source));
                }
                self.note_damage(block.bytes - skip, &source.to_string());
            }
        }
        self.begun += 1;
        Ok(true)
    }

    fn note_damage(&mut self, bytes: u64, reason: &str) {
        if self.damaged_bytes == 0 && bytes > 0 {
            let stream = &self.stream.name;
            tracing::error!("The log of {stream} is damaged: {reason}; the rest is served.");
        }
        self.damaged_bytes += bytes;
        self.stream.note_unread(bytes);
    }

    fn next_plan(&mut self) -> Result<bool, LogError> {
        let last = self.plan.take();
        if let Some(last) = last.filter(|_| !self.bytes.is_empty()) {
            self.tail = self.tail_of(&last);
        }
        self.bytes.clear();
        (self.begun, self.batch_at, self.record_at) = (0, 0, 0);
        self.next = self.next.max(plan::bounds(&self.stream).0);
        self.wanted.deleted = self.stream.deleted();
        self.plan = plan::next(&self.stream, self.next, &self.wanted)?.map(Box::new);
        let Some(plan) = &self.plan else { return Ok(false) };
        // What a file that was set aside or is gone costs has been said. It counts once.
        self.next = self.next.max(plan.file.min(plan.end));
        self.damaged_bytes += plan.lost_bytes;
        self.stream.note_unread(plan.lost_bytes);
        Ok(true)
    }
}

/// How much of the block was read under an earlier plan.
fn skipped(tail: Option<Tail>, plan: &Plan, block: &Block) -> u64 {
    tail.filter(|tail| tail.block == place(plan, block)).map_or(0, |tail| tail.skip)
}

fn place(plan: &Plan, block: &Block) -> stream::Place {
    (plan.file, block.at, plan.loads)
}
