//! Facts written by hand.

use std::sync::Arc;

use martlet::store::Store;
use martlet::store::durable::{self, Durable, Settings};
use martlet_codec::topic::TopicName;
use martlet_engine::change::{Change, MessageKey, Passage};
use martlet_engine::input::Time;
use martlet_engine::message::Message;
use martlet_engine::snapshot::Snapshot;

use crate::simulated::Simulated;
use crate::workload::{filter, id, qos};

pub fn settings() -> Settings {
    Settings {
        background: false,
        cache_bytes: 1 << 20,
        draw: || 0, // so that tests know names
        ..Settings::new("data".into(), "2026-11-21".into())
    }
}

pub fn open(disk: &Simulated) -> Durable {
    durable::open_on(Arc::new(disk.clone()), settings()).expect("a store that can be opened")
}

/// Commits, and says what is there then.
pub fn commit(store: &mut Durable, kept: &mut Snapshot, changes: &[Change]) {
    store.commit(changes).expect("committed");
    changes.iter().for_each(|change| kept.apply(change));
}

pub fn message(topic: &str, payload: &[u8], retain: bool) -> Message {
    let topic = TopicName::new(topic.as_bytes()).expect("a topic");
    Message::new(topic, payload, qos(1), retain)
}

pub fn retain(topic: &str, payload: &str) -> Change {
    Change::Retain { message: message(topic, payload.as_bytes(), true) }
}

pub fn session(client_id: &str) -> Change {
    Change::SaveSession { client_id: client_id.into() }
}

pub fn passage(key: u64) -> Passage {
    Passage { key: MessageKey(key), qos: qos(2), retain: false, share: None }
}

pub fn keep(key: u64) -> Change {
    Change::KeepMessage { key: MessageKey(key), message: message("a/b", &[b'p'; 150], false) }
}

pub fn enqueue(client_id: &str, key: u64) -> Change {
    Change::Enqueue { client_id: client_id.into(), passage: passage(key) }
}

pub fn deliver(client_id: &str, key: u64, number: u16) -> Change {
    Change::Deliver { client_id: client_id.into(), passage: passage(key), id: id(number) }
}

pub fn settle(client_id: &str, number: u16) -> Change {
    Change::Settle { client_id: client_id.into(), id: id(number) }
}

/// One fact of each kind at least; what the first half leaves, the second half works on.
pub fn halves() -> [Vec<Change>; 2] {
    let c = || Arc::<str>::from("c");
    let share = filter("$share/g/a/+");
    let shared = Passage { share: Some(share.clone()), ..passage(4) };
    let first = vec![
        session("c"),
        session("gone"),
        Change::Subscribe { client_id: c(), filter: filter("a/#"), qos: qos(2) },
        Change::Subscribe { client_id: c(), filter: share, qos: qos(1) },
        Change::Subscribe { client_id: c(), filter: filter("b"), qos: qos(0) },
        Change::Replay { client_id: c(), filter: filter("a/#"), pending: true },
        keep(1),
        deliver("c", 1, 7),
        keep(2),
        deliver("c", 2, 8),
        keep(3),
        enqueue("c", 3),
        enqueue("gone", 3),
        keep(4),
        Change::Enqueue { client_id: c(), passage: shared },
        keep(5),
        enqueue("c", 5),
        Change::MarkReceived { client_id: c(), id: id(100) },
        Change::MarkReceived { client_id: c(), id: id(101) },
        retain("r/1", "one"),
        retain("r/2", "two"),
        Change::KeepWill { client_id: c(), will: message("w", b"gone", true) },
        Change::KeepWill { client_id: "clean".into(), will: message("w", b"gone", false) },
    ];
    let second = vec![
        Change::Advance { client_id: c(), id: id(8) },
        settle("c", 7),
        Change::Send { client_id: c(), id: Some(id(9)) },
        Change::Send { client_id: c(), id: None },
        Change::DropSession { client_id: "gone".into() },
        Change::Unsubscribe { client_id: c(), filter: filter("b") },
        Change::Replay { client_id: c(), filter: filter("a/#"), pending: false },
        Change::ForgetReceived { client_id: c(), id: id(100) },
        Change::ClearRetained { topic: "r/1".into() },
        retain("r/2", "three"),
        Change::DropWill { client_id: c() },
        Change::Detach { client_id: c(), since: Some(Time(1_700_000_000_000)) },
    ];
    [first, second]
}
