//! `martlet log export`: records to a file, which goes on after an interruption.

use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use crate::cli::log::{Format, Query, Stopped, told};
use crate::telemetry::Position;
use crate::telemetry::columns::Column;
use crate::telemetry::log::Log;
use crate::telemetry::parquet_file::ParquetFile;
use crate::telemetry::reader::Reader;

/// Records after which it is noted how far the file has come.
const NOTED_EVERY: u64 = 65_536;

/// How far a file has come: beside it, until it is whole.
#[derive(Serialize, Deserialize)]
struct Progress {
    /// What was asked for: only the same goes on.
    asked: String,
    /// The offset to go on with.
    offset: u64,
    /// The offset at which it is whole.
    end: u64,
    /// Records so far.
    records: u64,
    /// Bytes of the file that count.
    bytes: u64,
    /// Bytes of the log that could not be read.
    #[serde(default)]
    damaged_bytes: u64,
}

/// What is asked for, and as what.
type Asked<'a> = (&'a Query, Format);

/// Writes what is asked for as one Parquet file, up to the newest record there is now.
pub(super) fn parquet(
    log: &Log,
    query: &Query,
    columns: &[Column],
    output: &Path,
) -> Result<u8, Stopped> {
    if output.exists() {
        return Err(cannot_be_made(output, &"File exists"));
    }
    let mut reader = query.reader(log)?;
    let end = log.stats(&query.stream.of(log)?)?.next_offset;
    let mut file = ParquetFile::create(output, columns)?;
    let (first, most) = (reader.offset(), query.count.unwrap_or(u64::MAX));
    let bar = bar(end.saturating_sub(first));
    let mut records = 0_u64;
    while records < most {
        let Some(record) = reader.next()?.filter(|record| record.offset < end) else { break };
        file.add(&record)?;
        records += 1;
        if records.is_multiple_of(NOTED_EVERY) {
            bar.set_position(reader.offset() - first);
        }
    }
    file.finish()?;
    done(&bar, records, output)?;
    Ok(told(reader.damaged_bytes()))
}

/// Writes what is asked for as lines, up to the newest record there is now.
pub(super) fn lines(log: &Log, asked: Asked<'_>, output: &Path) -> Result<u8, Stopped> {
    let (query, format) = asked;
    let noted_in = beside(output);
    let (mut file, mut reader, mut progress) = match fs::read(&noted_in) {
        Ok(noted) => go_on(log, asked, output, &noted)?,
        Err(_) => begin(log, asked, output)?,
    };
    let bar = bar(progress.end.saturating_sub(reader.offset()));
    let (first, damaged_before) = (reader.offset(), progress.damaged_bytes);
    let most = query.count.unwrap_or(u64::MAX);
    while progress.records < most {
        let Some(record) = reader.next()? else { break };
        if record.offset >= progress.end {
            break;
        }
        format.write(&mut file, &record)?;
        progress.records += 1;
        if progress.records.is_multiple_of(NOTED_EVERY) {
            progress.offset = reader.offset();
            progress.bytes = written(&mut file)?;
            progress.damaged_bytes = damaged_before + reader.damaged_bytes();
            note(&noted_in, &progress)?;
            bar.set_position(reader.offset() - first);
        }
    }
    written(&mut file)?;
    let _ = fs::remove_file(&noted_in); // never written if there was little to do
    done(&bar, progress.records, output)?;
    Ok(told(damaged_before + reader.damaged_bytes()))
}

fn done(bar: &ProgressBar, records: u64, output: &Path) -> Result<(), Stopped> {
    bar.finish_and_clear();
    Ok(writeln!(std::io::stderr(), "{records} records are in {}.", output.display())?)
}

fn cannot_be_made(output: &Path, reason: &dyn Display) -> Stopped {
    Stopped::Asked(format!("{} cannot be made: {reason}", output.display()))
}

type Open = (BufWriter<File>, Reader, Progress);

fn begin(log: &Log, asked: Asked<'_>, output: &Path) -> Result<Open, Stopped> {
    let (query, format) = asked;
    let reader = query.reader(log)?;
    let end = log.stats(&query.stream.of(log)?)?.next_offset;
    let file = OpenOptions::new().write(true).create_new(true).open(output);
    let mut file = BufWriter::new(file.map_err(|error| cannot_be_made(output, &error))?);
    format.begin(&mut file)?;
    let bytes = written(&mut file)?;
    let (asked, offset) = (words(asked), reader.offset());
    let progress = Progress { asked, offset, end, records: 0, bytes, damaged_bytes: 0 };
    Ok((file, reader, progress))
}

fn go_on(log: &Log, asked: Asked<'_>, output: &Path, noted: &[u8]) -> Result<Open, Stopped> {
    let progress = serde_json::from_slice::<Progress>(noted).ok();
    let progress = progress.filter(|progress| progress.asked == words(asked)).ok_or_else(|| {
        let (output, noted) = (output.display(), beside(output));
        let noted = noted.display();
        Stopped::Asked(format!(
            "{output} was begun with another question: ask that again, or remove it and {noted}"
        ))
    })?;
    let mut file = OpenOptions::new().write(true).open(output)?;
    file.set_len(progress.bytes)?;
    file.seek(SeekFrom::End(0))?;
    let reader = asked.0.reader_on(log, Position::Offset(progress.offset))?;
    Ok((BufWriter::new(file), reader, progress))
}

/// What tells one question from another. Times ago are other times later.
fn words(asked: Asked<'_>) -> String {
    format!("{asked:?}")
}

fn written(file: &mut BufWriter<File>) -> Result<u64, Stopped> {
    file.flush()?;
    file.get_ref().sync_data()?;
    Ok(file.stream_position()?)
}

fn note(place: &Path, progress: &Progress) -> Result<(), Stopped> {
    let begun = place.with_extension("begun");
    fs::write(&begun, serde_json::to_vec(progress).map_err(std::io::Error::from)?)?;
    Ok(fs::rename(&begun, place)?)
}

fn beside(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(".progress");
    name.into()
}

/// Shown on a terminal alone.
fn bar(offsets: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {percent}% {per_sec} {eta} left");
    let bar = ProgressBar::new(offsets);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
