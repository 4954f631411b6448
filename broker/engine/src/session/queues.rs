//! The memory that the queues of all sessions take together, of which a bound is kept.
//!
//! A place in a queue counts, and a message counts once, in however many queues it waits.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;

use crate::counters::Bound;
use crate::limits::Limits;
use crate::lookup::Lookup;
use crate::message::Message;

/// What a place in a queue costs here and in the store, besides the message: measured, with the
/// room that queues grow by.
const PLACE_BYTES: u64 = 64;
/// What a message costs besides its topic and payload: header, allocator, names.
const MESSAGE_BYTES: u64 = 64;

/// What waits in queues. What is in flight has bounds of its own and is not in here.
pub(crate) struct Queues {
    bytes: u64,
    /// Messages with more places than one: which, and how many. A message that comes a second time
    /// from elsewhere than its first round may count twice, and then does so to its end.
    shared: Lookup<Shared>,
    hasher: FixedState,
}

struct Shared {
    /// Where it is in memory; it stays there as long as queues hold it.
    address: usize,
    places: u32,
}

impl Queues {
    pub(crate) fn new(hash_seed: u64) -> Self {
        let hasher = FixedState::with_seed(hash_seed);
        Self { bytes: 0, shared: Lookup::new(), hasher }
    }

    /// Bytes that all queues take.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether one more place fits, or at which bound it does not. `is_new`: no queue got the
    /// message in this round yet.
    pub(crate) fn admit(
        &self,
        message: &Message,
        is_new: bool,
        limits: &Limits,
    ) -> Result<(), Bound> {
        let more = PLACE_BYTES + if is_new { cost(message) } else { 0 };
        let max = limits.all_queues_bytes_max;
        if max != 0 && self.bytes.saturating_add(more) > max {
            return Err(Bound::AllQueues);
        }
        Ok(())
    }

    /// A queue got the message.
    pub(crate) fn add(&mut self, message: &Message, is_new: bool) {
        self.bytes += PLACE_BYTES;
        if is_new && self.shared.is_empty() {
            self.bytes += cost(message); // as it mostly is
            return;
        }
        let address = message.address();
        let hash = |shared: &Shared| self.hasher.hash_one(shared.address);
        let shared = Shared { address, places: 2 };
        if let Some(shared) = self.shared.find_mut(hash(&shared), |s| s.address == address) {
            shared.places += 1;
        } else if is_new {
            self.bytes += cost(message);
        } else {
            self.shared.insert(shared, hash);
        }
    }

    /// A message left a queue.
    pub(crate) fn take(&mut self, message: &Message) {
        self.bytes -= PLACE_BYTES;
        if self.shared.is_empty() {
            self.bytes -= cost(message);
            return;
        }
        let address = message.address();
        let hash = |address: usize| self.hasher.hash_one(address);
        let is_it = |shared: &Shared| shared.address == address;
        let Some(shared) = self.shared.find_mut(hash(address), is_it) else {
            self.bytes -= cost(message);
            return;
        };
        shared.places -= 1;
        if shared.places == 1 {
            self.shared.remove(hash(address), is_it, |shared| hash(shared.address));
        }
    }
}

fn cost(message: &Message) -> u64 {
    MESSAGE_BYTES + message.len() as u64
}

#[cfg(test)]
mod tests {
    use martlet_codec::reason::QoS;
    use martlet_codec::topic::TopicName;

    use super::*;

    fn message(payload: &[u8]) -> Message {
        let topic = TopicName::new(b"t").expect("a topic");
        Message::new(topic, payload, QoS::AtLeastOnce, false)
    }

    #[test]
    fn a_message_counts_once_and_each_of_its_places() {
        let mut queues = Queues::new(7);
        let (one, other) = (message(&[0; 99]), message(&[0; 199]));
        queues.add(&one, true);
        queues.add(&one, false);
        queues.add(&other, true);
        queues.add(&one, false);
        let all = 4 * PLACE_BYTES + 2 * MESSAGE_BYTES + 100 + 200;
        assert_eq!(queues.bytes(), all);
        queues.take(&one);
        queues.take(&one);
        assert_eq!(queues.bytes(), all - 2 * PLACE_BYTES);
        queues.take(&other);
        queues.take(&one);
        assert_eq!(queues.bytes(), 0);
        assert!(queues.shared.is_empty());
    }

    /// What a share passes on when a session ends, while others hold it too.
    #[test]
    fn a_message_that_comes_again_leaves_nothing_behind() {
        let mut queues = Queues::new(7);
        let one = message(&[0; 99]);
        for is_new in [true, true, false, true, false] {
            queues.add(&one, is_new);
        }
        for _ in 0..5 {
            queues.take(&one);
        }
        assert_eq!(queues.bytes(), 0);
        assert!(queues.shared.is_empty());
    }

    #[test]
    fn the_bound_is_for_all_queues_together() {
        let mut queues = Queues::new(7);
        let one = message(&[0; 99]);
        let first = PLACE_BYTES + MESSAGE_BYTES + 100;
        let limits = |all_queues_bytes_max| Limits { all_queues_bytes_max, ..Limits::default() };
        assert_eq!(queues.admit(&one, true, &limits(first)), Ok(()));
        assert_eq!(queues.admit(&one, true, &limits(first - 1)), Err(Bound::AllQueues));
        queues.add(&one, true);
        let second = first + PLACE_BYTES;
        assert_eq!(queues.admit(&one, false, &limits(second)), Ok(()));
        assert_eq!(queues.admit(&one, true, &limits(second)), Err(Bound::AllQueues));
        assert_eq!(queues.admit(&one, true, &limits(0)), Ok(()));
    }
}
