//! `$SYS`: what the broker tells about itself, where mosquitto's users look for it.

use mosquitto_compat_tests::broker::{Broker, Kind};
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
