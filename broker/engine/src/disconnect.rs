//! The end of a connection, and the end of a session.

use crate::Engine;
use crate::change::Change;
use crate::counters::Bound;
use crate::effects::{DisconnectCause, Effects, Farewell, Notice};
use crate::input::{LinkId, LostCause};
use crate::session::deliveries::{Awaiting, Outbound};
use crate::session::{Attachment, SessionIndex};

impl Engine {
    pub(crate) fn on_lost(&mut self, link: LinkId, cause: LostCause, fx: &mut Effects) {
        let Some(index) = self.links.session(link) else { return };
        self.detach(index, DisconnectCause::Lost(cause), fx);
    }

    /// Closes a connection from our side. The will is discarded only when the client said
    /// DISCONNECT [MQTT-3.14.4-3].
    pub(crate) fn close(&mut self, index: SessionIndex, farewell: Farewell, fx: &mut Effects) {
        let Some(attached) = self.sessions[index].attached() else { return };
        fx.farewells.push((attached.link, farewell));
        self.detach(index, DisconnectCause::Farewell(farewell), fx);
    }

    /// The broker stops: wills while everybody is still there to get them, then farewells. Kept
    /// sessions stay.
    pub(crate) fn on_shutdown(&mut self, fx: &mut Effects) {
        self.stopping = true;
        let attached = self.sessions.iter().filter(|(_, session)| session.attached().is_some());
        let indexes: Vec<SessionIndex> = attached.map(|(index, _)| index).collect();
        for &index in &indexes {
            if let Some(will) = self.take_will(index, fx) {
                self.publish_will(will, fx);
            }
        }
        for &index in &indexes {
            self.leave_shares(index, fx);
        }
        for index in indexes {
            self.close(index, Farewell::ShuttingDown, fx);
        }
    }

    /// When all leave at once, what a clean session leaves to its share goes to the members that
    /// stay, not from one leaver to the next.
    fn leave_shares(&mut self, index: SessionIndex, fx: &mut Effects) {
        let session = &self.sessions[index];
        if !session.durable {
            let filters = session.subscriptions.iter().map(|(filter, _)| filter);
            let shared: Vec<_> = filters.filter(|f| f.share().is_some()).cloned().collect();
            for filter in shared {
                self.unsubscribe(index, &filter, fx);
            }
        }
    }

    /// Forgets the session and all it held [MQTT-3.1.2-6]. What other members of a share can still
    /// deliver goes to them; says how many messages nobody gets now.
    pub(crate) fn end_session(&mut self, index: SessionIndex, fx: &mut Effects) -> u64 {
        let session = self.sessions.remove(index);
        for (_, subscription) in session.subscriptions.iter() {
            self.router.unsubscribe(subscription.id);
        }
        self.router.forget(index);
        if let Some(turn) = session.rare.turn {
            self.replaying.remove(&turn);
        }
        if session.durable {
            fx.changes.push(Change::DropSession { client_id: session.client_id.clone() });
        }
        let deliveries = &session.deliveries;
        let waiting = deliveries.waiting();
        self.waiting.messages -= waiting.messages;
        self.waiting.bytes -= waiting.bytes;
        deliveries.queue().for_each(|outbound| self.queues.take(&outbound.message));
        // What may have arrived at QoS 2 is not given to another: it would be there twice
        // (MQTT 5.0, 4.8.2).
        let unacknowledged = deliveries.in_flight().filter_map(|(_, awaiting)| match awaiting {
            Awaiting::PubAck(outbound) => Some(outbound),
            Awaiting::PubRec(_) | Awaiting::PubComp => None,
        });
        let passed_on = unacknowledged.chain(deliveries.queue());
        let passed_on = passed_on.filter(|outbound| self.pass_on(outbound, fx)).count() as u64;
        self.tell_session(&session.client_id, None, fx);
        waiting.messages - passed_on
    }

    /// Gives a message of a session that ended to another member of its share, if there is one.
    /// Should that one lose it to a bound, it is counted there.
    fn pass_on(&mut self, outbound: &Outbound, fx: &mut Effects) -> bool {
        let Some(filter) = &outbound.share else { return false };
        let Some(share) = self.router.shares.find(filter) else { return false };
        self.route_to_share(share, &outbound.message, fx);
        true
    }

    fn detach(&mut self, index: SessionIndex, cause: DisconnectCause, fx: &mut Effects) {
        let will = self.take_will(index, fx);
        self.end_histories(index, fx);
        let session = &mut self.sessions[index];
        let now_detached = Attachment::Detached { since: self.now };
        if let Attachment::Attached(attached) =
            std::mem::replace(&mut session.attachment, now_detached)
        {
            self.links.detach(attached.link);
            let client_id = session.client_id.clone();
            let cause = cause.clone();
            fx.notices.push(Notice::Disconnected { link: attached.link, client_id, cause });
        }
        if let Some(deliveries) = session.deliveries.changed() {
            deliveries.rewind();
        }
        if session.durable {
            let client_id = session.client_id.clone();
            let since = Some(self.now);
            fx.changes.push(Change::Detach { client_id: client_id.clone(), since });
            self.arm_expiry(index, self.now);
            self.tell_session(&client_id, Some(false), fx);
        } else {
            let lost = self.end_session(index, fx);
            self.counters.count_drops(Bound::CleanSession, lost);
        }
        if let Some(will) = will
            && cause != DisconnectCause::Farewell(Farewell::Disconnected)
        {
            self.publish_will(will, fx); // [MQTT-3.1.2-8]
        }
        self.forget_stale_deadlines();
    }
}
