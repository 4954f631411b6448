//! From bytes to inputs and from effects to bytes, by the codec.

use martlet_codec::decode::{DecodeLimits, Decoded, decode};
use martlet_codec::encode::encode;
use martlet_codec::packet::{Delivery, Packet, Subscribe, Subscription};
use martlet_codec::payload::Subscriptions;
use martlet_codec::properties::Properties;
use martlet_codec::reason::{ConnectReturnCode, ProtocolVersion, QoS};
use martlet_codec::topic::SubscriptionFilter;
use martlet_engine::effects::OutPacket;
use martlet_engine::input::{Connect, FILTERS_MAX, InPacket};
use martlet_engine::message::Message;

use crate::world::{id, message, retained};

const V311: ProtocolVersion = ProtocolVersion::V311;

fn decoded<T>(bytes: &[u8], read: impl FnOnce(&Packet<'_>, &[u8]) -> T) -> T {
    let limits = DecodeLimits { packet_size_max: 1000, topic_levels_max: 100 };
    match decode(bytes, V311, &limits).expect("a packet") {
        Decoded::Packet { packet, len, header_len } => {
            assert_eq!(len, bytes.len());
            read(&packet, &bytes[header_len..])
        }
        Decoded::NeedMore { .. } => panic!("a whole packet"),
    }
}

fn in_packet(bytes: &[u8]) -> InPacket {
    decoded(bytes, InPacket::from_packet)
}

#[test]
fn what_arrives() {
    let publish = in_packet(b"\x3D\x0A\x00\x03a/b\x00\x05msg");
    let InPacket::Publish { message, delivery } = publish else { panic!("{publish:?}") };
    assert_eq!(message, retained("a/b", "msg", 2));
    assert_eq!(delivery, Delivery::ExactlyOnce { id: id(5), dup: true });

    let subscribe = in_packet(b"\x82\x14\x00\x07\x00\x0B$share/g/+/\x01\x00\x01#\x02");
    let InPacket::Subscribe { id: number, subscriptions, beyond: 0 } = subscribe else {
        panic!("SUBSCRIBE")
    };
    assert_eq!(number, id(7));
    let list: Vec<_> = subscriptions.iter().map(|(filter, qos)| (filter.as_str(), *qos)).collect();
    assert_eq!(list, [("$share/g/+/", QoS::AtLeastOnce), ("#", QoS::ExactlyOnce)]);

    let unsubscribe = in_packet(b"\xA2\x08\x00\x07\x00\x01a\x00\x01b");
    let InPacket::Unsubscribe { filters, .. } = unsubscribe else { panic!("UNSUBSCRIBE") };
    assert_eq!(filters.iter().map(|filter| filter.as_str()).collect::<Vec<_>>(), ["a", "b"]);

    let rows: [(&[u8], &str); 10] = [
        (b"\x40\x02\x01\x02", "PubAck(PacketId(258))"),
        (b"\x50\x02\x01\x02", "PubRec(PacketId(258))"),
        (b"\x62\x02\x01\x02", "PubRel(PacketId(258))"),
        (b"\x70\x02\x01\x02", "PubComp(PacketId(258))"),
        (b"\xC0\x00", "PingReq"),
        (b"\xE0\x00", "Disconnect"),
        // What only a server sends, and a second CONNECT [MQTT-3.1.0-2].
        (b"\x20\x02\x00\x00", "Forbidden { rule: \"MQTT-4.8.0-1\" }"),
        (b"\x90\x03\x00\x01\x00", "Forbidden { rule: \"MQTT-4.8.0-1\" }"),
        (b"\xD0\x00", "Forbidden { rule: \"MQTT-4.8.0-1\" }"),
        (b"\x10\x0D\x00\x04MQTT\x04\x02\x00\x00\x00\x01c", "Forbidden { rule: \"MQTT-3.1.0-2\" }"),
    ];
    for (bytes, expected) in rows {
        assert_eq!(format!("{:?}", in_packet(bytes)), expected);
    }
}

#[test]
fn a_connect() {
    // User name, password, will retained at QoS 1, session kept.
    let bytes = b"\x10\x1B\x00\x04MQTT\x04\xEC\x00\x3C\
        \x00\x01c\x00\x01w\x00\x04gone\x00\x01u\x00\x00";
    let connect = decoded(bytes, |packet, _| match packet {
        Packet::Connect(connect) => Connect::from_packet(connect, 500, 9),
        other => panic!("{other:?}"),
    });
    assert_eq!(&*connect.client_id, "c");
    assert!(!connect.clean_session);
    assert_eq!(connect.keep_alive_s, 60);
    assert_eq!(connect.will, Some(retained("w", "gone", 1)));
    assert_eq!(connect.user_name.as_deref(), Some("u"));
    assert_eq!((connect.room_bytes, connect.nonce), (500, 9));
}

#[test]
fn of_very_many_filters_some_are_taken_and_all_are_counted() {
    let one = Subscription::new(SubscriptionFilter::parse(b"a").expect("good"), QoS::AtMostOnce);
    for (len, left) in [(FILTERS_MAX, 0), (FILTERS_MAX + 7, 7)] {
        let list = vec![one; len];
        let subscriptions = Subscriptions::new(&list);
        let packet = Subscribe { id: id(1), properties: Properties::EMPTY, subscriptions };
        let taken = InPacket::from_packet(&Packet::Subscribe(packet), &[]);
        let InPacket::Subscribe { subscriptions, beyond, .. } = taken else { panic!("{taken:?}") };
        assert_eq!((subscriptions.len(), beyond), (FILTERS_MAX, left));
    }
}

#[test]
fn what_is_sent() {
    let publish =
        |message: Message, delivery, retain| OutPacket::Publish { message, delivery, retain };
    let qos1 = Delivery::AtLeastOnce { id: id(1), dup: true };
    let code = ConnectReturnCode::IdentifierRejected;
    let rows: [(OutPacket, &[u8]); 10] = [
        (
            OutPacket::ConnAck { session_present: true, code: ConnectReturnCode::Accepted },
            b"\x20\x02\x01\x00",
        ),
        (OutPacket::ConnAck { session_present: false, code }, b"\x20\x02\x00\x02"),
        // QoS and RETAIN are the receiver's, not the publisher's.
        (publish(retained("t", "m", 2), qos1, false), b"\x3A\x06\x00\x01t\x00\x01m"),
        (publish(message("t", "m", 2), Delivery::AtMostOnce, true), b"\x31\x04\x00\x01tm"),
        (OutPacket::PubAck(id(258)), b"\x40\x02\x01\x02"),
        (OutPacket::PubRel(id(258)), b"\x62\x02\x01\x02"), // [MQTT-2.2.2-1]
        (OutPacket::PubComp(id(258)), b"\x70\x02\x01\x02"),
        (
            OutPacket::SubAck(id(3), Box::new(Box::new([0, 1, 2, 0x80]))),
            b"\x90\x06\x00\x03\x00\x01\x02\x80",
        ),
        (OutPacket::UnsubAck(id(3)), b"\xB0\x02\x00\x03"),
        (OutPacket::PingResp, b"\xD0\x00"),
    ];
    for (packet, expected) in rows {
        let mut bytes = [0; 100];
        let len = encode(&packet.as_packet(), V311, &mut bytes).expect("room");
        assert_eq!(&bytes[..len], expected, "{packet:?}");
        assert!(packet.cost() as usize >= len);
    }
}
