//! Room for packets that outboxes leave to each other.

use std::cell::RefCell;

use crate::driver::outbox::Packets;

thread_local! {
    /// Empty ones of outboxes that this thread has sent, for those that it fills: an outbox in
    /// which nothing waits owns none, and neither costs an allocation.
    static SPARE: RefCell<Spare> = RefCell::default();
}

#[derive(Default)]
struct Spare {
    /// As [`SPARES`] has them, each the last one first.
    all: [Vec<Packets>; SPARES.len()],
    /// How many this thread has put into outboxes and not got back. A thread that only sends what
    /// others have filled, as the store's does, keeps none.
    out: usize,
}

/// For how many packets there is room at first, and once there is need for more.
pub(super) const ROOM: (usize, usize) = (4, 32);

/// For how many packets a spare one has room at the most, and how many of them a thread has: those
/// of batches do not take the places of those of single messages. Together 2.5 MiB at most.
const SPARES: [(usize, usize); 2] = [(256, 64), (ROOM.1, 2048)];

/// One to fill.
pub(super) fn take() -> Packets {
    SPARE.with_borrow_mut(|spare| {
        spare.out += 1;
        let kept = spare.all.iter_mut().find_map(Vec::pop);
        kept.unwrap_or_else(|| Vec::with_capacity(ROOM.0))
    })
}

/// Keeps it for `take`, if this thread has use for it.
pub(super) fn keep(packets: Packets) {
    debug_assert!(packets.is_empty(), "nothing is lost with it");
    let room = packets.capacity();
    SPARE.with_borrow_mut(|spare| {
        let Some(out) = spare.out.checked_sub(1).filter(|_| room > 0) else { return };
        spare.out = out;
        // None is for so many: then it goes, but it is no longer out.
        let sort = SPARES.iter().rposition(|(room_max, _)| room <= *room_max);
        let Some(sort) = sort else { return };
        if spare.all[sort].len() < SPARES[sort].1 {
            spare.all[sort].push(packets);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many outboxes at once are filled and sent; how many of each sort the thread keeps then.
    fn pass(outboxes: usize, room: usize) -> [usize; SPARES.len()] {
        let taken: Vec<Packets> = std::iter::repeat_with(take).take(outboxes).collect();
        for mut packets in taken {
            packets.reserve_exact(room);
            keep(packets);
        }
        SPARE.with_borrow(|spare| spare.all.each_ref().map(Vec::len))
    }

    #[test]
    fn room_for_batches_takes_no_place_of_room_for_single_messages() {
        assert_eq!(pass(500, 1), [0, 500]);
        assert_eq!(pass(500, 200), [64, 0]);
        assert_eq!(pass(500, 1), [64, 436]);
        assert_eq!(pass(5000, 1), [64, 2048], "and not without a bound");
        assert_eq!(pass(1, 1000), [63, 2048], "what is very large goes");
        assert_eq!(SPARE.with_borrow(|spare| spare.out), 0, "all have come back");
    }

    #[test]
    fn a_thread_that_fills_no_outbox_keeps_none() {
        keep(take());
        let packets = take();
        let other = || {
            keep(packets);
            SPARE.with_borrow(|spare| spare.all.iter().map(Vec::len).sum::<usize>())
        };
        let kept = std::thread::scope(|scope| scope.spawn(other).join().expect("no panic"));
        assert_eq!(kept, 0);
    }
}
