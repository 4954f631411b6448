//! Room on the disk: what is too old goes, and what happens when too little is free.

use crate::store::disk::Disk;
use crate::telemetry::log::{StreamSettings, WhenFull};
use crate::telemetry::stream::Stream;

/// A stream that has stopped goes on once so many fourths of what must be free are free.
const FOURTHS_TO_GO_ON: u64 = 5;

/// Deletes whole segments that are older than the stream keeps them, or more than that.
pub(super) fn expire(stream: &Stream, settings: &StreamSettings, now_ms: u64) {
    let keep_ms = settings.keep.map(|keep| u64::try_from(keep.as_millis()).unwrap_or(u64::MAX));
    let oldest = keep_ms.map(|keep| now_ms.saturating_sub(keep));
    let name = &settings.name;
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
    is_stopped: bool,
) -> bool {
    let (name, min) = (&settings.name, settings.free_bytes_min);
    // Where nobody knows how much is free, the disk itself will say.
    let free = || disk.free_bytes(&stream.folder).unwrap_or(u64::MAX);
    let wanted = if is_stopped { min / 4 * FOURTHS_TO_GO_ON } else { min };
    while settings.full == WhenFull::DropOldest && free() < wanted {
        match stream.drop_oldest() {
            Ok(Some(records)) => {
                tracing::warn!("Stream {name}: the disk is full; its oldest {records} records go.");
            }
            Ok(None) => break,
            Err(error) => {
                tracing::warn!(%error, "Stream {name}: {error}; it will be tried again.");
                break;
            }
        }
    }
    let free = free();
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
