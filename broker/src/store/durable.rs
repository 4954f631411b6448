//! The store on disk: a journal in front of a state.
//!
//! A commit is one frame in the journal and one sync. From time to time what the journal says is
//! written to the state, net of all that came and went meanwhile, by a thread of its own while
//! commits go on; then old segments go. A start reads the state and the journal behind it.

use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use martlet_engine::change::Change;
use martlet_engine::snapshot::Snapshot;

use crate::store::damage::Damage;
use crate::store::disk::{Disk, Lock, Real};
use crate::store::durable::checkpoints::{Ask, Checkpoints};
use crate::store::durable::recording::Replayed;
use crate::store::journal::recovery::{self, Recovered};
use crate::store::journal::{Bounds, Journal};
use crate::store::ledger::{self, Ledger};
use crate::store::progress::Progress;
use crate::store::recorder::Recorder;
use crate::store::state::load::Loaded;
use crate::store::state::{Checkpoint, State, version};
use crate::store::{Store, StoreError};

mod checkpoints;
mod recording;
mod standing;

/// Everything that a store is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder; made if it is not there.
    pub folder: PathBuf,
    /// When a commit is safe.
    pub sync: Sync,
    /// What stands in the names of damaged files, should there be any: today's date.
    pub date: String,
    /// Bytes of frames after which a checkpoint is made. Memory for as many facts may be needed,
    /// and a start after a crash reads as much.
    pub checkpoint_bytes: u64,
    /// Time after which a checkpoint is made if anything is to be written.
    pub checkpoint_every: Duration,
    /// Bytes after which a segment of the journal gets no more frames.
    pub segment_bytes: u64,
    /// Bytes by which a segment grows ahead of its frames.
    pub ahead_bytes: u64,
    /// Segments of the journal that are kept, once nothing needs them, for the next ones to be
    /// written over. They go when less than `checkpoint_bytes` come in `checkpoint_every`.
    pub spares_max: usize,
    /// Gives the lower half of a segment's number, which clients must not be able to guess.
    pub draw: fn() -> u32,
    /// Bytes of the state's file that nothing needs before they are given back, if they are also
    /// more than half of it.
    pub compact_waste_bytes: u64,
    /// Memory for the state's pages.
    pub cache_bytes: usize,
    /// Who keeps what is recorded; `None`: whoever only looks at the store.
    pub recorder: Option<Arc<dyn Recorder>>,
    /// Whether checkpoints are written while commits go on. If not, each is written by the commit
    /// after the one that made it due: the same calls then do the same things in the same order.
    pub background: bool,
}

/// When a commit is safe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sync {
    /// When it returns: one sync each.
    Always,
    /// After this time at the latest. A kill loses nothing, a power cut at most this.
    Interval(Duration),
}

impl Settings {
    /// The defaults, for this folder.
    pub fn new(folder: PathBuf, date: String) -> Self {
        Self {
            folder,
            sync: Sync::Always,
            date,
            checkpoint_bytes: 16 << 20,
            checkpoint_every: Duration::from_secs(300),
            segment_bytes: 16 << 20,
            ahead_bytes: 256 << 10,
            spares_max: 2,
            draw: || RandomState::new().hash_one(0_u8) as u32,
            compact_waste_bytes: 16 << 20,
            cache_bytes: 8 << 20,
            recorder: None,
            background: true,
        }
    }
}

/// The store on disk.
#[derive(Debug)]
pub struct Durable {
    settings: Settings,
    journal: Journal,
    ledger: Ledger,
    checkpoints: Checkpoints,
    /// Until it is asked for.
    loaded: Option<Snapshot>,
    damage: Vec<Damage>,
    /// The frame up to which the state holds everything.
    state_position: u64,
    /// Bytes of frames since the last checkpoint was begun.
    bytes_since: u64,
    /// When so many are reached, a checkpoint is begun, or one that failed is tried again.
    bytes_due: u64,
    /// Time since the last checkpoint was begun, as ticks tell it.
    time_since: Duration,
    /// Records that the journal has, and a power cut may take.
    unsafe_records: Vec<Change>,
    /// How many of them, the first ones, the checkpoint holds that is being written.
    records_in_checkpoint: usize,
    /// Held as long as the store is.
    _lock: Box<dyn Lock>,
}

pub(super) const LOCK: &str = "lock";
pub(super) const STATE: &str = "state.redb";
/// A state that is being written.
const STATE_BEGUN: &str = "state.redb.begun";
/// A state that is whole and takes the place of a damaged one.
pub(super) const STATE_REBUILT: &str = "state.redb.rebuilt";
pub(super) const JOURNAL: &str = "journal";

/// Bytes of frames, as a multiple of `checkpoint_bytes`, after which commits wait for a checkpoint
/// that is being written: so much memory the facts behind it may take.
const BEHIND_MAX: u64 = 4;

/// Segments that a start may find. At the bound it writes them to the state before it goes on.
const SEGMENTS_FOUND_MAX: usize = 8;

/// Opens the store in a folder, and reads it.
///
/// # Errors
/// When the folder cannot be used, another process uses it, or a newer broker wrote it. Damage is
/// no error: see [`Store::damage`].
pub fn open(settings: Settings) -> Result<Durable, StoreError> {
    open_on(Arc::new(Real), settings)
}

/// As [`open`], on this disk.
///
/// # Errors
/// As [`open`].
pub fn open_on(disk: Arc<dyn Disk>, settings: Settings) -> Result<Durable, StoreError> {
    let mut progress = Progress::begin();
    let lock = prepare(&*disk, &settings.folder)?;
    let journal_folder = settings.folder.join(JOURNAL);
    let path = settings.folder.join(STATE);
    refuse_newer(&*disk, &settings.folder)?;
    prepare_state(&disk, &settings)?;
    let Settings { cache_bytes, compact_waste_bytes, .. } = settings;
    let state = State::new(Arc::clone(&disk), path.clone(), cache_bytes, compact_waste_bytes);
    let (loaded, mut damage) = load_state(&state, &path, &mut progress)?;
    let Loaded { position, next_segment, mut snapshot, records, places, shared, .. } = loaded;
    let mut ledger = Ledger::new(&snapshot, places, &shared);
    let at = (position, next_segment);
    let mut replayed = Replayed::begin(settings.recorder.as_ref(), &snapshot, &records)?;
    let mut recovered = recovery::replay(&*disk, &journal_folder, at, |change| {
        snapshot.apply(&change);
        ledger.apply(&change);
        replayed.take(change);
    })?;
    replayed.end(&mut snapshot, &mut ledger)?;
    if !damage.is_empty() || !recovered.damage.is_empty() {
        ledger::mend(&mut snapshot);
        state.close();
        ledger = rebuild(&disk, &settings, &snapshot, &recovered, damage.first_mut())?;
        recovery::set_aside(&*disk, &mut recovered, &settings.date)?;
        damage.append(&mut recovered.damage);
    }
    for damage in &damage {
        tracing::error!(%damage, "The store is damaged; what could be read is kept.");
    }
    tracing::info!(
        "The store holds {} sessions, {} messages for them and {} retained; {} bytes of that came \
         from the journal. It took {:.1} s to read.",
        snapshot.sessions.len(),
        snapshot.messages.len(),
        snapshot.retained.len(),
        recovered.bytes,
        progress.seconds(),
    );
    let Settings { segment_bytes, ahead_bytes, spares_max, draw, .. } = settings;
    let bounds = Bounds { segment_bytes, ahead_bytes, spares_max, draw };
    let (bytes_since, has_cut) = (recovered.bytes, recovered.has_cut);
    let mut journal = Journal::new(disk, &journal_folder, bounds, recovered);
    if has_cut {
        journal.seal()?;
    }
    let mut durable = Durable {
        bytes_since,
        state_position: position,
        journal,
        checkpoints: Checkpoints::new(state, settings.background),
        ledger,
        loaded: Some(snapshot),
        damage,
        bytes_due: settings.checkpoint_bytes,
        settings,
        time_since: Duration::ZERO,
        unsafe_records: Vec::new(),
        records_in_checkpoint: 0,
        _lock: lock,
    };
    durable.write_what_was_found();
    Ok(durable)
}

impl Durable {
    /// Begins with a checkpoint of what the journal says: a broker that dies again and again leaves
    /// a segment each time, and would read more at each start.
    fn write_what_was_found(&mut self) {
        if self.journal.segments() == 0 {
            return;
        }
        self.begin_checkpoint();
        if self.journal.segments() >= SEGMENTS_FOUND_MAX
            && let Err(error) = self.finish_checkpoint(Ask::Wait)
        {
            tracing::warn!(%error, "The checkpoint failed and will be tried again.");
        }
    }

    fn keep(&mut self, changes: &[Change], sync: bool) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        self.go_on_with_checkpoints();
        let is_far_behind = self.bytes_since >= self.settings.checkpoint_bytes * BEHIND_MAX;
        // What is to be safe rests on what was noted before: should that be lost, so would this.
        if is_far_behind || sync && self.journal.may_have_lost() {
            self.finish_checkpoint(Ask::Wait)?;
        }
        if sync && self.journal.may_have_lost() {
            self.begin_checkpoint();
            self.finish_checkpoint(Ask::Wait)?;
        }
        self.may_record(changes)?;
        self.bytes_since += self.journal.append(changes, sync)?;
        changes.iter().for_each(|change| self.ledger.apply(change));
        self.record(changes);
        Ok(())
    }

    /// Begins a checkpoint: what is to be written is taken, and written from here on.
    fn begin_checkpoint(&mut self) {
        if self.bytes_since < self.settings.checkpoint_bytes {
            self.journal.drop_spares();
        }
        (self.bytes_since, self.time_since) = (0, Duration::ZERO);
        self.bytes_due = self.settings.checkpoint_bytes;
        let records = self.records_for_state();
        self.checkpoints.begin(Checkpoint {
            records,
            pending: self.ledger.take_pending(),
            position: self.journal.last(),
            next_key: self.ledger.next_key().0,
            next_segment: self.journal.next_segment(),
            recorder: self.settings.recorder.clone(),
        });
    }

    /// Takes note of a checkpoint that is done, and lets the segments go that it replaces.
    fn finish_checkpoint(&mut self, ask: Ask) -> Result<(), StoreError> {
        if let Some(position) = self.checkpoints.finish(ask)? {
            self.state_position = position;
            self.journal.trust(position);
            self.record_what_the_state_has();
        }
        self.journal.free(self.state_position)
    }

    /// Whatever of a checkpoint can be done now. None of it may hold up a commit.
    fn go_on_with_checkpoints(&mut self) {
        let ask = if self.is_due() { Ask::Retry } else { Ask::Look };
        if let Err(error) = self.finish_checkpoint(ask) {
            self.time_since = Duration::ZERO;
            self.bytes_due = self.bytes_since + self.settings.checkpoint_bytes;
            tracing::warn!(%error, "The checkpoint failed and will be tried again.");
        }
        if self.is_due() && self.checkpoints.is_idle() {
            self.begin_checkpoint();
        }
    }

    fn is_due(&self) -> bool {
        let by_bytes = self.bytes_since >= self.bytes_due;
        let by_time = self.time_since >= self.settings.checkpoint_every;
        self.journal.is_doubtful() || (by_bytes || by_time) && self.has_work()
    }

    /// Whether a checkpoint would write anything or free a segment.
    fn has_work(&self) -> bool {
        self.journal.has_old_segments() || self.ledger.has_pending()
    }
}

impl Store for Durable {
    fn load(&mut self) -> Result<Snapshot, StoreError> {
        Ok(self.loaded.take().expect("load is called once"))
    }

    fn damage(&self) -> &[Damage] {
        &self.damage
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        self.keep(changes, self.settings.sync == Sync::Always)
    }

    fn note(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        self.keep(changes, false)
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        if self.settings.sync != Sync::Always {
            return Ok(()); // the tick does, in its time
        }
        let synced = self.journal.sync();
        self.record_what_is_safe();
        self.go_on_with_checkpoints();
        synced
    }

    fn tick_every(&self) -> Option<Duration> {
        match self.settings.sync {
            Sync::Always => Some(self.settings.checkpoint_every),
            Sync::Interval(interval) => Some(interval.min(self.settings.checkpoint_every)),
        }
    }

    fn tick(&mut self) -> Result<(), StoreError> {
        self.time_since += self.tick_every().unwrap_or_default();
        let synced = self.journal.sync();
        self.record_what_is_safe();
        self.go_on_with_checkpoints();
        if self.time_since >= self.settings.checkpoint_every && !self.has_work() {
            self.time_since = Duration::ZERO; // else the next fact alone would be due at once
            self.journal.drop_spares();
        }
        synced
    }

    fn checkpoint(&mut self) -> Result<(), StoreError> {
        self.finish_checkpoint(Ask::Retry)?;
        if self.checkpoints.is_idle() && self.has_work() {
            self.begin_checkpoint();
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), StoreError> {
        // Should the state not take it, this is where it is; if it does, it is safe there.
        let synced = self.journal.sync();
        let mut written = self.finish_checkpoint(Ask::Wait);
        if written.is_err() {
            written = self.finish_checkpoint(Ask::Wait); // that failure may be an old one
        }
        if written.is_ok() && self.state_position < self.journal.last() {
            self.begin_checkpoint();
            written = self.finish_checkpoint(Ask::Wait);
        }
        written.map_err(|error| synced.err().unwrap_or(error))?;
        self.checkpoints.close();
        self.journal.clear()
    }
}

/// Makes the folders, and takes them for this process alone.
fn prepare(disk: &dyn Disk, folder: &Path) -> Result<Box<dyn Lock>, StoreError> {
    let journal = folder.join(JOURNAL);
    let made = disk.create_folder(folder).and_then(|()| disk.create_folder(&journal));
    made.map_err(|source| match source.kind() {
        std::io::ErrorKind::NotADirectory | std::io::ErrorKind::AlreadyExists => {
            StoreError::NotAFolder { folder: folder.to_owned() }
        }
        _ => StoreError::io(format!("making the folder {}", journal.display()), source),
    })?;
    let lock = disk.lock(&folder.join(LOCK)).map_err(|source| {
        let folder = folder.display();
        StoreError::io(format!("{folder} must be writable for the broker"), source)
    })?;
    lock.ok_or_else(|| {
        let holder = disk.holder(&folder.join(LOCK));
        StoreError::Locked { folder: folder.to_owned(), holder }
    })
}

/// Comes before anything is changed.
fn refuse_newer(disk: &dyn Disk, folder: &Path) -> Result<(), StoreError> {
    recovery::refuse_newer(disk, &folder.join(JOURNAL))?;
    version::refuse_newer(disk, &folder.join(STATE))?;
    version::refuse_newer(disk, &folder.join(STATE_REBUILT))
}

/// Reads the state, or what of it can be read.
fn load_state(
    state: &State,
    path: &Path,
    progress: &mut Progress,
) -> Result<(Loaded, Vec<Damage>), StoreError> {
    let loaded = match state.load(progress)? {
        Ok(loaded) => loaded,
        Err(reason) => Loaded { missing: vec![reason], ..Loaded::default() },
    };
    let missing = loaded.missing.join("; ");
    let damage = match missing.is_empty() {
        true => Vec::new(),
        false => vec![Damage::new(vec![path.to_owned()], missing)],
    };
    Ok((loaded, damage))
}

/// Sees to it that the state is there: ends what a rebuild began, or makes an empty one.
fn prepare_state(disk: &Arc<dyn Disk>, settings: &Settings) -> Result<(), StoreError> {
    let folder = &settings.folder;
    let doing = |source| StoreError::io(format!("preparing {}", folder.display()), source);
    let names = disk.list(folder).map_err(doing)?;
    let has = |name: &str| names.iter().any(|other| other == name);
    if has(STATE_BEGUN) {
        disk.remove(&folder.join(STATE_BEGUN)).map_err(doing)?;
    }
    match (has(STATE), has(STATE_REBUILT)) {
        (true, false) => return Ok(()),
        // The damaged one is still in its place: all is done anew.
        (true, true) => return disk.remove(&folder.join(STATE_REBUILT)).map_err(doing),
        (false, true) => {}
        (false, false) => write_aside(disk, settings, Checkpoint::default())?,
    }
    disk.rename(&folder.join(STATE_REBUILT), &folder.join(STATE)).map_err(doing)?;
    disk.sync_folder(folder).map_err(doing)
}

/// Writes a new state of what was salvaged, and sets a damaged one aside. The ledger of the new.
fn rebuild(
    disk: &Arc<dyn Disk>,
    settings: &Settings,
    snapshot: &Snapshot,
    recovered: &Recovered,
    damage: Option<&mut Damage>,
) -> Result<Ledger, StoreError> {
    let mut ledger = Ledger::starting_at(snapshot.next_key);
    ledger::facts(snapshot).for_each(|fact| ledger.apply(&fact));
    snapshot.streams.iter().for_each(|(stream, end)| ledger.go_on_with_stream(stream, *end));
    let checkpoint = Checkpoint {
        pending: ledger.take_pending(),
        position: recovered.last(),
        next_key: snapshot.next_key.0,
        next_segment: recovered.next_segment(),
        records: Vec::new(),
        recorder: settings.recorder.clone(),
    };
    write_aside(disk, settings, checkpoint)?;
    let (new, old) = (settings.folder.join(STATE_REBUILT), settings.folder.join(STATE));
    if let Some(damage) = damage {
        Damage::set_aside(&**disk, &old, &settings.date)?;
        damage.set_aside_on = Some(settings.date.clone());
    }
    let doing = |source| StoreError::io(format!("replacing {}", old.display()), source);
    disk.rename(&new, &old).map_err(doing)?;
    disk.sync_folder(&settings.folder).map_err(doing)?;
    Ok(ledger)
}

/// Writes a whole state beside the one that is there: it has this name only when it is safe.
fn write_aside(
    disk: &Arc<dyn Disk>,
    settings: &Settings,
    checkpoint: Checkpoint,
) -> Result<(), StoreError> {
    let (begun, whole) = (settings.folder.join(STATE_BEGUN), settings.folder.join(STATE_REBUILT));
    let state = State::new(Arc::clone(disk), begun.clone(), settings.cache_bytes, u64::MAX);
    state.write(&checkpoint)?;
    state.close();
    let doing = |source| StoreError::io(format!("writing {}", whole.display()), source);
    disk.rename(&begun, &whole).map_err(doing)?;
    disk.sync_folder(&settings.folder).map_err(doing)
}
