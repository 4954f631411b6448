//! Retained messages for a new subscription, however many: a walk that is cut and gone on with.
//!
//! - **Outside the queue.** A replay reads the retained messages as they are when their turn comes
//!   and hands them to the link; none is queued and none is dropped. QoS 1 and 2 ones take places
//!   in the window of messages in flight.
//! - **It waits** for half the link's room to be free (the other half is left to live messages),
//!   for an open window, and for the queue to be empty: what the queue holds is older than what the
//!   replay would send. It goes on when the link reports room, when a message in flight is settled,
//!   when the client connects again.
//! - **It holds up nobody.** One input looks at [`STEPS_PER_INPUT`] topics at most. What then could
//!   go on at once stands in a list, [`next_deadline`](crate::Engine::next_deadline) says "now",
//!   and each `Due` gives the first in the list its turn.
//! - **Live messages** pass it by with RETAIN 0. A topic's value as the replay finds it is never
//!   older than a retained message that went out live before, because that one has replaced it.
//! - **Interrupted.** A kept session whose connection ends goes on where it stood; after a crash
//!   the replay begins again, so that none is lost and some may come twice. Subscribing again
//!   begins it again; unsubscribing ends it.

use martlet_codec::reason::QoS;

use crate::Engine;
use crate::change::Change;
use crate::counters::Bound;
use crate::effects::Effects;
use crate::filter::Filter;
use crate::publish::Routed;
use crate::router::retained::{Cursor, Search};
use crate::session::{Replay, Session, SessionIndex};

/// How many topics one input may look at. With twice as many the whole is not done sooner, and
/// others wait longer.
pub(crate) const STEPS_PER_INPUT: u32 = 128;

/// A place in the list of those who can go on at once; the lowest is the first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Turn(u64);

impl Turn {
    fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Why a replay stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stop {
    /// All was sent.
    Done,
    /// It waits for room, window or queue; one of them will wake it.
    Waits,
    /// It used its steps.
    OutOfSteps,
}

impl Engine {
    /// Sends the retained messages of these subscriptions [MQTT-3.3.1-6], in the order of the
    /// filters, or as many as may go now.
    pub(crate) fn begin_replays<'f>(
        &mut self,
        index: SessionIndex,
        filters: impl Iterator<Item = &'f Filter>,
        fx: &mut Effects,
    ) {
        let mut steps = STEPS_PER_INPUT;
        for filter in filters {
            let mut cursor = Cursor::default();
            let stop = self.replay(index, filter, &mut cursor, &mut steps, fx);
            if stop == Stop::Done {
                continue;
            }
            let session = &mut self.sessions[index];
            let kept = session.durable;
            session.rare.replays.insert(filter.clone(), Replay { cursor, kept });
            if kept {
                fx.changes.push(is_pending(session, filter, true));
            }
            if stop == Stop::OutOfSteps {
                self.schedule(index);
            }
        }
    }

    /// Goes on with all replays of a session.
    pub(crate) fn go_on_with_replays(&mut self, index: SessionIndex, fx: &mut Effects) {
        let mut steps = STEPS_PER_INPUT;
        while let Some((filter, mut replay)) = self.sessions[index].next_replay() {
            let stop = self.replay(index, &filter, &mut replay.cursor, &mut steps, fx);
            let session = &mut self.sessions[index];
            if stop == Stop::Done {
                if replay.kept {
                    fx.changes.push(is_pending(session, &filter, false));
                }
                continue;
            }
            session.rare.replays.insert(filter, replay);
            if stop == Stop::OutOfSteps {
                self.schedule(index);
            }
            return;
        }
    }

    /// `Due`: the first in the list has its turn.
    pub(crate) fn replay_next(&mut self, fx: &mut Effects) {
        let Some((_, index)) = self.replaying.pop_first() else { return };
        self.sessions[index].rare.turn = None;
        self.pump(index, fx);
    }

    /// Puts the session at the end of the list, unless it has its turn there already. A session
    /// that ends takes its turn along.
    fn schedule(&mut self, index: SessionIndex) {
        let rare = &mut self.sessions[index].rare;
        if rare.turn.is_none() {
            let turn = self.replaying.last_key_value().map_or(Turn(0), |(last, _)| last.next());
            rare.turn = Some(turn);
            self.replaying.insert(turn, index);
        }
    }

    fn replay(
        &mut self,
        index: SessionIndex,
        filter: &Filter,
        cursor: &mut Cursor,
        steps: &mut u32,
        fx: &mut Effects,
    ) -> Stop {
        let granted = self.sessions[index].subscriptions.get(filter);
        let granted = granted.expect("a subscription that ends takes its replay along").qos;
        while has_room_for_replay(&self.sessions[index]) {
            let message = match self.retained.search(filter.topic_filter(), cursor, steps) {
                Search::Found(message) => message.clone(),
                Search::OutOfSteps => return Stop::OutOfSteps,
                Search::Done => return Stop::Done,
            };
            if !self.sessions[index].may_receive(&message) {
                self.counters.count_drop(Bound::DeniedReceive);
                cursor.pass();
                continue;
            }
            let qos = message.qos().min(granted);
            let session = &mut self.sessions[index];
            if qos == QoS::AtMostOnce {
                session.publish_qos0(&message, true, &mut self.counters, fx);
            } else if session.is_ready(qos, &self.limits) {
                let mut routed = Routed { retain: true, ..Routed::new(&message) }; // [MQTT-3.3.1-8]
                self.start(index, &mut routed, qos, fx);
            } else {
                return Stop::Waits;
            }
            cursor.pass();
        }
        Stop::Waits
    }
}

pub(crate) fn has_room_for_replay(session: &Session) -> bool {
    session.attached().is_some_and(|attached| attached.room > i64::from(attached.room_max / 2))
}

fn is_pending(session: &Session, filter: &Filter, pending: bool) -> Change {
    let client_id = session.client_id.clone();
    Change::Replay { client_id, filter: filter.clone(), pending }
}
