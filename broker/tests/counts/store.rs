//! What a commit writes: facts of messages that a session gets, and then acknowledges.

use std::sync::Arc;

use martlet::store::Store;
use martlet::store::durable::{self, Settings};
use martlet_codec::ids::PacketId;
use martlet_codec::reason::QoS;
use martlet_codec::topic::TopicName;
use martlet_engine::change::{Change, MessageKey, Passage};
use martlet_engine::message::Message;

use crate::simulated::Simulated;
use crate::table::Row;

const COMMITS: u64 = 100;

pub fn rows() -> Vec<Row> {
    vec![row(1), row(20), row(200)]
}

fn row(batch: u64) -> Row {
    let disk = Simulated::new(1);
    let settings = Settings::new("data".into(), "2026-11-21".into());
    let settings = Settings { background: false, cache_bytes: 1 << 20, ..settings };
    let store = durable::open_on(Arc::new(disk.clone()), settings);
    let mut store = store.expect("a store that can be opened");
    store.commit(&[Change::SaveSession { client_id: "c".into() }]).expect("committed");
    let before = disk.count("");
    for number in 0..COMMITS {
        store.commit(&changes(number, batch)).expect("committed");
    }
    let after = disk.count("");
    Row {
        what: format!("store: {COMMITS} commits of {batch}"),
        messages: COMMITS * batch,
        writes: Some(after.writes - before.writes),
        bytes_written: Some(after.bytes - before.bytes),
        syncs: Some(after.syncs - before.syncs),
        ..Row::default()
    }
}

/// So many come, and those of the commit before are acknowledged.
fn changes(number: u64, batch: u64) -> Vec<Change> {
    let client_id: Arc<str> = "c".into();
    let id = |n: u64| PacketId::new(1 + n as u16).expect("not zero");
    let topic = TopicName::new(b"a/b").expect("a topic");
    let settled = (0..if number > 0 { batch } else { 0 }).map(|n| {
        let client_id = client_id.clone();
        Change::Settle { client_id, id: id(n) }
    });
    let come = (0..batch).flat_map(|n| {
        let key = MessageKey(number * batch + n);
        let message = Message::new(topic, &[b'p'; 64], QoS::AtLeastOnce, false);
        let passage = Passage { key, qos: QoS::AtLeastOnce, retain: false, share: None };
        let client_id = client_id.clone();
        [Change::KeepMessage { key, message }, Change::Deliver { client_id, passage, id: id(n) }]
    });
    settled.chain(come).collect()
}
