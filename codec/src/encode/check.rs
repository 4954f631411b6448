//! What the packet types do not keep by themselves: checked before a byte is written.

use crate::packet::{ConnAck, ConnAckCode, Connect, Packet, PacketType, Publish, Subscribe};
use crate::payload::{check_subscription, options_byte};
use crate::properties::{Place, TOPIC_ALIAS};
use crate::reason::{ProtocolVersion, ReasonCode};
use crate::rules::{self, Checked};
use crate::topic::{SHARE_PREFIX, SubscriptionFilter, check_share_name};

use super::EncodeError;

/// Whether the packet is one that [`decode`](crate::decode::decode) would accept.
#[inline]
pub(super) fn check(packet: &Packet<'_>, version: ProtocolVersion) -> Result<(), EncodeError> {
    let version = if let Packet::Connect(connect) = packet { connect.version } else { version };
    if !is_in_version(packet, version) {
        return Err(EncodeError::NotInVersion);
    }
    is_legal(packet, version).map_err(|rule| EncodeError::illegal(rule, version))
}

/// Whether this version can say what the packet says.
#[inline]
fn is_in_version(packet: &Packet<'_>, version: ProtocolVersion) -> bool {
    if version == ProtocolVersion::V5 {
        let bridge = matches!(packet, Packet::Connect(connect) if connect.bridge);
        let return_code =
            matches!(packet, Packet::ConnAck(ConnAck { code: ConnAckCode::V3(_), .. }));
        return !bridge && !return_code;
    }
    let fields = match packet {
        Packet::Publish(publish) => publish.topic.is_some(),
        Packet::Connect(connect) => connect.will.is_none_or(|will| will.properties.is_empty()),
        Packet::ConnAck(connack) => matches!(connack.code, ConnAckCode::V3(_)),
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            ack.reason == ReasonCode::Success
        }
        Packet::Subscribe(subscribe) => {
            subscribe.subscriptions.iter().all(|subscription| options_byte(&subscription) <= 2)
        }
        Packet::UnsubAck(unsuback) => unsuback.codes.as_bytes().is_empty(),
        Packet::Disconnect(disconnect) => disconnect.reason == ReasonCode::Success,
        Packet::Auth(_) => false,
        Packet::SubAck(_) | Packet::Unsubscribe(_) | Packet::PingReq | Packet::PingResp => true,
    };
    fields && packet.properties().is_empty()
}

/// Whether the packet keeps the rules that decoding checks.
#[inline]
fn is_legal(packet: &Packet<'_>, version: ProtocolVersion) -> Checked<()> {
    if !packet.properties().is_empty() {
        packet.properties().check(Place::In(packet.packet_type()))?;
    }
    match packet {
        Packet::Publish(publish) => check_publish(publish),
        Packet::Connect(connect) => check_connect(connect),
        Packet::ConnAck(connack) => check_connack(connack),
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            check_reason(ack.reason, packet.packet_type())
        }
        Packet::Subscribe(subscribe) => check_subscribe(subscribe, version),
        Packet::SubAck(suback) => suback.codes.check(version, PacketType::SubAck),
        Packet::Unsubscribe(unsubscribe) => {
            if unsubscribe.filters.iter().next().is_none() {
                return Err(rules::UNSUBSCRIBE_EMPTY); // [MQTT-3.10.3-2]
            }
            unsubscribe.filters.iter().try_for_each(|filter| check_filter(&filter))
        }
        Packet::UnsubAck(unsuback) if version == ProtocolVersion::V5 => {
            unsuback.codes.check(version, PacketType::UnsubAck)
        }
        Packet::UnsubAck(_) | Packet::PingReq | Packet::PingResp => Ok(()),
        Packet::Disconnect(disconnect) => check_reason(disconnect.reason, PacketType::Disconnect),
        Packet::Auth(auth) => {
            check_reason(auth.reason, PacketType::Auth)?;
            auth.check_method()
        }
    }
}

#[inline]
fn check_publish(publish: &Publish<'_>) -> Checked<()> {
    if publish.topic.is_none() && !publish.properties.has(TOPIC_ALIAS) {
        return Err(rules::NO_TOPIC);
    }
    Ok(())
}

fn check_connect(connect: &Connect<'_>) -> Checked<()> {
    rules::check_string(connect.client_id)?; // [MQTT-3.1.3-4]
    if let Some(will) = &connect.will {
        will.properties.check(Place::Will)?;
        rules::check_binary(will.payload)?;
    }
    connect.user_name.map_or(Ok(()), rules::check_string)?; // [MQTT-3.1.3-11]
    connect.password.map_or(Ok(()), rules::check_binary)?;
    let password_alone = connect.password.is_some() && connect.user_name.is_none();
    if password_alone && connect.version < ProtocolVersion::V5 {
        return Err(rules::PASSWORD_WITHOUT_USER); // [MQTT-3.1.2-22]
    }
    Ok(())
}

fn check_connack(connack: &ConnAck<'_>) -> Checked<()> {
    if connack.session_present && !connack.code.is_accepted() {
        return Err(rules::SESSION_PRESENT_REFUSED); // [MQTT-3.2.2-4]
    }
    match connack.code {
        ConnAckCode::V3(_) => Ok(()),
        ConnAckCode::V5(code) => check_reason(code, PacketType::ConnAck),
    }
}

fn check_reason(reason: ReasonCode, packet: PacketType) -> Checked<()> {
    if reason.is_for(packet) { Ok(()) } else { Err(rules::reason_code(packet)) }
}

fn check_subscribe(subscribe: &Subscribe<'_>, version: ProtocolVersion) -> Checked<()> {
    if subscribe.subscriptions.iter().next().is_none() {
        return Err(rules::SUBSCRIBE_EMPTY); // [MQTT-3.8.3-3]
    }
    subscribe.subscriptions.iter().try_for_each(|subscription| {
        check_filter(&subscription.filter)?;
        check_subscription(&subscription, version)
    })
}

/// Filter and share were checked apart; this is about the text that they make together.
fn check_filter(filter: &SubscriptionFilter<'_>) -> Checked<()> {
    let share = match filter.share {
        Some(name) => check_share_name(name).is_ok(),
        None => !filter.filter.as_bytes().starts_with(SHARE_PREFIX),
    };
    if !share {
        return Err(rules::SHARE); // [MQTT5-4.8.2-1]
    }
    if filter.len() > usize::from(u16::MAX) {
        return Err(rules::TOPIC_TOO_LONG); // [MQTT-4.7.3-3]
    }
    Ok(())
}
