//! A stream's files as a start finds them: what a crash left half done is settled, what is torn is
//! cut.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use crate::store::disk::{Disk, File};
use crate::telemetry::LogError;
use crate::telemetry::active::Active;
use crate::telemetry::columnar;
use crate::telemetry::columnar::read::Columnar;
use crate::telemetry::sealed::{self, Names, Sealed, index_path, segment_path};
use crate::telemetry::segment;
use crate::telemetry::stream::Inner;

/// How often it is looked again where a file has gone in the moment between its name and itself:
/// who only looks may stand beside a broker that seals and deletes.
const LOOKS_MAX: u32 = 16;

/// Reads what is there, and cuts off what is at or above `limit` or torn.
pub(super) fn load(disk: &dyn Disk, folder: &Path, limit: Option<u64>) -> Result<Inner, LogError> {
    let has_gone = |error: &LogError| match error {
        LogError::Io { source, .. } => source.kind() == ErrorKind::NotFound,
        _ => false,
    };
    for _ in 1..LOOKS_MAX {
        match load_once(disk, folder, limit) {
            Err(error) if has_gone(&error) => {}
            done => return done,
        }
    }
    load_once(disk, folder, limit)
}

fn load_once(disk: &dyn Disk, folder: &Path, limit: Option<u64>) -> Result<Inner, LogError> {
    disk.create_folder(folder).map_err(|source| LogError::io("making", folder, source))?;
    let Names { segments: mut bases, parquet, begun, orphans } = sealed::names(disk, folder)?;
    for path in begun.into_iter().chain(orphans) {
        disk.remove(&path).map_err(|source| LogError::io("removing", &path, source))?;
    }
    let mut sealed = Vec::new();
    for range in parquet {
        if settle(disk, folder, range, &mut bases)? {
            sealed.extend(Sealed::open_parquet(disk, folder, range)?);
        }
    }
    // What is in Parquet was safe before, and is never cut.
    let in_parquet = sealed.last().map_or(0, |sealed| sealed.end);
    let limit = limit.map(|limit| limit.max(in_parquet));
    let below = bases.partition_point(|base| limit.is_none_or(|limit| *base < limit));
    let (first_above, above) = match bases.split_off(below) {
        // The first one names where the log goes on, if nothing is before it.
        above if below == 0 && limit.is_some() && above.first() == limit.as_ref() => {
            (limit, above[1..].to_vec())
        }
        above => (None, above),
    };
    for base in above.into_iter().rev() {
        sealed::remove(disk, &segment_path(folder, base))?;
    }
    let last = bases.pop_if(|base| *base >= in_parquet).or(first_above);
    for base in bases {
        sealed.push(Sealed::open_segment(disk, folder, base)?);
    }
    sealed.sort_by_key(|sealed| sealed.base);
    sealed::close_ends(&mut sealed, last.or(limit).unwrap_or(in_parquet));
    let active = last.map(|base| reopen(disk, folder, base, limit)).transpose()?;
    let active_end = active.as_ref().map(|a| a.index.end().unwrap_or(a.base));
    let found = active_end.or(sealed.last().map(|sealed| sealed.end)).unwrap_or(0);
    // What is missing below the limit stays missing.
    let end = found.max(limit.unwrap_or(0));
    let mut inner = Inner::new(sealed, active, (end, limit.is_some()));
    if found < end {
        // The next record comes in a file of its own: so every reader sees what is missing.
        inner.seal();
    }
    tell_missing(&inner, folder);
    Ok(inner)
}

/// Says which records are in no file any more.
fn tell_missing(inner: &Inner, folder: &Path) {
    let ends = inner.sealed.iter().map(|sealed| sealed.end);
    let bases = inner.sealed.iter().skip(1).map(|sealed| sealed.base);
    let last = inner.active.as_ref().map_or(inner.shown, |active| active.base);
    for (end, next) in ends.zip(bases.chain([last])).filter(|(end, next)| end < next) {
        let folder = folder.display();
        tracing::error!("Records {end} to {} are not in {folder} any more.", next - 1);
    }
}

/// Of a segment and its Parquet file one stays: the Parquet file, if it is whole. Whether it does.
fn settle(
    disk: &dyn Disk,
    folder: &Path,
    (base, end): (u64, u64),
    bases: &mut Vec<u64>,
) -> Result<bool, LogError> {
    let Ok(at) = bases.binary_search(&base) else { return Ok(true) };
    if !columnar::IS_BUILT {
        return Ok(false);
    }
    let path = sealed::parquet_path(folder, base, end);
    let reading = |source| LogError::io("reading", &path, source);
    let file: Arc<dyn File> = disk.open(&path).map_err(reading)?.into();
    match Columnar::open(file) {
        Ok(_) => {
            // A start may be the first after the rename: that must be safe before the other goes.
            let naming = |source| LogError::io("syncing", folder, source);
            disk.sync_folder(folder).map_err(naming)?;
            sealed::remove(disk, &segment_path(folder, base))?;
            bases.remove(at);
            Ok(true)
        }
        Err(columnar::Fault::Damaged { reason, .. }) => {
            sealed::set_aside(disk, &path, &reason)?;
            Ok(false)
        }
        Err(columnar::Fault::Io(error)) => Err(reading(error)),
    }
}

/// The newest segment: it goes on growing.
fn reopen(
    disk: &dyn Disk,
    folder: &Path,
    base: u64,
    limit: Option<u64>,
) -> Result<Active, LogError> {
    let path = segment_path(folder, base);
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
    match disk.remove(&index_path(&path)) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(reading(error)),
        _ => {}
    }
    Ok(Active::reopened(base, file, (index, scanned.end)))
}
