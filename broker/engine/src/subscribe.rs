//! SUBSCRIBE and UNSUBSCRIBE.

use martlet_codec::ids::PacketId;
use martlet_codec::reason::QoS;

use crate::Engine;
use crate::behind::QUESTION;
use crate::change::Change;
use crate::counters::Bound;
use crate::effects::{Effects, Notice, OutPacket};
use crate::filter::Filter;
use crate::session::SessionIndex;
use crate::session::subscriptions::Subscription;

/// SUBACK's failure [MQTT-3.9.3-2].
const REFUSED: u8 = 0x80;

impl Engine {
    /// One SUBACK [MQTT-3.8.4-1] with the same id [MQTT-3.8.4-2]
    /// [MQTT-2.3.1-7] for all filters [MQTT-3.8.4-4], a
    /// code for each [MQTT-3.8.4-5] in their order [MQTT-3.9.3-1]; then the retained messages.
    pub(crate) fn on_subscribe(
        &mut self,
        from: SessionIndex,
        id: PacketId,
        asked: &[(Filter, QoS)],
        fx: &mut Effects,
    ) {
        let refused_before = self.counters.dropped(Bound::Subscriptions);
        let subscribe = |(filter, qos): &(Filter, QoS)| self.subscribe(from, filter, *qos, fx);
        let codes: Box<[u8]> = asked.iter().map(subscribe).collect();
        self.send(from, OutPacket::SubAck(id, Box::new(codes.clone())), fx);
        let refused = self.counters.dropped(Bound::Subscriptions) - refused_before;
        if refused > 0 {
            let client_id = self.sessions[from].client_id.clone();
            let limit = Bound::Subscriptions.name();
            fx.notices.push(Notice::SubscriptionsRefused { client_id, count: refused, limit });
        }
        // Not for shares: which member would they be for? Nor for histories.
        let granted = asked.iter().zip(codes).filter(|(_, code)| *code != REFUSED);
        let filters = granted.map(|((filter, _), _)| filter);
        // A bridge's question is no subscription, and nothing is retained under its name.
        let replayed = filters.filter(|filter| filter.is_plain() && filter.as_str() != QUESTION);
        self.begin_replays(from, replayed, fx);
    }

    /// One UNSUBACK with the same id [MQTT-3.10.4-4] for all filters [MQTT-3.10.4-6], whether or
    /// not there were such subscriptions [MQTT-3.10.4-5]. What is in flight goes on
    /// [MQTT-3.10.4-3].
    pub(crate) fn on_unsubscribe(
        &mut self,
        from: SessionIndex,
        id: PacketId,
        filters: &[Filter],
        fx: &mut Effects,
    ) {
        for filter in filters {
            self.end_history(from, filter, fx);
            self.unsubscribe(from, filter, fx);
        }
        self.send(from, OutPacket::UnsubAck(id), fx);
    }

    /// Makes or replaces a subscription [MQTT-3.8.4-3] and says SUBACK's code for it.
    fn subscribe(
        &mut self,
        index: SessionIndex,
        filter: &Filter,
        qos: QoS,
        fx: &mut Effects,
    ) -> u8 {
        if self.is_asked_who(index, filter, fx) {
            return QoS::AtMostOnce.get();
        }
        let session = &mut self.sessions[index];
        if !session.may_subscribe(filter) {
            self.counters.count_drop(Bound::DeniedSubscribe);
            let client_id = session.client_id.clone();
            fx.notices.push(Notice::SubscribeDenied { client_id, filter: filter.clone() });
            return REFUSED;
        }
        if filter.asks_for_history() {
            let granted = self.has_place(index) && self.begin_history(index, filter, qos, fx);
            return if granted { qos.get() } else { REFUSED };
        }
        if let Some(subscription) = session.subscriptions.get_mut(filter) {
            subscription.qos = qos;
            self.router.change_qos(subscription.id, qos);
            session.forget_replay(filter); // begins again
        } else {
            if !self.has_place(index) {
                return REFUSED;
            }
            let id = self.router.subscribe(filter, index, qos);
            let session = &mut self.sessions[index];
            session.subscriptions.insert(filter.clone(), Subscription { id, qos });
        }
        let session = &self.sessions[index];
        if session.durable {
            let client_id = session.client_id.clone();
            fx.changes.push(Change::Subscribe { client_id, filter: filter.clone(), qos });
        }
        qos.get()
    }

    /// Whether the session may have one more subscription; counted if not.
    fn has_place(&mut self, index: SessionIndex) -> bool {
        let taken = self.sessions[index].subscriptions.len() + self.histories.len_of(index);
        let has_place = taken < self.limits.subscriptions_per_session_max as usize;
        if !has_place {
            self.counters.count_drop(Bound::Subscriptions);
        }
        has_place
    }

    /// Ends the subscription with exactly this text [MQTT-3.10.4-1]: nothing new is delivered for
    /// it [MQTT-3.10.4-2].
    pub(crate) fn unsubscribe(&mut self, index: SessionIndex, filter: &Filter, fx: &mut Effects) {
        let session = &mut self.sessions[index];
        let Some(subscription) = session.subscriptions.remove(filter) else { return };
        self.router.unsubscribe(subscription.id);
        session.forget_replay(filter);
        if session.durable {
            let client_id = session.client_id.clone();
            fx.changes.push(Change::Unsubscribe { client_id, filter: filter.clone() });
        }
    }
}
