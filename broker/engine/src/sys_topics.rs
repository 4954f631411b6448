//! `$SYS`: what the broker says of itself, under mosquitto's names.

use std::fmt::Write;

use martlet_codec::reason::QoS;
use martlet_codec::topic::TopicName;

use crate::Engine;
use crate::counters::Bound;
use crate::effects::Effects;
use crate::figures::FIGURES;
use crate::input::Time;
use crate::limits::Limits;
use crate::loads::Loads;
use crate::message::Message;

/// When `$SYS` was last published, and with which values.
pub(crate) struct SysTopics {
    started: Time,
    interval_ms: u64,
    next: Time,
    last: Time,
    /// By figure; empty before the first time.
    published: Vec<u64>,
    loads: Loads,
}

/// The longest topic that there is.
const TOPIC_BYTES_MAX: usize = 65_535;

impl SysTopics {
    pub(crate) fn new(limits: &Limits, now: Time) -> Self {
        Self {
            started: now,
            interval_ms: u64::from(limits.sys_interval_s) * 1000,
            next: now,
            last: now,
            published: Vec::new(),
            loads: Loads::default(),
        }
    }

    pub(crate) fn change_interval(&mut self, limits: &Limits, now: Time) {
        let interval_ms = u64::from(limits.sys_interval_s) * 1000;
        if interval_ms != self.interval_ms {
            self.interval_ms = interval_ms;
            self.next = self.after(now);
        }
    }

    pub(crate) fn next(&self) -> Option<Time> {
        (self.interval_ms != 0).then_some(self.next)
    }

    /// The next whole multiple of the interval: brokers with the same clock speak together, and
    /// at full seconds.
    fn after(&self, now: Time) -> Time {
        let passed = now.0.checked_rem(self.interval_ms).unwrap_or(0);
        Time(now.0 - passed + self.interval_ms)
    }
}

impl Engine {
    /// When the numbers that only the driver knows are wanted next.
    pub fn totals_wanted(&self) -> Option<Time> {
        self.sys_topics.next()
    }

    /// Publishes what has changed, retained, at QoS 0 and never on disk.
    pub(crate) fn publish_sys_topics(&mut self, fx: &mut Effects) {
        if self.sys_topics.next().is_none_or(|next| next > self.now) {
            return;
        }
        self.sys_topics.next = self.sys_topics.after(self.now);
        let first = self.sys_topics.published.is_empty();
        if first {
            let version = self.limits.version_text.clone();
            self.publish_sys("$SYS/broker/version", &version, fx);
            let damage = self.counters.store.damage.join("\n");
            if !damage.is_empty() {
                self.publish_sys("$SYS/broker/martlet/store/damage", &damage, fx);
            }
            self.tell_all_sessions(fx);
        }
        let uptime_s = (self.now.0 - self.sys_topics.started.0) / 1000;
        self.publish_sys("$SYS/broker/uptime", &format!("{uptime_s} seconds"), fx);
        let last = std::mem::replace(&mut self.sys_topics.last, self.now);
        #[expect(clippy::cast_precision_loss, reason = "milliseconds between two updates")]
        let passed_s = (self.now.0 - last.0) as f64 / 1000.0;
        for (topic, text) in self.sys_topics.loads.step(&self.counters, passed_s, first) {
            self.publish_sys(&topic, &text, fx);
        }
        let values = self.values();
        let before = std::mem::take(&mut self.sys_topics.published);
        for (at, value) in values.iter().enumerate() {
            if before.get(at) != Some(value) {
                self.publish_sys(&topic_at(at), &value.to_string(), fx);
            }
        }
        self.sys_topics.published = values;
    }

    /// The numbers of [`FIGURES`], then the losses by bound.
    fn values(&self) -> Vec<u64> {
        let gauges = self.gauges();
        let values = FIGURES.iter().map(|figure| (figure.value)(&self.counters, &gauges));
        let dropped = Bound::ALL.iter().map(|&bound| self.counters.dropped(bound));
        values.chain(dropped).collect()
    }

    /// A session has a connection, has none, or (`None`) is no more: a retained topic says so, and
    /// is gone with it.
    pub(crate) fn tell_session(&mut self, client_id: &str, state: Option<bool>, fx: &mut Effects) {
        if !self.limits.sys_clients || self.stopping {
            return;
        }
        let topic = topic_of_session(client_id);
        if topic.len() <= TOPIC_BYTES_MAX {
            let text = state.map_or("", |connected| if connected { "1" } else { "0" });
            self.publish_sys(&topic, text, fx);
        }
    }

    /// From here on sessions are told of, or not any more.
    pub(crate) fn change_telling(&mut self, told: bool, fx: &mut Effects) {
        let tells = self.limits.sys_clients;
        if told && !tells {
            self.limits.sys_clients = true; // once more
            for (client_id, _) in self.all_sessions() {
                self.tell_session(&client_id, None, fx);
            }
            self.limits.sys_clients = false;
        } else if tells && !told {
            self.tell_all_sessions(fx);
        }
    }

    fn tell_all_sessions(&mut self, fx: &mut Effects) {
        if self.limits.sys_clients {
            for (client_id, connected) in self.all_sessions() {
                self.tell_session(&client_id, Some(connected), fx);
            }
        }
    }

    fn all_sessions(&self) -> Vec<(std::sync::Arc<str>, bool)> {
        let sessions = self.sessions.iter();
        sessions.map(|(_, s)| (s.client_id.clone(), s.attached().is_some())).collect()
    }

    fn publish_sys(&mut self, topic: &str, text: &str, fx: &mut Effects) {
        let topic = TopicName::from_validated(topic.as_bytes());
        let message = Message::new(topic, text.as_bytes(), QoS::AtMostOnce, true);
        self.route(&message, fx);
    }
}

/// The topics of [`Engine::values`].
fn topic_at(at: usize) -> String {
    match FIGURES.get(at) {
        Some(figure) => figure.topic.into(),
        None => Bound::ALL[at - FIGURES.len()].topic(),
    }
}

/// A client id as one level of a topic: `%` and two hexadecimal digits stand for what a level
/// cannot hold.
fn topic_of_session(client_id: &str) -> String {
    let mut topic = String::from("$SYS/broker/martlet/clients/");
    for c in client_id.chars() {
        if matches!(c, '%' | '/' | '+' | '#') {
            // Writing to text does not fail.
            let _ = write!(topic, "%{:02X}", u32::from(c));
        } else {
            topic.push(c);
        }
    }
    topic.push_str("/state");
    topic
}
