//! A session: what the broker remembers of one client id.

pub(crate) mod deliveries;
pub(crate) mod queues;
pub(crate) mod received;
pub(crate) mod seldom;
pub(crate) mod subscriptions;

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::ops::{Index, IndexMut};
use std::sync::Arc;

use foldhash::fast::FixedState;
use martlet_codec::packet::Delivery;
use martlet_codec::reason::{ConnectReturnCode, QoS};

use crate::behind::Known;
use crate::counters::{Counters, PacketKind};
use crate::effects::{Effects, OutPacket, Outgoing};
use crate::filter::Filter;
use crate::input::{LinkId, Time};
use crate::limits::Limits;
use crate::lookup::Lookup;
use crate::message::Message;
use crate::permit::Permission;
use crate::replay::Turn;
use crate::report::Tally;
use crate::router::retained::Cursor;
use crate::session::deliveries::Deliveries;
use crate::session::received::Received;
use crate::session::seldom::{Seldom, Unchanged};
use crate::session::subscriptions::Subscriptions;
use crate::slab::Slab;

/// A session's place in the table; used again when the session ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct SessionIndex(u32);

impl SessionIndex {
    pub(crate) fn at_slot(slot: usize) -> Self {
        Self(u32::try_from(slot).expect("sessions_max is a u32"))
    }

    pub(crate) fn slot(self) -> usize {
        self.0 as usize
    }
}

/// Everything of one client id [MQTT-4.1.0-1].
pub(crate) struct Session {
    pub(crate) client_id: Arc<str>,
    /// The user of its last connection, where anything is recorded.
    pub(crate) user_name: Option<Arc<str>>,
    /// Clean Session was 0: it outlives its connection, and what it holds is kept on disk.
    pub(crate) durable: bool,
    /// Its last connection was a bridge's.
    pub(crate) bridge: bool,
    pub(crate) attachment: Attachment,
    pub(crate) deliveries: Seldom<Deliveries>,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) rare: Seldom<Rare>,
    pub(crate) will: Option<Message>,
    /// What its client may do. `None` also when that is not known: after a restart, and after the
    /// rules changed while it was away.
    pub(crate) permit: Permission,
    pub(crate) tally: Tally,
}

/// What few sessions have.
#[derive(Default)]
pub(crate) struct Rare {
    /// Who is behind it.
    pub(crate) known: Known,
    /// It has lost a message and the log was told; how much its links took since the last loss.
    pub(crate) dropping: Option<u64>,
    /// What came at QoS 2.
    pub(crate) received: Received,
    /// Retained messages still to be sent, for which of its subscriptions.
    pub(crate) replays: BTreeMap<Filter, Replay>,
    /// Its turn in the engine's list, if one of them can go on at once.
    pub(crate) turn: Option<Turn>,
}

/// Whether a session has a connection (I4). A connection is a part of its session, and cannot
/// outlive it [MQTT-4.1.0-2].
pub(crate) enum Attachment {
    Attached(Attached),
    Detached { since: Time },
}

/// What exists only while connected.
pub(crate) struct Attached {
    pub(crate) link: LinkId,
    /// What is left of `room_max`; below zero when the last packet took more.
    pub(crate) room: i64,
    pub(crate) room_max: u32,
    /// One and a half times the Keep Alive, in milliseconds; 0 is none.
    pub(crate) patience_ms: u32,
    pub(crate) last_seen: Time,
}

/// A walk through the retained messages.
#[derive(Default)]
pub(crate) struct Replay {
    pub(crate) cursor: Cursor,
    /// The store knows that it is not finished.
    pub(crate) kept: bool,
}

impl Unchanged for Rare {
    const SHARED: &'static Self = &Self {
        known: Known::NOBODY,
        dropping: None,
        received: Received::NOTHING,
        replays: BTreeMap::new(),
        turn: None,
    };

    fn new() -> Self {
        Self::default()
    }
}

impl Session {
    pub(crate) fn new(client_id: Arc<str>, durable: bool, attachment: Attachment) -> Self {
        Self {
            client_id,
            user_name: None,
            durable,
            bridge: false,
            attachment,
            deliveries: Seldom::default(),
            subscriptions: Subscriptions::default(),
            rare: Seldom::default(),
            will: None,
            permit: None,
            tally: Tally::default(),
        }
    }

    pub(crate) fn attached(&self) -> Option<&Attached> {
        match &self.attachment {
            Attachment::Attached(attached) => Some(attached),
            Attachment::Detached { .. } => None,
        }
    }

    /// Takes the first of the replays.
    pub(crate) fn next_replay(&mut self) -> Option<(Filter, Replay)> {
        self.rare.changed()?.replays.pop_first()
    }

    /// Ends the replay for this subscription, if there is one.
    pub(crate) fn forget_replay(&mut self, filter: &Filter) {
        if let Some(rare) = self.rare.changed() {
            rare.replays.remove(filter);
        }
    }

    /// Whether one more PUBLISH may go to the link.
    pub(crate) fn has_room(&self) -> bool {
        self.attached().is_some_and(|attached| attached.room > 0)
    }

    /// Whether a message of this QoS, 1 or 2, would go to the link at once: room, an open window,
    /// and nothing in front of it (I10).
    pub(crate) fn is_ready(&self, qos: QoS, limits: &Limits) -> bool {
        self.has_room()
            && self.deliveries.queue_is_empty()
            && self.deliveries.window_is_open(qos, limits)
    }

    /// Hands a packet to the link, if there is one. Answers go whether or not there is room: the
    /// link stops reading from a client that does not take them.
    pub(crate) fn send(&mut self, packet: OutPacket, counters: &mut Counters, fx: &mut Effects) {
        if let OutPacket::Publish { message, delivery, retain } = packet {
            return self.publish(message, delivery, retain, counters, fx);
        }
        let Attachment::Attached(attached) = &mut self.attachment else { return };
        attached.room -= i64::from(packet.cost());
        counters.count_sent(packet.kind());
        let promise = is_promise(&packet);
        fx.outgoing.push(Outgoing { link: attached.link, packet, promise });
    }

    /// The same for a PUBLISH: it comes in parts, and is put together where it stays.
    pub(crate) fn publish(
        &mut self,
        message: Message,
        delivery: Delivery,
        retain: bool,
        counters: &mut Counters,
        fx: &mut Effects,
    ) {
        let Attachment::Attached(attached) = &mut self.attachment else { return };
        attached.room -= i64::from(OutPacket::publish_cost(&message));
        self.tally.sent += 1;
        counters.count_sent(PacketKind::Publish);
        counters.publishes_sent += 1;
        counters.publish_bytes_sent += message.payload().len() as u64;
        let retain = retain || self.bridge && message.retain();
        // At QoS 2 it promises that its Packet Identifier will not come with another message before
        // PUBREL. At QoS 1 it promises nothing: should we forget that we sent it, the session gets
        // it again, or its publisher was never told that we have it.
        let promise = self.durable && matches!(delivery, Delivery::ExactlyOnce { .. });
        let packet = OutPacket::Publish { message, delivery, retain };
        fx.outgoing.push(Outgoing { link: attached.link, packet, promise });
    }

    /// The same at QoS 0: no id, no DUP [MQTT-2.3.1-5] [MQTT-3.3.1-2] [MQTT-4.3.1-1].
    pub(crate) fn publish_qos0(
        &mut self,
        message: &Message,
        retain: bool,
        counters: &mut Counters,
        fx: &mut Effects,
    ) {
        self.publish(message.clone(), Delivery::AtMostOnce, retain, counters, fx);
    }
}

/// Whether the packet says "I will remember". Whether it must wait for the disk is known once the
/// input is handled and it is seen if any fact changed (I2).
fn is_promise(packet: &OutPacket) -> bool {
    match packet {
        OutPacket::ConnAck { code, .. } => *code == ConnectReturnCode::Accepted,
        OutPacket::PubAck(_)
        | OutPacket::PubRec(_)
        | OutPacket::PubRel(_)
        | OutPacket::PubComp(_)
        | OutPacket::SubAck(..)
        | OutPacket::UnsubAck(_) => true,
        OutPacket::Publish { .. } | OutPacket::PingResp => false,
    }
}

/// All sessions, by index and by client id [MQTT-3.1.3-2].
pub(crate) struct Sessions {
    slab: Slab<Session, 64>,
    by_client_id: Lookup<SessionIndex>,
    hasher: FixedState,
}

impl Sessions {
    pub(crate) fn new(hash_seed: u64) -> Self {
        Self {
            slab: Slab::new(),
            by_client_id: Lookup::new(),
            hasher: FixedState::with_seed(hash_seed),
        }
    }

    pub(crate) fn find(&self, client_id: &str) -> Option<SessionIndex> {
        let hash = self.hasher.hash_one(client_id);
        self.by_client_id.find(hash, |&index| *self[index].client_id == *client_id).copied()
    }

    /// Adds a session whose client id has none.
    pub(crate) fn insert(&mut self, session: Session) -> SessionIndex {
        let slot = self.slab.insert(session);
        let index = SessionIndex::at_slot(slot);
        let Self { slab, by_client_id, hasher } = self;
        let hash = |index: &SessionIndex| hasher.hash_one(&*slab[index.slot()].client_id);
        by_client_id.insert(index, hash);
        index
    }

    pub(crate) fn remove(&mut self, index: SessionIndex) -> Session {
        let session = self.slab.remove(index.slot());
        let Self { slab, by_client_id, hasher } = self;
        let hash = |client_id: &str| hasher.hash_one(client_id);
        let hash_of = |index: &SessionIndex| hash(&slab[index.slot()].client_id);
        by_client_id.remove(hash(&session.client_id), |&other| other == index, hash_of);
        session
    }

    /// The session there, if any: for who remembered an index across inputs.
    pub(crate) fn at(&mut self, index: SessionIndex) -> Option<&mut Session> {
        self.slab.get_mut(index.slot())
    }

    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    /// Places in the table, taken or not, up to the last that is.
    pub(crate) fn slots(&self) -> usize {
        self.slab.end()
    }

    /// The session in this place of the table, if it is taken.
    pub(crate) fn in_slot(&self, slot: usize) -> Option<&Session> {
        self.slab.get(slot)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (SessionIndex, &mut Session)> {
        self.slab.iter_mut().map(|(slot, session)| (SessionIndex::at_slot(slot), session))
    }

    /// By index.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (SessionIndex, &Session)> {
        self.slab.iter().map(|(slot, session)| (SessionIndex::at_slot(slot), session))
    }
}

impl Index<SessionIndex> for Sessions {
    type Output = Session;

    #[inline]
    fn index(&self, index: SessionIndex) -> &Session {
        &self.slab[index.slot()]
    }
}

impl IndexMut<SessionIndex> for Sessions {
    #[inline]
    fn index_mut(&mut self, index: SessionIndex) -> &mut Session {
        &mut self.slab[index.slot()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There may be a million of them.
    #[test]
    fn a_session_that_holds_nothing_is_small() {
        assert!(size_of::<Session>() <= 160, "{}", size_of::<Session>());
    }
}
