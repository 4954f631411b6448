//! A broker dies again and again, at any operation of its disk, and each time it starts with what
//! it had committed.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use martlet::store::durable::{self, Durable, Settings, Sync};
use martlet::store::recorder::Recorder;
use martlet::store::{Store, StoreError};
use martlet::telemetry::log::{Log, Sealing, StreamSettings};
use martlet_engine::change::Change;
use martlet_engine::snapshot::Snapshot;

use crate::dice::Dice;
use crate::recording::{self, Records};
use crate::simulated::{Faults, Simulated, Stop, difference, small_settings};
use crate::workload::Workload;

/// One seed's life.
struct Run {
    dice: Dice,
    disk: Simulated,
    settings: Settings,
    log_segment_bytes: u64,
    /// Bytes that the log keeps; `None`: all.
    log_keep_bytes: Option<u64>,
    /// Zero: each time that segments are sealed, the newest is.
    seal_after: Option<Duration>,
    /// What was committed.
    kept: Snapshot,
    /// What may be found after a power cut besides: what was noted, or with `Sync::Interval`
    /// committed, since the last sync, batch by batch.
    older: Vec<Snapshot>,
    /// What was recorded of that.
    recorded: Records,
    /// The power was cut since the store was last opened.
    was_cut: bool,
    crashes: u32,
    /// Parquet files that were seen.
    parquet_files: u64,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let disk = Simulated::new(dice.below(u64::MAX));
        let every_9_ms = Sync::Interval(Duration::from_millis(9));
        let sync = dice.pick(&[Sync::Always, Sync::Always, every_9_ms]);
        let settings = small_settings(&mut dice, sync);
        let log_segment_bytes = dice.pick(&[1, 1_000, 20_000]);
        let log_keep_bytes = dice.pick(&[None, None, Some(20_000)]);
        let seal_after = dice.pick(&[None, Some(Duration::ZERO)]);
        Self {
            dice,
            disk,
            settings,
            log_segment_bytes,
            log_keep_bytes,
            seal_after,
            kept: Snapshot::default(),
            older: Vec::new(),
            recorded: Records::default(),
            was_cut: false,
            crashes: 0,
            parquet_files: 0,
        }
    }

    fn open(&self) -> Result<(Durable, Log), StoreError> {
        let sealing = Sealing { after: self.seal_after, bytes_per_s: u64::MAX };
        let with = |settings| StreamSettings {
            sealing: cfg!(feature = "parquet").then(|| sealing.clone()),
            keep_bytes: self.log_keep_bytes,
            ..settings
        };
        let log = recording::log_with(&self.disk, self.log_segment_bytes, with);
        let recorder: Arc<dyn Recorder> = Arc::new(log.clone());
        let settings = Settings { recorder: Some(recorder), ..self.settings.clone() };
        Ok((durable::open_on(Arc::new(self.disk.clone()), settings)?, log))
    }

    /// What the log has is what was recorded, as far as it was committed.
    fn check_log(&self, log: &Log, found: &Snapshot) {
        if self.disk.is_without_power() {
            return; // it went while the log was being opened
        }
        let (read, kept) = (recording::read(log), recording::upto(&self.recorded, &found.streams));
        let kept = self.without_expired(log, kept);
        assert!(read == kept, "{:?}: {} and {}", found.streams, counts(&read), counts(&kept));
    }

    /// What retention leaves: all, where nothing was to go.
    fn without_expired(&self, log: &Log, mut kept: Records) -> Records {
        if self.log_keep_bytes.is_some() {
            for (stream, records) in &mut kept {
                let first = log.stats(stream).expect("there is the stream").first_offset;
                records.retain(|record| record.offset >= first);
            }
            kept.retain(|_, records| !records.is_empty());
        }
        kept
    }

    /// What the broker does beside: retention and sealing.
    fn tend(&mut self, log: &Log) {
        log.tend(0);
        if self.dice.chance(50) {
            log.seal(u64::MAX, &|_| true);
        } else {
            let left = Cell::new(self.dice.below(4));
            log.seal(u64::MAX, &|_| left.replace(left.get().saturating_sub(1)) > 0);
        }
        for stream in log.streams() {
            self.parquet_files += log.stats(&stream).expect("there is the stream").parquet_files;
        }
    }

    /// Until the next crash: starts, commits, ticks; perhaps with a disk that refuses; perhaps to
    /// an orderly end. `in_flight`: the batch of which nobody knows whether it was kept.
    fn live(&mut self, in_flight: &mut Option<Vec<Change>>) -> Result<(), StoreError> {
        let (mut store, log) = self.open()?;
        assert_eq!(store.damage(), [], "a crash is no damage");
        let found = store.load()?;
        self.check(&found, in_flight.take());
        self.check_log(&log, &found);
        let mut workload = Workload::new(found, &mut self.dice);
        if self.dice.chance(20) {
            let mut percent = || self.dice.below(20);
            let (full, write, sync) = (percent(), percent(), percent());
            self.disk.set_faults(Faults { full, write, sync });
        }
        for _ in 0..self.dice.below(60) {
            let mut batch = Vec::new();
            for _ in 0..1 + self.dice.below(8) {
                batch.extend(workload.step(&mut self.dice));
            }
            self.commit(&mut store, batch, in_flight)?;
            if self.dice.chance(5) && store.tick().is_ok() {
                self.older.clear();
            }
            if self.dice.chance(5) {
                self.tend(&log);
            }
            if self.dice.chance(5) && store.sync().is_ok() && self.settings.sync == Sync::Always {
                self.older.clear();
            }
        }
        self.disk.set_faults(Faults::default());
        if self.dice.chance(50) {
            store.close()?;
            self.older.clear();
        }
        self.disk.power_goes_in(0); // nothing more is written by what goes out of scope
        Ok(())
    }

    /// As the driver does: tries until it is done or the machine is.
    fn commit(
        &mut self,
        store: &mut Durable,
        batch: Vec<Change>,
        in_flight: &mut Option<Vec<Change>>,
    ) -> Result<(), StoreError> {
        let waited_for = !batch.is_empty() && self.dice.chance(60);
        for _ in 0..1000 {
            let kept = if waited_for { store.commit(&batch) } else { store.note(&batch) };
            match kept {
                Ok(()) => {
                    match waited_for && self.settings.sync == Sync::Always {
                        true => self.older.clear(),
                        false => self.older.push(self.kept.clone()),
                    }
                    batch.iter().for_each(|change| self.keep(change));
                    return Ok(());
                }
                Err(error) if self.disk.is_without_power() => {
                    *in_flight = Some(batch);
                    return Err(error);
                }
                Err(error) if self.dice.chance(2) => {
                    // The driver is told to stop, and does without it.
                    *in_flight = Some(batch);
                    self.disk.power_goes_in(0);
                    return Err(error);
                }
                Err(_) => {}
            }
        }
        panic!("a disk that works most of the time does it in the end");
    }

    fn check(&mut self, found: &Snapshot, in_flight: Option<Vec<Change>>) {
        let older = std::mem::take(&mut self.older);
        let may_be_older = std::mem::take(&mut self.was_cut);
        if *found == self.kept {
            return;
        }
        if may_be_older && older.contains(found) {
            self.kept = found.clone();
            self.recorded = recording::upto(&self.recorded, &found.streams);
            return;
        }
        for change in in_flight.unwrap_or_default() {
            self.keep(&change);
        }
        assert!(*found == self.kept, "{}", difference(found, &self.kept));
    }

    fn keep(&mut self, change: &Change) {
        self.kept.apply(change);
        recording::note(&mut self.recorded, change);
    }

    fn crash(&mut self) {
        self.disk.set_faults(Faults::default());
        let stop = if self.dice.chance(75) { Stop::PowerCut } else { Stop::Kill };
        self.disk.restart(stop);
        self.was_cut |= stop == Stop::PowerCut;
        self.crashes += 1;
    }
}

fn counts(records: &Records) -> String {
    let counts = records.iter().map(|(stream, records)| {
        let offsets: Vec<u64> = records.iter().map(|record| record.offset).collect();
        format!("{stream} {offsets:?}")
    });
    counts.collect::<Vec<_>>().join(", ")
}

fn run(seed: u64) -> (u32, u64) {
    let mut run = Run::new(seed);
    live_and_die(&mut run);
    (run.crashes, run.parquet_files)
}

fn live_and_die(run: &mut Run) {
    let mut in_flight = None;
    for _ in 0..6 {
        if run.dice.chance(85) {
            let operations = 1 + run.dice.below(run.dice.clone().pick(&[10, 100, 400]));
            run.disk.power_goes_in(operations);
        }
        if let Err(error) = run.live(&mut in_flight) {
            assert!(run.disk.is_without_power(), "only a crash ends it: {error}");
        }
        run.crash();
    }
    let (mut store, log) = run.open().expect("a disk with power can be opened");
    assert_eq!(store.damage(), []);
    let found = store.load().expect("loaded");
    run.check(&found, in_flight);
    run.check_log(&log, &found);
    bounded(run);
}

/// No file stays that nobody needs.
fn bounded(run: &Run) {
    let files = run.disk.files();
    let aside = files.keys().filter(|path| path.to_string_lossy().contains("damaged"));
    assert_eq!(aside.count(), 0);
    assert!(files.contains_key(Path::new("data/state.redb")));
}

/// Checkpoints beside the commits, as the broker has them: which operation comes when differs from
/// run to run, what must hold does not.
#[test]
fn checkpoints_in_the_background_change_nothing_of_that() {
    for seed in 0..100 {
        let mut run = Run::new(seed);
        run.settings.background = true;
        live_and_die(&mut run);
    }
}

/// `TEST_STORE_SEEDS` many seeds (500) from `TEST_STORE_FIRST` (0) on.
#[test]
fn what_was_committed_is_there_after_a_crash_anywhere() {
    let number =
        |name, default| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let first: u64 = number("TEST_STORE_FIRST", 0);
    let seeds: u64 = number("TEST_STORE_SEEDS", 500);
    let (mut crashes, mut parquet_files) = (0, 0);
    for seed in first..first + seeds {
        let told = std::panic::catch_unwind(|| run(seed));
        let told = told.unwrap_or_else(|_| {
            panic!(
                "seed {seed}: replay with TEST_STORE_FIRST={seed} TEST_STORE_SEEDS=1 \
                 cargo test -p martlet --test store crash"
            )
        });
        crashes += told.0;
        parquet_files += told.1;
    }
    assert!(crashes as u64 >= seeds, "{crashes} crashes are too few to show anything");
    let enough = !cfg!(feature = "parquet") || parquet_files >= seeds / 2;
    assert!(enough, "{parquet_files} sealed segments are too few to show anything");
}
