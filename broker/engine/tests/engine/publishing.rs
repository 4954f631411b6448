//! PUBLISH from a client to the others.

use martlet_engine::counters::Bound;
use martlet_engine::input::InPacket;

use crate::world::{World, delivery, durable, id, message, retained};

#[test]
fn every_session_that_wants_it_gets_it_connected_or_not() {
    // [MQTT-4.5.0-1] [MQTT-3.1.2-5]
    let mut world = World::new();
    let here = world.clean("here");
    world.subscribe(here, "t", 1);
    for qos in 0..3 {
        let away = world.durable(&format!("away {qos}"));
        world.subscribe(away, "t", qos);
        world.lose(away);
    }
    let publisher = world.clean("p");
    world.publish(publisher, message("t", "m", 2), 5);
    assert_eq!(world.heard(here), ["t m q1 #1"]);
    assert_eq!(world.kept.messages.len(), 1, "the body is kept once");
    for (qos, expected) in [(0, None), (1, Some("t m q1 #1")), (2, Some("t m q2 #1"))] {
        let away = world.durable(&format!("away {qos}"));
        assert_eq!(world.heard(away), expected.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn acknowledgements_carry_the_id() {
    // [MQTT-2.3.1-6] [MQTT-3.3.4-1]
    let mut world = World::new();
    let client = world.clean("c");
    world.publish(client, message("t", "m", 0), 0);
    world.publish(client, message("t", "m", 1), 65_535);
    world.publish(client, message("t", "m", 2), 300);
    world.packet(client, InPacket::PubRel(id(300)));
    assert_eq!(world.heard(client), ["PUBACK #65535", "PUBREC #300", "PUBCOMP #300"]);
}

#[test]
fn topics_of_any_text_and_length_arrive_byte_for_byte() {
    let longest = "x/".repeat(32_767) + "x";
    assert_eq!(longest.len(), 65_535);
    let rows = [
        ("\u{FEFF}a", "\u{FEFF}a"), // [MQTT-1.5.3-3] no byte order mark is taken away
        ("e\u{301}", "e\u{301}"),   // [MQTT-4.7.3-4] and nothing composed
        (&longest, &longest),       // [MQTT-4.7.3-3]
        ("é", ""),
        ("A", ""),
    ];
    let mut world = World::new();
    let client = world.clean("c");
    for filter in ["\u{FEFF}a", "e\u{301}", &longest, "a"] {
        world.subscribe(client, filter, 0);
    }
    for (topic, expected) in rows {
        world.inside(message(topic, "", 0));
        let heard = world.heard(client).concat();
        assert_eq!(heard.trim_end_matches(' '), expected);
    }
}

#[test]
fn dup_and_retain_of_the_publisher_are_not_carried_on() {
    // [MQTT-3.3.1-3] [MQTT-3.3.1-9]
    let mut world = World::new();
    let client = world.clean("c");
    world.subscribe(client, "t", 2);
    let message = retained("t", "m", 1);
    let delivery = delivery(message.qos(), 4, true);
    world.packet(client, InPacket::Publish { message, delivery });
    assert_eq!(world.heard(client), ["t m q1 #1", "PUBACK #4"]);
}

#[test]
fn order_is_kept_through_window_and_queue() {
    // [MQTT-4.6.0-5] [MQTT-4.6.0-6], I10; acknowledgements in the order of what they answer
    // [MQTT-4.6.0-2] [MQTT-4.6.0-3]
    let mut world =
        World::with(martlet_engine::limits::Limits { inflight_max: 2, ..crate::world::limits() });
    let client = world.durable("c");
    world.subscribe(client, "t", 2);
    let publisher = world.clean("p");
    for n in 1..=6 {
        let qos = 1 + (n % 2) as u8;
        world.publish(publisher, message("t", &n.to_string(), qos), n);
    }
    let acks = world.heard(publisher);
    let expected = ["PUBREC #1", "PUBACK #2", "PUBREC #3", "PUBACK #4", "PUBREC #5", "PUBACK #6"];
    assert_eq!(acks, expected);
    assert_eq!(world.heard(client), ["t 1 q2 #1", "t 2 q1 #2"]);
    world.packet(client, InPacket::PubAck(id(2)));
    assert_eq!(world.heard(client), ["t 3 q2 #3"]);
    world.packet(client, InPacket::PubRec(id(3)));
    world.packet(client, InPacket::PubRec(id(1)));
    // [MQTT-4.6.0-4] PUBREL in the order of PUBREC
    assert_eq!(world.heard(client), ["PUBREL #3", "PUBREL #1"]);
    world.lose(client);
    world.inside(message("t", "7", 1));
    let client = world.durable("c");
    assert_eq!(world.heard(client), ["PUBREL #1", "PUBREL #3"]);
    world.packet(client, InPacket::PubComp(id(1)));
    world.packet(client, InPacket::PubComp(id(3)));
    assert_eq!(world.heard(client), ["t 4 q1 #4", "t 5 q2 #5"]);
    world.packet(client, InPacket::PubRec(id(5)));
    world.packet(client, InPacket::PubAck(id(4)));
    world.packet(client, InPacket::PubComp(id(5)));
    assert_eq!(world.heard(client), ["PUBREL #5", "t 6 q1 #6", "t 7 q1 #7"]);
}

#[test]
fn retained_messages_are_set_replaced_and_cleared() {
    // What is published, what a new subscriber then gets.
    let rows = [
        (message("t", "a", 1), None),                        // [MQTT-3.3.1-12]
        (retained("t", "b", 0), Some("t b retained")),       // [MQTT-3.3.1-7]
        (message("t", "c", 1), Some("t b retained")),        // [MQTT-3.3.1-12]
        (retained("t", "d", 2), Some("t d q2 #1 retained")), // [MQTT-3.3.1-5] [MQTT-3.3.1-8]
        (retained("t", "e", 1), Some("t e q1 #1 retained")),
        (retained("t", "", 1), None), // [MQTT-3.3.1-10] [MQTT-3.3.1-11]
        (retained("t", "", 1), None),
        (retained("t", "f", 0), Some("t f retained")),
    ];
    let mut world = World::new();
    for (number, (message, expected)) in (1..).zip(rows) {
        let listener = world.clean("listener");
        world.subscribe(listener, "t", 2);
        world.read(listener);
        let publisher = world.clean("p");
        world.publish(publisher, message, 1);
        assert_eq!(world.heard(listener).len(), 1, "delivered as normal, row {number}");
        world.crash(); // [MQTT-3.1.2-7] they belong to no session
        let new = world.clean("new");
        world.subscribe(new, "t", 2);
        assert_eq!(world.heard(new), expected.into_iter().collect::<Vec<_>>(), "row {number}");
    }
}

#[test]
fn clients_do_not_publish_to_sys() {
    // [MQTT-3.3.5-2] acknowledged normally
    let mut world = World::new();
    let listener = world.clean("listener");
    world.subscribe(listener, "$SYS/#", 0);
    world.subscribe(listener, "$other/#", 0);
    let client = world.clean("c");
    world.publish(client, retained("$SYS/broker/uptime", "for ever", 1), 1);
    world.publish(client, message("$SYS", "m", 2), 2);
    world.publish(client, message("$other/x", "m", 0), 2);
    assert_eq!(world.heard(client), ["PUBACK #1", "PUBREC #2"]);
    assert_eq!(world.heard(listener), ["$other/x m"]);
    assert_eq!(world.engine.counters().dropped(Bound::SysTopic), 2);
    assert_eq!(world.engine.gauges().retained_messages, 0);
}

#[test]
fn counters_count() {
    let mut world = World::new();
    let client = world.clean("c");
    world.subscribe(client, "#", 1);
    world.publish(client, message("t", "12345", 1), 1);
    world.packet(client, InPacket::PubAck(id(1)));
    let away = world.connect(durable("d"));
    world.lose(away);
    let counters = world.engine.counters();
    assert_eq!(counters.packets_received, 5); // 2 CONNECT, SUBSCRIBE, PUBLISH, PUBACK
    assert_eq!(counters.packets_sent, 5); // 2 CONNACK, SUBACK, PUBLISH, PUBACK
    assert_eq!((counters.publishes_received, counters.publishes_sent), (1, 1));
    assert_eq!((counters.publish_bytes_received, counters.publish_bytes_sent), (5, 5));
    assert_eq!(counters.connected_max, 2);
    let gauges = world.engine.gauges();
    assert_eq!((gauges.sessions, gauges.connected, gauges.subscriptions), (2, 1, 1));
}
