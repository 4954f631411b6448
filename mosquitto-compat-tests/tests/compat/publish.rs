//! Publishing and subscribing: QoS, wildcards, order, shares.

use std::io::Write;
use std::process::Stdio;

use mosquitto_compat_tests::broker::Broker;
use mosquitto_compat_tests::on_both_brokers;
use mosquitto_compat_tests::tools::{Running, assert_same_order, publish, subscribe, tool};

on_both_brokers!(
    a_message_comes_at_the_lower_of_the_two_qos,
    wildcards_take_what_they_match_and_nothing_else,
    overlapping_filters_give_every_message,
    lines_keep_count_and_order_at_qos_0,
    lines_keep_count_and_order_at_qos_1,
    lines_keep_count_and_order_at_qos_2,
    a_share_gives_each_message_to_one_member,
);

/// [MQTT-3.8.4-6]
fn a_message_comes_at_the_lower_of_the_two_qos(broker: &Broker) {
    for granted in 0..=2u8 {
        let mut subscriber = subscribe(broker, &["-q", &granted.to_string(), "-t", "qos/+"]);
        for sent in 0..=2u8 {
            let topic = format!("qos/{sent}");
            publish(broker, &["-q", &sent.to_string(), "-t", &topic, "-m", "x"]);
            let message = subscriber.message();
            assert_eq!((message.qos, message.topic), (granted.min(sent), topic));
            assert_eq!((message.retain, message.payload), (false, b"x".to_vec()));
        }
    }
}

/// [MQTT-4.7.1-2] [MQTT-4.7.1-3] [MQTT-4.7.2-1]
fn wildcards_take_what_they_match_and_nothing_else(broker: &Broker) {
    let rows: [(&str, &[&str]); 7] = [
        ("a/+", &["a/b", "a/c", "a/"]),
        ("a/#", &["a", "a/b", "a/b/c", "a/c", "a/"]),
        ("+/b", &["a/b", "/b", "A/b"]),
        ("+/+/c", &["a/b/c"]),
        ("#", &["a", "a/b", "a/b/c", "a/c", "a/", "/b", "A/b"]),
        ("A/b", &["A/b"]),
        ("$x/+", &["$x/b"]),
    ];
    let subscribers: Vec<(Running, &[&str])> = rows
        .iter()
        .map(|(filter, takes)| (subscribe(broker, &["-t", filter, "-t", "end"]), *takes))
        .collect();
    for topic in ["a", "a/b", "a/b/c", "a/c", "a/", "/b", "A/b", "$x/b"] {
        publish(broker, &["-t", topic, "-m", "x"]);
    }
    publish(broker, &["-t", "end", "-m", "x"]);
    for (mut subscriber, takes) in subscribers {
        for topic in takes {
            assert_eq!(subscriber.message().topic, *topic);
        }
        assert_eq!(subscriber.message().topic, "end");
    }
}

fn overlapping_filters_give_every_message(broker: &Broker) {
    let filters = ["-t", "o/a", "-t", "o/+", "-t", "o/#", "-t", "end"];
    let mut subscriber = subscribe(broker, &filters);
    publish(broker, &["-t", "o/a", "-m", "once"]);
    publish(broker, &["-t", "end", "-m", "end"]);
    // Once [MQTT-3.3.5-1], or once per filter, which 3.1.1 allows too.
    let mut copies = 0;
    while subscriber.message().topic == "o/a" {
        copies += 1;
    }
    assert!((1..=3).contains(&copies), "{copies} copies");
}

fn lines_keep_count_and_order_at_qos_0(broker: &Broker) {
    lines_keep_count_and_order(broker, "0");
}

fn lines_keep_count_and_order_at_qos_1(broker: &Broker) {
    lines_keep_count_and_order(broker, "1");
}

fn lines_keep_count_and_order_at_qos_2(broker: &Broker) {
    lines_keep_count_and_order(broker, "2");
}

/// [MQTT-4.6.0-6] 5,000 lines, at most 500 of them on their way: fewer than the queue of a session
/// holds, so that a subscriber slower than the publisher loses none.
fn lines_keep_count_and_order(broker: &Broker, qos: &str) {
    let mut subscriber = subscribe(broker, &["-q", qos, "-t", "lines"]);
    let mut command = tool("mosquitto_pub", broker);
    command.args(["-q", qos, "-t", "lines", "-l"]).stdin(Stdio::piped());
    let mut publisher = Running::start(&mut command);
    let mut stdin = publisher.stdin();
    for batch in 0..10 {
        let lines: Vec<String> = (0..500).map(|n| format!("line {}", batch * 500 + n)).collect();
        stdin.write_all((lines.join("\n") + "\n").as_bytes()).unwrap();
        assert_same_order(&subscriber.texts(lines.len()), &lines);
    }
    drop(stdin);
    assert!(publisher.finish().status.success());
    publish(broker, &["-q", qos, "-t", "lines", "-m", "end"]);
    assert_eq!(subscriber.message().text(), "end");
}

fn a_share_gives_each_message_to_one_member(broker: &Broker) {
    let filters = ["-q", "1", "-t", "$share/group/work", "-t", "end"];
    let mut members = [subscribe(broker, &filters), subscribe(broker, &filters)];
    let mut command = tool("mosquitto_pub", broker);
    command.args(["-q", "1", "-t", "work", "-l"]).stdin(Stdio::piped());
    let mut publisher = Running::start(&mut command);
    let lines: Vec<String> = (0..200).map(|n| format!("{n:03}")).collect();
    publisher.stdin().write_all((lines.join("\n") + "\n").as_bytes()).unwrap();
    assert!(publisher.finish().status.success());
    publish(broker, &["-q", "1", "-t", "end", "-m", "end"]);
    let mut all = Vec::new();
    for member in &mut members {
        let mut part = Vec::new();
        loop {
            let message = member.message();
            if message.topic == "end" {
                break;
            }
            part.push(message.text());
        }
        assert!(!part.is_empty(), "a member of two got nothing of 200 messages");
        assert!(part.is_sorted(), "out of order: {part:?}");
        all.append(&mut part);
    }
    all.sort();
    assert_same_order(&all, &lines);
}
