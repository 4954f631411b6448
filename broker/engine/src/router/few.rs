//! A list that mostly holds one thing, which then stands in the list itself.

/// The list.
#[derive(Default)]
pub(crate) enum Few<T> {
    /// Nothing.
    #[default]
    None,
    /// One thing, and no allocation.
    One(T),
    /// More; or fewer, while they become fewer.
    #[expect(clippy::box_collection, reason = "a list is as small as what it mostly holds")]
    Many(Box<Vec<T>>),
}

impl<T> Few<T> {
    pub(crate) fn as_slice(&self) -> &[T] {
        match self {
            Self::None => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [T] {
        match self {
            Self::None => &mut [],
            Self::One(one) => std::slice::from_mut(one),
            Self::Many(many) => many,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Puts one at the end.
    pub(crate) fn push(&mut self, one: T) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(one),
            Self::One(first) => Self::Many(Box::new(vec![first, one])),
            Self::Many(mut many) => {
                many.push(one);
                Self::Many(many)
            }
        }
    }

    /// Takes one out; the last has its place. Gives back what a long list took.
    pub(crate) fn swap_remove(&mut self, at: usize) {
        let Self::Many(many) = self else {
            assert!(at < self.len(), "what is taken out is there");
            *self = Self::None;
            return;
        };
        many.swap_remove(at);
        if many.len() <= 1 {
            *self = many.pop().map_or(Self::None, Self::One);
        } else if many.len() * 4 < many.capacity() {
            many.shrink_to(many.len() * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_does_what_a_vector_does() {
        let (mut few, mut vector) = (Few::default(), Vec::new());
        let mut state = 7_u64;
        for number in 0..10_000_u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = (state >> 33) as usize;
            // Grows for a while, then shrinks, again and again.
            if vector.is_empty() || at % 10 < if number / 300 % 2 == 0 { 7 } else { 3 } {
                few.push(number);
                vector.push(number);
            } else {
                few.swap_remove(at % vector.len());
                vector.swap_remove(at % vector.len());
            }
            assert_eq!((few.as_slice(), few.len()), (&vector[..], vector.len()));
            assert_eq!(few.as_mut_slice(), vector);
            assert_eq!(few.is_empty(), vector.is_empty());
        }
    }
}
