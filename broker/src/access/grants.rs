//! Filters that were granted one after the other.

use std::collections::HashSet;
use std::sync::Arc;

use martlet_engine::filter::Filter;

use crate::access::rules::{Access, Rule};
use crate::access::topics::{Bits, Topics};

/// A set of filters that does not change: with one more it is another one, and they share what they
/// can. Each part has more filters than the next one, so that one more costs little, however many
/// there are.
#[derive(Clone, Debug, Default)]
pub(super) struct Grants(Vec<Arc<Part>>);

#[derive(Debug)]
struct Part {
    filters: HashSet<Filter>,
    topics: Topics,
}

impl Grants {
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|part| part.filters.len()).sum()
    }

    pub(super) fn contains(&self, filter: &Filter) -> bool {
        self.0.iter().any(|part| part.filters.contains(filter))
    }

    /// Whether one of them matches the topic.
    pub(super) fn cover(&self, topic: &str) -> bool {
        self.0.iter().any(|part| part.topics.find(topic).answer(Bits::READ) == Some(true))
    }

    pub(super) fn with(&self, filters: &[Filter]) -> Self {
        let mut parts = self.0.clone();
        let new = filters.iter().filter(|filter| !self.contains(filter));
        let mut new: HashSet<Filter> = new.cloned().collect();
        while let Some(last) = parts.pop_if(|last| last.filters.len() <= new.len()) {
            new.extend(last.filters.iter().cloned());
        }
        parts.extend(Part::of(new));
        Self(parts)
    }

    pub(super) fn without(&self, filters: &HashSet<Filter>) -> Self {
        let left = self.filters().filter(|filter| !filters.contains(filter));
        Self(Vec::from_iter(Part::of(left.cloned().collect())))
    }

    fn filters(&self) -> impl Iterator<Item = &Filter> {
        self.0.iter().flat_map(|part| &part.filters)
    }
}

impl Part {
    /// `None`: it would be empty.
    fn of(filters: HashSet<Filter>) -> Option<Arc<Self>> {
        let rules = filters.iter().map(|filter| Rule {
            line: 0,
            access: Access::Read,
            filter: filter.topic_filter().as_str().into(),
            pattern: false,
        });
        let topics = Topics::new(&rules.collect::<Vec<_>>());
        (!filters.is_empty()).then(|| Arc::new(Self { filters, topics }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(numbers: impl IntoIterator<Item = u32>) -> Vec<Filter> {
        let filters = numbers.into_iter().map(|number| Filter::parse(&format!("a/{number}/+")));
        filters.collect::<Result<_, _>>().expect("good filters")
    }

    #[test]
    fn what_was_granted_is_and_what_is_gone_is_not() {
        let mut grants = Grants::default();
        assert!(!grants.cover("a/1/x") && grants.len() == 0);
        for filter in filters(0..100) {
            let before = grants.clone();
            grants = grants.with(&[filter.clone(), filter.clone()]);
            assert!(grants.contains(&filter) && !before.contains(&filter));
            assert_eq!(grants.with(&[filter]).len(), before.len() + 1);
        }
        assert!(grants.cover("a/0/x") && grants.cover("a/99/x"));
        assert!(!grants.cover("a/100/x") && !grants.cover("a/1"));
        let gone: HashSet<Filter> = filters(0..99).into_iter().collect();
        let left = grants.without(&gone);
        assert!(left.cover("a/99/x") && !left.cover("a/0/x"));
        assert_eq!((left.len(), grants.len()), (1, 100));
        assert!(left.without(&filters([99]).into_iter().collect()).0.is_empty());
    }

    /// Every filter is put into a part anew when the one it is in grows to twice its size.
    #[test]
    fn one_more_is_cheap_however_many_there_are() {
        let (mut grants, mut moved) = (Grants::default(), 0);
        for filter in filters(0..4096) {
            grants = grants.with(&[filter]);
            moved += grants.0.last().map_or(0, |part| part.filters.len());
            assert!(grants.0.len() <= 13);
        }
        assert_eq!(moved, 4096 * 12 / 2 + 4096);
    }
}
