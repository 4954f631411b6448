//! Payloads and topics of all sizes and kinds.

use std::fs;

use mosquitto_compat_tests::broker::Broker;
use mosquitto_compat_tests::on_both_brokers;
use mosquitto_compat_tests::tools::{Running, publish, subscribe, tool};
use tempfile::TempDir;

on_both_brokers!(
    binary_payloads_come_unchanged,
    an_empty_payload_is_a_message,
    topics_are_utf8,
    a_topic_may_have_65535_bytes,
    a_payload_may_have_1_mib,
    a_payload_may_have_10_mib,
);

fn binary_payloads_come_unchanged(broker: &Broker) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("payload");
    let every_byte: Vec<u8> = (0..=255).collect();
    for payload in [vec![0], vec![0; 1000], b"a\0b\nc\r\n".to_vec(), every_byte.repeat(100)] {
        fs::write(&file, &payload).unwrap();
        for qos in ["0", "1", "2"] {
            let mut subscriber = subscribe(broker, &["-q", qos, "-t", "binary"]);
            publish(broker, &["-q", qos, "-t", "binary", "-f", file.to_str().unwrap()]);
            assert_eq!(subscriber.message().payload, payload);
        }
    }
}

fn an_empty_payload_is_a_message(broker: &Broker) {
    for qos in ["0", "1", "2"] {
        let mut subscriber = subscribe(broker, &["-q", qos, "-t", "empty"]);
        publish(broker, &["-q", qos, "-t", "empty", "-n"]);
        assert_eq!(subscriber.message().payload, b"");
    }
}

/// [MQTT-4.7.3-4]
fn topics_are_utf8(broker: &Broker) {
    let mut subscriber = subscribe(broker, &["-t", "größe/+/#"]);
    for topic in ["größe/温度/élan", "größe/🌡️/a b", "größe//"] {
        publish(broker, &["-t", topic, "-m", topic]);
        let message = subscriber.message();
        assert_eq!((message.topic.as_str(), message.text().as_str()), (topic, topic));
    }
}

/// [MQTT-4.7.3-3]
fn a_topic_may_have_65535_bytes(broker: &Broker) {
    let topic = format!("long/{}", "x".repeat(65_530));
    let mut subscriber = subscribe(broker, &["-q", "1", "-t", "long/+"]);
    publish(broker, &["-q", "1", "-t", &topic, "-m", "x"]);
    assert_eq!(subscriber.message().topic, topic);
}

fn a_payload_may_have_1_mib(broker: &Broker) {
    a_payload_may_have(broker, 1 << 20);
}

fn a_payload_may_have_10_mib(broker: &Broker) {
    a_payload_may_have(broker, 10 << 20);
}

#[test]
fn a_payload_may_have_64_mib_where_the_limits_say_so() {
    let limits = "[limits]\npacket_size_max = 268435460\nqueue_bytes_max = 0\n";
    a_payload_may_have(&Broker::martlet_with(limits), 64 << 20);
    a_payload_may_have(&Broker::mosquitto(), 64 << 20);
}

/// A payload of one line of text, so that mosquitto_sub can print it as it is.
fn a_payload_may_have(broker: &Broker, size: usize) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("payload");
    let mut payload = String::with_capacity(size + 16);
    while payload.len() < size {
        payload.push_str(&format!("{:015} ", payload.len()));
    }
    payload.truncate(size);
    fs::write(&file, &payload).unwrap();
    let mut command = tool("mosquitto_sub", broker);
    command.args(["-d", "-q", "1", "-t", "large", "-F", "payload:%p"]);
    let mut subscriber = Running::start(&mut command);
    subscriber.wait_for("Subscribed (mid:");
    publish(broker, &["-q", "1", "-t", "large", "-f", file.to_str().unwrap()]);
    let line = subscriber.wait_for("payload:");
    assert!(line.strip_prefix("payload:") == Some(&payload), "{} bytes, changed", line.len());
}
