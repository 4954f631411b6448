//! Topic Filters level by level.
//!
//! There may be millions, and where a message goes is then mostly a matter of how many lines of
//! memory are fetched on the way: a node takes one, and has in it what most nodes have.

mod together;

use std::collections::VecDeque;
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
    /// Kept between walks: nodes to visit, each with where its next topic level begins. The first
    /// is visited first, as when many walk together.
    pending: VecDeque<(NodeId, u32)>,
}

type Nodes = Slab<Node, 256>;

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
            pending: VecDeque::new(),
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
        let mut pending = std::mem::take(&mut self.pending);
        pending.push_back((ROOT, 0));
        while let Some((id, start)) = pending.pop_front() {
            let node = &self.nodes[id.slot()];
            // I9, [MQTT-4.7.2-1]
            let wildcards = id != ROOT || !topic.is_dollar();
            if let Some(hash) = node.hash.filter(|_| wildcards) {
                self.visit(hash, &mut visit); // also behind the last level: a/# matches a
            }
            let start = start as usize;
            if start > bytes.len() {
                self.visit(id, &mut visit);
                continue;
            }
            let level = first_level(&bytes[start..]);
            let next = (start + level.len() + 1) as u32; // a topic is under 64 KiB
            if let Some(plus) = node.plus.filter(|_| wildcards) {
                pending.push_back((plus, next));
            }
            if node.named > 0
                && let Some(child) = self.named_child(id, node, level)
            {
                pending.push_back((child, next));
            }
        }
        self.pending = pending;
    }

    /// How many levels there are.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Visits the list of this filter.
    pub(super) fn visit(
        &self,
        id: NodeId,
        visit: &mut impl FnMut(&[Subscriber], &[ShareId], StreamSet),
    ) {
        let node = &self.nodes[id.slot()];
        visit(node.subscribers.as_slice(), node.shares(), node.streams());
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
}
