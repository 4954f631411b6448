//! One stream: its segments on disk, the newest of which grows.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use martlet_engine::change::Recorded;
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::store::disk::{Disk, File};
use crate::telemetry::active::{Active, batch_len};
use crate::telemetry::catalog::Deleted;
use crate::telemetry::index::{Index, UNKNOWN};
use crate::telemetry::load::load;
use crate::telemetry::sealed::{self, Form, Names, Sealed, index_path, segment_path};
use crate::telemetry::segment;
use crate::telemetry::waiting::Waiting;
use crate::telemetry::{LogError, StreamStats};

/// Bytes of records that the journal has and the segment could not be given. At the bound the
/// store's commits fail, so that no acknowledgement leaves, until the disk takes them.
pub(super) const UNWRITTEN_BYTES_MAX: usize = 16 << 20;

/// How often it is tried to read what the disk does not read: then it counts as damage.
pub(super) const READS_MAX: u32 = 3;

/// Places that are remembered because the disk did not read them.
const FAILURES_MAX: usize = 4096;

/// A stream. The store's thread appends; anybody reads.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) name: Arc<str>,
    pub(super) folder: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    segment_bytes: u64,
    inner: Mutex<Inner>,
    /// There are newer records to see.
    news: Condvar,
    /// One sync at a time.
    syncing: Mutex<()>,
    deleted: Mutex<Arc<Deleted>>,
    /// Segments that are not sealed, by their first offsets: they are damaged.
    staying: Mutex<BTreeSet<u64>>,
    seal_failures: AtomicU64,
    /// What the disk did not read, by the place, and how often in a row.
    unread: Mutex<BTreeMap<Place, u32>>,
    /// Files that are nobody's any more, and that the disk did not remove yet.
    left: Mutex<Vec<PathBuf>>,
    /// What is to be free, until when, as soon as the disk gives back what was deleted.
    promised: Mutex<(u64, u64)>,
    /// Bytes that readers had to pass over.
    unread_bytes: AtomicU64,
}

/// A block: its file, where it begins in it, and how often the files had been looked at anew.
pub(super) type Place = (u64, u64, u64);

#[derive(Debug)]
pub(super) struct Inner {
    /// Oldest first.
    pub(super) sealed: Vec<Sealed>,
    pub(super) active: Option<Active>,
    /// The next record's offset.
    end: u64,
    /// The offset behind the last record that is in a file: readers see so far.
    pub(super) shown: u64,
    /// It is known where the log ends for sure: the state or the journal has said so.
    is_settled: bool,
    /// Everything below is in the state: no start cuts it.
    pub(super) settled: u64,
    pub(super) waiting: Waiting,
    /// Records that retention has deleted since the start.
    pub(super) expired: u64,
    /// How often the files were looked at anew: what was known of places in them is void then.
    pub(super) loads: u64,
}

impl Stream {
    /// What is on disk, up to `limit`: what is known to be safe. `None`: that is not known.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        folder: PathBuf,
        (name, segment_bytes): (Arc<str>, u64),
        limit: Option<u64>,
    ) -> Result<Self, LogError> {
        let inner = Inner { settled: limit.unwrap_or(0), ..load(&*disk, &folder, limit)? };
        let inner = Mutex::new(inner);
        let (news, syncing) = (Condvar::new(), Mutex::new(()));
        let (deleted, staying, unread) = (Mutex::default(), Mutex::default(), Mutex::default());
        let (left, promised) = (Mutex::default(), Mutex::default());
        let (seal_failures, unread_bytes) = (AtomicU64::default(), AtomicU64::default());
        Ok(Self {
            name,
            folder,
            disk,
            segment_bytes,
            inner,
            news,
            syncing,
            deleted,
            staying,
            seal_failures,
            unread,
            left,
            promised,
            unread_bytes,
        })
    }

    /// Topics that were deleted.
    pub(super) fn deleted(&self) -> Arc<Deleted> {
        Arc::clone(&self.deleted.lock())
    }

    pub(super) fn set_deleted(&self, deleted: Deleted) {
        *self.deleted.lock() = Arc::new(deleted);
    }

    /// The offset that the next record gets.
    pub(super) fn end(&self) -> u64 {
        self.inner.lock().end
    }

    /// Appends records; those that it has already are left out. What the disk refuses is kept and
    /// tried again with what comes next.
    pub(super) fn append(&self, records: &[&Recorded]) {
        let mut inner = self.inner.lock();
        let Some(first) = records.first() else { return };
        if !inner.is_settled {
            self.settle(&mut inner, first.offset);
        }
        let mut rest = &records[records.partition_point(|record| record.offset < inner.end)..];
        while !rest.is_empty() {
            let (batch, behind) = rest.split_at(batch_len(rest));
            self.active(&mut inner, batch[0].offset).add(batch);
            inner.end = batch[batch.len() - 1].offset + 1;
            rest = behind;
        }
        self.write_out(&mut inner);
    }

    /// Whether there is room for what the disk refuses.
    pub(super) fn has_room(&self) -> bool {
        let mut inner = self.inner.lock();
        let is_full = |inner: &Inner| {
            inner.active.as_ref().is_some_and(|a| a.unwritten.len() >= UNWRITTEN_BYTES_MAX)
        };
        if is_full(&inner) {
            self.write_out(&mut inner);
        }
        !is_full(&inner)
    }

    /// Makes everything that was appended before safe on disk, and writes the indexes of segments
    /// that grow no more.
    pub(super) fn sync(&self) -> Result<(), LogError> {
        let _alone = self.syncing.lock();
        let (sealed, growing) = self.to_sync()?;
        for Sealed { base, bytes, unsafe_yet, .. } in sealed {
            let Some((file, index)) = unsafe_yet else { continue };
            self.sync_file(&*file, base)?;
            let path = index_path(&segment_path(&self.folder, base));
            segment::write_index(&*self.disk, &self.folder, &path, &index.to_bytes(bytes))?;
            let mut inner = self.inner.lock();
            let same = inner.sealed.iter_mut().find(|sealed| sealed.base == base);
            same.into_iter().for_each(|sealed| sealed.unsafe_yet = None);
        }
        let Some((base, file, written)) = growing else { return Ok(()) };
        self.sync_file(&*file, base)?;
        let syncing = |source| LogError::io("syncing", &self.folder, source);
        self.disk.sync_folder(&self.folder).map_err(syncing)?;
        if let Some(active) = self.inner.lock().active.as_mut().filter(|a| a.base == base) {
            (active.synced, active.is_named) = (written, true);
        }
        Ok(())
    }

    /// For who only looks: sees what was written since.
    pub(super) fn look_again(&self) -> Result<(), LogError> {
        let newest = sealed::names(&*self.disk, &self.folder)?.segments.pop();
        let mut inner = self.inner.lock();
        let is_newest = |active: &&mut Active| Some(active.base) == newest;
        let seen = match inner.active.as_mut().filter(is_newest) {
            Some(active) => active.look_again(&*self.disk, &self.folder)?,
            None => None,
        };
        match seen {
            Some(end) => {
                inner.end = inner.end.max(end);
                inner.shown = inner.end;
            }
            None => {
                let loads = inner.loads + 1;
                *inner = Inner { loads, ..load(&*self.disk, &self.folder, None)? };
            }
        }
        Ok(())
    }

    /// A file is not there any more: it was deleted, or is in Parquet now.
    pub(super) fn find_again(&self, gone: &Sealed) -> Result<(), LogError> {
        let Names { segments, parquet, .. } = sealed::names(&*self.disk, &self.folder)?;
        let firsts = segments.first().copied().into_iter().chain(parquet.first().map(|p| p.0));
        if firsts.min().is_some_and(|first| first > gone.base) {
            self.forget_upto(gone.base);
            return Ok(());
        }
        let range = parquet.into_iter().find(|(base, _)| *base == gone.base);
        let found = match range.filter(|_| gone.form == Form::Segment) {
            Some(range) => match Sealed::open_parquet(&*self.disk, &self.folder, range) {
                // Retention was as fast.
                Err(LogError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                    self.forget_upto(gone.base);
                    return Ok(());
                }
                found => found?,
            },
            None => None,
        };
        self.replace(gone, found);
        Ok(())
    }

    /// Retention has taken a file: the older ones went with it, and are no loss.
    fn forget_upto(&self, base: u64) {
        self.inner.lock().sealed.retain(|sealed| sealed.base > base);
    }

    /// Puts another file in the place of one, or none; whether it was still there.
    pub(super) fn replace(&self, old: &Sealed, new: Option<Sealed>) -> bool {
        let mut inner = self.inner.lock();
        let is_old = |other: &Sealed| other.base == old.base && other.form == old.form;
        let Some(at) = inner.sealed.iter().position(is_old) else { return false };
        inner.sealed.splice(at..=at, new);
        true
    }

    /// A Parquet file that cannot be read goes out of the way.
    pub(super) fn set_aside(&self, damaged: &Sealed, reason: &str) -> Result<(), LogError> {
        if self.replace(damaged, None) {
            sealed::set_aside(&*self.disk, &damaged.path(&self.folder), reason)?;
        }
        Ok(())
    }

    /// The state has everything below: no start goes back behind it.
    pub(super) fn settled(&self, end: u64) {
        let mut inner = self.inner.lock();
        inner.settled = inner.settled.max(end);
    }

    /// Blocks until there is more to see than `seen`, or for so long.
    pub(super) fn wait_newer(&self, seen: u64, wait: std::time::Duration) -> u64 {
        let mut inner = self.inner.lock();
        self.news.wait_while_for(&mut inner, |inner| inner.shown <= seen, wait);
        inner.shown
    }

    pub(super) fn stats(&self) -> StreamStats {
        let inner = self.inner.lock();
        let active = inner.active.as_ref();
        let parquet = inner.sealed.iter().filter(|sealed| sealed.form == Form::Parquet);
        let times = inner.times();
        StreamStats {
            stream: self.name.clone(),
            first_offset: inner.start(),
            next_offset: inner.shown,
            bytes: inner.bytes(),
            segments: inner.sealed.len() as u64 + u64::from(active.is_some()),
            parquet_files: parquet.clone().count() as u64,
            parquet_bytes: parquet.clone().map(|sealed| sealed.bytes).sum(),
            parquet_records: parquet.map(|sealed| sealed.rows).sum(),
            seal_failures: self.seal_failures.load(Ordering::Relaxed),
            damaged_bytes: self.unread_bytes.load(Ordering::Relaxed),
            first_time_ms: times.clone().map(|times| times.start).filter(|time| *time > 0).min(),
            last_time_ms: times.map(|times| times.end).filter(is_known).max(),
            unwritten_bytes: active.map_or(0, |active| active.unwritten.len() as u64),
            expired: inner.expired,
            is_stopped: false,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    /// The journal's first record tells where the log ends for sure.
    fn settle(&self, inner: &mut Inner, first: u64) {
        inner.is_settled = true;
        if first < inner.end {
            match load(&*self.disk, &self.folder, Some(first)) {
                Ok(cut) => {
                    let (settled, loads) = (inner.settled, inner.loads + 1);
                    *inner = Inner { settled, loads, ..cut };
                }
                Err(error) => tracing::error!(
                    %error,
                    "The log of {} could not be cut where the journal goes on.", self.name
                ),
            }
        }
    }

    /// The segment that the next record goes to.
    fn active<'a>(&self, inner: &'a mut Inner, next: u64) -> &'a mut Active {
        let is_full =
            |active: &Active| active.len() >= self.segment_bytes && active.unwritten.is_empty();
        if inner.active.as_ref().is_some_and(is_full) {
            inner.seal();
        } else if inner.active.as_ref().is_some_and(|active| active.len() >= self.segment_bytes) {
            self.write_out(inner);
            if inner.active.as_ref().is_some_and(is_full) {
                inner.seal();
            }
        }
        inner.active.get_or_insert_with(|| Active::new(next))
    }

    /// A segment whose newest record is older than anything that is kept, so that it can go.
    pub(super) fn seal_if_old(&self, inner: &mut Inner, time: Option<u64>) {
        self.seal_if(inner, |index| time.is_some_and(|time| index.times().end < time));
    }

    /// The growing segment grows no more, if it holds anything and is what is asked for.
    /// Whether it does.
    pub(super) fn seal_if(&self, inner: &mut Inner, is_it: impl Fn(&Index) -> bool) -> bool {
        let is_to_end = |active: &Active| {
            active.index.times().end > 0 && is_it(&active.index) && active.unwritten.is_empty()
        };
        if !inner.active.as_ref().is_some_and(is_to_end) {
            return false;
        }
        let next = inner.end;
        inner.seal();
        // Its name keeps the offset that comes next.
        inner.active = Some(Active::new(next));
        self.write_out(inner);
        true
    }

    /// Whether a segment was found not to be sealable.
    pub(super) fn stays(&self, base: u64) -> bool {
        self.staying.lock().contains(&base)
    }

    pub(super) fn let_stay(&self, base: u64) {
        self.staying.lock().insert(base);
    }

    /// A segment was not sealed.
    pub(super) fn note_seal_failure(&self) {
        self.seal_failures.fetch_add(1, Ordering::Relaxed);
    }

    /// The disk did not read this: how often in a row.
    pub(super) fn note_failure(&self, place: Place) -> u32 {
        let mut unread = self.unread.lock();
        if unread.len() >= FAILURES_MAX {
            unread.clear();
        }
        let times = unread.entry(place).or_default();
        *times += 1;
        *times
    }

    /// The disk read this.
    pub(super) fn note_read(&self, place: Place) {
        self.unread.lock().remove(&place);
    }

    /// Removes a file that is nobody's any more; if the disk refuses, it is tried again.
    pub(super) fn remove_for_sure(&self, path: PathBuf) {
        if let Err(error) = sealed::remove(&*self.disk, &path) {
            tracing::warn!(%error, "Stream {}: {error}; it will be tried again.", self.name);
            self.left.lock().push(path);
        }
    }

    /// Removes what could not be removed before.
    pub(super) fn remove_left(&self) {
        self.left.lock().retain(|path| sealed::remove(&*self.disk, path).is_err());
    }

    /// How much is to be free on the disk at this time, by what was deleted.
    pub(super) fn promised(&self, now_ms: u64) -> u64 {
        let (free, until_ms) = *self.promised.lock();
        if now_ms < until_ms { free } else { 0 }
    }

    pub(super) fn promise(&self, free: u64, until_ms: u64) {
        *self.promised.lock() = (free, until_ms);
    }

    /// A reader came upon so many bytes that cannot be read.
    pub(super) fn note_unread(&self, bytes: u64) {
        self.unread_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn write_out(&self, inner: &mut Inner) {
        let Some(active) = &mut inner.active else { return };
        match active.write_out(&*self.disk, &self.folder) {
            Ok(()) if inner.shown < inner.end => {
                inner.shown = inner.end;
                inner.waiting.wake_all();
                self.news.notify_all();
            }
            Ok(()) => {}
            Err(error) => {
                tracing::error!(%error, "Stream {}: {error}; it will be tried again.", self.name);
            }
        }
    }

    /// What is to be synced, taken at one moment.
    #[expect(clippy::type_complexity, reason = "two lists, used once")]
    fn to_sync(&self) -> Result<(Vec<Sealed>, Option<(u64, Arc<dyn File>, u64)>), LogError> {
        let mut inner = self.inner.lock();
        self.write_out(&mut inner);
        if inner.shown < inner.end {
            let reason = io::Error::other("records wait for room on the disk");
            return Err(LogError::io("writing", &self.folder, reason));
        }
        let sealed = inner.sealed.iter().filter(|sealed| sealed.unsafe_yet.is_some());
        let growing = inner.active.as_ref().filter(|a| a.synced < a.written || !a.is_named);
        let growing = growing.and_then(|a| Some((a.base, Arc::clone(a.file.as_ref()?), a.written)));
        Ok((sealed.cloned().collect(), growing))
    }

    fn sync_file(&self, file: &dyn File, base: u64) -> Result<(), LogError> {
        file.sync()
            .map_err(|source| LogError::io("syncing", &segment_path(&self.folder, base), source))
    }
}

impl Inner {
    /// `end`: where it goes on, and whether that is known for sure.
    pub(super) fn new(
        sealed: Vec<Sealed>,
        active: Option<Active>,
        (end, is_settled): (u64, bool),
    ) -> Self {
        let (waiting, shown) = (Waiting::default(), end);
        let (expired, settled, loads) = (0, 0, 0);
        Self { sealed, active, end, shown, is_settled, settled, waiting, expired, loads }
    }

    /// The first offset that is there.
    pub(super) fn start(&self) -> u64 {
        let sealed = self.sealed.first().map(|sealed| sealed.base);
        sealed.or(self.active.as_ref().map(|active| active.base)).unwrap_or(self.end)
    }

    /// The oldest and the newest time of each file.
    pub(super) fn times(&self) -> impl Iterator<Item = Range<u64>> + Clone {
        let sealed = self.sealed.iter().map(|sealed| sealed.time_min..sealed.time_max);
        sealed.chain(self.active.iter().map(|active| active.index.times()))
    }

    pub(super) fn bytes(&self) -> u64 {
        let sealed: u64 = self.sealed.iter().map(|sealed| sealed.bytes).sum();
        sealed + self.active.as_ref().map_or(0, Active::len)
    }

    /// The growing segment grows no more.
    pub(super) fn seal(&mut self) {
        let Some(Active { base, file: Some(file), index, written, .. }) = self.active.take() else {
            return;
        };
        self.sealed.push(Sealed::new(base, file, index, written));
    }
}

fn is_known(newest: &u64) -> bool {
    (1..UNKNOWN).contains(newest)
}
