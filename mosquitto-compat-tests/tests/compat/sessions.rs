//! Sessions that outlive their connections.

use std::io::Write;
use std::process::Stdio;

use mosquitto_compat_tests::broker::Broker;
use mosquitto_compat_tests::on_both_brokers;
use mosquitto_compat_tests::tools::{Running, assert_same_order, publish, subscribe, tool};

on_both_brokers!(
    a_persistent_session_keeps_messages_for_later,
    a_queue_of_hundreds_comes_in_order,
    a_clean_session_keeps_nothing,
    an_unsubscribed_filter_takes_nothing_any_more,
    a_second_client_with_the_same_id_takes_over,
    keep_alive_keeps_an_idle_client,
    a_count_and_a_timeout_end_a_subscriber,
);

/// Subscribes in a persistent session and leaves. `-E` ends at the SUBACK.
fn sleeper(broker: &Broker, args: &[&str]) {
    let mut command = tool("mosquitto_sub", broker);
    let finished = Running::start(command.args(["-c", "-i", "sleeper", "-E"]).args(args)).finish();
    assert!(finished.status.success(), "{finished:?}");
}

fn awake(broker: &Broker, args: &[&str]) -> Running {
    subscribe(broker, &[&["-c", "-i", "sleeper"], args].concat())
}

/// [MQTT-3.1.2-5] and QoS 0, which is not kept, as with mosquitto. Order holds within a QoS.
fn a_persistent_session_keeps_messages_for_later(broker: &Broker) {
    sleeper(broker, &["-q", "2", "-t", "s/#"]);
    for qos in ["0", "1", "2"] {
        publish(broker, &["-q", qos, "-t", "s/a", "-m", qos]);
    }
    let mut subscriber = awake(broker, &["-q", "2", "-t", "s/#"]);
    publish(broker, &["-q", "1", "-t", "s/a", "-m", "end"]);
    let mut texts = subscriber.texts(3);
    texts.sort();
    assert_eq!(texts, ["1", "2", "end"]);
}

/// [MQTT-4.6.0-6] 900 of each: more than the in-flight window, fewer than the queue's bound.
fn a_queue_of_hundreds_comes_in_order(broker: &Broker) {
    for qos in ["1", "2"] {
        sleeper(broker, &["-q", qos, "-t", "s"]);
        let mut command = tool("mosquitto_pub", broker);
        command.args(["-q", qos, "-t", "s", "-l"]).stdin(Stdio::piped());
        let mut publisher = Running::start(&mut command);
        let lines: Vec<String> = (0..900).map(|n| format!("{qos} {n}")).collect();
        publisher.stdin().write_all((lines.join("\n") + "\n").as_bytes()).unwrap();
        assert!(publisher.finish().status.success());
        let mut subscriber = awake(broker, &["-q", qos, "-t", "s", "-C", "901"]);
        assert_same_order(&subscriber.texts(900), &lines);
        publish(broker, &["-q", qos, "-t", "s", "-m", "end"]);
        assert_eq!(subscriber.message().text(), "end");
        assert!(subscriber.finish().status.success());
    }
}

/// [MQTT-3.1.2-6]
fn a_clean_session_keeps_nothing(broker: &Broker) {
    sleeper(broker, &["-q", "1", "-t", "s/#"]);
    publish(broker, &["-q", "1", "-t", "s/a", "-m", "forgotten"]);
    let mut clean = subscribe(broker, &["-i", "sleeper", "-t", "other"]);
    publish(broker, &["-q", "1", "-t", "s/a", "-m", "unheard"]);
    publish(broker, &["-t", "other", "-m", "end"]);
    assert_eq!(clean.message().text(), "end");
}

/// [MQTT-3.10.4-2]
fn an_unsubscribed_filter_takes_nothing_any_more(broker: &Broker) {
    sleeper(broker, &["-q", "1", "-t", "s/a", "-t", "s/b"]);
    sleeper(broker, &["-q", "1", "-U", "s/a", "-t", "s/b"]);
    publish(broker, &["-q", "1", "-t", "s/a", "-m", "a"]);
    publish(broker, &["-q", "1", "-t", "s/b", "-m", "b"]);
    let mut subscriber = awake(broker, &["-q", "1", "-t", "s/b"]);
    assert_eq!(subscriber.message().text(), "b");
}

/// [MQTT-3.1.4-2] mosquitto_sub connects again by itself when it is thrown out, so that it takes
/// over in turn once mosquitto_pub has left.
fn a_second_client_with_the_same_id_takes_over(broker: &Broker) {
    let mut older = subscribe(broker, &["-i", "twin", "-q", "1", "-t", "s"]);
    publish(broker, &["-i", "twin", "-t", "other", "-m", "x"]);
    older.wait_for("sending CONNECT");
    older.wait_for("Subscribed (mid:");
    publish(broker, &["-q", "1", "-t", "s", "-m", "back"]);
    assert_eq!(older.message().text(), "back");
}

/// [MQTT-3.12.4-1] Two pings: ten seconds, twice the interval.
fn keep_alive_keeps_an_idle_client(broker: &Broker) {
    let mut subscriber = subscribe(broker, &["-k", "5", "-t", "s", "-C", "1"]);
    subscriber.wait_for("received PINGRESP");
    subscriber.wait_for("received PINGRESP");
    publish(broker, &["-t", "s", "-m", "still here"]);
    let finished = subscriber.finish();
    assert!(finished.status.success());
    assert!(!finished.lines.iter().any(|line| line.contains("sending CONNECT")), "{finished:?}");
}

fn a_count_and_a_timeout_end_a_subscriber(broker: &Broker) {
    let counted = subscribe(broker, &["-t", "s", "-C", "2", "-W", "50"]);
    let timed = subscribe(broker, &["-t", "other", "-C", "2", "-W", "1"]);
    for _ in 0..2 {
        publish(broker, &["-t", "s", "-m", "x"]);
    }
    assert_eq!(counted.finish().status.code(), Some(0));
    assert_eq!(timed.finish().status.code(), Some(27), "mosquitto_sub's code for a timeout");
}
