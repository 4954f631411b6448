//! Messages: how many passages name each, and which of them have no row yet. One that a single
//! passage names stands in that passage's row, and is forgotten here.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;
use martlet_engine::change::{MessageKey, Passage};
use martlet_engine::message::Message;

use crate::store::edits::{Edit, Edits};
use crate::store::record::Parcel;

/// All messages. Most come and go without ever having a row: they are never hashed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Messages {
    /// How many passages name each message that has a row of its own.
    written: HashMap<MessageKey, u32, RandomState>,
    /// Messages without a row, by key. Keys are given in order, so that a message mostly stands at
    /// the place that its key says.
    unwritten: VecDeque<Unwritten>,
    /// Whose rows go.
    deleted: Vec<MessageKey>,
}

#[derive(Debug, PartialEq, Eq)]
struct Unwritten {
    key: MessageKey,
    references: u32,
    /// `None`: gone.
    message: Option<Message>,
}

impl Messages {
    /// These have rows.
    pub(super) fn new(written: impl Iterator<Item = (MessageKey, u32)>) -> Self {
        Self { written: written.collect(), ..Self::default() }
    }

    pub(super) fn insert(&mut self, key: MessageKey, message: Message) {
        let new = Unwritten { key, references: 0, message: Some(message) };
        if self.unwritten.back().is_none_or(|last| last.key < key) {
            return self.unwritten.push_back(new);
        }
        // Only what was salvaged has keys out of order, or twice.
        match self.search(key) {
            Ok(at) => self.unwritten[at] = new,
            Err(at) => self.unwritten.insert(at, new),
        }
    }

    /// One more passage names it.
    pub(super) fn refer(&mut self, key: MessageKey) {
        if let Some(unwritten) = self.unwritten(key) {
            unwritten.references += 1;
        } else if let Some(references) = self.written.get_mut(&key) {
            *references += 1;
        }
    }

    /// One passage less names it; with the last it goes.
    pub(super) fn release(&mut self, key: MessageKey) {
        if let Some(unwritten) = self.unwritten(key) {
            unwritten.references = unwritten.references.saturating_sub(1);
            if unwritten.references == 0 {
                unwritten.message = None;
                self.forget_oldest();
            }
        } else if let Some(references) = self.written.get_mut(&key) {
            *references = references.saturating_sub(1);
            if *references == 0 {
                self.written.remove(&key);
                self.deleted.push(key);
            }
        }
    }

    /// Whether any row is to be written or deleted.
    pub(super) fn is_changed(&self) -> bool {
        !self.deleted.is_empty() || self.unwritten.iter().any(|new| new.message.is_some())
    }

    /// What a passage's row is to be that was not written yet. A message that goes inside goes with
    /// that row: no other passage will name it, as all that do are made together.
    pub(super) fn parcel(&mut self, passage: Passage) -> Parcel {
        let unwritten = self.unwritten(passage.key).filter(|unwritten| unwritten.references == 1);
        let inside = unwritten.and_then(|unwritten| unwritten.message.take());
        Parcel { passage, inside }
    }

    /// Hands over what is to be done to the rows; they count as written from here on.
    pub(super) fn take_edits(&mut self) -> Edits<MessageKey, Message> {
        let deleted = std::mem::take(&mut self.deleted).into_iter();
        let mut edits: Vec<_> = deleted.map(|key| (key, Edit::Delete)).collect();
        let len = self.unwritten.len();
        for Unwritten { key, references, message } in self.unwritten.drain(..) {
            let Some(message) = message else { continue };
            self.written.insert(key, references);
            edits.push((key, Edit::Replace(message)));
        }
        // While a flood lasts it needs as much room again.
        self.unwritten.shrink_to(len);
        Edits(edits.into_iter().collect())
    }

    fn unwritten(&mut self, key: MessageKey) -> Option<&mut Unwritten> {
        let first = self.unwritten.front()?.key;
        let place = usize::try_from(key.0.checked_sub(first.0)?).ok();
        let at = match place.filter(|at| self.unwritten.get(*at).is_some_and(|n| n.key == key)) {
            Some(at) => at,
            None => self.search(key).ok()?,
        };
        Some(&mut self.unwritten[at]).filter(|unwritten| unwritten.message.is_some())
    }

    fn search(&self, key: MessageKey) -> Result<usize, usize> {
        self.unwritten.binary_search_by_key(&key, |unwritten| unwritten.key)
    }

    fn forget_oldest(&mut self) {
        while self.unwritten.front().is_some_and(|oldest| oldest.message.is_none()) {
            self.unwritten.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use martlet_codec::reason::QoS;
    use martlet_codec::topic::TopicName;

    use super::*;

    fn message(name: &str) -> Message {
        let topic = TopicName::new(name.as_bytes()).expect("a topic");
        Message::new(topic, b"", QoS::AtLeastOnce, false)
    }

    const fn key(number: u64) -> MessageKey {
        MessageKey(number)
    }

    #[test]
    fn what_comes_and_goes_leaves_nothing() {
        let mut messages = Messages::default();
        for number in 0..10 {
            messages.insert(key(number), message("m"));
            messages.refer(key(number));
            messages.refer(key(number));
        }
        for number in [3, 0, 9, 1, 2, 4, 5, 6, 7, 8] {
            messages.release(key(number));
            assert!(messages.is_changed(), "one passage names it still");
            messages.release(key(number));
        }
        assert_eq!(messages, Messages::default());
    }

    #[test]
    fn what_has_a_row_loses_it_with_its_last_passage() {
        let mut messages = Messages::new([(key(7), 2)].into_iter());
        messages.insert(key(8), message("kept"));
        messages.refer(key(8));
        messages.release(key(7));
        messages.refer(key(8));
        messages.release(key(7));
        let edits = messages.take_edits();
        let expected = [(key(7), Edit::Delete), (key(8), Edit::Replace(message("kept")))];
        assert_eq!(edits.0.into_iter().collect::<Vec<_>>(), expected);
        assert!(!messages.is_changed());
        messages.release(key(8));
        messages.release(key(8));
        assert_eq!(messages.take_edits().0[&key(8)], Edit::Delete, "its row was written");
    }

    #[test]
    fn keys_may_leave_gaps_and_come_out_of_order() {
        let mut messages = Messages::default();
        for number in [5, 1 << 60, 9, 7, u64::MAX] {
            messages.insert(key(number), message("m"));
            messages.refer(key(number));
        }
        for number in [1 << 60, u64::MAX, 7, 5] {
            messages.release(key(number));
        }
        messages.release(key(6));
        assert_eq!(messages.take_edits().0.into_keys().collect::<Vec<_>>(), [key(9)]);
    }
}
