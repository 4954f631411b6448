//! A promise waits for its fact to be on disk (I2), and nothing else waits.

#![allow(missing_docs, unreachable_pub, reason = "a test")]

mod running;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use martlet::server::Server;
use martlet::store::{Store, StoreError};
use martlet_engine::change::Change;
use martlet_engine::snapshot::Snapshot;
use tokio::sync::oneshot;

/// A disk that takes until the test says so.
struct SlowDisk {
    started: mpsc::SyncSender<usize>,
    /// Whether the commit that waits succeeds.
    allowed: mpsc::Receiver<bool>,
}

impl Store for SlowDisk {
    fn load(&mut self) -> Result<Snapshot, StoreError> {
        Ok(Snapshot::default())
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        // The test may be over already, and then nobody asks any more.
        let _ = self.started.send(changes.len());
        if self.allowed.recv().unwrap_or(true) {
            return Ok(());
        }
        let source = std::io::ErrorKind::StorageFull.into();
        Err(StoreError::Io { doing: "writing".into(), source })
    }
}

struct Broker {
    address: SocketAddr,
    /// One number for each commit that has begun: how many changes it has.
    commits: mpsc::Receiver<usize>,
    /// One message lets one commit end.
    allow: Option<mpsc::SyncSender<bool>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Broker {
    fn start() -> Self {
        let (started, commits) = mpsc::sync_channel(1000);
        let (allow, allowed) = mpsc::sync_channel(1000);
        let (stop, stopped) = oneshot::channel::<()>();
        let (say, said) = mpsc::sync_channel(1);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(async {
                let disk = Box::new(SlowDisk { started, allowed });
                let server = Server::start(running::settings(), disk).expect("it starts");
                say.send(server.addresses()[0]).expect("the test listens");
                server.run(async { drop(stopped.await) }).await;
            });
        });
        let address = said.recv().expect("it starts");
        let (allow, stop, thread) = (Some(allow), Some(stop), Some(thread));
        Self { address, commits, allow, stop, thread }
    }

    fn connect(&self, client_id: &str, clean_session: bool) -> Client {
        let socket = TcpStream::connect(self.address).expect("it listens");
        socket.set_read_timeout(Some(LONG)).expect("a timeout");
        let mut connect = vec![0x10, 12 + client_id.len() as u8, 0, 4];
        connect.extend(b"MQTT\x04");
        connect.extend([u8::from(clean_session) << 1, 0, 0, 0, client_id.len() as u8]);
        connect.extend(client_id.as_bytes());
        let mut client = Client { socket };
        client.send(&connect);
        client
    }

    /// A persistent session that is subscribed to `s`.
    fn sleeper(&self) -> Client {
        let mut sleeper = self.connect("sleeper", false);
        self.commit();
        sleeper.expect(&CONNACK);
        sleeper.send(&[0x82, 6, 0, 1, 0, 1, b's', 1]);
        self.commit();
        sleeper.expect(&[0x90, 3, 0, 1, 1]);
        sleeper
    }

    /// Waits until a commit begins.
    fn commit_begins(&self) -> usize {
        self.commits.recv_timeout(LONG).expect("a commit begins")
    }

    fn commit_ends(&self) {
        self.allow.as_ref().expect("until the end").send(true).expect("the disk waits");
    }

    fn commit_fails(&self) {
        self.allow.as_ref().expect("until the end").send(false).expect("the disk waits");
    }

    fn commit(&self) {
        self.commit_begins();
        self.commit_ends();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(self.allow.take());
        let _ = self.stop.take().map(|stop| stop.send(()));
        let ended = self.thread.take().map(std::thread::JoinHandle::join);
        assert!(std::thread::panicking() || matches!(ended, Some(Ok(()))), "it stops in order");
    }
}

struct Client {
    socket: TcpStream,
}

impl Client {
    fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("it takes bytes");
    }

    fn expect(&mut self, bytes: &[u8]) {
        let mut received = vec![0; bytes.len()];
        self.socket.read_exact(&mut received).expect("bytes come");
        assert_eq!(received, bytes);
    }

    /// Nothing is there to read (and the broker has had every chance to send: the test has seen it
    /// do later things).
    fn has_nothing(&mut self) {
        self.socket.set_nonblocking(true).expect("a socket");
        let error = self.socket.read(&mut [0; 1]).expect_err("nothing is there");
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
        self.socket.set_nonblocking(false).expect("a socket");
    }

    /// A ping goes round, and nothing else came before it.
    fn ping(&mut self) {
        self.send(&[0xc0, 0]);
        self.expect(&[0xd0, 0]);
    }
}

/// Longer than anything takes unless it is broken.
const LONG: Duration = Duration::from_secs(20);

const CONNACK: [u8; 4] = [0x20, 2, 0, 0];

fn publish(topic: &str, id: u8) -> Vec<u8> {
    let mut packet = vec![0x32, 5 + topic.len() as u8, 0, topic.len() as u8];
    packet.extend(topic.as_bytes());
    packet.extend([0, id, b'x']);
    packet
}

#[test]
fn an_acknowledgement_of_what_a_persistent_session_gets_waits_for_the_disk() {
    let broker = Broker::start();
    let _sleeper = broker.sleeper();
    let mut publisher = broker.connect("publisher", true);
    publisher.expect(&CONNACK);
    publisher.send(&publish("s", 7));
    broker.commit_begins();
    let mut bystander = broker.connect("bystander", true);
    bystander.expect(&CONNACK);
    bystander.ping();
    publisher.has_nothing();
    broker.commit_ends();
    publisher.expect(&[0x40, 2, 0, 7]);
}

#[test]
fn a_message_reaches_its_subscriber_at_qos_1_before_the_disk_and_at_qos_2_after() {
    let broker = Broker::start();
    let mut sleeper = broker.sleeper();
    let mut publisher = broker.connect("publisher", true);
    publisher.expect(&CONNACK);
    publisher.send(&publish("s", 7));
    broker.commit_begins();
    sleeper.expect(&[0x32, 6, 0, 1, b's', 0, 1, b'x']);
    publisher.has_nothing();
    broker.commit_ends();
    publisher.expect(&[0x40, 2, 0, 7]);
    sleeper.send(&[0x82, 6, 0, 1, 0, 1, b's', 2]);
    broker.commit();
    sleeper.expect(&[0x90, 3, 0, 1, 2]);
    let mut twice = publish("s", 8);
    twice[0] = 0x34;
    publisher.send(&twice);
    broker.commit_begins();
    let mut bystander = broker.connect("bystander", true);
    bystander.expect(&CONNACK);
    bystander.ping();
    publisher.has_nothing();
    sleeper.has_nothing();
    broker.commit_ends();
    publisher.expect(&[0x50, 2, 0, 8]);
    sleeper.expect(&[0x34, 6, 0, 1, b's', 0, 2, b'x']);
}

#[test]
fn what_changes_nothing_durable_waits_for_nothing() {
    let broker = Broker::start();
    let mut subscriber = broker.connect("subscriber", true);
    subscriber.expect(&CONNACK);
    subscriber.send(&[0x82, 6, 0, 1, 0, 1, b't', 1]);
    subscriber.expect(&[0x90, 3, 0, 1, 1]);
    let mut publisher = broker.connect("publisher", true);
    publisher.expect(&CONNACK);
    publisher.send(&publish("t", 7));
    publisher.expect(&[0x40, 2, 0, 7]);
    subscriber.expect(&[0x32, 6, 0, 1, b't', 0, 1, b'x']);
    publisher.ping();
    assert!(broker.commits.try_recv().is_err(), "no commit was needed");
}

#[test]
fn one_commit_takes_what_gathered_while_the_disk_was_busy() {
    let broker = Broker::start();
    let _sleeper = broker.sleeper();
    let mut publisher = broker.connect("publisher", true);
    publisher.expect(&CONNACK);
    publisher.send(&publish("s", 1));
    let alone = broker.commit_begins();
    let mut others: Vec<_> = (2..=9)
        .map(|id| {
            let mut other = broker.connect(&format!("p{id}"), true);
            other.expect(&CONNACK);
            other.send(&publish("s", id));
            other.send(&[0xc0, 0]);
            (id, other)
        })
        .collect();
    let mut bystander = broker.connect("bystander", true);
    bystander.expect(&CONNACK);
    bystander.ping();
    for (_, other) in &mut others {
        other.has_nothing();
    }
    broker.commit_ends();
    publisher.expect(&[0x40, 2, 0, 1]);
    let mut gathered = broker.commit_begins();
    broker.commit_ends();
    while gathered < 8 * alone {
        gathered += broker.commit_begins();
        broker.commit_ends();
    }
    for (id, other) in &mut others {
        other.expect(&[0x40, 2, 0, *id, 0xd0, 0]);
    }
}

#[test]
fn no_acknowledgement_leaves_while_the_disk_fails_and_none_is_lost() {
    let broker = Broker::start();
    let _sleeper = broker.sleeper();
    let mut publisher = broker.connect("publisher", true);
    publisher.expect(&CONNACK);
    publisher.send(&publish("s", 7));
    for _ in 0..2 {
        broker.commit_begins();
        broker.commit_fails();
    }
    broker.commit_begins();
    let mut bystander = broker.connect("bystander", true);
    bystander.expect(&CONNACK);
    bystander.ping();
    publisher.has_nothing();
    broker.commit_ends();
    publisher.expect(&[0x40, 2, 0, 7]);
}
