//! SUBSCRIBE, UNSUBSCRIBE, and which filters a topic matches.

use martlet_codec::reason::QoS;
use martlet_codec::topic::TopicFilter;
use martlet_engine::effects::Notice;
use martlet_engine::input::InPacket;
use martlet_engine::limits::Limits;

use crate::world::{World, filter, id, limits, message, qos, retained, topic_name};

fn subscribe(world: &mut World, link: martlet_engine::input::LinkId, list: &[(&str, u8)]) {
    let subscriptions = list.iter().map(|&(text, code)| (filter(text), qos(code))).collect();
    world.packet(link, InPacket::Subscribe { id: id(77), subscriptions, beyond: 0 });
}

#[test]
fn one_suback_with_a_code_for_each_filter_in_order() {
    // [MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-3.8.4-4] [MQTT-3.8.4-5] [MQTT-3.9.3-1] [MQTT-3.9.3-2]
    // [MQTT-2.3.1-7]
    let mut world = World::with(Limits { subscriptions_per_session_max: 3, ..limits() });
    let client = world.clean("c");
    subscribe(&mut world, client, &[("a", 2), ("b", 0), ("a", 1), ("c", 1), ("d", 2), ("b", 1)]);
    let limit = Some("subscriptions_per_session_max");
    let notice = Notice::SubscriptionsRefused { client_id: "c".into(), count: 1, limit };
    assert_eq!(world.notices(), [notice]);
    assert_eq!(world.heard(client), ["SUBACK #77 [2, 0, 1, 1, 128, 1]"]);
    let refused = martlet_engine::counters::Bound::Subscriptions;
    assert_eq!(world.engine.counters().dropped(refused), 1);
    assert_eq!(world.engine.counters().messages_dropped(), 0);
    world.inside(message("d", "m", 0));
    assert_eq!(world.heard(client), [""; 0]);
}

#[test]
fn a_packet_of_very_many_filters_is_answered_for_all_and_granted_for_some() {
    // [MQTT-3.8.4-5]
    let mut world = World::new();
    let client = world.clean("c");
    let subscriptions = Box::new([(filter("a"), qos(1))]);
    world.packet(client, InPacket::Subscribe { id: id(1), subscriptions, beyond: 3 });
    let limit = Some("filters_per_packet_max");
    let notice = Notice::SubscriptionsRefused { client_id: "c".into(), count: 3, limit };
    assert_eq!(world.notices(), [notice]);
    assert_eq!(world.heard(client), ["SUBACK #1 [1, 128, 128, 128]"]);
    let refused = martlet_engine::counters::Bound::Subscriptions;
    assert_eq!(world.engine.counters().dropped(refused), 3);
}

#[test]
fn delivery_qos_is_the_lower_of_both() {
    // [MQTT-3.8.4-6]; QoS 0 without id and DUP [MQTT-2.3.1-5] [MQTT-3.3.1-2] [MQTT-4.3.1-1]
    for published in 0..3 {
        for granted in 0..3 {
            let mut world = World::new();
            let client = world.clean("c");
            world.subscribe(client, "t", granted);
            world.inside(message("t", "m", published));
            let expected = match published.min(granted) {
                0 => "t m".to_owned(),
                qos => format!("t m q{qos} #1"),
            };
            assert_eq!(world.heard(client), [expected]);
        }
    }
}

#[test]
fn overlapping_subscriptions_deliver_once_at_the_highest_qos() {
    // [MQTT-3.3.5-1]
    let mut world = World::new();
    let client = world.clean("c");
    subscribe(&mut world, client, &[("a/#", 0), ("a/b", 2), ("+/b", 1), ("#", 0), ("x", 2)]);
    world.heard(client);
    world.inside(message("a/b", "m", 2));
    assert_eq!(world.heard(client), ["a/b m q2 #1"]);
    world.unsubscribe(client, "a/b");
    world.inside(message("a/b", "m", 2));
    assert_eq!(world.heard(client), ["a/b m q1 #2"]);
}

#[test]
fn the_same_filter_again_replaces() {
    // [MQTT-3.8.4-3]
    let mut world = World::new();
    let client = world.durable("c");
    world.inside(retained("t", "r", 2));
    world.subscribe(client, "t", 0);
    assert_eq!(world.heard(client), ["t r retained"]);
    world.subscribe(client, "t", 2);
    assert_eq!(world.heard(client), ["t r q2 #1 retained"]);
    assert_eq!(world.engine.gauges().subscriptions, 1);
    world.inside(message("t", "m", 1));
    assert_eq!(world.heard(client), ["t m q1 #2"]);
    world.subscribe(client, "t", 0);
    world.heard(client);
    world.inside(message("t", "m", 1));
    assert_eq!(world.heard(client), ["t m"]);
}

#[test]
fn unsubscribe_compares_texts_and_always_answers() {
    // [MQTT-3.10.4-1] [MQTT-3.10.4-4] [MQTT-3.10.4-5] [MQTT-3.10.4-6] [MQTT-2.3.1-7]
    let mut world = World::new();
    let client = world.clean("c");
    subscribe(&mut world, client, &[("a/b", 0), ("a/+", 0), ("$share/g/a/b", 0)]);
    world.heard(client);
    let filters = ["A/b", "a/#", "+/b", "a/b/", "$share/h/a/b", "a/+"];
    let filters = filters.iter().map(|text| filter(text)).collect();
    world.packet(client, InPacket::Unsubscribe { id: id(78), filters });
    assert_eq!(world.heard(client), ["UNSUBACK #78"]);
    assert_eq!(world.engine.gauges().subscriptions, 2);
    world.unsubscribe(client, "a/b");
    assert_eq!(world.engine.gauges().shared_subscriptions, 1);
    world.inside(message("a/b", "m", 0));
    assert_eq!(world.heard(client), ["a/b m"], "the shared one is another subscription");
}

#[test]
fn after_unsubscribe_what_is_in_flight_is_finished_and_nothing_is_added() {
    // [MQTT-3.10.4-2] [MQTT-3.10.4-3]
    let mut world = World::new();
    let client = world.durable("c");
    world.subscribe(client, "t", 2);
    world.inside(message("t", "m", 2));
    world.unsubscribe(client, "t");
    world.inside(message("t", "n", 2));
    assert_eq!(world.heard(client), ["t m q2 #1"]);
    world.lose(client);
    let client = world.durable("c");
    assert_eq!(world.heard(client), ["t m q2 #1 dup"]);
    world.packet(client, InPacket::PubRec(id(1)));
    world.packet(client, InPacket::PubComp(id(1)));
    assert_eq!(world.heard(client), ["PUBREL #1"]);
    assert_eq!(world.engine.gauges().waiting_messages, 0);
}

/// Levels out of which topics and filters are put together.
const TOPIC_LEVELS: &[&str] = &["", "a", "b", "ab", "$x", "\u{1}", "é"];
const FILTER_LEVELS: &[&str] = &["", "a", "ab", "$x", "+", "é"];

fn up_to_three(levels: &'static [&'static str]) -> Vec<String> {
    let mut all: Vec<String> = levels.iter().map(|&level| level.to_owned()).collect();
    let mut last = all.clone();
    for _ in 0..2 {
        let longer = |start: String| levels.iter().map(move |level| format!("{start}/{level}"));
        last = last.into_iter().flat_map(longer).collect();
        all.extend(last.iter().cloned());
    }
    all.retain(|text| !text.is_empty());
    all
}

/// The codec says what matches, on one filter and one topic; router and retained messages must
/// agree for all of them. [MQTT-3.3.2-3] [MQTT-4.7.2-1] [MQTT-4.7.3-4] [MQTT-4.7.1-2]
/// [MQTT-4.7.1-3]
#[test]
fn router_and_retained_messages_match_as_the_codec_does() {
    let mut world = World::with(Limits { subscriptions_per_session_max: u32::MAX, ..limits() });
    let topics = up_to_three(TOPIC_LEVELS);
    let mut filters = up_to_three(FILTER_LEVELS);
    let hashes: Vec<String> = filters.iter().map(|filter| format!("{filter}/#")).collect();
    filters.extend(hashes);
    filters.push("#".into());
    for topic in &topics {
        world.step_unchecked(martlet_engine::input::Input::Publish(retained(topic, "r", 0)));
    }
    let client = world.clean("c");
    let mut pairs = 0;
    for text in &filters {
        let parsed = TopicFilter::new(text.as_bytes()).expect("a filter");
        let matching = |topic: &&String| parsed.matches(topic_name(topic));
        let mut expected: Vec<String> =
            topics.iter().filter(matching).map(|topic| format!("{topic} r retained")).collect();
        world.subscribe(client, text, 0);
        world.wait(1);
        let mut heard = world.heard(client);
        world.room(client, u32::MAX);
        world.wait(1);
        heard.extend(world.heard(client));
        heard.sort();
        expected.sort();
        assert_eq!(heard, expected, "{text}");
        pairs += expected.len();
        world.unsubscribe(client, text);
        world.room(client, u32::MAX);
    }
    assert!(pairs > 5000, "{pairs}");
    assert_eq!(world.engine.gauges().subscriptions, 0);
    // Each filter its own client would be slow: one client, one filter, all topics live.
    for text in &filters {
        let parsed = TopicFilter::new(text.as_bytes()).expect("a filter");
        let again = world.clean("d");
        let subscriptions = Box::new([(filter(text), QoS::AtMostOnce)]);
        let packet = InPacket::Subscribe { id: id(1), subscriptions, beyond: 0 };
        let input = martlet_engine::input::Input::Packet { link: again, packet };
        world.step_unchecked(input);
        world.read(again);
        for topic in &topics {
            let live = martlet_engine::input::Input::Publish(message(topic, "m", 0));
            world.step_unchecked(live);
            let matches = parsed.matches(topic_name(topic));
            let sent = &world.fx.outgoing;
            let live: Vec<_> = sent.iter().filter(|outgoing| outgoing.link == again).collect();
            assert_eq!(live.len(), usize::from(matches), "{text}, {topic}");
            world.step_unchecked(martlet_engine::input::Input::Room {
                link: again,
                bytes: u32::MAX,
            });
        }
        world.read(again);
        world.step_unchecked(martlet_engine::input::Input::Lost {
            link: again,
            cause: martlet_engine::input::LostCause::Closed,
        });
    }
}

#[test]
fn many_subscribers_of_one_filter_leave_it() {
    let mut world = World::new();
    let links: Vec<_> = (0..2000).map(|n| world.link_of(&format!("c{n}"))).collect();
    for &link in &links {
        let subscriptions = Box::new([(filter("t"), QoS::AtMostOnce)]);
        let packet = InPacket::Subscribe { id: id(1), subscriptions, beyond: 0 };
        world.step_unchecked(martlet_engine::input::Input::Packet { link, packet });
    }
    for (gone, &link) in links.iter().enumerate() {
        if gone % 500 == 0 {
            world.step_unchecked(martlet_engine::input::Input::Publish(message("t", "m", 0)));
            let publishes = world.fx.outgoing.len();
            assert_eq!(publishes, links.len() - gone);
        }
        let cause = martlet_engine::input::LostCause::Closed;
        world.step_unchecked(martlet_engine::input::Input::Lost { link, cause });
    }
    assert_eq!(world.engine.gauges().subscriptions, 0);
}
