//! What an operator meets: `martlet store`, and a broker whose disk is full, closed or broken. The
//! real binary on real files.

#![allow(missing_docs, unreachable_pub, reason = "a test")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops here")]

#[path = "../raw/mod.rs"]
mod raw;

mod binary;
mod broken;
mod content;
mod full;
mod refused;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use martlet::store::Store;
use martlet::store::durable::{self, Settings};
use martlet_codec::ids::PacketId;
use martlet_codec::reason::QoS;
use martlet_codec::topic::TopicName;
use martlet_engine::change::{Change, MessageKey, Passage};
use martlet_engine::filter::Filter;
use martlet_engine::input::Time;
use martlet_engine::message::Message;

/// All files below, with what is in them.
pub fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.append(&mut files(&path)),
            false => drop(found.insert(path.clone(), fs::read(path).unwrap())),
        }
    }
    found
}

/// A store with something of each kind. `in_order`: all of it in the state, none in the journal.
pub fn make(folder: &Path, in_order: bool) {
    let _alone = binary::FORKS.lock().unwrap_or_else(PoisonError::into_inner);
    // So that tests know the segment's name.
    let settings = Settings { draw: || 0, ..Settings::new(folder.to_owned(), "today".into()) };
    let mut store = durable::open(settings).unwrap();
    store.load().unwrap();
    for change in changes() {
        store.commit(&[change]).unwrap();
    }
    if in_order {
        store.close().unwrap();
    }
}

fn changes() -> Vec<Change> {
    let c = || "c".into();
    let id = |number| PacketId::new(number).unwrap();
    let qos = |number| QoS::new(number).unwrap();
    let message = |topic: &str, payload: &[u8], retain| {
        Message::new(TopicName::new(topic.as_bytes()).unwrap(), payload, qos(1), retain)
    };
    let share = Filter::parse("$share/g/a/+").unwrap();
    let passage =
        |key, q, share| Passage { key: MessageKey(key), qos: qos(q), retain: false, share };
    let keep = |key, payload: &[u8]| Change::KeepMessage {
        key: MessageKey(key),
        message: message("a/b", payload, false),
    };
    vec![
        Change::SaveSession { client_id: c() },
        Change::Subscribe { client_id: c(), filter: share.clone(), qos: qos(2) },
        keep(1, b"one"),
        Change::Deliver { client_id: c(), passage: passage(1, 1, None), id: id(7) },
        keep(2, b"two"),
        Change::Deliver { client_id: c(), passage: passage(2, 2, None), id: id(8) },
        Change::Advance { client_id: c(), id: id(8) },
        keep(3, &[0xFF, 0, b'x']),
        Change::Enqueue { client_id: c(), passage: passage(3, 2, Some(share)) },
        Change::MarkReceived { client_id: c(), id: id(100) },
        Change::Detach { client_id: c(), since: Some(Time(1_700_000_000_000)) },
        Change::SaveSession { client_id: "d".into() },
        Change::KeepWill { client_id: "d".into(), will: message("w", b"gone", true) },
        Change::Retain { message: message("r/1", "\u{fc}\n\"".as_bytes(), true) },
        Change::Retain { message: message("r/2", &[0x80], true) },
    ]
}
