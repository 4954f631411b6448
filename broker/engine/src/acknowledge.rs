//! PUBACK, PUBREC, PUBREL, PUBCOMP, and PINGREQ, which is answered as simply.

use martlet_codec::ids::PacketId;

use crate::Engine;
use crate::change::Change;
use crate::effects::{Effects, Farewell, OutPacket};
use crate::session::deliveries::Answer;
use crate::session::{Session, SessionIndex};

impl Engine {
    pub(crate) fn on_puback(&mut self, from: SessionIndex, id: PacketId, fx: &mut Effects) {
        let session = &mut self.sessions[from];
        let answer = session.deliveries.on_puback(id, &mut self.waiting);
        session.keep(answer, id, fx);
        self.after(from, answer, fx);
    }

    pub(crate) fn on_pubrec(&mut self, from: SessionIndex, id: PacketId, fx: &mut Effects) {
        let session = &mut self.sessions[from];
        let answer = session.deliveries.on_pubrec(id, &mut self.waiting);
        session.keep(answer, id, fx);
        self.after(from, answer, fx);
        if !matches!(answer, Answer::Wrong(_)) {
            // [MQTT-4.3.3-1], in the order of the PUBRECs [MQTT-4.6.0-4]. Also for an id that we do
            // not know: the client holds a message that it cannot let go of without, and the
            // PUBCOMP that follows does no harm.
            self.send(from, OutPacket::PubRel(id), fx);
        }
        if answer == Answer::Advanced {
            self.pump(from, fx); // behind its PUBREL the client has a place for another id
        }
    }

    pub(crate) fn on_pubcomp(&mut self, from: SessionIndex, id: PacketId, fx: &mut Effects) {
        let session = &mut self.sessions[from];
        let answer = session.deliveries.on_pubcomp(id);
        session.keep(answer, id, fx);
        self.after(from, answer, fx);
    }

    pub(crate) fn on_pubrel(&mut self, from: SessionIndex, id: PacketId, fx: &mut Effects) {
        let session = &mut self.sessions[from];
        let forgotten = session.rare.changed().is_some_and(|rare| rare.received.forget(id));
        if forgotten && session.durable {
            let client_id = session.client_id.clone();
            fx.changes.push(Change::ForgetReceived { client_id, id });
        }
        // [MQTT-4.3.3-2]. Also for an id that we do not know: the client may have missed our first
        // PUBCOMP, and repeats PUBREL until it gets one.
        self.send(from, OutPacket::PubComp(id), fx);
    }

    pub(crate) fn on_pingreq(&mut self, from: SessionIndex, fx: &mut Effects) {
        self.send(from, OutPacket::PingResp, fx); // [MQTT-3.12.4-1]
    }

    fn after(&mut self, from: SessionIndex, answer: Answer, fx: &mut Effects) {
        match answer {
            Answer::Settled => self.pump(from, fx), // the window has a place
            // A late or repeated acknowledgement: the client's session may be older than ours.
            Answer::Advanced | Answer::Repeated | Answer::Unknown => {}
            Answer::Wrong(rule) => {
                self.close(from, Farewell::ProtocolViolation { rule }, fx); // [MQTT-4.8.0-1]
            }
        }
    }
}

impl Session {
    /// What an acknowledgement did, as a fact where the session is kept.
    fn keep(&self, answer: Answer, id: PacketId, fx: &mut Effects) {
        if !self.durable {
            return;
        }
        let client_id = self.client_id.clone();
        match answer {
            Answer::Settled => fx.changes.push(Change::Settle { client_id, id }),
            Answer::Advanced => fx.changes.push(Change::Advance { client_id, id }),
            Answer::Repeated | Answer::Unknown | Answer::Wrong(_) => {}
        }
    }
}
