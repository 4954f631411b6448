//! A queue in the state: filled and drained in steps of all sizes, each followed by a checkpoint.

use martlet::store::Store;
use martlet_engine::change::{Change, MessageKey};
use martlet_engine::snapshot::Snapshot;

use crate::dice::Dice;
use crate::facts::{commit, enqueue, message, open, session, settle};
use crate::simulated::Simulated;
use crate::workload::id;

/// A message for `c`, of a size that a row of the state holds many of, or one, or less; at times
/// for `d` too.
fn come(key: u64, dice: &mut Dice) -> Vec<Change> {
    let payload = vec![b'p'; dice.pick(&[0, 20, 20, 150, 1500, 4000, 9000])];
    let message = message("a/b", &payload, false);
    let mut changes =
        vec![Change::KeepMessage { key: MessageKey(key), message }, enqueue("c", key)];
    changes.extend(dice.chance(20).then(|| enqueue("d", key)));
    changes
}

/// The first so many of `c`'s queue are sent, most of them without a wait for an acknowledgement.
fn go(count: u64, in_flight: &mut Vec<u16>, dice: &mut Dice) -> Vec<Change> {
    let mut changes = Vec::new();
    for _ in 0..count {
        let free = (1..=20).find(|number| !in_flight.contains(number));
        let sent = free.filter(|_| dice.chance(60));
        changes.push(Change::Send { client_id: "c".into(), id: sent.map(id) });
        in_flight.extend(sent);
    }
    while !in_flight.is_empty() && dice.chance(80) {
        changes
            .push(settle("c", in_flight.swap_remove(dice.below(in_flight.len() as u64) as usize)));
    }
    changes
}

#[test]
fn a_queue_comes_and_goes_in_steps_of_any_size() {
    for seed in 0..20 {
        let (mut dice, disk) = (Dice(seed), Simulated::new(seed));
        let (mut store, mut kept) = (open(&disk), Snapshot::default());
        let (mut key, mut in_flight) = (0, Vec::new());
        commit(&mut store, &mut kept, &[session("c"), session("d")]);
        for step in 0..60 {
            let come_in = dice.pick(&[0, 1, 7, 50]);
            let came: Vec<_> = (key..key + come_in).flat_map(|key| come(key, &mut dice)).collect();
            key += come_in;
            commit(&mut store, &mut kept, &came);
            let queued = kept.sessions["c"].queue.len() as u64;
            let leaving = dice.pick(&[0, 1, 3, 40, u64::MAX]).min(queued);
            commit(&mut store, &mut kept, &go(leaving, &mut in_flight, &mut dice));
            store.tick().expect("begun");
            store.tick().expect("written");
            if dice.chance(40) {
                store.close().expect("closed");
                drop(store);
                store = open(&disk);
                assert_eq!(store.damage(), [], "seed {seed}, step {step}");
                assert_eq!(store.load().expect("loaded"), kept, "seed {seed}, step {step}");
            }
        }
    }
}
