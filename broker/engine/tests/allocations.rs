//! Exactly how many allocations a message costs inside `handle`, once everything has its size.

use martlet_codec::ids::PacketId;
use martlet_codec::packet::Delivery;
use martlet_codec::reason::QoS;
use martlet_codec::topic::TopicName;
use martlet_engine::Engine;
use martlet_engine::effects::Effects;
use martlet_engine::filter::Filter;
use martlet_engine::input::{Connect, InPacket, Input, LinkId, Time};
use martlet_engine::limits::Limits;
use martlet_engine::message::Message;
use martlet_engine::snapshot::Snapshot;

const SUBSCRIBERS: u32 = 10;

fn link(slot: u32) -> LinkId {
    LinkId { slot, generation: 0 }
}

/// A publisher on link 0 and subscribers behind it.
fn house(filter: &str, clean_session: bool) -> Engine {
    let limits = Limits { sys_interval_s: 0, ..Limits::default() };
    let mut engine = Engine::new(limits, Snapshot::default(), Time(0));
    let mut fx = Effects::default();
    for slot in 0..=SUBSCRIBERS {
        let connect = Connect::clean(format!("client {slot}"), 1 << 20);
        let connect = Connect { clean_session, keep_alive_s: 60, ..connect };
        engine.handle(Time(0), Input::Open { link: link(slot), connect: connect.into() }, &mut fx);
        if slot > 0 {
            let subscriptions =
                Box::new([(Filter::parse(filter).expect("a filter"), QoS::AtLeastOnce)]);
            let packet = InPacket::Subscribe { id: PacketId::FIRST, subscriptions, beyond: 0 };
            engine.handle(Time(0), Input::Packet { link: link(slot), packet }, &mut fx);
        }
    }
    engine
}

/// Allocations of 1000 messages inside `handle`, acknowledgements included, after a first round.
fn allocations(engine: &mut Engine, qos: QoS, retain: bool) -> u64 {
    let topic = TopicName::new(b"site/7/temperature").expect("a topic");
    let message = Message::new(topic, &[7; 64], qos, retain);
    let mut fx = Effects::default();
    let mut acknowledged: Vec<(LinkId, PacketId)> = Vec::with_capacity(100);
    let mut round = || {
        for _ in 0..1000 {
            let delivery = match qos {
                QoS::AtMostOnce => Delivery::AtMostOnce,
                _ => Delivery::AtLeastOnce { id: PacketId::FIRST, dup: false },
            };
            let packet = InPacket::Publish { message: message.clone(), delivery };
            engine.handle(Time(0), Input::Packet { link: link(0), packet }, &mut fx);
            for outgoing in fx.outgoing.drain(..) {
                use martlet_engine::effects::OutPacket::Publish;
                if let Publish { delivery: Delivery::AtLeastOnce { id, .. }, .. } = outgoing.packet
                {
                    acknowledged.push((outgoing.link, id));
                }
            }
            fx.changes.clear();
            for (link, id) in acknowledged.drain(..) {
                let packet = InPacket::PubAck(id);
                engine.handle(Time(0), Input::Packet { link, packet }, &mut fx);
            }
            for slot in 0..=SUBSCRIBERS {
                engine.handle(Time(0), Input::Room { link: link(slot), bytes: 9999 }, &mut fx);
            }
        }
    };
    round();
    let counted = allocation_counter::measure(round).count_total;
    assert_eq!(engine.counters().publishes_sent, 2000 * u64::from(SUBSCRIBERS), "all delivered");
    counted
}

#[test]
fn routing_does_not_allocate() {
    for filter in ["site/7/temperature", "site/+/#", "#"] {
        assert_eq!(
            allocations(&mut house(filter, true), QoS::AtMostOnce, false),
            0,
            "{filter}, QoS 0"
        );
        assert_eq!(
            allocations(&mut house(filter, true), QoS::AtLeastOnce, false),
            0,
            "{filter}, QoS 1"
        );
    }
}

#[test]
fn facts_about_kept_sessions_do_not_allocate() {
    assert_eq!(allocations(&mut house("#", false), QoS::AtLeastOnce, false), 0);
}

#[test]
fn the_counter_counts() {
    let counted = allocation_counter::measure(|| drop(std::hint::black_box(Box::new(7))));
    assert_eq!(counted.count_total, 1);
}

#[test]
fn replacing_a_retained_message_does_not_allocate() {
    assert_eq!(allocations(&mut house("#", true), QoS::AtMostOnce, true), 0);
}
