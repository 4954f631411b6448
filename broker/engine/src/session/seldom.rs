//! A part that most sessions never need.

use std::ops::{Deref, DerefMut};

/// The part: it takes a word until it is changed.
pub(crate) struct Seldom<T>(Option<Box<T>>);

/// What such a part is before it is changed.
pub(crate) trait Unchanged: Sized + 'static {
    /// One that all share.
    const SHARED: &'static Self;

    /// One of its own.
    fn new() -> Self;
}

impl<T> Seldom<T> {
    /// This one, already changed.
    pub(crate) fn from(part: T) -> Self {
        Self(Some(Box::new(part)))
    }

    /// The part if it was ever changed: where there is nothing to do otherwise.
    pub(crate) fn changed(&mut self) -> Option<&mut T> {
        self.0.as_deref_mut()
    }
}

impl<T> Default for Seldom<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Unchanged> Deref for Seldom<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::SHARED)
    }
}

impl<T: Unchanged> DerefMut for Seldom<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_with(|| Box::new(T::new()))
    }
}
