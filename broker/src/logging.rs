//! # The log
//!
//! One line per event: for people, with mosquitto's words where mosquitto has any, or as JSON. An
//! event's message is a whole sentence; its fields name the parts for machines. The human format
//! adds a field only if the sentence does not say it already.
//!
//! A line goes to every destination, each with a bounded queue and a thread of its own, so that
//! nobody who logs ever waits. What is logged, and where to, can change while the broker runs.

use std::fmt::Write;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use jiff::tz::TimeZone;
use parking_lot::RwLock;
use serde::Deserialize;
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Dispatch, Event, Metadata, Subscriber};

pub use crate::logging::destination::{DESTINATIONS_TAKES, Destination, Destinations};
pub use crate::logging::kinds::{
    KINDS_TAKES, Kind, Kinds, NOTICE, SUBSCRIBE, UNMARKED, UNSUBSCRIBE,
};
use crate::logging::queue::{Line, Queue, Sink};
pub use crate::logging::syslog::Facility;
pub use crate::logging::time::{Pattern, Stamp};
use crate::logging::words::Words;

mod destination;
mod kinds;
mod queue;
mod syslog;
mod time;
mod words;

/// How to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What is logged.
    pub kinds: Kinds,
    /// For whom.
    pub format: Format,
    /// What a line begins with.
    pub stamp: Stamp,
    /// Where lines go.
    pub destinations: Destinations,
    /// What syslog files them under.
    pub facility: Facility,
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

/// Reads the wall clock. Log lines follow it even when it is set, unlike the engine's time.
pub type Now = fn() -> SystemTime;

/// The log of this process. Clones are the same log.
#[derive(Clone)]
pub struct Log(Arc<Shared>);

/// Everything that a change needs was found in order.
#[must_use = "nothing changes until it is applied"]
pub struct Ready {
    log: Log,
    settings: Settings,
    /// The queues of all destinations, and what their lines go to from here on.
    opened: Vec<(Destination, Option<Box<dyn Sink>>)>,
}

struct Shared {
    now: Now,
    /// The kinds that are logged, as bits.
    kinds: AtomicU16,
    way: RwLock<Way>,
    lost: Arc<AtomicU64>,
    publish: RwLock<Option<Publish>>,
}

/// Publishes texts, each to its topic. It may block.
pub type Publish = Arc<dyn Fn(&[(&'static str, &str)]) + Send + Sync>;

/// How a line is written, and where it goes.
struct Way {
    format: Format,
    stamp: Stamp,
    zone: TimeZone,
    facility: Facility,
    queues: Vec<(Destination, Arc<Queue>)>,
}

/// How long the end of the process waits for a destination to take the last lines.
const FLUSH_MAX: Duration = Duration::from_secs(1);

impl Settings {
    /// What people read who wait in front of it.
    pub fn for_people() -> Self {
        Self {
            kinds: Level::Info.kinds(),
            format: Format::Human,
            stamp: Stamp::Epoch,
            destinations: Destinations(vec![Destination::Stderr]),
            facility: Facility::Daemon,
        }
    }
}

impl Level {
    /// What is logged at it.
    pub fn kinds(self) -> Kinds {
        Kinds::up_to(match self {
            Self::Error => Kind::Error,
            Self::Warn => Kind::Warning,
            Self::Info => Kind::Information,
            Self::Debug => Kind::Websockets,
            Self::Trace => Kind::Internal,
        })
    }
}

/// Logs from here on what this process has to say. Only the first call has an effect on that.
///
/// # Errors
/// What cannot be opened, in words. Nothing is logged then.
pub fn init(settings: Settings, now: Now) -> Result<Log, Vec<String>> {
    let log = Log::new(now);
    log.prepare(settings)?.apply();
    let first = tracing::dispatcher::set_global_default(Dispatch::new(Listener(log.clone())));
    debug_assert!(first.is_ok(), "logging starts once");
    Ok(log)
}

impl Log {
    fn new(now: Now) -> Self {
        let way = Way {
            format: Format::Human,
            stamp: Stamp::None,
            zone: TimeZone::UTC,
            facility: Facility::Daemon,
            queues: Vec::new(),
        };
        Self(Arc::new(Shared {
            now,
            kinds: AtomicU16::new(0),
            way: RwLock::new(way),
            lost: Arc::default(),
            publish: RwLock::default(),
        }))
    }

    /// `None`: lines wait until somebody takes them.
    fn open(
        &self,
        destination: &Destination,
        facility: Facility,
    ) -> Result<Option<Box<dyn Sink>>, String> {
        match destination {
            Destination::Topic => {
                let publish = self.0.publish.read().clone();
                Ok(publish.map(|publish| Box::new(Topics(publish)) as Box<dyn Sink>))
            }
            _ => destination.open(facility).map(Some),
        }
    }

    /// Opens what new settings name, and touches nothing that is in use.
    ///
    /// # Errors
    /// What cannot be opened, in words.
    pub fn prepare(&self, settings: Settings) -> Result<Ready, Vec<String>> {
        let (mut opened, mut mistakes) = (Vec::new(), Vec::new());
        for destination in &settings.destinations.0 {
            match self.open(destination, settings.facility) {
                Ok(sink) => opened.push((destination.clone(), sink)),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        if mistakes.is_empty() {
            Ok(Ready { log: self.clone(), settings, opened })
        } else {
            Err(mistakes)
        }
    }

    /// Opens all files anew, for those who have renamed them. One that cannot be opened is said,
    /// and the one before stays in use.
    pub fn reopen(&self) {
        let (facility, queues) = {
            let way = self.0.way.read();
            (way.facility, way.queues.clone())
        };
        for (destination, queue) in queues {
            match self.open(&destination, facility) {
                Ok(Some(sink)) => queue.replace(sink),
                Ok(None) => {}
                Err(mistake) => tracing::error!("{mistake}"),
            }
        }
    }

    /// Lines for topics are published by this from here on.
    pub fn publish_with(&self, publish: Publish) {
        *self.0.publish.write() = Some(Arc::clone(&publish));
        for (destination, queue) in &self.0.way.read().queues {
            if *destination == Destination::Topic {
                queue.replace(Box::new(Topics(Arc::clone(&publish))));
            }
        }
    }

    /// Where lines are counted that a destination did not take, since start.
    pub fn losses(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.0.lost)
    }

    /// Waits until all destinations have taken all lines, but not for ever.
    pub fn flush(&self) {
        for (_, queue) in &self.0.way.read().queues {
            queue.flush(FLUSH_MAX);
        }
    }
}

impl Ready {
    /// From here on this is how it is logged.
    pub fn apply(self) {
        let Self { log: Log(shared), settings, opened } = self;
        let mut way = shared.way.write();
        let mut before = std::mem::take(&mut way.queues);
        let mut failed = None;
        for (destination, sink) in opened {
            let same = before.iter().position(|(other, _)| *other == destination);
            let queue = match (same.map(|at| before.swap_remove(at).1), sink) {
                (Some(queue), Some(sink)) => {
                    queue.replace(sink);
                    Ok(queue)
                }
                (Some(queue), None) => Ok(queue),
                (None, sink) => Queue::start(sink, Arc::clone(&shared.lost), told_of_loss),
            };
            match queue {
                Ok(queue) => way.queues.push((destination, queue)),
                Err(error) => failed = Some((destination, error)),
            }
        }
        for (_, queue) in before {
            queue.close();
        }
        way.format = settings.format;
        way.stamp = settings.stamp;
        way.zone = TimeZone::system();
        way.facility = settings.facility;
        drop(way);
        shared.kinds.store(settings.kinds.bits(), Ordering::Relaxed);
        tracing::callsite::rebuild_interest_cache();
        if let Some((destination, error)) = failed {
            tracing::error!("Cannot log to {destination:?}: {error}.");
        }
    }
}

fn told_of_loss(count: u64) -> Line {
    let text = format!("Warning: {count} lines of the log were lost here.").into();
    Line { kind: Kind::Warning, text }
}

impl Shared {
    fn wants(&self, event: &Metadata<'_>) -> Option<Kind> {
        let kinds = Kinds::from_bits(self.kinds.load(Ordering::Relaxed));
        Kind::of(event).filter(|kind| kinds.contains(*kind))
    }

    fn line(&self, kind: Kind, event: &Event<'_>) {
        let mut words = Words::default();
        event.record(&mut words);
        let way = self.way.read();
        let mut text = String::new();
        match way.format {
            Format::Human => {
                if time::write(&way.stamp, &way.zone, (self.now)(), &mut text) {
                    text.push_str(": ");
                }
                if event.metadata().target() != UNMARKED {
                    text.push_str(mark(kind));
                }
                words.write_human(&mut text);
            }
            Format::Json => {
                text.push('{');
                let mut time = String::new();
                if time::write(&way.stamp, &way.zone, (self.now)(), &mut time) {
                    let _ = write!(text, "\"timestamp\":{},", words::json(&time));
                }
                let _ = write!(text, "\"level\":\"{}\"", event.metadata().level());
                words.write_json(&mut text);
                text.push('}');
            }
        }
        let line = Line { kind, text: text.into() };
        for (destination, queue) in &way.queues {
            if *destination != Destination::Topic || kind.topic().is_some() {
                queue.push(line.clone());
            }
        }
    }
}

fn mark(kind: Kind) -> &'static str {
    match kind {
        Kind::Error => "Error: ",
        Kind::Warning => "Warning: ",
        _ => "",
    }
}

/// Lines as messages. A message may lead to a line again, as when it costs a slow client the first
/// of many: at most one for each such event, and never one for each message, since packets are not
/// published.
struct Topics(Publish);

impl Sink for Topics {
    fn write(&mut self, lines: &[Line]) -> io::Result<()> {
        let messages = lines.iter().filter_map(|line| Some((line.kind.topic()?, &*line.text)));
        (self.0)(&messages.collect::<Vec<_>>());
        Ok(())
    }
}

/// Takes the events of the whole process. Nobody here speaks in spans.
struct Listener(Log);

impl Subscriber for Listener {
    fn register_callsite(&self, event: &'static Metadata<'static>) -> Interest {
        if self.0.0.wants(event).is_some() { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, event: &Metadata<'_>) -> bool {
        self.0.0.wants(event).is_some()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(Kinds::from_bits(self.0.0.kinds.load(Ordering::Relaxed)).level())
    }

    fn event(&self, event: &Event<'_>) {
        if let Some(kind) = self.0.0.wants(event.metadata()) {
            self.0.0.line(kind, event);
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
