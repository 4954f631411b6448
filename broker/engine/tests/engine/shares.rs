//! `$share/<name>/<filter>`.

use martlet_engine::input::{Connect, InPacket, Input, LinkId};
use martlet_engine::limits::Limits;

use crate::world::{World, clean, durable, id, limits, message, retained};

fn members(world: &mut World, count: usize, qos: u8) -> Vec<LinkId> {
    let mut member = |n| {
        let link = world.durable(&format!("m{n}"));
        world.subscribe(link, "$share/g/t", qos);
        link
    };
    (0..count).map(&mut member).collect()
}

fn publish(world: &mut World, count: usize, qos: u8) {
    for n in 0..count {
        world.inside(message("t", &n.to_string(), qos));
    }
}

#[test]
fn each_message_goes_to_one_member_turn_by_turn() {
    let mut world = World::new();
    let links = members(&mut world, 3, 0);
    publish(&mut world, 6, 0);
    let heard: Vec<_> = links.iter().map(|&link| world.heard(link)).collect();
    assert_eq!(heard, [["t 0", "t 3"], ["t 1", "t 4"], ["t 2", "t 5"]]);
}

#[test]
fn shares_and_plain_subscriptions_are_apart() {
    let mut world = World::new();
    let client = world.clean("c");
    for filter in ["$share/g/t", "$share/h/t", "$share/g/+", "t"] {
        world.subscribe(client, filter, 0);
    }
    publish(&mut world, 1, 0);
    assert_eq!(world.heard(client).len(), 4);
}

#[test]
fn no_retained_messages_for_shares() {
    let mut world = World::new();
    world.inside(retained("t", "r", 0));
    let links = members(&mut world, 1, 0);
    assert_eq!(world.heard(links[0]), [""; 0]);
}

#[test]
fn members_with_room_and_window_are_preferred_then_those_who_are_connected() {
    let mut world = World::with(Limits { inflight_max: 1, queue_messages_max: 1, ..limits() });
    let links = members(&mut world, 3, 1);
    world.lose(links[2]);
    publish(&mut world, 2, 1);
    assert_eq!(world.heard(links[0]), ["t 0 q1 #1"]);
    assert_eq!(world.heard(links[1]), ["t 1 q1 #1"]);
    world.packet(links[1], InPacket::PubAck(id(1)));
    publish(&mut world, 1, 1);
    assert_eq!(world.heard(links[1]), ["t 0 q1 #2"], "the one with an open window");
    publish(&mut world, 3, 1); // one queues with each, the one that is away last
    assert_eq!(world.engine.counters().messages_dropped(), 0);
    let queued = |world: &World, client: &str| world.kept.sessions[client].queue.len();
    assert_eq!(["m0", "m1", "m2"].map(|client| queued(&world, client)), [1, 1, 1]);
    publish(&mut world, 1, 1);
    assert_eq!(world.engine.counters().messages_dropped(), 1, "everybody is full: counted");
}

/// What a slow one holds, no other can take.
#[test]
fn a_member_with_much_in_flight_is_passed_over_while_another_has_less() {
    let mut world = World::new();
    let [slow, quick] = members(&mut world, 2, 1)[..] else { panic!("two members") };
    for _ in 0..100 {
        publish(&mut world, 1, 1);
        for line in world.heard(quick) {
            let number = line.rsplit_once('#').expect("an id").1.parse().expect("a number");
            world.packet(quick, InPacket::PubAck(id(number)));
        }
    }
    assert_eq!(world.heard(slow).len(), 20);
    publish(&mut world, 40, 1);
    assert_eq!(world.heard(slow).len(), 10, "both have much: turn by turn, at once");
    assert_eq!(world.heard(quick).len(), 30);
}

#[test]
fn at_qos_0_a_member_without_room_is_passed_over() {
    let mut world = World::new();
    let narrow = world.connect(Connect { room_bytes: 130, ..clean("narrow") });
    world.subscribe(narrow, "$share/g/t", 0);
    let wide = world.clean("wide");
    world.subscribe(wide, "$share/g/t", 0);
    publish(&mut world, 4, 0);
    assert_eq!(world.heard(narrow), ["t 0"]);
    assert_eq!(world.heard(wide), ["t 1", "t 2", "t 3"]);
}

#[test]
fn what_an_ended_member_left_goes_to_another() {
    // How the session ends, and after what.
    for (ending, crash) in [("clean", false), ("clean", true), ("expiry", false), ("expiry", true)]
    {
        let mut world = World::with(Limits { inflight_max: 2, session_expiry_s: 60, ..limits() });
        let leaver = world.durable("m0");
        world.subscribe(leaver, "$share/g/t", 2);
        world.inside(message("t", "qos 1 in flight", 1));
        world.inside(message("t", "qos 2 in flight", 2));
        world.inside(message("t", "qos 2 queued", 2));
        world.inside(message("t", "qos 1 queued", 1));
        let stayer = world.durable("m1");
        world.subscribe(stayer, "$share/g/t", 2);
        if crash {
            world.crash();
        } else {
            world.lose(leaver);
        }
        let stayer = if crash { world.connect(durable("m1")) } else { stayer };
        if ending == "clean" {
            world.clean("m0");
        } else {
            world.wait(60_000);
        }
        let mut heard = world.heard(stayer);
        world.packet(stayer, InPacket::PubAck(id(1)));
        heard.extend(world.heard(stayer));
        // Not the QoS 2 message that may have arrived (MQTT 5.0, 4.8.2).
        let expected = ["t qos 1 in flight q1 #1", "t qos 2 queued q2 #2", "t qos 1 queued q1 #3"];
        assert_eq!(heard, expected, "{ending}, crash {crash}");
    }
}

#[test]
fn a_clean_members_messages_go_on_when_its_link_is_lost() {
    let mut world = World::new();
    let links: Vec<_> = ["a", "b"].iter().map(|name| world.clean(name)).collect();
    for &link in &links {
        world.subscribe(link, "$share/g/t", 1);
    }
    publish(&mut world, 1, 1);
    assert_eq!(world.heard(links[0]), ["t 0 q1 #1"]);
    world.lose(links[0]);
    assert_eq!(world.heard(links[1]), ["t 0 q1 #1"]);
    world.lose(links[1]);
    publish(&mut world, 1, 1); // nobody is there any more
    assert_eq!(world.engine.gauges().shared_subscriptions, 0);
    assert_eq!(world.engine.gauges().waiting_messages, 0);
}

#[test]
fn at_shutdown_what_is_unacknowledged_waits_for_a_member_that_stays() {
    let mut world = World::new();
    let stayer = world.durable("stayer");
    world.subscribe(stayer, "$share/g/t", 1);
    let leavers = ["a", "b", "c"].map(|name| world.clean(name));
    for link in leavers {
        world.subscribe(link, "$share/g/t", 1);
    }
    publish(&mut world, 4, 1);
    world.step(Input::Shutdown);
    let sent = leavers.map(|link| world.read(link).len());
    assert_eq!(sent, [1, 1, 1], "nothing new before the farewell");
    world.crash();
    let stayer = world.durable("stayer");
    // Its own again, then those of the leavers, which it was never sent.
    let expected = ["t 0 q1 #1 dup", "t 1 q1 #2", "t 2 q1 #3", "t 3 q1 #4"];
    assert_eq!(world.heard(stayer), expected);
}
