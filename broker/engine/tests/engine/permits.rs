//! What a client may do: asked when it publishes, when a message is for it, when one leaves its
//! queue.

use std::sync::Arc;

use martlet_codec::topic::TopicName;
use martlet_engine::counters::Bound;
use martlet_engine::effects::Notice;
use martlet_engine::filter::Filter;
use martlet_engine::input::{Connect, InPacket, Input, LinkId};
use martlet_engine::limits::Limits;
use martlet_engine::permit::{Permission, Permit};

use crate::world::{World, clean, durable, filter, id, limits, message, qos, retained};

/// May publish below `write/`, receive below `read/` and its own client id, and subscribe to
/// nothing that is called `secret`.
#[derive(Debug)]
struct Usual;

impl Permit for Usual {
    fn may_publish(&self, _client_id: &str, topic: TopicName<'_>) -> bool {
        topic.as_str().starts_with("write/") || topic.is_dollar()
    }

    fn may_receive(&self, client_id: &str, topic: TopicName<'_>) -> bool {
        topic.as_str().starts_with("read/") || topic.as_str().starts_with(client_id)
    }

    fn may_subscribe(&self, _client_id: &str, filter: &Filter) -> bool {
        filter.as_str() != "secret"
    }
}

fn usual() -> Permission {
    Some(Arc::new(Usual))
}

fn permitted(connect: Connect) -> Connect {
    Connect { permit: usual(), ..connect }
}

fn dropped(world: &World, bound: Bound) -> u64 {
    world.engine.counters().dropped(bound)
}

fn rules(world: &mut World, permits: Vec<(LinkId, Permission)>) {
    world.step(Input::Permits(permits));
}

#[test]
fn a_denied_publish_is_acknowledged_counted_and_goes_nowhere() {
    // [MQTT-3.3.5-2]
    let mut world = World::new();
    let listener = world.clean("listener");
    world.subscribe(listener, "#", 2);
    let client = world.connect(permitted(clean("c")));
    for (qos, answer) in [(0, None), (1, Some("PUBACK #5")), (2, Some("PUBREC #5"))] {
        world.publish(client, retained("other", "x", qos), 5);
        let news = world.notices();
        assert!(matches!(news, [Notice::PublishDenied { .. }]), "{news:?}");
        assert_eq!(world.heard(client), answer.into_iter().collect::<Vec<_>>());
        world.publish(client, message("write/a", "x", qos), 6);
        world.read(client);
    }
    assert_eq!(world.heard(listener), ["write/a x", "write/a x q1 #1", "write/a x q2 #2"]);
    assert_eq!(world.engine.gauges().retained_messages, 0);
    assert_eq!(dropped(&world, Bound::DeniedPublish), 3);
    assert_eq!(world.engine.counters().messages_dropped(), 3);
}

#[test]
fn sys_is_closed_but_for_the_states_of_bridges() {
    let mut world = World::new();
    let listener = world.clean("listener");
    world.subscribe(listener, "$SYS/#", 0);
    let client = world.connect(permitted(clean("c")));
    for topic in ["$SYS/x", "$SYS/broker/connection/a/b/state", "$SYS/broker/connection/a/b"] {
        world.publish(client, message(topic, "1", 0), 1);
    }
    assert_eq!(world.heard(listener), [""; 0]);
    world.publish(client, message("$SYS/broker/connection/a/state", "1", 0), 1);
    assert_eq!(world.heard(listener), ["$SYS/broker/connection/a/state 1"]);
    assert_eq!(dropped(&world, Bound::SysTopic), 3);
}

#[test]
fn a_message_reaches_those_who_may_receive_it() {
    let mut world = World::new();
    world.inside(retained("read/kept", "x", 1));
    world.inside(retained("other/kept", "x", 1));
    let client = world.connect(permitted(clean("c")));
    world.subscribe(client, "#", 1);
    for topic in ["other", "read/live", "c/own"] {
        world.inside(message(topic, "x", 1));
    }
    let heard = world.heard(client);
    assert_eq!(heard, ["read/kept x q1 #1 retained", "read/live x q1 #2", "c/own x q1 #3"]);
    assert_eq!(dropped(&world, Bound::DeniedReceive), 2);
    assert_eq!(world.engine.counters().messages_dropped(), 0, "it was never to have them");
}

#[test]
fn a_share_passes_by_who_may_not_receive() {
    let mut world = World::new();
    let barred = world.connect(permitted(clean("barred")));
    world.subscribe(barred, "$share/g/#", 1);
    let other = world.clean("other");
    world.subscribe(other, "$share/g/#", 1);
    for _ in 0..4 {
        world.inside(message("topic", "x", 1));
    }
    assert_eq!(world.heard(barred), [""; 0]);
    assert_eq!(world.heard(other).len(), 4);
}

#[test]
fn a_subscription_is_refused_where_the_permit_says_so() {
    let mut world = World::new();
    let client = world.connect(permitted(clean("c")));
    let asked = ["secret", "other"].map(|text| (filter(text), qos(1)));
    world.packet(
        client,
        InPacket::Subscribe { id: id(1), subscriptions: Box::new(asked), beyond: 0 },
    );
    assert_eq!(world.heard(client), ["SUBACK #1 [128, 1]"]);
    let news = world.notices();
    assert!(matches!(news, [Notice::SubscribeDenied { .. }]), "{news:?}");
    assert_eq!(dropped(&world, Bound::DeniedSubscribe), 1);
    assert_eq!(dropped(&world, Bound::Subscriptions), 0);
}

#[test]
fn of_many_refusals_in_one_packet_some_are_told_of() {
    let mut world = World::new();
    let client = world.connect(permitted(clean("c")));
    let asked: Box<[_]> = (0..20).map(|_| (filter("secret"), qos(1))).collect();
    world.packet(client, InPacket::Subscribe { id: id(1), subscriptions: asked, beyond: 0 });
    let (last, first) = world.notices().split_last().expect("some");
    assert!(first.iter().all(|notice| matches!(notice, Notice::SubscribeDenied { .. })));
    let sum = Notice::SubscriptionsRefused { client_id: "c".into(), count: 12, limit: None };
    assert_eq!((first.len(), last), (8, &sum));
    assert_eq!(dropped(&world, Bound::DeniedSubscribe), 20);
}

#[test]
fn what_was_queued_for_an_unknown_client_is_asked_about_when_it_leaves_the_queue() {
    for cause in ["restart", "new rules", "other user"] {
        let mut world = World::new();
        let connect = if cause == "new rules" { permitted(durable("c")) } else { durable("c") };
        let client = world.connect(connect);
        world.subscribe(client, "#", 1);
        world.packet(client, InPacket::Disconnect);
        match cause {
            "restart" => world.crash(),
            "new rules" => rules(&mut world, Vec::new()),
            _ => {}
        }
        for topic in ["other", "read/1", "other", "read/2", "other"] {
            world.inside(message(topic, "x", 1));
        }
        assert_eq!(world.engine.gauges().waiting_messages, 5, "{cause}");
        let client = world.connect(permitted(durable("c")));
        assert_eq!(world.heard(client), ["read/1 x q1 #1", "read/2 x q1 #2"], "{cause}");
        assert_eq!(dropped(&world, Bound::DeniedReceive), 3, "{cause}");
        assert_eq!(world.engine.gauges().waiting_messages, 2, "{cause}");
    }
}

/// Another client learns what it may do: the rules for who is away are the same as before.
#[test]
fn what_one_client_may_do_changes_nothing_for_those_who_are_away() {
    let mut world = World::with(Limits { queue_messages_max: 2, ..limits() });
    let away = world.connect(permitted(durable("c")));
    world.subscribe(away, "#", 1);
    world.packet(away, InPacket::Disconnect);
    let other = world.clean("other");
    world.subscribe(other, "#", 0);
    world.step(Input::Permit { link: other, permit: usual() });
    for topic in ["other/1", "x", "read/1", "x", "read/2"] {
        world.inside(message(topic, "x", 1));
    }
    assert_eq!(world.heard(other), ["other/1 x", "read/1 x", "read/2 x"], "it has a permit");
    let away = world.connect(permitted(durable("c")));
    assert_eq!(world.heard(away), ["read/1 x q1 #1", "read/2 x q1 #2"]);
    assert_eq!(dropped(&world, Bound::DeniedReceive), 3 + 2);
    assert_eq!(dropped(&world, Bound::QueueMessages), 0);
}

#[test]
fn what_another_user_left_in_flight_is_withdrawn() {
    let mut world = World::new();
    let client = world.durable("c");
    world.subscribe(client, "#", 2);
    for (topic, qos) in [("other", 1), ("read/1", 1), ("other", 2), ("read/2", 2), ("other", 2)] {
        world.inside(message(topic, "x", qos));
    }
    assert_eq!(world.heard(client).len(), 5);
    world.packet(client, InPacket::PubRec(id(5)));
    world.lose(client);
    let client = world.connect(permitted(durable("c")));
    // What was received, or may have been (#3), is only to be released.
    let heard = ["read/1 x q1 #2 dup", "PUBREL #3", "read/2 x q2 #4 dup", "PUBREL #5"];
    assert_eq!(world.heard(client), heard);
    assert_eq!(dropped(&world, Bound::DeniedReceive), 2);
    assert_eq!(world.engine.gauges().waiting_messages, 2);
}

/// The client remembers the id: it had the message, and its PUBREC was lost.
#[test]
fn a_withdrawn_id_is_released_before_the_client_is_given_a_new_one() {
    // [MQTT-4.3.3-1]
    for crash in [false, true] {
        let mut world = World::with(Limits { inflight_max: 1, ..limits() });
        let client = world.durable("c");
        world.subscribe(client, "#", 2);
        world.inside(message("other", "x", 2));
        assert_eq!(world.heard(client), ["other x q2 #1"]);
        world.lose(client);
        let client = world.connect(permitted(durable("c")));
        assert_eq!(world.heard(client), ["PUBREL #1"]);
        world.lose(client);
        if crash {
            world.crash();
        }
        let client = world.connect(permitted(durable("c")));
        world.inside(message("read/1", "x", 2));
        assert_eq!(world.heard(client), ["PUBREL #1"], "the id takes a place until PUBCOMP");
        world.packet(client, InPacket::PubComp(id(1)));
        assert_eq!(world.heard(client), ["read/1 x q2 #2"]);
        assert_eq!(dropped(&world, Bound::DeniedReceive), u64::from(!crash));
    }
}

#[test]
fn new_rules_hold_at_once_for_those_who_are_there() {
    let mut world = World::new();
    let (a, b) = (world.clean("a"), world.connect(permitted(clean("b"))));
    for client in [a, b] {
        world.subscribe(client, "#", 0);
    }
    rules(&mut world, vec![(a, usual()), (b, None)]);
    world.inside(message("other", "x", 0));
    assert_eq!((world.heard(a).len(), world.heard(b).len()), (0, 1));
    let gone = LinkId { slot: 77, generation: 1 };
    rules(&mut world, vec![(gone, usual())]); // its client left meanwhile
}

#[test]
fn a_will_fires_only_if_its_client_may_publish_it() {
    // (may at CONNECT, may at the end) -> fires
    for (before, after, fires) in [
        (None, None, true),
        (usual(), usual(), false),
        (usual(), None, false),
        (None, usual(), false),
    ] {
        let mut world = World::new();
        let listener = world.clean("listener");
        world.subscribe(listener, "other", 0);
        let will = Some(message("other", "gone", 0));
        let client = world.connect(Connect { will, permit: before, ..clean("c") });
        rules(&mut world, vec![(client, after)]);
        world.lose(client);
        assert_eq!(!world.heard(listener).is_empty(), fires);
        assert_eq!(dropped(&world, Bound::DeniedPublish), u64::from(!fires));
    }
}

#[test]
fn a_discarded_will_is_not_counted() {
    let mut world = World::new();
    let will = Some(message("other", "gone", 0));
    let client = world.connect(Connect { will, ..clean("c") });
    rules(&mut world, vec![(client, usual())]);
    world.packet(client, InPacket::Disconnect);
    assert_eq!(dropped(&world, Bound::DeniedPublish), 0);
}
