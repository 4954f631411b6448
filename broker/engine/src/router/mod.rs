//! Who wants a message: filters in a trie, members of shares, and the retained messages.

mod ahead;
mod children;
mod few;
pub(crate) mod retained;
pub(crate) mod shares;
mod trie;

use martlet_codec::reason::QoS;
use martlet_codec::topic::TopicName;

use crate::filter::Filter;
use crate::router::ahead::Ahead;
use crate::router::few::Few;
use crate::router::shares::{ShareId, Shares};
use crate::router::trie::{NodeId, Trie};
use crate::session::SessionIndex;
use crate::slab::{Pieces, Slab};

/// A subscription's place in the router, for its session to keep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SubscriptionId(u32);

/// One entry in a filter's or share's list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Subscriber {
    pub(crate) session: SessionIndex,
    pub(crate) qos: QoS,
    id: SubscriptionId,
}

/// Where a subscription stands, so that it is found without a search: 100,000 subscribers of one
/// filter leave it in linear time.
#[derive(Clone, Copy, Debug)]
enum Place {
    Plain { node: NodeId, at: u32 },
    Shared { share: ShareId, at: u32 },
}

type Places = Slab<Place, 1024>;

/// All subscriptions of all sessions.
pub(crate) struct Router {
    trie: Trie,
    pub(crate) shares: Shares,
    places: Places,
    shared: u64,
    stamps: Stamps,
    ahead: Ahead,
    /// Counts the changes of all subscriptions.
    generation: u64,
}

/// Who wants one message. Kept by the caller and used again, so that routing does not allocate, and
/// so that messages to one topic, which often come one behind the other, are looked up once.
#[derive(Default)]
pub(crate) struct Found {
    topic: Vec<u8>,
    /// Of the subscriptions that it was found in; 0: none.
    generation: u64,
    /// Each session once, with the highest granted QoS of its matching subscriptions
    /// [MQTT-3.3.5-1].
    pub(crate) sessions: Vec<(SessionIndex, QoS)>,
    /// Each share with a matching filter.
    pub(crate) shares: Vec<ShareId>,
    /// The streams of the log that want it.
    pub(crate) streams: StreamSet,
}

/// Levels of filters beyond which most are in no cache of the machine: a MiB of them.
const MANY_LEVELS: usize = 16 * 1024;

/// Streams of the log, by their places in the list of all.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct StreamSet(u64);

impl StreamSet {
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The places, in order.
    pub(crate) fn iter(self) -> impl Iterator<Item = usize> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let at = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
            rest &= rest - 1;
            Some(at)
        })
    }

    fn with(self, at: usize) -> Self {
        Self(self.0 | 1 << at)
    }

    fn without(self, at: usize) -> Self {
        Self(self.0 & !(1 << at))
    }

    fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Which sessions stand in [`Found`] already: a mark by session that holds for one round, so that
/// nothing is sorted, hashed or cleared.
#[derive(Default)]
struct Stamps {
    round: u64,
    /// By session: in which round it was last found, and where it stands.
    found: Pieces<(u64, u32), 1024>,
}

impl Router {
    pub(crate) fn new(hash_seed: u64) -> Self {
        Self {
            trie: Trie::new(hash_seed),
            shares: Shares::new(hash_seed),
            places: Slab::new(),
            shared: 0,
            stamps: Stamps::default(),
            ahead: Ahead::default(),
            generation: 1,
        }
    }

    /// A new subscription: the session has none with this filter.
    pub(crate) fn subscribe(
        &mut self,
        filter: &Filter,
        session: SessionIndex,
        qos: QoS,
    ) -> SubscriptionId {
        self.generation += 1;
        let number = self.places.next_number();
        let id = SubscriptionId(u32::try_from(number).expect("under 2^32 subscriptions"));
        let subscriber = Subscriber { session, qos, id };
        let node = self.trie.insert(filter.topic_filter());
        let place = if filter.share().is_some() {
            self.shared += 1;
            let share = match self.shares.find(filter) {
                Some(share) => share,
                None => {
                    let at = self.trie.shares(node).len();
                    let share = self.shares.create(filter, node, at);
                    self.trie.shares(node).push(share);
                    share
                }
            };
            Place::Shared { share, at: push(self.shares.members(share), subscriber) }
        } else {
            Place::Plain { node, at: push(self.trie.subscribers(node), subscriber) }
        };
        let inserted = self.places.insert(place);
        debug_assert_eq!(inserted, number);
        self.stamps.make_place(session);
        id
    }

    /// The same subscription at another QoS.
    pub(crate) fn change_qos(&mut self, id: SubscriptionId, qos: QoS) {
        self.generation += 1;
        let (list, at) = match self.places[id.0 as usize] {
            Place::Plain { node, at } => (self.trie.subscribers(node), at),
            Place::Shared { share, at } => (self.shares.members(share), at),
        };
        list.as_mut_slice()[at as usize].qos = qos;
    }

    /// Ends a subscription.
    pub(crate) fn unsubscribe(&mut self, id: SubscriptionId) {
        self.generation += 1;
        match self.places.remove(id.0 as usize) {
            Place::Plain { node, at } => {
                remove(self.trie.subscribers(node), at, &mut self.places);
                self.trie.prune(node);
            }
            Place::Shared { share, at } => {
                self.shared -= 1;
                remove(self.shares.members(share), at, &mut self.places);
                if self.shares.members(share).is_empty() {
                    let (node, at) = self.shares.remove(share);
                    self.trie.shares(node).swap_remove(at);
                    if let Some(&moved) = self.trie.shares(node).get(at) {
                        self.shares.move_to(moved, at);
                    }
                    self.trie.prune(node);
                }
            }
        }
    }

    /// The session ended, and its subscriptions.
    pub(crate) fn forget(&mut self, session: SessionIndex) {
        self.stamps.found.take(session.slot());
    }

    /// Finds who wants a message to `topic` [MQTT-3.3.2-3].
    pub(crate) fn find(&mut self, topic: TopicName<'_>, found: &mut Found) {
        if found.generation == self.generation && found.topic == topic.as_bytes() {
            return;
        }
        found.generation = self.generation;
        found.topic.clear();
        found.topic.extend_from_slice(topic.as_bytes());
        found.sessions.clear();
        found.shares.clear();
        found.streams = StreamSet::default();
        self.stamps.round += 1;
        let Self { trie, stamps, ahead, .. } = self;
        let mut visit = |subscribers: &[Subscriber], shares: &[ShareId], streams| {
            found.streams = found.streams.union(streams);
            for subscriber in subscribers {
                stamps.add(subscriber, &mut found.sessions);
            }
            found.shares.extend_from_slice(shares);
        };
        match ahead.take(topic, self.generation) {
            Some(nodes) => nodes.for_each(|node| trie.visit(node, &mut visit)),
            None => trie.walk(topic, visit),
        }
    }

    /// Looks up what [`find`](Self::find) will be asked for, if there are so many filters, and
    /// several topics, that it is worth it.
    pub(crate) fn look_ahead<'t>(&mut self, topics: impl Iterator<Item = TopicName<'t>> + Clone) {
        if self.trie.len() >= MANY_LEVELS && topics.clone().nth(1).is_some() {
            self.ahead.fill(&self.trie, self.generation, topics);
        }
    }

    /// The stream at this place wants what matches the filter.
    pub(crate) fn record(&mut self, filter: &Filter, at: usize) {
        self.generation += 1;
        let node = self.trie.insert(filter.topic_filter());
        let streams = self.trie.streams(node);
        *streams = streams.with(at);
    }

    /// The same no longer.
    pub(crate) fn end_recording(&mut self, filter: &Filter, at: usize) {
        self.generation += 1;
        let node = self.trie.insert(filter.topic_filter());
        let streams = self.trie.streams(node);
        *streams = streams.without(at);
        self.trie.prune(node);
    }

    /// How many subscriptions there are, shared ones included.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// How many of them are shared.
    pub(crate) fn shared_len(&self) -> u64 {
        self.shared
    }
}

impl Stamps {
    fn make_place(&mut self, session: SessionIndex) {
        if self.found.get(session.slot()).is_none() {
            self.found.put(session.slot(), (0, 0));
        }
    }

    fn add(&mut self, subscriber: &Subscriber, sessions: &mut Vec<(SessionIndex, QoS)>) {
        let stamp = self.found.get_mut(subscriber.session.slot()).expect("who subscribes has one");
        if stamp.0 == self.round {
            let (_, qos) = &mut sessions[stamp.1 as usize];
            *qos = (*qos).max(subscriber.qos);
        } else {
            // Under 2^32: each session stands there once.
            *stamp = (self.round, sessions.len() as u32);
            sessions.push((subscriber.session, subscriber.qos));
        }
    }
}

fn push(list: &mut Few<Subscriber>, subscriber: Subscriber) -> u32 {
    list.push(subscriber);
    u32::try_from(list.len() - 1).expect("under 2^32 subscriptions")
}

fn remove(list: &mut Few<Subscriber>, at: u32, places: &mut Places) {
    list.swap_remove(at as usize);
    if let Some(moved) = list.as_slice().get(at as usize) {
        match &mut places[moved.id.0 as usize] {
            Place::Plain { at: place, .. } | Place::Shared { at: place, .. } => *place = at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::SessionIndex;

    #[test]
    fn a_topic_that_comes_again_is_looked_up_again_once_subscriptions_have_changed() {
        let (mut router, mut found) = (Router::new(7), Found::default());
        let topic = TopicName::new(b"a/b").expect("a topic");
        let filter = |text| Filter::parse(text).expect("a filter");
        let session = SessionIndex::at_slot;
        let mut find = |router: &mut Router| {
            router.find(topic, &mut found);
            let qos = found.sessions.iter().map(|(index, qos)| (index.slot(), qos.get()));
            (qos.collect::<Vec<_>>(), found.shares.len(), found.streams.iter().count())
        };
        assert_eq!(find(&mut router), (vec![], 0, 0));
        let plain = router.subscribe(&filter("a/+"), session(3), QoS::AtMostOnce);
        assert_eq!(find(&mut router), (vec![(3, 0)], 0, 0));
        assert_eq!(find(&mut router), (vec![(3, 0)], 0, 0), "nothing has changed");
        router.change_qos(plain, QoS::ExactlyOnce);
        assert_eq!(find(&mut router), (vec![(3, 2)], 0, 0));
        let shared = router.subscribe(&filter("$share/g/#"), session(4), QoS::AtMostOnce);
        assert_eq!(find(&mut router), (vec![(3, 2)], 1, 0));
        router.unsubscribe(plain);
        assert_eq!(find(&mut router), (vec![], 1, 0));
        router.unsubscribe(shared);
        assert_eq!(find(&mut router), (vec![], 0, 0));
        router.record(&filter("a/#"), 1);
        assert_eq!(find(&mut router), (vec![], 0, 1));
        router.end_recording(&filter("a/#"), 1);
        assert_eq!(find(&mut router), (vec![], 0, 0));
        let other = TopicName::new(b"a/c").expect("a topic");
        router.subscribe(&filter("a/b"), session(5), QoS::AtMostOnce);
        router.find(other, &mut found);
        assert_eq!(found.sessions, []);
        router.find(topic, &mut found);
        assert_eq!(found.sessions, [(session(5), QoS::AtMostOnce)]);
    }

    /// Also where subscriptions change, and where topics come twice or not at all.
    #[test]
    fn what_is_looked_up_ahead_is_what_is_found() {
        let filters: Vec<String> = (0..MANY_LEVELS).map(|n| format!("a/{n}/#")).collect();
        let more = ["#", "a/+/b", "a/7/b", "+/7/+", "a/9/#"].map(str::to_owned);
        let (mut ahead, mut plain) = (Router::new(7), Router::new(7));
        for (slot, text) in (0..).zip(filters.into_iter().chain(more)) {
            let filter = Filter::parse(&text).expect("a filter");
            for router in [&mut ahead, &mut plain] {
                router.subscribe(&filter, SessionIndex::at_slot(slot), QoS::AtMostOnce);
            }
        }
        let text: Vec<String> = (0..40).map(|n| format!("a/{}/b", n % 30)).collect();
        let topics = text.iter().map(|text| TopicName::new(text.as_bytes()).expect("a topic"));
        let (mut one, mut other) = (Found::default(), Found::default());
        let late = Filter::parse("+/+/b").expect("a filter");
        for (at, topic) in topics.clone().enumerate() {
            if at % 20 == 0 {
                ahead.look_ahead(topics.clone().skip(at).take(20));
            }
            if at == 33 {
                for router in [&mut ahead, &mut plain] {
                    router.subscribe(&late, SessionIndex::at_slot(1), QoS::AtLeastOnce);
                }
            }
            if at % 3 == 0 {
                continue; // refused before it was routed
            }
            ahead.find(topic, &mut one);
            plain.find(topic, &mut other);
            assert_eq!(one.sessions, other.sessions, "{topic:?}");
            assert!(one.sessions.len() > 2, "{topic:?}");
        }
    }

    /// Numbers below its session's that nobody has cost it no memory of their own.
    #[test]
    fn the_only_subscriber_may_have_a_high_number() {
        let mut router = Router::new(7);
        let filter = Filter::parse("a").expect("a filter");
        let counted = allocation_counter::measure(|| {
            let session = SessionIndex::at_slot(1_000_000);
            let id = router.subscribe(&filter, session, QoS::AtMostOnce);
            router.unsubscribe(id);
            router.forget(session);
        });
        let count = counted.count_total;
        assert!(count < 50, "{count} allocations");
    }

    /// Fills and empties by turns; a list of all subscriptions says who must be found.
    #[test]
    fn routing_does_what_a_list_of_filters_does() {
        let (mut router, mut found) = (Router::new(7), Found::default());
        let mut all: Vec<(Filter, SessionIndex, SubscriptionId)> = Vec::new();
        let mut state = 7_u64;
        let mut chance = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % below
        };
        for step in 0..10_000 {
            let levels = ["a", "b", "c", "a level with a long name", "+", ""];
            let mut text: Vec<&str> =
                (0..=chance(3)).map(|_| levels[chance(levels.len())]).collect();
            let topic = text.iter().map(|&level| if level == "+" { "d" } else { level });
            let topic = format!("x/{}", topic.collect::<Vec<_>>().join("/"));
            text.extend((chance(4) == 0).then_some("#"));
            let filter = Filter::parse(&format!("x/{}", text.join("/"))).expect("a filter");
            if all.is_empty() || chance(10) < if step / 1000 % 2 == 0 { 7 } else { 3 } {
                let session = SessionIndex::at_slot(chance(2000));
                if !all.iter().any(|(other, of, _)| *of == session && *other == filter) {
                    let id = router.subscribe(&filter, session, QoS::AtMostOnce);
                    all.push((filter, session, id));
                }
            } else {
                let (_, session, id) = all.swap_remove(chance(all.len()));
                router.unsubscribe(id);
                if !all.iter().any(|(_, of, _)| *of == session) {
                    router.forget(session);
                }
            }
            let topic = TopicName::new(topic.as_bytes()).expect("a topic");
            router.find(topic, &mut found);
            let mut sessions: Vec<_> = found.sessions.iter().map(|(session, _)| *session).collect();
            let matching = all.iter().filter(|(filter, ..)| filter.topic_filter().matches(topic));
            let mut wanted: Vec<_> = matching.map(|(_, session, _)| *session).collect();
            sessions.sort();
            wanted.sort();
            wanted.dedup();
            assert_eq!(sessions, wanted, "{topic:?}");
            assert_eq!(router.len(), all.len());
        }
        all.into_iter().for_each(|(.., id)| router.unsubscribe(id));
        assert!(router.trie.is_empty());
    }

    #[test]
    fn what_is_unsubscribed_leaves_nothing() {
        let filters = ["a/b/c", "a/+/c", "a/#", "#", "+", "$share/g/a/b", "$share/h/a/b", "a/b"];
        let filters = filters.map(|text| Filter::parse(text).expect("a filter"));
        // Every rotation of the order of leaving.
        for first in 0..filters.len() {
            let mut router = Router::new(7);
            let mut ids = Vec::new();
            for filter in &filters {
                for session in 0..3 {
                    ids.push(router.subscribe(
                        filter,
                        SessionIndex::at_slot(session),
                        QoS::AtMostOnce,
                    ));
                }
            }
            assert_eq!((router.len(), router.shared_len()), (24, 6));
            ids.rotate_left(3 * first + 1);
            for id in ids {
                router.unsubscribe(id);
            }
            assert_eq!((router.len(), router.shared_len()), (0, 0));
            assert!(router.trie.is_empty());
            assert!(filters.iter().all(|filter| router.shares.find(filter).is_none()));
        }
    }
}
