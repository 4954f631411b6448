//! What waits to be sent on one link, and who is sending it.

use std::ops::{AddAssign, SubAssign};
use std::task::Waker;

use martlet_codec::packet::Delivery;
use martlet_engine::effects::{Farewell, OutPacket};
use parking_lot::{Mutex, MutexGuard};

use crate::driver::spare::{self, ROOM};

/// A packet in an outbox.
#[derive(Debug)]
pub struct Queued {
    /// What to send.
    pub packet: OutPacket,
    /// The commit that must have happened before (I2); 0 is none.
    pub after_commit: u64,
}

/// What packets take of the outbox, in the unit of [`OutPacket::cost`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// All of them.
    pub all: u64,
    /// Those that answer the client, which the engine hands out whether or not there is room.
    pub answers: u64,
    /// How many are messages at QoS 0: nobody else has them.
    pub qos0: u64,
}

/// Packets in order.
pub type Packets = Vec<Queued>;

/// What waits to be sent on one link.
///
/// Whoever has filled it tries to send it when their turn ends, whatever the link's own task does;
/// `sending` says that somebody is sending, and that whatever is pushed meanwhile will be seen by
/// them. What the socket does not take waits for the link's own task.
#[derive(Debug, Default)]
pub struct Outbox(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    packets: Packets,
    /// Cost of everything pushed and not yet reported as sent.
    cost: Cost,
    /// Cost of what was sent since room was last reported to the engine.
    freed: u32,
    /// Somebody is sending, outside the lock.
    sending: bool,
    /// Somebody else wanted to send meanwhile, perhaps because a commit has happened.
    again: bool,
    /// The socket took no more: only the link's own task goes on.
    blocked: bool,
    /// The thread that has it in its list of those to send when its turn ends; 0 is none. Each
    /// sends only its own list, so that nobody waits for another thread's turn.
    listed_by: u32,
    /// Nothing comes after what is here. A word until then.
    farewell: Option<Box<Farewell>>,
    /// The link's own task.
    task: Option<Waker>,
}

/// An outbox that is being filled.
pub(super) struct Filling<'o> {
    state: MutexGuard<'o, State>,
    /// Of what was put in.
    cost: u64,
}

/// What came of an attempt to send.
#[derive(Debug, Default)]
pub struct Sent {
    /// What was to be sent, without what is done with.
    pub left: Packets,
    /// Cost of the packets that the socket has taken whole.
    pub cost: Cost,
    /// Whether the socket took no more.
    pub blocked: bool,
}

/// What the link's own task wants to know.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// Cost of all that is not sent.
    pub cost: Cost,
    /// Cost of what was sent since the engine last heard of it.
    pub freed: u32,
    /// Whether the socket took no more.
    pub blocked: bool,
    /// Whether the link must close once all is sent.
    pub farewell: Option<Farewell>,
}

impl Cost {
    /// Of one packet.
    pub fn of(packet: &OutPacket) -> Self {
        let all = u64::from(packet.cost());
        match packet {
            OutPacket::Publish { delivery, .. } => {
                let qos0 = u64::from(*delivery == Delivery::AtMostOnce);
                Self { all, answers: 0, qos0 }
            }
            _ => Self { all, answers: all, qos0: 0 },
        }
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, more: Self) {
        self.all += more.all;
        self.answers += more.answers;
        self.qos0 += more.qos0;
    }
}

impl SubAssign for Cost {
    /// What is taken away was added before.
    fn sub_assign(&mut self, less: Self) {
        self.all -= less.all;
        self.answers -= less.answers;
        self.qos0 -= less.qos0;
    }
}

impl Filling<'_> {
    /// Puts a packet behind the others.
    pub(super) fn push(&mut self, queued: Queued) {
        let cost = Cost::of(&queued.packet);
        self.cost += cost.all;
        self.state.cost += cost;
        let packets = &mut self.state.packets;
        match packets.capacity() {
            0 => *packets = spare::take(),
            few if few == packets.len() && few < ROOM.1 => packets.reserve_exact(ROOM.1 - few),
            _ => {}
        }
        packets.push(queued);
    }

    /// What was put in takes so much; `true` if the thread `by`, which did, must see that it is
    /// sent.
    pub(super) fn close(mut self, by: u32) -> (u64, bool) {
        (self.cost, std::mem::replace(&mut self.state.listed_by, by) != by)
    }
}

impl Outbox {
    /// Lets somebody fill it; nobody else comes to it meanwhile.
    pub(super) fn fill(&self) -> Filling<'_> {
        Filling { state: self.0.lock(), cost: 0 }
    }

    /// How many packets wait, those that are being sent aside, and the cost of all.
    pub(super) fn waiting(&self) -> (u64, u64) {
        let state = self.0.lock();
        (state.packets.len() as u64, state.cost.all)
    }

    /// How many messages at QoS 0 would be lost with it: all that no socket has taken whole.
    pub(super) fn at_stake(&self) -> u64 {
        self.0.lock().cost.qos0
    }

    /// Says that nothing comes after what is here, and wakes the link's task to see to it.
    pub(super) fn close(&self, farewell: Farewell) {
        let mut state = self.0.lock();
        state.farewell.get_or_insert_with(|| Box::new(farewell));
        wake(&mut state);
    }

    /// Takes what is to be sent, unless somebody is sending, or only the link's own task may, or
    /// all of it waits for a commit later than `committed`.
    pub(super) fn begin(&self, own_task: bool, committed: u64) -> Option<Packets> {
        let mut state = self.0.lock();
        state.listed_by = 0;
        if state.sending {
            state.again = true;
            return None;
        }
        if state.blocked && !own_task {
            return None;
        }
        let holds_back = state.packets.first().is_none_or(|next| next.after_commit > committed);
        if holds_back && !state.blocked {
            return None;
        }
        state.sending = true;
        Some(std::mem::take(&mut state.packets))
    }

    /// Gives back what was not sent; answers what came in meanwhile and is to be sent now by the
    /// same sender, and whether this is when half of `bytes_max` has been sent that the engine has
    /// not heard of. Wakes the link's task when it is needed: the socket is full, there is room to
    /// report, the link is to close, or its client's answers no longer reach `bytes_max`, for which
    /// it reads nothing.
    pub(super) fn end(&self, sent: Sent, bytes_max: u32) -> (Option<Packets>, bool) {
        let mut state = self.0.lock();
        let holds_back = !sent.left.is_empty();
        let mut emptied = sent.left;
        if holds_back {
            std::mem::swap(&mut state.packets, &mut emptied);
            state.packets.append(&mut emptied);
            // What waits for long keeps no more room than it takes.
            if state.packets.capacity() > 4 * state.packets.len().max(ROOM.1) {
                state.packets.shrink_to_fit();
            }
        }
        spare::keep(emptied);
        let is_full = |cost: Cost| cost.answers >= u64::from(bytes_max);
        let was_full = is_full(state.cost);
        state.cost -= sent.cost;
        if was_full && !is_full(state.cost) {
            wake(&mut state);
        }
        let freed_before = state.freed;
        let freed = u32::try_from(sent.cost.all).unwrap_or(u32::MAX);
        state.freed = freed_before.saturating_add(freed);
        let enough = |freed| freed >= bytes_max / 2;
        let reports = enough(state.freed) && !enough(freed_before);
        state.blocked = sent.blocked;
        let again = std::mem::take(&mut state.again);
        if !state.blocked && !state.packets.is_empty() && (again || !holds_back) {
            return (Some(std::mem::take(&mut state.packets)), reports);
        }
        state.sending = false;
        if state.blocked || state.farewell.is_some() || enough(state.freed) {
            wake(&mut state);
        }
        (None, reports)
    }

    /// How things stand; `task` is woken when that changes.
    pub fn standing(&self, task: &Waker) -> Standing {
        let mut state = self.0.lock();
        if !state.task.as_ref().is_some_and(|known| known.will_wake(task)) {
            state.task = Some(task.clone());
        }
        Standing {
            cost: state.cost,
            freed: state.freed,
            blocked: state.blocked,
            farewell: state.farewell.as_deref().copied(),
        }
    }

    /// What was sent since the engine last heard of it; it hears of it now.
    pub(super) fn take_freed(&self) -> u32 {
        std::mem::take(&mut self.0.lock().freed)
    }

    /// Wakes the link's own task.
    pub fn wake(&self) {
        wake(&mut self.0.lock());
    }
}

fn wake(state: &mut State) {
    if let Some(task) = &state.task {
        task.wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use martlet_codec::ids::PacketId;
    use martlet_codec::reason::QoS;
    use martlet_codec::topic::TopicName;
    use martlet_engine::message::Message;

    use super::*;

    fn ping(after_commit: u64) -> Queued {
        Queued { packet: OutPacket::PingResp, after_commit }
    }

    const COST: u64 = OutPacket::COST_BASE as u64;

    /// `true`: whoever did must see that they are sent.
    fn push_all(outbox: &Outbox, packets: impl IntoIterator<Item = Queued>) -> bool {
        push_all_by(1, outbox, packets)
    }

    fn push_all_by(by: u32, outbox: &Outbox, packets: impl IntoIterator<Item = Queued>) -> bool {
        let mut filling = outbox.fill();
        packets.into_iter().for_each(|queued| filling.push(queued));
        filling.close(by).1
    }

    fn all_of(packets: &Packets) -> Sent {
        let all = COST * packets.len() as u64;
        Sent { cost: Cost { all, answers: all, qos0: 0 }, ..Sent::default() }
    }

    #[test]
    fn what_comes_while_somebody_sends_is_sent_by_them() {
        let outbox = Outbox::default();
        assert!(push_all(&outbox, [ping(0)]), "the first to fill it sees to it");
        assert!(!push_all(&outbox, [ping(0)]), "somebody sees to it already");
        let packets = outbox.begin(false, 0).expect("two packets");
        assert_eq!(packets.len(), 2);
        assert!(push_all(&outbox, [ping(0)]));
        assert!(outbox.begin(false, 0).is_none(), "somebody is sending");
        let more = outbox.end(all_of(&packets), 1000).0.expect("what came meanwhile");
        assert_eq!(more.len(), 1);
        assert_eq!(outbox.end(all_of(&more), 1000).0.map(|more| more.len()), None);
        assert!(outbox.begin(false, 0).is_none(), "empty");
        assert_eq!(outbox.standing(Waker::noop()).freed, 3 * COST as u32);
    }

    /// Fills it with so many, and sends them all; answers for how many it had room.
    fn pass(outbox: &Outbox, count: usize) -> usize {
        push_all(outbox, (0..count).map(|_| ping(0)));
        let mut packets = outbox.begin(false, 0).expect("packets");
        let (sent, room) = (all_of(&packets), packets.capacity());
        packets.clear();
        assert!(outbox.end(Sent { left: packets, ..sent }, u32::MAX).0.is_none());
        assert_eq!(outbox.0.lock().packets.capacity(), 0, "an idle one keeps none");
        room
    }

    #[test]
    fn an_outbox_that_was_sent_leaves_its_room_to_others() {
        pass(&Outbox::default(), 20);
        assert!(pass(&Outbox::default(), 1) >= 20);
    }

    #[test]
    fn what_waits_keeps_no_room_for_what_was_sent() {
        let outbox = Outbox::default();
        push_all(&outbox, (0..1000).map(|_| ping(0)));
        let mut packets = outbox.begin(false, 0).expect("packets");
        let sent = all_of(&packets);
        packets.drain(1..);
        outbox.end(Sent { left: packets, blocked: true, ..sent }, u32::MAX);
        assert!(outbox.0.lock().packets.capacity() <= ROOM.1);
    }

    #[test]
    fn each_thread_that_fills_it_sees_to_it() {
        let outbox = Outbox::default();
        assert!(push_all_by(1, &outbox, [ping(0)]));
        assert!(push_all_by(2, &outbox, [ping(0)]), "the first may take its time");
        assert!(!push_all_by(2, &outbox, [ping(0)]));
        assert_eq!(outbox.begin(false, 0).expect("three packets").len(), 3);
        assert!(push_all_by(2, &outbox, [ping(0)]), "its list was sent");
    }

    #[test]
    fn what_is_held_back_stays_in_front() {
        let outbox = Outbox::default();
        push_all(&outbox, [ping(0), ping(7)]);
        let mut held = outbox.begin(false, 6).expect("two packets");
        held.remove(0);
        push_all(&outbox, [ping(0)]);
        assert!(outbox.end(Sent { left: held, ..Sent::default() }, 1000).0.is_none());
        assert!(outbox.begin(false, 6).is_none(), "nobody moves what must stay");
        let packets = outbox.begin(false, 7).expect("both");
        let order: Vec<_> = packets.iter().map(|queued| queued.after_commit).collect();
        assert_eq!(order, [7, 0]);
    }

    #[test]
    fn a_commit_that_happens_while_somebody_sends_is_not_missed() {
        let outbox = Outbox::default();
        push_all(&outbox, [ping(7)]);
        let held = outbox.begin(false, 7).expect("one packet");
        assert!(outbox.begin(false, 7).is_none(), "the store's thread is told to leave it");
        let again = outbox.end(Sent { left: held, ..Sent::default() }, 1000);
        assert_eq!(again.0.expect("looked at again").len(), 1);
    }

    /// How often a task was woken.
    #[derive(Default)]
    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Its link reads nothing meanwhile, and half of the room may never be free at once: whoever
    /// enters the engine reports room away.
    #[test]
    fn answers_that_no_longer_fill_an_outbox_wake_its_task() {
        let (outbox, woken) = (Outbox::default(), Arc::new(Woken::default()));
        let (three, one) = (3 * COST as u32, Cost { all: COST, answers: COST, qos0: 0 });
        push_all(&outbox, [ping(0), ping(0), ping(7)]);
        assert_eq!(outbox.standing(&Arc::clone(&woken).into()).cost.answers, u64::from(three));
        let mut left = outbox.begin(false, 6).expect("three packets");
        left.remove(0);
        outbox.end(Sent { left, cost: one, ..Sent::default() }, three);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        let mut left = outbox.begin(false, 6).expect("two packets");
        outbox.take_freed();
        left.remove(0);
        outbox.end(Sent { left, cost: one, ..Sent::default() }, three);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1, "it reads already");
    }

    #[test]
    fn what_no_socket_took_is_at_stake() {
        let publish = |delivery| {
            let message = Message::new(TopicName::new(b"t").unwrap(), b"x", QoS::AtMostOnce, false);
            Queued {
                packet: OutPacket::Publish { message, delivery, retain: false },
                after_commit: 0,
            }
        };
        let qos1 = Delivery::AtLeastOnce { id: PacketId::new(1).unwrap(), dup: false };
        let outbox = Outbox::default();
        let all = [Delivery::AtMostOnce, qos1, Delivery::AtMostOnce].map(publish);
        push_all(&outbox, all.into_iter().chain([ping(0)]));
        assert_eq!(outbox.at_stake(), 2, "QoS 1 is in its session");
        let mut left = outbox.begin(false, 0).expect("four packets");
        assert_eq!(outbox.at_stake(), 2, "nobody knows yet");
        let cost = Cost::of(&left.remove(0).packet);
        outbox.end(Sent { left, cost, blocked: true }, 1000);
        assert_eq!(outbox.at_stake(), 1);
    }

    #[test]
    fn a_full_socket_leaves_the_rest_to_the_links_own_task() {
        let outbox = Outbox::default();
        push_all(&outbox, [ping(0), ping(0)]);
        let mut packets = outbox.begin(false, 0).expect("two packets");
        packets.remove(0);
        let sent = Sent { left: packets, blocked: true, ..Sent::default() };
        assert!(outbox.end(sent, 1000).0.is_none());
        assert!(outbox.begin(false, 0).is_none(), "others keep away");
        assert_eq!(outbox.begin(true, 0).expect("the own task goes on").len(), 1);
    }
}
