//! `$replay/<from>/<filter>`: what a stream of the log has, from some place on, over MQTT.
//!
//! - **Read outside.** The engine decides whether a history is granted, of which stream and from
//!   where, and orders batches of it, one at a time; whoever reads the log answers with
//!   [`Input::History`](crate::input::Input::History). A history never ends by itself: at the end
//!   of the log it waits for what is recorded next. So there is no hand-over to live messages, and
//!   neither a gap nor a repetition where one would be.
//! - **It waits** as retained messages do (`replay`): for half the link's room,
//!   for an open window, for an empty queue. What was read and not sent yet is a batch at the most;
//!   the next is ordered when that has left.
//! - **It belongs to the connection.** No store knows of it, also in a session that is kept; only
//!   what is in flight at QoS 1 and 2 is sent again like any other message.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use martlet_codec::reason::QoS;

use crate::Engine;
use crate::counters::Bound;
use crate::effects::Effects;
use crate::filter::Filter;
use crate::input::Time;
use crate::message::Message;
use crate::publish::Routed;
use crate::replay::has_room_for_replay;
use crate::session::SessionIndex;

/// One history that is being delivered. No two ever have the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HistoryId(pub u64);

/// Where in a stream reading begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Position {
    /// With the oldest record that is kept.
    Earliest,
    /// With the next record that comes.
    Latest,
    /// With this offset, or the oldest record if that is greater.
    Offset(u64),
    /// With records that the broker received at this time or later, in Unix milliseconds.
    Time(u64),
}

/// How people write a [`Position`], and the time that "ago" counts from; `None`: it is none. The
/// same question always has the same answer (I1).
pub type Dialect = fn(&str, Time) -> Option<Position>;

/// What whoever reads the log is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Read this, and answer with the first batch.
    Begin(Beginning),
    /// Answer with the next batch, as soon as there is any.
    More(HistoryId),
    /// Nobody wants it any more.
    End(HistoryId),
}

/// What is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// Under this id it is answered.
    pub id: HistoryId,
    /// Of this stream.
    pub stream: Arc<str>,
    /// From here on; never [`Position::Latest`]. An offset may be one that is not safe yet.
    pub from: Position,
    /// The filter as it came; what it [matches](Filter::topic_filter) is read.
    pub filter: Filter,
}

/// Why a history is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is not `$replay/<from>/<filter>`, or `<from>` is no place.
    Malformed,
    /// It is shared: which member would it be for?
    Shared,
    /// Nothing is recorded here that could be read.
    NothingRecorded,
    /// No stream records anything that the filter matches; there are these.
    NoStream(Vec<Arc<str>>),
    /// There is no stream of the name that was given; there are these.
    UnknownStream(Vec<Arc<str>>),
    /// Several streams record what the filter matches.
    SeveralStreams(Vec<Arc<str>>),
    /// The offset has not come yet; this one comes next.
    Beyond(u64),
    /// There are [`HISTORIES_MAX`] already.
    TooMany,
    /// The client has [`HISTORIES_PER_SESSION_MAX`] of them.
    TooManyOfSession,
    /// A kept session has it from a broker to which `$replay` meant nothing.
    Outdated,
}

/// Histories that are delivered at a time. At the bound: SUBACK says that one more failed, and the
/// log why.
pub const HISTORIES_MAX: usize = 1000;

/// Histories that one session may have of them, so that no client keeps all others from theirs. At
/// the bound: as above.
pub const HISTORIES_PER_SESSION_MAX: usize = 100;

/// What stands in front of a filter that asks for history.
pub(crate) const PREFIX: &str = "$replay/";

/// All histories.
#[derive(Default)]
pub(crate) struct Histories {
    /// `None`: nobody reads the log for us.
    dialect: Option<Dialect>,
    last_id: u64,
    by_session: BTreeMap<SessionIndex, BTreeMap<Filter, History>>,
    sessions: BTreeMap<HistoryId, SessionIndex>,
}

struct History {
    id: HistoryId,
    qos: QoS,
    /// Read, and not sent yet.
    pending: VecDeque<Message>,
    /// A batch is on its way.
    ordered: bool,
}

impl Engine {
    /// From here on the log is read for whoever asks for history.
    pub(crate) fn serve_history(&mut self, dialect: Dialect) {
        self.histories.dialect = Some(dialect);
    }

    /// Grants a history or refuses it. One that is asked for again begins again.
    pub(crate) fn begin_history(
        &mut self,
        index: SessionIndex,
        filter: &Filter,
        qos: QoS,
        fx: &mut Effects,
    ) -> Result<(), Refusal> {
        self.end_history(index, filter, fx);
        let (stream, from) = self.find_history(index, filter)?;
        let id = self.histories.add(index, filter, qos);
        let filter = filter.clone();
        fx.history.push(Order::Begin(Beginning { id, stream, from, filter }));
        Ok(())
    }

    /// Ends the history that was asked for with exactly this text, if there is one.
    pub(crate) fn end_history(&mut self, index: SessionIndex, filter: &Filter, fx: &mut Effects) {
        let Some(of_session) = self.histories.by_session.get_mut(&index) else { return };
        let Some(history) = of_session.remove(filter) else { return };
        if of_session.is_empty() {
            self.histories.by_session.remove(&index);
        }
        self.histories.sessions.remove(&history.id);
        fx.history.push(Order::End(history.id));
    }

    /// The connection is gone, and its histories with it.
    pub(crate) fn end_histories(&mut self, index: SessionIndex, fx: &mut Effects) {
        let of_session = self.histories.by_session.remove(&index).unwrap_or_default();
        for history in of_session.into_values() {
            self.histories.sessions.remove(&history.id);
            fx.history.push(Order::End(history.id));
        }
    }

    /// A batch came. One of a history that has ended goes nowhere: the log still has it.
    pub(crate) fn on_history(&mut self, id: HistoryId, messages: Vec<Message>, fx: &mut Effects) {
        let Some(&index) = self.histories.sessions.get(&id) else { return };
        let of_session = self.histories.by_session.get_mut(&index);
        let mut of_session = of_session.into_iter().flat_map(BTreeMap::values_mut);
        if let Some(history) = of_session.find(|history| history.id == id) {
            history.pending = messages.into();
            history.ordered = false;
        }
        self.go_on_with_histories(index, fx);
    }

    /// Sends what was read, as far as it may go now, and orders more of what is used up.
    pub(crate) fn go_on_with_histories(&mut self, index: SessionIndex, fx: &mut Effects) {
        let Some(mut of_session) = self.histories.by_session.remove(&index) else { return };
        for history in of_session.values_mut() {
            while let Some(message) = history.pending.front()
                && self.tell(index, message, history.qos, fx)
            {
                history.pending.pop_front();
            }
            if history.pending.is_empty() && !std::mem::replace(&mut history.ordered, true) {
                fx.history.push(Order::More(history.id));
            }
        }
        self.histories.by_session.insert(index, of_session);
    }

    /// Sends one message, if it may go now; one that may never go is counted and passed by.
    fn tell(&mut self, index: SessionIndex, message: &Message, qos: QoS, fx: &mut Effects) -> bool {
        let session = &mut self.sessions[index];
        if !has_room_for_replay(session) {
            return false;
        }
        if !session.may_receive(message) {
            self.counters.count_drop(Bound::DeniedReceive);
            return true;
        }
        let qos = message.qos().min(qos);
        if qos == QoS::AtMostOnce {
            session.publish_qos0(message, false, &mut self.counters, fx);
        } else if session.is_ready(qos, &self.limits) {
            self.start(index, &mut Routed::new(message), qos, fx);
        } else {
            return false;
        }
        true
    }

    /// Which stream, and from where.
    fn find_history(
        &self,
        index: SessionIndex,
        filter: &Filter,
    ) -> Result<(Arc<str>, Position), Refusal> {
        let dialect = self.histories.dialect.ok_or(Refusal::NothingRecorded)?;
        let from = filter.replay().ok_or(Refusal::Shared)?;
        let (from, name) = match from.rsplit_once('@') {
            Some((from, name)) => (from, Some(name)),
            None => (from, None),
        };
        let from = dialect(from, self.now).ok_or(Refusal::Malformed)?;
        let (stream, end) = self.find_stream(name, filter)?;
        if self.histories.len_of(index) >= HISTORIES_PER_SESSION_MAX {
            return Err(Refusal::TooManyOfSession);
        }
        if self.histories.sessions.len() >= HISTORIES_MAX {
            return Err(Refusal::TooMany);
        }
        match from {
            Position::Latest => Ok((stream, Position::Offset(end))),
            Position::Offset(offset) if offset > end => Err(Refusal::Beyond(end)),
            Position::Earliest | Position::Offset(_) | Position::Time(_) => Ok((stream, from)),
        }
    }

    /// The stream of this name, also if it records no more; or the only one that records anything
    /// of what the filter matches. With the offset of its next record.
    fn find_stream(&self, name: Option<&str>, filter: &Filter) -> Result<(Arc<str>, u64), Refusal> {
        let known: BTreeSet<&Arc<str>> =
            self.recording.ends.keys().chain(self.recording.streams().map(|s| &s.name)).collect();
        let all = || known.iter().map(|name| Arc::clone(name)).collect::<Vec<_>>();
        if known.is_empty() {
            return Err(Refusal::NothingRecorded);
        }
        let mut found: Vec<Arc<str>> = match name {
            Some(name) => all().into_iter().filter(|known| **known == *name).collect(),
            None => {
                let streams = self.recording.streams();
                let of_it = streams.filter(|stream| stream.filters.iter().any(|f| f.meets(filter)));
                of_it.map(|stream| stream.name.clone()).collect()
            }
        };
        match (found.pop(), name) {
            (Some(last), _) if !found.is_empty() => {
                found.push(last);
                Err(Refusal::SeveralStreams(found))
            }
            (Some(stream), _) => {
                let end = self.recording.ends.get(&stream).copied().unwrap_or(0);
                Ok((stream, end))
            }
            (None, Some(_)) => Err(Refusal::UnknownStream(all())),
            (None, None) => Err(Refusal::NoStream(all())),
        }
    }
}

impl Histories {
    pub(crate) fn are_some(&self) -> bool {
        !self.by_session.is_empty()
    }

    fn add(&mut self, index: SessionIndex, filter: &Filter, qos: QoS) -> HistoryId {
        self.last_id += 1;
        let id = HistoryId(self.last_id);
        let history = History { id, qos, pending: VecDeque::new(), ordered: true };
        self.by_session.entry(index).or_default().insert(filter.clone(), history);
        self.sessions.insert(id, index);
        id
    }

    /// How many a session has.
    pub(crate) fn len_of(&self, index: SessionIndex) -> usize {
        self.by_session.get(&index).map_or(0, BTreeMap::len)
    }
}
