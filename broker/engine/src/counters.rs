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
    /// What the driver counted.
    pub traffic: Traffic,
    /// What the driver says of the store.
    pub store: StoreHealth,
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

    pub(crate) fn count_drop(&mut self, bound: Bound) {
        self.dropped[bound as usize] += 1;
    }

    pub(crate) fn count_drops(&mut self, bound: Bound, count: u64) {
        self.dropped[bound as usize] += count;
    }
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
    /// A retained message that was delivered but not retained.
    RetainedMessages,
    /// A retained message that was delivered but not retained.
    RetainedBytes,
    /// A message that waited in a session when it expired.
    SessionExpiry,
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
    pub const ALL: [Self; 17] = [
        Self::QueueMessages,
        Self::QueueBytes,
        Self::AllQueues,
        Self::QueueQos0,
        Self::Outbox,
        Self::RetainedMessages,
        Self::RetainedBytes,
        Self::SessionExpiry,
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
            Self::RetainedMessages => "retained_messages_max",
            Self::RetainedBytes => "retained_bytes_max",
            Self::SessionExpiry => "session_expiry_s",
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

    /// A message that a subscriber was never to have is not lost to it.
    const fn costs_messages(self) -> bool {
        !matches!(
            self,
            Self::DeniedReceive
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
        // The room of an outbox comes with each CONNECT, and so does what a client may do;
        // `$SYS` cannot be opened; a stream stops when the disk is full.
        let elsewhere = [
            Bound::Outbox,
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
