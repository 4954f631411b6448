//! One session's rows: where they stand, and what is to be done to them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use martlet_codec::ids::PacketId;
use martlet_engine::change::{MessageKey, Passage};
use martlet_engine::filter::Filter;
use martlet_engine::snapshot::KeptSubscription;

use crate::store::edits::{Edit, Edits};
use crate::store::ledger::{FlightRow, QueueEdits, SessionEdits, SessionNumber, SessionRow, Stage};
use crate::store::record::Parcel;

/// Where a session's rows stand.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Session {
    pub(in crate::store) number: SessionNumber,
    pub(in crate::store) subscriptions: BTreeMap<Filter, KeptSubscription>,
    /// The messages of its queue, in order; the first has place `queue_start`, and so on.
    pub(in crate::store) queue: VecDeque<MessageKey>,
    pub(in crate::store) queue_start: u64,
    pub(in crate::store) in_flight: BTreeMap<PacketId, Flight>,
    /// Greater than each `Flight::order`.
    pub(in crate::store) next_order: u64,
    pub(in crate::store) received: BTreeSet<PacketId>,
    /// What is to be written; `None`: nothing.
    changed: Option<Box<Changed>>,
}

/// A delivery in flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct Flight {
    /// Its place in send order.
    order: u64,
    /// Its message; `None`: PUBCOMP is awaited.
    key: Option<MessageKey>,
    /// A row with its id is there.
    has_row: bool,
    /// What its row is to say, if not what it says.
    unwritten: Option<Unwritten>,
}

/// How far a delivery in flight has come.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Unwritten {
    Sent(Passage),
    /// Sent: the passage has a row in the queue, at this place.
    Moved(u64),
    AwaitPubComp,
}

/// What is to be done to a session's rows, as far as its other fields do not say it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Changed {
    row: Option<SessionRow>,
    /// No row of it is there yet.
    is_new: bool,
    subscriptions: Edits<Filter, KeptSubscription>,
    /// What has a row has left the queue's front.
    is_unqueued: bool,
    /// The queue's last passages: those without a row.
    queued: VecDeque<Passage>,
    /// Ids whose row goes.
    landed: BTreeSet<PacketId>,
    received: Edits<PacketId, ()>,
}

impl Session {
    /// One that no row says yet.
    pub(super) fn new(number: SessionNumber, row: SessionRow) -> Self {
        let changed = Changed { row: Some(row), is_new: true, ..Changed::default() };
        Self { number, changed: Some(Box::new(changed)), ..Self::default() }
    }

    /// Its place in the rows, as it is told.
    pub(in crate::store) fn at(number: SessionNumber) -> Self {
        Self { number, ..Self::default() }
    }

    /// No row of it is there.
    pub(super) fn is_new(&self) -> bool {
        self.changed.as_ref().is_some_and(|changed| changed.is_new)
    }

    /// Whether what is to be written has been noted since it was last taken.
    pub(super) fn is_touched(&self) -> bool {
        self.changed.is_some()
    }

    /// The messages that its passages name, each as often as it is named.
    pub(super) fn keys(&self) -> impl Iterator<Item = MessageKey> {
        let in_flight = self.in_flight.values().filter_map(|flight| flight.key);
        in_flight.chain(self.queue.iter().copied())
    }

    pub(super) fn set_row(&mut self, row: SessionRow) {
        self.changed().row = Some(row);
    }

    pub(super) fn subscribe(&mut self, filter: &Filter, kept: KeptSubscription) {
        match self.subscriptions.insert(filter.clone(), kept) {
            None => self.changed().subscriptions.insert(filter.clone(), kept),
            Some(before) if before == kept => {}
            Some(_) => self.changed().subscriptions.replace(filter.clone(), kept),
        }
    }

    pub(super) fn unsubscribe(&mut self, filter: &Filter) {
        if self.subscriptions.remove(filter).is_some() {
            self.changed().subscriptions.delete(filter.clone());
        }
    }

    pub(super) fn enqueue(&mut self, passage: Passage) {
        self.queue.push_back(passage.key);
        self.changed().queued.push_back(passage);
    }

    /// The first of the queue leaves it, to be in flight if it has an id; else its message is the
    /// answer.
    pub(super) fn send(&mut self, id: Option<PacketId>) -> Option<MessageKey> {
        let key = self.queue.pop_front()?;
        let place = self.queue_start;
        self.queue_start += 1;
        let left = self.queue.len();
        let changed = self.changed();
        let stage = if changed.queued.len() > left {
            Unwritten::Sent(changed.queued.pop_front().expect("there are more than are left"))
        } else {
            changed.is_unqueued = true;
            Unwritten::Moved(place)
        };
        let Some(id) = id else { return Some(key) };
        self.fly(id, key, stage);
        None
    }

    pub(super) fn deliver(&mut self, id: PacketId, passage: Passage) {
        self.fly(id, passage.key, Unwritten::Sent(passage));
    }

    /// PUBCOMP is awaited from now on; the message that is needed no more.
    pub(super) fn advance(&mut self, id: PacketId) -> Option<MessageKey> {
        self.changed();
        let flight = self.in_flight.get_mut(&id)?;
        flight.unwritten = Some(Unwritten::AwaitPubComp);
        flight.key.take()
    }

    /// The delivery is over; the message that is needed no more.
    pub(super) fn settle(&mut self, id: PacketId) -> Option<MessageKey> {
        let flight = self.in_flight.remove(&id)?;
        if flight.has_row {
            self.changed().landed.insert(id);
        }
        flight.key
    }

    pub(super) fn mark_received(&mut self, id: PacketId) {
        if self.received.insert(id) {
            self.changed().received.insert(id, ());
        }
    }

    pub(super) fn forget_received(&mut self, id: PacketId) {
        if self.received.remove(&id) {
            self.changed().received.delete(id);
        }
    }

    /// Notes one in flight that has a row.
    pub(in crate::store) fn found_in_flight(
        &mut self,
        id: PacketId,
        order: u64,
        key: Option<MessageKey>,
    ) {
        let flight = Flight { order, key, has_row: true, unwritten: None };
        self.in_flight.insert(id, flight);
        self.next_order = self.next_order.max(order + 1);
    }

    /// Whether a row is to be written or deleted.
    pub(super) fn is_changed(&self) -> bool {
        let Some(changed) = &self.changed else { return false };
        changed.row.is_some()
            || !changed.subscriptions.is_empty()
            || changed.is_unqueued
            || !changed.queued.is_empty()
            || !changed.landed.is_empty()
            || !changed.received.is_empty()
            || self.in_flight.values().any(|flight| flight.unwritten.is_some())
    }

    /// Hands over what is to be done to the rows; they count as written from here on. `parcel`
    /// says what the row of a passage is.
    pub(super) fn take_edits(
        &mut self,
        mut parcel: impl FnMut(Passage) -> Parcel,
    ) -> Option<SessionEdits> {
        let is_changed = self.is_changed();
        let changed = self.changed.take().filter(|_| is_changed)?;
        let queue = QueueEdits {
            front: changed.is_unqueued.then_some(self.queue_start),
            new_from: self.queue_start + (self.queue.len() - changed.queued.len()) as u64,
            new: changed.queued.into_iter().map(&mut parcel).collect(),
        };
        let landed = changed.landed.into_iter().map(|id| (id, Edit::Delete));
        let mut in_flight: BTreeMap<_, _> = landed.collect();
        for (id, flight) in &mut self.in_flight {
            let stage = match flight.unwritten.take() {
                None => continue,
                Some(Unwritten::Sent(passage)) => Stage::Sent(parcel(passage)),
                Some(Unwritten::Moved(place)) => Stage::Moved(place),
                Some(Unwritten::AwaitPubComp) => Stage::AwaitPubComp,
            };
            flight.has_row = true;
            in_flight.insert(*id, Edit::Replace(FlightRow { order: flight.order, stage }));
        }
        Some(SessionEdits {
            row: changed.row,
            subscriptions: changed.subscriptions,
            queue,
            in_flight: Edits(in_flight),
            received: changed.received,
        })
    }

    fn fly(&mut self, id: PacketId, key: MessageKey, stage: Unwritten) {
        let order = self.next_order;
        self.next_order += 1;
        let has_row = self.changed().landed.remove(&id);
        let flight = Flight { order, key: Some(key), has_row, unwritten: Some(stage) };
        let before = self.in_flight.insert(id, flight);
        // Only what was salvaged repeats an id.
        if before.is_some_and(|before| before.has_row)
            && let Some(flight) = self.in_flight.get_mut(&id)
        {
            flight.has_row = true;
        }
    }

    fn changed(&mut self) -> &mut Changed {
        self.changed.get_or_insert_default()
    }
}
