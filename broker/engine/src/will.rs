//! Wills.

use std::sync::Arc;

use martlet_codec::packet::Delivery;

use crate::Engine;
use crate::change::Change;
use crate::effects::Effects;
use crate::message::Message;
use crate::recording::Publisher;
use crate::session::SessionIndex;

/// A will on its way out of its session.
pub(crate) struct TakenWill {
    pub(crate) message: Message,
    /// Whose.
    pub(crate) client_id: Arc<str>,
    pub(crate) user_name: Option<Arc<str>>,
    pub(crate) allowed: bool,
}

impl Engine {
    /// Keeps the will of a client that has just connected [MQTT-3.1.2-8]; without one there is none
    /// [MQTT-3.1.2-12]. One that its client may not publish is lost here: after a crash nobody
    /// would know.
    pub(crate) fn keep_will(&mut self, index: SessionIndex, will: Message, fx: &mut Effects) {
        let session = &mut self.sessions[index];
        let client_id = session.client_id.clone();
        if session.may_publish(&will) {
            fx.changes.push(Change::KeepWill { client_id, will: will.clone() });
            session.will = Some(will);
        } else {
            self.deny(client_id, &will, Delivery::AtMostOnce, fx);
        }
    }

    /// Takes the will out of a session whose connection ends: it is published or discarded, and
    /// in both cases no longer kept [MQTT-3.1.2-10].
    pub(crate) fn take_will(&mut self, index: SessionIndex, fx: &mut Effects) -> Option<TakenWill> {
        let session = &mut self.sessions[index];
        let message = session.will.take()?;
        let client_id = session.client_id.clone();
        fx.changes.push(Change::DropWill { client_id: client_id.clone() });
        let user_name = session.user_name.clone();
        Some(TakenWill { allowed: session.may_publish(&message), message, client_id, user_name })
    }

    /// A will goes the way of any message: its RETAIN flag says whether it is retained
    /// [MQTT-3.1.2-16] [MQTT-3.1.2-17], and `$SYS` is closed to it as to any client. The
    /// rules may have changed since it was kept.
    pub(crate) fn publish_will(&mut self, will: TakenWill, fx: &mut Effects) {
        let (message, delivery) = (&will.message, Delivery::AtMostOnce);
        self.accept(Publisher::Will(&will), message, delivery, will.allowed, fx);
    }
}
