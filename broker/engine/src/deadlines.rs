//! What is due when.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::input::{LinkId, Time};
use crate::session::SessionIndex;

/// Something to look at when its time has come. Whether it is really due is decided then: a packet
/// that arrives moves no deadline, it only leaves its time in the session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Due {
    /// Whether this link was silent for too long.
    KeepAlive(LinkId, SessionIndex),
    /// Whether this session was without a connection for too long.
    Expiry(SessionIndex),
}

/// Entries of which no account is kept: that many may be stale, and there is room for them.
const LEN_FREE: usize = 256;

/// The deadlines, earliest first.
#[derive(Default)]
pub(crate) struct Deadlines(BinaryHeap<Reverse<(Time, Due)>>);

impl Deadlines {
    pub(crate) fn arm(&mut self, time: Time, due: Due) {
        self.0.push(Reverse((time, due)));
    }

    pub(crate) fn next(&self) -> Option<Time> {
        self.0.peek().map(|Reverse((time, _))| *time)
    }

    /// The earliest, if its time has come.
    pub(crate) fn pop(&mut self, now: Time) -> Option<Due> {
        if self.next()? > now {
            return None;
        }
        let due = self.0.pop().map(|Reverse((_, due))| due);
        self.give_back();
        due
    }

    /// Whether most entries are about links and sessions that are no more, given that each session
    /// has at most one that counts.
    pub(crate) fn is_stale(&self, sessions: usize) -> bool {
        self.0.len() > LEN_FREE + 2 * sessions
    }

    pub(crate) fn retain(&mut self, mut counts: impl FnMut(Time, Due) -> bool) {
        self.0.retain(|Reverse((time, due))| counts(*time, *due));
        self.give_back();
    }

    /// Keeps room for twice what there is, once that is half of the room: then as many entries have
    /// gone as are copied, so that a million of them are given back in steps of a millisecond.
    fn give_back(&mut self) {
        let len = self.0.len().max(LEN_FREE);
        if len * 4 < self.0.capacity() {
            self.0.shrink_to(len * 2);
        }
    }
}
