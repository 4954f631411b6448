//! Streams of the log: subscribers without a session. The engine says which message stands where in
//! which stream; others keep it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::Engine;
use crate::change::{Change, Recorded};
use crate::counters::Bound;
use crate::effects::Effects;
use crate::filter::Filter;
use crate::message::Message;
use crate::router::StreamSet;

/// A stream of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Its name, by which the facts name it.
    pub name: Arc<str>,
    /// What it records: messages that match any of these, as subscriptions do.
    pub filters: Vec<Filter>,
    /// It takes nothing for now: what it should record is counted as lost.
    pub stopped: bool,
}

/// Streams that there may be.
pub const STREAMS_MAX: usize = u64::BITS as usize;

/// Who published a message; `None`: the broker itself.
#[derive(Clone, Copy, Default)]
pub(crate) struct Publisher<'a> {
    pub(crate) client_id: Option<&'a Arc<str>>,
    pub(crate) user_name: Option<&'a Arc<str>>,
    /// The broker that it came from, if a bridge brought it that has said so.
    pub(crate) behind: Option<u64>,
}

/// What the engine knows of the log.
#[derive(Default)]
pub(crate) struct Recording {
    streams: Vec<Stream>,
    /// The offset of the next record, by the stream's name; also of streams that record no more.
    pub(crate) ends: BTreeMap<Arc<str>, u64>,
}

impl Recording {
    /// Whether anything is recorded.
    pub(crate) fn is_on(&self) -> bool {
        !self.streams.is_empty()
    }

    /// What is recorded now.
    pub(crate) fn streams(&self) -> impl Iterator<Item = &Stream> {
        self.streams.iter()
    }
}

impl Engine {
    /// An engine that records from its first input on, wills of before included.
    #[must_use]
    pub fn recording(mut self, streams: Vec<Stream>) -> Self {
        self.change_streams(streams);
        self
    }

    /// From here on these streams record, and no others. At most [`STREAMS_MAX`]; the caller sees
    /// to that.
    pub(crate) fn change_streams(&mut self, streams: Vec<Stream>) {
        debug_assert!(streams.len() <= STREAMS_MAX, "the configuration allows no more");
        for (at, stream) in self.recording.streams.iter().enumerate() {
            stream.filters.iter().for_each(|filter| self.router.end_recording(filter, at));
        }
        for (at, stream) in streams.iter().enumerate() {
            stream.filters.iter().for_each(|filter| self.router.record(filter, at));
        }
        self.recording.streams = streams;
    }

    /// Gives a message its place in each of these streams.
    pub(crate) fn record(
        &mut self,
        streams: StreamSet,
        message: &Message,
        publisher: Publisher<'_>,
        fx: &mut Effects,
    ) {
        for at in streams.iter() {
            let Stream { name, stopped, .. } = &self.recording.streams[at];
            if *stopped {
                self.counters.count_drop(Bound::Recording);
                continue;
            }
            let end = match self.recording.ends.get_mut(name) {
                Some(end) => end,
                None => self.recording.ends.entry(name.clone()).or_default(),
            };
            fx.changes.push(Change::Record(Recorded {
                stream: name.clone(),
                offset: *end,
                time: self.now,
                client_id: publisher.client_id.cloned(),
                user_name: publisher.user_name.cloned(),
                message: message.clone(),
            }));
            *end += 1;
        }
    }
}
