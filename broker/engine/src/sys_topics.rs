//! `$SYS`: what the broker says of itself, under mosquitto's names.

use martlet_codec::reason::QoS;
use martlet_codec::topic::TopicName;

use crate::Engine;
use crate::counters::{Bound, Counters, Gauges};
use crate::effects::Effects;
use crate::input::Time;
use crate::limits::Limits;
use crate::message::Message;

/// When `$SYS` was last published, and with which values.
pub(crate) struct SysTopics {
    started: Time,
    interval_ms: u64,
    next: Time,
    /// By row; empty before the first time.
    published: Vec<u64>,
}

/// One number.
struct Row {
    topic: &'static str,
    value: fn(&Counters, &Gauges) -> u64,
}

const fn row(topic: &'static str, value: fn(&Counters, &Gauges) -> u64) -> Row {
    Row { topic, value }
}

const ROWS: &[Row] = &[
    row("$SYS/broker/clients/total", |_, g| g.sessions),
    row("$SYS/broker/clients/maximum", |c, _| c.connected_max),
    row("$SYS/broker/clients/connected", |_, g| g.connected),
    row("$SYS/broker/clients/active", |_, g| g.connected),
    row("$SYS/broker/clients/disconnected", |_, g| g.sessions - g.connected),
    row("$SYS/broker/clients/inactive", |_, g| g.sessions - g.connected),
    row("$SYS/broker/clients/expired", |c, _| c.sessions_expired),
    row("$SYS/broker/messages/received", |c, _| c.packets_received),
    row("$SYS/broker/messages/sent", |c, _| c.packets_sent),
    row("$SYS/broker/messages/stored", |_, g| g.retained_messages + g.waiting_messages),
    row("$SYS/broker/publish/messages/received", |c, _| c.publishes_received),
    row("$SYS/broker/publish/messages/sent", |c, _| c.publishes_sent),
    row("$SYS/broker/publish/messages/dropped", |c, _| c.messages_dropped()),
    row("$SYS/broker/publish/bytes/received", |c, _| c.publish_bytes_received),
    row("$SYS/broker/publish/bytes/sent", |c, _| c.publish_bytes_sent),
    row("$SYS/broker/bytes/received", |c, _| c.traffic.bytes_received),
    row("$SYS/broker/bytes/sent", |c, _| c.traffic.bytes_sent),
    row("$SYS/broker/martlet/logins/failed", |c, _| c.traffic.logins_failed),
    row("$SYS/broker/martlet/connections/turned_away", |c, _| c.traffic.turned_away),
    row("$SYS/broker/martlet/publishers/slowed", |c, _| c.traffic.publishers_slowed),
    row("$SYS/broker/subscriptions/count", |_, g| g.subscriptions),
    row("$SYS/broker/shared_subscriptions/count", |_, g| g.shared_subscriptions),
    row("$SYS/broker/retained messages/count", |_, g| g.retained_messages),
    row("$SYS/broker/store/messages/count", |_, g| g.retained_messages + g.waiting_messages),
    row("$SYS/broker/store/messages/bytes", |_, g| g.retained_bytes + g.waiting_bytes),
    row("$SYS/broker/martlet/store/damage/count", |c, _| c.store.damage.len() as u64),
    row("$SYS/broker/martlet/store/commits/failed", |c, _| c.store.commits_failed),
    // Unix time; 0: the store works.
    row("$SYS/broker/martlet/store/failing/since", |c, _| {
        c.store.failing_since.map_or(0, |since| since.0 / 1000)
    }),
];

impl SysTopics {
    pub(crate) fn new(limits: &Limits, now: Time) -> Self {
        Self {
            started: now,
            interval_ms: u64::from(limits.sys_interval_s) * 1000,
            next: now,
            published: Vec::new(),
        }
    }

    pub(crate) fn change_interval(&mut self, limits: &Limits, now: Time) {
        let interval_ms = u64::from(limits.sys_interval_s) * 1000;
        if interval_ms != self.interval_ms {
            self.interval_ms = interval_ms;
            self.next = Time(now.0 + interval_ms);
        }
    }

    pub(crate) fn next(&self) -> Option<Time> {
        (self.interval_ms != 0).then_some(self.next)
    }
}

impl Engine {
    /// Publishes what has changed, retained, at QoS 0 and never on disk.
    pub(crate) fn publish_sys_topics(&mut self, fx: &mut Effects) {
        if self.sys_topics.next().is_none_or(|next| next > self.now) {
            return;
        }
        self.sys_topics.next = Time(self.now.0 + self.sys_topics.interval_ms);
        if self.sys_topics.published.is_empty() {
            let version = self.limits.version_text.clone();
            self.publish_sys("$SYS/broker/version", &version, fx);
            let damage = self.counters.store.damage.join("\n");
            if !damage.is_empty() {
                self.publish_sys("$SYS/broker/martlet/store/damage", &damage, fx);
            }
        }
        let uptime_s = (self.now.0 - self.sys_topics.started.0) / 1000;
        self.publish_sys("$SYS/broker/uptime", &format!("{uptime_s} seconds"), fx);
        let gauges = self.gauges();
        let values = ROWS.iter().map(|row| (row.value)(&self.counters, &gauges));
        let dropped = Bound::ALL.iter().map(|&bound| self.counters.dropped(bound));
        let values: Vec<u64> = values.chain(dropped).collect();
        let before = std::mem::take(&mut self.sys_topics.published);
        for (at, value) in values.iter().enumerate() {
            if before.get(at) != Some(value) {
                self.publish_sys(&topic_of_row(at), &value.to_string(), fx);
            }
        }
        self.sys_topics.published = values;
    }

    fn publish_sys(&mut self, topic: &str, text: &str, fx: &mut Effects) {
        let topic = TopicName::from_validated(topic.as_bytes());
        let message = Message::new(topic, text.as_bytes(), QoS::AtMostOnce, true);
        self.route(&message, fx);
    }
}

/// The numbers of [`ROWS`], then the losses by bound.
fn topic_of_row(at: usize) -> String {
    match ROWS.get(at) {
        Some(row) => row.topic.into(),
        None => format!("$SYS/broker/martlet/dropped/{}", Bound::ALL[at - ROWS.len()].name()),
    }
}
