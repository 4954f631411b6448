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
    let traffic = Traffic { bytes_received: 1000, bytes_sent: 2000, ..Traffic::default() };
    world.step(Input::Traffic(traffic));
    let client = world.clean("c");
    world.publish(client, retained("r", "retained", 0), 0);
    world.wait(10_000);
    world.subscribe(client, "$SYS/#", 0);
    let tree = heard(&mut world, client);
    let rows = [
        ("version", "martlet version 1.2.3"),
        ("uptime", "10 seconds"),
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
    for (name, value) in rows {
        let got = tree.get(&format!("$SYS/broker/{name}"));
        assert_eq!(got.map(String::as_str), Some(value), "{name}");
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
    world.step(Input::Store(StoreHealth { damage, commits_failed: 3, failing_since }));
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
    world.step(Input::Store(StoreHealth { commits_failed: 3, ..StoreHealth::default() }));
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
