//! A hash table that gives its memory back.
//!
//! It stands in parts, each with its own entries by their hashes, which grow and shrink alone: who
//! adds or takes an entry waits until a part is made anew, not until all of it is.

use hashbrown::HashTable;

/// The table.
pub(crate) struct Lookup<T> {
    parts: Box<[HashTable<T>; PARTS]>,
    len: usize,
}

/// With a million entries a part has 8,000.
const PARTS: usize = 128;
/// Bits of a hash that the parts themselves look at neither for the place nor for the tag.
const PART_SHIFT: u32 = 40;
/// Entries that a part has room for however few it has.
const ROOM_MIN: usize = 14;

impl<T> Lookup<T> {
    pub(crate) fn new() -> Self {
        Self { parts: Box::new([const { HashTable::new() }; PARTS]), len: 0 }
    }

    pub(crate) fn find(&self, hash: u64, is_it: impl FnMut(&T) -> bool) -> Option<&T> {
        self.parts[part_of(hash)].find(hash, is_it)
    }

    pub(crate) fn find_mut(&mut self, hash: u64, is_it: impl FnMut(&T) -> bool) -> Option<&mut T> {
        self.parts[part_of(hash)].find_mut(hash, is_it)
    }

    /// Adds an entry that is not there.
    pub(crate) fn insert(&mut self, entry: T, hash_of: impl Fn(&T) -> u64) {
        let hash = hash_of(&entry);
        self.len += 1;
        self.parts[part_of(hash)].insert_unique(hash, entry, hash_of);
    }

    /// Takes an entry out that is there.
    pub(crate) fn remove(
        &mut self,
        hash: u64,
        is_it: impl FnMut(&T) -> bool,
        hash_of: impl Fn(&T) -> u64,
    ) {
        self.len -= 1;
        let part = &mut self.parts[part_of(hash)];
        part.find_entry(hash, is_it).ok().expect("what is removed is there").remove();
        if room(part) > ROOM_MIN && part.len() * 4 < room(part) {
            part.shrink_to(part.len() * 2, hash_of);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// For how many entries a part has memory. Its `capacity` is less where entries were taken out of a
/// crowd: those places come to use only when the part is made anew.
fn room<T>(part: &HashTable<T>) -> usize {
    part.num_buckets() / 8 * 7
}

fn part_of(hash: u64) -> usize {
    (hash >> PART_SHIFT) as usize % PARTS
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Any function of the entry will do for a hash, if its bits differ where they matter.
    fn hash_of(entry: &u64) -> u64 {
        entry.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    /// Grows and shrinks by turns; a set says what must be there.
    #[test]
    fn a_table_does_what_a_set_does_and_is_as_large_as_it_must() {
        let (mut table, mut set, mut state) = (Lookup::new(), BTreeSet::new(), 7_u64);
        for step in 0..60_000_u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let grows = step / 10_000 % 2 == 0;
            let entry = state >> 40;
            if (state >> 33) % 10 < if grows { 8 } else { 2 } {
                if set.insert(entry) {
                    table.insert(entry, hash_of);
                }
            } else if let Some(entry) = set.range(entry..).next().copied() {
                set.remove(&entry);
                table.remove(hash_of(&entry), |other| *other == entry, hash_of);
            }
            let found = table.find(hash_of(&entry), |other| *other == entry).copied();
            assert_eq!(found, set.get(&entry).copied());
            if step % 2000 == 0 {
                for entry in &set {
                    assert!(table.find_mut(hash_of(entry), |other| other == entry).is_some());
                }
                let len: usize = table.parts.iter().map(HashTable::len).sum();
                assert_eq!((len, table.is_empty()), (set.len(), set.is_empty()));
                for part in table.parts.iter() {
                    let (room, len) = (part.num_buckets() / 8 * 7, part.len());
                    assert!(room <= ROOM_MIN.max(4 * len), "{room} for {len}");
                }
            }
        }
    }
}
