//! Facts as a broker makes them: a real engine with random clients, some of which answer.

use std::collections::BTreeMap;

use martlet_codec::ids::PacketId;
use martlet_codec::packet::Delivery;
use martlet_codec::reason::{ProtocolVersion, QoS};
use martlet_codec::topic::TopicName;
use martlet_engine::Engine;
use martlet_engine::change::Change;
use martlet_engine::effects::{Effects, OutPacket};
use martlet_engine::filter::Filter;
use martlet_engine::input::{Connect, InPacket, Input, LinkId, LostCause, Time};
use martlet_engine::limits::Limits;
use martlet_engine::message::Message;
use martlet_engine::recording::Stream;
use martlet_engine::snapshot::Snapshot;

use crate::dice::Dice;

pub struct Workload {
    engine: Engine,
    now: Time,
    links: BTreeMap<&'static str, LinkId>,
    unanswered: Vec<(LinkId, OutPacket)>,
    next_slot: u32,
}

const TOPICS: &[&str] = &["a", "a/b", "a/b/c", "b", "/"];
const FILTERS: &[&str] = &["#", "a/#", "a/+", "+", "b", "$share/g/a/#", "$share/h/b"];
const CLIENTS: &[&str] = &["c0", "c1", "c2", "c3"];

impl Workload {
    /// A broker that starts from there.
    pub fn new(snapshot: Snapshot, dice: &mut Dice) -> Self {
        let now = Time(1_000_000 + dice.below(1_000_000));
        let limits = Limits {
            inflight_max: 1 + dice.below(5) as u16,
            inflight_qos2_max: 1 + dice.below(5) as u16,
            queue_messages_max: 1 + dice.below(30) as u32,
            sys_interval_s: 0,
            session_expiry_s: dice.pick(&[0, 20]),
            ..Limits::default()
        };
        let engine = Engine::new(limits, snapshot, now).recording(streams());
        Self { engine, now, links: BTreeMap::new(), unanswered: Vec::new(), next_slot: 0 }
    }

    /// Something happens; what it changed.
    pub fn step(&mut self, dice: &mut Dice) -> Vec<Change> {
        let client = dice.pick(CLIENTS);
        let Some(link) = self.links.get(client).copied() else {
            return self.connect(client, dice);
        };
        match dice.below(100) {
            0..3 => {
                self.now.0 += dice.pick(&[1, 3_000, 30_000]);
                self.handle(Input::Due)
            }
            3..9 => {
                self.links.remove(client);
                match dice.chance(50) {
                    true => self.handle(Input::Lost { link, cause: LostCause::Closed }),
                    false => self.packet(link, InPacket::Disconnect),
                }
            }
            9..50 => self.publish(link, dice),
            50..60 => {
                let filter = filter(dice.pick(FILTERS));
                let subscriptions = Box::new([(filter, qos(dice.below(3) as u8))]);
                self.packet(link, InPacket::Subscribe { id: id(9), subscriptions, beyond: 0 })
            }
            60..62 => {
                let filters = Box::new([filter(dice.pick(FILTERS))]);
                self.packet(link, InPacket::Unsubscribe { id: id(9), filters })
            }
            _ => self.answer(link, dice),
        }
    }

    fn connect(&mut self, client: &'static str, dice: &mut Dice) -> Vec<Change> {
        let link = LinkId { slot: self.next_slot, generation: 1 };
        self.next_slot += 1;
        self.links.insert(client, link);
        let connect = Connect {
            version: ProtocolVersion::V311,
            client_id: client.into(),
            clean_session: dice.chance(15),
            bridge: false,
            inside: false,
            keep_alive_s: 0,
            will: dice.chance(30).then(|| message(dice)),
            user_name: dice.chance(50).then(|| "user".into()),
            permit: None,
            room_bytes: dice.pick(&[200, 100_000]),
            nonce: 1,
        };
        self.handle(Input::Open { link, connect: Box::new(connect) })
    }

    fn publish(&mut self, link: LinkId, dice: &mut Dice) -> Vec<Change> {
        let message = message(dice);
        let id = id(1 + dice.below(4) as u16);
        let delivery = match message.qos() {
            QoS::AtMostOnce => Delivery::AtMostOnce,
            QoS::AtLeastOnce => Delivery::AtLeastOnce { id, dup: false },
            QoS::ExactlyOnce => Delivery::ExactlyOnce { id, dup: false },
        };
        self.packet(link, InPacket::Publish { message, delivery })
    }

    fn answer(&mut self, link: LinkId, dice: &mut Dice) -> Vec<Change> {
        let (ours, others): (Vec<_>, _) =
            std::mem::take(&mut self.unanswered).into_iter().partition(|(l, _)| *l == link);
        self.unanswered = others;
        let mut changes = Vec::new();
        for (_, packet) in ours {
            changes.extend(self.handle(Input::Room { link, bytes: packet.cost() }));
            let answer = match packet {
                OutPacket::Publish { delivery: Delivery::AtLeastOnce { id, .. }, .. } => {
                    InPacket::PubAck(id)
                }
                OutPacket::Publish { delivery: Delivery::ExactlyOnce { id, .. }, .. } => {
                    InPacket::PubRec(id)
                }
                OutPacket::PubRec(id) => InPacket::PubRel(id),
                OutPacket::PubRel(id) => InPacket::PubComp(id),
                _ => continue,
            };
            if dice.chance(90) {
                changes.extend(self.packet(link, answer));
            }
        }
        changes
    }

    fn packet(&mut self, link: LinkId, packet: InPacket) -> Vec<Change> {
        self.handle(Input::Packet { link, packet })
    }

    fn handle(&mut self, input: Input) -> Vec<Change> {
        let mut effects = Effects::default();
        self.engine.handle(self.now, input, &mut effects);
        let outgoing = effects.outgoing.into_iter();
        self.unanswered.extend(outgoing.map(|outgoing| (outgoing.link, outgoing.packet)));
        for (closed, _) in &effects.farewells {
            self.links.retain(|_, link| link != closed);
        }
        effects.changes
    }
}

/// What is recorded.
pub fn streams() -> Vec<Stream> {
    let stream = |name: &str, filters: &[&str]| Stream {
        name: name.into(),
        filters: filters.iter().map(|text| filter(text)).collect(),
        stopped: false,
    };
    vec![stream("all", &["#"]), stream("some", &["a/+", "a/b", "b"])]
}

fn message(dice: &mut Dice) -> Message {
    let payload = vec![b'p'; dice.pick(&[0, 1, 20, 20, 300])];
    let topic = TopicName::new(dice.pick(TOPICS).as_bytes()).expect("a topic");
    Message::new(topic, &payload, qos(dice.below(3) as u8), dice.chance(20))
}

pub fn id(number: u16) -> PacketId {
    PacketId::new(number).expect("not zero")
}

pub fn filter(text: &str) -> Filter {
    Filter::parse(text).expect("a filter")
}

pub fn qos(number: u8) -> QoS {
    QoS::new(number).expect("0, 1 or 2")
}
