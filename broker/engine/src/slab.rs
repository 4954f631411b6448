//! Things by small numbers: a table that gives its memory back.
//!
//! It stands in pieces of `N` places. A new thing gets the lowest free number, so that things draw
//! together at the front; a piece in which nothing stands is freed. Nothing is ever moved: no input
//! waits for a table that grows or shrinks.

use std::collections::BTreeSet;
use std::ops::{Index, IndexMut};

/// The table. `N` is a power of two, and best such that a piece takes some 16 KiB: a page that an
/// allocator can give back when it is empty.
pub struct Slab<T, const N: usize> {
    pieces: Vec<Option<Piece<T, N>>>,
    /// A piece that is empty, for the next one: who comes and goes at a border allocates nothing.
    spare: Option<Piece<T, N>>,
    numbers: Numbers,
}

type Piece<T, const N: usize> = Box<[Option<T>; N]>;

/// Which numbers are taken.
#[derive(Default)]
struct Numbers {
    /// A bit for each; the last word is not zero.
    words: Vec<u64>,
    /// Words that are not full.
    open: BTreeSet<usize>,
    len: usize,
}

const BITS: usize = u64::BITS as usize;

impl<T, const N: usize> Slab<T, N> {
    const WHOLE_WORDS: () = assert!(N.is_power_of_two() && N >= BITS);

    /// An empty table, which has no memory.
    pub const fn new() -> Self {
        let () = Self::WHOLE_WORDS;
        let numbers = Numbers { words: Vec::new(), open: BTreeSet::new(), len: 0 };
        Self { pieces: Vec::new(), spare: None, numbers }
    }

    /// The number that the next [`insert`](Self::insert) gives.
    pub fn next_number(&self) -> usize {
        self.numbers.lowest_free()
    }

    /// Adds a thing under the lowest free number.
    pub fn insert(&mut self, thing: T) -> usize {
        let number = self.next_number();
        self.put(number, thing);
        number
    }

    /// Puts a thing under a number that is free.
    pub fn put(&mut self, number: usize, thing: T) {
        let at = number / N;
        if self.pieces.len() <= at {
            self.pieces.resize_with(at + 1, || None);
        }
        let spare = &mut self.spare;
        let piece = self.pieces[at]
            .get_or_insert_with(|| spare.take().unwrap_or_else(|| Box::new([const { None }; N])));
        let before = piece[number % N].replace(thing);
        assert!(before.is_none(), "the number is free");
        self.numbers.take(number);
    }

    /// Takes a thing out, if there is one.
    pub fn take(&mut self, number: usize) -> Option<T> {
        let at = number / N;
        let piece = self.pieces.get_mut(at)?;
        let thing = piece.as_mut()?[number % N].take()?;
        self.numbers.give_back(number);
        if self.numbers.are_free(at * N, N) {
            self.spare = self.pieces[at].take();
            while let Some(None) = self.pieces.last() {
                self.pieces.pop();
            }
        }
        Some(thing)
    }

    /// Takes out a thing that is there.
    pub fn remove(&mut self, number: usize) -> T {
        self.take(number).expect("what is removed is there")
    }

    /// The thing of this number.
    pub fn get(&self, number: usize) -> Option<&T> {
        self.pieces.get(number / N)?.as_ref()?[number % N].as_ref()
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, number: usize) -> Option<&mut T> {
        self.pieces.get_mut(number / N)?.as_mut()?[number % N].as_mut()
    }

    /// How many things there are.
    pub fn len(&self) -> usize {
        self.numbers.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All numbers are below this one.
    pub fn end(&self) -> usize {
        self.numbers.words.len() * BITS
    }

    /// By number.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        let pieces = (0..).step_by(N).zip(&self.pieces);
        pieces.flat_map(|(first, piece)| {
            let places = piece.iter().flat_map(|piece| piece.iter());
            (first..).zip(places).filter_map(|(number, place)| Some((number, place.as_ref()?)))
        })
    }

    /// By number.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut T)> {
        let pieces = (0..).step_by(N).zip(&mut self.pieces);
        pieces.flat_map(|(first, piece)| {
            let places = piece.iter_mut().flat_map(|piece| piece.iter_mut());
            (first..).zip(places).filter_map(|(number, place)| Some((number, place.as_mut()?)))
        })
    }
}

impl<T, const N: usize> Default for Slab<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, const N: usize> Index<usize> for Slab<T, N> {
    type Output = T;

    fn index(&self, number: usize) -> &T {
        self.get(number).expect("what is asked for is there")
    }
}

impl<T, const N: usize> IndexMut<usize> for Slab<T, N> {
    fn index_mut(&mut self, number: usize) -> &mut T {
        self.get_mut(number).expect("what is asked for is there")
    }
}

impl Numbers {
    fn lowest_free(&self) -> usize {
        match self.open.first() {
            Some(&at) => at * BITS + self.words[at].trailing_ones() as usize,
            None => self.words.len() * BITS,
        }
    }

    fn take(&mut self, number: usize) {
        let at = number / BITS;
        while self.words.len() <= at {
            self.open.insert(self.words.len());
            self.words.push(0);
        }
        self.words[at] |= 1 << (number % BITS);
        if self.words[at] == u64::MAX {
            self.open.remove(&at);
        }
        self.len += 1;
    }

    fn give_back(&mut self, number: usize) {
        let at = number / BITS;
        if self.words[at] == u64::MAX {
            self.open.insert(at);
        }
        self.words[at] &= !(1 << (number % BITS));
        self.len -= 1;
        while self.words.last() == Some(&0) {
            self.words.pop();
            self.open.remove(&self.words.len());
        }
    }

    /// Whether `count` numbers from `first` on are free.
    fn are_free(&self, first: usize, count: usize) -> bool {
        let words = self.words.iter().skip(first / BITS).take(count / BITS);
        words.copied().all(|word| word == 0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn chance(state: &mut u64) -> usize {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (*state >> 33) as usize
    }

    fn pieces<T, const N: usize>(slab: &Slab<T, N>) -> usize {
        slab.pieces.iter().flatten().count() + usize::from(slab.spare.is_some())
    }

    /// Grows and shrinks by turns; a map says what must stand where.
    #[test]
    fn a_table_does_what_a_map_does() {
        let (mut slab, mut map, mut state) = (Slab::<usize, 64>::new(), BTreeMap::new(), 7);
        for step in 0..20_000 {
            let grows = step / 1000 % 2 == 0;
            let number = chance(&mut state) % (map.len() + 1);
            if chance(&mut state) % 10 < if grows { 8 } else { 2 } {
                let number = slab.insert(step);
                assert_eq!(map.range(..number).count(), number, "the lowest");
                assert_eq!(map.insert(number, step), None);
            } else if chance(&mut state).is_multiple_of(20) {
                let number = map.len() + chance(&mut state) % 1000;
                if slab.get(number).is_none() {
                    slab.put(number, step);
                    map.insert(number, step);
                }
            } else {
                // Mostly from the end, so that pieces are left empty.
                let number = *map.range(number..).next_back().map_or(&number, |(number, _)| number);
                assert_eq!(slab.take(number), map.remove(&number));
            }
            assert_eq!((slab.len(), slab.is_empty()), (map.len(), map.is_empty()));
            assert_eq!(slab.get(number), map.get(&number));
            if step % 500 == 0 {
                assert!(slab.iter().eq(map.iter().map(|(number, thing)| (*number, thing))));
                assert!(slab.iter_mut().eq(map.iter_mut().map(|(at, thing)| (*at, thing))));
                let taken: BTreeSet<usize> = map.keys().map(|number| number / 64).collect();
                assert!(pieces(&slab) <= taken.len() + 1, "one to spare");
                assert!(slab.end() < map.last_key_value().map_or(0, |(last, _)| *last) + 65);
            }
        }
    }

    #[test]
    fn who_comes_and_goes_at_a_border_has_a_piece_waiting() {
        let mut slab = Slab::<usize, 64>::new();
        (0..64).for_each(|n| assert_eq!(slab.insert(n), n));
        for _ in 0..3 {
            assert_eq!(slab.insert(64), 64);
            assert_eq!(pieces(&slab), 2);
            assert_eq!((slab.remove(64), slab.end(), pieces(&slab)), (64, 64, 2));
        }
    }
}
