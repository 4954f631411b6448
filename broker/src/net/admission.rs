//! The first packet: who comes in, and how the others are told.

use std::future::poll_fn;
use std::hash::{BuildHasher, RandomState};
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use martlet_codec::decode::{DecodeError, DecodeLimits};
use martlet_codec::encode;
use martlet_codec::packet::{ConnAck, ConnAckCode, Packet};
use martlet_codec::properties::Properties;
use martlet_codec::reason::{ConnectReturnCode, ProtocolVersion, ReasonCode};
use martlet_engine::input::{Connect, Input, LostCause};

use crate::access::{Candidate, Refusal, jwt};
use crate::clock;
use crate::driver::link::Edge;
use crate::net::arrival::log_lost;
use crate::net::connection::{Asked, Connection, End, Guest};
use crate::net::receive::{Incoming, Received, lost_by};
use crate::net::tls::session::Negotiated;

/// The longest CONNECT: a will of the largest payload, and as much again for names, password and
/// topic together. mosquitto takes 100,000 bytes. Nobody who has not connected can make us keep
/// more.
const CONNECT_SIZE_MAX: u32 = 128 * 1024;

/// What the log has in the place of a user name that is a token.
const TOKEN: &str = "a token";

/// A CONNECT that waits to be decided on.
#[derive(Debug)]
pub(super) struct Asking {
    connect: Box<Connect>,
    candidate: Candidate,
}

impl Connection {
    /// What a packet may be: before the CONNECT, no more than a CONNECT needs.
    pub(super) fn decode_limits(&self) -> DecodeLimits {
        let limits = self.shared.decode_limits;
        match self.link.id() {
            Some(_) => limits,
            None => DecodeLimits {
                packet_size_max: limits.packet_size_max.min(CONNECT_SIZE_MAX),
                ..limits
            },
        }
    }

    /// Takes the first packet, lets the door decide on who sent it, and brings it to the engine.
    /// Nothing is read while the door thinks.
    pub(super) async fn come_in(self: &Arc<Self>, incoming: &mut Incoming) -> Result<(), End> {
        let asking = poll_fn(|cx| self.poll_asking(cx, incoming)).await?;
        let Asking { mut connect, candidate } = *asking;
        let door = &self.shared.door;
        let (policy, verdict) = door.admit(candidate).await;
        let admission = verdict.map_err(|refusal| self.turn_down(&connect, refusal))?;
        connect.client_id = admission.client_id;
        connect.user_name = admission.user_name;
        connect.permit = admission.permit;
        let door = &self.shared.door;
        let mut rights = None;
        if admission.asks {
            // Whoever was here before under this id has left what it wants to receive.
            let resumes = !connect.clean_session && !connect.client_id.is_empty();
            let resumed = resumes.then(|| self.link.subscriptions_of(&connect.client_id));
            let client_id = self.link.client_id_for(&connect);
            let resumed = resumed.unwrap_or_default();
            let told = door.inquire(&policy, &connect, &client_id, resumed).await;
            let told = told.map_err(|refusal| self.turn_down(&connect, refusal))?;
            connect.permit = told.permission();
            rights = Some(Arc::new(told));
        }
        if let Some(warning) = policy.distrust(&connect.client_id, connect.user_name.as_deref()) {
            tracing::warn!("{warning}");
        }
        let (user_name, bearer) = (connect.user_name.clone(), admission.bearer);
        if user_name.is_some() || bearer.is_some() || rights.is_some() {
            self.guest.get_or_init(|| Box::new(Guest { user_name, bearer, rights }));
        }
        if let Some(user) = connect.user_name.as_mut().filter(|user| jwt::is_token(user)) {
            *user = TOKEN.into(); // the log need not have it
        }
        let negotiated = self.stream.negotiated();
        let negotiated = negotiated.map(|with| (with, connect.client_id.clone()));
        let link = self.link.attach(Arc::clone(self) as Arc<dyn Edge>);
        self.open(Input::Open { link, connect }, incoming)?;
        if let Some((negotiated, client_id)) = negotiated {
            self.log_negotiated(negotiated, &client_id);
        }
        // Whoever exchanged the policy just now may have looked for links before this one.
        if !Arc::ptr_eq(&policy, &door.policy()) {
            self.submit(&mut vec![Input::Permit { link, permit: self.permit() }]);
        }
        Ok(())
    }

    fn poll_asking(
        self: &Arc<Self>,
        cx: &mut Context<'_>,
        incoming: &mut Incoming,
    ) -> Poll<Result<Box<Asking>, End>> {
        loop {
            match ready!(self.poll_receive(cx, incoming)) {
                Ok(Received::End(end)) => return Poll::Ready(Err(end)),
                Ok(Received::Packets { .. }) => {}
                Err(error) => return Poll::Ready(Err(self.lose(lost_by(&error)))),
            }
            if let Some(asking) = incoming.take_asking() {
                return Poll::Ready(Ok(asking));
            }
        }
    }

    /// Takes the first packet for what it must be, a CONNECT of a version that is served. Nothing
    /// else is asked of a client [MQTT-7.0.0-2].
    pub(super) fn ask(&self, packet: &Packet<'_>) -> Result<Box<Asking>, End> {
        let Packet::Connect(connect) = packet else {
            // [MQTT-3.1.0-1]
            let (reason, rule) = (NO_CONNECT, "MQTT-3.1.0-1");
            return Err(End::Lost(LostCause::Malformed { rule, reason }));
        };
        if connect.version == ProtocolVersion::V5 {
            let reason = "MQTT 5.0 is not supported, only 3.1.1 and 3.1";
            return Err(self.refuse_level(ProtocolVersion::V5, connect.client_id, reason));
        }
        let terms = &self.shared.terms;
        if !terms.versions.hold(connect.version) {
            let reason = "this listener's accept_protocol_versions has no place for its version";
            return Err(self.refuse_level(connect.version, connect.client_id, reason));
        }
        let asked = Asked { version: connect.version, keep_alive_s: connect.keep_alive_s };
        self.asked.get_or_init(|| asked);
        let candidate = Candidate::new(connect, &self.peer, clock::wall_s());
        let opened = terms.open(connect, self.link.outbox_bytes_max(), nonce());
        let connect = Box::new(opened.map_err(|breach| {
            self.log_refused(connect.client_id, &format!("{} [{}]", breach.what, breach.option));
            self.refuse(ConnAckCode::V3(ConnectReturnCode::NotAuthorized), connect.version)
        })?);
        Ok(Box::new(Asking { connect, candidate }))
    }

    fn turn_down(&self, connect: &Connect, refusal: Refusal) -> End {
        let address = self.peer_address();
        let client = known(&connect.client_id);
        // A token that is refused here may be good elsewhere: no log shows it.
        let user = connect.user_name.as_deref().filter(|user| !jwt::is_token(user));
        let user = user.unwrap_or_default();
        let named = if user.is_empty() { String::new() } else { format!(" (u'{user}')") };
        // docs/access.md has a filter of fail2ban for it: what the peer chose stands between its
        // beginning and the address, so that nobody can make it speak of another.
        tracing::warn!(
            client, %address, user, reason = %refusal,
            "Client {client}{named} [{address}] refused: {refusal}."
        );
        if self.shared.driver.logs_connections() {
            let code = ConnectReturnCode::NotAuthorized;
            self.shared.driver.wording().refused(client, &address.to_string(), code);
        }
        if refusal.is_failed_login() {
            self.traffic().logins_failed.fetch_add(1, Ordering::Relaxed);
        }
        if self.shared.door.remember(self.peer.address, refusal) {
            tracing::warn!(%address, "The address of [{address}] is banned after failed logins.");
        }
        let code = match refusal {
            Refusal::NoAnswer => {
                self.traffic().unanswered.fetch_add(1, Ordering::Relaxed);
                ConnectReturnCode::ServerUnavailable
            }
            _ => ConnectReturnCode::NotAuthorized,
        };
        self.refuse(ConnAckCode::V3(code), self.version())
    }

    /// The end of a connection whose first bytes are bad, in words that say what they look like;
    /// `None` if they are a CONNECT with some other mistake, which is not answered at all
    /// [MQTT-3.1.4-1] [MQTT-3.2.2-6].
    pub(super) fn turn_away(&self, error: &DecodeError, bytes: &[u8]) -> Option<End> {
        if error.unknown_level {
            let reason = "the protocol level is not supported, only MQTT 3.1.1 and 3.1";
            return Some(self.refuse_level(ProtocolVersion::V311, "", reason));
        }
        // [MQTT-3.1.0-1]
        let (reason, rule) = (no_connect(bytes)?, "MQTT-3.1.0-1");
        Some(End::Lost(LostCause::Malformed { rule, reason }))
    }

    fn refuse_level(&self, form: ProtocolVersion, client_id: &str, reason: &str) -> End {
        self.log_refused(client_id, reason);
        let code = match form {
            // [MQTT-3.1.2-2]
            ProtocolVersion::V31 | ProtocolVersion::V311 => {
                ConnAckCode::V3(ConnectReturnCode::UnacceptableProtocolVersion)
            }
            ProtocolVersion::V5 => ConnAckCode::V5(ReasonCode::UnsupportedProtocolVersion),
        };
        self.refuse(code, form)
    }

    /// Sends a CONNACK that refuses, with session present 0 [MQTT-3.2.2-4]; then comes the end
    /// [MQTT-3.2.2-5].
    fn refuse(&self, code: ConnAckCode, version: ProtocolVersion) -> End {
        self.traffic().connects_refused.fetch_add(1, Ordering::Relaxed);
        let properties = Properties::EMPTY;
        let answer = Packet::ConnAck(ConnAck { session_present: false, code, properties });
        let mut bytes = [0; 8];
        if let Ok(len) = encode::encode(&answer, version, &mut bytes) {
            // The first bytes ever written to a socket fit its buffer; if not, it is broken.
            let _ = self.stream.try_write(&[IoSlice::new(&bytes[..len])]);
        }
        End::Refused
    }

    /// Tells what TLS was agreed on with a client that called itself so.
    fn log_negotiated(&self, negotiated: Negotiated, client_id: &str) {
        if self.shared.driver.logs_connections() {
            // Whoever left its id empty has got one, unless the engine is busy.
            let client = if client_id.is_empty() { self.link.client_id() } else { client_id };
            tracing::info!(client, "Client {client} negotiated {negotiated}");
        }
    }

    pub(super) fn log_refused(&self, client: &str, reason: &str) {
        let address = self.peer_address();
        let client = known(client);
        tracing::warn!(client, %address, reason, "Client {client} [{address}] refused: {reason}.");
        if self.shared.driver.logs_connections() {
            let code = ConnectReturnCode::UnacceptableProtocolVersion;
            self.shared.driver.wording().refused(client, &address.to_string(), code);
        }
    }

    pub(super) fn log_never_connected(&self, cause: &LostCause) {
        match cause {
            LostCause::Malformed { rule, reason } => log_lost(self.peer_address(), reason, rule),
            LostCause::Oversize { packet_size_max } => {
                let reason = format!("CONNECT packet of more than {packet_size_max} bytes");
                log_lost(self.peer_address(), &reason, "packet_size_max");
            }
            LostCause::Closed | LostCause::Socket(_) | LostCause::LetGo { .. } => {
                let address = self.peer_address();
                tracing::debug!(%address, "Client <unknown> [{address}] closed before CONNECT.");
            }
        }
    }
}

/// What the log calls a client.
fn known(client_id: &str) -> &str {
    if client_id.is_empty() { "<unknown>" } else { client_id }
}

/// What the first bytes of a connection are, if they do not begin a CONNECT.
fn no_connect(bytes: &[u8]) -> Option<&'static str> {
    const HTTP: [&[u8]; 4] = [b"GET ", b"HEAD", b"POST", b"OPTI"];
    match bytes {
        [0x16, 3, ..] => Some("this is TLS, and the port takes MQTT without TLS"),
        [0x10..=0x1f, ..] => None,
        _ if HTTP.iter().any(|method| bytes.starts_with(method)) => {
            Some("this is HTTP or WebSocket, and the port takes MQTT over TCP")
        }
        _ => Some(NO_CONNECT),
    }
}

const NO_CONNECT: &str = "the first packet is no CONNECT";

/// Entropy for a client id that the engine assigns: the standard library's random hash keys.
fn nonce() -> u64 {
    RandomState::new().hash_one(0_u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_says_what_came_instead_of_a_connect() {
        let rows: &[(&[u8], Option<&str>)] = &[
            (b"\x10\x0d\x00\x04MQTT", None),
            (b"\x1f", None),
            (b"\x16\x03\x01\x00\xa5", Some("this is TLS, and")),
            (b"GET /mqtt HTTP/1.1\r\n", Some("this is HTTP or WebSocket, and")),
            (b"SSH-2.0-OpenSSH_9.6\r\n", Some("the first packet is no CONNECT")),
            (b"\xf0\x00", Some("the first packet is no CONNECT")),
        ];
        for (bytes, words) in rows {
            let said = no_connect(bytes);
            assert_eq!(said.is_some(), words.is_some(), "{bytes:?}");
            assert!(said.unwrap_or_default().starts_with(words.unwrap_or_default()), "{said:?}");
        }
    }
}
