//! What a reader has to read of a segment: the blocks that can hold what it wants.

use std::sync::Arc;

use martlet_codec::topic::TopicName;
use martlet_engine::filter::Filter;

use crate::store::disk::File;
use crate::telemetry::LogError;
use crate::telemetry::batch::{Batch, Place};
use crate::telemetry::catalog::Deleted;
use crate::telemetry::columnar::Fault;
use crate::telemetry::columnar::read::Columnar;
use crate::telemetry::index::{Block, Index, Posting, Written};
use crate::telemetry::rights::Rights;
use crate::telemetry::sealed::{self, Form, Sealed};
use crate::telemetry::stream::{Inner, Stream};

/// What a reader wants.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) filter: Option<Filter>,
    pub(super) rights: Rights,
    /// The first and the last time, both included.
    pub(super) from_ms: u64,
    pub(super) until_ms: u64,
    pub(super) deleted: Arc<Deleted>,
}

/// Blocks of one file, in order.
#[derive(Debug)]
pub(super) struct Plan {
    source: Source,
    /// Which one: its first offset.
    pub(super) file: u64,
    pub(super) blocks: Vec<Block>,
    /// Bytes of the file that cannot be read at all; and one for each record before it that is in
    /// no file any more, as nobody knows how many it had.
    pub(super) lost_bytes: u64,
    /// The offset at which the next plan begins.
    pub(super) end: u64,
    /// Records at or above this offset are not to be seen yet.
    pub(super) shown: u64,
    /// How often the files had been looked at anew.
    pub(super) loads: u64,
}

/// Where the blocks are.
#[derive(Debug)]
enum Source {
    Segment(Arc<dyn File>),
    Parquet(Box<Columnar>),
    /// There are none.
    Nowhere,
}

impl Plan {
    /// Reads a block from so many bytes on, as batches.
    pub(super) fn read(
        &mut self,
        block: &Block,
        skip: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        out.clear();
        match &mut self.source {
            Source::Segment(file) => {
                let bytes = block.bytes.saturating_sub(skip);
                out.resize(usize::try_from(bytes).unwrap_or(usize::MAX), 0);
                Ok(file.read_at(block.at + skip, out)?)
            }
            // Such a block was whole from the beginning: nobody has read a part of it.
            Source::Parquet(columnar) => columnar.read(block.at, block.bytes, out),
            Source::Nowhere => Ok(()),
        }
    }
}

/// Blocks that are read sooner than found by topic.
const FEW_BLOCKS: usize = 4;

impl Wanted {
    pub(super) fn everything() -> Self {
        let (filter, rights) = (None, Rights::default());
        Self { filter, rights, from_ms: 0, until_ms: u64::MAX, deleted: Arc::default() }
    }

    /// Whether it wants this record.
    pub(super) fn takes(&self, place: &Place, batch: Batch<'_>) -> bool {
        let topic = place.topic(batch.bytes);
        self.takes_time(place.time, place.time)
            && self.takes_topic(topic)
            && !self.is_deleted(topic, place.offset)
    }

    fn is_deleted(&self, topic: &[u8], offset: u64) -> bool {
        if self.deleted.is_empty() {
            return false;
        }
        let topic = std::str::from_utf8(topic).unwrap_or("");
        self.deleted.get(topic).is_some_and(|below| offset < *below)
    }

    fn takes_time(&self, min: u64, max: u64) -> bool {
        max >= self.from_ms && min <= self.until_ms
    }

    fn takes_topic(&self, topic: &[u8]) -> bool {
        let topic = TopicName::from_validated(topic);
        self.filter.as_ref().is_none_or(|filter| filter.topic_filter().matches(topic))
            && self.rights.may_read(topic)
    }

    fn takes_all_topics(&self) -> bool {
        self.filter.is_none() && self.rights.are_all()
    }

    fn narrow(&self, blocks: impl Iterator<Item = Block>, from: u64) -> Vec<Block> {
        let takes =
            |block: &Block| block.end > from && self.takes_time(block.time_min, block.time_max);
        blocks.filter(takes).collect()
    }

    /// Leaves out blocks that hold no topic it wants.
    fn narrow_by_topic(
        &self,
        blocks: &mut Vec<Block>,
        all: &[Block],
        postings: impl Iterator<Item = (Vec<u32>, bool)>,
    ) {
        let mut holds = vec![false; all.len()];
        for (places, wanted) in postings {
            if wanted {
                places.iter().for_each(|block| holds[*block as usize] = true);
            }
        }
        blocks.retain(|block| {
            let at = all.partition_point(|other| other.at < block.at);
            holds.get(at).copied().unwrap_or(true)
        });
    }

    fn in_written(&self, index: &Written, from: u64) -> Vec<Block> {
        let mut blocks = self.narrow(index.blocks.iter().copied(), from);
        if !self.takes_all_topics() && !index.has_more_topics && blocks.len() > FEW_BLOCKS {
            let wanted = index.topics().map(|(topic, posting)| self.judge(topic, &posting));
            self.narrow_by_topic(&mut blocks, &index.blocks, wanted);
        }
        blocks
    }

    fn in_memory(&self, index: &Index, from: u64) -> Vec<Block> {
        let mut blocks = self.narrow(index.blocks.iter().copied(), from);
        if !self.takes_all_topics() && !index.has_more_topics && blocks.len() > FEW_BLOCKS {
            let wanted = index.topics().map(|(topic, posting)| self.judge(topic, posting));
            self.narrow_by_topic(&mut blocks, &index.blocks, wanted);
        }
        blocks
    }

    fn judge(&self, topic: &str, posting: &Posting) -> (Vec<u32>, bool) {
        match self.takes_topic(topic.as_bytes()) {
            true => (posting.blocks.clone(), true),
            false => (Vec::new(), false),
        }
    }
}

/// The segments of a stream that hold anything at or above `from`, oldest first, by the offsets at
/// which they begin; and where what is to be seen ends.
pub(super) fn segments(stream: &Stream) -> (Vec<u64>, u64) {
    let inner = stream.lock();
    let sealed = inner.sealed.iter().map(|sealed| sealed.base);
    let active = inner.active.iter().map(|active| active.base);
    (sealed.chain(active).collect(), inner.shown)
}

/// The offset of the first record that is there, and the one behind the last to be seen.
pub(super) fn bounds(stream: &Stream) -> (u64, u64) {
    let inner = stream.lock();
    (inner.start(), inner.shown)
}

/// The next plan for who has read everything below `from`. `None`: there is nothing more to see.
///
/// # Errors
/// When a segment cannot be opened or read.
pub(super) fn next(stream: &Stream, from: u64, wanted: &Wanted) -> Result<Option<Plan>, LogError> {
    loop {
        let (sealed, missing) = {
            let inner = stream.lock();
            if from >= inner.shown {
                return Ok(None);
            }
            let at = inner.sealed.partition_point(|sealed| sealed.end <= from);
            // What is missing before the first file went with retention.
            let missing = |base: u64| if at > 0 { base.saturating_sub(from) } else { 0 };
            match inner.sealed.get(at) {
                Some(sealed) => (sealed.clone(), missing(sealed.base)),
                None => {
                    let plan = of_active(&inner, from, wanted);
                    let lost_bytes = missing(plan.file);
                    return Ok(Some(Plan { lost_bytes, ..plan }));
                }
            }
        };
        if let Some(plan) = of_sealed(stream, &sealed, from, wanted)? {
            let lost_bytes = plan.lost_bytes + missing;
            return Ok(Some(Plan { lost_bytes, ..plan }));
        }
    }
}

/// What the growing segment has, or is to have. If there is none, what is to be seen ends in no
/// file.
fn of_active(inner: &Inner, from: u64, wanted: &Wanted) -> Plan {
    let (shown, loads) = (inner.shown, inner.loads);
    let base = inner.active.as_ref().map_or(shown, |active| active.base);
    let nothing = Plan {
        source: Source::Nowhere,
        file: base,
        blocks: Vec::new(),
        lost_bytes: 0,
        end: shown,
        shown,
        loads,
    };
    let Some(active) = &inner.active else { return nothing };
    let Some(file) = &active.file else { return nothing };
    let mut blocks = wanted.in_memory(&active.index, from);
    blocks.retain(|block| block.first < shown && block.at < active.written);
    // What is not written yet has its place already.
    if let Some(last) = blocks.last_mut() {
        last.bytes = last.bytes.min(active.written - last.at);
    }
    Plan { source: Source::Segment(Arc::clone(file)), blocks, ..nothing }
}

/// `None`: it was deleted, or became another, in this moment.
fn of_sealed(
    stream: &Stream,
    sealed: &Sealed,
    from: u64,
    wanted: &Wanted,
) -> Result<Option<Plan>, LogError> {
    let mut plan = Plan {
        source: Source::Nowhere,
        file: sealed.base,
        blocks: Vec::new(),
        lost_bytes: 0,
        end: sealed.end,
        shown: u64::MAX,
        loads: stream.lock().loads,
    };
    if !wanted.takes_time(sealed.time_min, sealed.time_max) {
        return Ok(Some(plan));
    }
    let path = sealed.path(&stream.folder);
    let Some(file) = open(stream, sealed)? else { return Ok(None) };
    match sealed.form {
        Form::Segment => {
            plan.blocks = match &sealed.unsafe_yet {
                Some((_, index)) => wanted.in_memory(index, from),
                None => {
                    let bytes = sealed.bytes;
                    let index = sealed::index_of_segment(&*stream.disk, &path, bytes, &*file)?;
                    wanted.in_written(&index, from)
                }
            };
            plan.source = Source::Segment(file);
            // What came last of a sealed segment may not be safe yet.
            plan.shown = stream.lock().shown;
            plan.end = sealed.end.min(plan.shown);
        }
        Form::Parquet => match in_parquet(stream, sealed, file) {
            Ok((columnar, index)) => {
                plan.blocks = wanted.in_written(&index, from);
                plan.source = Source::Parquet(Box::new(columnar));
            }
            Err(Fault::Damaged { reason, .. }) => {
                stream.set_aside(sealed, &reason)?;
                plan.lost_bytes = sealed.bytes;
            }
            Err(Fault::Io(source)) => return Err(LogError::io("reading", &path, source)),
        },
    }
    Ok(Some(plan))
}

fn in_parquet(
    stream: &Stream,
    sealed: &Sealed,
    file: Arc<dyn File>,
) -> Result<(Columnar, Written), Fault> {
    let columnar = Columnar::open(Arc::clone(&file))?;
    let path = sealed.path(&stream.folder);
    let index = sealed::index_of_parquet(&*stream.disk, &path, sealed.bytes, file)?;
    Ok((columnar, index))
}

/// `None`: it was deleted, or became another, in this moment.
fn open(stream: &Stream, sealed: &Sealed) -> Result<Option<Arc<dyn File>>, LogError> {
    let path = sealed.path(&stream.folder);
    match stream.disk.open(&path) {
        Ok(file) => Ok(Some(file.into())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            stream.find_again(sealed)?;
            Ok(None)
        }
        Err(error) => Err(LogError::io("opening", &path, error)),
    }
}

impl Stream {
    /// Visits what each file holds of each topic, oldest file first. Whether any has topics that
    /// its index does not name.
    pub(super) fn each_index(
        &self,
        mut visit: impl FnMut(&str, &Posting),
    ) -> Result<bool, LogError> {
        let (mut from, mut has_more) = (0, false);
        loop {
            let sealed = {
                let inner = self.lock();
                let at = inner.sealed.partition_point(|sealed| sealed.end <= from);
                let Some(sealed) = inner.sealed.get(at) else { break };
                sealed.clone()
            };
            if let Some((_, index)) = &sealed.unsafe_yet {
                has_more |= index.has_more_topics;
                index.topics().for_each(|(topic, posting)| visit(topic, posting));
            } else {
                let Some(index) = self.index_of(&sealed)? else { continue };
                has_more |= index.has_more_topics;
                index.topics().for_each(|(topic, posting)| visit(topic, &posting));
            }
            from = sealed.end;
        }
        if let Some(active) = &self.lock().active {
            has_more |= active.index.has_more_topics;
            active.index.topics().for_each(|(topic, posting)| visit(topic, posting));
        }
        Ok(has_more)
    }

    /// `None`: the file is not there any more, and another may be in its place.
    fn index_of(&self, sealed: &Sealed) -> Result<Option<Written>, LogError> {
        let Some(file) = open(self, sealed)? else { return Ok(None) };
        let (path, bytes) = (sealed.path(&self.folder), sealed.bytes);
        if sealed.form == Form::Segment {
            return sealed::index_of_segment(&*self.disk, &path, bytes, &*file).map(Some);
        }
        match sealed::index_of_parquet(&*self.disk, &path, bytes, file) {
            Ok(index) => Ok(Some(index)),
            Err(Fault::Damaged { reason, .. }) => {
                self.set_aside(sealed, &reason)?;
                Ok(None)
            }
            Err(Fault::Io(source)) => Err(LogError::io("reading", &path, source)),
        }
    }
}
