//! What routing takes of memory, inside the engine alone.

use martlet_codec::ids::PacketId;
use martlet_codec::packet::Delivery;
use martlet_codec::reason::QoS;
use martlet_codec::topic::TopicName;
use martlet_engine::Engine;
use martlet_engine::effects::{Effects, OutPacket};
use martlet_engine::filter::Filter;
use martlet_engine::input::{Connect, InPacket, Input, LinkId, Time};
use martlet_engine::limits::Limits;
use martlet_engine::message::Message;
use martlet_engine::snapshot::Snapshot;

use crate::table::Row;

const TOPIC: &str = "a/b";
const MESSAGES: u64 = 1000;

/// Clients of one filter each, and a client whose filters nothing matches.
struct World {
    engine: Engine,
    fx: Effects,
    subscribers: Vec<LinkId>,
}

const PUBLISHER: LinkId = link(0);

pub fn rows() -> Vec<Row> {
    [
        ("engine: QoS 0, to one", TOPIC, 1, 0, QoS::AtMostOnce),
        ("engine: QoS 0, to one by wildcards", "+/#", 1, 0, QoS::AtMostOnce),
        ("engine: QoS 0, to one among 10,000 filters", TOPIC, 1, 10_000, QoS::AtMostOnce),
        ("engine: QoS 0, to 100", TOPIC, 100, 0, QoS::AtMostOnce),
        ("engine: QoS 1, to one, acknowledged", TOPIC, 1, 0, QoS::AtLeastOnce),
        ("engine: QoS 1, to 100, acknowledged", TOPIC, 100, 0, QoS::AtLeastOnce),
    ]
    .map(|(what, filter, subscribers, others, qos)| {
        let mut world = World::new(filter, subscribers, others, qos);
        let message = message(qos);
        // What grows once has grown then.
        (0..10).for_each(|_| world.publish(&message, qos));
        let allocations = allocation_counter::measure(|| {
            (0..MESSAGES).for_each(|_| world.publish(&message, qos));
        });
        Row {
            what: what.to_owned(),
            messages: MESSAGES,
            allocations: Some(allocations.count_total),
            bytes_allocated: Some(allocations.bytes_total),
            ..Row::default()
        }
    })
    .to_vec()
}

impl World {
    fn new(filter: &str, subscribers: u32, others: u32, qos: QoS) -> Self {
        let limits = Limits { sys_interval_s: 0, ..Limits::default() };
        let engine = Engine::new(limits, Snapshot::default(), Time(0));
        let subscribers = (1..=subscribers).map(link).collect();
        let mut world = Self { engine, fx: Effects::default(), subscribers };
        world.open(PUBLISHER);
        for subscriber in world.subscribers.clone() {
            world.open(subscriber);
            world.subscribe(subscriber, filter, qos);
        }
        (0..others).for_each(|n| world.subscribe(PUBLISHER, &format!("a/{n}"), qos));
        world.clear();
        world
    }

    fn open(&mut self, link: LinkId) {
        let connect = Connect::clean(format!("client {}", link.slot), 1 << 20);
        let connect = Connect { keep_alive_s: 60, ..connect };
        self.handle(Input::Open { link, connect: Box::new(connect) });
    }

    fn subscribe(&mut self, link: LinkId, filter: &str, qos: QoS) {
        let subscriptions = Box::new([(Filter::parse(filter).expect("a filter"), qos)]);
        let packet = InPacket::Subscribe { id: PacketId::FIRST, subscriptions, beyond: 0 };
        self.handle(Input::Packet { link, packet });
        self.clear();
        self.handle(Input::Room { link, bytes: u32::MAX });
    }

    /// One message, all its acknowledgements, and room again.
    fn publish(&mut self, message: &Message, qos: QoS) {
        let delivery = match qos {
            QoS::AtMostOnce => Delivery::AtMostOnce,
            _ => Delivery::AtLeastOnce { id: PacketId::FIRST, dup: false },
        };
        let packet = InPacket::Publish { message: message.clone(), delivery };
        self.handle(Input::Packet { link: PUBLISHER, packet });
        for at in 0..self.fx.outgoing.len() {
            let link = self.fx.outgoing[at].link;
            if let OutPacket::Publish { delivery: Delivery::AtLeastOnce { id, .. }, .. } =
                self.fx.outgoing[at].packet
            {
                self.handle(Input::Packet { link, packet: InPacket::PubAck(id) });
            }
            self.handle(Input::Room { link, bytes: u32::MAX });
        }
        self.clear();
    }

    fn handle(&mut self, input: Input) {
        self.engine.handle(Time(0), input, &mut self.fx);
    }

    fn clear(&mut self) {
        self.fx.changes.clear();
        self.fx.outgoing.clear();
        self.fx.farewells.clear();
        self.fx.notices.clear();
    }
}

const fn link(slot: u32) -> LinkId {
    LinkId { slot, generation: 0 }
}

fn message(qos: QoS) -> Message {
    let topic = TopicName::new(TOPIC.as_bytes()).expect("a topic");
    Message::new(topic, &[b'p'; 64], qos, false)
}
