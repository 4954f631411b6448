//! The engine's news as log lines, in mosquitto's words.

use martlet_codec::packet::Delivery;
use martlet_engine::effects::{DisconnectCause, Farewell, Notice};
use martlet_engine::input::{LinkId, LostCause};
use martlet_engine::message::Message;

use crate::driver::history;
use crate::driver::link::Edge;
use crate::driver::wording::{self, Wording};
use crate::logging::NOTICE;

/// The link that a notice is about.
pub(super) fn link_of(notice: &Notice) -> Option<LinkId> {
    match notice {
        Notice::Connected { link, .. }
        | Notice::Disconnected { link, .. }
        | Notice::Refused { link, .. } => Some(*link),
        Notice::Dropping { .. }
        | Notice::NotRetained { .. }
        | Notice::SameBroker { .. }
        | Notice::SubscriptionsRefused { .. }
        | Notice::PublishDenied { .. }
        | Notice::SubscribeDenied { .. }
        | Notice::HistoryRefused { .. }
        | Notice::SessionExpired { .. } => None,
    }
}

/// Writes what there is to say. `connection_messages` says whether an orderly coming and going is
/// worth a line.
pub(super) fn write(
    notice: &Notice,
    edge: Option<&dyn Edge>,
    connection_messages: bool,
    wording: Wording,
) {
    let address = edge.map(|edge| edge.peer().to_string()).unwrap_or_default();
    let connection_messages = connection_messages && !edge.is_some_and(Edge::is_quiet);
    match notice {
        Notice::Connected {
            client_id, version, clean_session, keep_alive_s, user_name, ..
        } => {
            if !connection_messages {
                return;
            }
            let protocol = wording.protocol(*version);
            let clean = u8::from(*clean_session);
            let user = user_name.as_ref().map(|user| format!(", u'{user}'")).unwrap_or_default();
            tracing::info!(
                target: NOTICE, client = %client_id, %address,
                "New client connected from {address} as {client_id} (p{protocol}, c{clean}, \
                 k{keep_alive_s}{user})."
            );
        }
        Notice::Disconnected { client_id, cause, .. } => match wording {
            Wording::V21 => write_disconnected(client_id, &address, cause, connection_messages),
            Wording::V20 => wording::gone(client_id, &address, cause, connection_messages),
        },
        Notice::Refused { client_id, code, reason, .. } => {
            let client = if client_id.is_empty() { "<unknown>" } else { client_id };
            tracing::warn!(
                client, %address, code = *code as u8, reason,
                "Client {client} [{address}] refused: {reason} (return code {}).", *code as u8
            );
            if connection_messages {
                wording.refused(client, &address, *code);
            }
        }
        Notice::Dropping { client_id, limit } => {
            tracing::warn!(
                client = %client_id, limit,
                "Outgoing messages are being dropped for client {client_id} ({limit} reached)."
            );
        }
        Notice::NotRetained { limit } => {
            tracing::warn!(limit, "Messages are not retained any more ({limit} reached).");
        }
        Notice::SameBroker { client_id, other } => write_same_broker(client_id, other),
        Notice::SubscriptionsRefused { client_id, count, limit } => {
            write_refused(client_id, *count, *limit);
        }
        Notice::PublishDenied { client_id, message, delivery } => {
            write_denied(client_id, message, *delivery);
        }
        Notice::SubscribeDenied { client_id, filter } => {
            let filter = filter.as_str();
            tracing::info!(
                client = %client_id, filter,
                "Denied SUBSCRIBE from {client_id} ('{filter}')"
            );
        }
        Notice::HistoryRefused { client_id, filter, refusal } => {
            let (filter, reason) = (filter.as_str(), history::explain(refusal));
            tracing::warn!(
                client = %client_id, filter, reason,
                "Subscription of client {client_id} to '{filter}' refused: {reason}."
            );
        }
        Notice::SessionExpired { client_id } => {
            tracing::info!(client = %client_id, "Expiring client {client_id} due to timeout.");
        }
    }
}

fn write_same_broker(client: &str, other: &str) {
    tracing::warn!(
        client,
        other,
        "Bridges {client} and {other} lead to the same broker: what both carry arrives twice; \
         leave one out."
    );
}

fn write_refused(client: &str, count: u64, limit: Option<&str>) {
    match limit {
        Some(limit) => tracing::warn!(
            client,
            count,
            limit,
            "Subscriptions of client {client} refused: {count} ({limit} reached)."
        ),
        None => tracing::warn!(
            client,
            count,
            "Subscriptions of client {client} refused: {count} more in the same packet."
        ),
    }
}

/// mosquitto's words and level.
fn write_denied(client: &str, message: &Message, delivery: Delivery) {
    let (topic, qos) = (message.topic().as_str(), delivery.qos().get());
    let (id, dup) = match delivery {
        Delivery::AtMostOnce => (0, false),
        Delivery::AtLeastOnce { id, dup } | Delivery::ExactlyOnce { id, dup } => (id.get(), dup),
    };
    let (dup, retain) = (u8::from(dup), u8::from(message.retain()));
    let len = message.payload().len();
    tracing::debug!(
        client,
        topic,
        "Denied PUBLISH from {client} (d{dup}, q{qos}, r{retain}, m{id}, '{topic}', ... ({len} \
         bytes))"
    );
}

fn write_disconnected(client: &str, address: &str, cause: &DisconnectCause, orderly: bool) {
    let (reason, rule) = describe(cause);
    match rule {
        Some(rule) => tracing::warn!(
            client,
            address,
            reason,
            rule,
            "Client {client} [{address}] disconnected: {reason} [{rule}]."
        ),
        None if orderly => tracing::info!(
            target: NOTICE,
            client,
            address,
            reason,
            "Client {client} [{address}] disconnected: {reason}."
        ),
        None => {}
    }
}

/// The reason in words, and the rule that was broken.
pub(super) fn describe(cause: &DisconnectCause) -> (String, Option<&'static str>) {
    match cause {
        DisconnectCause::Farewell(farewell) => match farewell {
            Farewell::Disconnected => ("connection closed by client".into(), None),
            Farewell::Refused(_) => ("refused".into(), None),
            Farewell::TakenOver => ("session taken over".into(), None),
            Farewell::KeepAliveExceeded => ("exceeded timeout".into(), None),
            Farewell::ProtocolViolation { rule: rule @ "MQTT-3.1.0-2" } => {
                ("protocol error, a second CONNECT".into(), Some(rule))
            }
            Farewell::ProtocolViolation { rule } => ("protocol error".into(), Some(rule)),
            Farewell::LimitReached { limit } => ("bound reached".into(), Some(limit)),
            Farewell::ShuttingDown => ("server shutting down".into(), None),
        },
        DisconnectCause::Lost(lost) => match lost {
            LostCause::Closed => ("connection closed without DISCONNECT".into(), None),
            LostCause::Socket(error) => (error.to_string(), None),
            LostCause::LetGo { reason } => ((*reason).into(), None),
            LostCause::Malformed { rule, reason } => {
                (format!("malformed packet, {reason}"), Some(rule))
            }
            LostCause::Oversize { packet_size_max } => (
                format!("oversize packet, more than {packet_size_max} bytes"),
                Some("packet_size_max"),
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_go_has_its_words() {
        let rows: &[(DisconnectCause, &str, Option<&str>)] = &[
            (
                DisconnectCause::Lost(LostCause::Closed),
                "connection closed without DISCONNECT",
                None,
            ),
            (
                DisconnectCause::Lost(LostCause::Malformed {
                    rule: "MQTT-2.2.2-2",
                    reason: "wrong flags",
                }),
                "malformed packet, wrong flags",
                Some("MQTT-2.2.2-2"),
            ),
            (
                DisconnectCause::Farewell(Farewell::ProtocolViolation { rule: "MQTT-3.1.0-2" }),
                "protocol error, a second CONNECT",
                Some("MQTT-3.1.0-2"),
            ),
            (
                DisconnectCause::Farewell(Farewell::LimitReached { limit: "received_max" }),
                "bound reached",
                Some("received_max"),
            ),
            (DisconnectCause::Farewell(Farewell::TakenOver), "session taken over", None),
        ];
        for (cause, reason, rule) in rows {
            assert_eq!(describe(cause), ((*reason).to_owned(), *rule));
        }
    }
}
