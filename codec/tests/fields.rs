//! What bytes mean: packets built from typed fields against bytes written by hand, in both
//! directions; and what encode refuses.

use martlet_codec::decode::{DecodeLimits, Decoded, decode};
use martlet_codec::encode::{EncodeError, encode, encoded_len};
use martlet_codec::ids::{PacketId, SubscriptionId, TopicAlias};
use martlet_codec::packet::{
    Ack, Auth, ConnAck, ConnAckCode, Connect, Delivery, Disconnect, Packet, Publish,
    RetainHandling, SubAck, Subscribe, Subscription, UnsubAck, Unsubscribe, Will,
};
use martlet_codec::payload::{Filters, ReasonCodes, Subscriptions};
use martlet_codec::properties::{Properties, Property};
use martlet_codec::reason::{
    ConnectReturnCode,
    ProtocolVersion::{self, V5, V31, V311},
    QoS, ReasonCode,
};
use martlet_codec::topic::{SubscriptionFilter, TopicFilter, TopicName};

const LIMITS: DecodeLimits = DecodeLimits { packet_size_max: 268_435_460, topic_levels_max: 100 };

fn id(number: u16) -> PacketId {
    PacketId::new(number).expect("not zero")
}

fn name(text: &str) -> TopicName<'_> {
    TopicName::new(text.as_bytes()).expect("a legal text")
}

fn filter(text: &str) -> SubscriptionFilter<'_> {
    SubscriptionFilter::parse(text.as_bytes()).expect("a legal text")
}

fn is(version: ProtocolVersion, packet: Packet<'_>, bytes: &[u8]) {
    let mut out = [0; 512];
    let len = encode(&packet, version, &mut out).expect("a legal packet");
    assert_eq!(out[..len].escape_ascii().to_string(), bytes.escape_ascii().to_string());
    assert_eq!(encoded_len(&packet, version), Ok(len));
    let Ok(Decoded::Packet { packet: decoded, len, .. }) = decode(bytes, version, &LIMITS) else {
        panic!("{packet:?}")
    };
    assert_eq!((decoded, len), (packet, bytes.len()));
}

#[test]
fn connect_and_connack() {
    let connect = Connect {
        version: V311,
        bridge: false,
        clean_session: true,
        keep_alive_s: 0x0102,
        properties: Properties::EMPTY,
        client_id: "id",
        will: Some(Will {
            topic: name("w"),
            payload: b"\xff",
            qos: QoS::AtLeastOnce,
            retain: true,
            properties: Properties::EMPTY,
        }),
        user_name: Some("u"),
        password: Some(b"\0p"),
    };
    let bytes = b"\x10\x1b\0\x04MQTT\x04\xee\x01\x02\0\x02id\0\x01w\0\x01\xff\0\x01u\0\x02\0p";
    is(V311, Packet::Connect(connect), bytes);
    // A CONNECT goes by its own version.
    is(V5, Packet::Connect(connect), bytes);
    let bridge = Connect { version: V31, bridge: true, will: None, ..connect };
    let bytes = b"\x10\x17\0\x06MQIsdp\x83\xc2\x01\x02\0\x02id\0\x01u\0\x02\0p";
    is(V31, Packet::Connect(bridge), bytes);

    let properties = &[Property::SessionExpiryInterval(7), Property::UserProperty(("k", "v"))];
    let v5 = Connect {
        version: V5,
        properties: Properties::new(properties),
        will: None,
        user_name: None,
        ..connect
    };
    let bytes = b"\x10\x1f\0\x04MQTT\x05\x42\x01\x02\x0c\x11\0\0\0\x07\x26\0\x01k\0\x01v\
        \0\x02id\0\x02\0p";
    is(V5, Packet::Connect(v5), bytes);

    let accepted = ConnAckCode::V3(ConnectReturnCode::Accepted);
    let connack = ConnAck { session_present: true, code: accepted, properties: Properties::EMPTY };
    is(V311, Packet::ConnAck(connack), b"\x20\x02\x01\x00");
    // 3.1 keeps the byte reserved.
    let mut out = [0; 4];
    assert_eq!(encode(&Packet::ConnAck(connack), V31, &mut out), Ok(4));
    assert_eq!(out, *b"\x20\x02\x00\x00");
    let code = ConnAckCode::V5(ReasonCode::ServerBusy);
    let properties = &[Property::ReasonString("r"), Property::MaximumQoS(QoS::AtLeastOnce)];
    let properties = Properties::new(properties);
    let connack = ConnAck { session_present: false, code, properties };
    is(V5, Packet::ConnAck(connack), b"\x20\x09\x00\x89\x06\x1f\x00\x01r\x24\x01");
}

#[test]
fn publish_and_its_acknowledgements() {
    let publish = Publish {
        delivery: Delivery::ExactlyOnce { id: id(0x0102), dup: true },
        retain: false,
        topic: Some(name("a/b")),
        properties: Properties::EMPTY,
        payload: b"hi",
    };
    is(V31, Packet::Publish(publish), b"\x3c\x09\0\x03a/b\x01\x02hi");
    is(V5, Packet::Publish(publish), b"\x3c\x0a\0\x03a/b\x01\x02\0hi");
    let properties = &[
        Property::TopicAlias(TopicAlias::new(9).unwrap()),
        Property::SubscriptionIdentifier(SubscriptionId::new(128).unwrap()),
        Property::SubscriptionIdentifier(SubscriptionId::new(1).unwrap()),
    ];
    let publish = Publish {
        delivery: Delivery::AtMostOnce,
        retain: true,
        topic: None,
        properties: Properties::new(properties),
        payload: b"",
    };
    is(V5, Packet::Publish(publish), b"\x31\x0b\0\0\x08\x23\0\x09\x0b\x80\x01\x0b\x01");

    is(V311, Packet::PubAck(Ack::new(id(1))), b"\x40\x02\0\x01");
    is(V311, Packet::PubRec(Ack::new(id(2))), b"\x50\x02\0\x02");
    is(V311, Packet::PubRel(Ack::new(id(3))), b"\x62\x02\0\x03");
    is(V5, Packet::PubComp(Ack::new(id(4))), b"\x70\x02\0\x04");
    let reason = ReasonCode::NoMatchingSubscribers;
    is(V5, Packet::PubRec(Ack { reason, ..Ack::new(id(5)) }), b"\x50\x03\0\x05\x10");
}

#[test]
fn subscribe_unsubscribe_and_their_acknowledgements() {
    let subscriptions = &[
        Subscription::new(filter("a/+"), QoS::AtLeastOnce),
        Subscription::new(filter("$share/g/#"), QoS::ExactlyOnce),
    ];
    let subscribe = Subscribe {
        id: id(10),
        properties: Properties::EMPTY,
        subscriptions: Subscriptions::new(subscriptions),
    };
    is(V311, Packet::Subscribe(subscribe), b"\x82\x15\0\x0a\0\x03a/+\x01\0\x0a$share/g/#\x02");
    let options = &[Subscription {
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::DoNotSend,
        ..Subscription::new(filter("a"), QoS::AtMostOnce)
    }];
    let subscribe = Subscribe { subscriptions: Subscriptions::new(options), ..subscribe };
    is(V5, Packet::Subscribe(subscribe), b"\x82\x07\0\x0a\0\0\x01a\x2c");
    assert_eq!(
        encode(&Packet::Subscribe(subscribe), V311, &mut []),
        Err(EncodeError::NotInVersion)
    );

    let codes = ReasonCodes::new(&[1, 0x80]).unwrap();
    let suback = SubAck { id: id(10), properties: Properties::EMPTY, codes };
    // [MQTT-3.9.3-1]
    is(V311, Packet::SubAck(suback), b"\x90\x04\0\x0a\x01\x80");
    assert!(codes.iter().eq([ReasonCode::GrantedQoS1, ReasonCode::UnspecifiedError]));

    let filters = &[filter("a"), filter("$share/g/b")];
    let unsubscribe =
        Unsubscribe { id: id(11), properties: Properties::EMPTY, filters: Filters::new(filters) };
    is(V31, Packet::Unsubscribe(unsubscribe), b"\xa2\x11\0\x0b\0\x01a\0\x0a$share/g/b");
    let unsuback =
        UnsubAck { id: id(11), properties: Properties::EMPTY, codes: ReasonCodes::EMPTY };
    is(V311, Packet::UnsubAck(unsuback), b"\xb0\x02\0\x0b");
    let codes = ReasonCodes::new(&[0, 0x11]).unwrap();
    is(V5, Packet::UnsubAck(UnsubAck { codes, ..unsuback }), b"\xb0\x05\0\x0b\0\0\x11");
}

#[test]
fn ping_disconnect_auth() {
    is(V31, Packet::PingReq, b"\xc0\0");
    is(V5, Packet::PingResp, b"\xd0\0");
    let disconnect = Disconnect { reason: ReasonCode::Success, properties: Properties::EMPTY };
    is(V311, Packet::Disconnect(disconnect), b"\xe0\0");
    let disconnect = Disconnect { reason: ReasonCode::SessionTakenOver, ..disconnect };
    is(V5, Packet::Disconnect(disconnect), b"\xe0\x01\x8e");
    let properties =
        &[Property::AuthenticationMethod("m"), Property::AuthenticationData(b"\0\x01")];
    let properties = Properties::new(properties);
    let auth = Auth { reason: ReasonCode::ContinueAuthentication, properties };
    is(V5, Packet::Auth(auth), b"\xf0\x0b\x18\x09\x15\0\x01m\x16\0\x02\0\x01");
}

#[test]
fn encode_refuses_what_the_version_cannot_say() {
    let v5_code = ConnAckCode::V5(ReasonCode::Success);
    let v3_code = ConnAckCode::V3(ConnectReturnCode::Accepted);
    let connack = |code| {
        let properties = Properties::EMPTY;
        Packet::ConnAck(ConnAck { session_present: false, code, properties })
    };
    let no_topic = Publish {
        delivery: Delivery::AtMostOnce,
        retain: false,
        topic: None,
        properties: Properties::EMPTY,
        payload: b"",
    };
    let user_property = Properties::new(&[Property::UserProperty(("k", "v"))]);
    let with_properties = Publish { topic: Some(name("a")), properties: user_property, ..no_topic };
    let reason = ReasonCode::UnspecifiedError;
    let rows = [
        (V311, connack(v5_code)),
        (V5, connack(v3_code)),
        (V311, Packet::Publish(no_topic)),
        (V31, Packet::Publish(with_properties)),
        (V311, Packet::PubAck(Ack { reason, ..Ack::new(id(1)) })),
        (V311, Packet::Disconnect(Disconnect { reason, properties: Properties::EMPTY })),
        (
            V311,
            Packet::Disconnect(Disconnect {
                reason: ReasonCode::Success,
                properties: user_property,
            }),
        ),
        (V311, Packet::Auth(Auth { reason: ReasonCode::Success, properties: Properties::EMPTY })),
        (
            V311,
            Packet::UnsubAck(UnsubAck {
                id: id(1),
                properties: Properties::EMPTY,
                codes: ReasonCodes::new(&[0]).unwrap(),
            }),
        ),
    ];
    for (version, packet) in rows {
        assert_eq!(encoded_len(&packet, version), Err(EncodeError::NotInVersion), "{packet:?}");
        assert_eq!(encode(&packet, version, &mut [0; 64]), Err(EncodeError::NotInVersion));
    }
}

#[test]
fn encode_refuses_what_decode_would_refuse() {
    let long = "x".repeat(65_536);
    let plain = Connect {
        version: V311,
        bridge: false,
        clean_session: true,
        keep_alive_s: 0,
        properties: Properties::EMPTY,
        client_id: "",
        will: None,
        user_name: None,
        password: None,
    };
    let subscribe = |list| {
        let subscriptions = Subscriptions::new(list);
        Packet::Subscribe(Subscribe { id: id(1), properties: Properties::EMPTY, subscriptions })
    };
    let publish = |properties| {
        let (delivery, retain) = (Delivery::AtMostOnce, false);
        let topic = Some(name("a"));
        Packet::Publish(Publish { delivery, retain, topic, properties, payload: b"" })
    };
    let odd_share = SubscriptionFilter { share: Some("g/h"), ..filter("a") };
    let hidden_share =
        SubscriptionFilter { share: None, filter: TopicFilter::new(b"$share/g/a").unwrap() };
    let long_filter = TopicFilter::new(&long.as_bytes()[1..]).unwrap();
    let long_share = SubscriptionFilter { share: Some("g"), filter: long_filter };
    let [odd, hidden, too_long] = [odd_share, hidden_share, long_share]
        .map(|filter| [Subscription::new(filter, QoS::AtMostOnce)]);
    let no_local = [Subscription {
        no_local: true,
        ..Subscription::new(filter("$share/g/a"), QoS::AtMostOnce)
    }];
    let long_data = [Property::CorrelationData(long.as_bytes())];
    let twice = [Property::ContentType("a"), Property::ContentType("b")];
    let refused = ConnAck {
        session_present: true,
        code: ConnAckCode::V3(ConnectReturnCode::NotAuthorized),
        properties: Properties::EMPTY,
    };
    let rows = [
        (V311, Packet::Connect(Connect { client_id: "a\0", ..plain }), "MQTT-1.5.3-2"),
        (V311, Packet::Connect(Connect { client_id: &long, ..plain }), "MQTT 3.1.1 1.5.3"),
        (V311, Packet::Connect(Connect { password: Some(b"p"), ..plain }), "MQTT-3.1.2-22"),
        (V311, Packet::ConnAck(refused), "MQTT-3.2.2-4"),
        (V311, subscribe(&[]), "MQTT-3.8.3-3"),
        (V311, subscribe(&odd), "MQTT 5.0 4.8.2"),
        (V311, subscribe(&hidden), "MQTT 5.0 4.8.2"),
        (V311, subscribe(&too_long), "MQTT-4.7.3-3"),
        (V5, subscribe(&no_local), "MQTT5-3.8.3-4"),
        (V5, publish(Properties::new(&twice)), "MQTT 5.0 2.2.2.2"),
        (V5, publish(Properties::new(&[Property::ReasonString("r")])), "MQTT 5.0 2.2.2.2"),
        (V5, publish(Properties::new(&[Property::UserProperty(("k", "\0"))])), "MQTT5-1.5.4-2"),
        (V5, publish(Properties::new(&long_data)), "MQTT 5.0 1.5.4"),
        (
            V5,
            Packet::PubComp(Ack { reason: ReasonCode::Banned, ..Ack::new(id(1)) }),
            "MQTT5-3.7.2-1",
        ),
    ];
    for (version, packet, expected) in rows {
        let Err(EncodeError::Illegal { rule, .. }) = encoded_len(&packet, version) else {
            panic!("{expected}")
        };
        assert_eq!(rule, expected);
        assert!(encode(&packet, version, &mut [0; 64]).is_err());
    }
}

#[test]
fn the_largest_packet_is_encoded_and_one_byte_more_is_not() {
    let payload = vec![0; 268_435_455 - 2];
    let publish = |payload| {
        Packet::Publish(Publish {
            delivery: Delivery::AtMostOnce,
            retain: false,
            topic: Some(name("ab")),
            properties: Properties::EMPTY,
            payload,
        })
    };
    assert_eq!(encoded_len(&publish(&payload[2..]), V311), Ok(268_435_460));
    assert_eq!(encoded_len(&publish(&payload[1..]), V311), Err(EncodeError::PacketTooLarge));
    assert_eq!(encode(&publish(&payload), V311, &mut [0; 8]), Err(EncodeError::PacketTooLarge));
    // A property list that no Variable Byte Integer can measure.
    let value = "v".repeat(65_000);
    let properties = vec![Property::UserProperty(("k", &value)); 4_200];
    let (id, reason) = (id(1), ReasonCode::Success);
    let ack = Packet::PubAck(Ack { id, reason, properties: Properties::new(&properties) });
    assert_eq!(encoded_len(&ack, V5), Err(EncodeError::PacketTooLarge));
}
