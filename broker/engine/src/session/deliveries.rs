//! QoS 1 and 2 to the client: what waits, what is in flight, and who owes the next packet.
//!
//! | we sent        | state          | the session resumes       | settles with          |
//! |----------------|----------------|---------------------------|-----------------------|
//! | PUBLISH QoS 1  | `PubAck`       | PUBLISH again, DUP, same id | PUBACK              |
//! | PUBLISH QoS 2  | `PubRec`       | PUBLISH again, DUP, same id | PUBREC, then PUBREL |
//! | PUBREL         | `PubComp`      | PUBREL again              | PUBCOMP               |

use std::collections::VecDeque;

use martlet_codec::ids::PacketId;
use martlet_codec::packet::Delivery;
use martlet_codec::reason::QoS;

use crate::change::MessageKey;
use crate::counters::Bound;
use crate::effects::OutPacket;
use crate::filter::Filter;
use crate::limits::Limits;
use crate::message::Message;
use crate::session::seldom::Unchanged;

/// One message for one session. There may be millions: 32 bytes each.
#[derive(Clone, Debug)]
pub(crate) struct Outbound {
    pub(crate) message: Message,
    /// The QoS this session gets it at, and the RETAIN flag.
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// Its name in the store; none in a session that is not kept there.
    pub(crate) key: OptionalKey,
    /// The share it came by.
    pub(crate) share: Option<Filter>,
}

/// A message's name in the store, or none, in the room of a name: 0 is none, what is greater is one
/// more than the name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OptionalKey(u64);

impl OptionalKey {
    pub(crate) fn new(key: Option<MessageKey>) -> Self {
        Self(key.map_or(0, |key| key.0 + 1))
    }

    pub(crate) fn get(self) -> Option<MessageKey> {
        self.0.checked_sub(1).map(MessageKey)
    }
}

/// What the client owes for a message in flight.
#[derive(Clone, Debug)]
#[expect(clippy::enum_variant_names, reason = "the packets' names")]
pub(crate) enum Awaiting {
    PubAck(Outbound),
    PubRec(Outbound),
    PubComp,
}

/// What an acknowledgement did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    /// The delivery is over, its id free [MQTT-2.3.1-4].
    Settled,
    /// The first PUBREC: PUBREL is due.
    Advanced,
    /// Another PUBREC: PUBREL again.
    Repeated,
    /// No such delivery.
    Unknown,
    /// The delivery awaits another packet; the rule that the client broke.
    Wrong(&'static str),
}

/// Messages that wait or are in flight, of one session or of all.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Waiting {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

/// The deliveries of one session. What adds or takes a message keeps the `total` of all sessions.
pub(crate) struct Deliveries {
    queue: VecDeque<Outbound>,
    queue_bytes: u64,
    /// How many in the queue have QoS 0.
    queue_qos0: usize,
    /// In send order. What was settled out of order leaves a hole until it is the first.
    in_flight: VecDeque<Slot>,
    holes: usize,
    /// How many in flight await PUBREC. Their ids are those that the client remembers: PUBREL, on
    /// which it forgets one, stands in front of whatever is sent behind PUBREC.
    unreleased: usize,
    /// Bytes of those in flight whose message is still needed.
    in_flight_bytes: u64,
    /// Slots before this one were sent on the present connection; those from here on were sent on
    /// an earlier one and must be sent again first.
    resent: usize,
    last_id: Option<PacketId>,
    /// Ids went once around while an old one was still in use, so that send order is no longer the
    /// order of ids. Holds until nothing is in flight.
    overtaken: bool,
}

struct Slot {
    id: PacketId,
    awaiting: Option<Awaiting>,
}

impl Unchanged for Deliveries {
    const SHARED: &'static Self = &Self::none();

    fn new() -> Self {
        Self::none()
    }
}

impl Deliveries {
    const fn none() -> Self {
        Self {
            queue: VecDeque::new(),
            queue_bytes: 0,
            queue_qos0: 0,
            in_flight: VecDeque::new(),
            holes: 0,
            unreleased: 0,
            in_flight_bytes: 0,
            resent: 0,
            last_id: None,
            overtaken: false,
        }
    }

    /// Goes on from what was kept.
    pub(crate) fn restore(
        queue: VecDeque<Outbound>,
        in_flight: impl Iterator<Item = (PacketId, Awaiting)>,
    ) -> Self {
        let in_flight: VecDeque<_> =
            in_flight.map(|(id, awaiting)| Slot { id, awaiting: Some(awaiting) }).collect();
        let awaiting = || in_flight.iter().filter_map(|slot| slot.awaiting.as_ref());
        let messages = || awaiting().filter_map(Awaiting::outbound);
        Self {
            queue_bytes: queue.iter().map(|outbound| outbound.message.len() as u64).sum(),
            queue_qos0: queue.iter().filter(|outbound| outbound.qos == QoS::AtMostOnce).count(),
            queue,
            holes: 0,
            unreleased: awaiting().filter(|awaiting| awaiting.is_unreleased()).count(),
            in_flight_bytes: messages().map(|outbound| outbound.message.len() as u64).sum(),
            resent: 0,
            last_id: in_flight.back().map(|slot| slot.id),
            overtaken: !in_flight
                .iter()
                .is_sorted_by_key(|slot| distance(in_flight[0].id, slot.id)),
            in_flight,
        }
    }

    pub(crate) fn are_some(&self) -> bool {
        !self.queue.is_empty() || !self.in_flight.is_empty()
    }

    /// Whether a message of this QoS, 1 or 2, may be sent: resending is over, and what is in
    /// flight is below its bounds.
    pub(crate) fn window_is_open(&self, qos: QoS, limits: &Limits) -> bool {
        let is_below = |len: usize, max: u16| len < usize::from(max.max(1));
        let bytes_max = limits.inflight_bytes_max;
        self.resent == self.in_flight.len()
            && is_below(self.in_flight_len(), limits.inflight_max)
            && (bytes_max == 0 || self.in_flight_bytes < bytes_max)
            && (qos != QoS::ExactlyOnce || is_below(self.unreleased, limits.inflight_qos2_max))
    }

    /// Puts a message in flight as the last and gives it an id that is not in use
    /// [MQTT-2.3.1-4] [MQTT-4.3.2-1] [MQTT-4.3.3-1]. The window must be open.
    pub(crate) fn start(&mut self, outbound: Outbound, total: &mut Waiting) -> PacketId {
        debug_assert_eq!(self.resent, self.in_flight.len(), "resend comes first (I10)");
        let mut id = self.last_id.map_or(PacketId::FIRST, PacketId::next);
        while self.is_taken(id) {
            self.overtaken = true;
            id = id.next();
        }
        self.last_id = Some(id);
        total.add(&outbound.message);
        self.in_flight_bytes += outbound.message.len() as u64;
        self.unreleased += usize::from(outbound.qos == QoS::ExactlyOnce);
        self.in_flight.push_back(Slot { id, awaiting: Some(Awaiting::sent(outbound)) });
        self.resent = self.in_flight.len();
        id
    }

    /// Puts a message at the end of the queue. [`admit`](Self::admit) comes first.
    pub(crate) fn enqueue(&mut self, outbound: Outbound, total: &mut Waiting) {
        total.add(&outbound.message);
        self.queue_bytes += outbound.message.len() as u64;
        self.queue_qos0 += usize::from(outbound.qos == QoS::AtMostOnce);
        self.queue.push_back(outbound);
    }

    /// Whether the message fits into the queue, or at which bound it does not.
    pub(crate) fn admit(&self, message: &Message, limits: &Limits) -> Result<(), Bound> {
        let messages_max = limits.queue_messages_max as usize;
        if messages_max != 0 && self.queue.len() >= messages_max {
            return Err(Bound::QueueMessages);
        }
        let bytes_max = limits.queue_bytes_max;
        if bytes_max != 0 && self.queue_bytes + message.len() as u64 > bytes_max {
            return Err(Bound::QueueBytes);
        }
        Ok(())
    }

    pub(crate) fn queue_is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether QoS 0 messages wait, so that another must not pass them (I10).
    pub(crate) fn queue_holds_qos0(&self) -> bool {
        self.queue_qos0 > 0
    }

    pub(crate) fn first_queued(&self) -> Option<&Outbound> {
        self.queue.front()
    }

    pub(crate) fn dequeue(&mut self, total: &mut Waiting) -> Option<Outbound> {
        let outbound = self.queue.pop_front()?;
        total.take(&outbound.message);
        self.queue_bytes -= outbound.message.len() as u64;
        self.queue_qos0 -= usize::from(outbound.qos == QoS::AtMostOnce);
        give_back(&mut self.queue);
        Some(outbound)
    }

    /// The connection ended: all in flight must be sent again on the next.
    pub(crate) fn rewind(&mut self) {
        self.resent = 0;
    }

    /// The next packet to send again, in the order of first sending [MQTT-4.4.0-1] [MQTT-4.6.0-1],
    /// with DUP [MQTT-3.3.1-1] and the same id; never a PUBLISH once its PUBREL went out
    /// [MQTT-4.3.3-1].
    pub(crate) fn resend(&mut self) -> Option<OutPacket> {
        loop {
            let slot = self.in_flight.get(self.resent)?;
            self.resent += 1;
            match &slot.awaiting {
                None => {}
                Some(Awaiting::PubComp) => return Some(OutPacket::PubRel(slot.id)),
                Some(Awaiting::PubAck(outbound) | Awaiting::PubRec(outbound)) => {
                    return Some(outbound.publish_again(slot.id));
                }
            }
        }
    }

    pub(crate) fn on_puback(&mut self, id: PacketId, total: &mut Waiting) -> Answer {
        let Some(at) = self.position(id) else { return Answer::Unknown };
        match &self.in_flight[at].awaiting {
            Some(Awaiting::PubAck(outbound)) => {
                total.take(&outbound.message);
                self.in_flight_bytes -= outbound.message.len() as u64;
                self.settle(at)
            }
            // QoS 2 is answered with PUBREC.
            Some(Awaiting::PubRec(_) | Awaiting::PubComp) => Answer::Wrong("MQTT-3.3.4-1"),
            None => Answer::Unknown,
        }
    }

    pub(crate) fn on_pubrec(&mut self, id: PacketId, total: &mut Waiting) -> Answer {
        let Some(at) = self.position(id) else { return Answer::Unknown };
        let awaiting = &mut self.in_flight[at].awaiting;
        match awaiting {
            Some(Awaiting::PubRec(outbound)) => {
                total.take(&outbound.message);
                self.in_flight_bytes -= outbound.message.len() as u64;
                self.unreleased -= 1;
                *awaiting = Some(Awaiting::PubComp);
                Answer::Advanced
            }
            Some(Awaiting::PubComp) => Answer::Repeated,
            // QoS 1 is answered with PUBACK.
            Some(Awaiting::PubAck(_)) => Answer::Wrong("MQTT-3.3.4-1"),
            None => Answer::Unknown,
        }
    }

    pub(crate) fn on_pubcomp(&mut self, id: PacketId) -> Answer {
        let Some(at) = self.position(id) else { return Answer::Unknown };
        match self.in_flight[at].awaiting {
            Some(Awaiting::PubComp) => self.settle(at),
            Some(Awaiting::PubAck(_)) => Answer::Wrong("MQTT-3.3.4-1"),
            // PUBCOMP answers PUBREL, which answers PUBREC.
            Some(Awaiting::PubRec(_)) => Answer::Wrong("MQTT-4.3.3-2"),
            None => Answer::Unknown,
        }
    }

    /// What is in flight, in send order.
    pub(crate) fn in_flight(&self) -> impl Iterator<Item = (PacketId, &Awaiting)> {
        self.in_flight.iter().filter_map(|slot| Some((slot.id, slot.awaiting.as_ref()?)))
    }

    pub(crate) fn queue(&self) -> impl Iterator<Item = &Outbound> {
        self.queue.iter()
    }

    /// All messages that wait or are in flight.
    pub(crate) fn waiting(&self) -> Waiting {
        let in_flight = self.in_flight().filter_map(|(_, awaiting)| awaiting.outbound());
        let mut waiting = Waiting::default();
        in_flight.chain(&self.queue).for_each(|outbound| waiting.add(&outbound.message));
        waiting
    }

    pub(crate) fn queue_len(&self) -> usize {
        self.queue.len()
    }

    /// Bytes of all messages that wait or are in flight.
    pub(crate) fn waiting_bytes(&self) -> u64 {
        self.queue_bytes + self.in_flight_bytes
    }

    pub(crate) fn in_flight_len(&self) -> usize {
        self.in_flight.len() - self.holes
    }

    /// Whether an id that comes behind the last is in use. While none was overtaken, ids in flight
    /// stand in order, and only the first can have been come around to.
    fn is_taken(&self, id: PacketId) -> bool {
        match self.overtaken {
            true => self.position(id).is_some(),
            false => self.in_flight.front().is_some_and(|first| first.id == id),
        }
    }

    fn settle(&mut self, at: usize) -> Answer {
        self.in_flight[at].awaiting = None;
        self.holes += 1;
        while self.in_flight.front().is_some_and(|slot| slot.awaiting.is_none()) {
            self.in_flight.pop_front();
            self.holes -= 1;
            self.resent = self.resent.saturating_sub(1);
        }
        let resent_all = self.resent == self.in_flight.len();
        // A hole costs a step at most twice: when it is made and when it is closed.
        if self.holes > 16 && self.holes * 2 > self.in_flight.len() && resent_all {
            self.in_flight.retain(|slot| slot.awaiting.is_some());
            self.holes = 0;
            self.resent = self.in_flight.len();
        }
        if self.in_flight.is_empty() {
            self.overtaken = false;
            give_back(&mut self.in_flight);
        }
        Answer::Settled
    }

    /// Where the delivery with this id stands. Acknowledgements mostly come in send order; others
    /// are found by halving, because ids are given in order, unless one was overtaken.
    fn position(&self, id: PacketId) -> Option<usize> {
        let first = self.in_flight.front()?;
        if first.id == id {
            return Some(0);
        }
        if self.overtaken {
            let is_it = |slot: &Slot| slot.id == id && slot.awaiting.is_some();
            return self.in_flight.iter().position(is_it);
        }
        let from_first = |id: PacketId| distance(first.id, id);
        let at = self.in_flight.binary_search_by_key(&from_first(id), |slot| from_first(slot.id));
        at.ok().filter(|&at| self.in_flight[at].awaiting.is_some())
    }
}

/// Gives back what a long queue took, once it is empty: there are many sessions.
fn give_back<T>(queue: &mut VecDeque<T>) {
    if queue.is_empty() && queue.capacity() > 32 {
        *queue = VecDeque::new();
    }
}

/// How many steps of [`PacketId::next`] lead from one id to the other.
fn distance(from: PacketId, to: PacketId) -> u32 {
    let (from, to) = (u32::from(from.get()), u32::from(to.get()));
    if to >= from { to - from } else { to + u32::from(u16::MAX) - from }
}

impl Waiting {
    fn add(&mut self, message: &Message) {
        self.messages += 1;
        self.bytes += message.len() as u64;
    }

    fn take(&mut self, message: &Message) {
        self.messages -= 1;
        self.bytes -= message.len() as u64;
    }
}

impl Awaiting {
    /// What the client owes for a message that was sent.
    pub(crate) fn sent(outbound: Outbound) -> Self {
        match outbound.qos {
            QoS::ExactlyOnce => Self::PubRec(outbound),
            QoS::AtLeastOnce | QoS::AtMostOnce => Self::PubAck(outbound),
        }
    }

    /// Whether the client has an id to remember that no PUBREL has released yet.
    pub(crate) fn is_unreleased(&self) -> bool {
        matches!(self, Self::PubRec(_))
    }

    /// The message, while it is still needed.
    pub(crate) fn outbound(&self) -> Option<&Outbound> {
        match self {
            Self::PubAck(outbound) | Self::PubRec(outbound) => Some(outbound),
            Self::PubComp => None,
        }
    }
}

impl Outbound {
    /// The PUBLISH for this message once again.
    fn publish_again(&self, id: PacketId) -> OutPacket {
        let (message, delivery) = (self.message.clone(), delivery(self.qos, id, true));
        OutPacket::Publish { message, delivery, retain: self.retain }
    }
}

/// A delivery under this id. DUP says whether this server sent it before; the publisher's DUP is
/// not carried on [MQTT-3.3.1-3].
pub(crate) fn delivery(qos: QoS, id: PacketId, dup: bool) -> Delivery {
    match qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => Delivery::AtLeastOnce { id, dup },
        QoS::ExactlyOnce => Delivery::ExactlyOnce { id, dup },
    }
}
