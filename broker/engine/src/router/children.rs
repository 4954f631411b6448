//! Levels with a name, by their hash: a table of which a look-up fetches one line of memory.
//!
//! A line has the hashes of its levels beside them. So no level is looked at that is not the one,
//! but for one in millions, and none when the table grows. It stands in parts, each of which grows
//! and shrinks alone: who adds or takes a level waits until a part is made anew, not until all of
//! it is.

use crate::router::trie::NodeId;

/// The table.
pub(super) struct Children {
    parts: Box<[Part; PARTS]>,
}

/// With a million levels a part has 8,000.
const PARTS: usize = 128;
/// Bits of a hash that the parts themselves do not look at.
const PART_SHIFT: u32 = 40;

/// What its line has no place for stands in the next one that has, and all lines between are full.
struct Part {
    /// A power of two, or none; not all of them are full.
    lines: Vec<Line>,
    len: usize,
}

/// Taken from the front.
#[derive(Clone, Default)]
#[repr(align(64))]
struct Line {
    hashes: [u32; PLACES],
    nodes: [Option<NodeId>; PLACES],
}

const PLACES: usize = 8;

impl Children {
    pub(super) fn new() -> Self {
        Self { parts: Box::new([const { Part { lines: Vec::new(), len: 0 } }; PARTS]) }
    }

    /// The level of this hash that is the one.
    pub(super) fn find(&self, hash: u64, mut is_it: impl FnMut(NodeId) -> bool) -> Option<NodeId> {
        let (part, hash) = (&self.parts[part_of(hash)], hash as u32);
        for at in part.way(hash) {
            let line = &part.lines[at];
            if let Some(node) = line.find(hash, &mut is_it) {
                return Some(node);
            }
            if !line.is_full() {
                break;
            }
        }
        None
    }

    /// Adds a level that is not there.
    pub(super) fn insert(&mut self, hash: u64, node: NodeId) {
        let part = &mut self.parts[part_of(hash)];
        if (part.len + 1) * 4 > part.room() * 3 {
            part.make_anew((part.lines.len() * 2).max(1));
        }
        part.put(hash as u32, node);
        part.len += 1;
    }

    /// Takes a level out that is there.
    pub(super) fn remove(&mut self, hash: u64, node: NodeId) {
        let part = &mut self.parts[part_of(hash)];
        part.take(hash as u32, node);
        part.len -= 1;
        let is_large = part.lines.len() > 1 && part.len * 4 < part.room();
        if is_large || part.len == 0 {
            part.make_anew(part.lines.len() / 2);
        }
    }

    /// Fetches the line of this hash. What comes of it says nothing.
    pub(super) fn touch(&self, hash: u64) -> u32 {
        let part = &self.parts[part_of(hash)];
        part.way(hash as u32).next().map_or(0, |at| part.lines[at].hashes[0])
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.parts.iter().all(|part| part.len == 0 && part.lines.is_empty())
    }
}

impl Part {
    fn room(&self) -> usize {
        self.lines.len() * PLACES
    }

    /// The lines in which something of this hash may stand, in order.
    fn way(&self, hash: u32) -> impl Iterator<Item = usize> + use<> {
        let len = self.lines.len();
        (0..len).map(move |step| (hash as usize + step) & (len - 1))
    }

    fn put(&mut self, hash: u32, node: NodeId) {
        let free = self.way(hash).find(|&at| !self.lines[at].is_full());
        self.lines[free.expect("not all are full")].push(hash, node);
    }

    fn take(&mut self, hash: u32, node: NodeId) {
        let mut way = self.way(hash);
        let found = way.find_map(|at| Some((at, self.lines[at].place_of(node)?)));
        let (mut gap, place) = found.expect("what is removed is there");
        let mut was_full = self.lines[gap].is_full();
        self.lines[gap].take(place);
        // What stands behind the gap because the line was full has a place there now.
        for at in way {
            if !was_full {
                break;
            }
            let past_gap = |hash: u32| self.steps(hash, gap) < self.steps(hash, at);
            was_full = self.lines[at].is_full();
            let place = self.lines[at].taken().position(|(hash, _)| past_gap(hash));
            if let Some(place) = place {
                let (hash, node) = self.lines[at].take(place);
                self.lines[gap].push(hash, node);
                gap = at;
            }
        }
    }

    /// How many lines the way of this hash leads on to this one.
    fn steps(&self, hash: u32, to: usize) -> usize {
        to.wrapping_sub(hash as usize) & (self.lines.len() - 1)
    }

    fn make_anew(&mut self, lines: usize) {
        let before = std::mem::replace(&mut self.lines, vec![Line::default(); lines]);
        before.iter().flat_map(Line::taken).for_each(|(hash, node)| self.put(hash, node));
    }
}

impl Line {
    fn is_full(&self) -> bool {
        self.nodes[PLACES - 1].is_some()
    }

    fn find(&self, hash: u32, mut is_it: impl FnMut(NodeId) -> bool) -> Option<NodeId> {
        let bit = |place: usize| u32::from(self.hashes[place] == hash) << place;
        let mut hits = (0..PLACES).map(bit).sum::<u32>();
        while hits != 0 {
            let node = self.nodes[hits.trailing_zeros() as usize];
            if let Some(node) = node.filter(|&node| is_it(node)) {
                return Some(node);
            }
            hits &= hits - 1;
        }
        None
    }

    fn taken(&self) -> impl Iterator<Item = (u32, NodeId)> {
        let places = self.hashes.iter().zip(&self.nodes);
        places.map_while(|(&hash, &node)| Some((hash, node?)))
    }

    fn place_of(&self, node: NodeId) -> Option<usize> {
        self.nodes.iter().position(|&other| other == Some(node))
    }

    fn push(&mut self, hash: u32, node: NodeId) {
        let place = self.taken().count();
        (self.hashes[place], self.nodes[place]) = (hash, Some(node));
    }

    /// The last one has its place.
    fn take(&mut self, place: usize) -> (u32, NodeId) {
        let last = self.taken().count() - 1;
        self.hashes.swap(place, last);
        self.nodes.swap(place, last);
        let node = self.nodes[last].take().expect("what is taken is there");
        (self.hashes[last], node)
    }
}

fn part_of(hash: u64) -> usize {
    (hash >> PART_SHIFT) as usize % PARTS
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_line_is_one_line_of_memory() {
        assert_eq!((size_of::<Line>(), align_of::<Line>()), (64, 64));
    }

    /// Grows and shrinks by turns, with hashes of which many are the same; a map says what must be
    /// there.
    #[test]
    fn a_table_does_what_a_map_does_and_is_as_large_as_it_must() {
        let (mut table, mut map, mut state) = (Children::new(), BTreeMap::new(), 7_u64);
        for step in 0..60_000_u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (slot, part) = ((state >> 40) as usize % 20_000, (state >> 33) % 4);
            let node = NodeId::of_slot(slot);
            // Ways that end at the last line and go on at the first, and lines that overflow.
            let hash = part << PART_SHIFT | (slot as u64 / 30).wrapping_mul(0xFFFF_FFF1) >> 1;
            let grows = step / 10_000 % 2 == 0;
            if !map.contains_key(&slot) && state >> 61 < if grows { 6 } else { 2 } {
                map.insert(slot, hash);
                table.insert(hash, node);
            } else if !grows && let Some((slot, hash)) = map.pop_first() {
                table.remove(hash, NodeId::of_slot(slot));
            }
            if step % 500 == 0 {
                check(&table, &map);
            }
        }
        let rest = std::mem::take(&mut map);
        rest.iter().for_each(|(&slot, &hash)| table.remove(hash, NodeId::of_slot(slot)));
        assert!(table.is_empty());
    }

    fn check(table: &Children, map: &BTreeMap<usize, u64>) {
        for (&slot, &hash) in map {
            let node = NodeId::of_slot(slot);
            assert_eq!(table.find(hash, |other| other == node), Some(node));
            assert_eq!(table.find(hash, |_| false), None);
        }
        assert_eq!(table.parts.iter().map(|part| part.len).sum::<usize>(), map.len());
        for part in table.parts.iter() {
            assert!(part.len * 4 <= part.room() * 3);
            assert!(part.room() <= PLACES.max(4 * part.len), "{} for {}", part.room(), part.len);
        }
    }
}
