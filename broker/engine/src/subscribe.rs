//! SUBSCRIBE and UNSUBSCRIBE.

use std::iter::repeat_n;
use std::sync::Arc;

use martlet_codec::ids::PacketId;
use martlet_codec::reason::QoS;

use crate::Engine;
use crate::behind::QUESTION;
use crate::change::Change;
use crate::counters::Bound;
use crate::effects::{Effects, Notice, OutPacket};
use crate::filter::Filter;
use crate::input::FILTERS_MAX_NAME;
use crate::session::SessionIndex;
use crate::session::subscriptions::Subscription;

/// SUBACK's failure [MQTT-3.9.3-2].
const REFUSED: u8 = 0x80;

/// Filters of one SUBSCRIBE whose refusal is told of by itself; of further ones, only how many.
const TOLD_MAX: u64 = 8;

/// What of one SUBSCRIBE is refused.
#[derive(Default)]
struct Refused {
    /// Filters for which the session has no place.
    without_place: u64,
    /// Other ones.
    others: u64,
}

impl Engine {
    /// One SUBACK [MQTT-3.8.4-1] with the same id [MQTT-3.8.4-2]
    /// [MQTT-2.3.1-7] for all filters [MQTT-3.8.4-4], a
    /// code for each [MQTT-3.8.4-5] in their order [MQTT-3.9.3-1]; then the retained messages.
    /// `beyond`: as in [`InPacket::Subscribe`](crate::input::InPacket::Subscribe).
    pub(crate) fn on_subscribe(
        &mut self,
        from: SessionIndex,
        id: PacketId,
        (asked, beyond): (&[(Filter, QoS)], u32),
        fx: &mut Effects,
    ) {
        let mut refused = Refused::default();
        let subscribe =
            |(filter, qos): &(Filter, QoS)| self.subscribe(from, filter, *qos, &mut refused, fx);
        let codes = asked.iter().map(subscribe);
        let codes: Box<[u8]> = codes.chain(repeat_n(REFUSED, beyond as usize)).collect();
        self.send(from, OutPacket::SubAck(id, Box::new(codes.clone())), fx);
        self.counters.count_drops(Bound::Subscriptions, beyond.into());
        refused.sum_up(&self.sessions[from].client_id, beyond.into(), fx);
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
        refused: &mut Refused,
        fx: &mut Effects,
    ) -> u8 {
        if self.is_asked_who(index, filter, fx) {
            return QoS::AtMostOnce.get();
        }
        let session = &mut self.sessions[index];
        if !session.may_subscribe(filter) {
            self.counters.count_drop(Bound::DeniedSubscribe);
            let filter = filter.clone();
            refused.tell(&session.client_id, fx, |client_id| Notice::SubscribeDenied {
                client_id,
                filter,
            });
            return REFUSED;
        }
        if filter.asks_for_history() {
            if !self.has_place(index, refused) {
                return REFUSED;
            }
            let Err(refusal) = self.begin_history(index, filter, qos, fx) else { return qos.get() };
            let filter = filter.clone();
            refused.tell(&self.sessions[index].client_id, fx, |client_id| Notice::HistoryRefused {
                client_id,
                filter,
                refusal,
            });
            return REFUSED;
        }
        if let Some(subscription) = session.subscriptions.get_mut(filter) {
            subscription.qos = qos;
            self.router.change_qos(subscription.id, qos);
            session.forget_replay(filter); // begins again
        } else {
            if !self.has_place(index, refused) {
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
    fn has_place(&mut self, index: SessionIndex, refused: &mut Refused) -> bool {
        let taken = self.sessions[index].subscriptions.len() + self.histories.len_of(index);
        let has_place = taken < self.limits.subscriptions_per_session_max as usize;
        if !has_place {
            self.counters.count_drop(Bound::Subscriptions);
            refused.without_place += 1;
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

impl Refused {
    /// Tells of one that is refused, unless there have been many.
    fn tell(
        &mut self,
        client_id: &Arc<str>,
        fx: &mut Effects,
        notice: impl FnOnce(Arc<str>) -> Notice,
    ) {
        self.others += 1;
        if self.others <= TOLD_MAX {
            fx.notices.push(notice(Arc::clone(client_id)));
        }
    }

    /// Tells how many those are of which nothing was told. `beyond`: the packet had too many.
    fn sum_up(self, client_id: &Arc<str>, beyond: u64, fx: &mut Effects) {
        let rows = [
            (self.without_place, Some(Bound::Subscriptions.name())),
            (self.others.saturating_sub(TOLD_MAX), None),
            (beyond, Some(FILTERS_MAX_NAME)),
        ];
        for (count, limit) in rows.into_iter().filter(|(count, _)| *count > 0) {
            let client_id = Arc::clone(client_id);
            fx.notices.push(Notice::SubscriptionsRefused { client_id, count, limit });
        }
    }
}
