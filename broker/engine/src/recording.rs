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
use crate::session::{SessionIndex, Sessions};
use crate::will::TakenWill;

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

/// Who published a message. Its name is looked up where it is needed, which is seldom.
#[derive(Clone, Copy)]
pub(crate) enum Publisher<'a> {
    /// The broker itself.
    Broker,
    Session(SessionIndex),
    /// A client that is gone.
    Will(&'a TakenWill),
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

impl<'a> Publisher<'a> {
    pub(crate) fn client_id(self, sessions: &'a Sessions) -> Option<&'a Arc<str>> {
        match self {
            Self::Broker => None,
            Self::Session(index) => Some(&sessions[index].client_id),
            Self::Will(will) => Some(&will.client_id),
        }
    }

    fn user_name(self, sessions: &'a Sessions) -> Option<&'a Arc<str>> {
        match self {
            Self::Broker => None,
            Self::Session(index) => sessions[index].user_name.as_ref(),
            Self::Will(will) => will.user_name.as_ref(),
        }
    }

    /// The broker that it came from, if a bridge brought it that has said so.
    pub(crate) fn behind(self, sessions: &Sessions) -> Option<u64> {
        match self {
            Self::Session(index) => sessions[index].rare.known.broker,
            Self::Broker | Self::Will(_) => None,
        }
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
                client_id: publisher.client_id(&self.sessions).cloned(),
                user_name: publisher.user_name(&self.sessions).cloned(),
                message: message.clone(),
            }));
            *end += 1;
        }
    }
}
