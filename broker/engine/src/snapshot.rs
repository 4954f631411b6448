//! What an engine starts from: the sum of all changes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use martlet_codec::ids::PacketId;
use martlet_codec::reason::QoS;

use crate::change::{Change, MessageKey, Passage, Recorded};
use crate::filter::Filter;
use crate::input::Time;
use crate::message::Message;

/// All facts at one moment. `Snapshot::default()` is a broker that never ran.
///
/// [`apply`](Self::apply) is the definition of what a [`Change`] means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The sessions with Clean Session 0, by client id.
    pub sessions: BTreeMap<Arc<str>, KeptSession>,
    /// The messages that sessions wait for, each once.
    pub messages: BTreeMap<MessageKey, KeptMessage>,
    /// The retained messages by topic.
    pub retained: BTreeMap<Box<str>, Message>,
    /// The wills of connected clients, by client id.
    pub wills: BTreeMap<Arc<str>, Message>,
    /// Greater than every key ever given.
    pub next_key: MessageKey,
    /// The offset of the next record of each stream of the log, by the stream's name.
    pub streams: BTreeMap<Arc<str>, u64>,
}

/// A session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptSession {
    /// Since when it has no connection; `None`: it has one (or had when the broker died).
    pub detached: Option<Time>,
    /// Its subscriptions.
    pub subscriptions: BTreeMap<Filter, KeptSubscription>,
    /// What waits to be sent, in order.
    pub queue: VecDeque<Passage>,
    /// What was sent and is not settled, in send order.
    pub in_flight: Vec<(PacketId, KeptDelivery)>,
    /// The QoS 2 ids received from the client and not yet released.
    pub received: BTreeSet<PacketId>,
}

/// A subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptSubscription {
    /// The granted QoS.
    pub qos: QoS,
    /// Whether retained messages are still to be sent for it.
    pub replay: bool,
}

/// A delivery in flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeptDelivery {
    /// PUBACK (QoS 1) or PUBREC (QoS 2) is awaited.
    Sent(Passage),
    /// PUBREC came, PUBCOMP is awaited.
    AwaitPubComp,
}

/// A message and how many passages name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptMessage {
    /// The message.
    pub message: Message,
    /// How many passages in `queue` and `in_flight` of all sessions name it.
    pub references: u32,
}

impl Snapshot {
    /// Makes the fact true. A fact about a session that is not there changes nothing: the engine
    /// makes none.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::SaveSession { client_id } => {
                self.drop_session(client_id);
                self.sessions.insert(client_id.clone(), KeptSession::default());
            }
            Change::DropSession { client_id } => self.drop_session(client_id),
            Change::Detach { client_id, since } => {
                self.with(client_id, |session| session.detached = *since);
            }
            Change::Subscribe { client_id, filter, qos } => self.with(client_id, |session| {
                let kept = KeptSubscription { qos: *qos, replay: false };
                session.subscriptions.insert(filter.clone(), kept);
            }),
            Change::Unsubscribe { client_id, filter } => self.with(client_id, |session| {
                session.subscriptions.remove(filter);
            }),
            Change::Replay { client_id, filter, pending } => self.with(client_id, |session| {
                if let Some(subscription) = session.subscriptions.get_mut(filter) {
                    subscription.replay = *pending;
                }
            }),
            Change::KeepMessage { key, message } => {
                self.next_key = self.next_key.max(MessageKey(key.0 + 1));
                let kept = KeptMessage { message: message.clone(), references: 0 };
                self.messages.insert(*key, kept);
            }
            Change::Enqueue { client_id, passage } => {
                self.refer(passage.key);
                self.with(client_id, |session| session.queue.push_back(passage.clone()));
            }
            Change::Send { client_id, id } => self.send(client_id, *id),
            Change::Deliver { client_id, passage, id } => {
                self.refer(passage.key);
                let sent = KeptDelivery::Sent(passage.clone());
                self.with(client_id, |session| session.in_flight.push((*id, sent)));
            }
            Change::Advance { client_id, id } => self.advance(client_id, *id),
            Change::Settle { client_id, id } => self.settle(client_id, *id),
            Change::MarkReceived { client_id, id } => self.with(client_id, |session| {
                session.received.insert(*id);
            }),
            Change::ForgetReceived { client_id, id } => self.with(client_id, |session| {
                session.received.remove(id);
            }),
            Change::Retain { message } => {
                self.retained.insert(message.topic().as_str().into(), message.clone());
            }
            Change::ClearRetained { topic } => {
                self.retained.remove(topic);
            }
            Change::KeepWill { client_id, will } => {
                self.wills.insert(client_id.clone(), will.clone());
            }
            Change::DropWill { client_id } => {
                self.wills.remove(client_id);
            }
            Change::Record(Recorded { stream, offset, .. }) => {
                self.streams.insert(stream.clone(), offset + 1);
            }
        }
    }

    fn send(&mut self, client_id: &str, id: Option<PacketId>) {
        let first = self.sessions.get_mut(client_id).and_then(|s| s.queue.pop_front());
        match (first, id) {
            (Some(passage), Some(id)) => self.with(client_id, |session| {
                session.in_flight.push((id, KeptDelivery::Sent(passage)));
            }),
            (Some(passage), None) => self.release(passage.key),
            (None, _) => {}
        }
    }

    fn advance(&mut self, client_id: &str, id: PacketId) {
        let delivery = self.sessions.get_mut(client_id).and_then(|s| s.in_flight_mut(id));
        let before = delivery.map(|d| std::mem::replace(d, KeptDelivery::AwaitPubComp));
        if let Some(KeptDelivery::Sent(passage)) = before {
            self.release(passage.key);
        }
    }

    fn settle(&mut self, client_id: &str, id: PacketId) {
        let settled = self.sessions.get_mut(client_id).and_then(|session| {
            let at = session.in_flight.iter().position(|(other, _)| *other == id)?;
            Some(session.in_flight.remove(at).1)
        });
        if let Some(KeptDelivery::Sent(passage)) = settled {
            self.release(passage.key);
        }
    }

    fn with(&mut self, client_id: &str, change: impl FnOnce(&mut KeptSession)) {
        if let Some(session) = self.sessions.get_mut(client_id) {
            change(session);
        }
    }

    fn drop_session(&mut self, client_id: &str) {
        let Some(session) = self.sessions.remove(client_id) else { return };
        for key in session.passages().map(|passage| passage.key).collect::<Vec<_>>() {
            self.release(key);
        }
    }

    fn refer(&mut self, key: MessageKey) {
        if let Some(kept) = self.messages.get_mut(&key) {
            kept.references += 1;
        }
    }

    fn release(&mut self, key: MessageKey) {
        let Some(kept) = self.messages.get_mut(&key) else { return };
        kept.references = kept.references.saturating_sub(1);
        if kept.references == 0 {
            self.messages.remove(&key);
        }
    }
}

impl KeptSession {
    /// Everything that names a message, in-flight first.
    pub fn passages(&self) -> impl Iterator<Item = &Passage> {
        let sent = self.in_flight.iter().filter_map(|(_, delivery)| match delivery {
            KeptDelivery::Sent(passage) => Some(passage),
            KeptDelivery::AwaitPubComp => None,
        });
        sent.chain(&self.queue)
    }

    fn in_flight_mut(&mut self, id: PacketId) -> Option<&mut KeptDelivery> {
        self.in_flight.iter_mut().find(|(other, _)| *other == id).map(|(_, delivery)| delivery)
    }
}
