//! CONNECT: who may come in, under which id, to which session.

use std::sync::Arc;

use martlet_codec::reason::{ConnectReturnCode, ProtocolVersion};

use crate::Engine;
use crate::change::Change;
use crate::counters::{Bound, PacketKind};
use crate::deadlines::Due;
use crate::effects::{Effects, Farewell, Notice, OutPacket, Outgoing};
use crate::input::{Connect, LinkId, Time};
use crate::session::{Attached, Attachment, Session, SessionIndex};

/// Why a CONNECT is refused.
struct Refusal {
    code: ConnectReturnCode,
    reason: &'static str,
    bound: Option<Bound>,
}

impl Engine {
    pub(crate) fn on_connect(&mut self, link: LinkId, connect: Connect, fx: &mut Effects) {
        self.counters.count_received(Some(PacketKind::Connect));
        if let Some(index) = self.links.session(link) {
            let rule = "MQTT-3.1.0-2"; // [MQTT-3.1.0-2] a second CONNECT
            return self.close(index, Farewell::ProtocolViolation { rule }, fx);
        }
        let client_id = match self.admit(&connect) {
            Ok(client_id) => client_id,
            Err(refusal) => return self.refuse(link, &connect, refusal, fx),
        };
        let earlier = self.make_way(&client_id, connect.clean_session, fx);
        // [MQTT-3.2.2-1] [MQTT-3.2.2-2] [MQTT-3.2.2-3]; in 3.1 that bit is reserved
        let session_present = earlier.is_some() && connect.version != ProtocolVersion::V31;
        let index = earlier.unwrap_or_else(|| self.create(&client_id, &connect, fx));
        self.attach(index, link, &connect, fx);
        fx.notices.push(Notice::Connected {
            link,
            client_id,
            version: connect.version,
            clean_session: connect.clean_session,
            keep_alive_s: connect.keep_alive_s,
            user_name: connect.user_name,
        });
        // [MQTT-3.1.4-4], and before all else that waits for the client [MQTT-3.2.0-1]
        let code = ConnectReturnCode::Accepted;
        self.send(index, OutPacket::ConnAck { session_present, code }, fx);
        if let Some(will) = connect.will {
            self.keep_will(index, will, fx);
        }
        self.withdraw_denied(index, fx);
        self.pump(index, fx);
        if self.limits.sys_clients {
            let client_id = self.sessions[index].client_id.clone();
            self.tell_session(&client_id, Some(true), fx);
        }
    }

    /// The client id to go on with, or why not.
    fn admit(&self, connect: &Connect) -> Result<Arc<str>, Refusal> {
        let refusal = |code, reason, bound| Err(Refusal { code, reason, bound });
        let rejected = ConnectReturnCode::IdentifierRejected; // [MQTT-3.1.3-9]
        if connect.version == ProtocolVersion::V5 {
            let code = ConnectReturnCode::UnacceptableProtocolVersion; // [MQTT-3.1.2-2]
            return refusal(code, "protocol version not served", None);
        }
        if self.stopping {
            let code = ConnectReturnCode::ServerUnavailable;
            return refusal(code, "server shutting down", None);
        }
        let keep_alive_max_s = self.limits.keep_alive_max_s;
        let asked_s = connect.keep_alive_s;
        let bounded = keep_alive_max_s != 0 && !connect.inside;
        if bounded && (asked_s == 0 || asked_s > keep_alive_max_s) {
            return refusal(rejected, "keep alive too long", Some(Bound::KeepAlive));
        }
        let client_id: Arc<str> = if !connect.client_id.is_empty() {
            Arc::from(&*connect.client_id) // of any length [MQTT-3.1.3-5]
        } else if !connect.clean_session {
            return refusal(rejected, "empty client id with a kept session", None); // [MQTT-3.1.3-8]
        } else if connect.version == ProtocolVersion::V31 {
            return refusal(rejected, "empty client id in MQTT 3.1", None);
        } else if !self.limits.allow_zero_length_client_id {
            return refusal(rejected, "empty client id", None);
        } else {
            self.assign_client_id(connect.nonce) // [MQTT-3.1.3-6]
        };
        let is_full = self.sessions.len() >= self.limits.sessions_max as usize;
        if is_full && self.sessions.find(&client_id).is_none() {
            let code = ConnectReturnCode::ServerUnavailable;
            return refusal(code, "too many sessions", Some(Bound::Sessions));
        }
        Ok(client_id)
    }

    /// The id that a client with this nonce gets if it brings none.
    pub fn assign_client_id(&self, nonce: u64) -> Arc<str> {
        let prefix = &self.limits.auto_id_prefix;
        let mut candidates = (0..).map(|n| format!("{prefix}{:016X}", nonce.wrapping_add(n)));
        let free = candidates.find(|candidate| self.sessions.find(candidate).is_none());
        free.expect("fewer sessions than numbers").into()
    }

    /// CONNACK with a return code, and close [MQTT-3.2.2-4] [MQTT-3.2.2-5].
    fn refuse(&mut self, link: LinkId, connect: &Connect, refusal: Refusal, fx: &mut Effects) {
        let Refusal { code, reason, bound } = refusal;
        self.counters.connects_refused += 1;
        self.counters.count_sent(PacketKind::ConnAck);
        if let Some(bound) = bound {
            self.counters.count_drop(bound);
        }
        let packet = OutPacket::ConnAck { session_present: false, code };
        fx.outgoing.push(Outgoing { link, packet, promise: false });
        fx.farewells.push((link, Farewell::Refused(code)));
        let client_id = Arc::from(&*connect.client_id);
        fx.notices.push(Notice::Refused { link, client_id, code, reason });
    }

    /// Ends what stands in the way of this CONNECT: another connection with the same client id
    /// [MQTT-3.1.4-2], and a session that is not to be gone on with [MQTT-3.1.4-3]. Says which
    /// session is.
    fn make_way(
        &mut self,
        client_id: &str,
        clean_session: bool,
        fx: &mut Effects,
    ) -> Option<SessionIndex> {
        let index = self.sessions.find(client_id)?;
        if self.sessions[index].attached().is_some() {
            self.close(index, Farewell::TakenOver, fx);
        }
        let index = self.sessions.find(client_id)?; // a clean one ended with its connection
        if clean_session {
            let lost = self.end_session(index, fx); // [MQTT-3.1.2-6]
            self.counters.count_drops(Bound::CleanSession, lost);
            return None;
        }
        Some(index) // [MQTT-3.1.2-4]
    }

    fn create(
        &mut self,
        client_id: &Arc<str>,
        connect: &Connect,
        fx: &mut Effects,
    ) -> SessionIndex {
        let durable = !connect.clean_session;
        if durable {
            fx.changes.push(Change::SaveSession { client_id: client_id.clone() });
        }
        let attachment = Attachment::Detached { since: self.now };
        self.sessions.insert(Session::new(client_id.clone(), durable, attachment))
    }

    fn attach(&mut self, index: SessionIndex, link: LinkId, connect: &Connect, fx: &mut Effects) {
        let patience_ms = u32::from(connect.keep_alive_s) * 1500; // [MQTT-3.1.2-24]
        let session = &mut self.sessions[index];
        if session.durable {
            // Even if it changes nothing: the CONNACK then waits for all that was written before
            // on the session's earlier connections (I2).
            let client_id = session.client_id.clone();
            fx.changes.push(Change::Detach { client_id, since: None });
        }
        session.bridge = connect.bridge;
        if let Some(rare) = session.rare.changed() {
            rare.known.begin(connect.bridge);
        }
        session.permit.clone_from(&connect.permit);
        let user_name = connect.user_name.as_deref().filter(|_| self.recording.is_on());
        session.user_name = user_name.map(Arc::from);
        session.attachment = Attachment::Attached(Attached {
            link,
            room: i64::from(connect.room_bytes),
            room_max: connect.room_bytes,
            patience_ms,
            last_seen: self.now,
        });
        self.links.attach(link, index);
        if patience_ms != 0 {
            let time = Time(self.now.0 + u64::from(patience_ms));
            self.deadlines.arm(time, Due::KeepAlive(link, index));
        }
        self.counters.connects_accepted += 1;
        self.counters.connected_max = self.counters.connected_max.max(self.links.connected());
    }
}
