//! What a bridge of another broker gets, and what not.

use martlet_engine::input::{Connect, InPacket};

use crate::world::{World, clean, delivery, durable, id, message, qos, retained};

fn bridge(connect: Connect) -> Connect {
    Connect { bridge: true, ..connect }
}

#[test]
fn what_a_bridge_brought_never_comes_back_to_it() {
    let mut world = World::new();
    let bridge = world.connect(bridge(clean("b")));
    let other = world.clean("o");
    for client in [bridge, other] {
        world.subscribe(client, "#", 2);
    }
    for qos in 0..3 {
        world.publish(bridge, message("t", "m", qos), 7);
        world.publish(other, message("t", "n", qos), 7);
    }
    let heard = world.heard(bridge);
    let payloads: Vec<&String> = heard.iter().filter(|said| said.starts_with('t')).collect();
    assert!(payloads.iter().all(|said| said.starts_with("t n")), "{payloads:?}");
    assert_eq!(payloads.len(), 3);
    let heard = world.heard(other);
    assert_eq!(heard.iter().filter(|said| said.starts_with("t m")).count(), 3, "{heard:?}");
    assert_eq!(heard.iter().filter(|said| said.starts_with("t n")).count(), 3, "{heard:?}");
}

#[test]
fn a_bridge_sees_the_retain_flag_of_the_publisher_also_from_its_queue() {
    let mut world = World::new();
    let away = world.connect(bridge(durable("b")));
    let plain = world.clean("plain");
    for client in [away, plain] {
        world.subscribe(client, "t", 1);
    }
    let publisher = world.clean("p");
    world.publish(publisher, retained("t", "live", 1), 1);
    assert_eq!(world.heard(away), ["t live q1 #1 retained"]);
    assert_eq!(world.heard(plain), ["t live q1 #1"]);
    world.packet(away, InPacket::PubAck(id(1)));
    world.lose(away);
    world.publish(publisher, retained("t", "queued", 1), 2);
    world.crash();
    let back = world.connect(bridge(durable("b")));
    assert_eq!(world.heard(back), ["t queued q1 #1 retained"]);
}

#[test]
fn the_ids_in_use_are_told() {
    let mut world = World::new();
    let client = world.durable("b");
    world.subscribe(client, "t", 2);
    let publisher = world.clean("p");
    world.publish(publisher, message("t", "m", 2), 9);
    let packet =
        InPacket::Publish { message: message("u", "m", 2), delivery: delivery(qos(2), 300, false) };
    world.packet(client, packet);
    let ids = world.engine.ids(client).expect("it is connected");
    assert_eq!((ids.received, ids.in_flight), (vec![id(300)], vec![id(1)]));
}
