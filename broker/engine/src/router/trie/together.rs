//! Walks for many topics at once, all of them one level after the other: the machine then fetches
//! many lines of memory at a time, for each of which one walk would have to wait.

use std::hint::black_box;

use martlet_codec::topic::TopicName;

use crate::router::trie::{NodeId, ROOT, Trie, first_level};

/// Where a walk is: at a node, with the levels of its topic that are still to come, if any are.
struct Step<'t> {
    /// Of which topic, by its number.
    topic: usize,
    node: NodeId,
    /// What the node is if it is the right one: that is seen once its line is there.
    above: NodeId,
    level: &'t [u8],
    rest: Option<&'t [u8]>,
}

/// A step to a child.
struct Next<'t> {
    child: Child,
    step: Step<'t>,
}

/// How a child is known.
enum Child {
    Found,
    /// Stands in the table, if there is one.
    Hashed(u64),
}

/// Steps at a time beyond which walks go alone: what came first would be out of the caches again.
const STEPS_MAX: usize = 1024;

impl Trie {
    /// Tells `matching` of every filter that matches one of these topics: of each topic in the
    /// order in which [`walk`](Self::walk) visits them. `false`: it did not come to an end.
    pub(in crate::router) fn walk_together<'t>(
        &self,
        topics: impl Iterator<Item = TopicName<'t>>,
        mut matching: impl FnMut(usize, NodeId),
    ) -> bool {
        let (mut next, mut ends) = (Vec::new(), Vec::new());
        let mut steps: Vec<_> =
            topics.enumerate().map(|(at, topic)| from_root(at, topic)).collect();
        while !steps.is_empty() {
            if steps.len() > STEPS_MAX {
                return false;
            }
            self.touch(steps.iter().map(|step| step.node).chain(ends.drain(..)));
            for step in steps.drain(..) {
                let Some(node) = self.verify(&step) else { continue };
                self.look_below(&Step { node, ..step }, &mut next, |topic, end, is_new| {
                    matching(topic, end);
                    ends.extend(is_new.then_some(end));
                });
            }
            self.touch_lines(&next);
            steps.extend(next.drain(..).filter_map(|next| self.step_to(next)));
        }
        self.touch(ends.into_iter());
        true
    }

    /// Fetches these nodes: nothing here depends on what is in them, so that none has to wait for
    /// the one before it.
    fn touch(&self, nodes: impl Iterator<Item = NodeId>) {
        black_box(nodes.fold(0, |sum, node| sum ^ self.nodes[node.slot()].named));
    }

    /// The same for the lines in which children are looked up.
    fn touch_lines(&self, next: &[Next<'_>]) {
        black_box(next.iter().fold(0, |sum, next| match next.child {
            Child::Found => sum,
            Child::Hashed(hash) => sum ^ self.children.touch(hash),
        }));
    }

    /// The node that a step leads to, which is another one than its hash says now and then.
    fn verify(&self, step: &Step<'_>) -> Option<NodeId> {
        let node = &self.nodes[step.node.slot()];
        if node.parent == step.above && node.name.as_bytes() == step.level {
            return Some(step.node);
        }
        self.child(step.above, step.level)
    }

    /// Where a walk goes on from here, and where it has come to an end of a filter: whether that is
    /// one that was not come by before.
    fn look_below<'t>(
        &self,
        step: &Step<'t>,
        next: &mut Vec<Next<'t>>,
        mut end: impl FnMut(usize, NodeId, bool),
    ) {
        let (topic, above) = (step.topic, step.node);
        let node = &self.nodes[above.slot()];
        // I9, [MQTT-4.7.2-1]
        let wildcards = above != ROOT || !step.rest.is_some_and(|rest| rest.starts_with(b"$"));
        if let Some(hash) = node.hash.filter(|_| wildcards) {
            end(topic, hash, true); // also behind the last level: a/# matches a
        }
        let Some(rest) = step.rest else { return end(topic, above, false) };
        let level = first_level(rest);
        let rest = rest.get(level.len() + 1..);
        if let Some(node) = node.plus.filter(|_| wildcards) {
            let step = Step { topic, node, above, level: b"+", rest };
            next.push(Next { child: Child::Found, step });
        }
        if node.named > 0 {
            let child = match node.only {
                Some(_) => Child::Found,
                None => Child::Hashed(self.hash(above, level)),
            };
            let step = Step { topic, node: node.only.unwrap_or(ROOT), above, level, rest };
            next.push(Next { child, step });
        }
    }

    /// The child is not compared, since it is not there yet.
    fn step_to<'t>(&self, Next { child, step }: Next<'t>) -> Option<Step<'t>> {
        match child {
            Child::Found => Some(step),
            Child::Hashed(hash) => {
                self.children.find(hash, |_| true).map(|node| Step { node, ..step })
            }
        }
    }
}

fn from_root(topic: usize, name: TopicName<'_>) -> Step<'_> {
    Step { topic, node: ROOT, above: ROOT, level: b"", rest: Some(name.as_bytes()) }
}

#[cfg(test)]
mod tests {
    use martlet_codec::topic::TopicFilter;

    use super::*;

    fn topic(text: &str) -> TopicName<'_> {
        TopicName::new(text.as_bytes()).expect("a topic")
    }

    fn trie_of(filters: &[&str]) -> Trie {
        let mut trie = Trie::new(7);
        for (at, filter) in filters.iter().enumerate() {
            let node = trie.insert(TopicFilter::new(filter.as_bytes()).expect("a filter"));
            trie.streams(node).0 = 1 << at;
        }
        trie
    }

    #[test]
    fn many_walks_together_find_what_each_finds_and_in_the_same_order() {
        let filters = [
            "#",
            "a/#",
            "a/b",
            "a/b/c/#",
            "a/+/c",
            "+/b/+",
            "b/#",
            "c/d",
            "/+",
            "c",
            "+",
            "a/c/d",
            "$x/#",
            "$x/+/y",
            "a/b/c",
            "+/+/+",
            "b/b/c",
            "b/a level with a long name/#",
        ];
        let mut trie = trie_of(&filters);
        let topics = [
            "a",
            "a/b",
            "a/b/c",
            "/",
            "c/d/e",
            "x",
            "$x",
            "$x/a/y",
            "$y",
            "b/b/c",
            "a/b/c/d/e",
            "b/a level with a long name",
            "a/b/c",
            "b/a level with a wrong name",
            "c/d",
        ]
        .map(topic);
        let mut together = vec![Vec::new(); topics.len()];
        let mut note =
            |at: usize, node| together[at].push(trie.nodes[NodeId::slot(node)].streams());
        assert!(trie.walk_together(topics.iter().copied(), &mut note));
        for (topic, together) in topics.into_iter().zip(together) {
            let mut alone = Vec::new();
            trie.walk(topic, |_, _, streams| alone.push(streams));
            assert_eq!(together, alone, "{topic:?}");
        }
    }

    #[test]
    fn more_steps_than_caches_hold_come_to_no_end() {
        let trie = trie_of(&["a/b", "+/b"]);
        let topics = |count| std::iter::repeat_n(topic("a/b"), count);
        assert!(trie.walk_together(topics(STEPS_MAX / 2), |_, _| {}));
        assert!(!trie.walk_together(topics(STEPS_MAX / 2 + 1), |_, _| {}));
    }
}
