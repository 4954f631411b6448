//! `$SYS`: what the broker tells about itself, where mosquitto's users look for it.

use std::collections::BTreeSet;

use mosquitto_compat_tests::broker::{Broker, Kind, mosquitto_binary};
use mosquitto_compat_tests::martlet::binary;
use mosquitto_compat_tests::on_both_brokers;
use mosquitto_compat_tests::tools::{Received, publish, subscribe};

on_both_brokers!(
    version_and_uptime_are_there,
    the_whole_tree_can_be_read,
    wildcards_at_the_front_pass_it_by,
);

fn version_and_uptime_are_there(broker: &Broker) {
    let version = subscribe(broker, &["-t", "$SYS/broker/version"]).message();
    assert!(version.retain);
    let text = version.text().to_lowercase();
    assert!(text.contains(broker.kind().name()), "{text}");
    if broker.kind() == Kind::Martlet {
        assert!(text.contains(env!("CARGO_PKG_VERSION")), "{text}");
    }
    let uptime = subscribe(broker, &["-t", "$SYS/broker/uptime"]).message().text();
    let number = uptime.strip_suffix(" seconds").expect("as in `12 seconds`");
    assert!(number.parse::<u64>().is_ok(), "{uptime}");
}

fn the_whole_tree_can_be_read(broker: &Broker) {
    let mut subscriber = subscribe(broker, &["-t", "$SYS/#"]);
    let messages: Vec<Received> = (0..10).map(|_| subscriber.message()).collect();
    assert!(messages.iter().all(|message| message.topic.starts_with("$SYS/broker/")));
}

/// [MQTT-4.7.2-1]
fn wildcards_at_the_front_pass_it_by(broker: &Broker) {
    for filter in ["#", "+/broker/version", "+/#"] {
        let mut subscriber = subscribe(broker, &["-t", filter, "-t", "end"]);
        publish(broker, &["-t", "end", "-m", "end"]);
        assert_eq!(subscriber.message().topic, "end");
    }
}

/// Topics of mosquitto 2.0 that Martlet does not have, each with the reason.
const NOT_HERE: &[(&str, &str)] = &[];

/// Topics of mosquitto 2.1 that the installed one may not have yet.
const NEWER: &[&str] = &[
    "$SYS/broker/packet/out/count",
    "$SYS/broker/packet/out/bytes",
    "$SYS/broker/connections/socket/count",
];

/// The topics that there are once a broker has spoken a second time.
fn topics(kind: Kind, program: &std::path::Path) -> BTreeSet<String> {
    let config = "allow_anonymous true\nsys_interval 1\n";
    let broker = Broker::start_with_conf(kind, program, config).unwrap();
    let mut first = subscribe(&broker, &["-t", "$SYS/broker/uptime"]);
    // Retained at first, then the next ones: loads are there from the second on.
    (0..4).for_each(|_| drop(first.message()));
    publish(&broker, &["-t", "end", "-m", "end", "-r"]);
    let mut reader = subscribe(&broker, &["-t", "$SYS/#", "-t", "end"]);
    let mut topics = BTreeSet::new();
    loop {
        let message = reader.message();
        if message.topic == "end" {
            return topics;
        }
        topics.insert(message.topic);
    }
}

#[test]
fn every_topic_of_mosquitto_is_there() {
    let ours = topics(Kind::Martlet, &binary().unwrap());
    let theirs = topics(Kind::Mosquitto, &mosquitto_binary());
    assert!(theirs.len() > 40, "{theirs:?}");
    let missing: Vec<&String> = theirs.difference(&ours).collect();
    let listed: Vec<&str> = NOT_HERE.iter().map(|(topic, _)| *topic).collect();
    assert_eq!(missing, listed);
    let more = ours.difference(&theirs).filter(|topic| {
        let own = ["$SYS/broker/martlet/", "$SYS/broker/mqtt/"];
        !own.iter().any(|start| topic.starts_with(start)) && !NEWER.contains(&topic.as_str())
    });
    assert_eq!(more.collect::<Vec<_>>(), Vec::<&String>::new(), "mosquitto has no such topic");
    for topic in NEWER {
        assert!(ours.contains(*topic), "{topic}");
    }
}

/// Numbers have the form that programs expect: whole ones without a point, loads with two digits.
#[test]
fn values_have_mosquittos_form() {
    let config = "allow_anonymous true\nsys_interval 1\n";
    let both = [(Kind::Mosquitto, mosquitto_binary()), (Kind::Martlet, binary().unwrap())];
    for (kind, program) in both {
        let broker = Broker::start_with_conf(kind, &program, config).unwrap();
        let mut reader = subscribe(&broker, &["-t", "$SYS/broker/load/#"]);
        let value = reader.message();
        let text = value.text();
        let (whole, digits) = text.split_once('.').expect("a point");
        assert!(whole.parse::<u64>().is_ok() && digits.len() == 2, "{kind:?} {value:?}");
        let mut reader = subscribe(&broker, &["-t", "$SYS/broker/clients/connected"]);
        assert!(reader.message().text().parse::<u64>().is_ok(), "{kind:?}");
    }
}

/// A client that comes and goes, on the topic of its own.
#[test]
fn who_is_connected_can_be_watched() {
    let broker = Broker::martlet_with("[sys]\nclients = true\n");
    let filter = "$SYS/broker/martlet/clients/+/state";
    let mut watcher = subscribe(&broker, &["-i", "watcher", "-t", filter]);
    let state = |message: Received| (message.topic.clone(), message.text());
    let expected =
        |id: &str, text: &str| (format!("$SYS/broker/martlet/clients/{id}/state"), text.to_owned());
    assert_eq!(state(watcher.message()), expected("watcher", "1"));
    publish(&broker, &["-i", "a/b", "-t", "t", "-m", "x"]);
    assert_eq!(state(watcher.message()), expected("a%2Fb", "1"));
    assert_eq!(state(watcher.message()), expected("a%2Fb", ""));
}
