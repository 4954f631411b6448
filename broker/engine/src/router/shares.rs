//! Shared subscriptions: `$share/<name>/<filter>`, each message to one member.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;

use crate::filter::Filter;
use crate::lookup::Lookup;
use crate::router::Subscriber;
use crate::router::few::Few;
use crate::router::trie::NodeId;
use crate::slab::Slab;

/// A share; it has at least one member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ShareId(u32);

/// How well a member can take a message now; greater is better.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Readiness {
    /// It would lose the message.
    Unable,
    /// Its session would queue the message until the client comes back.
    Away,
    /// It is connected, but the message would queue.
    Busy,
    /// The message would be sent at once, behind many that the client has not acknowledged.
    Laden,
    /// The message would be sent at once.
    Ready,
}

/// The shares, found by their whole filter text.
pub(crate) struct Shares {
    shares: Slab<Share, 256>,
    by_filter: Lookup<ShareId>,
    hasher: FixedState,
}

struct Share {
    filter: Filter,
    /// Where the filter ends in the trie, and where this share stands in that node's list.
    node: NodeId,
    at: usize,
    members: Few<Subscriber>,
    /// Whose turn it is.
    turn: usize,
}

impl Shares {
    pub(super) fn new(hash_seed: u64) -> Self {
        Self {
            shares: Slab::new(),
            by_filter: Lookup::new(),
            hasher: FixedState::with_seed(hash_seed),
        }
    }

    /// The share of exactly this text.
    pub(crate) fn find(&self, filter: &Filter) -> Option<ShareId> {
        let hash = self.hasher.hash_one(filter.as_str());
        self.by_filter.find(hash, |id| self.shares[id.0 as usize].filter == *filter).copied()
    }

    /// The filter that all members have subscribed to.
    pub(crate) fn filter(&self, id: ShareId) -> &Filter {
        &self.shares[id.0 as usize].filter
    }

    /// Who gets the next message: turn by turn among those who are readiest. When all would lose
    /// it, still somebody: the loss is counted at the bound that this one has reached.
    pub(crate) fn choose(
        &mut self,
        id: ShareId,
        readiness: impl Fn(&Subscriber) -> Readiness,
    ) -> Subscriber {
        let Share { members, turn, .. } = &mut self.shares[id.0 as usize];
        let members = members.as_slice();
        let first = *turn % members.len(); // members may have left
        let mut best = (readiness(&members[first]), first);
        for at in (first + 1..members.len()).chain(0..first) {
            if best.0 == Readiness::Ready {
                break;
            }
            let this = readiness(&members[at]);
            if this > best.0 {
                best = (this, at);
            }
        }
        *turn = best.1 + 1;
        members[best.1]
    }

    pub(super) fn create(&mut self, filter: &Filter, node: NodeId, at: usize) -> ShareId {
        let share = Share { filter: filter.clone(), node, at, members: Few::default(), turn: 0 };
        let id = ShareId(u32::try_from(self.shares.insert(share)).expect("under 2^32 shares"));
        let Self { shares, by_filter, hasher } = self;
        let hash = |id: &ShareId| hasher.hash_one(shares[id.0 as usize].filter.as_str());
        by_filter.insert(id, hash);
        id
    }

    pub(super) fn members(&mut self, id: ShareId) -> &mut Few<Subscriber> {
        &mut self.shares[id.0 as usize].members
    }

    /// Says where the share stood.
    pub(super) fn remove(&mut self, id: ShareId) -> (NodeId, usize) {
        let share = self.shares.remove(id.0 as usize);
        let Self { shares, by_filter, hasher } = self;
        let hash = |share: &Share| hasher.hash_one(share.filter.as_str());
        by_filter.remove(hash(&share), |other| *other == id, |id| hash(&shares[id.0 as usize]));
        (share.node, share.at)
    }

    /// The share stands elsewhere in its node's list.
    pub(super) fn move_to(&mut self, id: ShareId, at: usize) {
        self.shares[id.0 as usize].at = at;
    }
}
