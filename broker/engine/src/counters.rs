//! What was counted since start.

use crate::input::{StoreHealth, Traffic};

/// Totals since start. What is there now is in [`Gauges`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Control Packets received, of all kinds.
    pub packets_received: u64,
    /// Control Packets sent, of all kinds.
    pub packets_sent: u64,
    /// PUBLISH packets received.
    pub publishes_received: u64,
    /// PUBLISH packets sent.
    pub publishes_sent: u64,
    /// Bytes of payload received in PUBLISH packets.
    pub publish_bytes_received: u64,
    /// Bytes of payload sent in PUBLISH packets.
    pub publish_bytes_sent: u64,
    /// CONNECTs accepted.
    pub connects_accepted: u64,
    /// CONNECTs refused.
    pub connects_refused: u64,
    /// Most clients connected at the same time.
    pub connected_max: u64,
    /// Sessions that ended by their expiry.
    pub sessions_expired: u64,
    /// Messages that a bridge was not given because they came from the broker behind it.
    pub left_out: u64,
    /// What the driver counted.
    pub traffic: Traffic,
    /// What the driver says of the store.
    pub store: StoreHealth,
    /// Packets of each kind received.
    received: [u64; PacketKind::COUNT],
    /// Packets of each kind sent.
    sent: [u64; PacketKind::COUNT],
    /// Losses by bound.
    dropped: [u64; Bound::ALL.len()],
}

impl Counters {
    /// How often this bound cost somebody a message (for `sessions_max`, `keep_alive_max_s`,
    /// `subscriptions_per_session_max`, `denied_subscribe` and `received_max`: a connection or a
    /// subscription).
    pub fn dropped(&self, bound: Bound) -> u64 {
        self.dropped[bound as usize]
    }

    /// Messages lost to any bound.
    pub fn messages_dropped(&self) -> u64 {
        Bound::ALL.iter().filter(|b| b.costs_messages()).map(|&b| self.dropped(b)).sum()
    }

    /// Packets of this kind received.
    pub fn received(&self, kind: PacketKind) -> u64 {
        self.received[kind as usize]
    }

    /// Packets of this kind sent.
    pub fn sent(&self, kind: PacketKind) -> u64 {
        self.sent[kind as usize]
    }

    /// `None`: of a kind that no client may send.
    pub(crate) fn count_received(&mut self, kind: Option<PacketKind>) {
        self.packets_received += 1;
        if let Some(kind) = kind {
            self.received[kind as usize] += 1;
        }
    }

    pub(crate) fn count_sent(&mut self, kind: PacketKind) {
        self.packets_sent += 1;
        self.sent[kind as usize] += 1;
    }

    /// What the driver has counted, losses among it.
    pub(crate) fn take_traffic(&mut self, traffic: Traffic) {
        self.traffic = traffic;
        self.dropped[Bound::Connection as usize] = traffic.messages_unsent;
    }

    pub(crate) fn count_drop(&mut self, bound: Bound) {
        self.dropped[bound as usize] += 1;
    }

    pub(crate) fn count_drops(&mut self, bound: Bound, count: u64) {
        self.dropped[bound as usize] += count;
    }
}

/// A kind of packet that a client or the broker sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketKind {
    /// CONNECT.
    Connect,
    /// CONNACK.
    ConnAck,
    /// PUBLISH.
    Publish,
    /// PUBACK.
    PubAck,
    /// PUBREC.
    PubRec,
    /// PUBREL.
    PubRel,
    /// PUBCOMP.
    PubComp,
    /// SUBSCRIBE.
    Subscribe,
    /// SUBACK.
    SubAck,
    /// UNSUBSCRIBE.
    Unsubscribe,
    /// UNSUBACK.
    UnsubAck,
    /// PINGREQ.
    PingReq,
    /// PINGRESP.
    PingResp,
    /// DISCONNECT.
    Disconnect,
}

impl PacketKind {
    const COUNT: usize = Self::Disconnect as usize + 1;
}

/// A bound at which something is lost: named as in [`Limits`](crate::limits::Limits).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bound {
    /// A session's queue was full.
    QueueMessages,
    /// A session's queue was full.
    QueueBytes,
    /// The queues of all sessions together were full.
    AllQueues,
    /// A QoS 0 message for a session without a connection, when these are not queued.
    QueueQos0,
    /// A QoS 0 message for a link whose outbox had no room.
    Outbox,
    /// A QoS 0 message that was still to be sent when its connection ended.
    Connection,
    /// A retained message that was delivered but not retained.
    RetainedMessages,
    /// A retained message that was delivered but not retained.
    RetainedBytes,
    /// A message that waited in a session when it expired.
    SessionExpiry,
    /// A message that waited in a session that its client had asked to be forgotten: with Clean
    /// Session 1, when it went or when it began anew.
    CleanSession,
    /// A client's message to `$SYS`, which is the broker's own.
    SysTopic,
    /// A message that its publisher may not publish.
    DeniedPublish,
    /// A message that matched a subscription, and that the subscriber may not receive.
    DeniedReceive,
    /// A subscription that was refused because the client may not receive what it asks for.
    DeniedSubscribe,
    /// A subscription that was refused.
    Subscriptions,
    /// A CONNECT that was refused.
    Sessions,
    /// A CONNECT that was refused.
    KeepAlive,
    /// A connection that was closed.
    Received,
    /// A message that was delivered but not recorded, because its stream is stopped.
    Recording,
}

impl Bound {
    /// All of them, in order.
    pub const ALL: [Self; 19] = [
        Self::QueueMessages,
        Self::QueueBytes,
        Self::AllQueues,
        Self::QueueQos0,
        Self::Outbox,
        Self::Connection,
        Self::RetainedMessages,
        Self::RetainedBytes,
        Self::SessionExpiry,
        Self::CleanSession,
        Self::SysTopic,
        Self::DeniedPublish,
        Self::DeniedReceive,
        Self::DeniedSubscribe,
        Self::Subscriptions,
        Self::Sessions,
        Self::KeepAlive,
        Self::Received,
        Self::Recording,
    ];

    /// The name of the setting, or of the rule where nothing can be set.
    pub const fn name(self) -> &'static str {
        match self {
            Self::QueueMessages => "queue_messages_max",
            Self::QueueBytes => "queue_bytes_max",
            Self::AllQueues => "all_queues_bytes_max",
            Self::QueueQos0 => "queue_qos0",
            Self::Outbox => "outbox_bytes_max",
            Self::Connection => "connection",
            Self::RetainedMessages => "retained_messages_max",
            Self::RetainedBytes => "retained_bytes_max",
            Self::SessionExpiry => "session_expiry_s",
            Self::CleanSession => "clean_session",
            Self::SysTopic => "sys_topic",
            Self::DeniedPublish => "denied_publish",
            Self::DeniedReceive => "denied_receive",
            Self::DeniedSubscribe => "denied_subscribe",
            Self::Subscriptions => "subscriptions_per_session_max",
            Self::Sessions => "sessions_max",
            Self::KeepAlive => "keep_alive_max_s",
            Self::Received => "received_max",
            Self::Recording => "recording",
        }
    }

    /// What is lost, in one sentence.
    pub const fn help(self) -> &'static str {
        match self {
            Self::QueueMessages | Self::QueueBytes => {
                "Messages for a session whose queue was full."
            }
            Self::AllQueues => "Messages that all queues together had no memory for.",
            Self::QueueQos0 => "QoS 0 messages for clients that are away.",
            Self::Outbox => "QoS 0 messages for clients that read too slowly.",
            Self::Connection => "QoS 0 messages still to be sent when their connection ended.",
            Self::RetainedMessages | Self::RetainedBytes => "Messages delivered but not retained.",
            Self::SessionExpiry => "Messages that waited in sessions that were forgotten.",
            Self::CleanSession => {
                "Messages of sessions with Clean Session 1, when their clients went or began anew."
            }
            Self::SysTopic => "Messages of clients to `$SYS`.",
            Self::DeniedPublish => "Messages that their publisher may not publish.",
            Self::DeniedReceive => "Messages that a subscriber may not receive.",
            Self::DeniedSubscribe => "Subscriptions that a client may not make.",
            Self::Subscriptions => "Subscriptions beyond the bound of a session, or of a packet.",
            Self::Sessions => "CONNECTs when there were too many sessions.",
            Self::KeepAlive => "CONNECTs with too long a Keep Alive.",
            Self::Received => "Connections closed for too many unreleased QoS 2 messages.",
            Self::Recording => "Messages delivered but not recorded: their stream is stopped.",
        }
    }

    /// A message that a subscriber was never to have, or did not want any more, is not lost to it.
    const fn costs_messages(self) -> bool {
        !matches!(
            self,
            Self::CleanSession
                | Self::DeniedReceive
                | Self::DeniedSubscribe
                | Self::Subscriptions
                | Self::Sessions
                | Self::KeepAlive
                | Self::Received
                | Self::Recording
        )
    }
}

/// What is there now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Sessions, connected or not.
    pub sessions: u64,
    /// Sessions with a connection.
    pub connected: u64,
    /// Subscriptions of all sessions, shared ones included.
    pub subscriptions: u64,
    /// Shared subscriptions of all sessions.
    pub shared_subscriptions: u64,
    /// Retained messages, `$SYS` included.
    pub retained_messages: u64,
    /// Bytes of topics and payloads of retained messages.
    pub retained_bytes: u64,
    /// Messages in queues and in flight, each counted for each session.
    pub waiting_messages: u64,
    /// Bytes of their topics and payloads.
    pub waiting_bytes: u64,
    /// Bytes of memory that all queues take, messages once each.
    pub queues_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    #[test]
    fn bounds_are_named_as_their_limits() {
        let limits = format!("{:?}", Limits::default());
        // The room of an outbox comes with each CONNECT, and so does what a client may do; a
        // connection ends when it ends; `$SYS` cannot be opened; a stream stops when the disk is
        // full.
        let elsewhere = [
            Bound::Outbox,
            Bound::Connection,
            Bound::CleanSession,
            Bound::SysTopic,
            Bound::DeniedPublish,
            Bound::DeniedReceive,
            Bound::DeniedSubscribe,
            Bound::Recording,
        ];
        for (at, bound) in Bound::ALL.into_iter().enumerate() {
            assert_eq!(bound as usize, at, "in order");
            let named = limits.contains(&format!(" {}:", bound.name()));
            assert_ne!(named, elsewhere.contains(&bound), "{}", bound.name());
        }
    }
}
