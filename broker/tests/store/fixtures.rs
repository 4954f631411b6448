//! Stores that earlier brokers left: each format version must be read for ever.

use std::path::{Path, PathBuf};

use martlet::store::Store;
use martlet_engine::change::Change;
use martlet_engine::snapshot::Snapshot;

use crate::facts::{commit, enqueue, halves, keep, open, settle};
use crate::recording::record;
use crate::simulated::Simulated;
use crate::workload::id;

fn folder(version: u32) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/store/fixtures");
    fixtures.join(format!("v{version}"))
}

/// What a broker of that version could state.
fn halves_of(version: u32) -> [Vec<Change>; 2] {
    let mut halves = halves();
    if version >= 2 {
        for (half, offset) in halves.iter_mut().zip(0..) {
            half.push(record(offset, "a/b", b"recorded"));
        }
    }
    halves
}

const FILES: [&str; 2] = ["state.redb", "journal/000000000001.journal"];

/// The first half in the state, the second behind it in the journal.
fn make(disk: &Simulated, version: u32) -> Vec<Vec<u8>> {
    let [first, second] = halves_of(version);
    let (mut store, mut kept) = (open(disk), Snapshot::default());
    commit(&mut store, &mut kept, &first);
    store.close().expect("closed");
    drop(store);
    let state = disk.files()[&Path::new("data").join(FILES[0])].clone();
    commit(&mut open(disk), &mut kept, &second);
    let files = disk.files();
    let is_segment = |path: &&PathBuf| path.extension().is_some_and(|e| e == "journal");
    let mut journal = files[files.keys().find(is_segment).expect("a segment")].clone();
    let end = journal.iter().rposition(|byte| *byte != 0).expect("frames") + 1;
    journal.truncate(end);
    vec![state, journal]
}

/// The version that is written today.
const NEWEST: u32 = 4;

/// `BLESS_STORE_FIXTURE=1` writes the newest version's files anew: only as long as no broker has
/// left them yet.
#[test]
fn every_version_is_read() {
    if std::env::var_os("BLESS_STORE_FIXTURE").is_some() {
        for (name, bytes) in FILES.into_iter().zip(make(&Simulated::new(1), NEWEST)) {
            let file = folder(NEWEST).join(name);
            std::fs::create_dir_all(file.parent().expect("named")).expect("made");
            std::fs::write(file, bytes).expect("written");
        }
    }
    for version in 1..=NEWEST {
        let disk = Simulated::new(1);
        for name in FILES {
            let bytes = std::fs::read(folder(version).join(name)).expect("kept here");
            disk.put(&Path::new("data").join(name), bytes);
        }
        let mut kept = Snapshot::default();
        halves_of(version).iter().flatten().for_each(|change| kept.apply(change));
        let mut store = open(&disk);
        assert_eq!(store.damage(), [], "version {version}");
        assert_eq!(store.load().expect("loaded"), kept, "version {version}");
        // It goes on with what it found, row by row, in the state too.
        for change in onward() {
            commit(&mut store, &mut kept, &change);
            store.close().expect("closed");
            drop(store);
            store = open(&disk);
            assert_eq!(store.load().expect("loaded"), kept, "version {version}: {change:?}");
        }
    }
}

/// What may become of what the halves leave.
fn onward() -> Vec<Vec<Change>> {
    let send = |id| Change::Send { client_id: "c".into(), id };
    vec![
        vec![keep(6), enqueue("c", 6), keep(7), enqueue("c", 7)],
        vec![send(Some(id(10)))],
        vec![settle("c", 9), send(Some(id(11)))],
        vec![Change::Advance { client_id: "c".into(), id: id(10) }, settle("c", 11)],
        vec![send(None)],
    ]
}
