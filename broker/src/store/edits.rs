//! What is to be done to rows since they were last written.

use std::collections::BTreeMap;

/// What is to be done to one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Edit<V> {
    /// Written for the first time: should it be deleted before that, nothing is left to do.
    Insert(V),
    /// Written in place of whatever is there.
    Replace(V),
    /// Deleted, if it is there.
    Delete,
}

/// The edits of one table's rows, by key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edits<K, V>(pub(super) BTreeMap<K, Edit<V>>);

impl<K, V> Default for Edits<K, V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K, V> Edits<K, V> {
    /// What is to be written.
    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.0.values().filter_map(|edit| match edit {
            Edit::Insert(value) | Edit::Replace(value) => Some(value),
            Edit::Delete => None,
        })
    }
}

impl<K: Ord, V> Edits<K, V> {
    /// The row was not there and is from now on.
    pub(super) fn insert(&mut self, key: K, value: V) {
        let edit = match self.0.get(&key) {
            None => Edit::Insert(value),
            // The rows on disk may still have the deleted one.
            Some(_) => Edit::Replace(value),
        };
        self.0.insert(key, edit);
    }

    /// The row may have been there and is this from now on.
    pub(super) fn replace(&mut self, key: K, value: V) {
        let edit = match self.0.get(&key) {
            Some(Edit::Insert(_)) => Edit::Insert(value),
            None | Some(Edit::Replace(_) | Edit::Delete) => Edit::Replace(value),
        };
        self.0.insert(key, edit);
    }

    /// The row is not there from now on.
    pub(super) fn delete(&mut self, key: K) {
        if let Some(Edit::Insert(_)) = self.0.get(&key) {
            self.0.remove(&key);
        } else {
            self.0.insert(key, Edit::Delete);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_and_goes_between_two_writes_leaves_nothing() {
        let mut edits = Edits::default();
        edits.insert(1, "a");
        edits.replace(1, "b");
        edits.delete(1);
        assert!(edits.is_empty());
    }

    #[test]
    fn what_may_be_on_disk_is_deleted_there() {
        let mut edits = Edits::default();
        edits.delete(1);
        edits.insert(1, "a");
        assert_eq!(edits.0[&1], Edit::Replace("a"));
        edits.delete(1);
        assert_eq!(edits.0[&1], Edit::Delete);
        edits.replace(2, "b");
        edits.delete(2);
        assert_eq!(edits.0[&2], Edit::Delete);
    }
}
