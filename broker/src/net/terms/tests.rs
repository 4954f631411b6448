use martlet_codec::decode::{DecodeLimits, Decoded, decode};

use super::*;

fn terms(mount_point: &str, qos_max: QoS) -> Terms {
    let mount_point = Some(mount_point).filter(|point| !point.is_empty());
    let mount_point = mount_point.map(|point| point.parse().expect("a mount point"));
    Terms { mount_point, qos_max, ..Terms::default() }
}

/// What the engine sees of some bytes.
fn taken(terms: &Terms, bytes: &[u8]) -> Result<String, Breach> {
    let limits = DecodeLimits { packet_size_max: 200_000, topic_levels_max: 1000 };
    let Ok(Decoded::Packet { packet, header_len, .. }) =
        decode(bytes, ProtocolVersion::V311, &limits)
    else {
        panic!("{bytes:?}")
    };
    if let Packet::Connect(connect) = packet {
        return terms.open(&connect, 0, 0).map(|open| format!("{:?}", open.will));
    }
    Ok(match terms.take(&packet, &bytes[header_len..])? {
        InPacket::Publish { message, delivery } => {
            assert_eq!(message.qos(), delivery.qos());
            let payload = String::from_utf8_lossy(message.payload()).into_owned();
            format!("{} {payload} {} {}", message.topic(), message.qos() as u8, message.retain())
        }
        InPacket::Subscribe { id, subscriptions, .. } => {
            let filters =
                subscriptions.iter().map(|(f, qos)| format!("{} {}", f.as_str(), qos.get()));
            format!("{id} {}", filters.collect::<Vec<_>>().join(", "))
        }
        InPacket::Unsubscribe { id, filters } => {
            let filters: Vec<&str> = filters.iter().map(Filter::as_str).collect();
            format!("{id} {}", filters.join(", "))
        }
        other => format!("{other:?}"),
    })
}

#[test]
fn topics_are_below_the_mount_point() {
    let rows: &[(&[u8], &str, &str)] = &[
        (b"\x33\x07\0\x03a/b\0\x07", "a/b  1 true", "s/1/a/b  1 true"),
        (b"\x30\x04\0\x01ax", "a x 0 false", "s/1/a x 0 false"),
        (b"\x30\x06\0\x02$ax!", "$a x! 0 false", "s/1/$a x! 0 false"),
        (b"\x82\x0b\0\x01\0\x01a\x01\0\x02+/\0", "1 a 1, +/ 0", "1 s/1/a 1, s/1/+/ 0"),
        (b"\x82\x06\0\x01\0\x01#\x02", "1 # 2", "1 s/1/# 2"),
        (b"\x82\x11\0\x01\0\x0c$share/g/+/#\x02", "1 $share/g/+/# 2", "1 $share/g/s/1/+/# 2"),
        (b"\xa2\x11\0\x01\0\x01a\0\x0a$share/g/a", "1 a, $share/g/a", "1 s/1/a, $share/g/s/1/a"),
        (b"\x82\x13\0\x01\0\x0e$replay/-1h/+/\x01", "1 $replay/-1h/+/ 1", "1 $replay/-1h/s/1/+/ 1"),
        (b"\x40\x02\0\x07", "PubAck(PacketId(7))", "PubAck(PacketId(7))"),
    ];
    for (bytes, plain, mounted) in rows {
        assert_eq!(taken(&Terms::default(), bytes).as_deref(), Ok(*plain));
        assert_eq!(taken(&terms("s/1/", QoS::ExactlyOnce), bytes).as_deref(), Ok(*mounted));
    }
    let will = b"\x10\x13\0\x04MQTT\x04\x0e\0\0\0\x01c\0\x01w\0\x01x";
    let plain = taken(&Terms::default(), will).expect("no terms");
    let mounted = taken(&terms("s/1/", QoS::ExactlyOnce), will).expect("it fits");
    assert!(plain.contains(" \"w\",") && mounted.contains(" \"s/1/w\","), "{plain} {mounted}");
}

#[test]
fn what_gets_too_long_is_against_the_terms() {
    let long = |first: u8, id: &[u8], end: &[u8]| {
        let body = [id, &65_534_u16.to_be_bytes()[..], &[b'a'; 65_534], end].concat();
        let mut bytes = vec![first];
        bytes.extend([0x80 | (body.len() & 127) as u8, 0x80 | (body.len() >> 7 & 127) as u8]);
        bytes.push((body.len() >> 14) as u8);
        [bytes, body].concat()
    };
    let packets = [long(0x30, b"", b"x"), long(0x82, b"\0\x01", b"\0"), long(0xa2, b"\0\x01", b"")];
    for packet in packets {
        assert!(taken(&Terms::default(), &packet).is_ok());
        assert_eq!(taken(&terms("s/", QoS::ExactlyOnce), &packet), Err(TOO_LONG));
    }
}

#[test]
fn nobody_goes_beyond_the_listeners_qos() {
    let (zero, one) = (terms("", QoS::AtMostOnce), terms("s/", QoS::AtLeastOnce));
    let qos_2: &[u8] = b"\x34\x05\0\x01a\0\x07";
    let qos_1: &[u8] = b"\x32\x05\0\x01a\0\x07";
    let will_2: &[u8] = b"\x10\x13\0\x04MQTT\x04\x16\0\0\0\x01c\0\x01w\0\x01x";
    for (terms, packet) in [(&zero, qos_1), (&zero, qos_2), (&one, qos_2), (&one, will_2)] {
        assert_eq!(taken(terms, packet).expect_err("above").option, "max_qos");
    }
    assert_eq!(taken(&one, qos_1).as_deref(), Ok("s/a  1 false"));
    let subscribe = b"\x82\x0e\0\x01\0\x01a\x02\0\x01b\x01\0\x01c\0";
    assert_eq!(taken(&one, subscribe).as_deref(), Ok("1 s/a 1, s/b 1, s/c 0"));
    assert_eq!(taken(&zero, subscribe).as_deref(), Ok("1 a 0, b 0, c 0"));
}

#[test]
fn clients_see_their_own_names() {
    let rows = [("s/1/a/b", "a/b"), ("s/1/$x", "$x"), ("s/1/", "s/1/"), ("s/10/a", "s/10/a")];
    for (topic, seen) in rows {
        let mut packet = Packet::Publish(Publish {
            delivery: packet::Delivery::AtMostOnce,
            retain: false,
            topic: Some(TopicName::new(topic.as_bytes()).expect("a topic")),
            properties: martlet_codec::properties::Properties::EMPTY,
            payload: b"x",
        });
        terms("s/1/", QoS::ExactlyOnce).give(&mut packet);
        let Packet::Publish(given) = packet else { panic!("it stays a PUBLISH") };
        assert_eq!(given.topic.map(TopicName::as_str), Some(seen));
    }
}

#[test]
fn mount_points_and_versions_are_checked() {
    for good in ["s/", "/", "a b/c/", "ä/"] {
        assert!(good.parse::<MountPoint>().is_ok(), "{good}");
    }
    for bad in ["", "s", "s/+/", "#/", "s/#", "$SYS/", "$share/g/"] {
        assert!(bad.parse::<MountPoint>().is_err(), "{bad}");
    }
    let rows = [("3,4,5", true, true), ("3", true, false), ("4, 5", false, true)];
    for (text, v31, v311) in rows {
        let versions: Versions = text.parse().expect("levels");
        assert_eq!(versions.hold(ProtocolVersion::V31), v31, "{text}");
        assert_eq!(versions.hold(ProtocolVersion::V311), v311, "{text}");
        assert!(!versions.hold(ProtocolVersion::V5), "{text}");
    }
    for bad in ["", "5", "3.1", "3,,4", "mqttv311"] {
        assert!(bad.parse::<Versions>().is_err(), "{bad}");
    }
}
