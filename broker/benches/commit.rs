//! What a commit takes beside the disk: facts put into a frame and handed to the system.
//! `cargo bench -p martlet --bench commit`

use std::sync::Arc;
use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use martlet::store::Store;
use martlet::store::durable::{self, Settings, Sync};
use martlet_codec::ids::PacketId;
use martlet_codec::reason::QoS;
use martlet_codec::topic::TopicName;
use martlet_engine::change::{Change, MessageKey, Passage};
use martlet_engine::message::Message;

fn main() {
    divan::main();
}

/// Messages of 64 bytes that a session gets, and acknowledges in the commit behind. Synced once an
/// hour: what a disk takes for a sync is not measured here.
#[divan::bench(args = [1, 20, 1000])]
fn commit(bencher: Bencher<'_, '_>, messages: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = Settings {
        sync: Sync::Interval(Duration::from_secs(3600)),
        ..Settings::new(folder.path().join("data"), "today".to_owned())
    };
    let mut store = durable::open(settings).expect("a store that can be opened");
    store.commit(&[Change::SaveSession { client_id: "c".into() }]).expect("committed");
    let mut number = 0;
    bencher
        .counter(ItemsCount::new(messages))
        .with_inputs(|| {
            number += 1;
            changes(number, messages)
        })
        .bench_local_refs(|changes| store.commit(changes).expect("committed"));
}

fn changes(number: u64, messages: u64) -> Vec<Change> {
    let client_id: Arc<str> = "c".into();
    let id = |n: u64| PacketId::new(1 + n as u16).expect("not zero");
    let topic = TopicName::new(b"site/7/machine/1234/temperature").expect("a topic");
    let settled = (0..if number > 1 { messages } else { 0 }).map(|n| {
        let client_id = client_id.clone();
        Change::Settle { client_id, id: id(n) }
    });
    let come = (0..messages).flat_map(|n| {
        let key = MessageKey(number * messages + n);
        let message = Message::new(topic, &[7; 64], QoS::AtLeastOnce, false);
        let passage = Passage { key, qos: QoS::AtLeastOnce, retain: false, share: None };
        let client_id = client_id.clone();
        [Change::KeepMessage { key, message }, Change::Deliver { client_id, passage, id: id(n) }]
    });
    settled.chain(come).collect()
}
