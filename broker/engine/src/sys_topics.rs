//! `$SYS`: what the broker says of itself, under mosquitto's names.

use martlet_codec::reason::QoS;
use martlet_codec::topic::TopicName;

use crate::Engine;
use crate::counters::Bound;
use crate::effects::Effects;
use crate::figures::FIGURES;
use crate::input::Time;
use crate::limits::Limits;
use crate::message::Message;

/// When `$SYS` was last published, and with which values.
pub(crate) struct SysTopics {
    started: Time,
    interval_ms: u64,
    next: Time,
    /// By figure; empty before the first time.
    published: Vec<u64>,
}

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
        let values = FIGURES.iter().map(|figure| (figure.value)(&self.counters, &gauges));
        let dropped = Bound::ALL.iter().map(|&bound| self.counters.dropped(bound));
        let values: Vec<u64> = values.chain(dropped).collect();
        let before = std::mem::take(&mut self.sys_topics.published);
        for (at, value) in values.iter().enumerate() {
            if before.get(at) != Some(value) {
                self.publish_sys(&topic_at(at), &value.to_string(), fx);
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

/// The numbers of [`FIGURES`], then the losses by bound.
fn topic_at(at: usize) -> String {
    match FIGURES.get(at) {
        Some(figure) => figure.topic.into(),
        None => Bound::ALL[at - FIGURES.len()].topic(),
    }
}
