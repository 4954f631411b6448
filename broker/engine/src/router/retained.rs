//! Retained messages in the order of their topics, so that a replay is a walk along that order.
//!
//! A topic's key is its text with every `/` as a zero byte (which no topic contains). A topic's
//! whole subtree thus lies together, behind the topic itself; a filter with wildcards is answered
//! by jumping from one possible match to the next, and the place where a walk stopped is a key that
//! stays meaningful whatever is added or taken away meanwhile.

use std::collections::BTreeMap;
use std::ops::Bound::{Included, Unbounded};

use martlet_codec::topic::TopicFilter;

use crate::counters::Bound;
use crate::limits::Limits;
use crate::message::Message;

const SEPARATOR: u8 = 0;
/// Behind a key and its whole subtree, before all other keys.
const AFTER_SUBTREE: u8 = SEPARATOR + 1;
/// The first byte of topics that leading wildcards pass by (I9).
const DOLLAR: u8 = b'$';

/// The retained messages.
#[derive(Default)]
pub(crate) struct Retained {
    by_topic: BTreeMap<Box<[u8]>, Message>,
    bytes: u64,
    /// A message was lost to a bound since there was room.
    losing: bool,
    /// Kept between calls, so that replacing a message does not allocate.
    key: Vec<u8>,
}

/// Where a replay stands: no key before this one is still to be looked at.
#[derive(Clone, Default, Debug)]
pub(crate) struct Cursor(Vec<u8>);

/// What a search came to.
pub(crate) enum Search<'a> {
    /// The next message; the cursor stands on it.
    Found(&'a Message),
    /// There is nothing more.
    Done,
    /// All steps were used; the cursor says where to go on.
    OutOfSteps,
}

/// A message was not retained.
pub(crate) struct Full {
    pub(crate) bound: Bound,
    /// The one before it is not retained any longer either: it would be a lie by now.
    pub(crate) cleared: bool,
}

/// What one key is to a filter.
enum Verdict {
    Matches,
    /// The cursor was set behind the key, to the next that could match.
    Jump,
    /// Neither this key nor any behind it.
    NoMore,
}

impl Retained {
    /// Makes `message` its topic's retained message, or says why not.
    pub(crate) fn set(&mut self, message: &Message, limits: &Limits) -> Result<(), Full> {
        let sys = is_sys(message);
        encode(message, &mut self.key);
        let bytes = message.len() as u64;
        if let Some(before) = self.by_topic.get_mut(&*self.key) {
            let total = self.bytes - before.len() as u64 + bytes;
            if total > limits.retained_bytes_max && !sys {
                let cleared = self.clear(message);
                return Err(Full { bound: Bound::RetainedBytes, cleared });
            }
            self.bytes = total;
            *before = message.clone();
            return Ok(());
        }
        if !sys {
            if self.by_topic.len() >= limits.retained_messages_max as usize {
                return Err(Full { bound: Bound::RetainedMessages, cleared: false });
            }
            if self.bytes + bytes > limits.retained_bytes_max {
                return Err(Full { bound: Bound::RetainedBytes, cleared: false });
            }
        }
        self.bytes += bytes;
        self.by_topic.insert(self.key.as_slice().into(), message.clone());
        Ok(())
    }

    /// Notes that a message was lost to a bound; says whether it is the first since there was room.
    pub(crate) fn lose(&mut self) -> bool {
        !std::mem::replace(&mut self.losing, true)
    }

    /// Takes in what was kept, whatever the bounds are now.
    pub(crate) fn restore(&mut self, message: &Message) {
        encode(message, &mut self.key);
        self.bytes += message.len() as u64;
        self.by_topic.insert(self.key.as_slice().into(), message.clone());
    }

    /// Forgets the retained message of this message's topic; says whether there was one.
    pub(crate) fn clear(&mut self, message: &Message) -> bool {
        encode(message, &mut self.key);
        let before = self.by_topic.remove(&*self.key);
        self.bytes -= before.as_ref().map_or(0, |before| before.len() as u64);
        self.losing &= before.is_none();
        before.is_some()
    }

    /// The first message from `cursor` on whose topic matches. Every key looked at takes one of
    /// `steps`.
    pub(crate) fn search(
        &self,
        filter: TopicFilter<'_>,
        cursor: &mut Cursor,
        steps: &mut u32,
    ) -> Search<'_> {
        loop {
            if *steps == 0 {
                return Search::OutOfSteps;
            }
            *steps -= 1;
            let from = (Included(cursor.0.as_slice()), Unbounded);
            let Some((key, message)) = self.by_topic.range::<[u8], _>(from).next() else {
                return Search::Done;
            };
            match judge(key, filter, cursor) {
                Verdict::Matches => {
                    cursor.jump(&[key]);
                    return Search::Found(message);
                }
                Verdict::Jump => {}
                Verdict::NoMore => return Search::Done,
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Message> {
        self.by_topic.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_topic.len()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Cursor {
    /// Behind the key it stands on.
    pub(crate) fn pass(&mut self) {
        self.0.push(SEPARATOR);
    }

    fn jump(&mut self, parts: &[&[u8]]) {
        self.0.clear();
        parts.iter().for_each(|part| self.0.extend_from_slice(part));
    }
}

/// Whether this message belongs to the broker's own topics, which are not kept on disk.
pub(crate) fn is_sys(message: &Message) -> bool {
    let rest = message.topic().as_bytes().strip_prefix(b"$SYS");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
}

fn encode(message: &Message, key: &mut Vec<u8>) {
    let topic = message.topic().as_bytes();
    key.clear();
    key.extend(topic.iter().map(|&byte| if byte == b'/' { SEPARATOR } else { byte }));
}

/// Compares level by level; where they part, sets the cursor to the next key that could match.
fn judge(key: &[u8], filter: TopicFilter<'_>, cursor: &mut Cursor) -> Verdict {
    let mut wildcard = false;
    // Where the key's next level begins; behind the end: it has no more.
    let mut at = 0;
    for level in filter.levels() {
        let leads = at == 0;
        if leads && matches!(level, b"+" | b"#") && key.first() == Some(&DOLLAR) {
            cursor.jump(&[&[DOLLAR + 1]]); // I9, [MQTT-4.7.2-1]
            return Verdict::Jump;
        }
        if level == b"#" {
            return Verdict::Matches;
        }
        let name = if level == b"+" { &[] } else { level };
        if at > key.len() {
            cursor.jump(&[key, &[SEPARATOR], name]);
            return Verdict::Jump;
        }
        let rest = &key[at..];
        let own = &rest[..rest.iter().position(|&b| b == SEPARATOR).unwrap_or(rest.len())];
        if level == b"+" {
            wildcard = true;
        } else if own < level {
            cursor.jump(&[&key[..at], level]);
            return Verdict::Jump;
        } else if own > level {
            if !wildcard {
                return Verdict::NoMore;
            }
            cursor.jump(&[&key[..at - 1], &[AFTER_SUBTREE]]);
            return Verdict::Jump;
        }
        at += own.len() + 1;
    }
    if at > key.len() {
        return Verdict::Matches;
    }
    if !wildcard {
        return Verdict::NoMore;
    }
    cursor.jump(&[&key[..at - 1], &[AFTER_SUBTREE]]);
    Verdict::Jump
}
