//! One stream: its segments on disk, the newest of which grows.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Poll, Waker};

use martlet_engine::change::Recorded;
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::store::disk::{Disk, File};
use crate::telemetry::batch;
use crate::telemetry::catalog::Deleted;
use crate::telemetry::index::Index;
use crate::telemetry::segment::{self, Sealed};
use crate::telemetry::{LogError, StreamStats};

/// Records, and bytes of them, of one batch: what is checked by one checksum. A larger record
/// stands alone.
const BATCH_RECORDS_MAX: usize = 4096;
const BATCH_BYTES_MAX: usize = 256 << 10;

/// Bytes of records that the journal has and the segment could not be given. At the bound the
/// store's commits fail, so that no acknowledgement leaves, until the disk takes them.
pub(super) const UNWRITTEN_BYTES_MAX: usize = 16 << 20;

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
}

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
    waiting: Vec<Waker>,
    /// Records that retention has deleted since the start.
    pub(super) expired: u64,
}

/// The segment that grows.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) base: u64,
    /// `None`: it could not be made yet.
    pub(super) file: Option<Arc<dyn File>>,
    pub(super) index: Index,
    /// Bytes in the file.
    pub(super) written: u64,
    /// What comes behind them.
    unwritten: Vec<u8>,
    /// Bytes that are safe on disk, if its name is.
    synced: u64,
    is_named: bool,
}

impl Stream {
    /// What is on disk, up to `limit`: what is known to be safe. `None`: that is not known.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        folder: PathBuf,
        (name, segment_bytes): (Arc<str>, u64),
        limit: Option<u64>,
    ) -> Result<Self, LogError> {
        let inner = load(&*disk, &folder, limit)?;
        let inner = Mutex::new(inner);
        let (news, syncing, deleted) = (Condvar::new(), Mutex::new(()), Mutex::default());
        Ok(Self { name, folder, disk, segment_bytes, inner, news, syncing, deleted })
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
            segment::write_index(&*self.disk, &self.folder, base, &index.to_bytes(bytes))?;
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

    /// Deletes whole segments, oldest first, that are wholly older than `time`, or while all
    /// together are larger than `bytes`. How many records that were.
    pub(super) fn expire(&self, time: Option<u64>, bytes: Option<u64>) -> Result<u64, LogError> {
        let mut gone = 0;
        loop {
            let base = {
                let mut inner = self.inner.lock();
                self.seal_if_old(&mut inner, time);
                let all = inner.bytes();
                let Some(oldest) = inner.sealed.first() else { break };
                let is_old = time.is_some_and(|time| oldest.time_max < time);
                let is_much = bytes.is_some_and(|bytes| all > bytes);
                // What is not safe yet may be needed to make the journal let go.
                if oldest.unsafe_yet.is_some() || !(is_old || is_much) {
                    break;
                }
                let oldest = inner.sealed.remove(0);
                gone += oldest.end - oldest.base;
                inner.expired += oldest.end - oldest.base;
                oldest.base
            };
            segment::remove(&*self.disk, &self.folder, base)?;
        }
        Ok(gone)
    }

    /// Deletes the oldest segment, to make room; `None`: there is none that can go.
    pub(super) fn drop_oldest(&self) -> Result<Option<u64>, LogError> {
        let oldest = {
            let mut inner = self.inner.lock();
            match inner.sealed.first() {
                Some(oldest) if oldest.unsafe_yet.is_none() => inner.sealed.remove(0),
                _ => return Ok(None),
            }
        };
        let records = oldest.end - oldest.base;
        self.inner.lock().expired += records;
        segment::remove(&*self.disk, &self.folder, oldest.base)?;
        Ok(Some(records))
    }

    /// For who only looks: sees what was written since.
    pub(super) fn look_again(&self) -> Result<(), LogError> {
        let newest = segment::bases(&*self.disk, &self.folder)?.pop();
        let mut inner = self.inner.lock();
        match &mut inner.active {
            Some(active) if Some(active.base) == newest => {
                let end = active.look_again(&self.folder)?;
                inner.end = inner.end.max(end);
                inner.shown = inner.end;
            }
            _ => *inner = load(&*self.disk, &self.folder, None)?,
        }
        Ok(())
    }

    /// A segment's file is gone.
    pub(super) fn forget(&self, base: u64) {
        self.inner.lock().sealed.retain(|sealed| sealed.base != base);
    }

    /// The offset behind the last record to see; asked again when there is more than `seen`.
    pub(super) fn poll_newer(&self, seen: u64, waker: &Waker) -> Poll<u64> {
        let mut inner = self.inner.lock();
        if inner.shown > seen {
            return Poll::Ready(inner.shown);
        }
        if !inner.waiting.iter().any(|other| other.will_wake(waker)) {
            inner.waiting.push(waker.clone());
        }
        Poll::Pending
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
        let active_times = active.map(|a| a.index.times()).filter(|times| times.end > 0);
        let times = inner.sealed.iter().map(|s| s.time_min..s.time_max).chain(active_times);
        let (earliest, latest) =
            times.fold((u64::MAX, 0), |(min, max), t| (min.min(t.start), max.max(t.end)));
        StreamStats {
            stream: self.name.clone(),
            first_offset: inner.start(),
            next_offset: inner.shown,
            bytes: inner.bytes(),
            segments: inner.sealed.len() as u64 + u64::from(active.is_some()),
            first_time_ms: (latest > 0).then_some(earliest),
            last_time_ms: (latest > 0).then_some(latest),
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
                Ok(cut) => *inner = cut,
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
    fn seal_if_old(&self, inner: &mut Inner, time: Option<u64>) {
        let is_old = |active: &Active| {
            let newest = active.index.times().end;
            newest > 0 && time.is_some_and(|time| newest < time) && active.unwritten.is_empty()
        };
        if inner.active.as_ref().is_some_and(is_old) {
            let next = inner.end;
            inner.seal();
            // Its name keeps the offset that comes next.
            inner.active = Some(Active::new(next));
            self.write_out(inner);
        }
    }

    fn write_out(&self, inner: &mut Inner) {
        let Some(active) = &mut inner.active else { return };
        match active.write_out(&*self.disk, &self.folder) {
            Ok(()) if inner.shown < inner.end => {
                inner.shown = inner.end;
                inner.waiting.drain(..).for_each(Waker::wake);
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
            let reason = std::io::Error::other("records wait for room on the disk");
            return Err(LogError::io("writing", &self.folder, reason));
        }
        let sealed = inner.sealed.iter().filter(|sealed| sealed.unsafe_yet.is_some());
        let growing = inner.active.as_ref().filter(|a| a.synced < a.written || !a.is_named);
        let growing = growing.and_then(|a| Some((a.base, Arc::clone(a.file.as_ref()?), a.written)));
        Ok((sealed.cloned().collect(), growing))
    }

    fn sync_file(&self, file: &dyn File, base: u64) -> Result<(), LogError> {
        file.sync()
            .map_err(|source| LogError::io("syncing", &segment::path(&self.folder, base), source))
    }
}

impl Inner {
    /// The first offset that is there.
    pub(super) fn start(&self) -> u64 {
        let sealed = self.sealed.first().map(|sealed| sealed.base);
        sealed.or(self.active.as_ref().map(|active| active.base)).unwrap_or(self.end)
    }

    fn bytes(&self) -> u64 {
        let sealed: u64 = self.sealed.iter().map(|sealed| sealed.bytes).sum();
        sealed + self.active.as_ref().map_or(0, Active::len)
    }

    /// The growing segment grows no more.
    fn seal(&mut self) {
        let Some(Active { base, file: Some(file), index, written, .. }) = self.active.take() else {
            return;
        };
        self.sealed.push(Sealed::new(base, file, index, written));
    }
}

impl Active {
    fn new(base: u64) -> Self {
        Self {
            base,
            file: None,
            index: Index::default(),
            written: 0,
            unwritten: Vec::new(),
            synced: 0,
            is_named: false,
        }
    }

    fn len(&self) -> u64 {
        self.written + self.unwritten.len() as u64
    }

    fn add(&mut self, records: &[&Recorded]) {
        let (at, start) = (self.len(), self.unwritten.len());
        batch::write(&mut self.unwritten, records);
        self.index.add(batch::trusted(&self.unwritten[start..]), at);
    }

    /// Reads what was written since by somebody else; the offset behind it.
    fn look_again(&mut self, folder: &Path) -> Result<u64, LogError> {
        let path = segment::path(folder, self.base);
        let reading = |source| LogError::io("reading", &path, source);
        let Some(file) = &self.file else { return Ok(self.base) };
        let scanned = segment::scan(&**file, self.written..u64::MAX, |batch, at| {
            self.index.add(batch, at);
        });
        self.written = scanned.map_err(reading)?.end;
        Ok(self.index.end().unwrap_or(self.base))
    }

    fn write_out(&mut self, disk: &dyn Disk, folder: &Path) -> Result<(), LogError> {
        let path = segment::path(folder, self.base);
        let writing = |source| LogError::io("writing", &path, source);
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(disk.create(&path).map_err(writing)?.into()),
        };
        if self.unwritten.is_empty() {
            return Ok(());
        }
        file.write_at(self.written, &self.unwritten).map_err(writing)?;
        self.written += self.unwritten.len() as u64;
        self.unwritten.clear();
        self.unwritten.shrink_to(BATCH_BYTES_MAX);
        Ok(())
    }
}

/// How many of the records go into one batch: their offsets follow each other.
fn batch_len(records: &[&Recorded]) -> usize {
    let mut bytes = 0;
    let fits = |(at, record): &(usize, &&Recorded)| {
        bytes += record.message.len();
        *at == 0
            || *at < BATCH_RECORDS_MAX
                && bytes <= BATCH_BYTES_MAX
                && record.offset == records[0].offset + *at as u64
    };
    records.iter().enumerate().take_while(fits).count()
}

/// Reads what is there, and cuts off what is at or above `limit` or torn.
fn load(disk: &dyn Disk, folder: &Path, limit: Option<u64>) -> Result<Inner, LogError> {
    disk.create_folder(folder).map_err(|source| LogError::io("making", folder, source))?;
    let mut bases = segment::bases(disk, folder)?;
    let below = bases.partition_point(|base| limit.is_none_or(|limit| *base < limit));
    let (first_above, above) = match bases.split_off(below) {
        // The first one names where the log goes on, if nothing is before it.
        above if below == 0 && limit.is_some() && above.first() == limit.as_ref() => {
            (limit, above[1..].to_vec())
        }
        above => (None, above),
    };
    for base in above.into_iter().rev() {
        segment::remove(disk, folder, base)?;
    }
    let last = bases.pop().or(first_above);
    let sealed = bases.into_iter().map(|base| Sealed::open(disk, folder, base));
    let sealed: Vec<Sealed> = sealed.collect::<Result<_, _>>()?;
    let active = last.map(|base| reopen(disk, folder, base, limit)).transpose()?;
    let active_end = active.as_ref().map(|a| a.index.end().unwrap_or(a.base));
    let found = active_end.or(sealed.last().map(|sealed| sealed.end)).unwrap_or(0);
    // What is missing below the limit stays missing.
    let end = found.max(limit.unwrap_or(0));
    if found < end {
        let folder = folder.display();
        tracing::error!("Records {found} to {} are not in {folder} any more.", end - 1);
    }
    Ok(Inner {
        sealed,
        active,
        end,
        shown: end,
        is_settled: limit.is_some(),
        waiting: Vec::new(),
        expired: 0,
    })
}

/// The newest segment: it goes on growing.
fn reopen(
    disk: &dyn Disk,
    folder: &Path,
    base: u64,
    limit: Option<u64>,
) -> Result<Active, LogError> {
    let path = segment::path(folder, base);
    let reading = |source| LogError::io("reading", &path, source);
    let file: Arc<dyn File> = disk.open(&path).map_err(reading)?.into();
    let (index, scanned) =
        segment::make_index(&*file, limit.unwrap_or(u64::MAX)).map_err(reading)?;
    if scanned.damaged_bytes > 0 {
        let (bytes, path) = (scanned.damaged_bytes, path.display());
        tracing::error!("{bytes} bytes of {path} cannot be read; the rest is served.");
    }
    if scanned.torn_bytes > 0 {
        file.set_len(scanned.end).map_err(reading)?;
    }
    // It may have been sealed, and grows again.
    match disk.remove(&segment::index_path(folder, base)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(reading(error)),
        _ => {}
    }
    let (file, written) = (Some(file), scanned.end);
    Ok(Active { file, index, written, ..Active::new(base) })
}
