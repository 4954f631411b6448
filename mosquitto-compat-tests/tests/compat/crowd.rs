//! Many clients at once.

use std::collections::BTreeMap;
use std::fs::{self, File};

use mosquitto_compat_tests::broker::Broker;
use mosquitto_compat_tests::on_both_brokers;
use mosquitto_compat_tests::tools::{Running, subscribe, tool};
use tempfile::TempDir;

on_both_brokers!(fifty_publishers_reach_fifty_subscribers);

/// Publishers and subscribers, each.
const CLIENTS: usize = 50;
/// Messages of each publisher: all together fewer than a session's queue holds.
const MESSAGES: usize = 15;

/// [MQTT-4.6.0-6] Every subscriber gets all, in each publisher's order.
fn fifty_publishers_reach_fifty_subscribers(broker: &Broker) {
    let mut subscribers: Vec<Running> =
        (0..CLIENTS).map(|_| subscribe(broker, &["-q", "1", "-t", "crowd/+"])).collect();
    let folder = TempDir::new().unwrap();
    let lines: Vec<String> = (0..MESSAGES).map(|n| n.to_string()).collect();
    let file = folder.path().join("lines");
    fs::write(&file, lines.join("\n") + "\n").unwrap();
    let publishers: Vec<Running> = (0..CLIENTS)
        .map(|n| {
            let mut command = tool("mosquitto_pub", broker);
            command.args(["-q", "1", "-l", "-t", &format!("crowd/{n}")]);
            Running::start(command.stdin(File::open(&file).unwrap()))
        })
        .collect();
    for publisher in publishers {
        assert!(publisher.finish().status.success());
    }
    for subscriber in &mut subscribers {
        let mut by_topic: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for _ in 0..CLIENTS * MESSAGES {
            let message = subscriber.message();
            by_topic.entry(message.topic.clone()).or_default().push(message.text());
        }
        assert_eq!(by_topic.len(), CLIENTS);
        assert!(by_topic.values().all(|texts| *texts == lines), "{by_topic:?}");
    }
}
