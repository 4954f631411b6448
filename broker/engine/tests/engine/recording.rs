//! Streams of the log: what is recorded, where it stands, and what waits for it.

use martlet_engine::Engine;
use martlet_engine::change::{Change, Recorded};
use martlet_engine::counters::Bound;
use martlet_engine::filter::Filter;
use martlet_engine::input::{Connect, Input};
use martlet_engine::limits::Limits;
use martlet_engine::recording::Stream;

use crate::world::{World, clean, limits, message};

fn stream(name: &str, filters: &[&str]) -> Stream {
    let filters = filters.iter().map(|text| Filter::parse(text).expect("a filter"));
    Stream { name: name.into(), filters: filters.collect(), stopped: false }
}

/// Restarts the world's broker so that it records these.
fn recording(world: &mut World, streams: Vec<Stream>) {
    let engine = Engine::new(world.limits.clone(), world.kept.clone(), world.now);
    world.engine = engine.recording(streams);
}

fn recorded(world: &World) -> Vec<&Recorded> {
    let records = world.fx.changes.iter().filter_map(|change| match change {
        Change::Record(record) => Some(record),
        _ => None,
    });
    records.collect()
}

fn places(world: &World) -> Vec<(&str, u64)> {
    recorded(world).iter().map(|record| (&*record.stream, record.offset)).collect()
}

#[test]
fn a_stream_records_what_a_subscription_would_get() {
    let mut world = World::new();
    let all = stream("all", &["#"]);
    let some = stream("some", &["a/+", "a/b", "$SYS/#"]);
    recording(&mut world, vec![all, some, stream("none", &["other"])]);
    let rows: &[(&str, &[(&str, u64)])] = &[
        ("a/b", &[("all", 0), ("some", 0)]),
        ("a", &[("all", 1)]),
        ("a/c", &[("all", 2), ("some", 1)]),
        ("$SYS/x", &[("some", 2)]),
        ("$other", &[]),
    ];
    for (topic, expected) in rows {
        world.step(Input::Publish(message(topic, "1", 0)));
        assert_eq!(places(&world), *expected, "{topic}");
        assert!(recorded(&world).iter().all(|record| record.client_id.is_none()));
    }
}

#[test]
fn a_record_says_who_when_and_what_and_the_acknowledgement_waits_for_it() {
    for qos in 0..=2 {
        let mut world = World::new();
        recording(&mut world, vec![stream("s", &["#"])]);
        let client = world.connect(Connect { user_name: Some("user".into()), ..clean("c") });
        world.publish(client, message("a", "21.5", qos), 1);
        let records = recorded(&world);
        let [record] = records[..] else { panic!("{records:?}") };
        assert_eq!(record.client_id.as_deref(), Some("c"));
        assert_eq!(record.user_name.as_deref(), Some("user"));
        assert_eq!(record.time, world.now);
        assert_eq!(record.message, message("a", "21.5", qos));
        assert!(world.fx.outgoing.iter().all(|outgoing| outgoing.promise), "QoS {qos}");
        assert_eq!(world.fx.outgoing.len(), usize::from(qos > 0));
    }
}

#[test]
fn offsets_go_on_behind_a_restart_and_a_time_without_recording() {
    let mut world = World::new();
    recording(&mut world, vec![stream("s", &["#"])]);
    let publish = |world: &mut World, expected: &[(&str, u64)]| {
        world.step(Input::Publish(message("a", "1", 1)));
        assert_eq!(places(world), expected);
    };
    publish(&mut world, &[("s", 0)]);
    world.crash();
    publish(&mut world, &[]);
    recording(&mut world, vec![stream("s", &["a"]), stream("t", &["a"])]);
    publish(&mut world, &[("s", 1), ("t", 0)]);
    world.step(Input::Streams(vec![stream("t", &["a"])]));
    publish(&mut world, &[("t", 1)]);
    world.step(Input::Streams(vec![stream("t", &["b"]), stream("s", &["+"])]));
    publish(&mut world, &[("s", 2)]);
}

#[test]
fn the_wills_that_a_dead_broker_owes_are_recorded() {
    let mut world = World::new();
    let will = Some(message("gone", "c", 1));
    world.connect(Connect { will, ..clean("c") });
    recording(&mut world, vec![stream("s", &["gone"])]);
    world.step(Input::Due);
    let records = recorded(&world);
    let [record] = records[..] else { panic!("{records:?}") };
    assert_eq!((record.client_id.as_deref(), record.offset), (Some("c"), 0));
}

#[test]
fn what_a_stopped_stream_misses_is_counted_and_takes_no_offset() {
    let mut world = World::with(Limits { sys_interval_s: 0, ..limits() });
    recording(&mut world, vec![Stream { stopped: true, ..stream("s", &["#"]) }]);
    let client = world.clean("c");
    world.publish(client, message("a", "1", 1), 1);
    assert_eq!(places(&world), []);
    assert_eq!(world.engine.counters().dropped(Bound::Recording), 1);
    assert_eq!(world.engine.counters().messages_dropped(), 0, "its subscribers got it");
    assert!(world.fx.outgoing.iter().all(|outgoing| !outgoing.promise));
    world.step(Input::Streams(vec![stream("s", &["#"])]));
    world.publish(client, message("a", "1", 1), 1);
    assert_eq!(places(&world), [("s", 0)]);
}
