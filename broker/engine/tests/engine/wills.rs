//! Wills: when they are published, when not, and once.

use martlet_engine::input::{Connect, InPacket, Input, LinkId, LostCause};

use crate::world::{World, clean, durable, id, message, retained};

fn malformed() -> LostCause {
    LostCause::Malformed { rule: "MQTT-2.2.2-2", reason: "flags" }
}

fn end(world: &mut World, client: LinkId, how: &str) {
    match how {
        "DISCONNECT" => drop(world.packet(client, InPacket::Disconnect)),
        "closed" => world.lose(client),
        "malformed" => drop(world.step(Input::Lost { link: client, cause: malformed() })),
        "violation" => {
            world.packet(client, InPacket::Forbidden { rule: "MQTT-3.1.0-2" });
        }
        "keep alive" => world.wait(15_000),
        "taken over" => drop(world.clean("c")),
        "shutdown" => {
            world.step(Input::Shutdown);
            world.crash(); // the next process
        }
        "crash" => world.crash(),
        other => panic!("{other}"),
    }
}

#[test]
fn the_will_fires_for_every_end_but_disconnect() {
    // [MQTT-3.1.2-8] [MQTT-3.1.2-10] [MQTT-3.14.4-3]
    let rows = [
        ("DISCONNECT", false),
        ("closed", true),
        ("malformed", true),
        ("violation", true),
        ("keep alive", true),
        ("taken over", true), // [MQTT-3.1.4-2]
        ("shutdown", true),
        ("crash", true),
    ];
    for (how, fires) in rows {
        for connect in [clean("c"), durable("c")] {
            let mut world = World::new();
            let listener = world.durable("listener");
            world.subscribe(listener, "will", 2);
            let will = Some(message("will", "gone", 1));
            let client = world.connect(Connect { will, keep_alive_s: 10, ..connect });
            assert_eq!(world.kept.wills.len(), 1);
            end(&mut world, client, how);
            if how == "crash" {
                world.step(Input::Due);
            }
            if how == "shutdown" || how == "crash" {
                world.read(listener);
                let listener = world.connect(durable("listener"));
                let dup = if how == "shutdown" { " dup" } else { "" };
                assert_eq!(world.heard(listener), [format!("will gone q1 #1{dup}")], "{how}");
            } else {
                let expected: &[&str] = if fires { &["will gone q1 #1"] } else { &[] };
                assert_eq!(world.heard(listener), expected, "{how}");
            }
            assert!(world.kept.wills.is_empty(), "{how}");
            world.wait(100_000);
            assert_eq!(world.heard(listener), [""; 0], "[MQTT-3.1.2-10] once, {how}");
        }
    }
}

#[test]
fn without_a_will_none_fires() {
    // [MQTT-3.1.2-12], also not that of the connection before
    let mut world = World::new();
    let listener = world.clean("listener");
    world.subscribe(listener, "#", 0);
    let client = world.connect(Connect { will: Some(message("will", "w", 0)), ..durable("c") });
    world.packet(client, InPacket::Disconnect);
    let client = world.durable("c");
    world.lose(client);
    assert_eq!(world.heard(listener), [""; 0]);
}

#[test]
fn a_will_is_retained_if_it_says_so() {
    let mut world = World::new();
    for (will, expected) in [
        (message("a", "w", 0), None),                        // [MQTT-3.1.2-16]
        (retained("b", "w", 1), Some("b w q1 #1 retained")), // [MQTT-3.1.2-17]
    ] {
        let client = world.connect(Connect { will: Some(will), ..clean("c") });
        world.lose(client);
        let listener = world.clean("listener");
        world.subscribe(listener, "#", 2);
        assert_eq!(world.heard(listener), expected.into_iter().collect::<Vec<_>>());
        world.packet(listener, InPacket::Disconnect);
    }
}

#[test]
fn a_kept_session_queues_its_own_will() {
    let mut world = World::new();
    let client = world.connect(Connect { will: Some(message("t", "w", 1)), ..durable("c") });
    world.subscribe(client, "t", 1);
    let client = world.open(durable("c"));
    assert_eq!(world.heard(client), ["CONNACK 0 true", "t w q1 #1"]);
    world.packet(client, InPacket::PubAck(id(1)));
    assert_eq!(world.engine.gauges().waiting_messages, 0);
}

#[test]
fn a_will_to_sys_goes_nowhere() {
    let mut world = World::new();
    let listener = world.clean("listener");
    world.subscribe(listener, "$SYS/#", 0);
    let client = world.connect(Connect { will: Some(retained("$SYS/x", "w", 0)), ..clean("c") });
    world.lose(client);
    assert_eq!(world.heard(listener), [""; 0]);
    assert_eq!(world.engine.gauges().retained_messages, 0);
}
