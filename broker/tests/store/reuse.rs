//! Segments of the journal that are written over others.

use std::path::PathBuf;
use std::sync::Arc;

use martlet::store::Store;
use martlet::store::durable::{self, Durable, Settings};
use martlet_engine::change::Change;
use martlet_engine::snapshot::Snapshot;

use crate::facts::{commit, retain, settings};
use crate::simulated::{Simulated, Stop};

/// Segments of some fifteen commits, a checkpoint for each.
fn small() -> Settings {
    Settings { segment_bytes: 10_000, checkpoint_bytes: 10_000, ahead_bytes: 4096, ..settings() }
}

fn open_with(disk: &Simulated, settings: Settings) -> Durable {
    durable::open_on(Arc::new(disk.clone()), settings).expect("a store that can be opened")
}

/// The same few topics again and again, so that the state stays as large as it is.
fn fact(n: u64) -> Change {
    retain(&format!("topic/{}", n % 5), &format!("{n} {}", "x".repeat(600)))
}

fn commit_some(store: &mut Durable, kept: &mut Snapshot, numbers: std::ops::Range<u64>) {
    numbers.for_each(|n| commit(store, kept, &[fact(n)]));
}

fn files(disk: &Simulated, extension: &str) -> Vec<PathBuf> {
    let has = |path: &PathBuf| path.extension().is_some_and(|e| e == extension);
    disk.files().into_keys().filter(has).collect()
}

fn spares(disk: &Simulated) -> usize {
    files(disk, "spare").len()
}

fn killed(store: Durable, disk: &Simulated, stop: Stop) {
    disk.power_goes_in(0);
    drop(store);
    disk.restart(stop);
}

#[test]
fn nothing_is_made_that_is_there_already() {
    let disk = Simulated::new(1);
    let (mut store, mut kept) = (open_with(&disk, small()), Snapshot::default());
    commit_some(&mut store, &mut kept, 0..100);
    let (before, newest) = (disk.count("journal/"), files(&disk, "journal"));
    let sizes = |disk: &Simulated| {
        let files = disk.files();
        let journal = files.iter().filter(|(path, _)| path.starts_with("data/journal"));
        journal.map(|(_, bytes)| bytes.len()).collect::<Vec<_>>()
    };
    let size: usize = sizes(&disk).iter().sum();
    commit_some(&mut store, &mut kept, 100..400);
    let after = disk.count("journal/");
    assert_ne!(files(&disk, "journal"), newest, "many segments later");
    assert_eq!(after.made, before.made, "no file is made");
    assert_eq!(sizes(&disk).iter().sum::<usize>(), size, "none grows");
    assert_eq!(after.writes - before.writes, 300, "a commit is one write");
    let bytes = after.bytes - before.bytes;
    assert!(bytes < 300 * (610 + 90) * 2, "each block is filled up once: {bytes}");
    killed(store, &disk, Stop::PowerCut);
    let mut store = open_with(&disk, small());
    assert_eq!(store.damage(), []);
    assert_eq!(store.load().expect("loaded"), kept);
}

#[test]
fn a_broker_with_few_messages_keeps_no_spare() {
    let disk = Simulated::new(1);
    let (mut store, mut kept) = (open_with(&disk, small()), Snapshot::default());
    commit_some(&mut store, &mut kept, 0..100);
    assert!((1..=2).contains(&spares(&disk)), "{:?}", disk.files().keys());
    commit_some(&mut store, &mut kept, 100..102);
    for _ in 0..3 {
        store.tick().expect("five minutes");
    }
    assert_eq!(spares(&disk), 0);
    assert_eq!(files(&disk, "journal").len(), 1);
    commit_some(&mut store, &mut kept, 200..300);
    assert!(spares(&disk) > 0, "many again");
    for _ in 0..3 {
        store.tick().expect("five minutes without any");
    }
    assert_eq!(spares(&disk), 0);
}

#[test]
fn neither_an_end_nor_a_start_leaves_a_spare() {
    let disk = Simulated::new(1);
    let (mut store, mut kept) = (open_with(&disk, small()), Snapshot::default());
    commit_some(&mut store, &mut kept, 0..100);
    store.close().expect("closed");
    assert_eq!((spares(&disk), files(&disk, "journal").len()), (0, 0));
    commit_some(&mut store, &mut kept, 100..200);
    killed(store, &disk, Stop::Kill);
    assert!(spares(&disk) > 0);
    let mut store = open_with(&disk, small());
    assert_eq!(spares(&disk), 0);
    assert_eq!(store.load().expect("loaded"), kept);
}

/// The power goes at each operation of many segments' lives, and at each of the lives behind.
#[test]
fn without_power_at_any_step_nothing_is_lost_and_nothing_old_counts() {
    let (mut renamed, mut held) = (0, 0);
    for (seed, cut) in (0..4).flat_map(|seed| (1..260).map(move |cut| (seed, cut))) {
        let disk = Simulated::new(seed);
        let small = || Settings { segment_bytes: 2500, checkpoint_bytes: 4000, ..small() };
        let (mut store, mut kept) = (open_with(&disk, small()), Snapshot::default());
        commit_some(&mut store, &mut kept, 0..30);
        disk.power_goes_in(cut);
        for life in 0..3 {
            for n in 100.. {
                let changes = [fact(life * 1000 + n)];
                if store.commit(&changes).is_err() {
                    kept = check(&disk, &small(), kept, &changes, &format!("{seed} {cut} {life}"));
                    break;
                }
                kept.apply(&changes[0]);
            }
            renamed += disk.count(".journal").renamed;
            held += spares(&disk);
            drop(store);
            store = open_with(&disk, small());
            disk.power_goes_in(cut / 2 + 1);
        }
    }
    assert!(renamed > 500, "{renamed} reused, {held}");
}

/// What was committed is there, and perhaps what was about to be.
fn check(
    disk: &Simulated,
    settings: &Settings,
    kept: Snapshot,
    in_flight: &[Change],
    what: &str,
) -> Snapshot {
    disk.power_goes_in(0);
    disk.restart(Stop::PowerCut);
    let mut store = open_with(disk, settings.clone());
    assert_eq!(store.damage(), [], "{what}");
    let found = store.load().expect("loaded");
    killed(store, disk, Stop::PowerCut);
    let mut with = kept.clone();
    in_flight.iter().for_each(|change| with.apply(change));
    assert!(found == kept || found == with, "{what}");
    found
}

/// A whole frame that retains a message, as any client can compute it who knows the numbers.
fn forged(segment: u64, sequence: u64) -> Vec<u8> {
    let facts = b"\x0F\x05\x06forged\x01!";
    let mut frame = (facts.len() as u32).to_le_bytes().to_vec();
    let rest = [&sequence.to_le_bytes()[..], &(sequence - 1).to_le_bytes()[..], facts].concat();
    let sum = crc32c::crc32c(&segment.to_le_bytes());
    let sum = crc32c::crc32c_append(crc32c::crc32c_append(sum, &frame), &rest);
    frame.extend(sum.to_le_bytes());
    frame.extend(rest);
    frame
}

/// What a start finds after a client has published frames for all segments that it can think of.
fn found_after_forgery(draw: fn() -> u32) -> (usize, bool) {
    let disk = Simulated::new(1);
    let settings = || Settings { draw, ..small() };
    let mut store = open_with(&disk, settings());
    let payload: Vec<u8> = (0..20).flat_map(|n| forged(n << 32, 70 + n)).collect();
    let message = crate::facts::message("t", &payload, true);
    for _ in 0..60 {
        store.commit(&[Change::Retain { message: message.clone() }]).expect("committed");
    }
    killed(store, &disk, Stop::Kill);
    let mut store = open_with(&disk, settings());
    let forged = store.load().expect("loaded").retained.keys().any(|topic| **topic == *"forged");
    (store.damage().len(), forged)
}

#[test]
fn no_client_can_write_a_frame_of_a_segment_to_come() {
    let (damage, forged) = found_after_forgery(|| 0);
    assert!(damage > 0 && forged, "with numbers that can be guessed it would be taken for one");
    assert_eq!(found_after_forgery(settings_as_they_are().draw), (0, false));
}

fn settings_as_they_are() -> Settings {
    Settings::new("data".into(), "today".into())
}

const LAST_COMMITS: u64 = 165;

/// Killed with several segments that were written over others, the last one half.
fn written_over() -> (Simulated, Snapshot) {
    let disk = Simulated::new(1);
    let settings = Settings { checkpoint_bytes: 80_000, spares_max: 9, ..small() };
    let (mut store, mut kept) = (open_with(&disk, settings), Snapshot::default());
    // Longer ones first: behind the last frame of a full segment is something left, too.
    for n in 0..40 {
        commit(&mut store, &mut kept, &[retain(&format!("topic/{}", n % 5), &"y".repeat(4900))]);
    }
    commit_some(&mut store, &mut kept, 0..LAST_COMMITS);
    killed(store, &disk, Stop::Kill);
    assert!(disk.count(".journal").renamed > 3 && files(&disk, "journal").len() > 2);
    (disk, kept)
}

#[test]
fn damage_is_told_of_the_segment_that_has_it() {
    let (disk, kept) = written_over();
    let segments = files(&disk, "journal");
    assert!(segments.len() > 2, "{segments:?}");
    for (at, segment) in segments.iter().enumerate().skip(1) {
        let (disk, _) = written_over();
        let mut bytes = disk.files()[segment].clone();
        bytes[1000] ^= 1;
        disk.put(segment, bytes);
        let mut store = open_with(&disk, small());
        let [damage] = store.damage() else { panic!("{at}: {:?}", store.damage()) };
        assert_eq!(damage.files, std::slice::from_ref(segment), "{at}");
        assert_eq!(store.load().expect("loaded").retained.len(), kept.retained.len());
    }
}

#[test]
fn frames_behind_a_block_that_reads_as_zeros_are_found() {
    let (disk, kept) = written_over();
    let newest = files(&disk, "journal").pop().expect("a segment");
    let mut bytes = disk.files()[&newest].clone();
    bytes[512..1024].fill(0);
    disk.put(&newest, bytes);
    let mut store = open_with(&disk, small());
    assert_eq!(store.damage().len(), 1);
    let found = store.load().expect("loaded").retained;
    assert_eq!(found["topic/4"], kept.retained["topic/4"], "the last one");
}
