//! A broker that dies young, again and again.

use std::path::Path;
use std::sync::Arc;

use martlet::store::Store;
use martlet::store::disk::Disk;
use martlet::store::durable::{self, Settings};
use martlet_engine::snapshot::Snapshot;

use crate::facts::{commit, retain, settings};
use crate::simulated::{Simulated, Stop};

/// Bytes of all files and how many segments of the journal.
fn size(disk: &Simulated) -> (u64, usize) {
    let bytes = |folder: &str| -> u64 {
        let names = disk.list(Path::new(folder)).expect("a folder");
        let files = names.iter().map(|name| disk.open(&Path::new(folder).join(name)));
        files.map(|file| file.expect("a file").len().expect("its length")).sum()
    };
    let segments = disk.list(Path::new("data/journal")).expect("a folder").len();
    (bytes("data") + bytes("data/journal"), segments)
}

/// A thousand lives of one commit each; the most that was ever there.
fn live(settings: &Settings, stop: fn(u64) -> Stop) -> (u64, usize) {
    let (disk, mut kept, mut most) = (Simulated::new(1), Snapshot::default(), (0, 0));
    for life in 1..=1000 {
        let disk_of_life = Arc::new(disk.clone());
        let mut store = durable::open_on(disk_of_life, settings.clone()).expect("opened");
        let found = store.load().expect("loaded");
        assert!(found == kept, "life {life}");
        commit(&mut store, &mut kept, &[retain("t", &life.to_string())]);
        disk.power_goes_in(0);
        drop(store);
        disk.restart(stop(life));
        let now = size(&disk);
        most = (most.0.max(now.0), most.1.max(now.1));
    }
    most
}

#[test]
fn a_thousand_short_lives_leave_few_segments() {
    let stops: [fn(u64) -> Stop; 2] =
        [|_| Stop::Kill, |life| if life % 2 == 0 { Stop::Kill } else { Stop::PowerCut }];
    for stop in stops {
        let (bytes, segments) = live(&Settings { ahead_bytes: 4096, ..settings() }, stop);
        assert!(segments <= 3, "{segments} segments");
        assert!(bytes < 4 << 20, "{bytes} bytes for one retained message");
    }
}

#[test]
fn lives_too_short_for_a_checkpoint_leave_a_bounded_number_of_segments() {
    let settings = Settings { ahead_bytes: 4096, background: true, ..settings() };
    let (bytes, segments) = live(&settings, |_| Stop::Kill);
    assert!(segments <= 9, "{segments} segments");
    assert!(bytes < 4 << 20, "{bytes} bytes for one retained message");
}
