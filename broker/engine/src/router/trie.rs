//! Topic Filters level by level.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use martlet_codec::topic::{TopicFilter, TopicName};
use slab::Slab;

use crate::router::shares::ShareId;
use crate::router::{StreamSet, Subscriber};

/// A node: one level of one or more filters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NodeId(u32);

const ROOT: NodeId = NodeId(0);

/// The filters. Named levels are found through one table for the whole trie, by parent and name;
/// `+` and `#` are fields.
pub(super) struct Trie {
    nodes: Slab<Node>,
    children: HashTable<NodeId>,
    hasher: FixedState,
    /// Kept between walks: nodes to visit, each with where its next topic level begins.
    pending: Vec<(NodeId, u32)>,
}

struct Node {
    parent: NodeId,
    name: Box<[u8]>,
    /// Children with a name.
    named: u32,
    plus: Option<NodeId>,
    hash: Option<NodeId>,
    subscribers: Vec<Subscriber>,
    shares: Vec<ShareId>,
    streams: StreamSet,
}

impl Node {
    fn new(parent: NodeId, name: &[u8]) -> Self {
        Self {
            parent,
            name: name.into(),
            named: 0,
            plus: None,
            hash: None,
            subscribers: Vec::new(),
            shares: Vec::new(),
            streams: StreamSet::default(),
        }
    }

    fn is_empty(&self) -> bool {
        self.named == 0
            && self.plus.is_none()
            && self.hash.is_none()
            && self.subscribers.is_empty()
            && self.shares.is_empty()
            && self.streams.is_empty()
    }
}

impl Trie {
    pub(super) fn new(hash_seed: u64) -> Self {
        let mut nodes = Slab::new();
        nodes.insert(Node::new(ROOT, b""));
        Self {
            nodes,
            children: HashTable::new(),
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

    pub(super) fn subscribers(&mut self, node: NodeId) -> &mut Vec<Subscriber> {
        &mut self.nodes[node.0 as usize].subscribers
    }

    pub(super) fn shares(&mut self, node: NodeId) -> &mut Vec<ShareId> {
        &mut self.nodes[node.0 as usize].shares
    }

    pub(super) fn streams(&mut self, node: NodeId) -> &mut StreamSet {
        &mut self.nodes[node.0 as usize].streams
    }

    /// Takes this node away if nothing is left on it, and its parents likewise.
    pub(super) fn prune(&mut self, mut node: NodeId) {
        while node != ROOT && self.nodes[node.0 as usize].is_empty() {
            let Node { parent, name, .. } = self.nodes.remove(node.0 as usize);
            let above = &mut self.nodes[parent.0 as usize];
            match &*name {
                b"+" => above.plus = None,
                b"#" => above.hash = None,
                _ => {
                    above.named -= 1;
                    let hash = self.hash(parent, &name);
                    let entry = self.children.find_entry(hash, |&other| other == node);
                    entry.expect("a named node stands in the table").remove();
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
        let mut visit_id = |nodes: &Slab<Node>, id: NodeId| {
            let node = &nodes[id.0 as usize];
            visit(&node.subscribers, &node.shares, node.streams);
        };
        let mut pending = std::mem::take(&mut self.pending);
        pending.push((ROOT, 0));
        while let Some((id, start)) = pending.pop() {
            let node = &self.nodes[id.0 as usize];
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
            let rest = &bytes[start..];
            let level = &rest[..rest.iter().position(|&b| b == b'/').unwrap_or(rest.len())];
            let next = (start + level.len() + 1) as u32; // a topic is under 64 KiB
            if let Some(plus) = node.plus.filter(|_| wildcards) {
                pending.push((plus, next));
            }
            if node.named > 0
                && let Some(child) = self.named_child(id, level)
            {
                pending.push((child, next));
            }
        }
        self.pending = pending;
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.len() == 1 && self.children.is_empty()
    }

    fn child(&self, parent: NodeId, level: &[u8]) -> Option<NodeId> {
        match level {
            b"+" => self.nodes[parent.0 as usize].plus,
            b"#" => self.nodes[parent.0 as usize].hash,
            _ => self.named_child(parent, level),
        }
    }

    fn named_child(&self, parent: NodeId, name: &[u8]) -> Option<NodeId> {
        let is_it = |id: &NodeId| {
            let node = &self.nodes[id.0 as usize];
            node.parent == parent && *node.name == *name
        };
        self.children.find(self.hash(parent, name), is_it).copied()
    }

    fn add_child(&mut self, parent: NodeId, level: &[u8]) -> NodeId {
        let key = self.nodes.insert(Node::new(parent, level));
        let id = NodeId(u32::try_from(key).expect("under 2^32 levels"));
        let above = &mut self.nodes[parent.0 as usize];
        match level {
            b"+" => above.plus = Some(id),
            b"#" => above.hash = Some(id),
            _ => {
                above.named += 1;
                let Self { nodes, children, hasher, .. } = self;
                let hash = |id: NodeId| {
                    let node = &nodes[id.0 as usize];
                    hash_of(hasher, node.parent, &node.name)
                };
                children.insert_unique(hash(id), id, |&id| hash(id));
            }
        }
        id
    }

    fn hash(&self, parent: NodeId, name: &[u8]) -> u64 {
        hash_of(&self.hasher, parent, name)
    }
}

fn hash_of(hasher: &FixedState, parent: NodeId, name: &[u8]) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write_u32(parent.0);
    hasher.write(name);
    hasher.finish()
}
