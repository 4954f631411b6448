//! Protocol versions, as `-V` of mosquitto's clients chooses them.

use mosquitto_compat_tests::broker::Broker;
use mosquitto_compat_tests::on_both_brokers;
use mosquitto_compat_tests::tools::{Running, publish, subscribe, tool};

on_both_brokers!(mqtt_3_1_and_3_1_1_talk_to_each_other);

fn mqtt_3_1_and_3_1_1_talk_to_each_other(broker: &Broker) {
    for listens in ["mqttv31", "mqttv311"] {
        let mut subscriber = subscribe(broker, &["-V", listens, "-q", "2", "-t", "v/#"]);
        for speaks in ["mqttv31", "mqttv311"] {
            for qos in ["0", "1", "2"] {
                let text = format!("{speaks} {qos}");
                publish(broker, &["-V", speaks, "-q", qos, "-t", "v/a", "-m", &text]);
                assert_eq!(subscriber.message().text(), text);
            }
        }
    }
}

/// [MQTT-3.1.2-2] This Martlet speaks 3.1 and 3.1.1, and tells a client of MQTT 5 so.
#[test]
fn mqtt_5_is_refused_with_a_reason() {
    let broker = Broker::martlet();
    for name in ["mosquitto_pub", "mosquitto_sub"] {
        let mut command = tool(name, &broker);
        command.args(["-V", "5", "-t", "v/a"]);
        if name == "mosquitto_pub" {
            command.args(["-m", "x"]);
        }
        let finished = Running::start(&mut command).finish();
        assert!(!finished.status.success());
        let said = finished.lines.join("\n").to_lowercase();
        assert!(said.contains("protocol version"), "{name} said {said:?}");
    }
}
