//! `martlet log export`: records to a file, which goes on after an interruption.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use crate::cli::log::{Query, Stopped, told};
use crate::telemetry::Position;
use crate::telemetry::log::Log;
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
}

/// Writes what `query` asks for, up to the newest record there is now.
pub(super) fn export(log: &Log, query: &Query, output: &Path) -> Result<u8, Stopped> {
    let noted_in = beside(output);
    let (mut file, mut reader, mut progress) = match fs::read(&noted_in) {
        Ok(noted) => go_on(log, query, output, &noted)?,
        Err(_) => begin(log, query, output)?,
    };
    let bar = bar(progress.end.saturating_sub(reader.offset()));
    let first = reader.offset();
    let most = query.count.unwrap_or(u64::MAX);
    while progress.records < most {
        let Some(record) = reader.next()? else { break };
        if record.offset >= progress.end {
            break;
        }
        query.format.write(&mut file, &record)?;
        progress.records += 1;
        if progress.records.is_multiple_of(NOTED_EVERY) {
            progress.offset = reader.offset();
            progress.bytes = written(&mut file)?;
            note(&noted_in, &progress)?;
            bar.set_position(reader.offset() - first);
        }
    }
    written(&mut file)?;
    let _ = fs::remove_file(&noted_in); // never written if there was little to do
    bar.finish_and_clear();
    let (records, output) = (progress.records, output.display());
    writeln!(std::io::stderr(), "{records} records are in {output}.")?;
    Ok(told(&reader))
}

type Open = (BufWriter<File>, Reader, Progress);

fn begin(log: &Log, query: &Query, output: &Path) -> Result<Open, Stopped> {
    let reader = query.reader(log)?;
    let end = log.stats(&query.stream.of(log)?)?.next_offset;
    let file = OpenOptions::new().write(true).create_new(true).open(output);
    let mut file = BufWriter::new(file.map_err(|error| {
        Stopped::Asked(format!("{} cannot be made: {error}", output.display()))
    })?);
    query.format.begin(&mut file)?;
    let bytes = written(&mut file)?;
    let (asked, offset) = (asked(query), reader.offset());
    Ok((file, reader, Progress { asked, offset, end, records: 0, bytes }))
}

fn go_on(log: &Log, query: &Query, output: &Path, noted: &[u8]) -> Result<Open, Stopped> {
    let progress = serde_json::from_slice::<Progress>(noted).ok();
    let progress = progress.filter(|progress| progress.asked == asked(query)).ok_or_else(|| {
        let (output, noted) = (output.display(), beside(output));
        let noted = noted.display();
        Stopped::Asked(format!(
            "{output} was begun with another question: ask that again, or remove it and {noted}"
        ))
    })?;
    let mut file = OpenOptions::new().write(true).open(output)?;
    file.set_len(progress.bytes)?;
    file.seek(SeekFrom::End(0))?;
    let reader = query.reader_on(log, Position::Offset(progress.offset))?;
    Ok((BufWriter::new(file), reader, progress))
}

/// What tells one question from another. Times ago are other times later.
fn asked(query: &Query) -> String {
    format!("{query:?}")
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
