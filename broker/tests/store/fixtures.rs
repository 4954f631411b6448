//! Stores that earlier brokers left: each format version must be read for ever.

use std::path::{Path, PathBuf};

use martlet::store::Store;
use martlet_engine::snapshot::Snapshot;

use crate::facts::{commit, halves, open};
use crate::simulated::Simulated;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/store/fixtures/v1")
}

const FILES: [&str; 2] = ["state.redb", "journal/000000000001.journal"];

/// The first half in the state, the second behind it in the journal.
fn make(disk: &Simulated) -> Vec<Vec<u8>> {
    let [first, second] = halves();
    let (mut store, mut kept) = (open(disk), Snapshot::default());
    commit(&mut store, &mut kept, &first);
    store.close().expect("closed");
    drop(store);
    let state = disk.files()[&Path::new("data").join(FILES[0])].clone();
    commit(&mut open(disk), &mut kept, &second);
    let mut journal = disk.files()[&Path::new("data").join(FILES[1])].clone();
    let end = journal.iter().rposition(|byte| *byte != 0).expect("frames") + 1;
    journal.truncate(end);
    vec![state, journal]
}

/// `BLESS_STORE_FIXTURE=1` writes the files anew: only for a format version that no broker has
/// left yet.
#[test]
fn version_1_is_read() {
    if std::env::var_os("BLESS_STORE_FIXTURE").is_some() {
        for (name, bytes) in FILES.into_iter().zip(make(&Simulated::new(1))) {
            std::fs::create_dir_all(folder().join(name).parent().expect("named")).expect("made");
            std::fs::write(folder().join(name), bytes).expect("written");
        }
    }
    let disk = Simulated::new(1);
    for name in FILES {
        let bytes = std::fs::read(folder().join(name)).expect("kept here");
        disk.put(&Path::new("data").join(name), bytes);
    }
    let mut kept = Snapshot::default();
    halves().iter().flatten().for_each(|change| kept.apply(change));
    let mut store = open(&disk);
    assert_eq!(store.damage(), []);
    assert_eq!(store.load().expect("loaded"), kept);
}
