//! Every state of a packet that was sent times every packet that may answer it.

use martlet_codec::packet::PacketType;
use martlet_codec::reason::QoS;
use martlet_device::client::Client;
use martlet_device::error::{Error, PeerFault};
use martlet_device::settings::{Settings, Subscription};

use crate::support::{ACCEPTED, RESUMED, ack, client, connect, heard, id, message, online};
use crate::support::{reconnect, sent};

/// The packet with id 2 in this state.
fn prepared(state: &str) -> Client<'static> {
    let mut client = online(Settings::new("c"));
    let publish = |client: &mut Client<'_>, qos| {
        assert_eq!(client.publish(&message("a", "x", qos)), Ok(Some(id(2))));
    };
    let pubrec = |client: &mut Client<'_>| {
        heard(client, &ack(PacketType::PubRec, 2), 9).expect("PUBREC fits");
    };
    match state {
        "nothing" => {}
        "QoS 1 queued" => publish(&mut client, 1),
        "QoS 2 queued" => publish(&mut client, 2),
        "QoS 1 sent" | "QoS 1 again" => publish(&mut client, 1),
        "subscribe" => {
            let wish = Subscription { filter: "a", qos: QoS::AtMostOnce };
            assert_eq!(client.subscribe(&[wish]), Ok(id(2)));
        }
        "unsubscribe" => assert_eq!(client.unsubscribe(&["a"]), Ok(id(2))),
        _ => publish(&mut client, 2),
    }
    if state.ends_with("queued") {
        return client;
    }
    sent(&mut client, 0);
    if state.starts_with("released") {
        pubrec(&mut client);
        sent(&mut client, 0);
    }
    if state.ends_with("again") {
        reconnect(&mut client, RESUMED);
    }
    client
}

#[test]
fn every_state_meets_every_packet() {
    // What comes of it: events, packets sent, messages still open. "no": it ends the connection.
    const PACKETS: [&str; 6] = ["PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "SUBACK", "UNSUBACK"];
    #[rustfmt::skip]
    let rows: &[(&str, [&str; 6])] = &[
        ("nothing",        ["0", "PUBREL 2 0", "PUBCOMP 2 0", "0", "0", "0"]),
        ("QoS 1 queued",   ["PUBLISH1 2 a=x 1", "PUBREL 2 PUBLISH1 2 a=x 1",
                            "PUBCOMP 2 PUBLISH1 2 a=x 1", "PUBLISH1 2 a=x 1",
                            "PUBLISH1 2 a=x 1", "PUBLISH1 2 a=x 1"]),
        ("QoS 2 queued",   ["PUBLISH2 2 a=x 1", "PUBREL 2 PUBLISH2 2 a=x 1",
                            "PUBCOMP 2 PUBLISH2 2 a=x 1", "PUBLISH2 2 a=x 1",
                            "PUBLISH2 2 a=x 1", "PUBLISH2 2 a=x 1"]),
        // [MQTT-4.3.2-1]
        ("QoS 1 sent",     ["published 2 0", "no", "PUBCOMP 2 1", "no", "no", "no"]),
        ("QoS 1 again",    ["published 2 0", "no", "PUBCOMP 2 PUBLISH1 2 a=x dup 1", "no",
                            "PUBLISH1 2 a=x dup 1", "PUBLISH1 2 a=x dup 1"]),
        // [MQTT-4.3.3-1]
        ("QoS 2 sent",     ["no", "PUBREL 2 1", "PUBCOMP 2 1", "no", "no", "no"]),
        ("QoS 2 again",    ["no", "PUBREL 2 1", "PUBCOMP 2 PUBLISH2 2 a=x dup 1", "no",
                            "PUBLISH2 2 a=x dup 1", "PUBLISH2 2 a=x dup 1"]),
        ("released",       ["no", "PUBREL 2 1", "PUBCOMP 2 1", "published 2 0", "1", "1"]),
        ("released again", ["no", "PUBREL 2 1", "PUBCOMP 2 PUBREL 2 1", "published 2 0",
                            "PUBREL 2 1", "PUBREL 2 1"]),
        ("subscribe",      ["no", "no", "PUBCOMP 2 0", "no", "subscribed 2 [0] None 0", "no"]),
        ("unsubscribe",    ["no", "no", "PUBCOMP 2 0", "no", "no", "unsubscribed 2 0"]),
    ];
    for (state, cells) in rows {
        for (packet, expected) in PACKETS.iter().zip(cells) {
            let mut client = prepared(state);
            let bytes = match *packet {
                "PUBACK" => ack(PacketType::PubAck, 2),
                "PUBREC" => ack(PacketType::PubRec, 2),
                "PUBREL" => ack(PacketType::PubRel, 2),
                "PUBCOMP" => ack(PacketType::PubComp, 2),
                "SUBACK" => b"\x90\x03\x00\x02\x00".to_vec(),
                _ => b"\xB0\x02\x00\x02".to_vec(),
            };
            let result = match heard(&mut client, &bytes, 9) {
                Ok(events) => {
                    let all = [events, sent(&mut client, 0)].concat().join(" ");
                    format!("{all} {}", client.outstanding()).trim().to_owned()
                }
                Err(Error::Peer(PeerFault::Mismatched(_))) => "no".to_owned(),
                Err(error) => panic!("{state}, {packet}: {error:?}"),
            };
            assert_eq!(result, *expected, "{state}, {packet}");
        }
    }
}

#[test]
fn what_a_broker_may_not_send_ends_the_connection() {
    // bytes, before CONNACK, after it. [MQTT-3.2.0-1] [MQTT-2.2.2-2]
    let rows: &[(&[u8], &str, &str)] = &[
        (b"\x20\x02\x00\x00", "ok", "Unexpected(ConnAck)"),
        (b"\x20\x02\x00\x05", "Refused(NotAuthorized)", "Unexpected(ConnAck)"),
        (b"\x20\x02\x01\x00", "ok", "Unexpected(ConnAck)"),
        (b"\x30\x04\x00\x01ax", "Unexpected(Publish)", "ok"),
        (b"\x40\x02\x00\x07", "Unexpected(PubAck)", "ok"),
        (b"\x90\x03\x00\x07\x00", "Unexpected(SubAck)", "ok"),
        (b"\xB0\x02\x00\x07", "Unexpected(UnsubAck)", "ok"),
        (b"\xD0\x00", "Unexpected(PingResp)", "ok"),
        (b"\x10\x00", "Malformed", "Malformed"),
        (b"\x82\x00", "Malformed", "Malformed"),
        (b"\xC0\x00", "Malformed", "Malformed"),
        (b"\xE0\x00", "Malformed", "Malformed"),
        (b"\x00\x00", "Malformed", "Malformed"),
        (b"\x60\x02\x00\x01", "Malformed", "Malformed"),
        (b"\x32\x05\x00\x01a\x00\x00", "Malformed", "Malformed"),
        (b"\x40\x02\x00\x00", "Malformed", "Malformed"),
        (b"\x40\xFF\xFF\xFF\xFF\x01", "Malformed", "Malformed"),
    ];
    for (bytes, greeting, online) in rows {
        for (connected, expected) in [(false, greeting), (true, online)] {
            let mut client = client(Settings::new("c"), 64, 64);
            if connected {
                connect(&mut client, 0, ACCEPTED);
            } else {
                client.attach(0).expect("CONNECT fits");
                sent(&mut client, 0);
            }
            let result = match client.receive(0, bytes) {
                Ok(_) => "ok".to_owned(),
                Err(Error::Peer(fault)) => format!("{fault:?}"),
                Err(error) => format!("{error:?}"),
            };
            assert!(result.starts_with(expected), "{bytes:02x?}: {result}");
            assert_eq!(client.is_over(), result != "ok");
            if client.is_over() {
                assert!(sent(&mut client, 0).is_empty(), "nothing more is said");
                assert!(client.receive(0, bytes).is_err());
            }
        }
    }
}
