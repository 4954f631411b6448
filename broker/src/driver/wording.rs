//! mosquitto's words for clients that come and go, of two of its versions. Programs that read the
//! log look for them.

use std::sync::atomic::{AtomicBool, Ordering};

use martlet_codec::reason::{ConnectReturnCode, ProtocolVersion};
use martlet_engine::effects::{DisconnectCause, Farewell};
use martlet_engine::input::LostCause;
use serde::Deserialize;

use crate::driver::Driver;
use crate::driver::log::describe;
use crate::logging::{NOTICE, UNMARKED};

/// Whose words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Wording {
    /// mosquitto 2.0.
    #[serde(rename = "2.0")]
    V20,
    /// mosquitto 2.1.
    #[default]
    #[serde(rename = "2.1")]
    V21,
}

impl Wording {
    /// How the version of the protocol is numbered.
    pub(super) const fn protocol(self, version: ProtocolVersion) -> u8 {
        match (self, version) {
            (Self::V20, ProtocolVersion::V31) => 1,
            (Self::V20, ProtocolVersion::V311) => 2,
            (Self::V21, ProtocolVersion::V31) => 3,
            (Self::V21, ProtocolVersion::V311) => 4,
            (_, ProtocolVersion::V5) => 5,
        }
    }

    /// What mosquitto says of a client whose CONNECT was refused.
    pub(crate) fn refused(self, client: &str, address: &str, code: ConnectReturnCode) {
        let denied = matches!(
            code,
            ConnectReturnCode::NotAuthorized | ConnectReturnCode::BadUserNameOrPassword
        );
        match (self, denied) {
            (Self::V20, true) => {
                tracing::info!(target: NOTICE, "Client {client} disconnected, not authorised.");
            }
            (Self::V20, false) => {
                never_connected("");
            }
            (Self::V21, _) => {
                let reason = if denied { "not authorised" } else { "protocol error" };
                tracing::info!(
                    target: NOTICE, client, address,
                    "Client {client} [{address}] disconnected: {reason}."
                );
            }
        }
    }
}

impl Driver {
    /// Whether clients' coming and going is logged.
    pub(crate) fn logs_connections(&self) -> bool {
        self.connection_messages.load(Ordering::Relaxed)
    }

    /// Whose words tell of clients.
    pub(crate) fn wording(&self) -> Wording {
        if self.old_wording.load(Ordering::Relaxed) { Wording::V20 } else { Wording::V21 }
    }
}

/// Whether mosquitto 2.0's words for connections without a client are wanted. There is one log in
/// a process, and these are written where no driver is at hand.
static OLD_WORDS: AtomicBool = AtomicBool::new(false);

impl Wording {
    /// From here on these words are used, and for what is orderly only where that is `told`.
    pub(super) fn take_up(self, told: bool) {
        OLD_WORDS.store(told && self == Self::V20, Ordering::Relaxed);
    }
}

/// What mosquitto 2.0 says of a connection that ends without a client, because of this rule;
/// besides what is said anyway.
pub(crate) fn never_connected(rule: &str) {
    if OLD_WORDS.load(Ordering::Relaxed) {
        let words = match rule {
            "connect_timeout_s" => "has exceeded timeout, disconnecting.",
            "packet_size_max" => "disconnected due to oversize packet.",
            _ => "disconnected due to protocol error.",
        };
        tracing::info!(target: NOTICE, "Client <unknown> {words}");
    }
}

/// The line of mosquitto 2.0 about a client that is gone. It does not name rules, so another line
/// does. `orderly`: whether going without a fault is worth one.
pub(super) fn gone(client: &str, address: &str, cause: &DisconnectCause, orderly: bool) {
    let (reason, rule) = describe(cause);
    if let Some(rule) = rule {
        tracing::warn!(
            client,
            address,
            reason,
            rule,
            "Client {client} [{address}]: {reason} [{rule}]."
        );
    } else if !orderly {
        return;
    }
    if let DisconnectCause::Farewell(Farewell::TakenOver) = cause {
        tracing::error!(
            target: UNMARKED,
            "Client {client} already connected, closing old connection."
        );
    } else if let Some(words) = words_20(cause) {
        tracing::info!(target: NOTICE, "Client {client} {words}");
    }
}

/// What follows the client's name; `None`: nothing is said.
fn words_20(cause: &DisconnectCause) -> Option<String> {
    Some(match cause {
        DisconnectCause::Farewell(farewell) => match farewell {
            Farewell::Disconnected => "disconnected.".into(),
            Farewell::KeepAliveExceeded => "has exceeded timeout, disconnecting.".into(),
            Farewell::ProtocolViolation { .. } => "disconnected due to protocol error.".into(),
            Farewell::LimitReached { .. } => "been disconnected by administrative action.".into(),
            Farewell::Refused(_) => "disconnected, not authorised.".into(),
            Farewell::TakenOver | Farewell::ShuttingDown => return None,
        },
        DisconnectCause::Lost(lost) => match lost {
            LostCause::Closed => "closed its connection.".into(),
            LostCause::LetGo { .. } => "been disconnected by administrative action.".into(),
            LostCause::Socket(error) => format!("disconnected: {error}."),
            LostCause::Malformed { .. } => "disconnected due to malformed packet.".into(),
            LostCause::Oversize { .. } => "disconnected due to oversize packet.".into(),
        },
    })
}
