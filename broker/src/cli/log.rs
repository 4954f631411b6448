//! `martlet log`: reads what a broker has recorded, while it runs or not.

use std::fmt;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use clap::{Args, Subcommand, ValueEnum};
use martlet_engine::filter::Filter;

use crate::cli::FAILED;
use crate::cli::store::DAMAGED;
use crate::clock;
use crate::telemetry::columns::{self, Column, ColumnKind};
use crate::telemetry::lines::{self, CSV_HEADER};
use crate::telemetry::log::{LAST_MAX, Log, StreamSettings};
use crate::telemetry::reader::Reader;
use crate::telemetry::{LogError, Position, Record, StreamStats, position};

mod export;

const ABOUT: &str = "\
Reads the files of the log under data.dir, which -c FILE or --data DIR names, as they lie there. \
It takes no lock and changes nothing: segments are only ever appended to, each batch of records \
has a checksum, and what is not whole yet is not read. So it may run beside the broker; it then \
sees what the broker has written, up to the last batch. After a kill, the newest records may be \
in the journal alone until the broker starts again.

Exit codes: 0 done; 1 it could not be done; 2 wrong usage of the command line; 3 some records \
could not be read, all others were.";

/// Read what was recorded, while the broker runs or not.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
#[command(after_help = ABOUT)]
pub(super) enum LogCommand {
    /// The streams: offsets, times, sizes.
    #[command(after_help = ABOUT)]
    Stats {
        /// As lines of JSON.
        #[arg(long)]
        json: bool,
    },
    /// The topics of a stream: how many records and bytes, first and last time.
    #[command(after_help = ABOUT)]
    Topics {
        #[command(flatten)]
        stream: StreamName,
        /// Only topics that begin with this.
        #[arg(default_value = "")]
        prefix: String,
        /// As lines of JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print records.
    #[command(after_help = ABOUT)]
    Cat {
        #[command(flatten)]
        query: Query,
        /// How to print them.
        #[arg(long, value_enum, default_value_t = Format::Json)]
        format: Format,
    },
    /// Print the last records, and those that come from now on.
    #[command(after_help = ABOUT)]
    Tail {
        #[command(flatten)]
        stream: StreamName,
        /// Only topics that match this topic filter.
        filter: Option<String>,
        /// How many of the last ones.
        #[arg(short = 'n', long, default_value_t = 10)]
        count: usize,
        /// End after these.
        #[arg(long)]
        no_follow: bool,
        /// How to print them.
        #[arg(long, value_enum, default_value_t = Format::Json)]
        format: Format,
    },
    /// Write records to a file. Interrupted, it goes on where it was when it is asked again; as
    /// Parquet it begins anew, because only its end says where everything stands in it.
    #[command(after_help = ABOUT)]
    Export {
        #[command(flatten)]
        query: Query,
        /// What kind of file.
        #[arg(long, value_enum, default_value_t = FileFormat::Json)]
        format: FileFormat,
        /// With Parquet: a member of payloads that are JSON objects as a column of its own, in
        /// place of those that the configuration names (columns); may be given several times.
        /// TYPE: number, string or bool.
        #[arg(long = "column", value_name = "NAME=TYPE", value_parser = parse_column)]
        columns: Vec<Column>,
        /// The file; it must not be there yet.
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(super) struct StreamName {
    /// The stream; may be left out if there is one alone.
    #[arg(short, long)]
    stream: Option<String>,
}

/// Which records.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(super) struct Query {
    #[command(flatten)]
    stream: StreamName,
    /// Only topics that match this topic filter.
    filter: Option<String>,
    /// From where on: "earliest", an offset, a time ago such as "-1h", or an RFC 3339 time.
    #[arg(long, default_value = "earliest", allow_hyphen_values = true)]
    from: String,
    /// Up to which time: a time ago or an RFC 3339 time.
    #[arg(long, allow_hyphen_values = true)]
    to: Option<String>,
    /// How many at most.
    #[arg(short = 'n', long)]
    count: Option<u64>,
}

/// How records are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// An object a line.
    Json,
    /// RFC 4180, with a header.
    Csv,
}

/// What kind of file records are exported to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum FileFormat {
    /// An object a line.
    Json,
    /// RFC 4180, with a header.
    Csv,
    /// Columns, as DuckDB, Polars and pandas read them.
    Parquet,
}

/// A chore with a log.
#[derive(Debug)]
pub struct Chore {
    command: LogCommand,
    data: PathBuf,
    /// What the configuration says of streams.
    streams: Vec<StreamSettings>,
}

/// Why a chore was not done.
enum Stopped {
    Log(LogError),
    /// Where the answer should go.
    Output(io::Error),
    /// What was asked for.
    Asked(String),
}

/// How often a tail looks for more.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Topics that are asked for at a time.
const TOPICS_PAGE: usize = 10_000;

impl Chore {
    pub(super) fn new(command: LogCommand, data: PathBuf, streams: Vec<StreamSettings>) -> Self {
        Self { command, data, streams }
    }

    /// Does it. The exit code.
    pub fn run(self) -> u8 {
        self.answer().unwrap_or_else(|stopped| match stopped {
            // Whoever closes the pipe has read enough.
            Stopped::Output(error) if error.kind() == ErrorKind::BrokenPipe => 0,
            stopped => {
                complain(&format!("{stopped}."));
                FAILED
            }
        })
    }

    fn answer(self) -> Result<u8, Stopped> {
        let log = Log::look(&self.data)?;
        if log.streams().is_empty() {
            let data = self.data.display();
            return Err(Stopped::Asked(format!("nothing is recorded in {data}")));
        }
        let out = &mut BufWriter::new(io::stdout().lock());
        let code = match self.command {
            LogCommand::Stats { json } => stats(&log, json, out)?,
            LogCommand::Topics { stream, prefix, json } => {
                topics(&log, &stream.of(&log)?, &prefix, json, out)?
            }
            LogCommand::Cat { query, format } => {
                let reader = query.reader(&log)?;
                let count = query.count.unwrap_or(u64::MAX);
                format.begin(out)?;
                print(reader, count, format, out)?
            }
            LogCommand::Tail { stream, filter, count, no_follow, format } => {
                let stream = stream.of(&log)?;
                let filter = parse_filter(filter.as_deref())?;
                let tail = Tail { log: &log, stream: &stream, filter, format };
                tail.print(count, no_follow, out)?
            }
            LogCommand::Export { query, format, columns, output } => match format {
                FileFormat::Parquet => {
                    let columns = columns_of(columns, &query.stream.of(&log)?, &self.streams)?;
                    export::parquet(&log, &query, &columns, &output)?
                }
                _ if !columns.is_empty() => {
                    let words = "--column is for --format parquet";
                    return Err(Stopped::Asked(words.to_owned()));
                }
                FileFormat::Json => export::lines(&log, (&query, Format::Json), &output)?,
                FileFormat::Csv => export::lines(&log, (&query, Format::Csv), &output)?,
            },
        };
        out.flush()?;
        Ok(code)
    }
}

impl StreamName {
    fn of(&self, log: &Log) -> Result<Arc<str>, Stopped> {
        match (&self.stream, &log.streams()[..]) {
            (Some(name), _) => Ok(name.as_str().into()),
            (None, [only]) => Ok(only.clone()),
            (None, several) => {
                let names = several.join(", ");
                Err(Stopped::Asked(format!("which stream? Name one with --stream: {names}")))
            }
        }
    }
}

impl Query {
    fn reader(&self, log: &Log) -> Result<Reader, Stopped> {
        let now = now_ms();
        let from = position::parse(&self.from, now).ok_or_else(|| {
            Stopped::Asked(format!("--from takes {}, not {:?}", position::TAKES, self.from))
        })?;
        self.reader_on(log, from)
    }

    /// From another place on. What was too old before is so still.
    fn reader_on(&self, log: &Log, from: Position) -> Result<Reader, Stopped> {
        let filter = parse_filter(self.filter.as_deref())?;
        let reader = log.reader(&self.stream.of(log)?, from, filter)?;
        let Some(to) = &self.to else { return Ok(reader) };
        match position::time_ms(to, now_ms()) {
            Some(to) => Ok(reader.until(to)),
            None => Err(Stopped::Asked(format!(
                "--to takes a time ago such as \"-1h\" or a time such as \
                 \"2026-11-30T12:00:00Z\", not {to:?}"
            ))),
        }
    }
}

impl Format {
    fn begin(self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Json => Ok(()),
            Self::Csv => out.write_all(CSV_HEADER.as_bytes()),
        }
    }

    fn write(self, out: &mut impl Write, record: &Record<'_>) -> io::Result<()> {
        match self {
            Self::Json => lines::write_json(out, record),
            Self::Csv => lines::write_csv(out, record),
        }
    }
}

/// The last records of a stream and those that follow.
struct Tail<'a> {
    log: &'a Log,
    stream: &'a str,
    filter: Option<Filter>,
    format: Format,
}

impl Tail<'_> {
    fn print(self, count: usize, no_follow: bool, out: &mut impl Write) -> Result<u8, Stopped> {
        if count > LAST_MAX {
            return Err(Stopped::Asked(format!("-n takes {LAST_MAX} at most")));
        }
        // What comes between the two is among the last ones, and not read twice.
        let end = self.log.stats(self.stream)?.next_offset;
        self.format.begin(out)?;
        for record in self.log.last(self.stream, self.filter.clone(), count)? {
            self.format.write(out, &record.lend())?;
        }
        out.flush()?;
        let damaged = || Ok::<_, LogError>(self.log.stats(self.stream)?.damaged_bytes);
        let mut said = damaged()?;
        let code = told(said);
        if no_follow {
            return Ok(code);
        }
        let mut reader = self.log.reader(self.stream, Position::Offset(end), self.filter)?;
        loop {
            while let Some(record) = reader.next()? {
                self.format.write(out, &record)?;
            }
            out.flush()?;
            let all = damaged()?;
            told(all - said);
            said = all;
            reader.wait(LOOK_EVERY);
            self.log.look_again()?;
        }
    }
}

fn print(
    mut reader: Reader,
    count: u64,
    format: Format,
    out: &mut impl Write,
) -> Result<u8, Stopped> {
    let mut left = count;
    while left > 0 {
        let Some(record) = reader.next()? else { break };
        format.write(out, &record)?;
        left -= 1;
    }
    Ok(told(reader.damaged_bytes()))
}

/// Says how much could not be read. The exit code.
fn told(damaged_bytes: u64) -> u8 {
    match damaged_bytes {
        0 => 0,
        bytes => {
            complain(&format!("{bytes} bytes of the log are damaged and were passed over."));
            DAMAGED
        }
    }
}

fn stats(log: &Log, json: bool, out: &mut impl Write) -> Result<u8, Stopped> {
    for name in log.streams() {
        let stats = log.stats(&name)?;
        let time = |time: Option<u64>| time.map(lines::time);
        let (first, last) = (time(stats.first_time_ms), time(stats.last_time_ms));
        let StreamStats { first_offset, next_offset, bytes, segments, .. } = stats;
        let StreamStats { parquet_files, parquet_bytes, parquet_records, .. } = stats;
        if json {
            let line = serde_json::json!({
                "stream": &*name, "first_offset": first_offset, "next_offset": next_offset,
                "bytes": bytes, "segments": segments, "first_time": first, "last_time": last,
                "parquet_files": parquet_files, "parquet_bytes": parquet_bytes,
                "parquet_records": parquet_records,
            });
            writeln!(out, "{line}")?;
        } else {
            let (first, last) = (first.unwrap_or_default(), last.unwrap_or_default());
            writeln!(out, "{name}")?;
            writeln!(out, "  records   {first_offset} to {next_offset} (not included)")?;
            writeln!(out, "  times     {first} to {last}")?;
            writeln!(out, "  files     {segments}, {bytes} bytes")?;
            if parquet_files > 0 {
                let records = format!("{parquet_records} records");
                writeln!(
                    out,
                    "  Parquet   {parquet_files} of them, {parquet_bytes} bytes, {records}"
                )?;
            }
        }
    }
    Ok(0)
}

fn topics(
    log: &Log,
    stream: &str,
    prefix: &str,
    json: bool,
    out: &mut impl Write,
) -> Result<u8, Stopped> {
    let mut after = String::new();
    loop {
        let page = log.topics(stream, prefix, &after, TOPICS_PAGE)?;
        for topic in &page.topics {
            let (first, last) = (lines::time(topic.first_time_ms), lines::time(topic.last_time_ms));
            let (name, records, bytes) = (&topic.topic, topic.records, topic.bytes);
            if json {
                let line = serde_json::json!({
                    "topic": name, "records": records, "bytes": bytes,
                    "first_offset": topic.first_offset, "last_offset": topic.last_offset,
                    "first_time": first, "last_time": last,
                });
                writeln!(out, "{line}")?;
            } else {
                writeln!(out, "{records:>12} {bytes:>14}  {first}  {last}  {name}")?;
            }
        }
        if page.is_incomplete && after.is_empty() {
            complain("Some files hold more topics than their index names: not all are here.");
        }
        match page.topics.last() {
            Some(last) if page.has_more => after = last.topic.to_string(),
            _ => return Ok(0),
        }
    }
}

fn parse_filter(text: Option<&str>) -> Result<Option<Filter>, Stopped> {
    let Some(text) = text else { return Ok(None) };
    match Filter::parse(text) {
        Ok(filter) if filter.is_plain() => Ok(Some(filter)),
        _ => Err(Stopped::Asked(format!("{text:?} is no topic filter such as \"sensors/#\""))),
    }
}

/// `t=number`.
fn parse_column(text: &str) -> Result<Column, String> {
    let (name, kind) = text.rsplit_once('=').unwrap_or((text, ""));
    let kind = ColumnKind::parse(kind).ok_or("write NAME=number, NAME=string or NAME=bool")?;
    columns::check_name(name)?;
    Ok(Column { name: name.into(), kind })
}

/// Those that are asked for, or those of the configuration.
fn columns_of(
    asked: Vec<Column>,
    stream: &str,
    streams: &[StreamSettings],
) -> Result<Vec<Column>, Stopped> {
    let has_same = |at: usize| asked[..at].iter().any(|column| column.name == asked[at].name);
    if let Some(twice) = (0..asked.len()).find(|at| has_same(*at)) {
        let words = format!("--column {} is there twice", asked[twice].name);
        return Err(Stopped::Asked(words));
    }
    let configured = streams.iter().find(|settings| *settings.name == *stream);
    Ok(match configured {
        Some(settings) if asked.is_empty() => settings.columns.clone(),
        _ => asked,
    })
}

fn now_ms() -> u64 {
    let since = clock::wall().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn complain(words: &str) {
    // Where standard error is gone there is nobody to tell.
    let _ = writeln!(io::stderr(), "{words}");
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(error) => error.fmt(f),
            Self::Output(error) => write!(f, "Cannot write what was asked for: {error}"),
            Self::Asked(words) => f.write_str(words),
        }
    }
}

impl From<LogError> for Stopped {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}
