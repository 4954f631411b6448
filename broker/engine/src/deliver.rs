//! One message to one session: sent, queued, or lost to a bound and counted.

use martlet_codec::packet::Delivery;
use martlet_codec::reason::QoS;

use crate::Engine;
use crate::change::{Change, MessageKey, Passage};
use crate::counters::Bound;
use crate::effects::{Effects, Notice, OutPacket};
use crate::input::LinkId;
use crate::limits::Limits;
use crate::message::Message;
use crate::publish::Routed;
use crate::router::shares::Readiness;
use crate::session::deliveries::{Deliveries, OptionalKey, Outbound, delivery};
use crate::session::{Attachment, Session, SessionIndex};

/// With so many messages in flight a member of a share is passed over for those that have fewer:
/// what a slow one holds, no other can take.
const LADEN: usize = 20;

impl Engine {
    /// Delivers at the lower of both QoS [MQTT-3.8.4-6].
    pub(crate) fn deliver(
        &mut self,
        to: SessionIndex,
        routed: &mut Routed<'_>,
        granted: QoS,
        fx: &mut Effects,
    ) {
        let qos = routed.message.qos().min(granted);
        let session = &mut self.sessions[to];
        if !session.may_receive(routed.message) {
            return self.counters.count_drop(Bound::DeniedReceive);
        }
        if qos == QoS::AtMostOnce {
            if session.deliveries.queue_holds_qos0() {
                self.queue(to, routed, qos, fx);
            } else if session.has_room() {
                // May pass what is queued at QoS 1 and 2: order is per QoS (I10), [MQTT-4.6.0-6].
                session.publish_qos0(routed.message, routed.retain, &mut self.counters, fx);
            } else if session.attached().is_some_and(|attached| attached.room_max > 0) {
                self.lose(to, Bound::Outbox, fx);
            } else if self.limits.queue_qos0 {
                self.queue(to, routed, qos, fx);
            } else {
                self.lose(to, Bound::QueueQos0, fx); // [MQTT-3.1.2-5] leaves QoS 0 open
            }
        } else if session.is_ready(qos, &self.limits) {
            self.start(to, routed, qos, fx);
        } else {
            self.queue(to, routed, qos, fx); // [MQTT-3.1.2-5]
        }
    }

    /// Sends a QoS 1 or 2 message that nothing stands in front of.
    pub(crate) fn start(
        &mut self,
        to: SessionIndex,
        routed: &mut Routed<'_>,
        qos: QoS,
        fx: &mut Effects,
    ) {
        let session = &mut self.sessions[to];
        let outbound = session.outbound(routed, qos, &mut self.next_key, fx);
        let kept = outbound.key.get().map(|key| outbound.passage(key));
        let id = session.deliveries.start(outbound, &mut self.waiting);
        if let Some(passage) = kept {
            let client_id = session.client_id.clone();
            fx.changes.push(Change::Deliver { client_id, passage, id });
        }
        // [MQTT-4.3.2-1]: DUP 0 at first
        let (message, delivery) = (routed.message.clone(), delivery(qos, id, false));
        session.publish(message, delivery, routed.retain, &mut self.counters, fx);
    }

    /// Sends what waits, as far as room and window go: first again what an earlier connection left
    /// unsettled, then the queue, then retained messages.
    pub(crate) fn pump(&mut self, index: SessionIndex, fx: &mut Effects) {
        let session = &mut self.sessions[index];
        while session.has_room()
            && let Some(packet) = session.deliveries.changed().and_then(Deliveries::resend)
        {
            session.send(packet, &mut self.counters, fx);
        }
        while session.has_room()
            && let Some(first) = session.deliveries.first_queued()
        {
            // It may have been queued for a client of whom nothing was known.
            let denied = !session.may_receive(&first.message);
            let unnumbered = denied || first.qos == QoS::AtMostOnce;
            if !unnumbered && !session.deliveries.window_is_open(first.qos, &self.limits) {
                break;
            }
            let Some(outbound) = session.deliveries.dequeue(&mut self.waiting) else { break };
            self.queues.take(&outbound.message);
            let Outbound { qos, retain, .. } = outbound;
            let message = outbound.message.clone();
            let id = (!unnumbered).then(|| session.deliveries.start(outbound, &mut self.waiting));
            if session.durable {
                let client_id = session.client_id.clone();
                fx.changes.push(Change::Send { client_id, id });
            }
            if denied {
                self.counters.count_drop(Bound::DeniedReceive);
                continue;
            }
            let delivery = id.map_or(Delivery::AtMostOnce, |id| delivery(qos, id, false));
            session.publish(message, delivery, retain, &mut self.counters, fx);
        }
        if !session.rare.replays.is_empty() {
            self.go_on_with_replays(index, fx);
        }
        // Most sessions have none, and this comes with every acknowledgement.
        if self.histories.are_some() {
            self.go_on_with_histories(index, fx);
        }
    }

    pub(crate) fn on_room(&mut self, link: LinkId, bytes: u32, fx: &mut Effects) {
        let Some(index) = self.links.session(link) else { return };
        let session = &mut self.sessions[index];
        let Attachment::Attached(attached) = &mut session.attachment else { return };
        attached.room = (attached.room + i64::from(bytes)).min(i64::from(attached.room_max));
        if let Some(rare) = session.rare.changed() {
            let calm = rare.dropping.map(|taken| taken + u64::from(bytes));
            // It has caught up when it took two outboxes without a loss: one full one proves
            // nothing.
            rare.dropping = calm.filter(|&taken| taken < 2 * u64::from(attached.room_max));
        }
        self.pump(index, fx);
    }

    pub(crate) fn send(&mut self, to: SessionIndex, packet: OutPacket, fx: &mut Effects) {
        self.sessions[to].send(packet, &mut self.counters, fx);
    }

    fn queue(&mut self, to: SessionIndex, routed: &mut Routed<'_>, qos: QoS, fx: &mut Effects) {
        let (message, is_new) = (routed.message, !routed.queued);
        let own = self.sessions[to].deliveries.admit(message, &self.limits);
        if let Err(bound) = own.and_then(|()| self.queues.admit(message, is_new, &self.limits)) {
            return self.lose(to, bound, fx);
        }
        self.queues.add(message, is_new);
        routed.queued = true;
        let session = &mut self.sessions[to];
        let outbound = session.outbound(routed, qos, &mut self.next_key, fx);
        if let Some(key) = outbound.key.get() {
            let client_id = session.client_id.clone();
            fx.changes.push(Change::Enqueue { client_id, passage: outbound.passage(key) });
        }
        session.deliveries.enqueue(outbound, &mut self.waiting);
    }

    fn lose(&mut self, to: SessionIndex, bound: Bound, fx: &mut Effects) {
        self.counters.count_drop(bound);
        let session = &mut self.sessions[to];
        session.tally.dropped += 1;
        if bound == Bound::QueueQos0 {
            return; // what was asked for is no news
        }
        if session.rare.dropping.replace(0).is_none() {
            let client_id = session.client_id.clone();
            fx.notices.push(Notice::Dropping { client_id, limit: bound.name() });
        }
    }
}

impl Session {
    /// The message as this session keeps it; in a session that is kept, under its name, which is
    /// given here if this is the first.
    fn outbound(
        &self,
        routed: &mut Routed<'_>,
        qos: QoS,
        next_key: &mut MessageKey,
        fx: &mut Effects,
    ) -> Outbound {
        if self.durable && routed.key.is_none() {
            let key = std::mem::replace(next_key, MessageKey(next_key.0 + 1));
            routed.key = Some(key);
            fx.changes.push(Change::KeepMessage { key, message: routed.message.clone() });
        }
        Outbound {
            message: routed.message.clone(),
            qos,
            retain: routed.retain,
            key: OptionalKey::new(routed.key.filter(|_| self.durable)),
            share: routed.share.clone(),
        }
    }

    /// What would become of a message.
    pub(crate) fn readiness(
        &self,
        qos: QoS,
        message: &Message,
        fits_queues: bool,
        limits: &Limits,
    ) -> Readiness {
        if !self.may_receive(message) {
            return Readiness::Unable;
        }
        let fits = || fits_queues && self.deliveries.admit(message, limits).is_ok();
        let at_once = match qos {
            QoS::AtMostOnce => self.has_room() && !self.deliveries.queue_holds_qos0(),
            QoS::AtLeastOnce | QoS::ExactlyOnce => self.is_ready(qos, limits),
        };
        let attached = self.attached().is_some();
        let queues = match qos {
            QoS::AtMostOnce if attached => self.deliveries.queue_holds_qos0(),
            QoS::AtMostOnce => limits.queue_qos0,
            QoS::AtLeastOnce | QoS::ExactlyOnce => true,
        };
        match (at_once, attached) {
            (true, _) if self.deliveries.in_flight_len() >= LADEN => Readiness::Laden,
            (true, _) => Readiness::Ready,
            (false, _) if !(queues && fits()) => Readiness::Unable,
            (false, true) => Readiness::Busy,
            (false, false) => Readiness::Away,
        }
    }
}

impl Outbound {
    /// How the facts name it.
    pub(crate) fn passage(&self, key: MessageKey) -> Passage {
        Passage { key, qos: self.qos, retain: self.retain, share: self.share.clone() }
    }
}
