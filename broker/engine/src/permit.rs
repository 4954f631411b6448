//! Who may do what: decided outside, asked here.

use std::sync::Arc;

use martlet_codec::topic::TopicName;

use crate::Engine;
use crate::change::Change;
use crate::counters::Bound;
use crate::effects::Effects;
use crate::filter::Filter;
use crate::input::LinkId;
use crate::message::Message;
use crate::session::{Attachment, Session, SessionIndex};

/// What one client may do. The same question always has the same answer (I1): when the rules
/// change, the engine is given another permit.
///
/// The client id comes with each question, so that the clients of one user may share a permit.
pub trait Permit: Send + Sync + std::fmt::Debug {
    /// Whether the client may publish to this topic.
    fn may_publish(&self, client_id: &str, topic: TopicName<'_>) -> bool;

    /// Whether the client may receive messages of this topic.
    fn may_receive(&self, client_id: &str, topic: TopicName<'_>) -> bool;

    /// Whether a subscription is granted. What then comes by it is asked about message by message.
    fn may_subscribe(&self, client_id: &str, filter: &Filter) -> bool;
}

/// A permit, or `None`: everything is allowed, and nobody need be asked.
pub type Permission = Option<Arc<dyn Permit>>;

impl Session {
    pub(crate) fn may_publish(&self, message: &Message) -> bool {
        let Some(permit) = &self.permit else { return true };
        permit.may_publish(&self.client_id, message.topic())
    }

    pub(crate) fn may_receive(&self, message: &Message) -> bool {
        let Some(permit) = &self.permit else { return true };
        permit.may_receive(&self.client_id, message.topic())
    }

    pub(crate) fn may_subscribe(&self, filter: &Filter) -> bool {
        let Some(permit) = &self.permit else { return true };
        permit.may_subscribe(&self.client_id, filter)
    }
}

impl Engine {
    /// The rules changed. Who is away has no permit until it comes back: what is queued for it
    /// meanwhile is asked about when it leaves the queue.
    pub(crate) fn on_permits(&mut self, permits: Vec<(LinkId, Permission)>) {
        for (_, session) in self.sessions.iter_mut() {
            if matches!(session.attachment, Attachment::Detached { .. }) {
                session.permit = None;
            }
        }
        for (link, permit) in permits {
            self.on_permit(link, permit);
        }
    }

    /// One client has another permit; nobody else does.
    pub(crate) fn on_permit(&mut self, link: LinkId, permit: Permission) {
        if let Some(index) = self.links.session(link) {
            self.sessions[index].permit = permit;
        }
    }

    /// Takes back what is in flight that this client may not have, as if it had acknowledged it:
    /// that was sent to another user of its client id, or before the rules changed.
    pub(crate) fn withdraw_denied(&mut self, index: SessionIndex, fx: &mut Effects) {
        let session = &mut self.sessions[index];
        if session.permit.is_none() {
            return;
        }
        let in_flight = session.deliveries.in_flight();
        let denied = in_flight.filter_map(|(id, awaiting)| {
            let outbound = awaiting.outbound()?;
            (!session.may_receive(&outbound.message)).then_some((id, awaiting.is_unreleased()))
        });
        for (id, is_unreleased) in denied.collect::<Vec<_>>() {
            let client_id = session.client_id.clone();
            let change = if is_unreleased {
                // The client may remember the id, and forgets it by PUBREL only [MQTT-4.3.3-1].
                session.deliveries.on_pubrec(id, &mut self.waiting);
                Change::Advance { client_id, id }
            } else {
                session.deliveries.on_puback(id, &mut self.waiting);
                Change::Settle { client_id, id }
            };
            self.counters.count_drop(Bound::DeniedReceive);
            if session.durable {
                fx.changes.push(change);
            }
        }
    }
}
