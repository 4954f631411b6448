//! All streams: one log, shared by the store that appends to it and by all who read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Wake, Poll};
use std::time::Duration;

use martlet_engine::change::{Change, Recorded};
use martlet_engine::filter::Filter;
use martlet_engine::recording;
use parking_lot::{Mutex, MutexGuard};

use crate::store::StoreError;
use crate::store::disk::Disk;
use crate::store::recorder::{Ends, Recorder};
use crate::telemetry::catalog::Catalog;
use crate::telemetry::columns::Column;
use crate::telemetry::cursors::Shelf;
use crate::telemetry::look::ReadOnly;
use crate::telemetry::reader::Reader;
use crate::telemetry::rights::Rights;
use crate::telemetry::seal::Outcome;
use crate::telemetry::stream::Stream;
use crate::telemetry::topics::{self, Topics};
use crate::telemetry::{KeptRecord, LogError, Position, StreamStats};
use crate::telemetry::{plan, room};

/// What the log is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder that holds a folder for each stream; made when the first record comes.
    pub folder: PathBuf,
    /// The streams that there are from the start.
    pub streams: Vec<StreamSettings>,
    /// Bytes after which a segment gets no more records.
    pub segment_bytes: u64,
}

/// One stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamSettings {
    /// Its name, and its folder's.
    pub name: Arc<str>,
    /// What it records: messages that match any of these.
    pub filters: Vec<Filter>,
    /// How long records are kept; `None`: as long as there is room.
    pub keep: Option<Duration>,
    /// How many bytes are kept; `None`: any.
    pub keep_bytes: Option<u64>,
    /// What happens when less than `free_bytes_min` is free.
    pub full: WhenFull,
    /// Bytes of the disk that are left free for everything else.
    pub free_bytes_min: u64,
    /// How its segments become Parquet files; `None`: they stay as they are.
    pub sealing: Option<Sealing>,
    /// What is taken out of payloads where records become Parquet.
    pub columns: Vec<Column>,
}

/// How segments become Parquet files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sealing {
    /// A segment grows no more when its first record is so old; `None`: when it is full.
    pub after: Option<Duration>,
    /// Bytes of segments that are read in a second at most.
    pub bytes_per_s: u64,
}

impl Sealing {
    /// How long so many bytes take.
    pub(super) fn time_for(&self, bytes: usize) -> Duration {
        Duration::from_secs_f64(bytes as f64 / self.bytes_per_s.max(1) as f64)
    }
}

/// What a stream does when its disk is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenFull {
    /// Records nothing until there is room again.
    Stop,
    /// Deletes its oldest segments; if there are none, it stops.
    DropOldest,
}

impl StreamSettings {
    /// A stream that keeps everything as long as there is any room.
    pub fn new(name: &str, filters: Vec<Filter>) -> Self {
        Self {
            name: name.into(),
            filters,
            keep: None,
            keep_bytes: None,
            full: WhenFull::Stop,
            free_bytes_min: 0,
            sealing: None,
            columns: Vec::new(),
        }
    }

    /// As the engine is told of it.
    pub fn stream(&self) -> recording::Stream {
        let (name, filters) = (self.name.clone(), self.filters.clone());
        recording::Stream { name, filters, stopped: false }
    }
}

/// The name of the log's folder in that of the broker.
pub const FOLDER: &str = "telemetry";

/// Bytes after which a segment gets no more records, unless a test has it otherwise.
pub const SEGMENT_BYTES: u64 = 64 << 20;

/// After a disk has refused to hold a sealed segment.
const SEAL_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// Records that [`Log::last`] answers at most.
pub const LAST_MAX: usize = 10_000;

/// The log. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Log(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    disk: Arc<dyn Disk>,
    settings: Settings,
    /// Those that record now, and how long each is kept.
    recorded: Mutex<Vec<StreamSettings>>,
    streams: Mutex<BTreeMap<Arc<str>, Arc<Stream>>>,
    /// Streams that record nothing for now.
    stopped: Mutex<BTreeSet<Arc<str>>>,
    shelf: Mutex<Shelf>,
}

impl Settings {
    /// A log in the folder of a broker, with its defaults.
    pub fn new(data: &Path, streams: Vec<StreamSettings>) -> Self {
        Self { folder: data.join(FOLDER), streams, segment_bytes: SEGMENT_BYTES }
    }
}

impl Log {
    /// A log that is empty until the store has [restored](Recorder::restore) it.
    pub fn new(disk: Arc<dyn Disk>, settings: Settings) -> Self {
        let (streams, stopped) = (Mutex::default(), Mutex::default());
        let (shelf, recorded) = (Mutex::default(), Mutex::new(settings.streams.clone()));
        Self(Arc::new(Shared { disk, settings, recorded, streams, stopped, shelf }))
    }

    /// The log in the folder of a broker as it lies there, for who only looks; a broker may be
    /// writing it.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn look(data: &Path) -> Result<Self, LogError> {
        let log = Self::new(Arc::new(ReadOnly), Settings::new(data, Vec::new()));
        log.open(&Ends::default())?;
        Ok(log)
    }

    /// Sees what a broker has written since.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn look_again(&self) -> Result<(), LogError> {
        self.open(&Ends::default())?;
        self.all().iter().try_for_each(|stream| stream.look_again())
    }

    /// The names of all streams, those included that are recorded no more.
    pub fn streams(&self) -> Vec<Arc<str>> {
        self.0.streams.lock().keys().cloned().collect()
    }

    /// Begins to read a stream; of what `filter` matches, or everything.
    ///
    /// # Errors
    /// When there is no such stream, or the offset has not come yet.
    pub fn reader(
        &self,
        stream: &str,
        from: Position,
        filter: Option<Filter>,
    ) -> Result<Reader, LogError> {
        Reader::new(self.stream(stream)?, from, filter)
    }

    /// The last records of a stream that `filter` matches, oldest first; at most [`LAST_MAX`].
    ///
    /// # Errors
    /// When there is no such stream, or the disk cannot be read.
    pub fn last(
        &self,
        stream: &str,
        filter: Option<Filter>,
        count: usize,
    ) -> Result<Vec<KeptRecord>, LogError> {
        self.last_within(stream, (filter, Rights::default()), (count, usize::MAX))
    }

    /// As [`last`](Self::last), of what a reader may have, and only until their payloads have so
    /// many bytes.
    ///
    /// # Errors
    /// As there.
    pub fn last_within(
        &self,
        stream: &str,
        wanted: (Option<Filter>, Rights),
        (count, bytes_max): (usize, usize),
    ) -> Result<Vec<KeptRecord>, LogError> {
        topics::last(&*self.stream(stream)?, wanted, (count.min(LAST_MAX), bytes_max))
    }

    /// The topics of a stream that begin with `prefix` and come after `after`; `limit` at most.
    ///
    /// # Errors
    /// When there is no such stream, or the disk cannot be read.
    pub fn topics(
        &self,
        stream: &str,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Topics, LogError> {
        self.topics_for(&Rights::default(), stream, (prefix, after, limit))
    }

    /// The same for a reader, who hears of no others than those that it may read.
    ///
    /// # Errors
    /// As there.
    pub fn topics_for(
        &self,
        rights: &Rights,
        stream: &str,
        page: (&str, &str, usize),
    ) -> Result<Topics, LogError> {
        topics::topics(&*self.stream(stream)?, rights, page)
    }

    /// The first of the streams, by name, that record everything that `filter` can match.
    pub fn covering(&self, filter: &Filter) -> Option<Arc<str>> {
        let stopped = self.0.stopped.lock();
        let recorded = self.0.recorded.lock();
        let records = recorded.iter().filter(|stream| !stopped.contains(&stream.name));
        let covering = records.filter(|stream| stream.filters.iter().any(|f| f.covers(filter)));
        covering.map(|stream| Arc::clone(&stream.name)).min()
    }

    /// What a stream is at this moment.
    ///
    /// # Errors
    /// When there is no such stream.
    pub fn stats(&self, stream: &str) -> Result<StreamStats, LogError> {
        let is_stopped = self.0.stopped.lock().contains(stream);
        Ok(StreamStats { is_stopped, ..self.stream(stream)?.stats() })
    }

    /// The offset of each stream at which what comes next can be read.
    pub fn next_offsets(&self) -> Vec<(Arc<str>, u64)> {
        self.all().iter().map(|stream| (stream.name.clone(), plan::bounds(stream).1)).collect()
    }

    /// Ready once there are records at or above `offset` to read; answers the offset behind the
    /// newest.
    ///
    /// # Errors
    /// When there is no such stream.
    pub fn newer_than(&self, stream: &str, offset: u64) -> Result<Newer, LogError> {
        Ok(Newer { stream: self.stream(stream)?, offset, number: None })
    }

    /// Deletes what is older than its stream keeps it, or is more than that, and sees whether there
    /// is room on the disk; `now_ms`: the time. To be called every second or so. What the engine is
    /// to be told, if that has changed.
    pub fn tend(&self, now_ms: u64) -> Option<Vec<recording::Stream>> {
        let mut stopped = self.0.stopped.lock();
        let before = stopped.clone();
        let recorded = self.0.recorded.lock().clone();
        for settings in &recorded {
            let Ok(stream) = self.stream(&settings.name) else { continue };
            room::expire(&stream, settings, now_ms);
            let is_stopped = stopped.contains(&settings.name);
            match room::is_full(&*self.0.disk, &stream, settings, (is_stopped, now_ms)) {
                true => stopped.insert(settings.name.clone()),
                false => stopped.remove(&settings.name),
            };
        }
        (*stopped != before).then(|| told(&recorded, &stopped))
    }

    /// Opens those of these streams that are new, so that they can record.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn make_ready(&self, streams: &[StreamSettings]) -> Result<(), LogError> {
        streams.iter().try_for_each(|stream| self.open_stream(&stream.name, None).map(drop))
    }

    /// From here on these streams record, [made ready](Self::make_ready), and are looked after;
    /// others can still be read. What the engine is to be told.
    pub fn change(&self, streams: Vec<StreamSettings>) -> Vec<recording::Stream> {
        let mut stopped = self.0.stopped.lock();
        stopped.retain(|name| streams.iter().any(|stream| stream.name == *name));
        let told = told(&streams, &stopped);
        *self.0.recorded.lock() = streams;
        told
    }

    /// Whether there is a stream whose segments are sealed.
    pub fn seals(&self) -> bool {
        self.0.recorded.lock().iter().any(|stream| stream.sealing.is_some())
    }

    /// Seals every segment that grows no more, of streams that want it; `go_on` is called again and
    /// again with how long to wait, and answers whether to go on. `now_ms`: the time. What the disk
    /// refuses is said, and tried again the next time.
    pub fn seal(&self, now_ms: u64, go_on: &dyn Fn(Duration) -> bool) {
        for name in self.streams() {
            let Ok(stream) = self.stream(&name) else { continue };
            // Asked before each segment: a reload may have changed it.
            while let Some(sealing) = self.settings_of(&name, |settings| settings.sealing.clone()) {
                let columns = self.columns(&name);
                match stream.seal_oldest((&sealing, &columns), now_ms, go_on) {
                    Ok(Outcome::Sealed) => {}
                    Ok(Outcome::Damaged) => stream.note_seal_failure(),
                    Ok(Outcome::Nothing) => break,
                    Ok(Outcome::Stopped) => return,
                    Err(error) => {
                        stream.note_seal_failure();
                        tracing::warn!(%error, "Stream {name}: {error}; it will be sealed later.");
                        if !go_on(SEAL_AGAIN_AFTER) {
                            return;
                        }
                        break;
                    }
                }
            }
        }
    }

    /// What is taken out of the payloads of a stream where its records become Parquet.
    pub fn columns(&self, stream: &str) -> Vec<Column> {
        self.settings_of(stream, |settings| Some(settings.columns.clone())).unwrap_or_default()
    }

    fn settings_of<T>(&self, name: &str, what: fn(&StreamSettings) -> Option<T>) -> Option<T> {
        let recorded = self.0.recorded.lock();
        what(recorded.iter().find(|stream| *stream.name == *name)?)
    }

    fn stream(&self, name: &str) -> Result<Arc<Stream>, LogError> {
        let streams = self.0.streams.lock();
        streams.get(name).cloned().ok_or_else(|| {
            let known: Vec<&str> = streams.keys().map(|name| &**name).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            LogError::NoStream { stream: name.to_owned(), known }
        })
    }

    fn all(&self) -> Vec<Arc<Stream>> {
        self.0.streams.lock().values().cloned().collect()
    }

    /// Opens what is on disk and what there is to be.
    fn open(&self, ends: &Ends) -> Result<(), LogError> {
        let folder = &self.0.settings.folder;
        let on_disk = match self.0.disk.list(folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            names => names.map_err(|source| LogError::io("reading", folder, source))?,
        };
        let on_disk = on_disk.into_iter().filter(|name| is_name(name)).map(Arc::from);
        let configured = self.0.settings.streams.iter().map(|stream| stream.name.clone());
        for name in on_disk.chain(configured) {
            self.open_stream(&name, ends.get(&name).copied())?;
        }
        let mut shelf = self.shelf();
        shelf.catalog = Catalog::load(&*self.0.disk, folder)?;
        self.tell_deleted(&shelf.catalog);
        Ok(())
    }

    pub(super) fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.0.shelf.lock()
    }

    pub(super) fn save(&self, catalog: &Catalog) -> Result<(), LogError> {
        catalog.save(&*self.0.disk, &self.0.settings.folder)
    }

    /// Each stream learns which topics were deleted.
    pub(super) fn tell_deleted(&self, catalog: &Catalog) {
        for stream in self.all() {
            let deleted = catalog.deleted.get(&*stream.name).cloned().unwrap_or_default();
            stream.set_deleted(deleted);
        }
    }

    fn open_stream(&self, name: &Arc<str>, limit: Option<u64>) -> Result<Arc<Stream>, LogError> {
        let mut streams = self.0.streams.lock();
        if let Some(stream) = streams.get(name) {
            return Ok(Arc::clone(stream));
        }
        let Shared { disk, settings, .. } = &*self.0;
        let folder = settings.folder.join(&**name);
        let named = (name.clone(), settings.segment_bytes);
        let stream = Arc::new(Stream::open(Arc::clone(disk), folder, named, limit)?);
        streams.insert(name.clone(), Arc::clone(&stream));
        Ok(stream)
    }
}

/// The streams as the engine sees them.
fn told(streams: &[StreamSettings], stopped: &BTreeSet<Arc<str>>) -> Vec<recording::Stream> {
    let stopped = |settings: &StreamSettings| stopped.contains(&settings.name);
    let streams = streams.iter();
    let told = streams.map(|one| recording::Stream { stopped: stopped(one), ..one.stream() });
    told.collect()
}

/// Whether a stream may be called that: it is a folder's name everywhere.
pub fn is_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.chars().all(is_plain)
}

/// Bytes that a stream's name may have.
pub const NAME_BYTES_MAX: usize = 64;

impl Recorder for Log {
    fn restore(&self, ends: &Ends) -> Result<(), StoreError> {
        Ok(self.open(ends)?)
    }

    fn append(&self, changes: &[Change]) -> Result<(), StoreError> {
        let mut by_stream: Vec<(&Arc<str>, Vec<&Recorded>)> = Vec::new();
        for change in changes {
            let Change::Record(record) = change else { continue };
            match by_stream.iter_mut().find(|(name, _)| **name == record.stream) {
                Some((_, records)) => records.push(record),
                None => by_stream.push((&record.stream, vec![record])),
            }
        }
        for (name, records) in by_stream {
            self.open_stream(name, None)?.append(&records);
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.all().iter().all(|stream| stream.has_room())
    }

    fn ends(&self) -> Ends {
        self.all().iter().map(|stream| (stream.name.clone(), stream.end())).collect()
    }

    fn sync(&self) -> Result<(), StoreError> {
        Ok(self.all().iter().try_for_each(|stream| stream.sync())?)
    }

    fn settled(&self, ends: &Ends) {
        for stream in self.all() {
            if let Some(end) = ends.get(&stream.name) {
                stream.settled(*end);
            }
        }
    }
}

/// A future: see [`Log::newer_than`].
#[derive(Debug)]
pub struct Newer {
    stream: Arc<Stream>,
    offset: u64,
    /// Under which it waits.
    number: Option<u64>,
}

impl Drop for Newer {
    /// The stream may have no news for years: it keeps nothing of who went.
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.stream.wait_no_more(number);
        }
    }
}

impl Future for Newer {
    type Output = u64;

    fn poll(self: Pin<&mut Self>, wake: &mut Wake<'_>) -> Poll<u64> {
        let Self { stream, offset, number } = self.get_mut();
        stream.poll_newer(*offset, number, wake.waker())
    }
}
