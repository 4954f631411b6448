//! What a commit and a checkpoint write.

use martlet::store::Store;
use martlet_engine::change::Change;
use martlet_engine::snapshot::Snapshot;

use crate::facts::{commit, deliver, enqueue, keep, open, session, settle};
use crate::simulated::{Count, Simulated, Stop};

#[test]
fn a_commit_is_one_write_and_one_sync() {
    let disk = Simulated::new(1);
    let (mut store, mut kept) = (open(&disk), Snapshot::default());
    commit(&mut store, &mut kept, &[session("c")]);
    let before = disk.count("");
    for key in 1..=100 {
        commit(&mut store, &mut kept, &[keep(key), deliver("c", key, key as u16)]);
    }
    let (journal, all) = (disk.count("journal/"), disk.count(""));
    assert_eq!(all.syncs - before.syncs, 100);
    assert_eq!(all.writes - before.writes, 100, "the room ahead was made by the first");
    assert!(journal.bytes < 512 << 10, "150 bytes of payload each, and 256 KiB of room ahead");
}

#[test]
fn what_nobody_waits_for_is_written_at_once_and_synced_with_what_somebody_does() {
    let disk = Simulated::new(1);
    let (mut store, mut kept) = (open(&disk), Snapshot::default());
    commit(&mut store, &mut kept, &[session("c")]);
    let before = disk.count("");
    for key in 1..=100 {
        commit(&mut store, &mut kept, &[keep(key), deliver("c", key, 1)]);
        store.note(&[settle("c", 1)]).expect("noted");
        kept.apply(&settle("c", 1));
    }
    let after = disk.count("");
    assert_eq!((after.writes - before.writes, after.syncs - before.syncs), (200, 100));
    disk.restart(Stop::Kill);
    assert_eq!(open(&disk).load().expect("loaded"), kept, "a kill loses nothing of it");
}

#[test]
fn a_frame_costs_less_than_fifty_bytes_beside_its_message() {
    let disk = Simulated::new(1);
    let (mut store, mut kept) = (open(&disk), Snapshot::default());
    commit(&mut store, &mut kept, &[session("c")]);
    let before = disk.count("journal/");
    for key in 1..=100 {
        commit(&mut store, &mut kept, &[keep(key), deliver("c", key, key as u16)]);
    }
    let after = disk.count("journal/");
    assert!(after.bytes - before.bytes < 100 * (150 + 50), "{before:?} {after:?}");
}

#[test]
fn what_comes_and_goes_between_two_checkpoints_never_reaches_the_state() {
    let disk = Simulated::new(1);
    let (mut store, mut kept) = (open(&disk), Snapshot::default());
    commit(&mut store, &mut kept, &[session("c")]);
    store.tick().expect("begun");
    store.tick().expect("written");
    let before = disk.count("state");
    for key in 1..=100 {
        commit(&mut store, &mut kept, &[keep(key), deliver("c", key, 1)]);
        commit(&mut store, &mut kept, &[settle("c", 1)]);
    }
    for _ in 0..10 {
        store.tick().expect("nothing to do");
    }
    assert_eq!(disk.count("state"), before, "not a byte, not a sync");
    commit(&mut store, &mut kept, &[keep(200), enqueue("c", 200)]);
    store.tick().expect("begun");
    store.tick().expect("written");
    let Count { syncs, bytes, .. } = disk.count("state");
    assert!(syncs > before.syncs && bytes > before.bytes, "what stays is written");
    drop(store);
    assert_eq!(open(&disk).load().expect("loaded"), kept);
}

#[test]
fn what_is_queued_for_long_costs_the_state_little_more_than_its_bytes() {
    let disk = Simulated::new(1);
    let (mut store, mut kept) = (open(&disk), Snapshot::default());
    commit(&mut store, &mut kept, &[session("c"), session("d")]);
    store.close().expect("closed");
    let mut cost = |changes: &[Change]| {
        let before = disk.count("state").bytes;
        commit(&mut store, &mut kept, changes);
        store.close().expect("closed");
        disk.count("state").bytes - before
    };
    let checkpoint = cost(&[keep(1), enqueue("c", 1)]);
    let own: Vec<_> = (2..20_002).flat_map(|key| [keep(key), enqueue("c", key)]).collect();
    let own = cost(&own) - checkpoint;
    assert!(own < 20_000 * (150 + 25), "one row for many: {own}");
    let both = |key| [keep(key), enqueue("c", key), enqueue("d", key)];
    let shared: Vec<_> = (20_002..40_002).flat_map(both).collect();
    let shared = cost(&shared) - checkpoint;
    assert!(shared < 20_000 * (150 + 60), "the message once, and its name twice: {shared}");
    drop(store);
    assert_eq!(open(&disk).load().expect("loaded"), kept);
}
