//! The binary is killed under load again and again, each time started on what it left, and in the
//! end every message is accounted for: PUBACK means on disk here.
//!
//! `RESTART_ROUNDS` asks for more rounds and `RESTART_SEED` for other ones.

#![allow(missing_docs, unreachable_pub, reason = "a test")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops here")]

mod raw;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write, stderr};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use martlet::telemetry::Position;
use martlet::telemetry::log::Log;
use rustix::process::{Pid, Signal, kill_process};

use crate::raw::client::{Client, Heard};
use crate::raw::{AckKind, Connect, Id, Packet, Publish};

/// Longer than anything takes unless it is broken.
const PATIENCE: Duration = Duration::from_secs(20);
/// Few, so that each is soon used again.
const IDS: u16 = 12;
const KEPT: &str = "kept";
const FENCE: &str = "load/fence/end";
/// No bound may drop anything here.
const CONFIGURATION: &str = "\
    [[listener]]\naddress = '127.0.0.1:0'\nallow_anonymous = true\n\
    [limits]\nqueue_messages_max = 0\nqueue_bytes_max = 0\n\
    [[telemetry]]\nname = 'load'\nfilters = ['load/publisher-0/#', 'load/+/+']\n";

#[test]
fn killed_under_load_it_loses_nothing_and_repeats_nothing() {
    let rounds = number_from("RESTART_ROUNDS", 12);
    println!("{}", Siege::new(number_from("RESTART_SEED", 1)).run(rounds, Signal::KILL));
}

#[test]
fn stopped_in_order_under_load_it_loses_nothing_and_repeats_nothing() {
    println!("{}", Siege::new(number_from("RESTART_SEED", 2)).run(3, Signal::TERM));
}

#[test]
fn a_second_broker_on_the_same_folder_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let first = Broker::start(dir.path());
    let second = command(dir.path()).output().unwrap();
    let said = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1), "{said}");
    let (_, refusal) = said.split_once(": Error: ").unwrap_or_default();
    let named = refusal.strip_prefix("Cannot keep state: data is in use by process ");
    let words = " (martlet): stop that one, or give this one a folder of its own.\n";
    assert!(named.is_some_and(|named| named.ends_with(words)), "{said}");
    Client::connect(first.address, "unharmed").ping();
    first.end(Signal::KILL);
    Broker::start(dir.path()).end(Signal::TERM);
}

/// Publishers and subscribers with sessions that outlive the broker, and the broker's folder.
struct Siege {
    dir: tempfile::TempDir,
    dice: Dice,
    publishers: Vec<Publisher>,
    subscribers: Vec<Subscriber>,
    account: Account,
}

/// What a siege came to; printed whenever it fails.
#[derive(Default)]
struct Account {
    seed: u64,
    /// How much was heard before each end, and where the broker was when it came.
    ends: Vec<String>,
    acknowledged: usize,
    delivered: usize,
    /// Repeats that QoS 1 allows.
    repeated: usize,
    /// Records in the log.
    recorded: u64,
    wrongs: Vec<String>,
}

impl Siege {
    fn new(seed: u64) -> Self {
        let publishers = [1, 1, 2, 2].iter().enumerate();
        Self {
            dir: tempfile::tempdir().unwrap(),
            dice: Dice(seed),
            publishers: publishers.map(|(i, qos)| Publisher::new(i, *qos)).collect(),
            subscribers: [1, 2].map(Subscriber::new).into(),
            account: Account::new(seed),
        }
    }

    fn run(mut self, rounds: u64, signal: Signal) -> Account {
        self.begin(signal);
        for _ in 0..rounds {
            if signal == Signal::KILL && self.dice.below(4) == 0 {
                Broker::spawn(self.dir.path(), "Opening the store").end(signal);
                self.account.ends.push("while it started".to_owned());
            }
            let broker = Broker::start(self.dir.path());
            self.check_retained(broker.address);
            self.load(broker, signal);
        }
        let broker = Broker::start(self.dir.path());
        self.check_retained(broker.address);
        self.settle(broker.address);
        self.check_retained(broker.address);
        broker.end(signal);
        let broker = Broker::start(self.dir.path());
        self.check_quiet(broker.address);
        self.check_retained(broker.address);
        let said = broker.end(signal);
        // Nothing that was settled is kept either.
        assert!(said.contains("The store holds 6 sessions, 0 messages for them"), "{said}");
        self.settle_account();
        self.settle_log();
        assert!(self.account.wrongs.is_empty(), "the account says what is wrong");
        self.account
    }

    /// Sessions and subscriptions; what is acknowledged here is there after any end.
    fn begin(&self, signal: Signal) {
        let broker = Broker::start(self.dir.path());
        for id in self.client_ids() {
            let mut client = connect(broker.address, id, "connack 0");
            if let Some(subscriber) = self.subscribers.iter().find(|s| s.id == id) {
                let filters = vec![("load/#".to_owned(), subscriber.qos)];
                client.send(&Packet::Subscribe { id: Id::Number(1), filters });
                client.expect(&format!("suback 1 {}", subscriber.qos));
            }
        }
        broker.end(signal);
    }

    fn client_ids(&self) -> impl Iterator<Item = &str> {
        let publishers = self.publishers.iter().map(|publisher| publisher.id.as_str());
        publishers.chain(self.subscribers.iter().map(|subscriber| subscriber.id.as_str()))
    }

    /// All clients at once, until the broker ends after some number of packets.
    fn load(&mut self, broker: Broker, signal: Signal) {
        let (tick, ticks) = sync_channel(64);
        let until = self.dice.below(1500);
        let address = broker.address;
        thread::scope(|scope| {
            for publisher in &mut self.publishers {
                let tick = tick.clone();
                scope.spawn(move || publisher.publish(address, true, &tick));
            }
            for subscriber in &mut self.subscribers {
                let tick = tick.clone();
                scope.spawn(move || subscriber.listen(address, &tick));
            }
            drop(tick);
            for _ in 0..until {
                ticks.recv_timeout(PATIENCE).expect("the clients go on as long as the broker does");
            }
            // Nobody is held up by ticks that nobody takes.
            drop(ticks);
            broker.end(signal);
        });
        self.account.ends.push(format!("after {until} packets"));
    }

    /// What is open on either side is completed, and nothing new is begun.
    fn settle(&mut self, address: SocketAddr) {
        let (tick, _) = sync_channel(1);
        thread::scope(|scope| {
            for publisher in &mut self.publishers {
                let tick = &tick;
                scope.spawn(move || publisher.publish(address, false, tick));
            }
        });
        let mut client = Client::connect(address, "fence");
        let fence = Publish { qos: 1, id: Id::Number(1), ..Publish::new(FENCE, "0") };
        client.send(&Packet::Publish(fence));
        client.expect("puback 1");
        for subscriber in &mut self.subscribers {
            subscriber.listen(address, &tick);
        }
        // Commits are in order: when this one is on disk, so is what the subscribers settled.
        let last = Publish { qos: 1, retain: true, id: Id::Number(2), ..Publish::new("last", "0") };
        client.send(&Packet::Publish(last));
        client.expect("puback 2");
    }

    /// Nothing that was settled comes back.
    fn check_quiet(&mut self, address: SocketAddr) {
        for id in self.client_ids() {
            connect(address, id, "connack 0 present").ping();
        }
    }

    /// The newest retained message is the last one acknowledged, or one that was sent after it.
    fn check_retained(&mut self, address: SocketAddr) {
        let mut client = Client::connect(address, "onlooker");
        let filters = vec![(format!("load/+/{KEPT}"), 0)];
        client.send(&Packet::Subscribe { id: Id::Number(1), filters });
        client.send(&Packet::PingReq);
        let mut retained = HashMap::new();
        loop {
            match client.expect_packet() {
                Packet::Publish(message) => {
                    assert!(message.retain, "{message}");
                    retained.insert(message.topic, number(&message.payload));
                }
                Packet::PingResp => break,
                packet => assert_eq!(packet.to_string(), "suback 1 0"),
            }
        }
        let round = self.account.ends.len();
        for publisher in &self.publishers {
            let found = retained.get(&publisher.topic(KEPT)).copied();
            let (acknowledged, sent) = (publisher.kept_acknowledged, publisher.kept_sent);
            if found < acknowledged || found > sent {
                self.account.wrongs.push(format!(
                    "round {round}: retained for {} is {found:?}; the last acknowledged is \
                     {acknowledged:?}, the last sent {sent:?}",
                    publisher.id
                ));
            }
        }
    }

    fn settle_account(&mut self) {
        let Account { acknowledged, delivered, repeated, wrongs, .. } = &mut self.account;
        for publisher in &self.publishers {
            assert!(publisher.open.is_empty(), "all was completed");
            *acknowledged += publisher.acknowledged.len();
        }
        for subscriber in &self.subscribers {
            let mut seen = HashSet::new();
            let mut newest = HashMap::new();
            for (topic, sequence) in &subscriber.delivered {
                if !seen.insert((topic.as_str(), *sequence)) {
                    *repeated += 1;
                    let publisher = self.publishers.iter().find(|p| p.owns(topic)).unwrap();
                    if subscriber.qos == 2 && publisher.qos == 2 {
                        wrongs.push(format!("{}: {topic} {sequence} twice", subscriber.id));
                    }
                } else if newest.insert(topic.as_str(), *sequence) > Some(*sequence) {
                    wrongs.push(format!("{}: {topic} {sequence} too late", subscriber.id));
                }
            }
            *delivered += seen.len();
            for (topic, sequence) in self.publishers.iter().flat_map(|p| &p.acknowledged) {
                if !seen.remove(&(topic.as_str(), *sequence)) {
                    wrongs.push(format!("{}: {topic} {sequence} is lost", subscriber.id));
                }
            }
            assert!(seen.is_empty(), "never sent: {seen:?}");
        }
        if *acknowledged == 0 {
            wrongs.push("nothing was acknowledged, so nothing was tested".to_owned());
        }
    }
}

impl Siege {
    /// What was acknowledged is in the log: once, unless its publisher had to send it again at
    /// QoS 1; and nothing else is there.
    fn settle_log(&mut self) {
        let log = Log::look(&self.dir.path().join("data")).expect("it was written");
        let mut reader = log.reader("load", Position::Earliest, None).expect("it was recorded");
        let mut found: HashMap<(String, u64), u64> = HashMap::new();
        let Account { recorded, wrongs, .. } = &mut self.account;
        while let Some(record) = reader.next().expect("a disk that can be read") {
            assert_eq!(record.offset, *recorded, "no gap");
            *recorded += 1;
            if record.topic == FENCE {
                continue;
            }
            let publisher = self.publishers.iter().find(|p| p.owns(record.topic)).unwrap();
            assert_eq!(record.client_id, Some(publisher.id.as_str()));
            *found.entry((record.topic.to_owned(), number(record.payload))).or_default() += 1;
        }
        for publisher in &self.publishers {
            for message in &publisher.acknowledged {
                let times = found.remove(message).unwrap_or(0);
                let may_repeat = publisher.qos == 1 && publisher.sent_again.contains(message);
                if times == 0 || (times > 1 && !may_repeat) {
                    wrongs.push(format!("{message:?} is {times} times in the log"));
                }
            }
        }
        assert!(found.is_empty(), "never sent: {found:?}");
    }
}

impl Account {
    fn new(seed: u64) -> Self {
        let mut account = Self::default();
        account.seed = seed;
        account
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if thread::panicking() {
            // Whoever asked for silence gets it.
            let _ = writeln!(stderr(), "{self}");
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "RESTART_SEED={}", self.seed)?;
        writeln!(f, "{} ends: {}", self.ends.len(), self.ends.join(", "))?;
        writeln!(f, "{} messages acknowledged to publishers", self.acknowledged)?;
        writeln!(f, "{} delivered, {} repeated", self.delivered, self.repeated)?;
        writeln!(f, "{} in the log", self.recorded)?;
        writeln!(f, "{} wrongs", self.wrongs.len())?;
        self.wrongs.iter().take(50).try_for_each(|wrong| writeln!(f, "  {wrong}"))
    }
}

/// A client that keeps what it sent until it is acknowledged.
struct Publisher {
    id: String,
    qos: u8,
    next: u64,
    open: VecDeque<Open>,
    /// Topics and sequence numbers.
    acknowledged: Vec<(String, u64)>,
    /// Those of which nobody knew whether they had come.
    sent_again: HashSet<(String, u64)>,
    kept_sent: Option<u64>,
    kept_acknowledged: Option<u64>,
}

struct Open {
    message: Publish,
    sequence: u64,
    /// PUBREC came: what is open is the PUBREL.
    received: bool,
}

impl Publisher {
    fn new(number: usize, qos: u8) -> Self {
        Self {
            id: format!("publisher-{number}"),
            qos,
            next: 1,
            open: VecDeque::new(),
            acknowledged: Vec::new(),
            sent_again: HashSet::new(),
            kept_sent: None,
            kept_acknowledged: None,
        }
    }

    fn topic(&self, last: &str) -> String {
        format!("load/{}/{last}", self.id)
    }

    fn owns(&self, topic: &str) -> bool {
        topic.starts_with(&self.topic(""))
    }

    /// Goes on where the last connection ended, until this one does or nothing is open.
    fn publish(&mut self, address: SocketAddr, begin_new: bool, tick: &SyncSender<()>) {
        let Some(mut client) = resume(address, &self.id) else { return };
        // [MQTT-4.4.0-1]
        for open in &mut self.open {
            open.message.dup = true;
            self.sent_again.insert((open.message.topic.clone(), open.sequence));
            client.send(&open.packet());
        }
        loop {
            while begin_new && self.open.len() < usize::from(IDS) {
                client.send(&self.begin());
            }
            if self.open.is_empty() {
                client.ping();
                return;
            }
            match client.hear() {
                Heard::Packet(Packet::Ack(kind, Id::Number(id))) => {
                    self.hear(&mut client, kind, id)
                }
                Heard::Closed => return,
                other => panic!("{}: {other:?} is no acknowledgement", self.id),
            }
            // Whoever counts has heard enough.
            let _ = tick.send(());
        }
    }

    fn begin(&mut self) -> Packet {
        let (sequence, qos) = (self.next, self.qos);
        self.next += 1;
        let retain = sequence.is_multiple_of(3);
        if retain {
            self.kept_sent = Some(sequence);
        }
        let topic = self.topic(if retain { KEPT } else { ["a", "b"][sequence as usize % 2] });
        let used = |id: &u16| self.open.iter().any(|open| open.message.id == Id::Number(*id));
        let id = Id::Number((1..=IDS).find(|id| !used(id)).unwrap());
        let message =
            Publish { qos, retain, id, ..Publish::new(&topic, sequence.to_string().as_bytes()) };
        self.open.push_back(Open { message, sequence, received: false });
        self.open.back().unwrap().packet()
    }

    fn hear(&mut self, client: &mut Client, kind: AckKind, id: u16) {
        let at = self.open.iter().position(|open| open.message.id == Id::Number(id));
        let at = at.unwrap_or_else(|| panic!("{}: {kind:?} {id} for nothing", self.id));
        let open = &mut self.open[at];
        match (kind, self.qos, open.received) {
            (AckKind::PubRec, 2, false) => {
                open.received = true;
                client.send(&open.packet());
            }
            (AckKind::PubAck, 1, false) | (AckKind::PubComp, 2, true) => {
                let Open { message, sequence, .. } = self.open.remove(at).unwrap();
                if message.retain {
                    self.kept_acknowledged = self.kept_acknowledged.max(Some(sequence));
                }
                self.acknowledged.push((message.topic, sequence));
            }
            _ => panic!("{}: {kind:?} {id} for {}", self.id, open.packet()),
        }
    }
}

impl Open {
    fn packet(&self) -> Packet {
        match self.received {
            false => Packet::Publish(self.message.clone()),
            true => Packet::Ack(AckKind::PubRel, self.message.id.clone()),
        }
    }
}

/// A client that acknowledges all, and remembers the ids of QoS 2 it has received.
struct Subscriber {
    id: String,
    qos: u8,
    received: BTreeMap<u16, Publish>,
    /// Topics and sequence numbers, as they came.
    delivered: Vec<(String, u64)>,
}

impl Subscriber {
    fn new(qos: u8) -> Self {
        let id = format!("subscriber-{qos}");
        Self { id, qos, received: BTreeMap::new(), delivered: Vec::new() }
    }

    /// Listens until the connection ends or the fence has come and nothing is open.
    fn listen(&mut self, address: SocketAddr, tick: &SyncSender<()>) {
        let Some(mut client) = resume(address, &self.id) else { return };
        let mut at_fence = false;
        while !at_fence || !self.received.is_empty() {
            let (kind, id) = match client.hear() {
                Heard::Packet(Packet::Publish(message)) => {
                    at_fence |= message.topic == FENCE;
                    self.take(message)
                }
                Heard::Packet(Packet::Ack(AckKind::PubRel, Id::Number(id))) => {
                    self.received.remove(&id);
                    (AckKind::PubComp, id)
                }
                Heard::Closed => return,
                other => panic!("{}: {other:?} is no message", self.id),
            };
            client.send(&Packet::Ack(kind, Id::Number(id)));
            let _ = tick.send(());
        }
        client.ping();
    }

    /// What is owed for a message.
    fn take(&mut self, message: Publish) -> (AckKind, u16) {
        let (id, qos) = (message.id.get(), message.qos);
        assert!(!message.retain, "{}: {message}", self.id);
        if let Some(open) = self.received.get(&id) {
            // [MQTT-4.3.3-2]: the same message again, or the id was used for two.
            assert_eq!((&open.topic, &open.payload), (&message.topic, &message.payload));
            assert!(qos == 2 && message.dup, "{}: {message} while {open}", self.id);
            return (AckKind::PubRec, id);
        }
        if message.topic != FENCE {
            self.delivered.push((message.topic.clone(), number(&message.payload)));
        }
        if qos == 1 {
            return (AckKind::PubAck, id);
        }
        self.received.insert(id, message);
        (AckKind::PubRec, id)
    }
}

/// A connection of a session that is there; none if the broker ends meanwhile.
fn resume(address: SocketAddr, id: &str) -> Option<Client> {
    let mut client = Client::try_open(address).ok()?;
    client.send(&Packet::Connect(Box::new(Connect { clean: false, ..Connect::new(id) })));
    match client.hear() {
        Heard::Packet(packet) => assert_eq!(packet.to_string(), "connack 0 present", "{id}"),
        Heard::Closed => return None,
        Heard::Silence => panic!("{id}: no CONNACK"),
    }
    Some(client)
}

fn connect(address: SocketAddr, id: &str, connack: &str) -> Client {
    let mut client = Client::open(address);
    client.send(&Packet::Connect(Box::new(Connect { clean: false, ..Connect::new(id) })));
    client.expect(connack);
    client
}

/// The binary as a process; killed when a test fails.
struct Broker {
    child: Child,
    address: SocketAddr,
    log: Option<JoinHandle<String>>,
}

impl Broker {
    fn start(dir: &Path) -> Self {
        Self::spawn(dir, " running")
    }

    /// Starts it and waits until it says these words.
    fn spawn(dir: &Path, words: &str) -> Self {
        let mut child = command(dir).stderr(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut broker = Self { child, address: ([127, 0, 0, 1], 0).into(), log: None };
        let mut said = String::new();
        loop {
            let start = said.len();
            log.read_line(&mut said).unwrap();
            let line = &said[start..];
            assert!(!line.is_empty(), "ended without saying {words:?}:\n{said}");
            if let Some((_, address)) = line.split_once("address=") {
                broker.address = address.trim().parse().unwrap();
            }
            if line.contains(words) {
                break;
            }
        }
        // Read on: a full pipe would hold the broker up.
        broker.log = Some(thread::spawn(move || {
            log.read_to_string(&mut said).unwrap();
            said
        }));
        broker
    }

    /// Ends it, and says what it logged.
    fn end(mut self, signal: Signal) -> String {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let status = self.child.wait().unwrap();
        let said = self.log.take().unwrap().join().unwrap();
        let in_order = signal == Signal::TERM;
        assert_eq!(status.code(), in_order.then_some(0), "{said}");
        // Where root runs the tests, the broker says that it need not be root.
        let worse = |line: &&str| !line.contains("Martlet runs as root");
        for word in ["Error", "Warning", "panicked", "damage"] {
            let found = said.lines().filter(worse).find(|line| line.contains(word));
            assert!(found.is_none(), "{word:?} in:\n{said}");
        }
        said
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Ended already, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(dir: &Path) -> Command {
    fs::write(dir.join("martlet.toml"), CONFIGURATION).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_martlet"));
    command.current_dir(dir).env_clear().args(["-c", "martlet.toml", "--data", "data"]);
    command
}

fn number(payload: &[u8]) -> u64 {
    std::str::from_utf8(payload).unwrap().parse().unwrap()
}

fn number_from(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// Random numbers from a seed: SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }
}
