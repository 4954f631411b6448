//! What one message costs inside the engine. `cargo bench -p martlet-engine`

use divan::Bencher;
use divan::counter::ItemsCount;
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

const MESSAGES: u16 = 1000;

fn main() {
    divan::main();
}

struct House {
    engine: Engine,
    fx: Effects,
    publisher: LinkId,
    subscribers: Vec<LinkId>,
}

impl House {
    /// A publisher, and subscribers of these filters.
    fn new(filters: &[String], qos: QoS) -> Self {
        let subscriptions_per_session_max = u32::MAX;
        let limits =
            Limits { sys_interval_s: 0, subscriptions_per_session_max, ..Limits::default() };
        let engine = Engine::new(limits, Snapshot::default(), Time(0));
        let mut house =
            Self { engine, fx: Effects::default(), publisher: link(0), subscribers: Vec::new() };
        house.open(link(0));
        for (slot, filter) in (1..).zip(filters) {
            house.open(link(slot));
            let subscriptions = Box::new([(Filter::parse(filter).expect("a filter"), qos)]);
            let packet = InPacket::Subscribe { id: PacketId::FIRST, subscriptions, beyond: 0 };
            house.handle(Input::Packet { link: link(slot), packet });
            house.subscribers.push(link(slot));
        }
        house.clear();
        house
    }

    fn open(&mut self, link: LinkId) {
        let connect = Connect::clean(format!("client {}", link.slot), 1 << 20);
        let connect = Connect { keep_alive_s: 60, ..connect };
        self.handle(Input::Open { link, connect: Box::new(connect) });
    }

    fn handle(&mut self, input: Input) {
        self.engine.handle(Time(0), input, &mut self.fx);
    }

    fn publish(&mut self, message: &Message, delivery: Delivery) {
        let packet = InPacket::Publish { message: message.clone(), delivery };
        self.handle(Input::Packet { link: self.publisher, packet });
    }

    fn clear(&mut self) {
        self.fx.changes.clear();
        self.fx.outgoing.clear();
        self.fx.farewells.clear();
        self.fx.notices.clear();
    }

    /// What the links would report after sending all.
    fn free_room(&mut self) {
        self.clear();
        for at in 0..self.subscribers.len() {
            self.handle(Input::Room { link: self.subscribers[at], bytes: u32::MAX });
        }
        self.handle(Input::Room { link: self.publisher, bytes: u32::MAX });
        self.clear();
    }
}

fn link(slot: u32) -> LinkId {
    LinkId { slot, generation: 0 }
}

fn message(topic: &str, qos: QoS) -> Message {
    let topic = TopicName::new(topic.as_bytes()).expect("a topic");
    Message::new(topic, &[7; 64], qos, false)
}

fn run_qos0(bencher: Bencher<'_, '_>, filters: &[String], topic: &str, deliveries: usize) {
    let mut house = House::new(filters, QoS::AtMostOnce);
    if deliveries == 1 {
        house.subscribers.drain(..filters.len() - 1); // the others send nothing
    }
    let message = message(topic, QoS::AtMostOnce);
    let count = usize::from(MESSAGES) * deliveries;
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        for _ in 0..MESSAGES {
            house.publish(&message, Delivery::AtMostOnce);
            if deliveries > 1 {
                house.clear();
            }
        }
        assert!(deliveries > 1 || house.fx.outgoing.len() == usize::from(MESSAGES));
        house.free_room();
    });
}

#[divan::bench]
fn one_to_one(bencher: Bencher<'_, '_>) {
    run_qos0(bencher, &["site/7/machine/1234/temperature".into()], SENSOR, 1);
}

#[divan::bench]
fn one_to_one_by_wildcards(bencher: Bencher<'_, '_>) {
    run_qos0(bencher, &["site/+/machine/+/#".into()], SENSOR, 1);
}

#[divan::bench]
fn one_to_one_among_10_000_filters(bencher: Bencher<'_, '_>) {
    let mut filters: Vec<String> =
        (0..10_000).map(|n| format!("site/7/machine/{n}/pressure")).collect();
    filters.push(SENSOR.into());
    run_qos0(bencher, &filters, SENSOR, 1);
}

/// What the trie takes to find that nobody wants a message: 10,000 filters, `+` in each of them.
#[divan::bench]
fn one_to_none_among_10_000_filters_with_wildcards(bencher: Bencher<'_, '_>) {
    let filters: Vec<String> = (0..10_000).map(|n| format!("site/+/machine/{n}/#")).collect();
    let mut house = House::new(&filters, QoS::AtMostOnce);
    house.subscribers.clear();
    let message = message("site/7/machine/no/temperature", QoS::AtMostOnce);
    bencher.counter(ItemsCount::new(MESSAGES)).bench_local(|| {
        for _ in 0..MESSAGES {
            house.publish(&message, Delivery::AtMostOnce);
        }
        assert!(house.fx.outgoing.is_empty());
    });
}

#[divan::bench]
fn one_to_1000(bencher: Bencher<'_, '_>) {
    run_qos0(bencher, &vec![SENSOR.to_owned(); 1000], SENSOR, 1000);
}

/// Messages to a hundred clients with so many filters together, each to another topic, a hundred at
/// a time, looked up ahead or not.
#[divan::bench(args = [(1000, false), (1_000_000, false), (1_000_000, true)])]
fn among_filters(bencher: Bencher<'_, '_>, (filters, ahead): (usize, bool)) {
    const CLIENTS: usize = 100;
    const BATCH: usize = 100;
    let mut house = House::new(&vec![SENSOR.to_owned(); CLIENTS], QoS::AtMostOnce);
    for number in 0..filters {
        let last = if number % 2 == 0 { "+/value" } else { "#" };
        let filter = Filter::parse(&format!("site/{number:07}/{last}"));
        let subscriptions = Box::new([(filter.expect("a filter"), QoS::AtMostOnce)]);
        let link = house.subscribers[number % CLIENTS];
        let packet = InPacket::Subscribe { id: PacketId::FIRST, subscriptions, beyond: 0 };
        house.handle(Input::Packet { link, packet });
        house.clear();
    }
    let link = house.publisher;
    let mut next = 0;
    let inputs = || {
        let topics = (0..BATCH).map(|_| {
            next = (next + 611_953) % filters;
            format!("site/{next:07}/d/value")
        });
        let messages = topics.map(|topic| message(&topic, QoS::AtMostOnce));
        let delivery = Delivery::AtMostOnce;
        let packets = messages.map(|message| InPacket::Publish { message, delivery });
        packets.map(|packet| Input::Packet { link, packet }).collect::<Vec<_>>()
    };
    let counter = ItemsCount::new(BATCH);
    bencher.counter(counter).with_inputs(inputs).bench_local_values(|inputs| {
        let mut seen = 0;
        for (at, input) in (0..).zip(&inputs) {
            if ahead && at == seen {
                seen += house.engine.look_ahead(&inputs[at..]);
            }
            house.handle(input.clone());
        }
        assert_eq!(house.fx.outgoing.len(), BATCH);
        house.free_room();
    });
}

/// PUBLISH in, PUBLISH and PUBACK out, PUBACK in.
#[divan::bench]
fn one_to_one_qos1(bencher: Bencher<'_, '_>) {
    let mut house = House::new(&[SENSOR.into()], QoS::AtLeastOnce);
    let message = message(SENSOR, QoS::AtLeastOnce);
    bencher.counter(ItemsCount::new(MESSAGES)).bench_local(|| {
        for _ in 0..MESSAGES {
            house.publish(&message, Delivery::AtLeastOnce { id: PacketId::FIRST, dup: false });
            let OutPacket::Publish { delivery: Delivery::AtLeastOnce { id, .. }, .. } =
                house.fx.outgoing[0].packet
            else {
                panic!("a PUBLISH first")
            };
            house.clear();
            let packet = InPacket::PubAck(id);
            house.handle(Input::Packet { link: house.subscribers[0], packet });
        }
        house.free_room();
    });
}

const SENSOR: &str = "site/7/machine/1234/temperature";
