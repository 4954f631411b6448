//! Topic Filters level by level.
//!
//! There may be millions, and where a message goes is then mostly a matter of how many lines of
//! memory are fetched on the way: a node takes one, and has in it what most nodes have.

use std::hash::{BuildHasher, Hasher};
use std::num::NonZeroU32;

use foldhash::fast::FixedState;
use martlet_codec::topic::{TopicFilter, TopicName};
use triomphe::ThinArc;

use crate::router::children::Children;
use crate::router::few::Few;
use crate::router::shares::ShareId;
use crate::router::{StreamSet, Subscriber};
use crate::slab::Slab;

/// A node: one level of one or more filters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NodeId(NonZeroU32);

const ROOT: NodeId = NodeId(NonZeroU32::MIN);

/// The filters. Named levels are found through one table for the whole trie, by parent and name;
/// `+`, `#` and a name that never had a sibling are fields.
pub(super) struct Trie {
    nodes: Nodes,
    children: Children,
    hasher: FixedState,
    /// Kept between walks: nodes to visit, each with where its next topic level begins.
    pending: Vec<(NodeId, u32)>,
}

type Nodes = Slab<Node, 256>;

/// Where a walk is: at a node, with the levels of its topic that are still to come, if any are.
#[derive(Clone, Copy)]
struct Step<'t> {
    node: NodeId,
    rest: Option<&'t [u8]>,
}

/// A child to be looked up, by its hash, and the levels behind it.
#[derive(Clone, Copy)]
struct Named<'t> {
    hash: u64,
    rest: Option<&'t [u8]>,
}

/// Steps beyond which nothing more is fetched ahead: what came first would be out of the caches
/// again.
const STEPS_MAX: usize = 1024;

#[repr(align(64))]
struct Node {
    parent: NodeId,
    /// Children with a name.
    named: u32,
    /// The one of them, if there was never another; it does not stand in the table.
    only: Option<NodeId>,
    plus: Option<NodeId>,
    hash: Option<NodeId>,
    name: Name,
    subscribers: Few<Subscriber>,
    rare: Option<Box<Rare>>,
}

/// What few filters have.
#[derive(Default)]
struct Rare {
    shares: Vec<ShareId>,
    streams: StreamSet,
}

/// A level's name.
enum Name {
    Short { len: u8, bytes: [u8; SHORT_BYTES] },
    Long(ThinArc<(), u8>),
}

/// Bytes of a name that fit into its node.
const SHORT_BYTES: usize = 14;

impl NodeId {
    pub(super) fn of_slot(slot: usize) -> Self {
        let id = u32::try_from(slot).ok().and_then(|slot| ROOT.0.checked_add(slot));
        Self(id.expect("under 2^32 levels"))
    }

    fn slot(self) -> usize {
        self.0.get() as usize - 1
    }
}

impl Name {
    fn new(name: &[u8]) -> Self {
        let mut bytes = [0; SHORT_BYTES];
        match bytes.get_mut(..name.len()) {
            Some(short) => {
                short.copy_from_slice(name);
                Self::Short { len: name.len() as u8, bytes }
            }
            None => Self::Long(ThinArc::from_header_and_slice((), name)),
        }
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short { len, bytes } => &bytes[..usize::from(*len)],
            Self::Long(name) => &name.slice,
        }
    }
}

impl Node {
    fn new(parent: NodeId, name: &[u8]) -> Self {
        Self {
            parent,
            named: 0,
            only: None,
            plus: None,
            hash: None,
            name: Name::new(name),
            subscribers: Few::default(),
            rare: None,
        }
    }

    fn shares(&self) -> &[ShareId] {
        self.rare.as_ref().map_or(&[], |rare| &rare.shares)
    }

    fn streams(&self) -> StreamSet {
        self.rare.as_ref().map_or(StreamSet::default(), |rare| rare.streams)
    }

    fn is_empty(&self) -> bool {
        self.named == 0
            && self.plus.is_none()
            && self.hash.is_none()
            && self.subscribers.is_empty()
            && self.shares().is_empty()
            && self.streams().is_empty()
    }
}

impl Trie {
    pub(super) fn new(hash_seed: u64) -> Self {
        let mut nodes = Nodes::new();
        nodes.insert(Node::new(ROOT, b""));
        Self {
            nodes,
            children: Children::new(),
            hasher: FixedState::with_seed(hash_seed),
            pending: Vec::new(),
        }
    }

    /// The node where this filter ends, made if it is not there. Whoever leaves it empty calls
    /// [`prune`](Self::prune).
    pub(super) fn insert(&mut self, filter: TopicFilter<'_>) -> NodeId {
        filter.levels().fold(ROOT, |node, level| match self.child(node, level) {
            Some(child) => child,
            None => self.add_child(node, level),
        })
    }

    pub(super) fn subscribers(&mut self, node: NodeId) -> &mut Few<Subscriber> {
        &mut self.nodes[node.slot()].subscribers
    }

    pub(super) fn shares(&mut self, node: NodeId) -> &mut Vec<ShareId> {
        &mut self.nodes[node.slot()].rare.get_or_insert_default().shares
    }

    pub(super) fn streams(&mut self, node: NodeId) -> &mut StreamSet {
        &mut self.nodes[node.slot()].rare.get_or_insert_default().streams
    }

    /// Takes this node away if nothing is left on it, and its parents likewise.
    pub(super) fn prune(&mut self, mut node: NodeId) {
        while node != ROOT && self.nodes[node.slot()].is_empty() {
            let Node { parent, name, .. } = self.nodes.remove(node.slot());
            let above = &mut self.nodes[parent.slot()];
            match name.as_bytes() {
                b"+" => above.plus = None,
                b"#" => above.hash = None,
                name => {
                    above.named -= 1;
                    if above.only.take().is_none() {
                        self.children.remove(self.hash(parent, name), node);
                    }
                }
            }
            node = parent;
        }
    }

    /// Visits the list of every filter that matches `topic`. Compares bytes: nothing is normalised
    /// [MQTT-4.7.3-4] or left out [MQTT-1.5.3-3].
    pub(super) fn walk(
        &mut self,
        topic: TopicName<'_>,
        mut visit: impl FnMut(&[Subscriber], &[ShareId], StreamSet),
    ) {
        let bytes = topic.as_bytes();
        let mut visit_id = |nodes: &Nodes, id: NodeId| {
            let node = &nodes[id.slot()];
            visit(node.subscribers.as_slice(), node.shares(), node.streams());
        };
        let mut pending = std::mem::take(&mut self.pending);
        pending.push((ROOT, 0));
        while let Some((id, start)) = pending.pop() {
            let node = &self.nodes[id.slot()];
            // I9, [MQTT-4.7.2-1]
            let wildcards = id != ROOT || !topic.is_dollar();
            if let Some(hash) = node.hash.filter(|_| wildcards) {
                visit_id(&self.nodes, hash); // also behind the last level: a/# matches a
            }
            let start = start as usize;
            if start > bytes.len() {
                visit_id(&self.nodes, id);
                continue;
            }
            let level = first_level(&bytes[start..]);
            let next = (start + level.len() + 1) as u32; // a topic is under 64 KiB
            if let Some(plus) = node.plus.filter(|_| wildcards) {
                pending.push((plus, next));
            }
            if node.named > 0
                && let Some(child) = self.named_child(id, node, level)
            {
                pending.push((child, next));
            }
        }
        self.pending = pending;
    }

    /// How many levels there are.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Looks at the memory that walks of these topics are going to look at, all of them one level
    /// after the other: the machine then fetches many lines at a time, for each of which a walk
    /// would have to wait. Changes nothing.
    pub(super) fn fetch<'t>(&self, topics: impl Iterator<Item = TopicName<'t>>) {
        let from_root = |topic: TopicName<'t>| Step { node: ROOT, rest: Some(topic.as_bytes()) };
        let mut steps: Vec<Step<'t>> = topics.map(from_root).collect();
        let (mut below, mut named) = (Vec::new(), Vec::new());
        while (2..STEPS_MAX).contains(&steps.len()) {
            self.touch(&steps);
            steps.drain(..).for_each(|step| self.look_below(step, &mut below, &mut named));
            self.touch_named(&named);
            below.extend(named.drain(..).filter_map(|child| self.step_to(child)));
            std::mem::swap(&mut steps, &mut below);
        }
    }

    /// Fetches these nodes: nothing here depends on what is in them, so that none has to wait for
    /// the one before it.
    fn touch(&self, steps: &[Step<'_>]) {
        let touched = steps.iter().fold(0, |sum, step| sum ^ self.nodes[step.node.slot()].named);
        std::hint::black_box(touched);
    }

    /// The same for where children with a name are looked up.
    fn touch_named(&self, named: &[Named<'_>]) {
        let touched = named.iter().fold(0, |sum, child| sum ^ self.children.touch(child.hash));
        std::hint::black_box(touched);
    }

    /// Where a walk goes on from here: what is known of it at once, and what must be looked up.
    fn look_below<'t>(
        &self,
        Step { node: id, rest }: Step<'t>,
        below: &mut Vec<Step<'t>>,
        named: &mut Vec<Named<'t>>,
    ) {
        let node = &self.nodes[id.slot()];
        below.extend(node.hash.map(|node| Step { node, rest: None }));
        let Some(rest) = rest else { return };
        let level = first_level(rest);
        let rest = rest.get(level.len() + 1..);
        below.extend(node.plus.map(|node| Step { node, rest }));
        match node.only {
            Some(node) => below.push(Step { node, rest }),
            None if node.named > 0 => named.push(Named { hash: self.hash(id, level), rest }),
            None => {}
        }
    }

    /// It is not compared, since it is not there yet: now and then it is another one.
    fn step_to<'t>(&self, Named { hash, rest }: Named<'t>) -> Option<Step<'t>> {
        self.children.find(hash, |_| true).map(|node| Step { node, rest })
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.len() == 1 && self.children.is_empty()
    }

    fn child(&self, parent: NodeId, level: &[u8]) -> Option<NodeId> {
        match level {
            b"+" => self.nodes[parent.slot()].plus,
            b"#" => self.nodes[parent.slot()].hash,
            _ => self.named_child(parent, &self.nodes[parent.slot()], level),
        }
    }

    fn named_child(&self, parent: NodeId, above: &Node, name: &[u8]) -> Option<NodeId> {
        if let Some(only) = above.only {
            return (self.nodes[only.slot()].name.as_bytes() == name).then_some(only);
        }
        self.children.find(self.hash(parent, name), |id| {
            let node = &self.nodes[id.slot()];
            node.parent == parent && node.name.as_bytes() == name
        })
    }

    fn add_child(&mut self, parent: NodeId, level: &[u8]) -> NodeId {
        let id = NodeId::of_slot(self.nodes.insert(Node::new(parent, level)));
        let above = &mut self.nodes[parent.slot()];
        match level {
            b"+" => above.plus = Some(id),
            b"#" => above.hash = Some(id),
            _ => {
                above.named += 1;
                if above.named == 1 {
                    above.only = Some(id);
                } else {
                    for id in above.only.take().into_iter().chain([id]) {
                        let hash = self.hash(parent, self.nodes[id.slot()].name.as_bytes());
                        self.children.insert(hash, id);
                    }
                }
            }
        }
        id
    }

    fn hash(&self, parent: NodeId, name: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u32(parent.0.get());
        hasher.write(name);
        hasher.finish()
    }
}

fn first_level(topic: &[u8]) -> &[u8] {
    &topic[..topic.iter().position(|&b| b == b'/').unwrap_or(topic.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_one_line_of_memory() {
        assert_eq!(size_of::<Node>(), 64);
        let mut nodes = Nodes::new();
        let [one, other] = [b"a", b"b"].map(|name| nodes.insert(Node::new(ROOT, name)));
        let place = |slot: usize| std::ptr::from_ref(&nodes[slot]).addr();
        assert_eq!(place(other) - place(one), 64, "the slab adds nothing to it");
    }

    #[test]
    fn a_name_is_what_it_was_made_of_however_long() {
        for len in [0, 1, SHORT_BYTES - 1, SHORT_BYTES, SHORT_BYTES + 1, 1000] {
            let name: Vec<u8> = (0..len).map(|n| b'a' + (n % 26) as u8).collect();
            assert_eq!(Name::new(&name).as_bytes(), name);
        }
    }

    /// Or a walk would wait for what was not fetched.
    #[test]
    fn what_a_walk_comes_by_was_looked_at() {
        let mut trie = Trie::new(7);
        let filters = ["#", "a/#", "a/b", "a/b/c/#", "a/+/c", "+/b/+", "b/#", "c/d", "/+", "c"];
        let ends = filters.map(|filter| {
            let node = trie.insert(TopicFilter::new(filter.as_bytes()).expect("a filter"));
            trie.streams(node).0 = 1;
            (filter, node)
        });
        let rows: [(&str, &[&str]); 6] = [
            ("a", &["#", "a/#"]),
            ("a/b", &["#", "a/#", "a/b"]),
            ("a/b/c", &["#", "a/#", "a/b/c/#", "a/+/c", "+/b/+"]),
            ("/", &["#", "/+"]),
            ("c/d/e", &["#"]),
            ("x", &["#"]),
        ];
        for (topic, matching) in rows {
            let topic = TopicName::new(topic.as_bytes()).expect("a topic");
            let mut visited = 0;
            trie.walk(topic, |_, _, streams| visited += usize::from(!streams.is_empty()));
            assert_eq!(visited, matching.len(), "{topic:?}");
            let (mut at, mut seen) = (0, vec![Step { node: ROOT, rest: Some(topic.as_bytes()) }]);
            while at < seen.len() {
                let (step, mut named) = (seen[at], Vec::new());
                trie.look_below(step, &mut seen, &mut named);
                seen.extend(named.into_iter().filter_map(|child| trie.step_to(child)));
                at += 1;
            }
            for (filter, node) in ends.iter().filter(|(filter, _)| matching.contains(filter)) {
                assert!(seen.iter().any(|step| step.node == *node), "{topic:?} {filter}");
            }
            trie.fetch(std::iter::repeat_n(topic, 2 * STEPS_MAX));
        }
    }
}
