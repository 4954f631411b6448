//! What a stream holds of each topic, and its last records: both from the indexes, so that little
//! is read.

use std::collections::{BTreeMap, VecDeque};

use martlet_codec::topic::TopicName;
use martlet_engine::filter::Filter;

use crate::telemetry::batch::{self, Batch};
use crate::telemetry::columnar::Fault;
use crate::telemetry::index::Posting;
use crate::telemetry::plan::{self, Plan, Wanted};
use crate::telemetry::rights::Rights;
use crate::telemetry::stream::Stream;
use crate::telemetry::{KeptRecord, LogError};

/// One topic of a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicStats {
    /// Its name.
    pub topic: Box<str>,
    /// How many records.
    pub records: u64,
    /// Of topics and payloads.
    pub bytes: u64,
    /// The offset of its oldest record.
    pub first_offset: u64,
    /// The offset of its newest record.
    pub last_offset: u64,
    /// When the oldest came.
    pub first_time_ms: u64,
    /// When the newest came.
    pub last_time_ms: u64,
}

/// A page of topics, in the order of their names.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Topics {
    /// The page.
    pub topics: Vec<TopicStats>,
    /// There are more behind the last one: ask for those after it.
    pub has_more: bool,
    /// Some segment has more topics than its index names: counts are too low, names may be missing.
    pub is_incomplete: bool,
}

/// Topics that begin with `prefix` and come after `after`, `limit` at most. Of a topic that was
/// deleted and came again, the segment in which that was is counted wholly. For who may not read
/// others it is as if they were not there.
pub(super) fn topics(
    stream: &Stream,
    rights: &Rights,
    (prefix, after, limit): (&str, &str, usize),
) -> Result<Topics, LogError> {
    let found = BTreeMap::new();
    let mut page = Page { found, rights, prefix, after, limit, has_more: false };
    let deleted = stream.deleted();
    let is_incomplete = stream.each_index(|topic, posting| {
        if deleted.get(topic).is_none_or(|below| posting.last_offset >= *below) {
            page.add(topic, posting);
        }
    })?;
    let topics = page.found.into_values().collect();
    Ok(Topics { topics, has_more: page.has_more, is_incomplete })
}

struct Page<'a> {
    found: BTreeMap<Box<str>, TopicStats>,
    rights: &'a Rights,
    prefix: &'a str,
    after: &'a str,
    limit: usize,
    has_more: bool,
}

impl Page<'_> {
    fn add(&mut self, topic: &str, posting: &Posting) {
        if !topic.starts_with(self.prefix) || topic <= self.after {
            return;
        }
        if let Some(stats) = self.found.get_mut(topic) {
            stats.add(posting);
            return;
        }
        if !self.rights.may_read(TopicName::from_validated(topic.as_bytes())) {
            return;
        }
        let is_full = self.found.len() >= self.limit;
        self.has_more |= is_full;
        if is_full && self.found.last_key_value().is_none_or(|(last, _)| topic > &**last) {
            return;
        }
        self.found.insert(topic.into(), TopicStats::new(topic, posting));
        if is_full {
            self.found.pop_last();
        }
    }
}

impl TopicStats {
    fn new(topic: &str, posting: &Posting) -> Self {
        Self {
            topic: topic.into(),
            records: posting.records,
            bytes: posting.bytes,
            first_offset: posting.first_offset,
            last_offset: posting.last_offset,
            first_time_ms: posting.first_time,
            last_time_ms: posting.last_time,
        }
    }

    /// Segments come from the oldest to the newest.
    fn add(&mut self, later: &Posting) {
        self.records += later.records;
        self.bytes += later.bytes;
        self.last_offset = later.last_offset;
        self.last_time_ms = later.last_time;
    }
}

/// The last `count` records that `filter` matches and a reader may have, oldest first; fewer where
/// their payloads have `bytes_max` bytes before, and that of the record that exceeds them.
pub(super) fn last(
    stream: &Stream,
    (filter, rights): (Option<Filter>, Rights),
    (count, bytes_max): (usize, usize),
) -> Result<Vec<KeptRecord>, LogError> {
    let wanted = Wanted { filter, rights, deleted: stream.deleted(), ..Wanted::everything() };
    let (bases, mut below) = plan::segments(stream);
    let (mut last, mut bytes) = (VecDeque::new(), 0);
    for base in bases.into_iter().rev() {
        let Some(mut plan) = plan::next(stream, base, &wanted)? else { continue };
        for at in (0..plan.blocks.len()).rev() {
            let found = in_block(stream, &mut plan, at, (&wanted, below))?;
            for record in found.into_iter().rev() {
                if last.len() < count && bytes < bytes_max {
                    bytes += record.payload.len();
                    last.push_front(record);
                }
            }
            if last.len() >= count || bytes >= bytes_max {
                return Ok(last.into());
            }
        }
        // A file that has gone since: the plan is of the next one, which was read.
        below = base;
    }
    Ok(last.into())
}

fn in_block(
    stream: &Stream,
    plan: &mut Plan,
    at: usize,
    (wanted, below): (&Wanted, u64),
) -> Result<Vec<KeptRecord>, LogError> {
    let block = plan.blocks[at];
    let mut bytes = Vec::new();
    match plan.read(&block, 0, &mut bytes) {
        Ok(()) => {}
        Err(Fault::Damaged { reason, bytes: lost }) => {
            tracing::error!("The log of {} is damaged: {reason}; the rest is read.", stream.name);
            stream.note_unread(lost);
            bytes.clear();
        }
        Err(Fault::Io(source)) => return Err(LogError::io("reading", &stream.folder, source)),
    }
    let mut found = Vec::new();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let batch = batch::read(rest);
        let bytes = batch.map_or(1, |batch| batch.bytes.len());
        rest = &rest[bytes..];
        let batch = batch.filter(|batch| block.holds(*batch));
        stream.note_unread(if batch.is_none() { bytes as u64 } else { 0 });
        found.extend(batch.into_iter().flat_map(|batch| wanted_of(batch, wanted, below)));
    }
    Ok(found)
}

fn wanted_of(batch: Batch<'_>, wanted: &Wanted, below: u64) -> Vec<KeptRecord> {
    let places = batch.places().filter(|place| place.offset < below && wanted.takes(place, batch));
    places.map(|place| place.record(batch.bytes).keep()).collect()
}
