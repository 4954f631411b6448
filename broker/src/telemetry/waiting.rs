//! Who waits for news of a stream.

use std::task::{Poll, Waker};

use crate::telemetry::stream::Stream;

/// All who wait, each under a number of its own.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    wakers: Vec<(u64, Waker)>,
    next: u64,
}

impl Stream {
    /// The offset behind the last record to see; asked again when there is more than `seen`.
    /// `number`: of whoever waits, until they [wait no more](Self::wait_no_more).
    pub(super) fn poll_newer(
        &self,
        seen: u64,
        number: &mut Option<u64>,
        waker: &Waker,
    ) -> Poll<u64> {
        let mut inner = self.lock();
        if inner.shown > seen {
            return Poll::Ready(inner.shown);
        }
        inner.waiting.add(number, waker);
        Poll::Pending
    }

    /// Nobody waits under this number any more.
    pub(super) fn wait_no_more(&self, number: u64) {
        self.lock().waiting.remove(number);
    }
}

impl Waiting {
    /// Wakes this one at the next news, once. `number`: its own, until it waits no more.
    pub(super) fn add(&mut self, number: &mut Option<u64>, waker: &Waker) {
        let number = *number.get_or_insert(self.next);
        self.next = self.next.max(number + 1);
        match self.wakers.iter_mut().find(|(other, _)| *other == number) {
            Some((_, known)) => known.clone_from(waker),
            None => self.wakers.push((number, waker.clone())),
        }
    }

    /// Nobody waits under this number any more.
    pub(super) fn remove(&mut self, number: u64) {
        self.wakers.retain(|(other, _)| *other != number);
    }

    pub(super) fn wake_all(&mut self) {
        self.wakers.drain(..).for_each(|(_, waker)| waker.wake());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_goes_leaves_nothing() {
        let (mut waiting, mut one, mut other) = (Waiting::default(), None, None);
        for number in [&mut one, &mut other] {
            waiting.add(number, Waker::noop());
            waiting.add(number, Waker::noop());
        }
        assert_eq!(waiting.wakers.len(), 2, "each once");
        waiting.remove(one.unwrap());
        assert_eq!(waiting.wakers[0].0, other.unwrap());
        waiting.wake_all();
        assert!(waiting.wakers.is_empty());
    }
}
