//! What is in there, in numbers.

use std::cmp::Reverse;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use martlet_engine::change::Passage;
use martlet_engine::input::Time;
use martlet_engine::snapshot::{KeptDelivery, KeptSession, Snapshot};
use serde::Serialize;

use crate::store::StoreError;
use crate::store::state::compaction::Usage;
use crate::store::tools::{Look, Measured, shown, size};

/// What is in a store; as text, a table. Its JSON is what `martlet store stats --json` prints.
#[derive(Debug, Serialize)]
pub struct Stats {
    /// Where it is.
    #[serde(serialize_with = "shown")]
    pub folder: PathBuf,
    /// The state's file.
    pub state: Option<Measured>,
    /// How the state's file is used.
    pub usage: Usage,
    /// The journal's files, oldest first.
    pub segments: Vec<Measured>,
    /// Damaged files that were set aside.
    pub set_aside: Vec<Measured>,
    /// The commit up to which the state holds everything.
    pub state_position: u64,
    /// The newest commit; those in between are in the journal alone.
    pub newest_commit: u64,
    /// Bytes of the commits that a start reads from the journal.
    pub journal_behind_bytes: u64,
    /// The sessions.
    pub sessions: Sessions,
    /// Messages that wait to be sent, each counted for each session.
    pub queued: Count,
    /// Messages that were sent and are not acknowledged, each counted for each session.
    pub in_flight: Count,
    /// The messages of both, each once.
    pub messages: Count,
    /// Retained messages.
    pub retained: Count,
    /// Wills of connected clients.
    pub wills: Count,
}

/// The sessions of a store.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Sessions {
    /// All of them.
    pub total: u64,
    /// Those that had a connection when the broker ended.
    pub connected: u64,
    /// Those that had none.
    pub detached: u64,
    /// Since when the longest has none, as RFC 3339 writes it.
    pub detached_longest_since: Option<String>,
    /// Their subscriptions.
    pub subscriptions: u64,
    /// QoS 2 messages received from clients whose PUBREL has not come.
    pub received: u64,
    /// Those with the most waiting messages, the most first.
    pub largest: Vec<Waiting>,
}

/// A session with messages that wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// Whose.
    pub client_id: String,
    /// Queued and in flight.
    pub messages: u64,
}

/// Messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// How many.
    pub messages: u64,
    /// Of their topics and payloads.
    pub bytes: u64,
}

/// Sessions that are named.
const LARGEST: usize = 5;

impl Stats {
    /// Counts what is there.
    ///
    /// # Errors
    /// When the state's file cannot be read.
    pub fn of(look: &Look) -> Result<Self, StoreError> {
        let (facts, standing) = (look.facts(), look.store.standing());
        let mut stats = Self {
            folder: look.folder.clone(),
            state: look.files.state.clone(),
            usage: look.store.state().usage()?,
            segments: look.files.segments.clone(),
            set_aside: look.files.aside.clone(),
            state_position: standing.state_position,
            newest_commit: standing.newest,
            journal_behind_bytes: standing.behind_bytes,
            sessions: Sessions::of(facts),
            queued: Count::default(),
            in_flight: Count::default(),
            messages: Count::of(facts.messages.values().map(|kept| kept.message.len())),
            retained: Count::of(facts.retained.values().map(|message| message.len())),
            wills: Count::of(facts.wills.values().map(|message| message.len())),
        };
        for session in facts.sessions.values() {
            session.queue.iter().for_each(|passage| stats.queued.add(facts, passage));
            for (_, delivery) in &session.in_flight {
                match delivery {
                    KeptDelivery::Sent(passage) => stats.in_flight.add(facts, passage),
                    KeptDelivery::AwaitPubComp => stats.in_flight.messages += 1,
                }
            }
        }
        Ok(stats)
    }
}

impl Stats {
    /// As one JSON object.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("texts as keys, and no writer that fails")
    }
}

impl Sessions {
    fn of(facts: &Snapshot) -> Self {
        let sessions = facts.sessions.values();
        let total = facts.sessions.len() as u64;
        let detached = sessions.clone().filter(|session| session.detached.is_some()).count() as u64;
        let longest = sessions.clone().filter_map(|session| session.detached).min();
        let sum = |count: fn(&KeptSession) -> usize| {
            sessions.clone().map(|session| count(session) as u64).sum()
        };
        let waiting = facts.sessions.iter().map(|(client_id, session)| Waiting {
            client_id: client_id.to_string(),
            messages: (session.queue.len() + session.in_flight.len()) as u64,
        });
        let mut largest: Vec<_> = waiting.filter(|session| session.messages > 0).collect();
        largest.sort_by_key(|session| Reverse(session.messages));
        largest.truncate(LARGEST);
        Self {
            total,
            connected: total - detached,
            detached,
            detached_longest_since: longest.map(date),
            subscriptions: sum(|session| session.subscriptions.len()),
            received: sum(|session| session.received.len()),
            largest,
        }
    }
}

impl Count {
    fn of(lengths: impl Iterator<Item = usize>) -> Self {
        lengths.fold(Self::default(), |count, len| Self {
            messages: count.messages + 1,
            bytes: count.bytes + len as u64,
        })
    }

    fn add(&mut self, facts: &Snapshot, passage: &Passage) {
        self.messages += 1;
        self.bytes += facts.messages.get(&passage.key).map_or(0, |kept| kept.message.len() as u64);
    }
}

/// As RFC 3339 writes it.
pub(super) fn date(time: Time) -> String {
    let time: SystemTime = UNIX_EPOCH + Duration::from_millis(time.0);
    humantime::format_rfc3339_millis(time).to_string()
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state_bytes = self.state.as_ref().map_or(0, |state| state.bytes);
        let journal_bytes: u64 = self.segments.iter().map(|segment| segment.bytes).sum();
        let mut row = |name: &str, value: String| writeln!(f, "  {name:<22} {value}");
        row("state", self.usage.text(state_bytes))?;
        row(
            "journal",
            format!(
                "{} in {} segments; {} behind the state",
                size(journal_bytes),
                self.segments.len(),
                size(self.journal_behind_bytes)
            ),
        )?;
        let (state, newest) = (self.state_position, self.newest_commit);
        row("commits", format!("{newest}, of which the state holds {state}"))?;
        let Sessions { total, connected, detached, .. } = &self.sessions;
        let longest = self.sessions.detached_longest_since.as_ref();
        let longest = longest.map_or(String::new(), |date| format!(" (one since {date})"));
        row("sessions", format!("{total}: {connected} connected, {detached} detached{longest}"))?;
        row("subscriptions", self.sessions.subscriptions.to_string())?;
        row("queued", self.queued.to_string())?;
        row("in flight", self.in_flight.to_string())?;
        row("messages of these", self.messages.to_string())?;
        row("QoS 2 ids received", self.sessions.received.to_string())?;
        row("retained", self.retained.to_string())?;
        row("wills", self.wills.to_string())?;
        for Waiting { client_id, messages } in &self.sessions.largest {
            row("most wait for", format!("{client_id:?}: {messages}"))?;
        }
        Ok(())
    }
}

impl Usage {
    fn text(&self, file_bytes: u64) -> String {
        format!(
            "{}, of which rows take {}, pages {}, free {}",
            size(file_bytes),
            size(self.stored_bytes),
            size(self.allocated_bytes),
            size(file_bytes.saturating_sub(self.allocated_bytes)),
        )
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} messages, {}", self.messages, size(self.bytes))
    }
}
