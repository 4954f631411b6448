//! Two devices and Martlet's engine, a network that delays and cuts, a broker whose power fails,
//! and devices that are reset. First faults, then calm, and then everything must have arrived:
//! QoS 1 at least once, QoS 2 exactly once, each in order.
//!
//! `TEST_SIM_SEEDS=5000` runs so many seeds, `TEST_SIM_SEED=123` replays one.

use std::collections::BTreeSet;

use martlet_codec::decode::{Decoded, decode};
use martlet_codec::encode::{encode, encoded_len};
use martlet_codec::packet::Packet;
use martlet_codec::reason::ProtocolVersion::V311;
use martlet_codec::reason::QoS;
use martlet_device::client::Client;
use martlet_device::event::Event;
use martlet_device::settings::{Publication, Settings, Subscription};
use martlet_engine::input::{Connect, InPacket, Input, LinkId, LostCause, Time};
use martlet_engine::limits::Limits;
use martlet_engine::snapshot::Snapshot;

use crate::machine::{Machine, Parcel};
use crate::support::{Kept, LIMITS, Random, memory};

const SEEDS: u64 = 60;
const ROOM: u32 = 4096;
const WISH: &[Subscription<'static>] = &[Subscription { filter: "up/#", qos: QoS::ExactlyOnce }];

#[test]
fn every_seed_arrives() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seeds = match number("TEST_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TEST_SIM_SEEDS").unwrap_or(SEEDS),
    };
    let mut seen = Seen::default();
    let many = seeds.end - seeds.start >= SEEDS;
    for seed in seeds {
        let mut world = World::new(seed);
        world.run();
        seen.cuts += world.seen.cuts;
        seen.crashes += world.seen.crashes;
        seen.resets += world.seen.resets;
        seen.pieces += world.seen.pieces;
        seen.repetitions += world.seen.repetitions;
    }
    if many {
        let all = [seen.cuts, seen.crashes, seen.resets, seen.pieces, seen.repetitions];
        assert!(all.iter().all(|times| *times > 50), "something hardly happened: {all:?}");
    }
}

/// What happened, to know that it did.
#[derive(Default)]
struct Seen {
    cuts: u64,
    crashes: u64,
    resets: u64,
    pieces: u64,
    repetitions: u64,
}

struct World {
    random: Random,
    seed: u64,
    now: u64,
    machine: Machine,
    devices: [Device; 2],
    /// Publications accepted, by QoS.
    published: [u32; 3],
    /// Messages seen, by QoS, in order.
    arrived: [Vec<u32>; 3],
    partial: Vec<u8>,
    seen: Seen,
}

struct Device {
    client: Client<'static>,
    settings: Settings<'static>,
    kept: Kept,
    link: Option<LinkId>,
    up: Vec<u8>,
    down: Vec<u8>,
    ready: bool,
}

const SENSOR: usize = 0;
const GATEWAY: usize = 1;

impl World {
    fn new(seed: u64) -> Self {
        // A window that fills, or what a broker has by default.
        let inflight_max = if seed.is_multiple_of(2) { 5 } else { 256 };
        let limits = Limits { sys_interval_s: 0, inflight_max, ..Limits::default() };
        let gateway = Settings { subscriptions: WISH, ..Settings::new("gateway") };
        Self {
            random: Random::new(seed),
            seed,
            now: 1_000,
            machine: Machine::new(limits, Snapshot::default(), Time(1_000)),
            devices: [Settings::new("sensor"), gateway].map(Device::new),
            published: [0; 3],
            arrived: [vec![], vec![], vec![]],
            partial: Vec::new(),
            seen: Seen::default(),
        }
    }

    fn run(&mut self) {
        for _ in 0..400 {
            self.step(false);
            if self.devices[GATEWAY].ready {
                break;
            }
        }
        assert!(self.devices[GATEWAY].ready, "seed {}: subscribed", self.seed);
        for _ in 0..600 {
            self.step(true);
        }
        for _ in 0..4_000 {
            self.step(false);
            if self.is_drained() {
                break;
            }
        }
        self.check();
    }

    fn is_drained(&self) -> bool {
        self.devices[SENSOR].client.outstanding() == 0
            && self.arrived[1].iter().collect::<BTreeSet<_>>().len() == self.published[1] as usize
            && self.arrived[2].len() >= self.published[2] as usize
    }

    fn check(&mut self) {
        for qos in [1, 2] {
            let mut first = BTreeSet::new();
            let arrived = self.arrived[qos].iter().copied();
            let once: Vec<u32> = arrived.filter(|number| first.insert(*number)).collect();
            let expected: Vec<u32> = (0..self.published[qos]).collect();
            assert_eq!(once, expected, "seed {}: QoS {qos}, all and in order", self.seed);
            let again = self.arrived[qos].len() - once.len();
            assert!(qos == 1 || again == 0, "seed {}: QoS 2 came again", self.seed);
            self.seen.repetitions += again as u64;
        }
    }

    fn step(&mut self, faults: bool) {
        self.now += 1 + self.random.below(200);
        self.machine.advance_to(Time(self.now));
        if faults {
            self.publish();
            match self.random.below(60) {
                0 | 1 => {
                    let at = self.random.below(2) as usize;
                    self.cut(at);
                }
                2 => self.crash(),
                3 => {
                    let at = self.random.below(2) as usize;
                    self.reset(at);
                }
                _ => {}
            }
        }
        for at in [SENSOR, GATEWAY] {
            self.connect(at);
            self.reach_device(at);
            self.leave_device(at);
            self.reach_broker(at);
        }
        if !faults || self.random.below(3) == 0 {
            self.machine.commit(1 + self.random.below(3) as usize);
        }
        for at in [SENSOR, GATEWAY] {
            self.leave_broker(at);
        }
    }

    fn publish(&mut self) {
        let qos = 1 + self.random.below(2) as u8;
        let number = self.published[usize::from(qos)];
        let len = [4, 20, 300][self.random.below(3) as usize];
        let mut payload = vec![qos; len];
        payload[..4].copy_from_slice(&number.to_be_bytes());
        let topic = format!("up/{qos}");
        let message = Publication::new(&topic, &payload).qos(QoS::new(qos).expect("1 or 2"));
        let sensor = &mut self.devices[SENSOR];
        if sensor.client.publish(&message).is_ok() {
            self.published[usize::from(qos)] += 1;
            sensor.save();
        }
    }

    fn connect(&mut self, at: usize) {
        let device = &mut self.devices[at];
        if device.client.wants_connection(self.now) {
            device.client.attach(self.now).expect("CONNECT fits");
            device.link = Some(self.machine.link());
        }
    }

    /// Some of what is on its way to the device arrives.
    fn reach_device(&mut self, at: usize) {
        let take = self.random.below(200) as usize;
        let device = &mut self.devices[at];
        let mut arriving: Vec<u8> = device.down.drain(..take.min(device.down.len())).collect();
        if device.link.is_none() {
            return;
        }
        loop {
            let Ok(taken) = device.client.receive(self.now, &arriving) else {
                return self.lose(at);
            };
            arriving.drain(..taken);
            let before = taken;
            let mut told = false;
            while let Some(event) = device.client.event() {
                told = true;
                match event {
                    Event::Message(message) => {
                        assert_eq!(at, GATEWAY);
                        if message.offset == 0 {
                            self.partial.clear();
                        }
                        assert_eq!(self.partial.len(), message.offset, "pieces come in order");
                        self.partial.extend_from_slice(message.payload);
                        self.seen.pieces += u64::from(!message.is_whole());
                        if message.is_last() {
                            let (head, rest) = self.partial.split_at(4);
                            let qos = if message.topic == "up/1" { 1 } else { 2 };
                            assert!(rest.iter().all(|byte| *byte == qos), "untouched");
                            let number = u32::from_be_bytes(head.try_into().expect("4 bytes"));
                            self.arrived[usize::from(qos)].push(number);
                        }
                    }
                    Event::Subscribed { .. } => device.ready = true,
                    _ => {}
                }
            }
            device.save();
            device.transmit(self.now);
            if arriving.is_empty() && !told {
                return;
            }
            assert!(before > 0 || told || !device.up.is_empty(), "it goes on");
        }
    }

    fn leave_device(&mut self, at: usize) {
        let device = &mut self.devices[at];
        if device.link.is_some() {
            device.save();
            device.transmit(self.now);
        }
    }

    /// Some of what is on its way to the broker arrives.
    fn reach_broker(&mut self, at: usize) {
        let device = &mut self.devices[at];
        let Some(link) = device.link else { return };
        while let Ok(Decoded::Packet { packet, len, header_len }) =
            decode(&device.up, V311, &LIMITS)
        {
            let input = match packet {
                Packet::Connect(connect) => {
                    let connect = Connect::from_packet(&connect, ROOM, 7);
                    Input::Open { link, connect: Box::new(connect) }
                }
                packet => {
                    let packet = InPacket::from_packet(&packet, &device.up[header_len..len]);
                    Input::Packet { link, packet }
                }
            };
            self.machine.handle(input);
            device.up.drain(..len);
        }
    }

    fn leave_broker(&mut self, at: usize) {
        let Some(link) = self.devices[at].link else { return };
        while let Some(parcel) = self.machine.take(link) {
            match parcel {
                Parcel::Packet(packet) => {
                    let packet = packet.as_packet();
                    let mut bytes = vec![0; encoded_len(&packet, V311).expect("legal")];
                    encode(&packet, V311, &mut bytes).expect("there is room");
                    self.devices[at].down.extend(bytes);
                }
                Parcel::Farewell(_) => return self.lose(at),
            }
        }
    }

    /// The network loses what is on its way, in both directions.
    fn cut(&mut self, at: usize) {
        if let Some(link) = self.devices[at].link {
            self.seen.cuts += 1;
            self.machine.handle(Input::Lost { link, cause: LostCause::Closed });
            self.machine.forget(link);
            self.lose(at);
        }
    }

    /// The broker's power fails: what was not on disk never was.
    fn crash(&mut self) {
        self.seen.crashes += 1;
        self.machine.crash().expect("nothing happens to memory");
        (0..2).for_each(|at| self.lose(at));
    }

    /// The device's power fails; its session was kept.
    fn reset(&mut self, at: usize) {
        self.cut(at);
        self.seen.resets += 1;
        let device = &mut self.devices[at];
        device.client = Client::new(device.settings, memory(128, 1024)).expect("legal settings");
        assert_eq!(device.client.restore(&mut device.kept), Ok(true), "seed {}", self.seed);
    }

    fn lose(&mut self, at: usize) {
        let device = &mut self.devices[at];
        if device.link.take().is_some() {
            device.up.clear();
            device.down.clear();
            device.client.detach(self.now, self.random.below(u64::from(u32::MAX)) as u32);
        }
    }
}

impl Device {
    fn new(settings: Settings<'static>) -> Self {
        let client = Client::new(settings, memory(128, 1024)).expect("legal settings");
        let mut device = Self {
            client,
            settings,
            kept: Kept::default(),
            link: None,
            up: Vec::new(),
            down: Vec::new(),
            ready: false,
        };
        device.client.save(&mut device.kept).expect("it cannot fail");
        device
    }

    /// What is promised is kept before it is promised.
    fn save(&mut self) {
        if self.client.is_unsaved() {
            self.client.save(&mut self.kept).expect("it cannot fail");
        }
    }

    fn transmit(&mut self, now: u64) {
        self.save();
        let mut out = [0; 50];
        let len = self.client.transmit(now, &mut out);
        self.up.extend_from_slice(&out[..len]);
    }
}
