//! What the engine holds besides sessions and router: the table of links, and how its state becomes
//! a snapshot and comes from one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use martlet_codec::reason::QoS;

use crate::Engine;
use crate::change::{Change, MessageKey, Passage};
use crate::counters::Gauges;
use crate::deadlines::Due;
use crate::effects::{Effects, Notice};
use crate::filter::Filter;
use crate::history::Refusal;
use crate::input::{LinkId, Time};
use crate::limits::Limits;
use crate::message::Message;
use crate::router::retained::is_sys;
use crate::session::deliveries::{Awaiting, Deliveries, OptionalKey, Outbound};
use crate::session::seldom::Seldom;
use crate::session::subscriptions::Subscription;
use crate::session::{Attachment, Replay, Session, SessionIndex};
use crate::slab::Pieces;
use crate::snapshot::{KeptDelivery, KeptMessage, KeptSession, KeptSubscription, Snapshot};
use crate::will::TakenWill;

/// Which link belongs to which session (I4), by slot.
#[derive(Default)]
pub(crate) struct Links {
    slots: Pieces<(u32, SessionIndex), 1024>,
}

impl Links {
    pub(crate) fn session(&self, link: LinkId) -> Option<SessionIndex> {
        let (generation, index) = self.slots.get(link.slot as usize)?;
        (*generation == link.generation).then_some(*index)
    }

    /// A slot is used again only after Lost or farewell (I4).
    pub(crate) fn attach(&mut self, link: LinkId, index: SessionIndex) {
        self.slots.put(link.slot as usize, (link.generation, index));
    }

    pub(crate) fn detach(&mut self, link: LinkId) {
        self.slots.take(link.slot as usize).expect("who is detached was attached");
    }

    pub(crate) fn connected(&self) -> u64 {
        self.slots.len() as u64
    }
}

/// What the broker's death left to be done.
pub(crate) struct Recovery {
    /// When the engine started.
    since: Time,
    /// Sessions that were connected.
    connected: Vec<SessionIndex>,
    wills: BTreeMap<Arc<str>, Message>,
    /// Subscriptions of before `$replay/` meant history: it belongs to the connection now.
    outdated: Vec<Outdated>,
}

/// A client's subscription that is not taken over.
type Outdated = (Arc<str>, Filter, KeptSubscription);

impl Engine {
    /// Takes over the facts. Sessions that were connected are so no longer, as of now; that is a
    /// change like any other, and comes with the first [`handle`](Self::handle).
    pub(crate) fn restore(&mut self, snapshot: Snapshot) {
        let Snapshot { sessions, messages, retained, wills, next_key, streams } = snapshot;
        self.next_key = next_key;
        self.recording.ends = streams;
        for message in retained.into_values() {
            // What was kept stays kept, even if a bound was lowered since.
            self.retained.restore(&message);
        }
        let (mut connected, mut outdated) = (Vec::new(), Vec::new());
        let mut shared = BTreeSet::new();
        for (client_id, kept) in sessions {
            let was_connected = kept.detached.is_none();
            let since = kept.detached.unwrap_or(self.now);
            let mut session = Session::new(client_id, true, Attachment::Detached { since });
            let outbound = |passage: &Passage| restore_passage(passage, &messages);
            // Exactly as long as needed: there are millions of places.
            let mut queue = VecDeque::with_capacity(kept.queue.len());
            queue.extend(kept.queue.iter().filter_map(outbound));
            let deliveries = Deliveries::restore(
                queue,
                kept.in_flight.iter().filter_map(|(id, delivery)| match delivery {
                    KeptDelivery::AwaitPubComp => Some((*id, Awaiting::PubComp)),
                    KeptDelivery::Sent(passage) => Some((*id, Awaiting::sent(outbound(passage)?))),
                }),
            );
            if deliveries.are_some() {
                session.deliveries = Seldom::from(deliveries);
            }
            for outbound in session.deliveries.queue() {
                let key = outbound.key.get().filter(|key| messages[key].references > 1);
                self.queues.add(&outbound.message, key.is_none_or(|key| shared.insert(key)));
            }
            let waiting = session.deliveries.waiting();
            self.waiting.messages += waiting.messages;
            self.waiting.bytes += waiting.bytes;
            for id in kept.received {
                session.rare.received.mark(id);
            }
            let index = self.sessions.insert(session);
            let gone = self.restore_subscriptions(index, kept.subscriptions).into_iter();
            let client_id = &self.sessions[index].client_id;
            outdated.extend(gone.map(|(filter, kept)| (client_id.clone(), filter, kept)));
            self.arm_expiry(index, since);
            if was_connected {
                connected.push(index);
            }
        }
        if !connected.is_empty() || !wills.is_empty() || !outdated.is_empty() {
            let recovery = Recovery { since: self.now, connected, wills, outdated };
            self.recovery = Some(Box::new(recovery));
        }
    }

    /// Those that it does not take over: they would get what nobody asked for.
    fn restore_subscriptions(
        &mut self,
        index: SessionIndex,
        kept: BTreeMap<Filter, KeptSubscription>,
    ) -> BTreeMap<Filter, KeptSubscription> {
        let (outdated, kept): (_, BTreeMap<_, _>) =
            kept.into_iter().partition(|(filter, _)| filter.replay().is_some());
        for (filter, KeptSubscription { qos, replay }) in kept {
            let id = self.router.subscribe(&filter, index, qos);
            let session = &mut self.sessions[index];
            if replay {
                let replay = Replay { kept: true, ..Replay::default() };
                session.rare.replays.insert(filter.clone(), replay);
            }
            session.subscriptions.insert(filter, Subscription { id, qos });
        }
        outdated
    }

    /// What the death of the broker owes: connections ended, wills fire [MQTT-3.1.2-8]. What is
    /// outdated goes.
    pub(crate) fn recover(&mut self, recovery: Recovery, fx: &mut Effects) {
        let since = Some(recovery.since);
        for index in recovery.connected {
            let client_id = self.sessions[index].client_id.clone();
            fx.changes.push(Change::Detach { client_id, since });
        }
        for (client_id, filter, _) in recovery.outdated {
            let change =
                Change::Unsubscribe { client_id: client_id.clone(), filter: filter.clone() };
            fx.changes.push(change);
            let refusal = Refusal::Outdated;
            fx.notices.push(Notice::HistoryRefused { client_id, filter, refusal });
        }
        for (client_id, message) in recovery.wills {
            fx.changes.push(Change::DropWill { client_id: client_id.clone() });
            let will = TakenWill { message, client_id, user_name: None, allowed: true };
            self.publish_will(will, fx);
        }
    }

    /// All facts, as the changes that were given out have made them: what a store must hold.
    pub fn snapshot(&self) -> Snapshot {
        let streams = self.recording.ends.clone();
        let mut snapshot = Snapshot { next_key: self.next_key, streams, ..Snapshot::default() };
        for message in self.retained.iter().filter(|message| !is_sys(message)) {
            snapshot.retained.insert(message.topic().as_str().into(), message.clone());
        }
        for (_, session) in self.sessions.iter() {
            if let Some(will) = &session.will {
                snapshot.wills.insert(session.client_id.clone(), will.clone());
            }
            if session.durable {
                let kept = keep_session(session, &mut snapshot.messages);
                snapshot.sessions.insert(session.client_id.clone(), kept);
            }
        }
        if let Some(recovery) = &self.recovery {
            for &index in &recovery.connected {
                if let Some(kept) = snapshot.sessions.get_mut(&self.sessions[index].client_id) {
                    kept.detached = None;
                }
            }
            for (client_id, filter, kept) in &recovery.outdated {
                if let Some(session) = snapshot.sessions.get_mut(client_id) {
                    session.subscriptions.insert(filter.clone(), *kept);
                }
            }
            snapshot.wills.clone_from(&recovery.wills);
        }
        snapshot
    }

    /// From here on these bounds hold. The tables keep the seed that they were made with.
    pub(crate) fn change_limits(&mut self, limits: Limits) {
        let expiry_s = self.limits.session_expiry_s;
        let Limits { hash_seed, broker_id, .. } = self.limits;
        self.limits = Limits { hash_seed, broker_id, ..limits };
        self.sys_topics.change_interval(&self.limits, self.now);
        if self.limits.session_expiry_s != expiry_s {
            let detached = self.sessions.iter().filter_map(|(index, session)| {
                let Attachment::Detached { since } = session.attachment else { return None };
                Some((index, since))
            });
            let detached: Vec<(SessionIndex, Time)> = detached.collect();
            for (index, since) in detached {
                self.arm_expiry(index, since);
            }
            self.forget_stale_deadlines();
        }
    }

    /// Every subscription: whose, to what, at which granted QoS.
    pub fn subscriptions(&self) -> impl Iterator<Item = (&Arc<str>, &Filter, QoS)> {
        self.sessions.iter().flat_map(|(_, session)| {
            let subscriptions = session.subscriptions.iter();
            subscriptions.map(|(filter, granted)| (&session.client_id, filter, granted.qos))
        })
    }

    /// What this client has subscribed to, with the granted QoS.
    pub fn grants_of(&self, client_id: &str) -> impl Iterator<Item = (&Filter, QoS)> {
        let session = self.sessions.find(client_id).map(|index| &self.sessions[index]);
        let subscriptions = session.into_iter().flat_map(|session| session.subscriptions.iter());
        subscriptions.map(|(filter, subscription)| (filter, subscription.qos))
    }

    /// What this client has subscribed to.
    pub fn subscriptions_of(&self, client_id: &str) -> impl Iterator<Item = &Filter> {
        self.grants_of(client_id).map(|(filter, _)| filter)
    }

    /// What is there now.
    pub fn gauges(&self) -> Gauges {
        Gauges {
            sessions: self.sessions.len() as u64,
            connected: self.links.connected(),
            subscriptions: self.router.len() as u64,
            shared_subscriptions: self.router.shared_len(),
            retained_messages: self.retained.len() as u64,
            retained_bytes: self.retained.bytes(),
            waiting_messages: self.waiting.messages,
            waiting_bytes: self.waiting.bytes,
            queues_bytes: self.queues.bytes(),
        }
    }
}

fn keep_session(
    session: &Session,
    messages: &mut BTreeMap<MessageKey, KeptMessage>,
) -> KeptSession {
    let mut keep = |outbound: &Outbound| keep_passage(outbound, messages);
    let in_flight =
        session.deliveries.in_flight().map(|(id, awaiting)| match awaiting.outbound() {
            Some(outbound) => (id, KeptDelivery::Sent(keep(outbound))),
            None => (id, KeptDelivery::AwaitPubComp),
        });
    let in_flight = in_flight.collect();
    let subscriptions = session.subscriptions.iter().map(|(filter, subscription)| {
        let replay = session.rare.replays.get(filter).is_some_and(|replay| replay.kept);
        (filter.clone(), KeptSubscription { qos: subscription.qos, replay })
    });
    KeptSession {
        detached: match session.attachment {
            Attachment::Attached(_) => None,
            Attachment::Detached { since } => Some(since),
        },
        subscriptions: subscriptions.collect(),
        in_flight,
        queue: session.deliveries.queue().map(keep).collect(),
        received: session.rare.received.iter().collect(),
    }
}

fn keep_passage(outbound: &Outbound, messages: &mut BTreeMap<MessageKey, KeptMessage>) -> Passage {
    let key = outbound.key.get().expect("a durable session's messages have keys");
    let kept = || KeptMessage { message: outbound.message.clone(), references: 0 };
    messages.entry(key).or_insert_with(kept).references += 1;
    outbound.passage(key)
}

/// `None` for a passage whose message is not there, which no sequence of changes leads to.
fn restore_passage(
    passage: &Passage,
    messages: &BTreeMap<MessageKey, KeptMessage>,
) -> Option<Outbound> {
    let message = messages.get(&passage.key)?.message.clone();
    let Passage { key, qos, retain, share } = passage.clone();
    let key = OptionalKey::new(Some(key));
    Some(Outbound { message, qos, retain, key, share })
}

impl Engine {
    /// Looks at the session again when its expiry could have come.
    pub(crate) fn arm_expiry(&mut self, index: SessionIndex, since: Time) {
        if let Some(expiry_ms) = self.expiry_ms() {
            let time = Time(since.0.saturating_add(expiry_ms));
            self.deadlines.arm(time, Due::Expiry(index));
        }
    }

    /// How long a session without a connection is kept; `None` is for ever.
    pub(crate) fn expiry_ms(&self) -> Option<u64> {
        let expiry_s = self.limits.session_expiry_s;
        (expiry_s != 0).then(|| expiry_s.saturating_mul(1000))
    }
}
