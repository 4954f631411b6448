//! `martlet why`: who lets a client do something, or keeps it from that.

use std::sync::Arc;

use clap::{Args, ValueEnum};
use martlet_codec::topic::TopicName;
use martlet_engine::filter::Filter;

use crate::access::Policy;
use crate::access::ask::{Backend, Service};
use crate::access::rules::{Question, Who};
use crate::access::why::{Reason, questions, why, why_bearer};
use crate::clock;
use crate::config::{Config, Mistake, Mistakes};
use crate::inquiry::Settings;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(super) struct Why {
    /// The client id.
    #[arg(long, value_name = "ID", default_value = "")]
    client: String,
    /// The user name; without it the client is anonymous.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// A token instead, which says who its bearer is.
    #[arg(long, value_name = "TOKEN", conflicts_with = "user")]
    token: Option<String>,
    /// What the client wants to do.
    #[arg(value_enum)]
    verb: Verb,
    /// The topic, or with `subscribe` the topic filter.
    topic: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Verb {
    /// Publish to the topic.
    Publish,
    /// Subscribe to the filter.
    Subscribe,
    /// Get what others publish to the topic.
    Receive,
}

impl Why {
    /// The answer of each listener, a line each, and whether it is a yes everywhere.
    pub(super) fn answer(&self, config: &Config) -> Result<(String, bool), Mistakes> {
        let filter = self.filter()?;
        let question = match self.verb {
            Verb::Publish => Question::Publish(&self.topic),
            Verb::Receive => Question::Receive(&self.topic),
            Verb::Subscribe => Question::Subscribe(filter.topic_filter().as_str()),
        };
        let who = Who { client_id: &self.client, user: self.user.as_deref() };
        let listeners = &config.server.listeners;
        let mut answers = Vec::new();
        for (at, (_, policy)) in listeners.iter().enumerate() {
            let same = |other: &Arc<_>| Arc::ptr_eq(other, policy);
            if listeners[..at].iter().any(|(_, earlier)| same(earlier)) {
                continue;
            }
            let places = listeners.iter().filter(|(_, other)| same(other));
            let places: Vec<_> = places.map(|(settings, _)| settings.address.to_string()).collect();
            let reason = match &self.token {
                Some(token) => {
                    let now_s = clock::wall_s();
                    why_bearer(policy, who.client_id, token.trim(), now_s, question)
                }
                None => why(policy, who, question),
            };
            let asked = Self::asked(config, policy, who, question);
            let reason = if reason.asks { Reason { text: asked, ..reason } } else { reason };
            answers.push((places.join(", "), reason));
        }
        let allowed = answers.iter().all(|(_, reason)| reason.allowed);
        let line = |(places, reason): &(String, Reason)| {
            let word = match (reason.allowed, reason.asks) {
                (true, _) => "allowed",
                (false, true) => "would be asked",
                (false, false) => "refused",
            };
            format!("{places}: {word}: {}\n", reason.text)
        };
        Ok((answers.iter().map(line).collect(), allowed))
    }

    /// What the services of a listener would be asked.
    fn asked(config: &Config, policy: &Policy, who: Who<'_>, question: Question<'_>) -> String {
        let Some(inquiry) = &config.server.inquiry else { return String::new() };
        let Settings { http, jwt, ask_read, .. } = inquiry.settings();
        let backends = policy.settings().backends;
        let named = [(Backend::Http, http), (Backend::Jwt, jwt)];
        let named = named.into_iter().filter(|(backend, _)| backends.has(*backend));
        let services: Vec<&Service> = named.filter_map(|(_, service)| service.as_ref()).collect();
        questions(&services, *ask_read, who, question).join("; ")
    }

    /// The topic, checked as the verb wants it.
    fn filter(&self) -> Result<Filter, Mistakes> {
        let wrong = |what, error: &dyn std::fmt::Display| {
            let text = format!("{:?} is no topic {what}: {error}", self.topic);
            Mistakes(vec![Mistake::on_command_line("TOPIC", text)])
        };
        if self.verb != Verb::Subscribe {
            TopicName::new(self.topic.as_bytes()).map_err(|error| wrong("name", &error))?;
        }
        Filter::parse(&self.topic).map_err(|error| wrong("filter", &error))
    }
}
