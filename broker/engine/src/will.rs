//! Wills.

use crate::Engine;
use crate::change::Change;
use crate::counters::Bound;
use crate::effects::Effects;
use crate::message::Message;
use crate::router::retained::is_sys;
use crate::session::SessionIndex;

impl Engine {
    /// Takes the will out of a session whose connection ends: it is published or discarded, and
    /// in both cases no longer kept [MQTT-3.1.2-10].
    pub(crate) fn take_will(&mut self, index: SessionIndex, fx: &mut Effects) -> Option<Message> {
        let session = &mut self.sessions[index];
        let will = session.will.take()?;
        fx.changes.push(Change::DropWill { client_id: session.client_id.clone() });
        Some(will)
    }

    /// A will goes the way of any message: its RETAIN flag says whether it is retained
    /// [MQTT-3.1.2-16] [MQTT-3.1.2-17], and `$SYS` is closed to it as to any client.
    pub(crate) fn publish_will(&mut self, will: &Message, fx: &mut Effects) {
        if is_sys(will) {
            self.counters.count_drop(Bound::SysTopic);
        } else {
            self.route(will, fx);
        }
    }
}
