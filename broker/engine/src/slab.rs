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
    things: Pieces<T, N>,
    numbers: Numbers,
}

/// The same for things that have their numbers from elsewhere: it looks for none that is free, and
/// so one input costs no more than a step for each `N` numbers up to its own.
pub(crate) struct Pieces<T, const N: usize> {
    /// In the last one something stands.
    pieces: Vec<Piece<T, N>>,
    /// Places that are all empty, for the next piece: who comes and goes at a border allocates
    /// nothing.
    spare: Option<Places<T, N>>,
    len: usize,
}

struct Piece<T, const N: usize> {
    len: usize,
    /// None if nothing stands here.
    places: Option<Places<T, N>>,
}

type Places<T, const N: usize> = Box<[Option<T>; N]>;

/// Which numbers are taken. They are taken from below, so that each adds a word at the most.
#[derive(Default)]
struct Numbers {
    /// A bit for each; the last word is not zero.
    words: Vec<u64>,
    /// Words that are not full.
    open: BTreeSet<usize>,
}

const BITS: usize = u64::BITS as usize;

impl<T, const N: usize> Slab<T, N> {
    /// An empty table, which has no memory.
    pub const fn new() -> Self {
        let numbers = Numbers { words: Vec::new(), open: BTreeSet::new() };
        Self { things: Pieces::new(), numbers }
    }

    /// The number that the next [`insert`](Self::insert) gives.
    pub fn next_number(&self) -> usize {
        self.numbers.lowest_free()
    }

    /// Adds a thing under the lowest free number.
    pub fn insert(&mut self, thing: T) -> usize {
        let number = self.numbers.take_lowest();
        self.things.put(number, thing);
        number
    }

    /// Takes a thing out, if there is one.
    pub fn take(&mut self, number: usize) -> Option<T> {
        let thing = self.things.take(number)?;
        self.numbers.give_back(number);
        Some(thing)
    }

    /// Takes out a thing that is there.
    pub fn remove(&mut self, number: usize) -> T {
        self.take(number).expect("what is removed is there")
    }

    /// The thing of this number.
    pub fn get(&self, number: usize) -> Option<&T> {
        self.things.get(number)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, number: usize) -> Option<&mut T> {
        self.things.get_mut(number)
    }

    /// How many things there are.
    pub fn len(&self) -> usize {
        self.things.len()
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
        let pieces = (0..).step_by(N).zip(&self.things.pieces);
        pieces.flat_map(|(first, piece)| {
            let places = piece.places.iter().flat_map(|places| places.iter());
            (first..).zip(places).filter_map(|(number, place)| Some((number, place.as_ref()?)))
        })
    }

    /// By number.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut T)> {
        let pieces = (0..).step_by(N).zip(&mut self.things.pieces);
        pieces.flat_map(|(first, piece)| {
            let places = piece.places.iter_mut().flat_map(|places| places.iter_mut());
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

impl<T, const N: usize> Pieces<T, N> {
    const EASY_TO_DIVIDE_BY: () = assert!(N.is_power_of_two());

    const fn new() -> Self {
        let () = Self::EASY_TO_DIVIDE_BY;
        Self { pieces: Vec::new(), spare: None, len: 0 }
    }

    /// Puts a thing under a number that is free.
    pub(crate) fn put(&mut self, number: usize, thing: T) {
        let at = number / N;
        if self.pieces.len() <= at {
            self.pieces.resize_with(at + 1, || Piece { len: 0, places: None });
        }
        let (piece, spare) = (&mut self.pieces[at], &mut self.spare);
        let places = piece
            .places
            .get_or_insert_with(|| spare.take().unwrap_or_else(|| Box::new([const { None }; N])));
        let before = places[number % N].replace(thing);
        assert!(before.is_none(), "the number is free");
        piece.len += 1;
        self.len += 1;
    }

    /// Takes a thing out, if there is one.
    pub(crate) fn take(&mut self, number: usize) -> Option<T> {
        let piece = self.pieces.get_mut(number / N)?;
        let thing = piece.places.as_mut()?[number % N].take()?;
        piece.len -= 1;
        self.len -= 1;
        if piece.len == 0 {
            self.spare = piece.places.take();
            while self.pieces.pop_if(|piece| piece.len == 0).is_some() {}
        }
        Some(thing)
    }

    pub(crate) fn get(&self, number: usize) -> Option<&T> {
        self.pieces.get(number / N)?.places.as_ref()?[number % N].as_ref()
    }

    pub(crate) fn get_mut(&mut self, number: usize) -> Option<&mut T> {
        self.pieces.get_mut(number / N)?.places.as_mut()?[number % N].as_mut()
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl<T, const N: usize> Default for Pieces<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl Numbers {
    fn lowest_free(&self) -> usize {
        match self.open.first() {
            Some(&at) => at * BITS + self.words[at].trailing_ones() as usize,
            None => self.words.len() * BITS,
        }
    }

    fn take_lowest(&mut self) -> usize {
        let number = self.lowest_free();
        let at = number / BITS;
        if self.words.len() == at {
            self.open.insert(at);
            self.words.push(0);
        }
        self.words[at] |= 1 << (number % BITS);
        if self.words[at] == u64::MAX {
            self.open.remove(&at);
        }
        number
    }

    fn give_back(&mut self, number: usize) {
        let at = number / BITS;
        if self.words[at] == u64::MAX {
            self.open.insert(at);
        }
        self.words[at] &= !(1 << (number % BITS));
        while self.words.last() == Some(&0) {
            self.words.pop();
            self.open.remove(&self.words.len());
        }
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

    fn pieces<T, const N: usize>(things: &Pieces<T, N>) -> usize {
        let standing = things.pieces.iter().filter(|piece| piece.places.is_some());
        standing.count() + usize::from(things.spare.is_some())
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
                assert!(pieces(&slab.things) <= taken.len() + 1, "one to spare");
                assert!(slab.end() < map.last_key_value().map_or(0, |(last, _)| *last) + 65);
            }
        }
    }

    /// Numbers anywhere, which come and go by turns.
    #[test]
    fn a_table_of_numbers_from_elsewhere_does_what_a_map_does() {
        let (mut things, mut map, mut state) = (Pieces::<usize, 64>::new(), BTreeMap::new(), 7);
        for step in 0..20_000 {
            let number = chance(&mut state) % 5000;
            if step / 1000 % 2 == 0 && !map.contains_key(&number) {
                things.put(number, step);
                map.insert(number, step);
            } else {
                let number = map.range(number..).next().map_or(number, |(number, _)| *number);
                assert_eq!(things.take(number), map.remove(&number));
            }
            assert_eq!(things.len(), map.len());
            assert_eq!(things.get(number), map.get(&number));
            assert_eq!(things.get_mut(number), map.get_mut(&number));
            let taken: BTreeSet<usize> = map.keys().map(|number| number / 64).collect();
            assert!(pieces(&things) <= taken.len() + 1, "one to spare");
            assert_eq!(things.pieces.len(), taken.last().map_or(0, |last| last + 1));
        }
    }

    #[test]
    fn who_comes_and_goes_at_a_border_has_a_piece_waiting() {
        let mut slab = Slab::<usize, 64>::new();
        (0..64).for_each(|n| assert_eq!(slab.insert(n), n));
        for _ in 0..3 {
            assert_eq!(slab.insert(64), 64);
            assert_eq!(pieces(&slab.things), 2);
            assert_eq!((slab.remove(64), slab.end(), pieces(&slab.things)), (64, 64, 2));
        }
    }
}
