//! What a session has subscribed to.

use std::collections::BTreeMap;

use martlet_codec::reason::QoS;

use crate::filter::Filter;
use crate::router::SubscriptionId;

/// A subscription as its session sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Subscription {
    pub(crate) id: SubscriptionId,
    pub(crate) qos: QoS,
}

/// The subscriptions of a session, by filter. Most sessions have one or none, which takes no
/// allocation.
#[derive(Default)]
pub(crate) enum Subscriptions {
    #[default]
    None,
    One(Filter, Subscription),
    /// Two at least.
    #[expect(clippy::box_collection, reason = "a session is as small as what it mostly holds")]
    Many(Box<BTreeMap<Filter, Subscription>>),
}

impl Subscriptions {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(..) => 1,
            Self::Many(many) => many.len(),
        }
    }

    pub(crate) fn get(&self, filter: &Filter) -> Option<&Subscription> {
        match self {
            Self::None => None,
            Self::One(own, one) => (own == filter).then_some(one),
            Self::Many(many) => many.get(filter),
        }
    }

    pub(crate) fn get_mut(&mut self, filter: &Filter) -> Option<&mut Subscription> {
        match self {
            Self::None => None,
            Self::One(own, one) => (own == filter).then_some(one),
            Self::Many(many) => many.get_mut(filter),
        }
    }

    /// Puts one in that is not there.
    pub(crate) fn insert(&mut self, filter: Filter, subscription: Subscription) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(filter, subscription),
            Self::One(own, one) => {
                debug_assert!(own != filter, "it is not there");
                Self::Many(Box::new(BTreeMap::from([(own, one), (filter, subscription)])))
            }
            Self::Many(mut many) => {
                many.insert(filter, subscription);
                Self::Many(many)
            }
        };
    }

    pub(crate) fn remove(&mut self, filter: &Filter) -> Option<Subscription> {
        let Self::Many(many) = self else {
            let removed = self.get(filter).copied()?;
            *self = Self::None;
            return Some(removed);
        };
        let removed = many.remove(filter)?;
        if many.len() == 1
            && let Some((filter, one)) = many.pop_first()
        {
            *self = Self::One(filter, one);
        }
        Some(removed)
    }

    /// In the order of their filters.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Filter, &Subscription)> {
        let (one, many) = match self {
            Self::None => (None, None),
            Self::One(filter, one) => (Some((filter, one)), None),
            Self::Many(many) => (None, Some(many.iter())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::Router;
    use crate::session::SessionIndex;

    #[test]
    fn they_do_what_a_map_does() {
        let mut router = Router::new(0);
        let filters: Vec<Filter> =
            (0..5).map(|n| Filter::parse(&format!("a/{n}")).expect("a filter")).collect();
        let (mut own, mut map) = (Subscriptions::default(), BTreeMap::new());
        let mut state = 7_u64;
        for round in 0..2000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let filter = &filters[(state >> 33) as usize % filters.len()];
            // More of them for a while, then fewer, again and again.
            let grows = (state >> 60) % 4 < if round / 50 % 2 == 0 { 3 } else { 1 };
            if !grows {
                assert_eq!(own.remove(filter), map.remove(filter));
            } else if let Some(subscription) = own.get_mut(filter) {
                subscription.qos = QoS::ExactlyOnce;
                map.insert(filter.clone(), *subscription);
            } else {
                let qos = QoS::AtMostOnce;
                let id = router.subscribe(filter, SessionIndex::at_slot(round), qos);
                own.insert(filter.clone(), Subscription { id, qos });
                map.insert(filter.clone(), Subscription { id, qos });
            }
            assert!(own.iter().eq(&map), "round {round}");
            assert_eq!((own.len(), own.get(filter)), (map.len(), map.get(filter)));
        }
    }
}
