//! Wills: told when a client dies, not when it says goodbye.

use mosquitto_compat_tests::broker::Broker;
use mosquitto_compat_tests::on_both_brokers;
use mosquitto_compat_tests::tools::{Running, publish, subscribe};
use rustix::process::{Signal, kill_process};

on_both_brokers!(
    a_killed_client_leaves_its_will,
    a_will_can_be_retained,
    a_client_that_says_goodbye_leaves_no_will,
    a_client_that_falls_silent_leaves_its_will,
    a_client_that_is_taken_over_leaves_its_will,
);

const WILL: [&str; 8] =
    ["-t", "nothing", "--will-topic", "will/a", "--will-payload", "gone", "--will-qos", "1"];

fn mortal(broker: &Broker, more: &[&str]) -> Running {
    subscribe(broker, &[&WILL, more].concat())
}

/// [MQTT-3.1.2-8] [MQTT-3.1.2-16]
fn a_killed_client_leaves_its_will(broker: &Broker) {
    let mut watcher = subscribe(broker, &["-q", "2", "-t", "will/#"]);
    mortal(broker, &[]).kill();
    let will = watcher.message();
    assert_eq!((will.topic.as_str(), will.text().as_str()), ("will/a", "gone"));
    assert_eq!((will.qos, will.retain), (1, false));
    let mut late = subscribe(broker, &["-t", "will/#"]);
    publish(broker, &["-t", "will/end", "-m", "end"]);
    assert_eq!(late.message().text(), "end");
    assert_eq!(watcher.message().text(), "end");
}

/// [MQTT-3.1.2-17]
fn a_will_can_be_retained(broker: &Broker) {
    let mut watcher = subscribe(broker, &["-t", "will/#"]);
    mortal(broker, &["--will-retain"]).kill();
    assert_eq!(watcher.message().text(), "gone");
    let will = subscribe(broker, &["-t", "will/#"]).message();
    assert_eq!((will.text().as_str(), will.retain), ("gone", true));
}

/// [MQTT-3.1.2-10] [MQTT-3.14.4-3]
fn a_client_that_says_goodbye_leaves_no_will(broker: &Broker) {
    let mut watcher = subscribe(broker, &["-t", "will/#"]);
    let client = mortal(broker, &["-t", "goodbye", "-C", "1"]);
    publish(broker, &["-t", "goodbye", "-m", "x"]);
    assert!(client.finish().status.success());
    publish(broker, &["-t", "will/end", "-m", "end"]);
    assert_eq!(watcher.message().text(), "end");
}

/// [MQTT-3.1.2-24] The process is stopped, so that its socket stays open and says nothing.
fn a_client_that_falls_silent_leaves_its_will(broker: &Broker) {
    let mut watcher = subscribe(broker, &["-t", "will/#"]);
    let client = mortal(broker, &["-k", "5"]);
    kill_process(client.pid(), Signal::STOP).unwrap();
    assert_eq!(watcher.message().text(), "gone");
}

/// [MQTT-3.1.4-2]: the server closes the older connection, and a connection that the server closes
/// leaves its will.
fn a_client_that_is_taken_over_leaves_its_will(broker: &Broker) {
    let mut watcher = subscribe(broker, &["-t", "will/#"]);
    let mut older = mortal(broker, &["-i", "twin"]);
    publish(broker, &["-i", "twin", "-t", "other", "-m", "x"]);
    assert_eq!(watcher.message().text(), "gone");
    older.wait_for("received CONNACK (0)");
}
