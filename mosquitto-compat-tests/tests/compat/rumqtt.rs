//! rumqttc, a client that shares no code with mosquitto's.

use std::time::Duration;

use mosquitto_compat_tests::broker::Broker;
use mosquitto_compat_tests::on_both_brokers;
use mosquitto_compat_tests::tools::{assert_same_order, subscribe};
use rumqttc::{Client, Connection, Event, LastWill, MqttOptions, Packet, Publish, QoS};

on_both_brokers!(
    every_qos_makes_the_round,
    a_session_is_resumed,
    a_dropped_connection_leaves_its_will,
);

const PATIENCE: Duration = Duration::from_secs(60);
const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// A client with the connection that does its work.
struct Peer {
    client: Client,
    connection: Connection,
}

impl Peer {
    /// Connects; tells also whether the broker knew the session.
    fn connect(options: MqttOptions) -> (Self, bool) {
        let (client, connection) = Client::new(options, 5_000);
        let mut peer = Self { client, connection };
        loop {
            if let Packet::ConnAck(answer) = peer.incoming() {
                return (peer, answer.session_present);
            }
        }
    }

    fn clean(broker: &Broker, id: &str) -> Self {
        Self::connect(options(broker, id)).0
    }

    fn subscribe(&mut self, filter: &str, qos: QoS) {
        self.client.subscribe(filter, qos).unwrap();
        while !matches!(self.incoming(), Packet::SubAck(_)) {}
    }

    fn publish(&self, topic: &str, qos: QoS, payload: &str) {
        self.client.publish(topic, qos, false, payload).unwrap();
    }

    fn message(&mut self) -> Publish {
        loop {
            if let Packet::Publish(message) = self.incoming() {
                return message;
            }
        }
    }

    fn text(&mut self) -> String {
        String::from_utf8_lossy(&self.message().payload).into_owned()
    }

    /// The next packet from the broker; what goes out goes out meanwhile.
    fn incoming(&mut self) -> Packet {
        loop {
            let event = self.connection.recv_timeout(PATIENCE).expect("an event within a minute");
            if let Event::Incoming(packet) = event.expect("the connection holds") {
                return packet;
            }
        }
    }
}

fn options(broker: &Broker, id: &str) -> MqttOptions {
    let mut options = MqttOptions::new(id, "127.0.0.1", broker.port());
    options.set_keep_alive(Duration::from_secs(60));
    options
}

/// [MQTT-3.8.4-6]
fn every_qos_makes_the_round(broker: &Broker) {
    let mut peer = Peer::clean(broker, "round");
    for granted in QOS {
        peer.subscribe("round/a", granted);
        for sent in QOS {
            peer.publish("round/a", sent, "x");
            let message = peer.message();
            assert_eq!(message.qos as u8, (granted as u8).min(sent as u8));
            assert_eq!((message.topic.as_str(), &message.payload[..]), ("round/a", &b"x"[..]));
            assert!(!message.retain && !message.dup);
        }
    }
}

/// [MQTT-4.6.0-6] 500 at a time, fewer than a session's queue holds, 100 of them unacknowledged.
/// Without mosquitto, which lets a message overtake those that it has queued.
#[test]
fn many_in_flight_keep_count_and_order() {
    let broker = Broker::martlet();
    for qos in QOS {
        let mut options = options(&broker, "many");
        options.set_inflight(100);
        let mut peer = Peer::connect(options).0;
        peer.subscribe("many", qos);
        for batch in 0..6 {
            for n in 0..500 {
                peer.publish("many", qos, &(batch * 500 + n).to_string());
            }
            let texts: Vec<String> = (0..500).map(|_| peer.text()).collect();
            let sent: Vec<String> = (0..500).map(|n| (batch * 500 + n).to_string()).collect();
            assert_same_order(&texts, &sent);
        }
        peer.publish("many", qos, "end");
        assert_eq!(peer.text(), "end");
    }
}

fn a_session_is_resumed(broker: &Broker) {
    a_session_is_resumed_at(broker, QoS::AtLeastOnce);
}

/// Without mosquitto 2.0.11, which falls silent towards rumqttc after its first window.
#[test]
fn a_session_is_resumed_at_qos_2() {
    a_session_is_resumed_at(&Broker::martlet(), QoS::ExactlyOnce);
}

/// [MQTT-3.1.2-4] [MQTT-3.2.2-2]
fn a_session_is_resumed_at(broker: &Broker, qos: QoS) {
    let mut persistent = options(broker, &format!("persistent {qos:?}"));
    persistent.set_clean_session(false);
    let (mut sleeper, present) = Peer::connect(persistent.clone());
    assert!(!present);
    sleeper.subscribe("s/#", QoS::ExactlyOnce);
    drop(sleeper);
    let mut publisher = Peer::clean(broker, "publisher");
    publisher.subscribe("end", QoS::AtMostOnce);
    for n in 0..100 {
        publisher.publish("s/a", qos, &n.to_string());
    }
    // Comes back after all before it has reached the broker [MQTT-4.6.0-5].
    publisher.publish("end", qos, "end");
    assert_eq!(publisher.text(), "end");
    let (mut sleeper, present) = Peer::connect(persistent);
    assert!(present);
    for n in 0..100 {
        assert_eq!(sleeper.text(), n.to_string());
    }
}

/// [MQTT-3.1.2-8]
fn a_dropped_connection_leaves_its_will(broker: &Broker) {
    let mut watcher = Peer::clean(broker, "watcher");
    watcher.subscribe("will", QoS::ExactlyOnce);
    let mut mortal = options(broker, "mortal");
    mortal.set_last_will(LastWill::new("will", "gone", QoS::AtLeastOnce, false));
    drop(Peer::connect(mortal));
    let will = watcher.message();
    assert_eq!((&will.payload[..], will.qos), (&b"gone"[..], QoS::AtLeastOnce));
}

/// More retained messages than a session's queue holds: mosquitto drops the rest, Martlet pages.
#[test]
fn a_wildcard_subscription_gets_all_retained_messages() {
    let broker = Broker::martlet();
    let mut publisher = Peer::clean(&broker, "publisher");
    publisher.subscribe("end", QoS::AtMostOnce);
    for n in 0..3_000 {
        let topic = format!("r/{n}");
        publisher.client.publish(&topic, QoS::AtLeastOnce, true, topic.as_str()).unwrap();
    }
    publisher.publish("end", QoS::AtLeastOnce, "end");
    assert_eq!(publisher.text(), "end");
    for qos in ["0", "1", "2"] {
        let mut subscriber = subscribe(&broker, &["-q", qos, "-t", "r/#"]);
        let mut topics = subscriber.texts(3_000);
        topics.sort();
        topics.dedup();
        assert_eq!(topics.len(), 3_000);
    }
}
