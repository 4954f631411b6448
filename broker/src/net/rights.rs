//! Clients of whose rights others know: they are asked before a packet goes to the engine, and the
//! connection reads nothing until they have answered. What every other client sends goes straight
//! on.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use martlet_codec::packet::Delivery;
use martlet_engine::filter::Filter;
use martlet_engine::input::{Connect, InPacket, LostCause};
use martlet_engine::message::Message;
use martlet_engine::permit::{Permission, Permit};
use parking_lot::Mutex;

use crate::access::ask::{Access, Backends};
use crate::access::permit::AskedPermit;
use crate::access::{Policy, Refusal};
use crate::inquiry::{Inquiry, Right};
use crate::net::connection::End;

/// What a client may do, as far as others were asked.
#[derive(Debug)]
pub(super) enum Rights {
    /// They said: everything.
    Everything,
    /// It is asked about one thing at a time.
    Asked(Box<Asker>),
}

/// Who asks for a client.
#[derive(Debug)]
pub(super) struct Asker {
    inquiry: Arc<Inquiry>,
    backends: Backends,
    user: Box<str>,
    client_id: Box<str>,
    standing: Mutex<Standing>,
}

/// What a client was granted.
#[derive(Debug)]
struct Standing {
    /// As the engine has it.
    permit: Arc<AskedPermit>,
    /// What is granted there and was unsubscribed from.
    left: HashSet<Filter>,
}

/// What becomes of a packet.
pub(super) enum Fate {
    /// It goes to the engine.
    Goes,
    /// It goes there, and this permit before it.
    GoesWith(Permission),
    /// It goes there as one that is denied.
    Denied,
    /// Nobody says whether it may; to acknowledge it would be to lose it.
    Unknown,
    /// It waits for an answer to these questions.
    Waits(Vec<(Box<str>, Access)>),
}

/// Answers to what one packet had waited for, each to the topic that was asked about. `None`: there
/// was none.
#[derive(Debug, Default)]
pub(super) struct Heard(Vec<(Box<str>, Option<bool>)>);

/// Somebody is being asked.
pub(super) struct Pending(Pin<Box<dyn Future<Output = Heard> + Send>>);

/// Subscriptions of one session that are asked about when its client comes back. Beyond them: it
/// does not receive what the others bring until it subscribes anew.
const RESUMED_MAX: usize = 1000;

/// Filters that are granted to one client at a time, beside what its rules give. Beyond them: it is
/// refused more until it unsubscribes.
const GRANTED_MAX: usize = 100_000;

/// Grants that are kept in any case although they are not needed any more.
const LEFT_MIN: usize = 32;

impl Rights {
    /// Asks what must be known before a client is in: whether it may do everything, else whether it
    /// may publish its will, and receive what it has subscribed to before.
    pub(super) async fn inquire(
        inquiry: Arc<Inquiry>,
        policy: &Policy,
        connect: &Connect,
        client_id: &str,
        resumed: Vec<Filter>,
    ) -> Result<Self, Refusal> {
        let backends = policy.settings().backends;
        let user = connect.user_name.as_deref().unwrap_or_default();
        if inquiry.is_superuser(backends, user).await == Ok(true) {
            return Ok(Self::Everything);
        }
        let (user, client_id) = (Box::from(user), Box::from(client_id));
        let mut permit = policy.asked_permit(&user, None);
        let first = Standing::new(policy.asked_permit(&user, None));
        let standing = Mutex::new(first);
        let asker = Asker { inquiry, backends, user, client_id, standing };
        let mut granted = Vec::new();
        for filter in resumed.into_iter().take(RESUMED_MAX) {
            let topic = filter.topic_filter();
            if asker.may(topic.as_str(), Access::Subscribe).await? {
                granted.push(filter);
            }
        }
        permit = permit.granting(&granted);
        if let Some(will) = connect.will.as_ref().map(|will| will.topic())
            && !permit.allows_unasked(&asker.client_id, will)
            && !asker.may(will.as_str(), Access::Write).await?
        {
            permit = permit.refusing_will(will.as_str());
        }
        *asker.standing.lock() = Standing::new(permit);
        Ok(Self::Asked(Box::new(asker)))
    }

    /// What the engine is told.
    pub(super) fn permission(&self) -> Permission {
        match self {
            Self::Everything => None,
            Self::Asked(asker) => asker.standing.lock().permission(),
        }
    }

    /// The rules of the policy have changed.
    pub(super) fn renew(&self, policy: &Policy) -> Permission {
        if let Self::Asked(asker) = self {
            let permit = &mut asker.standing.lock().permit;
            *permit = Arc::new(policy.asked_permit(&asker.user, Some(permit)));
        }
        self.permission()
    }

    /// Decides on a packet, if it can be decided on.
    pub(super) fn judge(&self, packet: &InPacket, heard: &Heard) -> Fate {
        match (self, packet) {
            (Self::Asked(asker), InPacket::Publish { message, delivery }) => {
                asker.judge_publish(message, *delivery, heard)
            }
            (Self::Asked(asker), InPacket::Subscribe { subscriptions, .. }) => {
                let filters = subscriptions.iter().map(|(filter, _)| filter);
                asker.judge_filters(filters, heard)
            }
            (Self::Asked(asker), InPacket::Unsubscribe { filters, .. }) => {
                asker.standing.lock().leave(filters)
            }
            _ => Fate::Goes,
        }
    }

    /// Begins to ask.
    pub(super) fn ask(self: &Arc<Self>, questions: Vec<(Box<str>, Access)>) -> Pending {
        let rights = Arc::clone(self);
        Pending(Box::pin(async move {
            let Self::Asked(asker) = &*rights else { return Heard::default() };
            let mut heard = Vec::new();
            for (topic, access) in questions {
                let answer = asker.may(&topic, access).await.ok();
                heard.push((topic, answer));
            }
            Heard(heard)
        }))
    }
}

impl Asker {
    fn judge_publish(&self, message: &Message, delivery: Delivery, heard: &Heard) -> Fate {
        if self.standing.lock().permit.allows_unasked(&self.client_id, message.topic()) {
            return Fate::Goes;
        }
        let topic = message.topic().as_str();
        let known = || self.known(topic, Access::Write).map(Some);
        match heard.about(topic).or_else(known) {
            Some(Some(true)) => Fate::Goes,
            Some(Some(false)) => Fate::Denied,
            Some(None) if delivery == Delivery::AtMostOnce => Fate::Denied,
            Some(None) => Fate::Unknown,
            None => Fate::Waits(vec![(topic.into(), Access::Write)]),
        }
    }

    fn judge_filters<'a>(&self, filters: impl Iterator<Item = &'a Filter>, heard: &Heard) -> Fate {
        let mut standing = self.standing.lock();
        let (mut granted, mut waits) = (Vec::new(), Vec::new());
        for filter in filters {
            if standing.permit.may_subscribe(&self.client_id, filter) {
                standing.left.remove(filter);
                continue;
            }
            let topic = filter.topic_filter();
            let known = || self.known(topic.as_str(), Access::Subscribe).map(Some);
            match heard.about(topic.as_str()).or_else(known) {
                Some(Some(true)) => granted.push(filter.clone()),
                // The engine refuses what is not granted, and counts it.
                Some(_) => {}
                None => waits.push((topic.as_str().into(), Access::Subscribe)),
            }
        }
        if !waits.is_empty() {
            return Fate::Waits(waits);
        }
        granted.truncate(GRANTED_MAX.saturating_sub(standing.granted()));
        if granted.is_empty() {
            return Fate::Goes;
        }
        standing.permit = Arc::new(standing.permit.granting(&granted));
        Fate::GoesWith(standing.permission())
    }

    fn right<'a>(&'a self, topic: &'a str, access: Access) -> Right<'a> {
        Right { user: &self.user, client_id: &self.client_id, topic, access }
    }

    fn known(&self, topic: &str, access: Access) -> Option<bool> {
        self.inquiry.known_right(self.backends, &self.right(topic, access))
    }

    async fn may(&self, topic: &str, access: Access) -> Result<bool, Refusal> {
        let answer = self.inquiry.right(self.backends, &self.right(topic, access)).await;
        answer.map_err(|_| Refusal::NoAnswer)
    }
}

impl Standing {
    fn new(permit: AskedPermit) -> Self {
        Self { permit: Arc::new(permit), left: HashSet::new() }
    }

    fn permission(&self) -> Permission {
        Some(Arc::clone(&self.permit) as _)
    }

    /// Filters that are granted and may still be in use.
    fn granted(&self) -> usize {
        self.permit.grants() - self.left.len()
    }

    /// The client unsubscribes from these. When half of what is granted is not in use any more that
    /// half is withdrawn at once, so that leaving one filter costs little.
    fn leave(&mut self, filters: &[Filter]) -> Fate {
        let granted = filters.iter().filter(|filter| self.permit.has_granted(filter));
        self.left.extend(granted.cloned());
        if self.left.len() < LEFT_MIN.max(self.granted()) {
            return Fate::Goes;
        }
        self.permit = Arc::new(self.permit.withdrawing(&self.left));
        self.left.clear();
        Fate::GoesWith(self.permission())
    }
}

impl Heard {
    /// How many questions found no answer.
    pub(super) fn unanswered(&self) -> u64 {
        self.0.iter().filter(|(_, answer)| answer.is_none()).count() as u64
    }

    fn about(&self, topic: &str) -> Option<Option<bool>> {
        self.0.iter().find(|(asked, _)| **asked == *topic).map(|(_, answer)| *answer)
    }
}

impl Pending {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Heard> {
        Poll::Ready(ready!(self.0.as_mut().poll(cx)))
    }
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pending")
    }
}

/// The end of a connection whose message nobody decides on: its client has no acknowledgement, and
/// sends it again.
pub(super) fn undecided() -> End {
    End::Lost(LostCause::LetGo { reason: "nobody answers whether it may publish" })
}

/// The packet as the engine takes one that is denied.
pub(super) fn denied(packet: InPacket) -> InPacket {
    match packet {
        InPacket::Publish { message, delivery } => InPacket::DeniedPublish { message, delivery },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Settings;

    fn filter(number: usize) -> Filter {
        Filter::parse(&format!("a/{number}")).expect("a filter")
    }

    #[test]
    fn what_is_left_is_withdrawn_in_time() {
        let policy = Policy::load(&Settings::default()).expect("no files");
        let kept: Vec<Filter> = (0..100).map(filter).collect();
        let permit = policy.asked_permit("ann", None).granting(&kept);
        let mut standing = Standing::new(permit);
        let mut withdrawn = 0;
        for number in 100..1100 {
            standing.permit = Arc::new(standing.permit.granting(&[filter(number)]));
            let fate = standing.leave(&[filter(number), filter(0), filter(5000)]);
            withdrawn += usize::from(matches!(fate, Fate::GoesWith(_)));
            assert!(standing.permit.grants() <= 2 * kept.len());
        }
        assert_eq!(withdrawn, 10, "much at a time");
        assert!(kept[1..].iter().all(|filter| standing.permit.has_granted(filter)));
        standing.leave(&kept);
        assert_eq!((standing.granted(), standing.permit.grants()), (0, 0));
    }
}
