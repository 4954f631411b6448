//! # The log
//!
//! One line per event on standard error: for people, with mosquitto's words where mosquitto has
//! any, or as JSON. An event's message is a whole sentence; its fields name the parts for machines.
//! The human format adds a field only if the sentence does not say it already.

use std::fmt::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

/// How to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Settings {
    /// The least important kind of event that is logged.
    pub level: Level,
    /// For whom.
    pub format: Format,
    /// What a line begins with.
    pub timestamp: Timestamp,
}

/// The kinds of events, the most important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Something does not work.
    Error,
    /// Something is lost, refused or about to go wrong.
    Warn,
    /// What an operator wants to know: start, stop, who comes and goes.
    Info,
    /// What a developer of clients wants to know: each packet.
    Debug,
    /// What a developer of the broker wants to know.
    Trace,
}

/// For whom a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// `1700000000: Warning: sentence`.
    Human,
    /// One object per line.
    Json,
}

/// What a line begins with; a field of JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Timestamp {
    /// Seconds since 1970.
    Epoch,
    /// Date and time in UTC to the millisecond, as RFC 3339 writes them.
    Iso,
    /// Nothing.
    None,
}

/// Reads the wall clock. Log lines follow it even when it is set, unlike the engine's time.
pub type Now = fn() -> SystemTime;

/// Logs to standard error from here on. Only the first call has an effect.
pub fn init(settings: Settings, now: Now) {
    let first = tracing::dispatcher::set_global_default(dispatch(settings, now, std::io::stderr));
    debug_assert!(first.is_ok(), "logging starts once");
}

fn dispatch<W>(settings: Settings, now: Now, writer: W) -> Dispatch
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let time = Time { timestamp: settings.timestamp, now };
    // Where standard error is gone there is nobody to tell.
    let log = tracing_subscriber::fmt()
        .log_internal_errors(false)
        .with_max_level(settings.level.filter())
        .with_writer(writer);
    match (settings.format, settings.timestamp) {
        (Format::Human, _) => log.event_format(Lines { time }).into(),
        (Format::Json, Timestamp::None) => {
            log.json().flatten_event(true).with_target(false).without_time().into()
        }
        (Format::Json, Timestamp::Epoch | Timestamp::Iso) => {
            log.json().flatten_event(true).with_target(false).with_timer(time).into()
        }
    }
}

impl Level {
    fn filter(self) -> LevelFilter {
        match self {
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
            Self::Trace => LevelFilter::TRACE,
        }
    }
}

#[derive(Clone, Copy)]
struct Time {
    timestamp: Timestamp,
    now: Now,
}

impl FormatTime for Time {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let now = (self.now)();
        match self.timestamp {
            Timestamp::Epoch => {
                let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
                write!(writer, "{}", since_epoch.as_secs())
            }
            Timestamp::Iso => write!(writer, "{}", humantime::format_rfc3339_millis(now)),
            Timestamp::None => Ok(()),
        }
    }
}

/// The human format.
struct Lines {
    time: Time,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if self.time.timestamp != Timestamp::None {
            self.time.format_time(&mut writer)?;
            writer.write_str(": ")?;
        }
        match *event.metadata().level() {
            tracing::Level::ERROR => writer.write_str("Error: ")?,
            tracing::Level::WARN => writer.write_str("Warning: ")?,
            _ => {}
        }
        let mut words = Words::default();
        event.record(&mut words);
        let mut line = OneLine(writer.by_ref());
        line.write_str(&words.message)?;
        for (name, value) in words.fields.iter().filter(|(_, v)| !words.message.contains(v)) {
            write!(line, " {name}={value}")?;
        }
        writer.write_char('\n')
    }
}

/// An event's sentence and fields as text.
#[derive(Default)]
struct Words {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = value.to_owned(),
            name => self.fields.push((name, value.to_owned())),
        }
    }
}

/// Escapes control characters, so that no client can write log lines of its own with a clever
/// client id.
struct OneLine<'a>(Writer<'a>);

impl Write for OneLine<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive(char::is_control) {
            let plain = part.trim_end_matches(char::is_control);
            self.0.write_str(plain)?;
            write!(self.0, "{}", part[plain.len()..].escape_default())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use super::*;

    fn fixed() -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(1_700_000_000_042)
    }

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: Level, format: Format, timestamp: Timestamp, events: fn()) -> String {
        let paper = Paper::default();
        let pen = paper.clone();
        let settings = Settings { level, format, timestamp };
        tracing::dispatcher::with_default(&dispatch(settings, fixed, move || pen.clone()), events);
        let bytes = paper.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn some_events() {
        let (client, address) = ("a1", "192.0.2.1:5");
        tracing::error!(errno = 24, "Accepting failed.");
        tracing::warn!(client, address, "Client {client} [{address}] refused.");
        tracing::info!("Running.");
        tracing::debug!("Received PINGREQ from a1");
    }

    #[test]
    fn people_read_mosquittos_lines_and_no_field_twice() {
        let lines = logged(Level::Info, Format::Human, Timestamp::Epoch, some_events);
        let expected = "1700000000: Error: Accepting failed. errno=24\n\
                        1700000000: Warning: Client a1 [192.0.2.1:5] refused.\n\
                        1700000000: Running.\n";
        assert_eq!(lines, expected);
    }

    #[test]
    fn levels_hide_what_is_less_important() {
        let rows = [
            (Level::Error, 1),
            (Level::Warn, 2),
            (Level::Info, 3),
            (Level::Debug, 4),
            (Level::Trace, 4),
        ];
        for (level, count) in rows {
            let lines = logged(level, Format::Human, Timestamp::None, some_events);
            assert_eq!(lines.lines().count(), count, "{level:?}");
        }
    }

    #[test]
    fn machines_read_one_object_per_line() {
        let lines = logged(Level::Warn, Format::Json, Timestamp::Iso, some_events);
        let warning = [
            r#"{"timestamp":"2023-11-14T22:13:20.042Z","level":"WARN","#,
            r#""message":"Client a1 [192.0.2.1:5] refused.","#,
            r#""client":"a1","address":"192.0.2.1:5"}"#,
        ];
        assert_eq!(lines.lines().nth(1), Some(warning.concat().as_str()));
        let untimed = logged(Level::Error, Format::Json, Timestamp::None, some_events);
        assert_eq!(
            untimed,
            "{\"level\":\"ERROR\",\"message\":\"Accepting failed.\",\"errno\":24}\n"
        );
    }

    #[test]
    fn no_client_writes_log_lines_of_its_own() {
        let forge = || {
            let client = "x\n1700000000: New client\u{1b}[2J\r";
            tracing::info!(client, "Client {client} disconnected.");
        };
        let lines = logged(Level::Info, Format::Human, Timestamp::None, forge);
        let expected = "Client x\\n1700000000: New client\\u{1b}[2J\\r disconnected.\n";
        assert_eq!(lines, expected);
        let lines = logged(Level::Info, Format::Json, Timestamp::None, forge);
        assert_eq!(lines.lines().count(), 1, "{lines}");
    }
}
