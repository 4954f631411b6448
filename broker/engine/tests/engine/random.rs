//! Random sequences of inputs. After each, what the changes add up to is what the engine holds, and
//! a broker that died there goes on.

use std::collections::BTreeMap;

use martlet_codec::packet::Delivery;
use martlet_engine::effects::OutPacket;
use martlet_engine::input::{InPacket, Input, LinkId, LostCause, Time};
use martlet_engine::limits::Limits;

use crate::world::{World, clean, delivery, durable, filter, id, message, qos, retained};

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize]
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

const TOPICS: &[&str] = &["a", "a/b", "a/b/c", "b", "/", "$x/a"];
const FILTERS: &[&str] = &[
    "#",
    "a/#",
    "a/+",
    "+",
    "+/+",
    "a/b",
    "b",
    "$x/#",
    "$share/g/a/#",
    "$share/g/#",
    "$share/h/b",
];
const CLIENTS: &[&str] = &["c0", "c1", "c2", "c3", "c4"];

struct Run {
    world: World,
    dice: Dice,
    links: BTreeMap<&'static str, LinkId>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let world = World::with(Limits {
            inflight_max: 1 + dice.below(4) as u16,
            inflight_qos2_max: 1 + dice.below(4) as u16,
            inflight_bytes_max: dice.pick(&[0, 10]),
            queue_messages_max: 1 + dice.below(8) as u32,
            queue_bytes_max: dice.pick(&[0, 20]),
            all_queues_bytes_max: dice.pick(&[0, 1000]),
            queue_qos0: dice.chance(50),
            retained_messages_max: 1 + dice.below(6) as u32,
            retained_bytes_max: dice.pick(&[12, 1000]),
            subscriptions_per_session_max: 1 + dice.below(6) as u32,
            sessions_max: 3 + dice.below(4) as u32,
            received_max: 1 + dice.below(3) as u16,
            session_expiry_s: dice.pick(&[0, 20]),
            sys_interval_s: dice.pick(&[0, 10]),
            ..Limits::default()
        });
        Self { world, dice, links: BTreeMap::new() }
    }

    fn step(&mut self) {
        let client = self.dice.pick(CLIENTS);
        match (self.links.get(client).copied(), self.dice.below(100)) {
            (_, 0..2) => {
                self.world.crash();
                self.links.clear();
            }
            (_, 2..6) => self.pass_time(),
            (None, _) => self.connect(client),
            (Some(_), 6..8) => self.connect(client), // take-over
            (Some(link), 8..14) => self.leave(link),
            (Some(link), 14..40) => self.publish(link),
            (Some(link), 40..55) => self.subscribe(link),
            (Some(link), 55..60) => {
                let filters = Box::new([filter(self.dice.pick(FILTERS))]);
                self.packet(link, InPacket::Unsubscribe { id: id(9), filters });
            }
            (Some(link), 60..65) => {
                let bytes = self.dice.below(300) as u32;
                self.world.room(link, bytes);
            }
            (Some(link), 65..68) => self.acknowledge_anything(link),
            (Some(link), _) => self.answer(link),
        }
        self.forget_closed();
    }

    fn connect(&mut self, client: &'static str) {
        let mut connect = if self.dice.chance(60) { durable(client) } else { clean(client) };
        connect.room_bytes = self.dice.pick(&[65, 400, 100_000]);
        connect.keep_alive_s = self.dice.pick(&[0, 5]);
        if self.dice.chance(30) {
            let topic = self.dice.pick(TOPICS);
            let qos = self.dice.below(3) as u8;
            connect.will = Some(match self.dice.chance(50) {
                true => retained(topic, "will", qos),
                false => message(topic, "will", qos),
            });
        }
        let link = self.world.open(connect);
        self.links.insert(client, link);
    }

    fn leave(&mut self, link: LinkId) {
        match self.dice.below(3) {
            0 => self.packet(link, InPacket::Disconnect),
            1 => self.packet(link, InPacket::Forbidden { rule: "MQTT-3.1.0-2" }),
            _ => {
                self.world.lose(link);
                self.links.retain(|_, other| *other != link);
            }
        }
    }

    fn publish(&mut self, link: LinkId) {
        let topic = self.dice.pick(TOPICS);
        let payload = self.dice.pick(&["", "x", "payload"]);
        let qos = self.dice.below(3) as u8;
        let message = match self.dice.chance(30) {
            true => retained(topic, payload, qos),
            false => message(topic, payload, qos),
        };
        let number = 1 + self.dice.below(4) as u16;
        let delivery = delivery(message.qos(), number, self.dice.chance(20));
        self.packet(link, InPacket::Publish { message, delivery });
    }

    fn subscribe(&mut self, link: LinkId) {
        let count = 1 + self.dice.below(2);
        let mut one = |_| (filter(self.dice.pick(FILTERS)), qos(self.dice.below(3) as u8));
        let subscriptions = (0..count).map(&mut one).collect();
        self.packet(link, InPacket::Subscribe { id: id(9), subscriptions, beyond: 0 });
    }

    /// As a client should: every packet that awaits an answer gets it, or stays for later.
    fn answer(&mut self, link: LinkId) {
        let room = self.dice.chance(70);
        for packet in self.world.read(link) {
            if room {
                self.world.room(link, packet.cost());
            }
            if self.dice.chance(30) {
                continue; // never answered on this connection
            }
            match packet {
                OutPacket::Publish { delivery: Delivery::AtLeastOnce { id, .. }, .. } => {
                    self.packet(link, InPacket::PubAck(id));
                }
                OutPacket::Publish { delivery: Delivery::ExactlyOnce { id, .. }, .. } => {
                    self.packet(link, InPacket::PubRec(id));
                }
                OutPacket::PubRec(id) => self.packet(link, InPacket::PubRel(id)),
                OutPacket::PubRel(id) => self.packet(link, InPacket::PubComp(id)),
                _ => {}
            }
        }
    }

    fn acknowledge_anything(&mut self, link: LinkId) {
        let id = id(1 + self.dice.below(6) as u16);
        let packet = match self.dice.below(4) {
            0 => InPacket::PubAck(id),
            1 => InPacket::PubRec(id),
            2 => InPacket::PubRel(id),
            _ => InPacket::PubComp(id),
        };
        self.packet(link, packet);
    }

    fn packet(&mut self, link: LinkId, packet: InPacket) {
        self.world.packet(link, packet);
    }

    fn pass_time(&mut self) {
        let ms = self.dice.pick(&[1, 3_000, 30_000]);
        self.world.wait(ms);
    }

    fn forget_closed(&mut self) {
        let closed = std::mem::take(&mut self.world.farewells);
        self.links.retain(|_, link| closed.iter().all(|(other, _)| other != link));
    }

    /// Everybody comes back, answers everything and has room: then nothing may be left.
    fn drain(&mut self) {
        for client in CLIENTS {
            if let Some(link) = self.links.remove(client) {
                self.world.lose(link);
            }
        }
        self.world.farewells.clear();
        let kept: Vec<_> = self.world.kept.sessions.keys().cloned().collect();
        let links: Vec<_> = kept.iter().map(|client_id| self.world.durable(client_id)).collect();
        for _ in 0..1000 {
            let mut idle = true;
            for &link in &links {
                for packet in self.world.read(link) {
                    idle = false;
                    self.world.room(link, packet.cost());
                    match packet {
                        OutPacket::Publish { delivery, .. } => match delivery {
                            Delivery::AtMostOnce => {}
                            Delivery::AtLeastOnce { id, .. } => {
                                self.packet(link, InPacket::PubAck(id));
                            }
                            Delivery::ExactlyOnce { id, .. } => {
                                self.packet(link, InPacket::PubRec(id));
                            }
                        },
                        OutPacket::PubRel(id) => self.packet(link, InPacket::PubComp(id)),
                        _ => {}
                    }
                }
            }
            self.world.wait(1);
            if idle {
                break;
            }
        }
        assert!(self.world.farewells.is_empty(), "a client that keeps the rules stays");
        assert_eq!(self.world.engine.gauges().waiting_messages, 0);
        assert_eq!(self.world.engine.gauges().queues_bytes, 0);
        assert!(self.world.kept.messages.is_empty(), "no message is kept that nobody waits for");
        let subscriptions =
            self.world.kept.sessions.values().flat_map(|s| s.subscriptions.values());
        assert!(subscriptions.into_iter().all(|kept| !kept.replay), "no replay is left");
    }
}

#[test]
fn facts_and_engine_agree_whatever_happens() {
    for seed in 0..200 {
        let told = std::panic::catch_unwind(|| {
            let mut run = Run::new(seed);
            for _ in 0..300 {
                run.step();
            }
            run.drain();
        });
        assert!(told.is_ok(), "seed {seed}");
    }
}

#[test]
fn the_same_inputs_have_the_same_effects() {
    // I11
    let trace = |seed| {
        let mut run = Run::new(seed);
        let mut trace = Vec::new();
        for _ in 0..300 {
            run.step();
            trace.push(format!("{:?}", run.world.fx));
        }
        trace
    };
    for seed in 0..10 {
        assert!(trace(seed) == trace(seed), "seed {seed}");
    }
    assert!(trace(1) != trace(2));
}

#[test]
fn a_link_that_is_not_known_is_ignored() {
    // [MQTT-3.1.4-5]
    let mut world = World::new();
    let stranger = world.link();
    let inputs = [
        Input::Packet { link: stranger, packet: InPacket::PingReq },
        Input::Room { link: stranger, bytes: 5 },
        Input::Lost { link: stranger, cause: LostCause::Closed },
    ];
    for input in inputs {
        let effects = world.step(input);
        assert!(effects.outgoing.is_empty() && effects.farewells.is_empty());
        assert!(effects.notices.is_empty() && effects.changes.is_empty());
    }
    let known = world.clean("c");
    let newer = LinkId { generation: known.generation + 1, ..known };
    world.packet(newer, InPacket::PingReq);
    assert!(world.fx.outgoing.is_empty(), "another use of the same slot");
    assert_eq!(world.engine.next_deadline(), None);
    assert!(world.now > Time(0));
}
