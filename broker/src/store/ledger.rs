//! Which rows each fact changes. The ledger knows of every row where it stands, not what it says:
//! eight bytes for a queued message. What the rows say is in here only until they are written.
//!
//! What comes and goes between two checkpoints is most of what passes here, so that it costs
//! little: no message is hashed, no tree of the state's size is walked.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;
use martlet_codec::ids::PacketId;
use martlet_codec::reason::QoS;
use martlet_engine::change::{Change, MessageKey, Passage};
use martlet_engine::filter::Filter;
use martlet_engine::input::Time;
use martlet_engine::message::Message;
use martlet_engine::snapshot::{KeptDelivery, KeptSession, KeptSubscription, Snapshot};

use crate::store::edits::{Edit, Edits};
use crate::store::ledger::messages::Messages;
pub(in crate::store) use crate::store::ledger::session::Session;
use crate::store::record::Parcel;

mod messages;
mod session;

/// A session's number in the rows' keys: given once, never again.
pub(super) type SessionNumber = u64;

/// Where all rows stand.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ledger {
    sessions: HashMap<Arc<str>, Session, RandomState>,
    /// Sessions that were touched since the edits were last taken. Each once, but for those that
    /// were dropped and made again.
    touched: Vec<Arc<str>>,
    /// Sessions whose rows go, all of them.
    dropped: BTreeSet<SessionNumber>,
    messages: Messages,
    retained: Edits<Box<str>, Message>,
    wills: BTreeSet<Arc<str>>,
    will_edits: Edits<Arc<str>, Message>,
    streams: Edits<Arc<str>, u64>,
    next_key: MessageKey,
    next_session: SessionNumber,
}

/// What is to be written to the state, net of all that came and went.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) sessions: BTreeMap<SessionNumber, SessionEdits>,
    /// Sessions whose rows go, all of them.
    pub(super) dropped: BTreeSet<SessionNumber>,
    pub(super) messages: Edits<MessageKey, Message>,
    pub(super) retained: Edits<Box<str>, Message>,
    pub(super) wills: Edits<Arc<str>, Message>,
    /// Streams of the log: the offset of the next record.
    pub(super) streams: Edits<Arc<str>, u64>,
}

impl Pending {
    /// Bytes of the messages that are to be written.
    pub(super) fn message_bytes(&self) -> usize {
        let parcels = self.sessions.values().flat_map(|session| {
            let sent = session.in_flight.values().filter_map(|flight| match &flight.stage {
                Stage::Sent(parcel) => Some(parcel),
                Stage::Moved(_) | Stage::AwaitPubComp => None,
            });
            sent.chain(&session.queue.new)
        });
        let inside = parcels.filter_map(|parcel| parcel.inside.as_ref());
        let others = self.messages.values().chain(self.retained.values());
        inside.chain(others).map(Message::len).sum()
    }
}

/// The edits of one session's rows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SessionEdits {
    /// Its own row; `None`: as it is.
    pub(super) row: Option<SessionRow>,
    pub(super) subscriptions: Edits<Filter, KeptSubscription>,
    pub(super) queue: QueueEdits,
    pub(super) in_flight: Edits<PacketId, FlightRow>,
    pub(super) received: Edits<PacketId, ()>,
}

/// The edits of a queue's rows: what was there goes from the front, what is new stands at the end.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct QueueEdits {
    /// What stands before this place goes; `None`: nothing goes.
    pub(super) front: Option<u64>,
    /// The place of the first of `new`.
    pub(super) new_from: u64,
    pub(super) new: Vec<Parcel>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SessionRow {
    pub(super) client_id: Arc<str>,
    pub(super) detached: Option<Time>,
}

/// A delivery's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FlightRow {
    pub(super) order: u64,
    pub(super) stage: Stage,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Sent(Parcel),
    /// Sent: the passage is the queue's at this place, from which these edits take it.
    Moved(u64),
    AwaitPubComp,
}

impl Ledger {
    /// The ledger of rows that say what `snapshot` says: `places` has the sessions' part, and the
    /// messages that have rows of their own are `shared`.
    pub(super) fn new(
        snapshot: &Snapshot,
        places: BTreeMap<Arc<str>, Session>,
        shared: &[MessageKey],
    ) -> Self {
        let references = |key| snapshot.messages.get(key).map(|kept| (*key, kept.references));
        Self {
            messages: Messages::new(shared.iter().filter_map(references)),
            wills: snapshot.wills.keys().cloned().collect(),
            next_key: snapshot.next_key,
            next_session: places.values().map(|session| session.number + 1).max().unwrap_or(0),
            sessions: places.into_iter().collect(),
            ..Self::default()
        }
    }

    /// The ledger of no rows.
    pub(super) fn starting_at(next_key: MessageKey) -> Self {
        Self { next_key, ..Self::default() }
    }

    pub(super) fn next_key(&self) -> MessageKey {
        self.next_key
    }

    /// Whether any row is to be written or deleted. Looks at each session that was touched.
    pub(super) fn has_pending(&self) -> bool {
        let mut touched = self.touched.iter().filter_map(|name| self.sessions.get(name));
        !self.dropped.is_empty()
            || !self.retained.is_empty()
            || !self.will_edits.is_empty()
            || !self.streams.is_empty()
            || self.messages.is_changed()
            || touched.any(Session::is_changed)
    }

    /// Hands over what is to be written; what comes after counts on its being written first.
    pub(super) fn take_pending(&mut self) -> Pending {
        let mut sessions = BTreeMap::new();
        for name in std::mem::take(&mut self.touched) {
            let Some(session) = self.sessions.get_mut(&name) else { continue };
            let messages = &mut self.messages;
            if let Some(edits) = session.take_edits(|passage| messages.parcel(passage)) {
                sessions.insert(session.number, edits);
            }
        }
        Pending {
            sessions,
            dropped: std::mem::take(&mut self.dropped),
            messages: self.messages.take_edits(),
            retained: std::mem::take(&mut self.retained),
            wills: std::mem::take(&mut self.will_edits),
            streams: std::mem::take(&mut self.streams),
        }
    }

    /// Notes the rows that this fact changes, as [`Snapshot::apply`] defines it.
    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::SaveSession { client_id } => self.save_session(client_id),
            Change::DropSession { client_id } => self.drop_session(client_id),
            Change::Detach { client_id, since } => {
                let row = SessionRow { client_id: client_id.clone(), detached: *since };
                self.with(client_id, |session| session.set_row(row));
            }
            Change::Subscribe { client_id, filter, qos } => {
                let kept = KeptSubscription { qos: *qos, replay: false };
                self.with(client_id, |session| session.subscribe(filter, kept));
            }
            Change::Unsubscribe { client_id, filter } => {
                self.with(client_id, |session| session.unsubscribe(filter));
            }
            Change::Replay { client_id, filter, pending } => self.with(client_id, |session| {
                let Some(kept) = session.subscriptions.get(filter) else { return };
                session.subscribe(filter, KeptSubscription { replay: *pending, ..*kept });
            }),
            Change::KeepMessage { key, message } => {
                self.next_key = self.next_key.max(MessageKey(key.0 + 1));
                self.messages.insert(*key, message.clone());
            }
            Change::Enqueue { client_id, passage } => {
                self.messages.refer(passage.key);
                self.with(client_id, |session| session.enqueue(passage.clone()));
            }
            Change::Send { client_id, id } => self.release(client_id, |s| s.send(*id)),
            Change::Deliver { client_id, passage, id } => {
                self.messages.refer(passage.key);
                self.with(client_id, |session| session.deliver(*id, passage.clone()));
            }
            Change::Advance { client_id, id } => self.release(client_id, |s| s.advance(*id)),
            Change::Settle { client_id, id } => self.release(client_id, |s| s.settle(*id)),
            Change::MarkReceived { client_id, id } => {
                self.with(client_id, |session| session.mark_received(*id));
            }
            Change::ForgetReceived { client_id, id } => {
                self.with(client_id, |session| session.forget_received(*id));
            }
            Change::Retain { message } => {
                self.retained.replace(message.topic().as_str().into(), message.clone());
            }
            Change::ClearRetained { topic } => {
                self.retained.delete(topic.clone());
            }
            Change::KeepWill { client_id, will } => match self.wills.insert(client_id.clone()) {
                true => self.will_edits.insert(client_id.clone(), will.clone()),
                false => self.will_edits.replace(client_id.clone(), will.clone()),
            },
            Change::DropWill { client_id } => {
                if self.wills.remove(client_id) {
                    self.will_edits.delete(client_id.clone());
                }
            }
            Change::Record(record) => self.go_on_with_stream(&record.stream, record.offset + 1),
        }
    }

    /// The stream's next record gets this offset.
    pub(super) fn go_on_with_stream(&mut self, stream: &Arc<str>, end: u64) {
        match self.streams.0.get_mut(stream) {
            Some(Edit::Replace(before)) => *before = end,
            _ => self.streams.replace(stream.clone(), end),
        }
    }

    fn save_session(&mut self, client_id: &Arc<str>) {
        self.drop_session(client_id);
        let row = SessionRow { client_id: client_id.clone(), detached: None };
        self.sessions.insert(client_id.clone(), Session::new(self.next_session, row));
        self.next_session += 1;
        self.touched.push(client_id.clone());
    }

    fn drop_session(&mut self, client_id: &str) {
        let Some(session) = self.sessions.remove(client_id) else { return };
        if !session.is_new() {
            self.dropped.insert(session.number);
        }
        session.keys().for_each(|key| self.messages.release(key));
    }

    fn with(&mut self, client_id: &Arc<str>, change: impl FnOnce(&mut Session)) {
        let Some(session) = self.sessions.get_mut(client_id) else { return };
        let was_touched = session.is_touched();
        change(session);
        if !was_touched && session.is_touched() {
            self.touched.push(client_id.clone());
        }
    }

    /// As `with`; the message that the session needs no more is released.
    fn release(
        &mut self,
        client_id: &Arc<str>,
        change: impl FnOnce(&mut Session) -> Option<MessageKey>,
    ) {
        let mut unneeded = None;
        self.with(client_id, |session| unneeded = change(session));
        unneeded.into_iter().for_each(|key| self.messages.release(key));
    }
}

/// Facts that, applied to nothing, give `snapshot` but for its `next_key`.
pub(super) fn facts(snapshot: &Snapshot) -> impl Iterator<Item = Change> {
    let messages = snapshot
        .messages
        .iter()
        .map(|(key, kept)| Change::KeepMessage { key: *key, message: kept.message.clone() });
    let sessions = snapshot.sessions.iter().flat_map(|(name, kept)| session_facts(name, kept));
    let retained = snapshot.retained.values().cloned().map(|message| Change::Retain { message });
    let wills = snapshot.wills.iter().map(|(client_id, will)| Change::KeepWill {
        client_id: client_id.clone(),
        will: will.clone(),
    });
    messages.chain(sessions).chain(retained).chain(wills)
}

fn session_facts(client_id: &Arc<str>, kept: &KeptSession) -> Vec<Change> {
    let c = || client_id.clone();
    let mut facts = vec![
        Change::SaveSession { client_id: c() },
        Change::Detach { client_id: c(), since: kept.detached },
    ];
    for (filter, KeptSubscription { qos, replay }) in &kept.subscriptions {
        facts.push(Change::Subscribe { client_id: c(), filter: filter.clone(), qos: *qos });
        if *replay {
            let filter = filter.clone();
            facts.push(Change::Replay { client_id: c(), filter, pending: true });
        }
    }
    for (id, delivery) in &kept.in_flight {
        match delivery {
            KeptDelivery::Sent(passage) => {
                facts.push(Change::Deliver { client_id: c(), passage: passage.clone(), id: *id });
            }
            KeptDelivery::AwaitPubComp => {
                let qos = QoS::ExactlyOnce;
                // Its message is gone: a name that no message has.
                let passage =
                    Passage { key: MessageKey(u64::MAX), qos, retain: false, share: None };
                facts.push(Change::Deliver { client_id: c(), passage, id: *id });
                facts.push(Change::Advance { client_id: c(), id: *id });
            }
        }
    }
    let queue = kept.queue.iter().cloned();
    facts.extend(queue.map(|passage| Change::Enqueue { client_id: c(), passage }));
    let received = kept.received.iter();
    facts.extend(received.map(|id| Change::MarkReceived { client_id: c(), id: *id }));
    facts
}

/// Makes one of what was salvaged from several damaged ones: each id in flight once, no passage
/// without its message, no message without a passage.
pub(super) fn mend(snapshot: &mut Snapshot) {
    let messages = &mut snapshot.messages;
    messages.values_mut().for_each(|kept| kept.references = 0);
    let mut refer = |passage: &Passage| match messages.get_mut(&passage.key) {
        Some(kept) => {
            kept.references += 1;
            true
        }
        None => false,
    };
    for session in snapshot.sessions.values_mut() {
        let mut last = BTreeMap::new();
        for (at, (id, _)) in session.in_flight.iter().enumerate() {
            last.insert(*id, at);
        }
        let mut at = 0;
        session.in_flight.retain(|(id, delivery)| {
            at += 1;
            last[id] == at - 1
                && match delivery {
                    KeptDelivery::Sent(passage) => refer(passage),
                    KeptDelivery::AwaitPubComp => true,
                }
        });
        session.queue.retain(&mut refer);
    }
    messages.retain(|_, kept| kept.references > 0);
}
