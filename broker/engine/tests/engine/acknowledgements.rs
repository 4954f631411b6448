//! Every state of a Packet Identifier that a client uses, times every packet with it.

use martlet_engine::input::{InPacket, LinkId};

use crate::world::{World, clean, delivery, durable, id, message};

fn publish(world: &mut World, link: LinkId, qos: u8, dup: bool) {
    let message = message("t", "m", qos);
    let delivery = delivery(message.qos(), 1, dup);
    world.packet(link, InPacket::Publish { message, delivery });
}

/// Whether id 1 awaits PUBREL, the packet, the answer, whether the message is routed, whether the
/// id awaits PUBREL afterwards.
#[rustfmt::skip]
const TABLE: &[(bool, &str, &[&str], bool, bool)] = &[
    // [MQTT-3.3.4-1] [MQTT-4.3.3-2] [MQTT-2.3.1-6]
    (false, "PUBLISH 2", &["PUBREC #1"], true, true),
    (false, "PUBLISH 2 dup", &["PUBREC #1"], true, true), // the first that we see
    (false, "PUBLISH 1", &["PUBACK #1"], true, false), // [MQTT-3.3.4-1] [MQTT-4.3.2-2]
    (false, "PUBLISH 1 dup", &["PUBACK #1"], true, false),
    (false, "PUBREL", &["PUBCOMP #1"], false, false), // it may have missed the first PUBCOMP
    (false, "PUBACK", &[], false, false),
    (false, "PUBREC", &["PUBREL #1"], false, false),
    (false, "PUBCOMP", &[], false, false),
    (true, "PUBLISH 2", &["PUBREC #1"], false, true), // [MQTT-4.3.3-2] not routed twice
    (true, "PUBLISH 2 dup", &["PUBREC #1"], false, true),
    (true, "PUBLISH 1", &["PUBACK #1"], true, true), // a client's mistake [MQTT-2.3.1-2] of no harm
    (true, "PUBLISH 1 dup", &["PUBACK #1"], true, true),
    (true, "PUBREL", &["PUBCOMP #1"], false, false), // [MQTT-4.3.3-2]
    (true, "PUBACK", &[], false, true), // ids of the server are others (I5)
    (true, "PUBREC", &["PUBREL #1"], false, true),
    (true, "PUBCOMP", &[], false, true),
];

#[test]
fn every_state_answers_every_packet() {
    for &(received, packet, answers, routed, received_after) in TABLE {
        for crash in [false, true] {
            let mut world = World::new();
            let listener = world.clean("listener");
            world.subscribe(listener, "t", 2);
            let client = world.durable("c");
            if received {
                publish(&mut world, client, 2, false);
            }
            world.read(client);
            world.read(listener);
            match packet {
                "PUBLISH 2" => publish(&mut world, client, 2, false),
                "PUBLISH 2 dup" => publish(&mut world, client, 2, true),
                "PUBLISH 1" => publish(&mut world, client, 1, false),
                "PUBLISH 1 dup" => publish(&mut world, client, 1, true),
                "PUBREL" => drop(world.packet(client, InPacket::PubRel(id(1)))),
                "PUBACK" => drop(world.packet(client, InPacket::PubAck(id(1)))),
                "PUBREC" => drop(world.packet(client, InPacket::PubRec(id(1)))),
                "PUBCOMP" => drop(world.packet(client, InPacket::PubComp(id(1)))),
                other => panic!("{other}"),
            }
            let row = format!("received {received}, {packet}");
            assert_eq!(world.heard(client), answers, "{row}");
            assert_eq!(world.heard(listener).len(), usize::from(routed), "{row}");
            assert_eq!(world.farewell(client), None, "{row}");
            // The id is remembered across connections and across a crash.
            if crash {
                world.crash();
            } else {
                world.lose(client);
            }
            let client = world.durable("c");
            world.read(client);
            let listener = world.clean("listener 2");
            world.subscribe(listener, "t", 2);
            publish(&mut world, client, 2, true);
            assert_eq!(world.heard(client), ["PUBREC #1"], "{row}");
            assert_eq!(world.heard(listener).is_empty(), received_after, "{row}, afterwards");
        }
    }
}

#[test]
fn a_clean_session_forgets_the_ids() {
    // [MQTT-3.1.2-6]
    let mut world = World::new();
    let listener = world.clean("listener");
    world.subscribe(listener, "t", 2);
    for _ in 0..2 {
        let client = world.clean("c");
        publish(&mut world, client, 2, true);
        assert_eq!(world.heard(listener).len(), 1);
        world.lose(client);
    }
}

#[test]
fn a_promise_waits_for_the_disk_exactly_when_something_changed() {
    // I2
    let mut world = World::new();
    let clean_listener = world.clean("clean");
    world.subscribe(clean_listener, "clean", 2);
    let kept_listener = world.durable("kept");
    world.subscribe(kept_listener, "kept", 2);
    let rows = [
        // From whom, where to, at which QoS; whether the acknowledgement waits, and the PUBLISH.
        ("clean", "nobody", 1, false, None),
        ("clean", "clean", 1, false, Some(false)),
        ("clean", "clean", 2, false, Some(false)),
        ("clean", "kept", 1, true, Some(false)), // at least once: it may come again
        ("clean", "kept", 2, true, Some(true)),
        ("kept", "nobody", 1, false, None),
        ("kept", "nobody", 2, true, None),
        ("kept", "clean", 2, true, Some(false)), // the listener's session ends with its link
    ];
    for (number, (from, to, qos, ack_waits, publish_waits)) in (1..).zip(rows) {
        let connect = if from == "clean" { clean("p") } else { durable("p") };
        let client = world.connect(connect);
        let effects = world.publish(client, message(to, "m", qos), number);
        let row = format!("{from} to {to} at {qos}");
        let (acks, publishes): (Vec<_>, Vec<_>) =
            effects.outgoing.iter().partition(|outgoing| outgoing.link == client);
        assert_eq!(acks.iter().map(|o| o.promise).collect::<Vec<_>>(), [ack_waits], "{row}");
        let publishes: Vec<_> = publishes.iter().map(|o| o.promise).collect();
        assert_eq!(publishes, publish_waits.into_iter().collect::<Vec<_>>(), "{row}");
        world.packet(client, InPacket::Disconnect);
    }
}
