//! One engine, a few clients, and a network and a disk that fail: what happens next is the seed's
//! choice.

use std::collections::VecDeque;

use martlet_codec::reason::{ProtocolVersion, QoS};
use martlet_codec::topic::TopicName;
use martlet_engine::effects::OutPacket;
use martlet_engine::filter::Filter;
use martlet_engine::input::{Connect, InPacket, Input, LinkId, LostCause, Time};
use martlet_engine::limits::Limits;
use martlet_engine::message::Message;
use martlet_engine::snapshot::Snapshot;

use crate::client::Client;
use crate::keeper::OnDisk;
use crate::machine::{Machine, Parcel};
use crate::model::{Model, Published, Tally, Verdict};
use crate::random::Random;
use crate::simulated::dice::Dice;
use crate::simulated::{Cuts, Faults, Simulated};

const TOPICS: [&str; 7] = ["a", "a/b", "a/b/c", "b", "b/c", "/b", "$x/y"];
/// No two shares have a topic in common, so that it is clear which one brings a message.
const FILTERS: [&str; 13] = [
    "a",
    "a/b",
    "a/#",
    "a/+",
    "+/b",
    "#",
    "b/c",
    "+",
    "+/+/#",
    "$x/#",
    "$share/g/a/#",
    "$share/g/b",
    "$share/h/b/c",
];
/// No run needs so many to come to rest.
const CALM_STEPS_MAX: usize = 400_000;

/// What the seed chose once: how often what happens, in shares of all steps.
struct Rates {
    act: usize,
    up: usize,
    down: usize,
    pump: usize,
    answer: usize,
    commit: usize,
    time: usize,
    cut: usize,
    crash: usize,
    /// The disk begins to refuse, or is well again.
    disk: usize,
}

/// Where committed facts go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keeping {
    /// To a snapshot in memory, which nothing happens to.
    InMemory,
    /// To the real store, on a simulated disk.
    OnDisk,
}

/// What one seed came to.
pub struct Outcome {
    pub tally: Tally,
    /// Of all effects, in a number.
    pub digest: u64,
    /// At which operations of the disk the power went.
    pub cuts: Cuts,
}

struct World {
    random: Random,
    rates: Rates,
    machine: Machine,
    model: Model,
    /// What the machine keeps its facts on, if anything can go wrong with it.
    disk: Option<Simulated>,
    clients: Vec<Client>,
    connections: Vec<Connection>,
    room_bytes: u32,
    payload_max: usize,
    retain_percent: usize,
}

/// A connection, with what is on its way.
struct Connection {
    client: usize,
    link: LinkId,
    up: VecDeque<Up>,
    down: VecDeque<Down>,
    /// What the client sends arrives nowhere, and nobody is told.
    dead: bool,
    /// The client does not read.
    stalled: bool,
    /// The broker's end is gone.
    over: bool,
}

enum Up {
    Open(Box<Connect>),
    Packet(InPacket),
    Lost,
}

enum Down {
    Packet(OutPacket),
    Closed,
}

/// Everything that one seed brings about.
pub fn run(seed: u64, keeping: Keeping) -> Result<Outcome, String> {
    let mut world = World::new(seed, keeping);
    let steps = world.random.between(300, 2500);
    for step in 0..steps {
        world.step().map_err(|fault| format!("step {step}: {fault}"))?;
    }
    world.calm().map_err(|fault| format!("in the calm afterwards: {fault}"))?;
    let World { model, machine, disk, .. } = world;
    let cuts = disk.map(|disk| disk.cuts()).unwrap_or_default();
    Ok(Outcome { tally: model.tally, digest: machine.digest, cuts })
}

impl World {
    fn new(seed: u64, keeping: Keeping) -> Self {
        let mut random = Random::new(seed);
        let limits = Limits {
            inflight_max: *random.one(&[1, 2, 5, 20, 256]),
            inflight_qos2_max: *random.one(&[1, 3, 20]),
            queue_messages_max: *random.one(&[0, 0, 0, 3, 1000]),
            queue_qos0: random.percent(20),
            sys_interval_s: 0,
            ..Limits::default()
        };
        let faulty = random.percent(80);
        let fault = |random: &mut Random, most| if faulty { random.below(most) } else { 0 };
        let rates = Rates {
            act: random.between(10, 60),
            up: random.between(10, 60),
            down: random.between(10, 60),
            pump: random.between(10, 60),
            answer: random.between(10, 60),
            commit: *random.one(&[1, 5, 30]),
            time: random.between(1, 5),
            cut: fault(&mut random, 4),
            crash: fault(&mut random, 3),
            disk: if keeping == Keeping::OnDisk { fault(&mut random, 6) } else { 0 },
        };
        let clients = random.between(2, 6);
        let received_max = usize::from(limits.inflight_qos2_max);
        let clients =
            (0..clients).map(|n| Client::new(format!("c{n}"), random.percent(65), received_max));
        let clients: Vec<Client> = clients.collect();
        let mut model = Model::new(limits.clone());
        for topic in TOPICS {
            model.published.push(Published {
                by: "anybody".into(),
                topic: topic.into(),
                qos: QoS::AtMostOnce,
                retain: true,
                empty: true,
            });
        }
        let now = Time(1_000_000);
        let (machine, disk) = match keeping {
            Keeping::InMemory => (Machine::new(limits, Snapshot::default(), now), None),
            Keeping::OnDisk => {
                let disk = Simulated::new(random.next());
                let keeper = Box::new(OnDisk::new(disk.clone(), Dice(random.next())));
                (Machine::with_keeper(limits, keeper, now), Some(disk))
            }
        };
        Self {
            rates,
            machine,
            model,
            disk,
            clients,
            connections: Vec::new(),
            room_bytes: random.between(500, 20_000) as u32,
            payload_max: *random.one(&[8, 50, 3000]),
            retain_percent: *random.one(&[0, 10, 40]),
            random,
        }
    }

    fn step(&mut self) -> Verdict {
        let Rates { act, up, down, pump, answer, commit, time, cut, crash, disk } = self.rates;
        let shares = [act, up, down, pump, answer, commit, time, cut, disk];
        let mut draw = self.random.below(shares.iter().sum::<usize>() + 1);
        for (what, share) in shares.into_iter().enumerate() {
            if draw < share {
                return self.take_step(what);
            }
            draw -= share;
        }
        // Once in a long while.
        if self.random.percent(crash * 40) { self.crash() } else { Ok(()) }
    }

    fn take_step(&mut self, what: usize) -> Verdict {
        let connection = match self.connections.len() {
            0 => None,
            count => Some(self.random.below(count)),
        };
        match (what, connection) {
            (0, _) => self.act(),
            (1, Some(connection)) => self.arrive(connection),
            (2, Some(connection)) => self.deliver(connection),
            (3, Some(connection)) => self.pump(connection).map(|_| ()),
            (4, _) => {
                let client = self.random.below(self.clients.len());
                self.answer(client);
                Ok(())
            }
            (5, _) => {
                let batches = self.random.between(1, 10);
                self.commit(batches)
            }
            (6, _) => {
                let far = self.random.percent(10);
                let millis = self.random.between(1, if far { 20_000 } else { 1000 });
                self.advance(millis as u64)
            }
            (7, Some(connection)) => {
                self.cut(connection);
                Ok(())
            }
            (8, _) => {
                self.trouble_disk();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A client does something of its own accord.
    fn act(&mut self) -> Verdict {
        let client = self.random.below(self.clients.len());
        let Some(connection) = self.clients[client].connection else {
            self.connect(client);
            return Ok(());
        };
        if self.connections[connection].dead && self.random.percent(30) {
            // It has waited long enough for an answer.
            self.connect(client);
            return Ok(());
        }
        if !self.clients[client].connected {
            return Ok(());
        }
        let packet = match self.random.below(100) {
            0..70 => self.publish(client),
            70..84 => {
                let count = self.random.between(1, 3);
                let subscriptions = (0..count).map(|_| {
                    let filter = self.filter();
                    (filter, *self.random.one(&QOS))
                });
                let subscriptions: Box<[(Filter, QoS)]> = subscriptions.collect();
                let shares = subscriptions.iter().any(|(filter, _)| filter.share().is_some());
                self.clients[client].shares |= shares;
                Some(InPacket::Subscribe {
                    id: self.clients[client].free_id(),
                    subscriptions,
                    beyond: 0,
                })
            }
            84..90 => {
                let filter = self.filter();
                let id = self.clients[client].free_id();
                Some(InPacket::Unsubscribe { id, filters: [filter].into() })
            }
            90..94 => Some(InPacket::PingReq),
            94..96 => Some(InPacket::Disconnect),
            96 => Some(InPacket::Forbidden { rule: "MQTT-3.1.0-2" }),
            97 => {
                // Somebody with the same client id, or the same one on another network.
                self.connect(client);
                None
            }
            _ => {
                let stalled = &mut self.connections[connection].stalled;
                *stalled = !*stalled;
                None
            }
        };
        self.connections[connection].up.extend(packet.map(Up::Packet));
        Ok(())
    }

    fn filter(&mut self) -> Filter {
        let text = *self.random.one(&FILTERS);
        Filter::parse(text).expect("a filter")
    }

    fn publish(&mut self, client: usize) -> Option<InPacket> {
        if self.clients[client].outstanding() > 15 {
            return None;
        }
        let retain = self.random.percent(self.retain_percent);
        if retain && self.random.percent(20) {
            let empty = TopicName::new(self.random.one(&TOPICS).as_bytes()).expect("a topic");
            let message = Message::new(empty, b"", QoS::AtMostOnce, true);
            return Some(self.clients[client].publish(message));
        }
        let by = self.clients[client].id.clone();
        let message = self.message(by, retain);
        Some(self.clients[client].publish(message))
    }

    /// A message that is not like any other.
    fn message(&mut self, by: String, retain: bool) -> Message {
        let topic = *self.random.one(&TOPICS);
        let qos = *self.random.one(&QOS);
        let number = self.model.published.len() as u32;
        self.model.published.push(Published { by, topic: topic.into(), qos, retain, empty: false });
        let mut payload = number.to_be_bytes().to_vec();
        payload.resize(4 + self.random.below(self.payload_max), b'.');
        let topic = TopicName::new(topic.as_bytes()).expect("a topic");
        Message::new(topic, &payload, qos, retain)
    }

    /// A new connection; the client forgets the one it had, the broker need not.
    fn connect(&mut self, client: usize) {
        let clean_session = !self.clients[client].persistent || self.random.percent(5);
        let will = self.random.percent(40).then(|| {
            let by = format!("{}'s will", self.clients[client].id);
            let retain = self.random.percent(30);
            self.message(by, retain)
        });
        let connect = Connect {
            version: ProtocolVersion::V311,
            client_id: self.clients[client].id.as_str().into(),
            clean_session,
            bridge: false,
            inside: false,
            keep_alive_s: *self.random.one(&[0, 0, 5, 60]),
            will,
            user_name: None,
            permit: None,
            room_bytes: self.room_bytes,
            nonce: 0,
        };
        let link = self.machine.link();
        self.connections.push(Connection {
            client,
            link,
            up: VecDeque::from([Up::Open(Box::new(connect))]),
            down: VecDeque::new(),
            dead: false,
            stalled: false,
            over: false,
        });
        self.clients[client].on_connection(Some(self.connections.len() - 1), clean_session);
    }

    /// Something reaches the broker.
    fn arrive(&mut self, at: usize) -> Verdict {
        let connection = &mut self.connections[at];
        let link = connection.link;
        if connection.over || connection.dead {
            return Ok(());
        }
        let input = match connection.up.pop_front() {
            Some(Up::Open(connect)) => Input::Open { link, connect },
            Some(Up::Packet(packet)) => Input::Packet { link, packet },
            Some(Up::Lost) => {
                connection.over = true;
                self.machine.forget(link);
                Input::Lost { link, cause: LostCause::Closed }
            }
            None => return Ok(()),
        };
        self.machine.handle(input);
        self.check()
    }

    /// Something reaches the client.
    fn deliver(&mut self, at: usize) -> Verdict {
        let connection = &mut self.connections[at];
        let client = &mut self.clients[connection.client];
        let current = client.connection == Some(at);
        match connection.down.pop_front() {
            Some(Down::Packet(packet)) if current => client.on_packet(packet),
            Some(Down::Closed) if current => {
                client.on_connection(None, false);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Something leaves the broker, unless the client does not read; answers whether it did.
    fn pump(&mut self, at: usize) -> Result<bool, String> {
        let count = self.random.between(1, 8);
        for taken in 0..count {
            let connection = &mut self.connections[at];
            if connection.over || connection.stalled && connection.down.len() > 3 {
                return Ok(taken > 0);
            }
            let Some(parcel) = self.machine.take(connection.link) else { return Ok(taken > 0) };
            match parcel {
                Parcel::Packet(packet) => {
                    self.model.on_left(connection.link, &packet);
                    connection.down.push_back(Down::Packet(packet));
                }
                Parcel::Farewell(_) => {
                    connection.over = true;
                    connection.down.push_back(Down::Closed);
                }
            }
            self.check()?;
        }
        Ok(true)
    }

    /// The client sends one of the packets that it owes.
    fn answer(&mut self, client: usize) {
        let client = &mut self.clients[client];
        if let (true, Some(connection)) = (client.connected, client.connection)
            && let Some(packet) = client.due.pop_front()
        {
            self.connections[connection].up.push_back(Up::Packet(packet));
        }
    }

    fn commit(&mut self, batches: usize) -> Verdict {
        self.machine.commit(batches);
        self.model.on_committed(self.machine.watermark());
        match self.disk.as_ref().is_some_and(Simulated::is_without_power) {
            true => self.crash(),
            false => Ok(()),
        }
    }

    /// The disk begins to refuse, or is well again, or will be cut off in the midst of something.
    fn trouble_disk(&mut self) {
        let Some(disk) = &self.disk else { return };
        let percent = |random: &mut Random| random.below(20) as u64;
        match self.random.below(4) {
            0 => disk.set_faults(Faults::default()),
            1 => {
                let (full, write) = (percent(&mut self.random), percent(&mut self.random));
                disk.set_faults(Faults { full, write, sync: percent(&mut self.random) });
            }
            _ => {
                let most = *self.random.one(&[3, 30, 200]);
                disk.power_goes_in(self.random.between(1, most) as u64);
            }
        }
    }

    fn advance(&mut self, millis: u64) -> Verdict {
        let time = Time(self.machine.now().0 + millis);
        self.machine.advance_to(time);
        self.check()?;
        self.model.check_silence(time.0)
    }

    /// The network fails: some of what is on its way is lost, and the two ends learn of it, each in
    /// its time, or never.
    fn cut(&mut self, at: usize) {
        let up = self.random.below(4);
        let down = self.random.below(4);
        let dead = self.random.percent(30);
        let connection = &mut self.connections[at];
        if connection.over {
            return;
        }
        if dead {
            connection.dead = true;
            return;
        }
        connection.up.truncate(up);
        connection.up.push_back(Up::Lost);
        connection.down.truncate(down);
        connection.down.push_back(Down::Closed);
    }

    /// The power goes and comes back.
    fn crash(&mut self) -> Verdict {
        self.calm_disk();
        self.machine.crash()?;
        self.model.on_committed(self.machine.watermark());
        for connection in &mut self.connections {
            connection.over = true;
            connection.down.push_back(Down::Closed);
        }
        self.model.on_crash(self.machine.disk())
    }

    fn check(&mut self) -> Verdict {
        for handled in std::mem::take(&mut self.machine.handled) {
            let verdict = self.model.on_handled(&handled);
            verdict.map_err(|fault| format!("{:?}: {fault}", handled.input))?;
        }
        Ok(())
    }

    fn calm_disk(&self) {
        if let Some(disk) = &self.disk {
            disk.set_faults(Faults::default());
        }
    }

    /// No more faults, nobody wants anything new, everybody is connected: all must drain.
    fn calm(&mut self) -> Verdict {
        self.calm_disk();
        if let Some(disk) = self.disk.clone() {
            disk.power_stays();
        }
        for client in 0..self.clients.len() {
            let connection = self.clients[client].connection.map(|at| &self.connections[at]);
            if connection.is_none_or(|c| c.dead || c.over) {
                self.connect(client);
            }
        }
        for steps in 0.. {
            if steps > CALM_STEPS_MAX {
                return Err("it does not come to rest".into());
            }
            self.advance(0)?;
            let mut moved = false;
            for at in 0..self.connections.len() {
                let connection = &mut self.connections[at];
                connection.stalled = false;
                let before = (connection.up.len(), connection.down.len());
                moved |= !connection.over && !connection.dead && before.0 > 0 || before.1 > 0;
                self.arrive(at)?;
                moved |= self.pump(at)?;
                self.deliver(at)?;
            }
            for client in 0..self.clients.len() {
                moved |= self.clients[client].connected && !self.clients[client].due.is_empty();
                self.answer(client);
                if self.clients[client].connection.is_none() {
                    self.connect(client);
                    moved = true;
                }
            }
            moved |= !self.machine.is_committed();
            self.commit(usize::MAX)?;
            if !moved {
                break;
            }
        }
        let snapshot = self.machine.engine().snapshot();
        if snapshot != *self.machine.disk() {
            return Err(format!(
                "the engine has {snapshot:#?}\n the disk {:#?}",
                self.machine.disk()
            ));
        }
        for client in &self.clients {
            if client.outstanding() > 0 {
                return Err(format!("{} waits for an answer", client.id));
            }
        }
        self.model.check_drained(&snapshot)?;
        self.machine.crash() // and once more, all that is left is there
    }
}

const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
