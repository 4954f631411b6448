//! Retained messages.

use mosquitto_compat_tests::broker::Broker;
use mosquitto_compat_tests::on_both_brokers;
use mosquitto_compat_tests::tools::{Received, Running, publish, subscribe, tool};

on_both_brokers!(
    the_last_retained_message_meets_a_new_subscriber,
    an_empty_retained_message_clears,
    the_options_for_retained_messages_work,
);

/// [MQTT-3.3.1-5] [MQTT-3.3.1-6] [MQTT-3.3.1-8] [MQTT-3.3.1-9]
fn the_last_retained_message_meets_a_new_subscriber(broker: &Broker) {
    let mut early = subscribe(broker, &["-q", "2", "-t", "r/#"]);
    for (payload, qos) in [("first", "0"), ("second", "1"), ("last", "2")] {
        publish(broker, &["-q", qos, "-r", "-t", "r/a", "-m", payload]);
        let message = early.message();
        assert_eq!((message.text().as_str(), message.retain), (payload, false));
    }
    publish(broker, &["-t", "r/b", "-m", "not retained"]);
    let mut late = subscribe(broker, &["-q", "1", "-t", "r/#"]);
    let expected =
        Received { qos: 1, retain: true, topic: "r/a".to_owned(), payload: b"last".to_vec() };
    assert_eq!(late.message(), expected);
    publish(broker, &["-t", "r/end", "-m", "end"]);
    assert_eq!(late.message().text(), "end");
}

/// [MQTT-3.3.1-10] [MQTT-3.3.1-11]
fn an_empty_retained_message_clears(broker: &Broker) {
    let mut early = subscribe(broker, &["-t", "r/a"]);
    publish(broker, &["-r", "-t", "r/a", "-m", "value"]);
    publish(broker, &["-r", "-t", "r/a", "-n"]);
    assert_eq!(early.texts(2), ["value", ""]);
    publish(broker, &["-r", "-t", "r/end", "-m", "end"]);
    let mut late = subscribe(broker, &["-t", "r/#"]);
    assert_eq!(late.message().text(), "end");
}

fn the_options_for_retained_messages_work(broker: &Broker) {
    for topic in ["r/1", "r/2", "r/3"] {
        publish(broker, &["-q", "1", "-r", "-t", topic, "-m", topic]);
    }
    let mut fresh_only = subscribe(broker, &["-R", "-t", "r/#"]);
    let mut retained_only = subscribe(broker, &["--retained-only", "-t", "r/#"]);
    publish(broker, &["-t", "r/fresh", "-m", "fresh"]);
    assert_eq!(fresh_only.message().text(), "fresh");
    let mut texts = retained_only.texts(3);
    texts.sort();
    assert_eq!(texts, ["r/1", "r/2", "r/3"]);
    assert!(retained_only.finish().status.success(), "it ends at the first message not retained");

    let mut remove = tool("mosquitto_sub", broker);
    remove.args(["-d", "--remove-retained", "-C", "3", "-t", "r/#"]);
    // The last of the three; mosquitto_sub 2.0.11 then forgets to end.
    Running::start(&mut remove).wait_for("received PUBACK (Mid: 4,");
    publish(broker, &["-r", "-t", "r/end", "-m", "end"]);
    let mut late = subscribe(broker, &["-t", "r/#"]);
    assert_eq!(late.message().text(), "end");
}
