//! Every state of a message to a client, times every packet of that client.

use martlet_engine::input::{InPacket, LinkId};

use crate::world::{World, durable, id, message};

/// A client with one message under id 1 in the state.
fn in_state(world: &mut World, state: &str) -> LinkId {
    let client = world.durable("c");
    world.subscribe(client, "t", 2);
    match state {
        "none" => {}
        "sent QoS 1" => world.inside(message("t", "m", 1)),
        "sent QoS 2" => world.inside(message("t", "m", 2)),
        "PUBREC came" => {
            world.inside(message("t", "m", 2));
            world.packet(client, InPacket::PubRec(id(1)));
        }
        other => panic!("{other}"),
    }
    world.read(client);
    client
}

/// State, packet with id 1, what is answered, what goes out when the session then resumes, the rule
/// that is broken.
type Row<'a> = (&'a str, &'a str, &'a [&'a str], &'a [&'a str], Option<&'a str>);

#[rustfmt::skip]
const TABLE: &[Row<'_>] = &[
    // An id that is not in use: late or repeated acknowledgements are let pass.
    ("none", "PUBACK", &[], &[], None),
    ("none", "PUBREC", &["PUBREL #1"], &[], None), // [MQTT-4.3.3-1]
    ("none", "PUBCOMP", &[], &[], None),
    // [MQTT-4.3.2-1] unacknowledged until PUBACK; [MQTT-4.4.0-1] [MQTT-3.3.1-1] again with DUP
    ("sent QoS 1", "nothing", &[], &["t m q1 #1 dup"], None),
    ("sent QoS 1", "PUBACK", &[], &[], None),
    ("sent QoS 1", "PUBREC", &[], &["t m q1 #1 dup"], Some("MQTT-3.3.4-1")),
    ("sent QoS 1", "PUBCOMP", &[], &["t m q1 #1 dup"], Some("MQTT-3.3.4-1")),
    ("sent QoS 1", "PUBREL", &["PUBCOMP #1"], &["t m q1 #1 dup"], None), // the client's own id (I5)
    // [MQTT-4.3.3-1] unacknowledged until PUBREC, PUBREL until PUBCOMP
    ("sent QoS 2", "nothing", &[], &["t m q2 #1 dup"], None),
    ("sent QoS 2", "PUBACK", &[], &["t m q2 #1 dup"], Some("MQTT-3.3.4-1")),
    ("sent QoS 2", "PUBREC", &["PUBREL #1"], &["PUBREL #1"], None),
    ("sent QoS 2", "PUBCOMP", &[], &["t m q2 #1 dup"], Some("MQTT-4.3.3-2")),
    ("sent QoS 2", "PUBREL", &["PUBCOMP #1"], &["t m q2 #1 dup"], None),
    ("PUBREC came", "nothing", &[], &["PUBREL #1"], None), // no PUBLISH again
    ("PUBREC came", "PUBACK", &[], &["PUBREL #1"], Some("MQTT-3.3.4-1")),
    ("PUBREC came", "PUBREC", &["PUBREL #1"], &["PUBREL #1"], None),
    ("PUBREC came", "PUBCOMP", &[], &[], None),
    ("PUBREC came", "PUBREL", &["PUBCOMP #1"], &["PUBREL #1"], None),
];

#[test]
fn every_state_answers_every_packet() {
    for &(state, packet, answers, resumed, broken) in TABLE {
        for crash in [false, true] {
            let mut world = World::new();
            let client = in_state(&mut world, state);
            match packet {
                "nothing" => {}
                "PUBACK" => drop(world.packet(client, InPacket::PubAck(id(1)))),
                "PUBREC" => drop(world.packet(client, InPacket::PubRec(id(1)))),
                "PUBREL" => drop(world.packet(client, InPacket::PubRel(id(1)))),
                "PUBCOMP" => drop(world.packet(client, InPacket::PubComp(id(1)))),
                other => panic!("{other}"),
            }
            let row = format!("{state}, {packet}");
            assert_eq!(world.heard(client), answers, "{row}");
            assert_eq!(world.violated(client), broken, "{row}");
            if crash {
                world.crash();
            } else {
                world.lose(client);
            }
            let client = world.open(durable("c"));
            let heard = world.heard(client);
            assert_eq!(heard[0], "CONNACK 0 true", "{row}");
            assert_eq!(&heard[1..], resumed, "{row}, resumed");
        }
    }
}

#[test]
fn resends_in_the_order_of_first_sending_then_the_queue() {
    // [MQTT-4.6.0-1] [MQTT-4.6.0-4] [MQTT-4.4.0-1]
    let mut world = World::new();
    let client = world.durable("c");
    world.subscribe(client, "t", 2);
    for (payload, qos) in [("a", 1), ("b", 2), ("c", 2), ("d", 1), ("e", 1)] {
        world.inside(message("t", payload, qos));
    }
    world.packet(client, InPacket::PubRec(id(2)));
    world.packet(client, InPacket::PubAck(id(4)));
    world.lose(client);
    world.inside(message("t", "f", 1));
    world.inside(message("t", "g", 0));
    for crash in [false, true] {
        if crash {
            world.crash();
        }
        let client = world.open(durable("c"));
        let dup = if crash { " dup" } else { "" };
        let expected = [
            "CONNACK 0 true".to_owned(),
            "t a q1 #1 dup".into(),
            "PUBREL #2".into(),
            "t c q2 #3 dup".into(),
            "t e q1 #5 dup".into(),
            format!("t f q1 #6{dup}"),
        ];
        assert_eq!(world.heard(client), expected);
        if !crash {
            world.lose(client);
        }
    }
}

#[test]
fn resending_waits_for_room_and_new_messages_wait_for_it() {
    let mut world = World::new();
    let client = world.durable("c");
    world.subscribe(client, "t", 1);
    for payload in ["a", "b", "c"] {
        world.inside(message("t", payload, 1));
    }
    world.lose(client);
    let mut connect = durable("c");
    connect.room_bytes = 65;
    let client = world.open(connect);
    assert_eq!(world.heard(client), ["CONNACK 0 true", "t a q1 #1 dup"]);
    world.inside(message("t", "d", 1));
    assert_eq!(world.heard(client), [""; 0]);
    world.packet(client, InPacket::PubAck(id(1)));
    world.packet(client, InPacket::PubAck(id(3))); // of an earlier connection, not yet sent again
    assert_eq!(world.heard(client), [""; 0]);
    world.room(client, 65 + 64);
    assert_eq!(world.heard(client), ["t b q1 #2 dup"]);
    world.room(client, 66);
    assert_eq!(world.heard(client), ["t d q1 #4"]);
}

#[test]
fn ids_are_not_given_twice_while_in_use() {
    // [MQTT-2.3.1-4]: once around all 65,535 with one of them never settled
    let mut world = World::new();
    let client = world.clean("c");
    world.subscribe(client, "t", 1);
    let stuck = 3;
    let mut expected = 0u16;
    for _ in 0..70_000 {
        world.step_unchecked(martlet_engine::input::Input::Publish(message("t", "m", 1)));
        expected = if expected == u16::MAX { 1 } else { expected + 1 };
        if expected == stuck && world.engine.counters().publishes_sent > 3 {
            expected += 1;
        }
        assert_eq!(world.heard(client), [format!("t m q1 #{expected}")]);
        world.step_unchecked(martlet_engine::input::Input::Room { link: client, bytes: 1000 });
        if expected != stuck {
            let packet = InPacket::PubAck(id(expected));
            world.step_unchecked(martlet_engine::input::Input::Packet { link: client, packet });
        }
    }
}

#[test]
fn acknowledgements_in_any_order_settle_theirs() {
    let mut world = World::with(martlet_engine::limits::Limits {
        inflight_max: 1000,
        ..crate::world::limits()
    });
    let client = world.clean("c");
    world.subscribe(client, "t", 1);
    for round in 0..5u16 {
        for _ in 0..1000 {
            world.step_unchecked(martlet_engine::input::Input::Publish(message("t", "m", 1)));
        }
        assert_eq!(world.read(client).len(), 1000);
        world.room(client, u32::MAX);
        let first = round * 1000 + 1;
        // 7 and 1000 have no common divisor: each once
        for n in 0..1000u16 {
            let packet = InPacket::PubAck(id(first + n * 7 % 1000));
            world.step_unchecked(martlet_engine::input::Input::Packet { link: client, packet });
        }
        assert_eq!(world.engine.gauges().waiting_messages, 0);
    }
}
