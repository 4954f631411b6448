//! The numbers that the broker tells of itself: one table for `$SYS` and for whoever else asks.

use crate::counters::{Bound, Counters, Gauges, PacketKind};

/// One number.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// Where it is published; mosquitto's name where mosquitto has one.
    pub topic: &'static str,
    /// What kind of number it is.
    pub kind: Kind,
    /// One sentence.
    pub help: &'static str,
    /// The number.
    pub value: fn(&Counters, &Gauges) -> u64,
}

/// What kind of number a figure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It counts since start and only grows.
    Total,
    /// It is what there is now.
    Now,
}

/// All of them.
pub const FIGURES: &[Figure] = &[
    now("$SYS/broker/clients/total", "Sessions, connected or not.", |_, g| g.sessions),
    now("$SYS/broker/clients/maximum", "Most clients connected at the same time.", |c, _| {
        c.connected_max
    }),
    now("$SYS/broker/clients/connected", "Clients that are connected.", |_, g| g.connected),
    now("$SYS/broker/clients/active", "An older name of `clients/connected`.", |_, g| g.connected),
    now("$SYS/broker/clients/disconnected", "Sessions whose client is away.", |_, g| {
        g.sessions - g.connected
    }),
    now("$SYS/broker/clients/inactive", "An older name of `clients/disconnected`.", |_, g| {
        g.sessions - g.connected
    }),
    total("$SYS/broker/clients/expired", "Sessions that ended by their expiry.", |c, _| {
        c.sessions_expired
    }),
    total("$SYS/broker/messages/received", "Control Packets received, of all kinds.", |c, _| {
        c.packets_received
    }),
    total("$SYS/broker/messages/sent", "Control Packets sent, of all kinds.", |c, _| {
        c.packets_sent
    }),
    now(
        "$SYS/broker/messages/stored",
        "Retained messages, and messages that wait or are in flight.",
        |_, g| g.retained_messages + g.waiting_messages,
    ),
    total("$SYS/broker/publish/messages/received", "PUBLISH packets received.", |c, _| {
        c.publishes_received
    }),
    total("$SYS/broker/publish/messages/sent", "PUBLISH packets sent.", |c, _| c.publishes_sent),
    total("$SYS/broker/publish/messages/dropped", "Messages lost to any bound.", |c, _| {
        c.messages_dropped()
    }),
    total("$SYS/broker/publish/bytes/received", "Bytes of payload received.", |c, _| {
        c.publish_bytes_received
    }),
    total("$SYS/broker/publish/bytes/sent", "Bytes of payload sent.", |c, _| c.publish_bytes_sent),
    total("$SYS/broker/bytes/received", "Bytes read from sockets.", |c, _| {
        c.traffic.bytes_received
    }),
    total("$SYS/broker/bytes/sent", "Bytes written to sockets.", |c, _| c.traffic.bytes_sent),
    total("$SYS/broker/martlet/logins/failed", "Logins that failed.", |c, _| {
        c.traffic.logins_failed
    }),
    total(
        "$SYS/broker/martlet/connections/turned_away",
        "Connections closed because of their address.",
        |c, _| c.traffic.turned_away,
    ),
    total(
        "$SYS/broker/martlet/connections/late",
        "Connections closed because no CONNECT came in time.",
        |c, _| c.traffic.connect_timeouts,
    ),
    now(
        "$SYS/broker/martlet/bridges/connected",
        "Bridges to other brokers that are connected.",
        |c, _| c.traffic.bridges.connected,
    ),
    total(
        "$SYS/broker/martlet/bridges/connections",
        "Connections of bridges that other brokers accepted.",
        |c, _| c.traffic.bridges.connections,
    ),
    total(
        "$SYS/broker/martlet/bridges/sent",
        "Messages that bridges sent to other brokers.",
        |c, _| c.traffic.bridges.sent,
    ),
    total(
        "$SYS/broker/martlet/bridges/received",
        "Messages that bridges received from other brokers.",
        |c, _| c.traffic.bridges.received,
    ),
    total(
        "$SYS/broker/martlet/bridges/lost",
        "Messages that could not cross: too large, unnamed there, or half across when it forgot.",
        |c, _| c.traffic.bridges.lost,
    ),
    total(
        "$SYS/broker/martlet/bridges/left_out",
        "Messages not sent over a bridge because they came from the broker there.",
        |c, _| c.left_out,
    ),
    total(
        "$SYS/broker/martlet/rights/unanswered",
        "Clients and packets of which nobody answered whether they may.",
        |c, _| c.traffic.unanswered,
    ),
    total(
        "$SYS/broker/martlet/publishers/slowed",
        "Times that a client published too fast and was not read from for a while.",
        |c, _| c.traffic.publishers_slowed,
    ),
    now("$SYS/broker/subscriptions/count", "Subscriptions of all sessions.", |_, g| {
        g.subscriptions
    }),
    now(
        "$SYS/broker/shared_subscriptions/count",
        "Shared subscriptions of all sessions.",
        |_, g| g.shared_subscriptions,
    ),
    now("$SYS/broker/retained messages/count", "Retained messages, `$SYS` included.", |_, g| {
        g.retained_messages
    }),
    now(
        "$SYS/broker/store/messages/count",
        "Messages kept: retained, waiting, in flight.",
        |_, g| g.retained_messages + g.waiting_messages,
    ),
    now("$SYS/broker/store/messages/bytes", "Bytes of their topics and payloads.", |_, g| {
        g.retained_bytes + g.waiting_bytes
    }),
    total("$SYS/broker/connections/socket/count", "Connections accepted.", |c, _| {
        c.traffic.sockets_accepted
    }),
    now("$SYS/broker/packet/out/count", "Packets that wait to be sent.", |c, _| {
        c.traffic.packets_waiting
    }),
    now(
        "$SYS/broker/packet/out/bytes",
        "What they take: topic, payload and 64 bytes each.",
        |c, _| c.traffic.packets_waiting_bytes,
    ),
    now(
        "$SYS/broker/heap/current",
        "Bytes of memory that the broker shares with no file, as far as they are resident.",
        |c, _| c.traffic.memory_bytes,
    ),
    now("$SYS/broker/heap/maximum", "The most that `heap/current` was.", |c, _| {
        c.traffic.memory_bytes_max
    }),
    now("$SYS/broker/martlet/connections/open", "Open connections.", |c, _| c.traffic.sockets_open),
    total("$SYS/broker/martlet/connections/refused", "CONNECTs refused.", |c, _| {
        c.connects_refused + c.traffic.connects_refused
    }),
    total(
        "$SYS/broker/martlet/log/lost",
        "Lines that a destination of the log did not take.",
        |c, _| c.traffic.log_lines_lost,
    ),
    now("$SYS/broker/martlet/queues/bytes", "Memory that all queues take.", |_, g| g.queues_bytes),
    total("$SYS/broker/mqtt/connect/received", "CONNECT packets received.", |c, _| {
        c.received(PacketKind::Connect)
    }),
    total("$SYS/broker/mqtt/publish/received", "PUBLISH packets received.", |c, _| {
        c.received(PacketKind::Publish)
    }),
    total("$SYS/broker/mqtt/puback/received", "PUBACK packets received.", |c, _| {
        c.received(PacketKind::PubAck)
    }),
    total("$SYS/broker/mqtt/pubrec/received", "PUBREC packets received.", |c, _| {
        c.received(PacketKind::PubRec)
    }),
    total("$SYS/broker/mqtt/pubrel/received", "PUBREL packets received.", |c, _| {
        c.received(PacketKind::PubRel)
    }),
    total("$SYS/broker/mqtt/pubcomp/received", "PUBCOMP packets received.", |c, _| {
        c.received(PacketKind::PubComp)
    }),
    total("$SYS/broker/mqtt/subscribe/received", "SUBSCRIBE packets received.", |c, _| {
        c.received(PacketKind::Subscribe)
    }),
    total("$SYS/broker/mqtt/unsubscribe/received", "UNSUBSCRIBE packets received.", |c, _| {
        c.received(PacketKind::Unsubscribe)
    }),
    total("$SYS/broker/mqtt/pingreq/received", "PINGREQ packets received.", |c, _| {
        c.received(PacketKind::PingReq)
    }),
    total("$SYS/broker/mqtt/disconnect/received", "DISCONNECT packets received.", |c, _| {
        c.received(PacketKind::Disconnect)
    }),
    total("$SYS/broker/mqtt/connack/sent", "CONNACK packets sent.", |c, _| {
        c.sent(PacketKind::ConnAck)
    }),
    total("$SYS/broker/mqtt/publish/sent", "PUBLISH packets sent.", |c, _| {
        c.sent(PacketKind::Publish)
    }),
    total("$SYS/broker/mqtt/puback/sent", "PUBACK packets sent.", |c, _| {
        c.sent(PacketKind::PubAck)
    }),
    total("$SYS/broker/mqtt/pubrec/sent", "PUBREC packets sent.", |c, _| {
        c.sent(PacketKind::PubRec)
    }),
    total("$SYS/broker/mqtt/pubrel/sent", "PUBREL packets sent.", |c, _| {
        c.sent(PacketKind::PubRel)
    }),
    total("$SYS/broker/mqtt/pubcomp/sent", "PUBCOMP packets sent.", |c, _| {
        c.sent(PacketKind::PubComp)
    }),
    total("$SYS/broker/mqtt/suback/sent", "SUBACK packets sent.", |c, _| {
        c.sent(PacketKind::SubAck)
    }),
    total("$SYS/broker/mqtt/unsuback/sent", "UNSUBACK packets sent.", |c, _| {
        c.sent(PacketKind::UnsubAck)
    }),
    total("$SYS/broker/mqtt/pingresp/sent", "PINGRESP packets sent.", |c, _| {
        c.sent(PacketKind::PingResp)
    }),
    now(
        "$SYS/broker/martlet/store/damage/count",
        "Places of the store that could not be read at the start.",
        |c, _| c.store.damage.len() as u64,
    ),
    total("$SYS/broker/martlet/store/commits/failed", "Commits that failed.", |c, _| {
        c.store.commits_failed
    }),
    now(
        "$SYS/broker/martlet/store/failing/since",
        "Unix time since when the store fails; 0: it works.",
        |c, _| c.store.failing_since.map_or(0, |since| since.0 / 1000),
    ),
];

const fn total(
    topic: &'static str,
    help: &'static str,
    value: fn(&Counters, &Gauges) -> u64,
) -> Figure {
    Figure { topic, kind: Kind::Total, help, value }
}

const fn now(
    topic: &'static str,
    help: &'static str,
    value: fn(&Counters, &Gauges) -> u64,
) -> Figure {
    Figure { topic, kind: Kind::Now, help, value }
}

impl Bound {
    /// Where its losses are published.
    pub fn topic(self) -> String {
        format!("$SYS/broker/martlet/dropped/{}", self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_figure_stands_once_and_says_what_it_is() {
        let mut seen = BTreeSet::new();
        for figure in FIGURES {
            assert!(figure.topic.starts_with("$SYS/broker/"), "{}", figure.topic);
            assert!(seen.insert(figure.topic), "{} twice", figure.topic);
            assert!(figure.help.ends_with('.'), "{}", figure.topic);
        }
    }
}
