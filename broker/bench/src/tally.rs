//! What was sent against what came: losses, duplicates, order, delay.

use std::collections::{BTreeSet, VecDeque};

/// Missing messages remembered one by one, per publisher and subscriber; more are only counted.
const MISSING_MAX: usize = 100_000;

/// One subscriber's account of one publisher's messages.
#[derive(Default, Debug)]
pub(crate) struct Account {
    next: u64,
    missing: BTreeSet<u64>,
    duplicates: u64,
    reordered: u64,
}

impl Account {
    /// A message came. Says whether for the first time.
    pub(crate) fn receive(&mut self, sequence: u64) -> bool {
        if sequence == self.next {
            self.next += 1;
            return true;
        }
        if sequence > self.next {
            let room = MISSING_MAX.saturating_sub(self.missing.len());
            self.missing.extend((self.next..sequence).take(room));
            self.next = sequence + 1;
            return true;
        }
        if self.missing.remove(&sequence) {
            self.reordered += 1;
            return true;
        }
        self.duplicates += 1;
        false
    }

    /// Closes the account of a publisher who sent `sent`.
    pub(crate) fn close(&self, sent: u64) -> Faults {
        let unseen = sent.saturating_sub(self.next);
        Faults {
            lost: unseen + self.missing.len() as u64,
            duplicates: self.duplicates,
            reordered: self.reordered,
            violations: 0,
        }
    }
}

/// What was wrong. All zero is right.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize)]
pub(crate) struct Faults {
    /// Never came.
    pub(crate) lost: u64,
    /// Came again.
    pub(crate) duplicates: u64,
    /// Came after a later one of the same publisher.
    pub(crate) reordered: u64,
    /// Packets that a broker must not send: wrong QoS, id, flag, payload or receiver.
    pub(crate) violations: u64,
}

impl Faults {
    pub(crate) fn add(&mut self, other: Self) {
        self.lost += other.lost;
        self.duplicates += other.duplicates;
        self.reordered += other.reordered;
        self.violations += other.violations;
    }

    pub(crate) fn any(self) -> bool {
        self != Self::default()
    }
}

/// One publisher's messages that not every receiver has got yet.
#[derive(Debug)]
pub(crate) struct Window {
    oldest: u64,
    received: VecDeque<usize>,
    receivers: usize,
}

impl Window {
    /// For a publisher whose every message goes to `receivers` subscribers.
    pub(crate) fn new(receivers: usize) -> Self {
        Self { oldest: 0, received: VecDeque::new(), receivers }
    }

    pub(crate) fn len(&self) -> usize {
        self.received.len()
    }

    /// One more was sent; returns its number.
    pub(crate) fn send(&mut self) -> u64 {
        let sequence = self.sent();
        self.received.push_back(0);
        sequence
    }

    /// All that were sent.
    pub(crate) fn sent(&self) -> u64 {
        self.oldest + self.received.len() as u64
    }

    /// A receiver got `sequence` for the first time. `false`: it was never sent.
    pub(crate) fn receive(&mut self, sequence: u64) -> bool {
        let place = sequence.checked_sub(self.oldest).and_then(|n| usize::try_from(n).ok());
        let Some(count) = place.and_then(|place| self.received.get_mut(place)) else {
            return false;
        };
        *count += 1;
        while self.received.front() == Some(&self.receivers) {
            self.received.pop_front();
            self.oldest += 1;
        }
        true
    }
}

/// Delays, in buckets of a sixteenth of a power of two.
#[derive(Debug)]
pub(crate) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max_ns: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: vec![0; 64 * 16], count: 0, max_ns: 0 }
    }
}

impl Histogram {
    pub(crate) fn record(&mut self, ns: u64) {
        self.buckets[Self::bucket(ns)] += 1;
        self.count += 1;
        self.max_ns = self.max_ns.max(ns);
    }

    /// The delay in microseconds that a `share` of all did not exceed, to a sixteenth.
    pub(crate) fn percentile_us(&self, share: f64) -> f64 {
        let wanted = (self.count as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted && seen > 0 {
                return (Self::end_ns(bucket).min(self.max_ns)) as f64 / 1000.0;
            }
        }
        0.0
    }

    fn bucket(ns: u64) -> usize {
        let ns = ns.max(16);
        let power = ns.ilog2();
        let sixteenth = (ns >> (power - 4)) & 15;
        (power * 16) as usize + sixteenth as usize
    }

    fn end_ns(bucket: usize) -> u64 {
        let (power, sixteenth) = (bucket / 16, (bucket % 16) as u64);
        if power < 4 { 16 } else { ((16 + sixteenth + 1) << (power - 4)).saturating_sub(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Account, Faults, Histogram, Window};

    fn faults(sent: u64, received: &[u64]) -> (u64, u64, u64) {
        let mut account = Account::default();
        for &sequence in received {
            account.receive(sequence);
        }
        let Faults { lost, duplicates, reordered, .. } = account.close(sent);
        (lost, duplicates, reordered)
    }

    #[test]
    fn an_account_tells_loss_from_duplicate_from_disorder() {
        for (received, expected) in [
            (&[0, 1, 2, 3][..], (0, 0, 0)),
            (&[0, 1, 2], (1, 0, 0)),
            (&[1, 2, 3], (1, 0, 0)),
            (&[0, 3], (2, 0, 0)),
            (&[0, 2, 1, 3], (0, 0, 1)),
            (&[0, 0, 1, 2, 3], (0, 1, 0)),
            (&[0, 2, 1, 1, 3], (0, 1, 1)),
            (&[], (4, 0, 0)),
        ] {
            assert_eq!(faults(4, received), expected, "{received:?}");
        }
    }

    #[test]
    fn a_window_shrinks_when_the_last_receiver_has_the_oldest() {
        let mut window = Window::new(2);
        assert_eq!([window.send(), window.send()], [0, 1]);
        assert!(window.receive(1) && window.receive(1));
        assert_eq!(window.len(), 2, "the oldest is still on its way");
        assert!(window.receive(0) && window.receive(0));
        assert_eq!((window.len(), window.sent()), (0, 2));
        assert!(!window.receive(0) && !window.receive(2), "over, and never sent");
    }

    #[test]
    fn percentiles_are_right_to_a_sixteenth() {
        let mut histogram = Histogram::default();
        for us in 1..=1000 {
            histogram.record(us * 1000);
        }
        for share in [0.5, 0.9, 0.99, 1.0] {
            let (found, exact) = (histogram.percentile_us(share), share * 1000.0);
            assert!(found >= exact && found <= exact * 1.07, "{share}: {found}");
        }
    }
}
