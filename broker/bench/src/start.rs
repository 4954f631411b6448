//! How long a broker takes to start with a full store, and what memory that takes.
//!
//! The store is filled by Martlet's own library, because a million messages over the wire would
//! measure something else; then the real program starts on it, as after an orderly end or a kill.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::martlet::store::durable::{self, Durable, Settings, Sync};
use ::martlet::store::{Store, StoreError};
use martlet_codec::reason::QoS;
use martlet_codec::topic::TopicName;
use martlet_engine::change::{Change, MessageKey, Passage};
use martlet_engine::filter::Filter;
use martlet_engine::input::Time;
use martlet_engine::message::Message;
use mosquitto_compat_tests::broker::{Broker, Kind};
use mosquitto_compat_tests::martlet;
use tempfile::TempDir;

use crate::clock;
use crate::error::BenchError;
use crate::machine::{CpuTime, Footprint};

/// What is in the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Content {
    /// QoS 1 messages, each for one session, in the state.
    Queued,
    /// As many places in queues, but each message waits in all sessions.
    Shared,
    /// Retained messages, in the state.
    Retained,
    /// QoS 1 messages that a killed broker left in the journal, a third of the number: the state
    /// takes over what is more.
    Tail,
}

impl Content {
    /// All of them, with their names.
    pub(crate) const ALL: [(&'static str, Self); 4] = [
        ("queued", Self::Queued),
        ("shared", Self::Shared),
        ("retained", Self::Retained),
        ("tail", Self::Tail),
    ];

    /// The one of this name.
    pub(crate) fn parse(name: &str) -> Result<(&'static str, Self), BenchError> {
        let found = Self::ALL.into_iter().find(|(known, _)| *known == name);
        found.ok_or_else(|| BenchError::Scenario(name.to_owned()))
    }
}

/// What `bench start` does.
pub(crate) struct Plan {
    /// The stores that are filled.
    pub(crate) contents: Vec<(&'static str, Content)>,
    /// How many messages each.
    pub(crate) messages: u64,
    /// For how many sessions, at least one.
    pub(crate) sessions: u64,
    /// Bytes of each payload.
    pub(crate) payload_bytes: usize,
    /// Whether the broker's log is printed.
    pub(crate) log: bool,
}

/// Changes in one commit while a store is filled.
const COMMIT_CHANGES: usize = 10_000;

/// Fills stores, starts a broker on each, and prints a table.
pub(crate) fn run(plan: &Plan) -> Result<(), BenchError> {
    let program = martlet::binary()?;
    println!("content    on disk   listens   CPU      peak RSS   RSS after");
    for &(name, content) in &plan.contents {
        let folder = TempDir::with_prefix("martlet-bench-");
        let folder = folder.map_err(BenchError::system("making a folder"))?;
        let data = folder.path().join("data");
        fill(&data, content, plan)?;
        let on_disk_mb = size(&data)? as f64 / 1e6;
        let began = clock::now_ns();
        let broker = Broker::start_in(folder, Kind::Martlet, &program, "")?;
        let seconds = (clock::now_ns() - began) as f64 / 1e9;
        clock::rest();
        let (cpu, footprint) = (CpuTime::of(broker.pid())?, Footprint::of(broker.pid())?);
        let Footprint { rss_kib, rss_peak_kib, .. } = footprint;
        println!(
            "{name:<9} {on_disk_mb:>5.0} MB {seconds:>7.2} s {:>6.2} s {:>8.1} MB {:>8.1} MB",
            cpu.total_s(),
            rss_peak_kib as f64 * 1024.0 / 1e6,
            rss_kib as f64 * 1024.0 / 1e6,
        );
        if plan.log {
            print!("{}", broker.log());
        }
    }
    Ok(())
}

fn size(folder: &Path) -> Result<u64, BenchError> {
    let reading = |source| BenchError::System { what: "reading the store's folder", source };
    let mut bytes = 0;
    for entry in fs::read_dir(folder).map_err(reading)? {
        let entry = entry.map_err(reading)?;
        let metadata = entry.metadata().map_err(reading)?;
        bytes += if metadata.is_dir() { size(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

/// A store as a broker leaves it.
fn fill(data: &Path, content: Content, plan: &Plan) -> Result<(), BenchError> {
    // Nothing is synced before the end: this is no measurement of commits.
    let mut settings = Settings {
        sync: Sync::Interval(Duration::from_secs(3600)),
        ..Settings::new(data.to_owned(), String::new())
    };
    if content == Content::Tail {
        settings.checkpoint_bytes = u64::MAX / 8;
    }
    let mut filling = Filling {
        store: durable::open(settings).map_err(BenchError::Store)?,
        changes: Vec::new(),
        payload: vec![b'p'; plan.payload_bytes],
    };
    filling.fill(content, plan).map_err(BenchError::Store)
}

struct Filling {
    store: Durable,
    changes: Vec<Change>,
    payload: Vec<u8>,
}

impl Filling {
    fn fill(&mut self, content: Content, plan: &Plan) -> Result<(), StoreError> {
        let Plan { messages, sessions, .. } = *plan;
        let clients: Vec<Arc<str>> = (0..sessions).map(|n| format!("client-{n}").into()).collect();
        for client_id in &clients {
            let client_id = || Arc::clone(client_id);
            let filter = Filter::parse(&format!("site/{}/+", client_id())).expect("a filter");
            let since = Some(Time(1_700_000_000_000));
            self.push(Change::SaveSession { client_id: client_id() })?;
            let qos = QoS::AtLeastOnce;
            self.push(Change::Subscribe { client_id: client_id(), filter, qos })?;
            self.push(Change::Detach { client_id: client_id(), since })?;
        }
        match content {
            Content::Queued => self.queue(messages, &clients, 1)?,
            Content::Tail => self.queue(messages / 3, &clients, 1)?,
            Content::Shared => self.queue(messages / sessions, &clients, clients.len())?,
            Content::Retained => {
                for number in 0..messages {
                    let message = self.message(number, true);
                    self.push(Change::Retain { message })?;
                }
            }
        }
        self.commit()?;
        if content == Content::Tail { self.store.tick() } else { self.store.close() }
    }

    /// So many messages, each for the next so many clients.
    fn queue(&mut self, count: u64, clients: &[Arc<str>], each: usize) -> Result<(), StoreError> {
        let mut next = clients.iter().cycle();
        for number in 0..count {
            let key = MessageKey(number);
            let message = self.message(number, false);
            self.push(Change::KeepMessage { key, message })?;
            for client_id in next.by_ref().take(each) {
                let qos = QoS::AtLeastOnce;
                let passage = Passage { key, qos, retain: false, share: None };
                self.push(Change::Enqueue { client_id: Arc::clone(client_id), passage })?;
            }
        }
        Ok(())
    }

    fn message(&self, number: u64, retain: bool) -> Message {
        let topic = format!("site/device-{number:07}/value");
        let topic = TopicName::new(topic.as_bytes()).expect("a topic");
        Message::new(topic, &self.payload, QoS::AtLeastOnce, retain)
    }

    fn push(&mut self, change: Change) -> Result<(), StoreError> {
        self.changes.push(change);
        if self.changes.len() >= COMMIT_CHANGES { self.commit() } else { Ok(()) }
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.store.commit(&self.changes)?;
        self.changes.clear();
        Ok(())
    }
}
