//! Sealing: a segment that grows no more becomes a Parquet file.
//!
//! The file is written beside, synced, read again and compared, and renamed; only when its name is
//! safe the segment goes. A crash finds the segment, or both, or the Parquet file: never neither.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::store::disk::File;
use crate::telemetry::batch::Batch;
use crate::telemetry::catalog::Deleted;
use crate::telemetry::columnar::Fault;
use crate::telemetry::columnar::write::Writer;
use crate::telemetry::columns::Column;
use crate::telemetry::index::{Index, UNKNOWN};
use crate::telemetry::log::Sealing;
use crate::telemetry::sealed::{self, Form, Part, Sealed, index_path};
use crate::telemetry::segment;
use crate::telemetry::stream::{READS_MAX, Stream};
use crate::telemetry::{LogError, Record};

/// Waits so long; `false`: it is to stop.
pub(super) type GoOn<'a> = &'a dyn Fn(Duration) -> bool;

/// How fast, and what is taken out of payloads.
pub(super) type How<'a> = (&'a Sealing, &'a [Column]);

/// What is owed to the rate is waited for at once.
const BREATH: Duration = Duration::from_millis(10);

/// What became of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// It is a Parquet file now.
    Sealed,
    /// It stays: a part of it cannot be read.
    Damaged,
    /// It was to stop before that was done.
    Stopped,
    /// There was none to seal.
    Nothing,
}

impl Stream {
    /// Seals the oldest segment that grows no more and is in the state.
    pub(super) fn seal_oldest(
        &self,
        how: How<'_>,
        now_ms: u64,
        go_on: GoOn<'_>,
    ) -> Result<Outcome, LogError> {
        let after_ms = how.0.after.map(|after| u64::try_from(after.as_millis()));
        let began = after_ms.map(|after| now_ms.saturating_sub(after.unwrap_or(u64::MAX)));
        if began.is_some_and(|began| self.close_older(began)) {
            // A broker that has nothing to do writes no state for long.
            self.sync()?;
        }
        let Some(oldest) = self.to_seal() else { return Ok(Outcome::Nothing) };
        let path = oldest.path(&self.folder);
        let begun = self.folder.join(format!("{:020}{}", oldest.base, sealed::PARQUET_BEGUN));
        let index = match self.write_parquet(&oldest, &begun, (how, go_on)) {
            Ok(Some(index)) => index,
            not => {
                let outcome = self.give_up(&oldest, not);
                sealed::remove(&*self.disk, &begun)?;
                return outcome;
            }
        };
        let done = sealed::parquet_path(&self.folder, oldest.base, oldest.end);
        let named = self.name(&begun, &done, &index);
        let range = (oldest.base, oldest.end);
        let new = match named.and_then(|()| Sealed::open_parquet(&*self.disk, &self.folder, range))
        {
            Ok(Some(new)) => new,
            Ok(None) => {
                self.let_stay(oldest.base);
                return Ok(Outcome::Damaged);
            }
            Err(error) => {
                // Nobody would own it while retention deletes the segment.
                let _ = sealed::remove(&*self.disk, &done);
                return Err(error);
            }
        };
        let (name, base, last) = (&self.name, oldest.base, oldest.end - 1);
        let (before, bytes) = (oldest.bytes, new.bytes);
        tracing::info!(
            "Stream {name}: records {base} to {last} are in Parquet now, {bytes} bytes for \
             {before}."
        );
        // Retention may have been faster.
        let gone = if self.replace(&oldest, Some(new)) { path } else { done };
        self.remove_for_sure(gone);
        Ok(Outcome::Sealed)
    }

    /// Gives a file that is whole its name, safely, and its index.
    fn name(&self, begun: &Path, done: &Path, index: &[u8]) -> Result<(), LogError> {
        let naming = |source| LogError::io("renaming", begun, source);
        self.disk.rename(begun, done).map_err(naming)?;
        self.disk.sync_folder(&self.folder).map_err(naming)?;
        segment::write_index(&*self.disk, &self.folder, &index_path(done), index)
    }

    /// A segment that began before this grows no more. Whether it was one that did.
    fn close_older(&self, began: u64) -> bool {
        self.seal_if(&mut self.lock(), |index| index.times().start < began)
    }

    /// The oldest segment to seal.
    fn to_seal(&self) -> Option<Sealed> {
        let inner = self.lock();
        let settled = inner.settled;
        let is_ready = |sealed: &&Sealed| {
            sealed.form == Form::Segment
                && sealed.unsafe_yet.is_none()
                && sealed.end <= settled
                && sealed.end > sealed.base
                && !self.stays(sealed.base)
        };
        inner.sealed.iter().find(is_ready).cloned()
    }

    /// Writes a segment's records as a Parquet file that is whole and safe, but for its name; its
    /// index. `Ok(None)`: it was to stop.
    fn write_parquet(
        &self,
        segment: &Sealed,
        begun: &Path,
        ((sealing, columns), go_on): (How<'_>, GoOn<'_>),
    ) -> Result<Option<Vec<u8>>, Refused> {
        let path = segment.path(&self.folder);
        let reading = |source| Refused::Unread(LogError::io("reading", &path, source));
        let writing = |fault| match fault {
            Fault::Io(source) => Refused::Log(LogError::io("writing", begun, source)),
            Fault::Damaged { reason, .. } => Refused::Differs(reason),
        };
        let from = self.disk.open(&path).map_err(reading)?;
        let creating = |source| writing(Fault::Io(source));
        let file: Arc<dyn File> = self.disk.create(begun).map_err(creating)?.into();
        tracing::debug!("Stream {}: sealing {}.", self.name, path.display());
        let mut copy = Copy::new(Arc::clone(&file), columns, self.deleted()).map_err(writing)?;
        let (mut failed, mut owed) = (None, Duration::ZERO);
        let pace = |bytes| {
            owed += sealing.time_for(bytes);
            owed < BREATH || go_on(std::mem::take(&mut owed))
        };
        let scanned = segment::scan(&*from, 0..segment.end, pace, |batch, _| {
            if failed.is_none() {
                failed = copy.add(batch).err();
            }
        });
        let scanned = scanned.map_err(reading)?;
        if let Some(fault) = failed {
            return Err(writing(fault));
        }
        if scanned.is_stopped {
            return Ok(None);
        }
        if scanned.damaged_bytes + scanned.torn_bytes > 0 {
            return Err(Refused::Damaged);
        }
        let (bytes, expected) = copy.finish().map_err(writing)?;
        file.sync().map_err(creating)?;
        let (index, found) = read_again(file).map_err(writing)?;
        match found == expected {
            true => Ok(Some(index.to_bytes(bytes))),
            false => Err(Refused::Differs("it does not hold what its segment holds".to_owned())),
        }
    }

    fn give_up(
        &self,
        segment: &Sealed,
        written: Result<Option<Vec<u8>>, Refused>,
    ) -> Result<Outcome, LogError> {
        let name = segment.path(&self.folder);
        let name = name.display();
        let outcome = match written {
            Ok(_) => return Ok(Outcome::Stopped),
            Err(Refused::Log(error)) => return Err(error),
            Err(Refused::Unread(error)) => {
                if self.note_failure((segment.base, UNKNOWN, 0)) < READS_MAX {
                    return Err(error);
                }
                tracing::error!(%error, "{error}, again and again: it stays, and is not sealed.");
                Outcome::Damaged
            }
            Err(Refused::Damaged) => {
                tracing::error!("A part of {name} cannot be read: it stays, and is not sealed.");
                Outcome::Damaged
            }
            Err(Refused::Differs(reason)) => {
                tracing::error!("{name} is not sealed and stays: what was made of it: {reason}.");
                Outcome::Damaged
            }
        };
        self.let_stay(segment.base);
        Ok(outcome)
    }
}

/// Why a segment is not sealed.
enum Refused {
    Log(LogError),
    /// The disk does not read it.
    Unread(LogError),
    /// Not all of it can be read.
    Damaged,
    /// What was written is not what was read.
    Differs(String),
}

/// How many records, and a checksum of them.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    records: u64,
    checksum: u32,
}

impl Sum {
    fn add(&mut self, record: &Record<'_>) {
        self.records += 1;
        let Record { offset, time_ms, topic, client_id, user_name, qos, retain, payload } = *record;
        let mut add = |part: &[u8]| {
            self.checksum = crc32c::crc32c_append(self.checksum, part);
        };
        add(&offset.to_le_bytes());
        add(&time_ms.to_le_bytes());
        add(&[qos.get(), u8::from(retain)]);
        for name in [Some(topic), client_id, user_name] {
            add(&name.map_or(u64::MAX, |name| name.len() as u64).to_le_bytes());
            add(name.unwrap_or_default().as_bytes());
        }
        add(payload);
    }
}

/// A Parquet file that is being written, and what it is to hold.
struct Copy {
    out: Writer,
    deleted: Arc<Deleted>,
    sum: Sum,
}

impl Copy {
    fn new(file: Arc<dyn File>, columns: &[Column], deleted: Arc<Deleted>) -> Result<Self, Fault> {
        Ok(Self { out: Writer::new(file, columns)?, deleted, sum: Sum::default() })
    }

    /// Takes a batch; records of topics that were deleted are left out.
    fn add(&mut self, batch: Batch<'_>) -> Result<(), Fault> {
        for place in batch.places() {
            let record = place.record(batch.bytes);
            if self.deleted.get(record.topic).is_none_or(|below| record.offset >= *below) {
                self.sum.add(&record);
                self.out.add(&record)?;
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<(u64, Sum), Fault> {
        Ok((self.out.finish()?, self.sum))
    }
}

/// What a Parquet file holds.
fn read_again(file: Arc<dyn File>) -> Result<(Index, Sum), Fault> {
    let (mut index, mut sum) = (Index::default(), Sum::default());
    sealed::each_block(file, |part, row, rows| {
        // What is lost is missing in the sum.
        let Part::Whole(batch) = part else { return };
        index.add_block(batch, row, rows);
        batch.places().for_each(|place| sum.add(&place.record(batch.bytes)));
    })?;
    Ok((index, sum))
}
