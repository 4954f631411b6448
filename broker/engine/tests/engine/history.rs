//! History on demand: who gets it, of which stream, from where, and at which pace.

use martlet_engine::Engine;
use martlet_engine::effects::Notice;
use martlet_engine::history::{
    Beginning, HISTORIES_MAX, HISTORIES_PER_SESSION_MAX, HistoryId, Order, Position, Refusal,
};
use martlet_engine::input::{Connect, InPacket, Input, LinkId, Time};
use martlet_engine::limits::Limits;
use martlet_engine::message::Message;
use martlet_engine::recording::Stream;

use crate::world::{ROOM, World, clean, durable, filter, id, limits, message, qos, retained};

fn dialect(text: &str, now: Time) -> Option<Position> {
    match text {
        "earliest" => Some(Position::Earliest),
        "latest" => Some(Position::Latest),
        "-1s" => Some(Position::Time(now.0 - 1000)),
        number => number.parse().ok().map(Position::Offset),
    }
}

/// A broker that records these, of which `sensors` has three records.
fn recording(limits: Limits, streams: &[(&str, &[&str])]) -> World {
    let mut world = World::with(limits);
    let streams = streams.iter().map(|(name, filters)| Stream {
        name: (*name).into(),
        filters: filters.iter().map(|text| filter(text)).collect(),
        stopped: false,
    });
    let engine = Engine::new(world.limits.clone(), world.kept.clone(), world.now);
    world.engine = engine.recording(streams.collect());
    world.step(Input::ServeHistory(dialect));
    (0..3).for_each(|n| world.inside(message("sensors/a", &n.to_string(), 0)));
    world
}

fn begun(world: &World) -> Vec<Beginning> {
    let orders = world.fx.history.iter().filter_map(|order| match order {
        Order::Begin(beginning) => Some(beginning.clone()),
        Order::More(_) | Order::End(_) => None,
    });
    orders.collect()
}

/// Asks for history, and answers the id that it gets.
fn ask(world: &mut World, link: LinkId, text: &str, qos: u8) -> HistoryId {
    world.subscribe(link, text, qos);
    begun(world).first().expect("it is granted").id
}

fn give(world: &mut World, id: HistoryId, messages: Vec<Message>) {
    world.step(Input::History { id, messages });
}

#[test]
fn a_history_is_granted_of_a_stream_and_from_a_place() {
    let streams: &[(&str, &[&str])] = &[("sensors", &["sensors/#"]), ("lamps", &["lamps/+/on"])];
    let mut world = recording(limits(), streams);
    let client = world.clean("c");
    let known = || vec!["lamps".into(), "sensors".into()];
    let at = world.now.0;
    let rows = [
        ("$replay/earliest/sensors/a", Ok(("sensors", Position::Earliest))),
        ("$replay/-1s/sensors/+", Ok(("sensors", Position::Time(at - 1000)))),
        ("$replay/3/sensors/+", Ok(("sensors", Position::Offset(3)))),
        ("$replay/latest/sensors/+", Ok(("sensors", Position::Offset(3)))),
        ("$replay/latest/lamps/#", Ok(("lamps", Position::Offset(0)))),
        ("$replay/0@sensors/#", Ok(("sensors", Position::Offset(0)))),
        ("$replay/0/#", Err(Refusal::SeveralStreams(vec!["sensors".into(), "lamps".into()]))),
        ("$replay/0/other/#", Err(Refusal::NoStream(known()))),
        ("$replay/0@lamp/#", Err(Refusal::UnknownStream(known()))),
        ("$replay/4/sensors/#", Err(Refusal::Beyond(3))),
        ("$replay/yesterday/sensors/#", Err(Refusal::Malformed)),
        ("$replay/earliest", Err(Refusal::Malformed)),
        ("$replay/#", Err(Refusal::Malformed)),
        ("$share/g/$replay/0/sensors/#", Err(Refusal::Shared)),
    ];
    for (text, expected) in rows {
        let code = if expected.is_ok() { 1 } else { 0x80 };
        match expected {
            Ok((stream, from)) => {
                world.subscribe(client, text, code);
                let [beginning] = &*begun(&world) else { panic!("{text}: one order") };
                assert_eq!((&*beginning.stream, beginning.from), (stream, from), "{text}");
                assert_eq!(beginning.filter, filter(text));
            }
            Err(expected) => {
                refused(&mut world, client, text);
                let [Notice::HistoryRefused { client_id, filter: asked, refusal }] =
                    world.notices()
                else {
                    panic!("{text}: {:?}", world.notices())
                };
                assert_eq!((&**client_id, asked.as_str(), refusal), ("c", text, &expected));
                assert_eq!(begun(&world), []);
            }
        }
    }
}

fn refused(world: &mut World, link: LinkId, text: &str) {
    let subscriptions = Box::new([(filter(text), martlet_codec::reason::QoS::AtLeastOnce)]);
    let packet = InPacket::Subscribe { id: id(9), subscriptions, beyond: 0 };
    world.packet(link, packet);
    assert_eq!(world.heard(link), ["SUBACK #9 [128]"], "{text}");
}

#[test]
fn nobody_gets_what_nobody_reads() {
    let mut world = World::new();
    let client = world.clean("c");
    refused(&mut world, client, "$replay/earliest/a");
    world.step(Input::ServeHistory(dialect));
    refused(&mut world, client, "$replay/earliest/a");
    let [Notice::HistoryRefused { refusal: Refusal::NothingRecorded, .. }] = world.notices() else {
        panic!("{:?}", world.notices())
    };
}

#[test]
fn it_comes_in_order_as_it_was_published_and_goes_on() {
    let mut world = recording(limits(), &[("sensors", &["#"])]);
    let client = world.clean("c");
    let history = ask(&mut world, client, "$replay/earliest/#", 1);
    assert_eq!(world.heard(client), [""; 0], "nothing of it is live");
    let batch = vec![
        retained("a", "1", 0),
        message("b", "2", 1),
        message("a", "3", 2), // RETAIN 0, and the lower QoS
    ];
    give(&mut world, history, batch);
    assert_eq!(world.heard(client), ["a 1", "b 2 q1 #1", "a 3 q1 #2"]);
    assert_eq!(world.fx.history, [Order::More(history)]);
    world.inside(message("a", "4", 0));
    assert_eq!(world.heard(client), [""; 0], "it comes from the log, once");
    give(&mut world, history, vec![message("a", "4", 0)]);
    assert_eq!(world.heard(client), ["a 4"]);
    assert_eq!(world.fx.history, [Order::More(history)]);
}

#[test]
fn a_slow_client_orders_no_more_than_it_takes() {
    let room = 10 * 66;
    let mut world = recording(limits(), &[("sensors", &["#"])]);
    let client = world.connect(Connect { room_bytes: room, ..clean("c") });
    world.room(client, ROOM);
    let history = ask(&mut world, client, "$replay/earliest/#", 0);
    world.room(client, ROOM);
    give(&mut world, history, (0..8).map(|_| message("a", "1", 0)).collect());
    assert_eq!(world.heard(client).len(), 5, "half of the room is for what is live");
    assert_eq!(world.fx.history, []);
    world.room(client, room);
    assert_eq!(world.heard(client).len(), 3);
    assert_eq!(world.fx.history, [Order::More(history)]);
}

#[test]
fn it_waits_for_the_window() {
    let limits = Limits { inflight_max: 2, ..limits() };
    let mut world = recording(limits, &[("sensors", &["#"])]);
    let client = world.clean("c");
    let history = ask(&mut world, client, "$replay/earliest/#", 2);
    give(&mut world, history, (0..3).map(|n| message("a", &n.to_string(), 1)).collect());
    assert_eq!(world.heard(client), ["a 0 q1 #1", "a 1 q1 #2"]);
    assert_eq!(world.fx.history, []);
    world.packet(client, InPacket::PubAck(id(1)));
    assert_eq!(world.heard(client), ["a 2 q1 #3"]);
    assert_eq!(world.fx.history, [Order::More(history)]);
}

#[test]
fn it_ends_with_unsubscribe_with_its_connection_and_when_asked_for_again() {
    let mut world = recording(limits(), &[("sensors", &["#"])]);
    let client = world.durable("c");
    let text = "$replay/earliest/#";
    let first = ask(&mut world, client, text, 1);
    let second = ask(&mut world, client, text, 1);
    assert!(first != second && world.fx.history.contains(&Order::End(first)));
    give(&mut world, first, vec![message("a", "late", 0)]);
    assert_eq!(world.heard(client), [""; 0]);
    world.unsubscribe(client, text);
    assert_eq!(world.fx.history, [Order::End(second)]);
    let third = ask(&mut world, client, text, 1);
    give(&mut world, third, vec![message("a", "1", 1)]);
    assert_eq!(world.heard(client), ["a 1 q1 #1"]);
    world.lose(client);
    assert_eq!(world.fx.history, [Order::End(third)]);
    let client = world.connect(durable("c"));
    assert_eq!(world.heard(client), ["a 1 q1 #1 dup"], "what is in flight is the session's");
    world.inside(message("a", "2", 1));
    assert_eq!(world.heard(client), [""; 0], "and nothing else is");
}

#[test]
fn of_many_refusals_in_one_packet_some_are_told_of() {
    let mut world = recording(limits(), &[("sensors", &["#"])]);
    let client = world.clean("c");
    let asked: Box<[_]> = (0..20).map(|_| (filter("$replay/x"), qos(1))).collect();
    let packet = InPacket::Subscribe { id: id(1), subscriptions: asked, beyond: 0 };
    world.packet(client, packet);
    let (last, first) = world.notices().split_last().expect("some");
    assert!(first.iter().all(|notice| matches!(notice, Notice::HistoryRefused { .. })));
    let sum = Notice::SubscriptionsRefused { client_id: "c".into(), count: 12, limit: None };
    assert_eq!((first.len(), last), (8, &sum));
}

#[test]
fn there_are_bounds() {
    let limits = Limits { subscriptions_per_session_max: 1 << 20, ..limits() };
    let mut world = recording(limits, &[("sensors", &["#"])]);
    let mut ask_for_all = |name: &str| {
        let client = world.clean(name);
        for n in 0..HISTORIES_PER_SESSION_MAX {
            world.subscribe(client, &format!("$replay/earliest/{n}"), 0);
        }
        client
    };
    let first = ask_for_all("c");
    for n in 1..HISTORIES_MAX / HISTORIES_PER_SESSION_MAX {
        ask_for_all(&n.to_string());
    }
    let last = world.clean("last");
    for (client, expected) in [(first, Refusal::TooManyOfSession), (last, Refusal::TooMany)] {
        refused(&mut world, client, "$replay/earliest/#");
        let [Notice::HistoryRefused { refusal, .. }] = world.notices() else {
            panic!("{:?}", world.notices())
        };
        assert_eq!(*refusal, expected);
    }
    world.unsubscribe(first, "$replay/earliest/7");
    world.subscribe(first, "$replay/earliest/#", 0);
    refused(&mut world, last, "$replay/earliest/#");

    let limits = Limits { subscriptions_per_session_max: 1, ..world.limits };
    let mut world = recording(limits, &[("sensors", &["#"])]);
    let client = world.clean("c");
    world.subscribe(client, "$replay/earliest/a", 0);
    refused(&mut world, client, "$replay/earliest/b");
    refused(&mut world, client, "b");
}
