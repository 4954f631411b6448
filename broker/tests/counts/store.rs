//! What the disk gets: of messages that a session gets, and then acknowledges; and of messages for
//! one that is away.

use std::sync::Arc;

use martlet::store::Store;
use martlet::store::durable::{self, Durable, Settings};
use martlet_codec::ids::PacketId;
use martlet_codec::reason::QoS;
use martlet_codec::topic::TopicName;
use martlet_engine::change::{Change, MessageKey, Passage};
use martlet_engine::message::Message;

use crate::simulated::{Count, Simulated};
use crate::table::Row;

const COMMITS: u64 = 100;

pub fn rows() -> Vec<Row> {
    vec![come_and_go(1), come_and_go(20), come_and_go(200), queue_up()]
}

fn come_and_go(batch: u64) -> Row {
    let (disk, mut store) = store();
    let before = disk.count("");
    for number in 0..COMMITS {
        store.commit(&changes(number, batch)).expect("committed");
    }
    row(format!("store: {COMMITS} commits of {batch}"), COMMITS * batch, before, disk.count(""))
}

/// What the state alone gets of them.
fn queue_up() -> Row {
    let (disk, mut store) = store();
    store.close().expect("closed");
    let before = disk.count("state");
    for number in 0..COMMITS {
        store.commit(&queued(number, 40)).expect("committed");
    }
    store.close().expect("closed");
    row("store: 4000 queued, the state".into(), COMMITS * 40, before, disk.count("state"))
}

fn store() -> (Simulated, Durable) {
    let disk = Simulated::new(1);
    let settings = Settings::new("data".into(), "2026-11-21".into());
    let settings = Settings { background: false, cache_bytes: 1 << 20, ..settings };
    let store = durable::open_on(Arc::new(disk.clone()), settings);
    let mut store = store.expect("a store that can be opened");
    store.commit(&[Change::SaveSession { client_id: "c".into() }]).expect("committed");
    (disk, store)
}

fn row(what: String, messages: u64, before: Count, after: Count) -> Row {
    Row {
        what,
        messages,
        writes: Some(after.writes - before.writes),
        bytes_written: Some(after.bytes - before.bytes),
        syncs: Some(after.syncs - before.syncs),
        ..Row::default()
    }
}

fn queued(number: u64, batch: u64) -> Vec<Change> {
    let enqueue = |n| {
        let (key, passage) = (MessageKey(number * batch + n), passage(number * batch + n));
        let client_id = "c".into();
        [Change::KeepMessage { key, message: message() }, Change::Enqueue { client_id, passage }]
    };
    (0..batch).flat_map(enqueue).collect()
}

/// So many come, and those of the commit before are acknowledged.
fn changes(number: u64, batch: u64) -> Vec<Change> {
    let client_id: Arc<str> = "c".into();
    let id = |n: u64| PacketId::new(1 + n as u16).expect("not zero");
    let settled = (0..if number > 0 { batch } else { 0 }).map(|n| {
        let client_id = client_id.clone();
        Change::Settle { client_id, id: id(n) }
    });
    let come = (0..batch).flat_map(|n| {
        let key = MessageKey(number * batch + n);
        let (client_id, passage) = (client_id.clone(), passage(key.0));
        let deliver = Change::Deliver { client_id, passage, id: id(n) };
        [Change::KeepMessage { key, message: message() }, deliver]
    });
    settled.chain(come).collect()
}

fn message() -> Message {
    let topic = TopicName::new(b"a/b").expect("a topic");
    Message::new(topic, &[b'p'; 64], QoS::AtLeastOnce, false)
}

fn passage(key: u64) -> Passage {
    Passage { key: MessageKey(key), qos: QoS::AtLeastOnce, retain: false, share: None }
}
