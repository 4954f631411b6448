//! Topic filters with what each gives, as a tree of levels: an answer costs the levels of the
//! topic, however many filters there are.

use std::collections::HashMap;
use std::ops::BitOr;

use crate::access::rules::Rule;

/// What lines give together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bits(u8);

impl Bits {
    pub(super) const READ: Self = Self(1);
    pub(super) const WRITE: Self = Self(2);
    pub(super) const DENY: Self = Self(4);

    pub(super) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Without what is not in `other`.
    pub(super) const fn only(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What they say to one who wants `bit`; `None`: nothing.
    pub(super) fn answer(self, bit: Self) -> Option<bool> {
        let denies = self.0 & Self::DENY.0 != 0;
        (denies || self.0 & bit.0 != 0).then_some(!denies)
    }
}

impl BitOr for Bits {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.with(other)
    }
}

/// The tree.
#[derive(Debug, Default)]
pub(super) struct Topics(Node);

#[derive(Debug, Default)]
struct Node {
    /// For the topic that ends here.
    here: Bits,
    /// For that topic and all below it (`#`).
    below: Bits,
    plus: Option<Box<Node>>,
    levels: HashMap<Box<str>, Node>,
}

impl Topics {
    pub(super) fn new<'r>(rules: impl IntoIterator<Item = &'r Rule>) -> Self {
        let mut root = Node::default();
        for rule in rules {
            let mut node = &mut root;
            let bits = rule.access.bits();
            let mut levels = rule.filter.split('/');
            loop {
                node = match levels.next() {
                    None => break node.here = node.here | bits,
                    Some("#") => break node.below = node.below | bits,
                    Some("+") => node.plus.get_or_insert_default(),
                    Some(level) => node.levels.entry(level.into()).or_default(),
                };
            }
        }
        Self(root)
    }

    /// What all filters that match this topic give together.
    pub(super) fn find(&self, topic: &str) -> Bits {
        let Self(root) = self;
        if topic.starts_with('$') {
            let (level, rest) = split(topic); // I9
            return root.levels.get(level).map(|node| node.find(rest)).unwrap_or_default();
        }
        root.find(Some(topic))
    }
}

impl Node {
    fn find(&self, rest: Option<&str>) -> Bits {
        let Some(topic) = rest else { return self.here | self.below };
        let (level, rest) = split(topic);
        let next = [self.plus.as_deref(), self.levels.get(level)];
        next.into_iter().flatten().fold(self.below, |found, node| found | node.find(rest))
    }
}

/// The first level, and what is behind its slash.
fn split(topic: &str) -> (&str, Option<&str>) {
    match topic.split_once('/') {
        Some((level, rest)) => (level, Some(rest)),
        None => (topic, None),
    }
}
