//! Retained messages for new subscriptions, however many, without holding up anybody.

use martlet_engine::input::{Connect, InPacket, Input, LinkId};
use martlet_engine::limits::Limits;

use crate::world::{ROOM, World, clean, durable, filter, id, limits, message, qos, retained};

const MANY: usize = 5000;

fn fill(world: &mut World, qos: u8) {
    for n in 0..MANY {
        let message = retained(&format!("many/{n:04}"), "r", qos);
        world.step_unchecked(Input::Publish(message));
    }
}

/// The driver's side: sends all, reports room, comes when something is due. Says what arrived.
fn serve(world: &mut World, link: LinkId, acknowledge: bool) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let packets = world.read(link);
        let due = world.engine.next_deadline().is_some_and(|time| time <= world.now);
        if packets.is_empty() && !due {
            return all;
        }
        for packet in packets {
            all.push(crate::world::short(&packet));
            let bytes = packet.cost();
            world.step_unchecked(Input::Room { link, bytes });
            use martlet_codec::packet::Delivery::AtLeastOnce;
            use martlet_engine::effects::OutPacket::Publish;
            if let Publish { delivery: AtLeastOnce { id, .. }, .. } = packet
                && acknowledge
            {
                world.step_unchecked(Input::Packet { link, packet: InPacket::PubAck(id) });
            }
        }
        if due {
            world.step_unchecked(Input::Due);
            assert!(world.fx.outgoing.len() <= 128, "one input does a bounded piece");
        }
    }
}

#[test]
fn all_of_them_arrive_whatever_the_bounds() {
    // [MQTT-3.3.1-6]
    for qos in [0, 1] {
        for room_bytes in [100, 1000, ROOM] {
            let mut world =
                World::with(Limits { queue_messages_max: 3, inflight_max: 2, ..limits() });
            fill(&mut world, qos);
            let client = world.connect(Connect { room_bytes, ..clean("c") });
            world.room(client, 64);
            world.subscribe(client, "#", 1);
            world.room(client, 65);
            let heard = serve(&mut world, client, true);
            assert_eq!(heard.len(), MANY, "QoS {qos}, room {room_bytes}");
            for (n, line) in heard.iter().enumerate() {
                assert!(line.starts_with(&format!("many/{n:04} r")), "{line}");
                assert!(line.ends_with(" retained"), "{line}"); // [MQTT-3.3.1-8]
            }
            assert_eq!(world.engine.counters().messages_dropped(), 0);
            assert_eq!(world.engine.next_deadline(), None);
        }
    }
}

#[test]
fn live_messages_find_room_beside_a_replay() {
    let mut world = World::new();
    fill(&mut world, 0);
    let client = world.connect(Connect { room_bytes: 10_000, ..clean("c") });
    world.subscribe(client, "#", 0);
    let replayed = world.read(client).len();
    assert!((50..100).contains(&replayed), "half the room: {replayed}");
    world.inside(message("live", "m", 0));
    assert_eq!(world.heard(client), ["live m"]);
    assert_eq!(world.engine.counters().messages_dropped(), 0);
}

#[test]
fn a_topic_never_goes_back_in_time() {
    let mut world = World::with(Limits { inflight_max: 1, ..limits() });
    for topic in ["a", "b", "c"] {
        world.inside(retained(topic, "1", 1));
    }
    let client = world.clean("c");
    world.subscribe(client, "#", 1);
    assert_eq!(world.heard(client), ["a 1 q1 #1 retained"]);
    world.inside(retained("b", "2", 1)); // waits in the queue
    world.inside(retained("a", "2", 1)); // replayed already: comes once more, live
    world.inside(retained("c", "", 1)); // gone before its turn: only live
    let mut heard = Vec::new();
    for number in 1..6 {
        world.packet(client, InPacket::PubAck(id(number)));
        heard.extend(world.heard(client));
    }
    assert_eq!(heard, ["b 2 q1 #2", "a 2 q1 #3", "c  q1 #4", "b 2 q1 #5 retained"]);
}

#[test]
fn it_waits_while_the_client_is_away_and_begins_again_after_a_crash() {
    for crash in [false, true] {
        let mut world = World::with(Limits { inflight_max: 2, ..limits() });
        for n in 1..=5 {
            world.inside(retained(&format!("t/{n}"), "r", 1));
        }
        let client = world.durable("c");
        world.subscribe(client, "t/+", 1);
        world.packet(client, InPacket::PubAck(id(1)));
        world.packet(client, InPacket::PubAck(id(2)));
        let before = ["t/1 r q1 #1", "t/2 r q1 #2", "t/3 r q1 #3", "t/4 r q1 #4"];
        let before: Vec<_> = before.iter().map(|line| format!("{line} retained")).collect();
        assert_eq!(world.heard(client), before);
        if crash {
            world.crash();
        } else {
            world.lose(client);
        }
        let client = world.connect(durable("c"));
        let heard = serve(&mut world, client, true);
        let mut expected =
            vec!["t/3 r q1 #3 dup retained".to_owned(), "t/4 r q1 #4 dup retained".into()];
        let rest = if crash { 1..=5 } else { 5..=5 };
        let line = |(id, n)| format!("t/{n} r q1 #{id} retained");
        expected.extend((5..).zip(rest).map(line));
        assert_eq!(heard, expected);
        assert!(world.kept.messages.is_empty());
    }
}

#[test]
fn unsubscribing_ends_it_and_subscribing_again_begins_it_again() {
    let mut world = World::with(Limits { inflight_max: 1, ..limits() });
    for n in 1..=3 {
        world.inside(retained(&format!("t/{n}"), "r", 1));
    }
    let client = world.durable("c");
    world.subscribe(client, "t/#", 1);
    world.unsubscribe(client, "t/#");
    world.packet(client, InPacket::PubAck(id(1)));
    assert_eq!(world.heard(client), ["t/1 r q1 #1 retained"]);
    world.subscribe(client, "t/#", 1);
    world.packet(client, InPacket::PubAck(id(2)));
    world.subscribe(client, "t/#", 0); // [MQTT-3.8.4-3]
    let heard = world.heard(client);
    assert_eq!(heard[..2], ["t/1 r q1 #2 retained", "t/2 r q1 #3 retained"]);
    assert_eq!(heard[2..], ["t/1 r retained", "t/2 r retained", "t/3 r retained"]);
}

#[test]
fn several_replays_take_turns_and_others_are_served_between() {
    let mut world = World::new();
    fill(&mut world, 0);
    let clients = [world.clean("a"), world.clean("b")];
    for client in clients {
        world.subscribe(client, "#", 0);
        assert!(world.read(client).len() <= 128);
    }
    assert_eq!(world.engine.next_deadline(), Some(world.now));
    for _ in 0..4 {
        world.step(Input::Due);
    }
    let shares = clients.map(|client| world.read(client).len());
    assert_eq!(shares, [256, 256]);
}

#[test]
fn who_leaves_takes_its_turn_along() {
    let mut world = World::new();
    fill(&mut world, 0);
    for _ in 0..10 {
        let leaver = world.clean("leaver");
        world.subscribe(leaver, "#", 0);
        world.lose(leaver);
    }
    let clients = [world.clean("in its place"), world.clean("b")];
    assert_eq!(world.engine.next_deadline(), None, "nobody is left in the list");
    for client in clients {
        world.subscribe(client, "#", 0);
        world.read(client);
    }
    for _ in 0..4 {
        world.step(Input::Due);
    }
    let shares = clients.map(|client| world.read(client).len());
    assert_eq!(shares, [256, 256]);
}

#[test]
fn many_filters_in_one_subscribe_share_its_piece_of_work() {
    let mut world = World::new();
    fill(&mut world, 0);
    let client = world.durable("c");
    let filters = ["#", "many/#", "many/+", "+/+", "+/#"];
    let subscriptions = filters.iter().map(|text| (filter(text), qos(0))).collect();
    world.packet(client, InPacket::Subscribe { id: id(1), subscriptions, beyond: 0 });
    assert!(world.fx.outgoing.len() <= 129);
    let heard = serve(&mut world, client, false);
    assert_eq!(heard.len(), 1 + filters.len() * MANY);
    assert_eq!(world.kept, world.engine.snapshot());
}

#[test]
fn a_search_without_matches_is_cut_too() {
    let mut world = World::new();
    fill(&mut world, 0);
    let client = world.clean("c");
    world.subscribe(client, "+/+/x", 0);
    let mut turns = 0;
    while world.engine.next_deadline().is_some() {
        world.step_unchecked(Input::Due);
        turns += 1;
    }
    assert!((20..80).contains(&turns), "{turns}");
    assert_eq!(world.heard(client), [""; 0]);
    world.subscribe(client, "many/0042/#", 0); // a narrow one does not look at all of them
    assert_eq!(world.heard(client), ["many/0042 r retained"]);
    assert_eq!(world.engine.next_deadline(), None);
}
