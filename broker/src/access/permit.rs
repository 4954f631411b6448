//! What one user's clients may do, in the form in which the engine asks.

use std::collections::HashSet;
use std::sync::Arc;

use martlet_codec::topic::TopicName;
use martlet_engine::filter::Filter;
use martlet_engine::permit::Permit;

use crate::access::grants::Grants;
use crate::access::rules::{Part, Question, Rules, Who};
use crate::access::topics::Bits;

/// What happens to a SUBSCRIBE for more than the client may receive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Subscribing {
    /// It is granted, and the client gets what it may receive: as mosquitto does.
    #[default]
    Compat,
    /// It is refused (SUBACK 0x80) unless one line of the file covers all of the filter.
    Strict,
}

/// The lines of an ACL file for one user.
#[derive(Clone, Debug)]
pub(super) struct UserPermit {
    rules: Arc<Rules>,
    part: Option<Arc<Part>>,
    user: Option<Box<str>>,
    subscribing: Subscribing,
}

impl UserPermit {
    pub(super) fn new(rules: &Arc<Rules>, user: Option<&str>, subscribing: Subscribing) -> Self {
        let part = rules.part(user).cloned();
        Self { rules: Arc::clone(rules), part, user: user.map(Box::from), subscribing }
    }

    fn who<'a>(&'a self, client_id: &'a str) -> Who<'a> {
        Who { client_id, user: self.user.as_deref() }
    }

    fn may(&self, client_id: &str, topic: TopicName<'_>, bit: Bits) -> bool {
        self.rules.answer(self.part.as_deref(), self.who(client_id), topic.as_str(), bit)
    }
}

/// What a client may do of whose rights others know, too. The connection asks them before it gives
/// a packet to the engine, which then asks here what was answered.
#[derive(Debug)]
pub struct AskedPermit {
    own: UserPermit,
    /// What it was allowed to subscribe to; it may receive what comes by that.
    granted: Grants,
    /// The topic of its will, if it may not publish there.
    refused_will: Option<Box<str>>,
}

impl AskedPermit {
    pub(super) fn new(own: UserPermit) -> Self {
        Self { own, granted: Grants::default(), refused_will: None }
    }

    /// The same with other rules of its own.
    #[must_use]
    pub(super) fn renewed(&self, own: UserPermit) -> Self {
        let (granted, refused_will) = (self.granted.clone(), self.refused_will.clone());
        Self { own, granted, refused_will }
    }

    /// The same with these filters granted, besides those that are.
    #[must_use]
    pub fn granting(&self, filters: &[Filter]) -> Self {
        self.granted(self.granted.with(filters))
    }

    /// The same without these among what is granted.
    #[must_use]
    pub fn withdrawing(&self, filters: &HashSet<Filter>) -> Self {
        self.granted(self.granted.without(filters))
    }

    fn granted(&self, granted: Grants) -> Self {
        let (own, refused_will) = (self.own.clone(), self.refused_will.clone());
        Self { own, granted, refused_will }
    }

    /// Whether a filter was granted, whatever the rules say.
    pub fn has_granted(&self, filter: &Filter) -> bool {
        self.granted.contains(filter)
    }

    /// How many were.
    pub fn grants(&self) -> usize {
        self.granted.len()
    }

    /// The same without the will.
    #[must_use]
    pub fn refusing_will(self, topic: &str) -> Self {
        Self { refused_will: Some(topic.into()), ..self }
    }

    /// Whether a client may publish there without anybody being asked.
    pub fn allows_unasked(&self, client_id: &str, topic: TopicName<'_>) -> bool {
        self.own.may_publish(client_id, topic)
    }
}

impl Permit for AskedPermit {
    /// What it may not, the connection has said already.
    fn may_publish(&self, _client_id: &str, topic: TopicName<'_>) -> bool {
        self.refused_will.as_deref() != Some(topic.as_str())
    }

    fn may_receive(&self, client_id: &str, topic: TopicName<'_>) -> bool {
        self.own.may_receive(client_id, topic) || self.granted.cover(topic.as_str())
    }

    /// Never more than the rules give, or than was granted: as with go-auth.
    fn may_subscribe(&self, client_id: &str, filter: &Filter) -> bool {
        let question = Question::Subscribe(filter.topic_filter().as_str());
        self.granted.contains(filter)
            || self.own.rules.explain(self.own.who(client_id), question).allowed
    }
}

impl Permit for UserPermit {
    fn may_publish(&self, client_id: &str, topic: TopicName<'_>) -> bool {
        self.may(client_id, topic, Bits::WRITE)
    }

    fn may_receive(&self, client_id: &str, topic: TopicName<'_>) -> bool {
        self.may(client_id, topic, Bits::READ)
    }

    fn may_subscribe(&self, client_id: &str, filter: &Filter) -> bool {
        let question = Question::Subscribe(filter.topic_filter().as_str());
        self.subscribing == Subscribing::Compat
            || self.rules.explain(self.who(client_id), question).allowed
    }
}
