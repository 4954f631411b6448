//! Every bound of the engine, with its name and what happens at it.

/// The bounds. Each loss is counted in
/// [`Counters`](crate::counters::Counters) under the [`Bound`](crate::counters::Bound)'s name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// QoS 1 and 2 messages sent to one client and not yet settled (mosquitto's
    /// `max_inflight_messages`), 1 to 65,535. At the bound: further ones wait in the session's
    /// queue.
    pub inflight_max: u16,
    /// Those of them that await PUBREC, 1 to 65,535: so many Packet Identifiers a client must
    /// remember, since it forgets one with the PUBREL that comes before whatever follows. At the
    /// bound: the next message at QoS 2 waits in the session's queue, and what is behind it too.
    pub inflight_qos2_max: u16,
    /// Bytes of topics and payloads in flight to one client (mosquitto's `max_inflight_bytes`).
    /// Once there are so many: further ones wait in the session's queue. 0 is no bound.
    pub inflight_bytes_max: u64,
    /// Messages in one session's queue (mosquitto's `max_queued_messages`). At the bound: the new
    /// message is dropped for that session. 0 is no bound.
    pub queue_messages_max: u32,
    /// Bytes of topics and payloads in one session's queue, and nothing else that they cost. At the
    /// bound: the new message is dropped for that session. 0 is no bound.
    pub queue_bytes_max: u64,
    /// Bytes of memory that the queues of all sessions together may take: messages, each once in
    /// however many queues it waits, and what their places cost. At the bound: the new message is
    /// dropped for the session whose queue it was for. 0 is no bound.
    pub all_queues_bytes_max: u64,
    /// Whether QoS 0 messages are queued for sessions without a connection
    /// (mosquitto's `queue_qos0_messages`).
    pub queue_qos0: bool,
    /// Retained messages. At the bound: a new topic's message is delivered but not retained.
    pub retained_messages_max: u32,
    /// Bytes of retained topics and payloads. At the bound: as above.
    pub retained_bytes_max: u64,
    /// Subscriptions of one session. At the bound: SUBACK 0x80 for the filter.
    pub subscriptions_per_session_max: u32,
    /// Sessions, connected or not. At the bound: CONNACK 0x03.
    pub sessions_max: u32,
    /// QoS 2 ids received from one client and not yet released. At the bound: the connection
    /// closes.
    pub received_max: u16,
    /// Longest Keep Alive granted, in seconds; a client that asks for more, or for none, is refused
    /// with CONNACK 0x02 as mosquitto does. 0 is no bound.
    pub keep_alive_max_s: u16,
    /// Whether an empty client id gets one assigned (else CONNACK 0x02).
    pub allow_zero_length_client_id: bool,
    /// What an assigned client id begins with.
    pub auto_id_prefix: Box<str>,
    /// How long a session without a connection is kept, in seconds. 0 is for ever.
    pub session_expiry_s: u64,
    /// Seconds between updates of `$SYS`. 0 is never.
    pub sys_interval_s: u32,
    /// Whether retained topics below `$SYS/broker/martlet/clients` say which sessions there are,
    /// and which of them are connected.
    pub sys_clients: bool,
    /// Seed of the hash tables, so that nobody can choose topics that collide.
    pub hash_seed: u64,
    /// By what bridges of other brokers know this one: another number at each start, so that a copy
    /// of a broker's folder is no other's double.
    pub broker_id: u64,
    /// What `$SYS/broker/version` says.
    pub version_text: Box<str>,
}

impl Default for Limits {
    /// What mosquitto has without a configuration, but for the window at QoS 1, and bounds where
    /// it has none.
    fn default() -> Self {
        Self {
            inflight_max: 256,
            inflight_qos2_max: 20,
            inflight_bytes_max: 0,
            queue_messages_max: 1000,
            queue_bytes_max: 0,
            all_queues_bytes_max: 0,
            queue_qos0: false,
            retained_messages_max: 1_000_000,
            retained_bytes_max: 1 << 30,
            subscriptions_per_session_max: 10_000,
            sessions_max: 1_000_000,
            received_max: 1000,
            keep_alive_max_s: 0,
            allow_zero_length_client_id: true,
            auto_id_prefix: "auto-".into(),
            session_expiry_s: 0,
            sys_interval_s: 10,
            sys_clients: false,
            hash_seed: 0,
            broker_id: 0,
            version_text: concat!("martlet version ", env!("CARGO_PKG_VERSION")).into(),
        }
    }
}
