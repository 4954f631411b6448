//! Which rows each fact changes. The ledger knows of every row where it stands, not what it says:
//! eight bytes for a queued message. What the rows say is in the edits until they are written.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use martlet_codec::ids::PacketId;
use martlet_codec::reason::QoS;
use martlet_engine::change::{Change, MessageKey, Passage};
use martlet_engine::filter::Filter;
use martlet_engine::input::Time;
use martlet_engine::message::Message;
use martlet_engine::snapshot::{KeptDelivery, KeptSession, KeptSubscription, Snapshot};

use crate::store::edits::Edits;

/// A session's number in the rows' keys: given once, never again.
pub(super) type SessionNumber = u64;

/// Where all rows stand.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ledger {
    sessions: BTreeMap<Arc<str>, Session>,
    /// How many passages name each message.
    references: HashMap<MessageKey, u32>,
    wills: BTreeSet<Arc<str>>,
    next_key: MessageKey,
    next_session: SessionNumber,
    pending: Pending,
}

/// Where a session's rows stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) number: SessionNumber,
    pub(super) subscriptions: BTreeMap<Filter, KeptSubscription>,
    /// The messages of its queue, in order; the first has place `queue_start`, and so on.
    pub(super) queue: VecDeque<MessageKey>,
    pub(super) queue_start: u64,
    pub(super) in_flight: BTreeMap<PacketId, Flight>,
    /// Greater than each `Flight::order`.
    pub(super) next_order: u64,
    pub(super) received: BTreeSet<PacketId>,
}

/// A delivery in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flight {
    /// Its place in send order.
    pub(super) order: u64,
    /// Its message; `None`: PUBCOMP is awaited.
    pub(super) key: Option<MessageKey>,
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
}

/// The edits of one session's rows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SessionEdits {
    /// Its own row; `None`: as it is.
    pub(super) row: Option<SessionRow>,
    /// No row of it is on disk yet.
    pub(super) is_new: bool,
    pub(super) subscriptions: Edits<Filter, KeptSubscription>,
    pub(super) queue: Edits<u64, Passage>,
    pub(super) in_flight: Edits<PacketId, FlightRow>,
    pub(super) received: Edits<PacketId, ()>,
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
    Sent(Passage),
    /// Sent: the passage is that of the queue's row at this place, which these edits delete.
    Moved(u64),
    AwaitPubComp,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.sessions.is_empty()
            && self.dropped.is_empty()
            && self.messages.is_empty()
            && self.retained.is_empty()
            && self.wills.is_empty()
    }
}

impl SessionEdits {
    fn is_empty(&self) -> bool {
        self.row.is_none()
            && self.subscriptions.is_empty()
            && self.queue.is_empty()
            && self.in_flight.is_empty()
            && self.received.is_empty()
    }
}

impl Ledger {
    /// The ledger of rows that say what `snapshot` says: `places` has the sessions' part.
    pub(super) fn new(snapshot: &Snapshot, places: BTreeMap<Arc<str>, Session>) -> Self {
        let references = snapshot.messages.iter().map(|(key, kept)| (*key, kept.references));
        Self {
            references: references.collect(),
            wills: snapshot.wills.keys().cloned().collect(),
            next_key: snapshot.next_key,
            next_session: places.values().map(|session| session.number + 1).max().unwrap_or(0),
            sessions: places,
            pending: Pending::default(),
        }
    }

    /// The ledger of no rows.
    pub(super) fn starting_at(next_key: MessageKey) -> Self {
        Self { next_key, ..Self::default() }
    }

    pub(super) fn next_key(&self) -> MessageKey {
        self.next_key
    }

    pub(super) fn pending(&self) -> &Pending {
        &self.pending
    }

    /// Hands over what is to be written; what comes after counts on its being written first.
    pub(super) fn take_pending(&mut self) -> Pending {
        std::mem::take(&mut self.pending)
    }

    /// Notes the rows that this fact changes, as [`Snapshot::apply`] defines it.
    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::SaveSession { client_id } => self.save_session(client_id),
            Change::DropSession { client_id } => self.drop_session(client_id),
            Change::Detach { client_id, since } => self.with(client_id, |_, edits| {
                let client_id = client_id.clone();
                edits.row = Some(SessionRow { client_id, detached: *since });
            }),
            Change::Subscribe { client_id, filter, qos } => {
                let kept = KeptSubscription { qos: *qos, replay: false };
                self.with(client_id, |session, edits| subscribe(session, edits, filter, kept));
            }
            Change::Unsubscribe { client_id, filter } => self.with(client_id, |session, edits| {
                if session.subscriptions.remove(filter).is_some() {
                    edits.subscriptions.delete(filter.clone());
                }
            }),
            Change::Replay { client_id, filter, pending } => {
                self.with(client_id, |session, edits| {
                    let Some(kept) = session.subscriptions.get(filter) else { return };
                    let kept = KeptSubscription { replay: *pending, ..*kept };
                    subscribe(session, edits, filter, kept);
                });
            }
            Change::KeepMessage { key, message } => {
                self.next_key = self.next_key.max(MessageKey(key.0 + 1));
                self.references.insert(*key, 0);
                self.pending.messages.insert(*key, message.clone());
            }
            Change::Enqueue { client_id, passage } => self.enqueue(client_id, passage),
            Change::Send { client_id, id } => self.send(client_id, *id),
            Change::Deliver { client_id, passage, id } => {
                self.refer(passage.key);
                self.with(client_id, |session, edits| {
                    let stage = Stage::Sent(passage.clone());
                    fly(session, edits, *id, passage.key, stage);
                });
            }
            Change::Advance { client_id, id } => self.advance(client_id, *id),
            Change::Settle { client_id, id } => self.settle(client_id, *id),
            Change::MarkReceived { client_id, id } => self.with(client_id, |session, edits| {
                if session.received.insert(*id) {
                    edits.received.insert(*id, ());
                }
            }),
            Change::ForgetReceived { client_id, id } => self.with(client_id, |session, edits| {
                if session.received.remove(id) {
                    edits.received.delete(*id);
                }
            }),
            Change::Retain { message } => {
                self.pending.retained.replace(message.topic().as_str().into(), message.clone());
            }
            Change::ClearRetained { topic } => {
                self.pending.retained.delete(topic.clone());
            }
            Change::KeepWill { client_id, will } => {
                match self.wills.insert(client_id.clone()) {
                    true => self.pending.wills.insert(client_id.clone(), will.clone()),
                    false => self.pending.wills.replace(client_id.clone(), will.clone()),
                };
            }
            Change::DropWill { client_id } => {
                if self.wills.remove(client_id) {
                    self.pending.wills.delete(client_id.clone());
                }
            }
        }
    }

    fn save_session(&mut self, client_id: &Arc<str>) {
        self.drop_session(client_id);
        let number = self.next_session;
        self.next_session += 1;
        self.sessions.insert(client_id.clone(), Session { number, ..Session::default() });
        let row = SessionRow { client_id: client_id.clone(), detached: None };
        let edits = SessionEdits { row: Some(row), is_new: true, ..SessionEdits::default() };
        self.pending.sessions.insert(number, edits);
    }

    fn drop_session(&mut self, client_id: &str) {
        let Some(session) = self.sessions.remove(client_id) else { return };
        let edits = self.pending.sessions.remove(&session.number);
        if !edits.is_some_and(|edits| edits.is_new) {
            self.pending.dropped.insert(session.number);
        }
        let in_flight = session.in_flight.values().filter_map(|flight| flight.key);
        for key in in_flight.chain(session.queue.iter().copied()).collect::<Vec<_>>() {
            self.release(key);
        }
    }

    fn enqueue(&mut self, client_id: &str, passage: &Passage) {
        self.refer(passage.key);
        self.with(client_id, |session, edits| {
            let place = session.queue_start + session.queue.len() as u64;
            session.queue.push_back(passage.key);
            edits.queue.insert(place, passage.clone());
        });
    }

    fn send(&mut self, client_id: &str, id: Option<PacketId>) {
        let mut released = None;
        self.with(client_id, |session, edits| {
            let Some(key) = session.queue.pop_front() else { return };
            let place = session.queue_start;
            session.queue_start += 1;
            let passage = edits.queue.delete(place);
            match id {
                Some(id) => {
                    let stage = passage.map_or(Stage::Moved(place), Stage::Sent);
                    fly(session, edits, id, key, stage);
                }
                None => released = Some(key),
            }
        });
        released.into_iter().for_each(|key| self.release(key));
    }

    fn advance(&mut self, client_id: &str, id: PacketId) {
        let mut released = None;
        self.with(client_id, |session, edits| {
            let Some(flight) = session.in_flight.get_mut(&id) else { return };
            released = flight.key.take();
            let row = FlightRow { order: flight.order, stage: Stage::AwaitPubComp };
            edits.in_flight.replace(id, row);
        });
        released.into_iter().for_each(|key| self.release(key));
    }

    fn settle(&mut self, client_id: &str, id: PacketId) {
        let mut released = None;
        self.with(client_id, |session, edits| {
            let Some(flight) = session.in_flight.remove(&id) else { return };
            released = flight.key;
            edits.in_flight.delete(id);
        });
        released.into_iter().for_each(|key| self.release(key));
    }

    fn with(&mut self, client_id: &str, change: impl FnOnce(&mut Session, &mut SessionEdits)) {
        let Some(session) = self.sessions.get_mut(client_id) else { return };
        let edits = self.pending.sessions.entry(session.number).or_default();
        change(session, edits);
        if edits.is_empty() {
            self.pending.sessions.remove(&session.number);
        }
    }

    fn refer(&mut self, key: MessageKey) {
        if let Some(references) = self.references.get_mut(&key) {
            *references += 1;
        }
    }

    fn release(&mut self, key: MessageKey) {
        let Some(references) = self.references.get_mut(&key) else { return };
        *references = references.saturating_sub(1);
        if *references == 0 {
            self.references.remove(&key);
            self.pending.messages.delete(key);
        }
    }
}

fn subscribe(
    session: &mut Session,
    edits: &mut SessionEdits,
    filter: &Filter,
    kept: KeptSubscription,
) {
    match session.subscriptions.insert(filter.clone(), kept) {
        None => edits.subscriptions.insert(filter.clone(), kept),
        Some(before) if before == kept => {}
        Some(_) => edits.subscriptions.replace(filter.clone(), kept),
    }
}

fn fly(
    session: &mut Session,
    edits: &mut SessionEdits,
    id: PacketId,
    key: MessageKey,
    stage: Stage,
) {
    let order = session.next_order;
    session.next_order += 1;
    let row = FlightRow { order, stage };
    match session.in_flight.insert(id, Flight { order, key: Some(key) }) {
        None => edits.in_flight.insert(id, row),
        Some(_) => edits.in_flight.replace(id, row), // only what was salvaged repeats an id
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
