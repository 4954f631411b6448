//! A broker that dies and starts again from its facts.

use martlet_codec::reason::QoS;
use martlet_engine::change::Change;
use martlet_engine::input::{Connect, InPacket, Input};
use martlet_engine::limits::Limits;
use martlet_engine::snapshot::Snapshot;

use crate::world::{World, clean, durable, filter, id, limits, message, retained};

#[test]
fn everything_durable_goes_on() {
    // [MQTT-4.1.0-1] [MQTT-3.1.3-2]
    let mut world = World::new();
    let client = world.durable("c");
    world.subscribe(client, "t", 2);
    world.subscribe(client, "$share/g/s", 1);
    for (payload, qos) in [("a", 1), ("b", 2), ("c", 2)] {
        world.inside(message("t", payload, qos));
    }
    world.packet(client, InPacket::PubRec(id(2)));
    world.publish(client, message("x", "in", 2), 77);
    world.inside(retained("r", "kept", 1));
    world.lose(client);
    world.inside(message("t", "d", 1));
    world.inside(message("s", "e", 1));
    world.crash();
    assert_eq!(world.engine.gauges().subscriptions, 2);
    assert_eq!(world.engine.gauges().retained_messages, 1);
    let client = world.open(durable("c"));
    let expected =
        ["CONNACK 0 true", "t a q1 #1 dup", "PUBREL #2", "t c q2 #3 dup", "t d q1 #4", "s e q1 #5"];
    assert_eq!(world.heard(client), expected);
    world.publish(client, message("t", "in", 2), 77); // received before
    assert_eq!(world.heard(client), ["PUBREC #77"]);
}

#[test]
fn clean_sessions_leave_no_fact_but_their_will() {
    let mut world = World::new();
    let client = world.clean("c");
    world.subscribe(client, "t", 2);
    world.inside(message("t", "m", 2));
    world.publish(client, message("t", "m", 2), 1);
    assert_eq!(world.kept, Snapshot::default());
    world.connect(Connect { will: Some(message("w", "gone", 0)), ..clean("d") });
    let expected = Change::KeepWill { client_id: "d".into(), will: message("w", "gone", 0) };
    assert_eq!(world.changes(), [expected]);
}

#[test]
fn those_who_were_connected_are_detached_and_their_wills_fire_before_the_first_input() {
    let mut world = World::new();
    world.connect(Connect { will: Some(retained("w/c", "gone", 1)), ..durable("c") });
    world.connect(Connect { will: Some(retained("w/d", "gone", 1)), ..clean("d") });
    let listener = world.durable("listener");
    world.subscribe(listener, "w/#", 1);
    world.crash();
    let start = world.now;
    assert_eq!(world.engine.next_deadline(), Some(start), "as soon as may be");
    world.now.0 += 5;
    world.packet(listener, InPacket::PingReq); // of a link before the crash: any input
    assert!(world.kept.wills.is_empty());
    let detached: Vec<_> = world.kept.sessions.values().map(|kept| kept.detached).collect();
    assert_eq!(detached, [Some(start), Some(start)]);
    let listener = world.connect(durable("listener"));
    assert_eq!(world.heard(listener), ["w/c gone q1 #1", "w/d gone q1 #2"]);
    assert_eq!(world.kept.retained.len(), 2);
}

#[test]
fn names_of_messages_are_not_given_twice() {
    let mut world = World::new();
    let client = world.durable("c");
    world.subscribe(client, "t", 1);
    world.lose(client);
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..4 {
        world.step(Input::Publish(message("t", "m", 1)));
        let Change::KeepMessage { key, .. } = &world.changes()[0] else { panic!("kept first") };
        assert!(names.insert(*key));
        world.crash();
        world.step(Input::Due);
    }
}

#[test]
fn a_bound_that_was_lowered_takes_nothing_away() {
    let mut world = World::with(Limits { inflight_max: 20, ..limits() });
    let client = world.durable("c");
    world.subscribe(client, "t", 1);
    for n in 0..30 {
        world.inside(message("t", &n.to_string(), 1));
        world.inside(retained(&format!("r/{n}"), "r", 0));
    }
    world.limits.inflight_max = 2;
    world.limits.queue_messages_max = 1;
    world.limits.retained_messages_max = 1;
    world.limits.sessions_max = 0;
    world.crash();
    assert_eq!(world.engine.gauges().waiting_messages, 30);
    assert_eq!(world.engine.gauges().retained_messages, 30);
    let client = world.connect(durable("c"));
    assert_eq!(world.heard(client).len(), 20, "those that were in flight");
    for number in 1..=18 {
        world.packet(client, InPacket::PubAck(id(number)));
    }
    assert_eq!(world.heard(client), [""; 0], "two are in flight still");
    world.packet(client, InPacket::PubAck(id(19)));
    assert_eq!(world.heard(client), ["t 20 q1 #21"]);
}

#[test]
fn more_in_flight_at_qos_2_than_the_new_bound_end_first() {
    let mut world = World::new();
    let client = world.durable("c");
    world.subscribe(client, "t", 2);
    for (payload, qos) in [("a", 2), ("b", 1), ("c", 2), ("d", 2)] {
        world.inside(message("t", payload, qos));
    }
    world.packet(client, InPacket::PubRec(id(1)));
    world.limits.inflight_qos2_max = 1;
    world.crash();
    let client = world.connect(durable("c"));
    let resent = ["PUBREL #1", "t b q1 #2 dup", "t c q2 #3 dup", "t d q2 #4 dup"];
    assert_eq!(world.heard(client), resent);
    for (payload, qos) in [("e", 1), ("f", 2), ("g", 1)] {
        world.inside(message("t", payload, qos));
    }
    assert_eq!(world.heard(client), ["t e q1 #5"], "a window of its own");
    world.packet(client, InPacket::PubComp(id(1)));
    assert_eq!(world.heard(client), [""; 0], "two are not released yet");
    world.packet(client, InPacket::PubRec(id(3)));
    assert_eq!(world.heard(client), ["PUBREL #3"], "one is not");
    world.packet(client, InPacket::PubRec(id(4)));
    assert_eq!(world.heard(client), ["PUBREL #4", "t f q2 #6", "t g q1 #7"]);
}

#[test]
fn a_subscription_of_before_replay_meant_history_goes() {
    let mut world = World::new();
    let client = world.durable("c");
    world.subscribe(client, "t", 1);
    world.lose(client);
    for text in ["$replay/-1h/a/#", "$replay/#"] {
        let change = Change::Subscribe {
            client_id: "c".into(),
            filter: filter(text),
            qos: QoS::AtLeastOnce,
        };
        world.kept.apply(&change);
    }
    world.crash();
    assert_eq!(world.engine.gauges().subscriptions, 1);
    world.inside(message("a/b", "nobody asked for it", 1));
    assert_eq!(world.kept.sessions["c"].subscriptions.len(), 1, "the store knows that it went");
    let client = world.connect(durable("c"));
    assert_eq!(world.heard(client), [""; 0]);
}
