//! A disk that is really full: a small file system of its own under the real binary.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use rustix::process::Signal;

use crate::binary::{BINARY, Broker, Mounts, run};
use crate::raw::client::{Client, Heard};
use crate::raw::{Connect, Id, Packet, Publish};

const BYTES: usize = 100_000;

/// More than the journal has room ahead for.
fn publish(client: &mut Client, id: u16) {
    let payload = vec![b'a' + id as u8; BYTES];
    let id = Id::Number(id);
    client.send(&Packet::Publish(Publish { qos: 1, id, ..Publish::new("t", payload) }));
}

/// Takes all that the disk has.
fn fill(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("filler");
    let mut file = File::create(&path).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
    path
}

/// Waits until `$SYS` says this of the store.
fn until(client: &mut Client, topic: &str, says: impl Fn(u64) -> bool) {
    let topic = format!("$SYS/broker/martlet/store/{topic}");
    loop {
        let Packet::Publish(publish) = client.expect_packet() else { continue };
        let number = || String::from_utf8_lossy(&publish.payload).parse().unwrap();
        if publish.topic == topic && says(number()) {
            return;
        }
    }
}

fn subscribe(client: &mut Client, filter: &str, qos: u8) {
    let filters = vec![(filter.to_owned(), qos)];
    client.send(&Packet::Subscribe { id: Id::Number(1), filters });
    client.expect(&format!("suback 1 {qos}"));
}

fn connect_kept(broker: &Broker, connack: &str) -> Client {
    let mut client = Client::open(broker.address);
    client.send(&Packet::Connect(Box::new(Connect { clean: false, ..Connect::new("away") })));
    client.expect(connack);
    client
}

/// Nothing is acknowledged while the disk is full; when space comes back all goes on without a
/// restart; and after a kill all that was acknowledged is there.
#[test]
fn a_full_disk_costs_no_message_and_no_restart() {
    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let Some(mounts) = Mounts::new("mount -t tmpfs -o size=6m tmpfs \"$1\"", &disk) else { return };
    let start = || {
        let mut command = mounts.command();
        command.arg(BINARY);
        Broker::start_by(command, dir.path(), &disk.join("data"))
    };
    let mut broker = start();
    subscribe(&mut connect_kept(&broker, "connack 0"), "t", 1);
    let mut watcher = Client::connect(broker.address, "watcher");
    subscribe(&mut watcher, "$SYS/broker/martlet/store/#", 0);
    let mut publisher = Client::connect(broker.address, "publisher");
    publish(&mut publisher, 1);
    publisher.expect("puback 1");
    let filler = fill(&mounts.folder());
    for id in 2..=5 {
        publish(&mut publisher, id);
    }
    broker.wait_for(": Error: The store failed: ");
    assert!(broker.said.contains("No space left on device"), "{}", broker.said);
    until(&mut watcher, "commits/failed", |failed| failed > 0);
    until(&mut watcher, "failing/since", |since| since > 1_700_000_000);
    // Whoever asks for nothing to be kept is served.
    Client::connect(broker.address, "passing by").ping();
    std::fs::remove_file(filler).unwrap();
    broker.wait_for("The store works again");
    for id in 2..=5 {
        publisher.expect(&format!("puback {id}"));
    }
    until(&mut watcher, "failing/since", |since| since == 0);
    broker.end(Signal::KILL);
    let check = run(mounts.command().args([BINARY, "store", "check"]).arg(disk.join("data")));
    assert_eq!(check.code, Some(0), "{check:?}");
    let broker = start();
    let mut away = connect_kept(&broker, "connack 0 present");
    for id in 1..=5 {
        let Heard::Packet(Packet::Publish(message)) = away.hear() else { panic!("no {id}") };
        assert_eq!(message.payload, vec![b'a' + id; BYTES], "message {id}");
    }
    away.ping();
}
