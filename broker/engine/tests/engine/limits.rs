//! Each bound: what happens at it, and that it is counted.

use martlet_engine::counters::Bound;
use martlet_engine::effects::{Farewell, Notice};
use martlet_engine::input::{Connect, InPacket, Input};
use martlet_engine::limits::Limits;

use crate::world::{World, clean, durable, id, limits, message, retained};

#[test]
fn inflight_max() {
    let mut world = World::with(Limits { inflight_max: 2, ..limits() });
    let client = world.clean("c");
    world.subscribe(client, "t", 1);
    for payload in ["a", "b", "c", "d"] {
        world.inside(message("t", payload, 1));
    }
    assert_eq!(world.heard(client), ["t a q1 #1", "t b q1 #2"]);
    world.inside(message("t", "e", 0)); // QoS 0 has no window
    assert_eq!(world.heard(client), ["t e"]);
    world.packet(client, InPacket::PubAck(id(2)));
    assert_eq!(world.heard(client), ["t c q1 #3"]);
    assert_eq!(world.engine.counters().messages_dropped(), 0);
}

/// Of what waits, the first goes when all its windows are open; nothing overtakes it (I10).
#[test]
fn inflight_qos2_max() {
    let limits = Limits { inflight_max: 4, inflight_qos2_max: 1, ..limits() };
    let mut world = World::with(limits);
    let client = world.durable("c");
    world.subscribe(client, "t", 2);
    for (payload, qos) in [("a", 2), ("b", 1), ("c", 2), ("d", 1), ("e", 1), ("f", 1), ("g", 1)] {
        world.inside(message("t", payload, qos));
    }
    assert_eq!(world.heard(client), ["t a q2 #1", "t b q1 #2"]);
    world.packet(client, InPacket::PubRec(id(1)));
    let forgets = "with PUBREL the client forgets the id, and PUBCOMP need not have come";
    assert_eq!(world.heard(client), ["PUBREL #1", "t c q2 #3", "t d q1 #4"], "{forgets}");
    world.crash();
    let client = world.connect(durable("c"));
    let resent = ["PUBREL #1", "t b q1 #2 dup", "t c q2 #3 dup", "t d q1 #4 dup"];
    assert_eq!(world.heard(client), resent, "four in all");
    world.packet(client, InPacket::PubComp(id(1)));
    assert_eq!(world.heard(client), ["t e q1 #5"]);
    world.packet(client, InPacket::PubAck(id(2)));
    assert_eq!(world.heard(client), ["t f q1 #6"]);
    world.inside(message("t", "h", 2));
    world.packet(client, InPacket::PubAck(id(4)));
    world.packet(client, InPacket::PubAck(id(5)));
    assert_eq!(world.heard(client), ["t g q1 #7"]);
    world.packet(client, InPacket::PubRec(id(3)));
    assert_eq!(world.heard(client), ["PUBREL #3", "t h q2 #8"]);
    assert_eq!(world.engine.counters().messages_dropped(), 0);
}

#[test]
fn inflight_bytes_max() {
    let mut world = World::with(Limits { inflight_bytes_max: 4, ..limits() });
    let client = world.durable("c");
    world.subscribe(client, "t", 2);
    for (payload, qos) in [("a", 1), ("bb", 2), ("c", 1), ("large", 1), ("d", 1)] {
        world.inside(message("t", payload, qos)); // the topic: one byte more
    }
    assert_eq!(world.heard(client), ["t a q1 #1", "t bb q2 #2"]);
    world.crash();
    let client = world.connect(durable("c"));
    assert_eq!(world.heard(client), ["t a q1 #1 dup", "t bb q2 #2 dup"]);
    world.packet(client, InPacket::PubRec(id(2)));
    world.packet(client, InPacket::PubComp(id(2)));
    assert_eq!(world.heard(client), ["PUBREL #2", "t c q1 #3"]);
    world.packet(client, InPacket::PubAck(id(1)));
    assert_eq!(world.heard(client), ["t large q1 #4"], "however large: it is below with 2");
    world.packet(client, InPacket::PubAck(id(3)));
    assert_eq!(world.heard(client), [""; 0]);
    world.packet(client, InPacket::PubAck(id(4)));
    assert_eq!(world.heard(client), ["t d q1 #5"]);
}

#[test]
fn queue_messages_max_and_queue_bytes_max() {
    let by_count = Limits { queue_messages_max: 2, ..limits() };
    let by_bytes = Limits { queue_messages_max: 0, queue_bytes_max: 5, ..limits() };
    for (limits, bound) in [(by_count, Bound::QueueMessages), (by_bytes, Bound::QueueBytes)] {
        let mut world = World::with(limits);
        let client = world.durable("c");
        world.subscribe(client, "t", 1);
        world.lose(client);
        for payload in ["a", "b"] {
            world.inside(message("t", payload, 1)); // topic and payload: two bytes each
            assert_eq!(world.notices(), []);
        }
        world.inside(message("t", "c", 1));
        let notice = Notice::Dropping { client_id: "c".into(), limit: bound.name() };
        assert_eq!(world.notices(), [notice]);
        world.inside(message("t", "d", 1));
        assert_eq!(world.notices(), [], "the log is told once");
        assert_eq!(world.engine.counters().dropped(bound), 2);
        assert_eq!(world.engine.counters().messages_dropped(), 2);
        let client = world.durable("c");
        assert_eq!(world.heard(client), ["t a q1 #1", "t b q1 #2"], "the new ones are dropped");
    }
}

#[test]
fn all_queues_bytes_max() {
    // Two places, and one message of two bytes.
    let mut world = World::with(Limits { all_queues_bytes_max: 2 * 64 + 64 + 2, ..limits() });
    for client_id in ["c", "d"] {
        let client = world.durable(client_id);
        world.subscribe(client, "t", 1);
        world.lose(client);
    }
    world.inside(message("t", "a", 1));
    assert_eq!(world.engine.gauges().queues_bytes, 2 * 64 + 64 + 2, "the message counts once");
    world.notices();
    world.inside(message("t", "b", 1));
    let limit = Bound::AllQueues.name();
    let dropping = |client_id: &str| Notice::Dropping { client_id: client_id.into(), limit };
    assert_eq!(world.notices(), ["c", "d"].map(dropping));
    assert_eq!(world.engine.counters().dropped(Bound::AllQueues), 2);
    // Whoever is there gets it all the same, and so does a session that has room again.
    let client = world.durable("c");
    assert_eq!(world.heard(client), ["t a q1 #1"]);
    world.inside(message("t", "c", 1));
    assert_eq!(world.heard(client), ["t c q1 #2"]);
    assert_eq!(world.engine.counters().dropped(Bound::AllQueues), 3, "the other is still away");
    let other = world.durable("d");
    assert_eq!(world.heard(other), ["t a q1 #1"]);
    assert_eq!(world.engine.gauges().queues_bytes, 0);
}

#[test]
fn queue_qos0() {
    for queue_qos0 in [false, true] {
        let mut world = World::with(Limits { queue_qos0, ..limits() });
        let client = world.durable("c");
        world.subscribe(client, "t", 1);
        world.lose(client);
        world.inside(message("t", "a", 0));
        world.inside(message("t", "b", 1));
        world.inside(message("t", "c", 0));
        world.crash();
        let client = world.durable("c");
        let expected: &[&str] =
            if queue_qos0 { &["t a", "t b q1 #1", "t c"] } else { &["t b q1 #1"] };
        assert_eq!(world.heard(client), expected);
    }
}

#[test]
fn a_qos_0_message_does_not_pass_those_that_were_queued() {
    // I10, [MQTT-4.6.0-6]
    let mut world = World::with(Limits { queue_qos0: true, inflight_max: 1, ..limits() });
    let client = world.durable("c");
    world.subscribe(client, "t", 1);
    world.lose(client);
    for (payload, qos) in [("a", 1), ("b", 1), ("c", 0)] {
        world.inside(message("t", payload, qos));
    }
    let client = world.durable("c");
    world.inside(message("t", "d", 0));
    assert_eq!(world.heard(client), ["t a q1 #1"]);
    world.packet(client, InPacket::PubAck(id(1)));
    assert_eq!(world.heard(client), ["t b q1 #2", "t c", "t d"]);
    world.inside(message("t", "e", 0));
    assert_eq!(world.heard(client), ["t e"]);
}

#[test]
fn room_of_the_outbox() {
    let mut world = World::new();
    let client = world.connect(Connect { room_bytes: 64 + 150, ..clean("c") });
    // 64 for the CONNACK, 64 for the SUBACK and its byte
    world.subscribe(client, "t", 1);
    world.inside(message("t", "a", 0)); // 66 of 85
    world.inside(message("t", "b", 0)); // the last that finds any
    world.inside(message("t", "c", 0));
    world.inside(message("t", "d", 1));
    world.packet(client, InPacket::PingReq); // an answer goes always
    assert_eq!(world.heard(client), ["t a", "t b", "PINGRESP"]);
    assert_eq!(world.engine.counters().dropped(Bound::Outbox), 1);
    world.room(client, 66);
    assert_eq!(world.heard(client), [""; 0], "not enough yet");
    world.room(client, 300);
    assert_eq!(world.heard(client), ["t d q1 #1"]);
    world.inside(message("t", "e", 0));
    assert_eq!(world.heard(client), ["t e"]);
    assert_eq!(world.engine.counters().messages_dropped(), 1);
}

#[test]
fn the_log_is_told_of_losses_once_until_the_client_has_caught_up() {
    let mut world = World::new();
    let client = world.connect(Connect { room_bytes: 200, ..clean("c") });
    world.subscribe(client, "t", 0);
    let mut notices = 0;
    let mut flood = |world: &mut World| {
        for _ in 0..10 {
            world.inside(message("t", "m", 0));
            notices += world.notices().len();
        }
        notices
    };
    for _ in 0..5 {
        assert_eq!(flood(&mut world), 1);
        world.room(client, 390); // slow: loses again before it took 400
    }
    world.room(client, 10);
    for _ in 0..7 {
        world.inside(message("t", "m", 0));
        world.room(client, 66);
    }
    assert_eq!(flood(&mut world), 2);
}

#[test]
fn the_largest_message_passes_the_smallest_outbox() {
    let mut world = World::new();
    let client = world.connect(Connect { room_bytes: 1000, ..clean("c") });
    world.subscribe(client, "t", 0);
    world.inside(message("t", &"x".repeat(1 << 20), 0));
    assert_eq!(world.read(client).len(), 1);
}

#[test]
fn retained_messages_max_and_retained_bytes_max() {
    let by_count = Limits { retained_messages_max: 2, ..limits() };
    let by_bytes = Limits { retained_bytes_max: 5, ..limits() };
    for (limits, bound) in [(by_count, Bound::RetainedMessages), (by_bytes, Bound::RetainedBytes)] {
        let mut world = World::with(limits);
        let client = world.clean("c");
        world.subscribe(client, "c", 0);
        for topic in ["a", "b", "c"] {
            world.inside(retained(topic, "1", 0));
        }
        assert_eq!(world.heard(client), ["c 1"], "delivered, not retained");
        assert_eq!(world.engine.counters().dropped(bound), 1);
        let limit = bound.name();
        assert_eq!(world.notices(), [Notice::NotRetained { limit }]);
        world.inside(retained("c", "1", 0));
        assert_eq!(world.notices(), [], "the log is told once");
        world.inside(retained("a", "2", 0)); // a known topic may change
        world.inside(retained("b", "", 0)); // and make place
        world.inside(retained("c", "3", 0));
        let client = world.clean("d");
        world.subscribe(client, "#", 0);
        assert_eq!(world.heard(client), ["a 2 retained", "c 3 retained"]);
    }
}

#[test]
fn a_retained_message_that_outgrows_the_bound_leaves_no_old_one() {
    let mut world = World::with(Limits { retained_bytes_max: 5, ..limits() });
    world.inside(retained("a", "old", 0));
    world.inside(retained("a", "newer", 0));
    assert_eq!(world.engine.counters().dropped(Bound::RetainedBytes), 1);
    assert_eq!(world.engine.gauges().retained_messages, 0);
    assert_eq!(world.engine.gauges().retained_bytes, 0);
}

#[test]
fn sessions_max() {
    let mut world = World::with(Limits { sessions_max: 2, ..limits() });
    let first = world.durable("a");
    world.lose(first);
    world.clean("b");
    let refused = world.open(clean("c"));
    assert_eq!(world.heard(refused), ["CONNACK 3 false"]);
    assert_eq!(world.engine.counters().dropped(Bound::Sessions), 1);
    world.durable("a"); // a known one may come back
    world.clean("b"); // and be taken over
    assert_eq!(world.engine.gauges().sessions, 2);
}

#[test]
fn received_max() {
    // [MQTT-4.8.0-2]
    let mut world = World::with(Limits { received_max: 2, ..limits() });
    let client = world.clean("c");
    world.publish(client, message("t", "m", 2), 1);
    world.publish(client, message("t", "m", 2), 2);
    world.publish(client, message("t", "m", 2), 2);
    assert_eq!(world.farewell(client), None);
    world.publish(client, message("t", "m", 2), 3);
    let limit = "received_max";
    assert_eq!(world.farewell(client), Some(Farewell::LimitReached { limit }));
    assert_eq!(world.engine.counters().dropped(Bound::Received), 1);
}

#[test]
fn new_limits_hold_from_here_on() {
    let mut world = World::new();
    let early = world.durable("early");
    let late = world.durable("late");
    world.lose(early);
    let change = |world: &mut World, change: fn(&mut Limits)| {
        change(&mut world.limits);
        let limits = Box::new(world.limits.clone());
        world.step(Input::Limits(limits));
    };
    // A lower expiry reaches who is away already.
    change(&mut world, |limits| limits.session_expiry_s = 10);
    world.wait(9_000);
    assert_eq!(world.engine.gauges().sessions, 2);
    world.wait(1_000);
    assert_eq!(world.engine.gauges().sessions, 1, "early is forgotten");
    // A higher one too.
    world.lose(late);
    change(&mut world, |limits| limits.session_expiry_s = 30);
    world.wait(15_000);
    assert_eq!(world.engine.gauges().sessions, 1);
    world.wait(15_000);
    assert_eq!(world.engine.gauges().sessions, 0, "late is forgotten");
    // What is held beyond a lowered bound stays; nothing more comes.
    let away = world.durable("away");
    world.subscribe(away, "t", 1);
    world.lose(away);
    world.inside(message("t", "1", 1));
    world.inside(message("t", "2", 1));
    change(&mut world, |limits| limits.queue_messages_max = 1);
    world.inside(message("t", "3", 1));
    assert_eq!(world.engine.gauges().waiting_messages, 2);
    assert_eq!(world.engine.counters().dropped(Bound::QueueMessages), 1);
    // `$SYS` begins when it is asked for.
    assert_eq!(world.engine.gauges().retained_messages, 0);
    change(&mut world, |limits| limits.sys_interval_s = 5);
    world.wait(5_000);
    assert!(world.engine.gauges().retained_messages > 20);
}
