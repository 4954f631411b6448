//! A flood that has drained leaves no large file behind.

use std::path::Path;
use std::sync::Arc;

use martlet::store::Store;
use martlet::store::durable::{self, Durable, Settings};
use martlet_engine::change::Change;
use martlet_engine::snapshot::Snapshot;

use crate::facts::{commit, enqueue, keep, session, settings};
use crate::simulated::{Simulated, Stop};

const STATE: &str = "data/state.redb";

fn bytes(disk: &Simulated) -> usize {
    disk.files()[Path::new(STATE)].len()
}

fn checkpoint(store: &mut Durable) {
    store.tick().expect("begun");
    store.tick().expect("written");
}

/// The queue of a session that is away fills.
fn flood(store: &mut Durable, kept: &mut Snapshot, messages: u64) {
    commit(store, kept, &[session("away")]);
    for key in 0..messages / 100 {
        let batch: Vec<Change> = (key * 100..(key + 1) * 100)
            .flat_map(|key| [keep(key + 1), enqueue("away", key + 1)])
            .collect();
        commit(store, kept, &batch);
    }
    checkpoint(store);
}

fn send() -> Change {
    Change::Send { client_id: "away".into(), id: None }
}

#[test]
fn what_a_flood_took_is_given_back_while_the_broker_runs() {
    const FLOOD: u64 = 100_000;
    let disk = Simulated::new(1);
    let settings = || Settings { compact_waste_bytes: 1 << 20, ..settings() };
    let open = || durable::open_on(Arc::new(disk.clone()), settings()).expect("opened");
    let (mut store, mut kept) = (open(), Snapshot::default());
    flood(&mut store, &mut kept, FLOOD);
    let full = bytes(&disk);
    assert!(full > FLOOD as usize * 150, "{full} bytes are too few to have taken the flood");
    for _ in 0..FLOOD / 100 - 1 {
        commit(&mut store, &mut kept, &vec![send(); 100]);
    }
    checkpoint(&mut store);
    let drained = bytes(&disk);
    assert!(drained < 2 << 20, "{full} bytes became {drained}");
    // It goes on with what there is.
    commit(&mut store, &mut kept, &[session("new")]);
    checkpoint(&mut store);
    disk.power_goes_in(0);
    drop(store);
    disk.restart(Stop::PowerCut);
    let mut store = open();
    assert_eq!(store.damage(), []);
    assert_eq!(store.load().expect("loaded"), kept);
}

/// What pages half full keep from being given back is no reason to try again at each checkpoint.
#[test]
fn what_cannot_be_given_back_is_not_asked_for_again() {
    let disk = Simulated::new(1);
    let settings = Settings { compact_waste_bytes: 256 << 10, ..settings() };
    let opened = durable::open_on(Arc::new(disk.clone()), settings);
    let (mut store, mut kept) = (opened.expect("opened"), Snapshot::default());
    commit(&mut store, &mut kept, &[session("stays"), session("goes")]);
    for key in 0..6_000 {
        let whose = if key % 2 == 0 { "stays" } else { "goes" };
        commit(&mut store, &mut kept, &[keep(key + 1), enqueue(whose, key + 1)]);
    }
    checkpoint(&mut store);
    commit(&mut store, &mut kept, &[Change::DropSession { client_id: "goes".into() }]);
    checkpoint(&mut store);
    let before = disk.count("state").syncs;
    for n in 0..10 {
        commit(&mut store, &mut kept, &[session(&n.to_string())]);
        checkpoint(&mut store);
    }
    let syncs = disk.count("state").syncs - before;
    assert!(syncs <= 10 * 3, "{syncs} syncs are more than ten checkpoints want");
}

/// The power goes at any operation of a compaction, or the disk refuses one.
#[test]
fn a_compaction_that_is_cut_short_loses_nothing() {
    let settings = || Settings { compact_waste_bytes: 1 << 10, ..settings() };
    let mut operations = 0;
    for at in (0..).step_by(3) {
        let disk = Simulated::new(at);
        let open = || durable::open_on(Arc::new(disk.clone()), settings()).expect("opened");
        let (mut store, mut kept) = (open(), Snapshot::default());
        flood(&mut store, &mut kept, 300);
        commit(&mut store, &mut kept, &vec![send(); 290]);
        store.tick().expect("begun");
        disk.power_goes_in(at);
        store.tick().expect("the journal has it"); // writes the checkpoint and compacts
        let is_over = !disk.is_without_power();
        drop(store);
        disk.restart(Stop::PowerCut);
        let mut store = open();
        assert_eq!(store.damage(), [], "cut at {at}");
        assert_eq!(store.load().expect("loaded"), kept, "cut at {at}");
        if is_over {
            break;
        }
        operations = at;
    }
    assert!(operations > 50, "{operations} are too few for a checkpoint and a compaction");
}
