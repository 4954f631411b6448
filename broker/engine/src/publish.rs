//! PUBLISH from a client, and the way of every message to those who want it.

use std::sync::Arc;

use martlet_codec::packet::Delivery;
use martlet_codec::topic::TopicName;

use crate::Engine;
use crate::change::{Change, MessageKey};
use crate::counters::Bound;
use crate::effects::{Effects, Farewell, Notice, OutPacket};
use crate::filter::Filter;
use crate::message::Message;
use crate::recording::Publisher;
use crate::router::retained::is_sys;
use crate::router::shares::ShareId;
use crate::session::{Session, SessionIndex};

/// One message on its way: it is named in the store at most once, however many sessions keep it.
pub(crate) struct Routed<'m> {
    pub(crate) message: &'m Message,
    pub(crate) key: Option<MessageKey>,
    pub(crate) share: Option<Filter>,
    /// It waits in a queue already.
    pub(crate) queued: bool,
    /// The RETAIN flag that receivers see: only a new subscription's replay sets it
    /// [MQTT-3.3.1-8] [MQTT-3.3.1-9].
    pub(crate) retain: bool,
}

impl<'m> Routed<'m> {
    pub(crate) fn new(message: &'m Message) -> Self {
        Self { message, key: None, share: None, queued: false, retain: false }
    }
}

impl Engine {
    /// Answers with the id of the PUBLISH [MQTT-2.3.1-6], at once and thus in the order of arrival
    /// [MQTT-4.6.0-2] [MQTT-4.6.0-3].
    pub(crate) fn on_publish(
        &mut self,
        from: SessionIndex,
        message: &Message,
        delivery: Delivery,
        fx: &mut Effects,
    ) {
        let allowed = self.count_publish(from, message).may_publish(message);
        self.take_publish(from, message, delivery, allowed, fx);
    }

    /// The same for one that others have denied.
    pub(crate) fn on_denied_publish(
        &mut self,
        from: SessionIndex,
        message: &Message,
        delivery: Delivery,
        fx: &mut Effects,
    ) {
        self.count_publish(from, message);
        self.take_publish(from, message, delivery, false, fx);
    }

    fn count_publish(&mut self, from: SessionIndex, message: &Message) -> &Session {
        self.counters.publishes_received += 1;
        self.counters.publish_bytes_received += message.payload().len() as u64;
        let session = &mut self.sessions[from];
        session.tally.received += 1;
        session
    }

    fn take_publish(
        &mut self,
        from: SessionIndex,
        message: &Message,
        delivery: Delivery,
        allowed: bool,
        fx: &mut Effects,
    ) {
        match delivery {
            Delivery::AtMostOnce => self.accept_from(from, message, delivery, allowed, fx),
            Delivery::AtLeastOnce { id, .. } => {
                // DUP or not, it is a new message [MQTT-4.3.2-2]
                self.accept_from(from, message, delivery, allowed, fx);
                self.send(from, OutPacket::PubAck(id), fx); // [MQTT-3.3.4-1]
            }
            Delivery::ExactlyOnce { id, .. } => {
                let session = &mut self.sessions[from];
                if !session.rare.received.contains(id) {
                    if session.rare.received.len() >= usize::from(self.limits.received_max) {
                        self.counters.count_drop(Bound::Received);
                        let limit = Bound::Received.name();
                        // [MQTT-4.8.0-2]
                        return self.close(from, Farewell::LimitReached { limit }, fx);
                    }
                    session.rare.received.mark(id);
                    if session.durable {
                        let client_id = session.client_id.clone();
                        fx.changes.push(Change::MarkReceived { client_id, id });
                    }
                    // once only [MQTT-4.3.3-2]
                    self.accept_from(from, message, delivery, allowed, fx);
                }
                self.send(from, OutPacket::PubRec(id), fx); // [MQTT-3.3.4-1]
            }
        }
    }

    fn accept_from(
        &mut self,
        from: SessionIndex,
        message: &Message,
        delivery: Delivery,
        allowed: bool,
        fx: &mut Effects,
    ) {
        if is_sys(message) && self.is_told_who(from, message, delivery, fx) {
            return;
        }
        self.accept(Publisher::Session(from), message, delivery, allowed, fx);
    }

    /// A client's message. One that it may not publish is acknowledged like any other
    /// [MQTT-3.3.5-2], and goes nowhere. `$SYS` is the broker's own, but for the states of bridges.
    pub(crate) fn accept(
        &mut self,
        publisher: Publisher<'_>,
        message: &Message,
        delivery: Delivery,
        allowed: bool,
        fx: &mut Effects,
    ) {
        if is_sys(message) && !is_state_of_bridge(message.topic()) {
            self.counters.count_drop(Bound::SysTopic);
        } else if allowed {
            self.route_from(publisher, message, fx);
        } else if let Some(client_id) = publisher.client_id(&self.sessions) {
            self.deny(client_id.clone(), message, delivery, fx);
        }
    }

    pub(crate) fn deny(
        &mut self,
        client_id: Arc<str>,
        message: &Message,
        delivery: Delivery,
        fx: &mut Effects,
    ) {
        self.counters.count_drop(Bound::DeniedPublish);
        let message = message.clone();
        fx.notices.push(Notice::PublishDenied { client_id, message, delivery });
    }

    /// A message of the broker's own.
    pub(crate) fn route(&mut self, message: &Message, fx: &mut Effects) {
        self.route_from(Publisher::Broker, message, fx);
    }

    /// Gives a message to all who want it [MQTT-4.5.0-1], in the order in which messages come
    /// [MQTT-4.6.0-5] [MQTT-4.6.0-6], records it where it belongs, and retains it if it asks for
    /// that.
    pub(crate) fn route_from(
        &mut self,
        publisher: Publisher<'_>,
        message: &Message,
        fx: &mut Effects,
    ) {
        if message.retain() {
            self.retain(message, fx); // else the retained message is not touched [MQTT-3.3.1-12]
        }
        self.router.find(message.topic(), &mut self.found);
        if !self.found.streams.is_empty() {
            self.record(self.found.streams, message, publisher, fx);
        }
        let (mut routed, mut at) = (Routed::new(message), 0);
        // What one of them is given leads to no other look-up.
        while let Some(&(index, granted)) = self.found.sessions.get(at) {
            at += 1;
            let bridge = self.sessions[index].bridge;
            if bridge && !self.crosses(index, publisher) {
                continue;
            }
            self.deliver(index, &mut routed, granted, fx);
        }
        let mut at = 0;
        while let Some(&share) = self.found.shares.get(at) {
            at += 1;
            self.deliver_to_share(share, &mut routed, fx);
        }
    }

    /// Gives a message to a member of this share alone.
    pub(crate) fn route_to_share(&mut self, share: ShareId, message: &Message, fx: &mut Effects) {
        self.deliver_to_share(share, &mut Routed::new(message), fx);
    }

    fn deliver_to_share(&mut self, share: ShareId, routed: &mut Routed<'_>, fx: &mut Effects) {
        let Self { router, sessions, limits, queues, .. } = self;
        let fits_queues = queues.admit(routed.message, !routed.queued, limits).is_ok();
        let member = router.shares.choose(share, |member| {
            let session = &sessions[member.session];
            let qos = routed.message.qos().min(member.qos);
            session.readiness(qos, routed.message, fits_queues, limits)
        });
        routed.share = Some(router.shares.filter(share).clone());
        self.deliver(member.session, routed, member.qos, fx);
        routed.share = None;
    }

    /// Retained messages belong to no session [MQTT-3.1.2-7].
    /// Sets, replaces [MQTT-3.3.1-5] [MQTT-3.3.1-7] or clears [MQTT-3.3.1-10] [MQTT-3.3.1-11] the
    /// topic's retained message.
    fn retain(&mut self, message: &Message, fx: &mut Effects) {
        let had = if message.payload().is_empty() {
            self.retained.clear(message)
        } else {
            match self.retained.set(message, &self.limits) {
                Ok(()) => {
                    if !is_sys(message) {
                        fx.changes.push(Change::Retain { message: message.clone() });
                    }
                    return;
                }
                Err(full) => {
                    self.counters.count_drop(full.bound);
                    if self.retained.lose() {
                        fx.notices.push(Notice::NotRetained { limit: full.bound.name() });
                    }
                    full.cleared
                }
            }
        };
        if had && !is_sys(message) {
            let topic = message.topic().as_str().into();
            fx.changes.push(Change::ClearRetained { topic });
        }
    }
}

/// Bridges of other brokers say there whether they are connected: `$SYS/broker/connection/+/state`.
fn is_state_of_bridge(topic: TopicName<'_>) -> bool {
    let name = topic.as_str().strip_prefix("$SYS/broker/connection/");
    let name = name.and_then(|rest| rest.strip_suffix("/state"));
    name.is_some_and(|name| !name.contains('/'))
}
