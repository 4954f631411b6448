//! Disks that refuse.

use std::sync::Arc;

use martlet::store::Store;
use martlet::store::durable::{self, Settings};
use martlet_engine::snapshot::Snapshot;

use crate::facts::{commit, open, retain, session, settings};
use crate::simulated::{Faults, Simulated, Stop};

const FULL: Faults = Faults { full: 100, write: 0, sync: 0 };
const WRITES: Faults = Faults { full: 0, write: 100, sync: 0 };
const SYNCS: Faults = Faults { full: 0, write: 0, sync: 100 };

#[test]
fn a_disk_that_refuses_keeps_what_it_has_and_goes_on_when_it_is_well() {
    for faults in [Faults { write: 100, ..FULL }, WRITES, SYNCS] {
        let disk = Simulated::new(7);
        let (mut store, mut kept) = (open(&disk), Snapshot::default());
        commit(&mut store, &mut kept, &[session("c")]);
        disk.set_faults(faults);
        for _ in 0..20 {
            let error = store.commit(&[retain("t", "refused")]).expect_err("no acknowledgement");
            assert!(error.to_string().contains("data/journal/"), "{error}");
        }
        disk.set_faults(Faults::default());
        commit(&mut store, &mut kept, &[retain("t", "kept")]);
        let segments = disk
            .files()
            .keys()
            .filter(|path| path.extension().is_some_and(|e| e == "journal"))
            .count();
        assert!(segments <= 2, "attempts leave nothing behind");
        disk.power_goes_in(0);
        drop(store);
        disk.restart(Stop::PowerCut);
        let mut store = open(&disk);
        assert_eq!(store.damage(), []);
        assert_eq!(store.load().expect("loaded"), kept);
    }
}

#[test]
fn a_checkpoint_that_fails_holds_up_no_commit() {
    let disk = Simulated::new(7);
    let (mut store, mut kept) = (open(&disk), Snapshot::default());
    commit(&mut store, &mut kept, &[session("c")]);
    store.tick().expect("begun");
    disk.set_faults(FULL);
    store.tick().expect("the journal is well"); // tried, and failed
    let there = disk.count("state");
    commit(&mut store, &mut kept, &[retain("t", "1")]); // in room that the segment has
    assert_eq!(disk.count("state").syncs, there.syncs, "not tried at each commit");
    disk.set_faults(Faults::default());
    store.tick().expect("tried again");
    store.tick().expect("begun and written");
    store.tick().expect("nothing to do");
    assert!(disk.count("state").syncs > there.syncs);
    drop(store);
    assert_eq!(open(&disk).load().expect("loaded"), kept);
}

/// A frame that could not be synced, another attempt that the power cuts off, a kill: a start then
/// counts the frame or voids it, and has decided that for good.
#[test]
fn what_a_start_has_found_the_next_one_finds_too() {
    let (mut with, mut without) = (0, 0);
    for (seed, cut) in (0..60).flat_map(|seed| (1..=8).map(move |cut| (seed, cut))) {
        let disk = Simulated::new(seed);
        let open = || {
            let settings = Settings { ahead_bytes: 512, ..settings() };
            durable::open_on(Arc::new(disk.clone()), settings).expect("opened")
        };
        let (mut store, mut kept) = (open(), Snapshot::default());
        commit(&mut store, &mut kept, &[session("c")]);
        disk.set_faults(SYNCS);
        store.commit(&[retain("t", "in doubt")]).expect_err("not synced");
        disk.set_faults(Faults::default());
        disk.power_goes_in(cut);
        let _ = store.commit(&[retain("t", "in doubt")]); // as far as it comes
        disk.power_goes_in(0);
        drop(store);
        disk.restart(Stop::Kill);

        let mut store = open();
        let found = store.load().expect("loaded");
        *if found.retained.is_empty() { &mut without } else { &mut with } += 1;
        disk.power_goes_in(0);
        drop(store);
        disk.restart(Stop::PowerCut);
        assert!(open().load().expect("loaded") == found, "seed {seed}, cut at {cut}");
    }
    assert!(with > 0 && without > 0, "{with} and {without}: both were found");
}
