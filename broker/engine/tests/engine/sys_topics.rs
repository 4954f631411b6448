//! `$SYS`.

use std::collections::BTreeMap;

use martlet_engine::input::{Input, StoreHealth, Time, Traffic};
use martlet_engine::limits::Limits;
use martlet_engine::snapshot::Snapshot;

use crate::world::{World, clean, message, retained};

fn heard(world: &mut World, link: martlet_engine::input::LinkId) -> BTreeMap<String, String> {
    let lines = world.read(link).into_iter().map(|packet| match packet {
        martlet_engine::effects::OutPacket::Publish { message, .. } => (
            message.topic().as_str().to_owned(),
            String::from_utf8_lossy(message.payload()).into_owned(),
        ),
        other => panic!("{other:?}"),
    });
    lines.collect()
}

const TREE: &[(&str, &str)] = &[
    ("version", "martlet version 1.2.3"),
    ("uptime", "10 seconds"),
    ("load/messages/received/1min", "4.61"), // 5 in ten seconds are 30 a minute
    ("load/connections/15min", "0.13"),      // 2 are 12
    ("load/sockets/1min", "0.00"),
    ("mqtt/connect/received", "2"),
    ("mqtt/subscribe/received", "2"),
    ("mqtt/publish/received", "1"),
    ("mqtt/connack/sent", "2"),
    ("mqtt/suback/sent", "2"),
    ("packet/out/count", "7"),
    ("packet/out/bytes", "700"),
    ("heap/current", "1000000"),
    ("heap/maximum", "2000000"),
    ("connections/socket/count", "0"),
    ("martlet/log/lost", "3"),
    ("martlet/connections/open", "0"),
    ("martlet/dropped/clean_session", "0"),
    ("clients/total", "2"),
    ("clients/maximum", "1"),
    ("clients/connected", "1"),
    ("clients/active", "1"),
    ("clients/disconnected", "1"),
    ("clients/inactive", "1"),
    ("clients/expired", "0"),
    ("messages/received", "5"), // 2 CONNECT, 2 SUBSCRIBE, PUBLISH
    ("messages/sent", "4"),     // 2 CONNACK, 2 SUBACK
    ("publish/messages/received", "1"),
    ("publish/messages/sent", "0"),
    ("publish/messages/dropped", "3"),
    ("publish/bytes/received", "8"),
    ("publish/bytes/sent", "0"),
    ("bytes/received", "1000"),
    ("bytes/sent", "2000"),
    ("subscriptions/count", "2"),
    ("shared_subscriptions/count", "1"),
    ("martlet/dropped/queue_messages_max", "1"),
    ("martlet/dropped/queue_qos0", "2"),
    ("martlet/dropped/outbox_bytes_max", "0"),
];

#[test]
fn the_tree_has_mosquittos_names_and_formats() {
    let mut world = World::with(Limits {
        sys_interval_s: 10,
        queue_messages_max: 1,
        version_text: "martlet version 1.2.3".into(),
        ..Limits::default()
    });
    world.wait(0); // the first time is the start
    let away = world.durable("away");
    world.subscribe(away, "t", 1);
    world.subscribe(away, "$share/g/t", 0);
    world.lose(away);
    world.inside(message("t", "123", 1));
    world.inside(message("t", "lost", 1));
    let traffic = Traffic {
        bytes_received: 1000,
        bytes_sent: 2000,
        packets_waiting: 7,
        packets_waiting_bytes: 700,
        memory_bytes: 1_000_000,
        memory_bytes_max: 2_000_000,
        log_lines_lost: 3,
        ..Traffic::default()
    };
    world.step(Input::Traffic(Box::new(traffic)));
    let client = world.clean("c");
    world.publish(client, retained("r", "retained", 0), 0);
    world.wait(10_000);
    world.subscribe(client, "$SYS/#", 0);
    let tree = heard(&mut world, client);
    for (name, value) in TREE {
        let got = tree.get(&format!("$SYS/broker/{name}"));
        assert_eq!(got.map(String::as_str), Some(*value), "{name}");
    }
    for name in ["messages/stored", "store/messages/count", "store/messages/bytes"] {
        let value = &tree[&format!("$SYS/broker/{name}")];
        assert!(value.parse::<u64>().is_ok_and(|number| number > 1), "{name} {value}");
    }
    let retained: u64 = tree["$SYS/broker/retained messages/count"].parse().expect("a number");
    assert!((tree.len() as u64 - 1..=tree.len() as u64 + 1).contains(&retained), "{retained}");
}

#[test]
fn the_store_tells_its_damage_and_whether_it_works() {
    let mut world = World::with(Limits { sys_interval_s: 10, ..Limits::default() });
    let failing_since = Some(Time(1_700_000_000_999));
    let damage = vec!["one".into(), "two".into()];
    let store = |health| Input::Store(Box::new(health));
    world.step(store(StoreHealth { damage, commits_failed: 3, failing_since }));
    world.wait(0);
    let client = world.clean("c");
    world.subscribe(client, "$SYS/broker/martlet/store/#", 0);
    let told = |tree: &BTreeMap<String, String>| {
        let lines = tree.iter().map(|(topic, text)| {
            format!("{} {text}", topic.trim_start_matches("$SYS/broker/martlet/store/"))
        });
        lines.collect::<Vec<_>>()
    };
    assert_eq!(
        told(&heard(&mut world, client)),
        ["commits/failed 3", "damage one\ntwo", "damage/count 2", "failing/since 1700000000"]
    );
    world.step(store(StoreHealth { commits_failed: 3, ..StoreHealth::default() }));
    world.wait(10_000);
    assert_eq!(told(&heard(&mut world, client)), ["damage/count 0", "failing/since 0"]);
}

#[test]
fn only_what_changed_is_published_and_nothing_is_kept_on_disk() {
    let mut world = World::with(Limits { sys_interval_s: 10, ..Limits::default() });
    world.wait(0);
    let client = world.durable("c");
    world.subscribe(client, "$SYS/broker/#", 2);
    assert!(world.read(client).len() > 30);
    world.wait(10_000);
    heard(&mut world, client);
    world.wait(10_000);
    let tree = heard(&mut world, client);
    assert!(tree.contains_key("$SYS/broker/uptime"), "{tree:?}");
    assert!(!tree.contains_key("$SYS/broker/version"), "{tree:?}");
    assert!(!tree.contains_key("$SYS/broker/clients/total"), "{tree:?}");
    assert!(world.kept.retained.is_empty());
    assert!(world.kept.messages.is_empty());
    world.lose(client);
    world.wait(100_000);
    assert!(world.kept.messages.is_empty(), "QoS 0 also for those who are away");
}

#[test]
fn leading_wildcards_pass_it_by_and_an_interval_of_0_is_never() {
    // I9, [MQTT-4.7.2-1]
    let mut world = World::with(Limits { sys_interval_s: 10, ..Limits::default() });
    world.wait(0);
    let client = world.connect(clean("c"));
    for filter in ["#", "+/broker/uptime", "+/#"] {
        world.subscribe(client, filter, 0);
    }
    world.wait(100_000);
    assert_eq!(world.heard(client), [""; 0]);
    let mut world = World::with(Limits { sys_interval_s: 0, ..Limits::default() });
    world.wait(100_000);
    assert_eq!(world.engine.gauges().retained_messages, 0);
    assert_eq!(world.kept, Snapshot::default());
}

/// 3 seconds behind a full interval it starts, 7 later it speaks again: with the wall clock.
#[test]
fn updates_come_at_whole_multiples_of_the_interval() {
    let mut world = World::with(Limits { sys_interval_s: 10, ..Limits::default() });
    world.wait(3_000);
    let client = world.clean("c");
    world.subscribe(client, "$SYS/broker/uptime", 0);
    assert_eq!(heard(&mut world, client)["$SYS/broker/uptime"], "0 seconds");
    world.wait(6_999);
    assert!(heard(&mut world, client).is_empty());
    world.wait(1);
    assert_eq!(heard(&mut world, client)["$SYS/broker/uptime"], "10 seconds");
    world.wait(10_000);
    assert_eq!(heard(&mut world, client)["$SYS/broker/uptime"], "20 seconds");
}

#[test]
fn sessions_come_and_go_as_retained_topics_if_that_is_wanted() {
    let limits = Limits { sys_interval_s: 10, sys_clients: true, ..Limits::default() };
    let mut world = World::with(limits.clone());
    let before = world.durable("kept");
    world.lose(before);
    world.wait(0);
    let watcher = world.clean("watcher");
    world.subscribe(watcher, "$SYS/broker/martlet/clients/#", 0);
    let told = |world: &mut World| {
        let tree = heard(world, watcher).into_iter();
        let lines = tree.map(|(topic, text)| {
            let id = topic.trim_start_matches("$SYS/broker/martlet/clients/");
            format!("{} {text}", id.trim_end_matches("/state"))
        });
        lines.collect::<Vec<_>>()
    };
    assert_eq!(told(&mut world), ["kept 0", "watcher 1"]);
    let odd = world.clean("a/b+c#%");
    let kept = world.durable("kept");
    assert_eq!(told(&mut world), ["a%2Fb%2Bc%23%25 1", "kept 1"]);
    world.lose(odd);
    world.lose(kept);
    assert_eq!(told(&mut world), ["a%2Fb%2Bc%23%25 ", "kept 0"]);
    let mut off = limits.clone();
    off.sys_clients = false;
    world.step(Input::Limits(Box::new(off)));
    assert_eq!(told(&mut world), ["kept ", "watcher "]);
    world.step(Input::Limits(Box::new(limits)));
    assert_eq!(told(&mut world), ["kept 0", "watcher 1"]);
    assert!(world.kept.retained.is_empty(), "never on disk");
    // Nothing comes before the CONNACK, not even what a client's coming tells itself.
    let again = world.durable("kept");
    world.subscribe(again, "$SYS/broker/martlet/clients/#", 0);
    world.lose(again);
    world.durable("kept"); // asserts the CONNACK in front
}

/// What a client with Clean Session 1 leaves behind is lost, and said so.
#[test]
fn messages_of_clean_sessions_are_counted_when_they_end() {
    let mut world = World::new();
    let client = world.clean("c");
    world.subscribe(client, "t", 1);
    world.inside(message("t", "in flight", 1));
    world.lose(client);
    let dropped = |world: &World| {
        let counters = world.engine.counters();
        (
            counters.dropped(martlet_engine::counters::Bound::CleanSession),
            counters.messages_dropped(),
        )
    };
    assert_eq!(dropped(&world), (1, 0), "nobody wants them any more");
    let kept = world.durable("k");
    world.subscribe(kept, "t", 1);
    world.lose(kept);
    world.inside(message("t", "queued", 1));
    world.inside(message("t", "queued", 1));
    world.clean("k");
    assert_eq!(dropped(&world), (3, 0));
}
