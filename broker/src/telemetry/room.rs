//! Room on the disk: what is too old goes, and what happens when too little is free.

use crate::store::disk::Disk;
use crate::telemetry::LogError;
use crate::telemetry::index::UNKNOWN;
use crate::telemetry::log::{StreamSettings, WhenFull};
use crate::telemetry::sealed;
use crate::telemetry::stream::{Inner, Stream};

/// A stream that has stopped goes on once so many fourths of what must be free are free.
const FOURTHS_TO_GO_ON: u64 = 5;

/// How long a disk may take to give back what was deleted: some do so later, and a file that is
/// being read stays until then.
const GIVEN_BACK_AFTER_MS: u64 = 30_000;

/// Deletes whole segments that are older than the stream keeps them, or more than that.
pub(super) fn expire(stream: &Stream, settings: &StreamSettings, now_ms: u64) {
    let keep_ms = settings.keep.map(|keep| u64::try_from(keep.as_millis()).unwrap_or(u64::MAX));
    let oldest = keep_ms.map(|keep| now_ms.saturating_sub(keep));
    let name = &settings.name;
    stream.remove_left();
    match stream.expire(oldest, settings.keep_bytes) {
        Ok(0) => {}
        Ok(gone) => tracing::info!("Stream {name}: {gone} records were kept long enough and go."),
        Err(error) => tracing::warn!(%error, "Stream {name}: {error}; it will be tried again."),
    }
}

/// Whether the stream must stop, or stay so; it makes room first if it may.
pub(super) fn is_full(
    disk: &dyn Disk,
    stream: &Stream,
    settings: &StreamSettings,
    (is_stopped, now_ms): (bool, u64),
) -> bool {
    let (name, min) = (&settings.name, settings.free_bytes_min);
    // Where nobody knows how much is free, the disk itself will say.
    let told = || disk.free_bytes(&stream.folder).unwrap_or(u64::MAX);
    let mut free = told().max(stream.promised(now_ms));
    let wanted = if is_stopped { min / 4 * FOURTHS_TO_GO_ON } else { min };
    while settings.full == WhenFull::DropOldest && free < wanted {
        match stream.remove_oldest(|_| true) {
            Ok(Some((records, bytes))) => {
                let (found, owed) = (told(), free + bytes);
                free = found.max(owed);
                if found < owed {
                    stream.promise(owed, now_ms + GIVEN_BACK_AFTER_MS);
                }
                tracing::warn!("Stream {name}: the disk is full; its oldest {records} records go.");
            }
            Ok(None) => break,
            Err(error) => {
                tracing::warn!(%error, "Stream {name}: {error}; it will be tried again.");
                break;
            }
        }
    }
    let is_full = free < wanted;
    if is_full && !is_stopped {
        tracing::error!(
            "Stream {name} records nothing from here on: {free} bytes of the disk are free, and \
             {min} must be (free_bytes_min)."
        );
    } else if is_stopped && !is_full {
        tracing::warn!("Stream {name} records again: there is room.");
    }
    is_full
}

impl Stream {
    /// Deletes whole files, oldest first, that are wholly older than `time`, or while all together
    /// are larger than `bytes`. How many records that were.
    fn expire(&self, time: Option<u64>, bytes: Option<u64>) -> Result<u64, LogError> {
        self.seal_if_old(&mut self.lock(), time);
        let may_go = |inner: &Inner| {
            time.is_some_and(|time| inner.oldest_until() < time)
                || bytes.is_some_and(|bytes| inner.bytes() > bytes)
        };
        let mut gone = 0;
        while let Some((records, _)) = self.remove_oldest(may_go)? {
            gone += records;
        }
        Ok(gone)
    }

    /// Deletes the oldest file, if it may go; how many records it held, and bytes.
    fn remove_oldest(
        &self,
        may_go: impl Fn(&Inner) -> bool,
    ) -> Result<Option<(u64, u64)>, LogError> {
        let oldest = {
            let mut inner = self.lock();
            match inner.sealed.first() {
                // What is not safe yet may be needed to make the journal let go.
                Some(oldest) if oldest.unsafe_yet.is_none() && may_go(&inner) => {
                    inner.sealed.remove(0)
                }
                _ => return Ok(None),
            }
        };
        let (records, bytes) = (oldest.end - oldest.base, oldest.bytes);
        let removed = sealed::remove(&*self.disk, &oldest.path(&self.folder));
        let mut inner = self.lock();
        match removed {
            Ok(()) => inner.expired += records,
            // It is still there: it counts, and goes later.
            Err(_) => inner.sealed.insert(0, oldest),
        }
        removed.map(|()| Some((records, bytes)))
    }
}

impl Inner {
    /// When the newest record of the oldest file came. Where nobody knows that any more: when the
    /// first did that came behind the file.
    fn oldest_until(&self) -> u64 {
        let newest = self.sealed.first().map_or(UNKNOWN, |oldest| oldest.time_max);
        let behind = || self.times().skip(1).map(|times| times.start).find(|time| *time > 0);
        if newest == UNKNOWN { behind().unwrap_or(UNKNOWN) } else { newest }
    }
}
