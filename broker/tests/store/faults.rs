//! Disks that refuse.

use martlet::store::Store;
use martlet_engine::snapshot::Snapshot;

use crate::facts::{commit, open, retain, session};
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
