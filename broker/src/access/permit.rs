//! What one user's clients may do, in the form in which the engine asks.

use std::sync::Arc;

use martlet_codec::topic::TopicName;
use martlet_engine::filter::Filter;
use martlet_engine::permit::Permit;

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
#[derive(Debug)]
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
