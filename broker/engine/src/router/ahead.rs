//! What was looked up ahead, for many messages together.

use martlet_codec::topic::TopicName;

use crate::router::trie::{NodeId, Trie};

/// Topics that take more are seldom.
const NAMES_BYTES_KEPT: usize = 16 * 1024;

/// Topics for which more filters are found are looked up one by one.
const MATCHES_MAX: usize = 16 * 1024;

/// Filters that match the topics of messages that come next. Kept and filled again.
#[derive(Default)]
pub(super) struct Ahead {
    /// Of the subscriptions that they were found in.
    generation: u64,
    names: Vec<u8>,
    topics: Vec<Topic>,
    /// Those before it have come.
    at: usize,
    matches: Vec<Match>,
}

struct Topic {
    /// Where its name ends among the names.
    end: usize,
    first: Option<usize>,
    last: Option<usize>,
}

/// A filter that matches a topic, and where the next one stands that does.
struct Match {
    node: NodeId,
    next: Option<usize>,
}

impl Ahead {
    /// Looks up these topics.
    pub(super) fn fill<'t>(
        &mut self,
        trie: &Trie,
        generation: u64,
        topics: impl Iterator<Item = TopicName<'t>> + Clone,
    ) {
        self.clear();
        self.generation = generation;
        for topic in topics.clone() {
            self.names.extend_from_slice(topic.as_bytes());
            self.topics.push(Topic { end: self.names.len(), first: None, last: None });
        }
        let walked = trie.walk_together(topics, |topic, node| self.add(topic, node));
        if !walked || self.matches.len() == MATCHES_MAX {
            self.clear();
        }
    }

    /// The filters that match this topic, if it was looked up and no subscription has changed since
    /// then. Topics come in the order in which they were looked up; some do not come.
    pub(super) fn take(
        &mut self,
        topic: TopicName<'_>,
        generation: u64,
    ) -> Option<impl Iterator<Item = NodeId>> {
        if self.at == self.topics.len() || self.generation != generation {
            return None;
        }
        let ahead = (self.at..self.topics.len()).find(|&at| self.name(at) == topic.as_bytes())?;
        self.at = ahead + 1;
        let matched = |at: &usize| self.matches[*at].next;
        let all = std::iter::successors(self.topics[ahead].first, matched);
        Some(all.map(|at| self.matches[at].node))
    }

    fn name(&self, at: usize) -> &[u8] {
        let start = at.checked_sub(1).map_or(0, |before| self.topics[before].end);
        &self.names[start..self.topics[at].end]
    }

    fn add(&mut self, topic: usize, node: NodeId) {
        if self.matches.len() == MATCHES_MAX {
            return;
        }
        let (at, topic) = (self.matches.len(), &mut self.topics[topic]);
        self.matches.push(Match { node, next: None });
        match topic.last.replace(at) {
            Some(last) => self.matches[last].next = Some(at),
            None => topic.first = Some(at),
        }
    }

    fn clear(&mut self) {
        self.names.clear();
        self.names.shrink_to(NAMES_BYTES_KEPT);
        self.topics.clear();
        self.matches.clear();
        self.at = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Filter;

    /// Filters all along a topic of many levels match it, each for itself.
    #[test]
    fn topics_with_very_many_filters_are_looked_up_one_by_one() {
        const LEVELS: usize = 300;
        let mut trie = Trie::new(7);
        for level in 0..LEVELS {
            let filter = Filter::parse(&("a/".repeat(level) + "#")).expect("a filter");
            trie.insert(filter.topic_filter());
        }
        let name = "a/".repeat(LEVELS) + "a";
        let topic = TopicName::new(name.as_bytes()).expect("a topic");
        let found = [1, MATCHES_MAX / LEVELS, MATCHES_MAX / LEVELS + 1].map(|topics| {
            let mut ahead = Ahead::default();
            ahead.fill(&trie, 7, std::iter::repeat_n(topic, topics));
            ahead.take(topic, 7).map(Iterator::count)
        });
        assert_eq!(found, [Some(LEVELS), Some(LEVELS), None]);
    }
}
