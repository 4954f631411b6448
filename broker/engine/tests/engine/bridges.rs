//! What a bridge of another broker gets, and what not.

use martlet_engine::behind::{self, QUESTION, STATEMENT};
use martlet_engine::counters::Bound;
use martlet_engine::effects::Notice;
use martlet_engine::input::{Connect, InPacket, Input, LinkId};
use martlet_engine::limits::Limits;

use crate::world::{World, clean, delivery, durable, id, limits, message, qos, retained};

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
    assert!(ids.released.is_empty());
    world.packet(client, InPacket::PubRec(id(1)));
    let ids = world.engine.ids(client).expect("it is connected");
    assert_eq!((ids.in_flight, ids.released), (vec![id(1)], vec![id(1)]));
}

/// Our own bridge, that broker's bridge, another broker's, and a client; all want everything.
struct Ring {
    world: World,
    own: LinkId,
    theirs: LinkId,
    third: LinkId,
    client: LinkId,
}

const FAR: &str = "00000000000000fa";
const THIRD: &str = "00000000000000c3";

fn state(world: &mut World, link: LinkId, payload: &str) {
    let (message, delivery) = (message(STATEMENT, payload, 0), delivery(qos(0), 0, false));
    world.packet(link, InPacket::Publish { message, delivery });
}

impl Ring {
    /// With what the bridge from there and ours have stated.
    fn new(theirs: &str, own: &str) -> Self {
        let mut world = World::new();
        let inside = Connect { inside: true, ..bridge(durable("own")) };
        let mut links = [inside, bridge(durable("theirs")), bridge(durable("third")), clean("c")]
            .map(|connect| world.connect(connect));
        for (link, statement) in links.iter().zip([own, theirs, THIRD]) {
            state(&mut world, *link, statement);
        }
        for link in &mut links {
            world.subscribe(*link, "#", 1);
            world.heard(*link);
        }
        let [own, theirs, third, client] = links;
        Self { world, own, theirs, third, client }
    }

    /// Who hears a message of this one: ours, theirs, the third, the client.
    fn who_hears(&mut self, from: LinkId, qos: u8) -> [bool; 4] {
        self.world.publish(from, message("t", "m", qos), 7);
        [self.own, self.theirs, self.third, self.client]
            .map(|link| self.world.heard(link).iter().any(|said| said.starts_with("t m")))
    }
}

#[test]
fn what_came_from_a_broker_does_not_go_back_to_it_over_any_bridge() {
    let mut ring = Ring::new(FAR, FAR);
    for from in [ring.own, ring.theirs] {
        assert_eq!(ring.who_hears(from, 1), [false, false, true, true]);
    }
    assert_eq!(ring.world.engine.counters().left_out, 2);
    assert_eq!(ring.who_hears(ring.third, 0)[2..], [false, true]);
}

#[test]
fn what_did_not_come_from_there_goes_over_every_bridge_that_wants_it() {
    for (theirs, own) in [(FAR, FAR), (FAR, THIRD), (FAR, ""), ("", FAR), ("nonsense", FAR)] {
        for qos in 0..2 {
            let mut ring = Ring::new(theirs, own);
            assert_eq!(ring.who_hears(ring.client, qos), [true; 4], "{theirs} {own}");
        }
    }
}

#[test]
fn nobody_knows_of_a_bridge_that_has_not_said() {
    for (theirs, own) in [("", FAR), (FAR, ""), ("nonsense", FAR), ("", "")] {
        let mut ring = Ring::new(theirs, own);
        assert_eq!(ring.who_hears(ring.own, 1), [false, true, true, true]);
        assert_eq!(ring.who_hears(ring.theirs, 1), [true, false, true, true]);
    }
}

#[test]
fn a_bridge_is_told_who_is_here_and_nobody_else_is() {
    let mut world = World::with(Limits { broker_id: 0xABC, ..limits() });
    let asker = world.connect(bridge(durable("b")));
    world.subscribe(asker, QUESTION, 0);
    let answer = format!("{QUESTION} 0000000000000abc retained");
    assert_eq!(world.heard(asker), [answer]);
    assert_eq!(world.engine.gauges().subscriptions, 0, "it is no subscription");
    let client = world.clean("c");
    world.subscribe(client, QUESTION, 0);
    state(&mut world, client, FAR);
    assert!(world.heard(client).is_empty());
    assert_eq!(world.engine.counters().dropped(Bound::SysTopic), 1);
}

fn is_own(world: &mut World, client_id: &str, is_one: bool) {
    world.step(Input::OwnBridge { client_id: client_id.into(), is_one });
}

#[test]
fn the_log_is_told_of_two_ways_to_one_broker_if_one_of_them_is_ours() {
    for (own, others) in [("1", ["2"].as_slice()), ("2", &["1"]), ("3", &[])] {
        let mut world = World::new();
        is_own(&mut world, own, true);
        let (one, two) = (world.connect(bridge(durable("1"))), world.connect(bridge(durable("2"))));
        state(&mut world, one, FAR);
        assert!(world.fx.notices.is_empty());
        state(&mut world, two, FAR);
        let said: Vec<Notice> = (!others.is_empty())
            .then(|| Notice::SameBroker { client_id: "2".into(), other: "1".into() })
            .into_iter()
            .collect();
        assert_eq!(world.fx.notices, said);
    }
}

#[test]
fn one_statement_counts_for_each_connection() {
    let mut ring = Ring::new(FAR, FAR);
    state(&mut ring.world, ring.theirs, THIRD);
    assert_eq!(ring.world.engine.counters().dropped(Bound::SysTopic), 1);
    assert_eq!(ring.who_hears(ring.own, 1), [false, false, true, true]);
    ring.world.lose(ring.theirs);
    ring.theirs = ring.world.connect(bridge(durable("theirs")));
    state(&mut ring.world, ring.theirs, THIRD);
    assert_eq!(ring.who_hears(ring.own, 1), [false, true, true, true]);
}

#[test]
fn a_bridge_of_others_that_takes_the_client_id_over_is_not_taken_for_the_one_before() {
    let mut ring = Ring::new(FAR, FAR);
    ring.world.lose(ring.theirs);
    ring.theirs = ring.world.connect(bridge(durable("theirs")));
    assert_eq!(ring.who_hears(ring.own, 1), [false, false, true, true], "it may yet say so");
    ring.world.subscribe(ring.theirs, "#", 1);
    ring.world.heard(ring.theirs);
    assert_eq!(ring.who_hears(ring.own, 1), [false, true, true, true]);
}

#[test]
fn what_is_written_is_read() {
    assert_eq!(behind::write(0xFA), FAR);
    assert_eq!(behind::parse(FAR.as_bytes()), Some(0xFA));
    for wrong in ["", "fa", "00000000000000fa whole", "00000000000000xy"] {
        assert_eq!(behind::parse(wrong.as_bytes()), None, "{wrong}");
    }
}

#[test]
fn a_session_of_our_own_bridge_expires_only_when_it_is_one_no_more() {
    for crashes in [false, true] {
        let mut world = World::with(Limits { session_expiry_s: 60, ..limits() });
        is_own(&mut world, "own", true);
        let link = world.connect(bridge(durable("own")));
        world.lose(link);
        if crashes {
            world.crash();
            is_own(&mut world, "own", true);
        }
        world.wait(120_000);
        assert_eq!(world.engine.gauges().sessions, 1);
        is_own(&mut world, "own", false);
        world.wait(1_000);
        assert_eq!(world.engine.gauges().sessions, 0);
    }
}

#[test]
fn who_takes_no_messages_is_away_to_those_at_qos_0() {
    let mut world = World::with(Limits { queue_qos0: true, ..limits() });
    let link = world.durable("b");
    world.subscribe(link, "t", 1);
    world.lose(link);
    let closed = world.connect(Connect { room_bytes: 0, ..durable("b") });
    let publisher = world.clean("p");
    world.publish(publisher, message("t", "m", 0), 1);
    world.lose(closed);
    let open = world.durable("b");
    assert_eq!(world.heard(open), ["t m"]);
}
