//! Files that are not what they were: what can be read is kept, what cannot is reported and set
//! aside, and the store goes on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use martlet::store::durable::{self, Settings, Sync};
use martlet::store::{Store, StoreError};
use martlet_engine::snapshot::Snapshot;

use crate::dice::Dice;
use crate::facts::{commit, halves, keep, open, retain, session, settings};
use crate::simulated::{Simulated, Stop};

const STATE: &str = "data/state.redb";
const FIRST_SEGMENT: &str = "data/journal/000000000000.journal";

/// A store that was killed behind these commits.
fn killed(commits: u64) -> (Simulated, Snapshot) {
    let disk = Simulated::new(commits);
    let (mut store, mut kept) = (open(&disk), Snapshot::default());
    for n in 0..commits {
        commit(&mut store, &mut kept, &[retain(&format!("topic/{n}"), "payload")]);
    }
    disk.power_goes_in(0);
    drop(store);
    disk.restart(Stop::Kill);
    (disk, kept)
}

/// As `killed`, with all of it in the state.
fn closed() -> (Simulated, Snapshot) {
    let disk = Simulated::new(1);
    let (mut store, mut kept) = (open(&disk), Snapshot::default());
    for half in halves() {
        commit(&mut store, &mut kept, &half);
    }
    for n in 0..200 {
        commit(&mut store, &mut kept, &[retain(&format!("topic/{n}"), "payload")]);
    }
    store.close().expect("closed");
    drop(store);
    (disk, kept)
}

fn aside(file: &str) -> PathBuf {
    format!("{file}.damaged-2026-11-21").into()
}

#[test]
fn a_flipped_bit_in_the_middle_of_the_journal_costs_one_commit() {
    let (disk, kept) = killed(50);
    let mut bytes = disk.files()[Path::new(FIRST_SEGMENT)].clone();
    let written = bytes.iter().rposition(|byte| *byte != 0).expect("frames");
    bytes[written / 2] ^= 4;
    disk.put(Path::new(FIRST_SEGMENT), bytes.clone());
    let mut store = open(&disk);
    let [damage] = store.damage() else { panic!("one damage: {:?}", store.damage()) };
    let told = damage.to_string();
    assert!(told.contains("1 commits") && told.contains("damaged-2026-11-21"), "{told}");
    let found = store.load().expect("loaded");
    assert_eq!(found.retained.len(), 49);
    assert!(found.retained.iter().all(|(topic, message)| kept.retained[topic] == *message));
    assert_eq!(disk.files()[&aside(FIRST_SEGMENT)], bytes, "kept for those who know more");
    drop(store);
    let mut store = open(&disk);
    assert_eq!(store.damage(), [], "told once");
    assert_eq!(store.load().expect("loaded"), found);
}

#[test]
fn a_flipped_bit_anywhere_in_the_journal_costs_one_commit_at_most() {
    for seed in 0..200 {
        let mut dice = Dice(seed);
        let (disk, kept) = killed(5);
        let mut bytes = disk.files()[Path::new(FIRST_SEGMENT)].clone();
        let written = bytes.iter().rposition(|byte| *byte != 0).expect("frames") as u64 + 1;
        bytes[dice.below(written) as usize] ^= 1 << dice.below(8);
        disk.put(Path::new(FIRST_SEGMENT), bytes);
        let found = open(&disk).load().expect("loaded");
        assert!(found.retained.len() >= 4, "seed {seed}");
        assert!(found.retained.iter().all(|(topic, message)| kept.retained[topic] == *message));
    }
}

/// With `Sync::Interval` a frame can be lost and one behind it not. What was cut off then must not
/// count when another has taken the lost one's place, whatever becomes of that one.
#[test]
fn what_a_start_cut_off_never_counts_again() {
    let settings = || Settings {
        sync: Sync::Interval(std::time::Duration::from_millis(10)),
        checkpoint_bytes: 1,
        ..settings()
    };
    for seed in 0..40 {
        let (disk, _) = killed_unsynced(seed);
        let mut store = durable::open_on(Arc::new(disk.clone()), settings()).expect("opened");
        assert_eq!(store.damage(), []);
        let kept = store.load().expect("loaded");
        assert_eq!(kept.retained.len(), 1, "up to the lost one");
        for topic in ["x", "y", "z"] {
            store.commit(&[retain(topic, "new")]).expect("committed");
        }
        disk.power_goes_in(0);
        drop(store);
        disk.restart(Stop::PowerCut);
        let found = open(&disk).load().expect("loaded");
        assert!(!found.retained.contains_key("topic/2"), "seed {seed}: {:?}", found.retained);
    }
}

/// Three commits, none synced; the second is torn.
fn killed_unsynced(seed: u64) -> (Simulated, Snapshot) {
    let sync = Sync::Interval(std::time::Duration::from_millis(10));
    let (disk, mut kept) = (Simulated::new(seed), Snapshot::default());
    let settings = Settings { sync, ..settings() };
    let mut store = durable::open_on(Arc::new(disk.clone()), settings).expect("opened");
    for n in 0..3 {
        commit(&mut store, &mut kept, &[retain(&format!("topic/{n}"), "payload")]);
    }
    disk.power_goes_in(0);
    drop(store);
    disk.restart(Stop::Kill);
    let mut bytes = disk.files()[Path::new(FIRST_SEGMENT)].clone();
    let written = bytes.iter().rposition(|byte| *byte != 0).expect("frames");
    bytes[32 + (written - 32) / 2] ^= 1;
    disk.put(Path::new(FIRST_SEGMENT), bytes);
    (disk, kept)
}

#[test]
fn a_torn_tail_is_cut_without_ado() {
    let (disk, _) = killed(50);
    let mut bytes = disk.files()[Path::new(FIRST_SEGMENT)].clone();
    let written = bytes.iter().rposition(|byte| *byte != 0).expect("frames");
    bytes.truncate(written - 3);
    disk.put(Path::new(FIRST_SEGMENT), bytes);
    let mut store = open(&disk);
    assert_eq!(store.damage(), []);
    assert_eq!(store.load().expect("loaded").retained.len(), 49);
}

#[test]
fn a_segment_that_is_gone_is_told() {
    let disk = Simulated::new(1);
    let settings = || Settings { segment_bytes: 100, ..settings() };
    let open = || durable::open_on(Arc::new(disk.clone()), settings()).expect("opened");
    let (mut store, mut kept) = (open(), Snapshot::default());
    for n in 0..30 {
        commit(&mut store, &mut kept, &[retain(&format!("topic/{n}"), "payload")]);
    }
    disk.power_goes_in(0);
    drop(store);
    disk.restart(Stop::Kill);
    let mut files = disk.files();
    let is_segment = |path: &&PathBuf| path.extension().is_some_and(|e| e == "journal");
    let fourth = files.keys().filter(is_segment).nth(3).expect("one of many").clone();
    files.remove(&fourth);
    let other = Simulated::new(2);
    files.into_iter().for_each(|(path, bytes)| other.put(&path, bytes));
    let mut store = durable::open_on(Arc::new(other), settings()).expect("opened");
    assert_eq!(store.damage().len(), 1);
    let found = store.load().expect("loaded").retained.len();
    assert!((20..30).contains(&found), "{found}");
}

#[test]
fn a_state_with_flipped_bits_gives_up_what_can_be_read() {
    let (mut damaged, mut whole) = (0, 0);
    for seed in 0..300 {
        let mut dice = Dice(seed);
        let (disk, kept) = closed();
        let mut bytes = disk.files()[Path::new(STATE)].clone();
        for _ in 0..1 + dice.below(3) {
            let at = dice.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << dice.below(8);
        }
        disk.put(Path::new(STATE), bytes);
        let mut store = open(&disk);
        let found = store.load().expect("loaded");
        if store.damage().is_empty() {
            whole += 1;
            assert_eq!(found, kept, "seed {seed}: nothing is missing untold");
        } else {
            damaged += 1;
            assert!(disk.files().contains_key(&aside(STATE)));
        }
        for (topic, message) in &found.retained {
            assert_eq!(kept.retained.get(topic), Some(message), "seed {seed}");
        }
        commit(&mut store, &mut found.clone(), &[session("new")]);
        drop(store);
        assert_eq!(open(&disk).damage(), [], "seed {seed}");
    }
    assert!(damaged > 0 && whole > 0, "{damaged} {whole}");
}

#[test]
fn a_state_cut_short_or_of_other_bytes_is_set_aside() {
    for bytes in [vec![], vec![0; 10], vec![b'x'; 100_000], b"redb".to_vec()] {
        let (disk, _) = closed();
        disk.put(Path::new(STATE), bytes.clone());
        let mut store = open(&disk);
        store.load().expect("loaded");
        assert_eq!(store.damage().len(), 1, "{} bytes", bytes.len());
        commit(&mut store, &mut Snapshot::default(), &[session("c"), keep(1)]);
    }
    let (disk, _) = closed();
    let bytes = disk.files()[Path::new(STATE)].clone();
    for len in [1, 4096, bytes.len() / 2, bytes.len() - 1] {
        disk.put(Path::new(STATE), bytes[..len].to_vec());
        let store = open(&disk);
        assert!(!store.damage().is_empty(), "{len} bytes");
    }
}

#[test]
fn a_store_of_a_newer_broker_is_left_alone() {
    let (disk, _) = killed(1);
    let mut bytes = disk.files()[Path::new(FIRST_SEGMENT)].clone();
    bytes[8] = 3;
    let checksum = crc32c::crc32c(&bytes[..28]);
    bytes[28..32].copy_from_slice(&checksum.to_le_bytes());
    disk.put(Path::new(FIRST_SEGMENT), bytes);
    let before = disk.files();
    let refused = durable::open_on(Arc::new(disk.clone()), settings());
    let error = refused.expect_err("newer");
    assert!(matches!(error, StoreError::Newer { found: 3, known: 2, .. }), "{error}");
    assert!(disk.files() == before, "not a byte changes");
}

#[test]
fn one_process_at_a_time() {
    let disk = Simulated::new(1);
    let store = open(&disk);
    let refused = durable::open_on(Arc::new(disk.clone()), settings());
    let told = refused.expect_err("locked").to_string();
    assert!(told.contains("data is in use by another process"), "{told}");
    drop(store);
    open(&disk);
}

#[test]
fn a_real_folder_is_locked_made_and_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("a/b");
    let settings = |place: &Path| Settings {
        sync: Sync::Always,
        ..Settings::new(place.to_owned(), "2026-11-21".into())
    };
    let mut kept = Snapshot::default();
    let mut store = durable::open(settings(&place)).expect("folders are made");
    for half in halves() {
        commit(&mut store, &mut kept, &half);
    }
    let told = durable::open(settings(&place)).expect_err("locked").to_string();
    assert!(told.contains(&*place.to_string_lossy()), "{told}");
    store.close().expect("closed");
    drop(store);
    assert_eq!(std::fs::read_dir(place.join("journal")).expect("a folder").count(), 0);
    let mut store = durable::open(settings(&place)).expect("opened");
    assert_eq!(store.load().expect("loaded"), kept);
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("written");
    for place in [file.clone(), file.join("below")] {
        let error = durable::open(settings(&place)).expect_err("not a folder");
        assert!(matches!(error, StoreError::NotAFolder { .. }), "{error}");
    }
}
