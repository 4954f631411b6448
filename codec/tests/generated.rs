//! Packets made at random from typed parts, for every version: encoded, decoded, cut anywhere.

use martlet_codec::decode::{DecodeLimits, Decoded, decode};
use martlet_codec::encode::{encode, encoded_len};
use martlet_codec::ids::{PacketId, SubscriptionId, TopicAlias};
use martlet_codec::packet::{
    Ack, Auth, ConnAck, ConnAckCode, Connect, Delivery, Disconnect, Packet, PacketType, Publish,
    RetainHandling, SubAck, Subscribe, Subscription, UnsubAck, Unsubscribe, Will,
};
use martlet_codec::payload::{Filters, ReasonCodes, Subscriptions};
use martlet_codec::properties::{Properties, Property};
use martlet_codec::reason::{ConnectReturnCode, ProtocolVersion, QoS, ReasonCode};
use martlet_codec::topic::{SubscriptionFilter, TopicName};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

const LIMITS: DecodeLimits = DecodeLimits { packet_size_max: 1 << 20, topic_levels_max: 100 };
const VERSIONS: [ProtocolVersion; 3] =
    [ProtocolVersion::V31, ProtocolVersion::V311, ProtocolVersion::V5];

/// What a packet of any type may be made of.
#[derive(Clone, Debug)]
struct Parts {
    packet_type: u8,
    id: u16,
    numbers: [u32; 3],
    flags: [bool; 5],
    qos: u8,
    texts: [String; 3],
    topic: String,
    bytes: [Vec<u8>; 2],
    filters: Vec<(String, u8, bool)>,
    properties: Vec<Index>,
    code: Index,
}

fn parts() -> impl Strategy<Value = Parts> {
    let text = || "[^\0]{0,40}";
    let topic = || "[^\0+#]{1,40}";
    let filter = || {
        let level = prop_oneof!["[^\0+#/]{0,9}", Just("+".to_owned())];
        let share = prop_oneof![Just(String::new()), "[$]share/[^\0+#/]{1,9}/"];
        let last = select(vec!["x", "#", "+"]);
        (share, vec(level, 0..4), last).prop_map(|(share, levels, last)| {
            let levels: String = levels.iter().map(|level| format!("{level}/")).collect();
            format!("{share}{levels}{last}")
        })
    };
    let filters = vec((filter(), 0..36_u8, any::<bool>()), 1..5);
    let bytes = || vec(any::<u8>(), 0..200);
    (
        (1..=15_u8, 1..=u16::MAX, any::<[u32; 3]>(), any::<[bool; 5]>(), 0..3_u8),
        ([text(), text(), text()], topic(), [bytes(), bytes()]),
        (filters, vec(any::<Index>(), 0..6), any::<Index>()),
    )
        .prop_map(|(fixed, (texts, topic, bytes), (filters, properties, code))| {
            let (packet_type, id, numbers, flags, qos) = fixed;
            Parts {
                packet_type,
                id,
                numbers,
                flags,
                qos,
                texts,
                topic,
                bytes,
                filters,
                properties,
                code,
            }
        })
}

impl Parts {
    fn qos(&self) -> QoS {
        QoS::new(self.qos).expect("0 to 2")
    }

    fn packet_type(&self) -> PacketType {
        PacketType::of(self.packet_type << 4).expect("1 to 15")
    }

    fn topic(&self) -> TopicName<'_> {
        TopicName::new(self.topic.as_bytes()).expect("no wildcard")
    }

    fn code(&self, packet: PacketType) -> ReasonCode {
        let codes: Vec<_> = ReasonCode::ALL.iter().filter(|code| code.is_for(packet)).collect();
        *codes[self.code.index(codes.len())]
    }

    /// One value of each property that this place may hold; those chosen, once each.
    fn properties(&self, place: Option<PacketType>) -> Vec<Property<'_>> {
        let all = self.property_of_each_kind();
        let mut chosen: Vec<Property<'_>> = Vec::new();
        for index in &self.properties {
            let property = all[index.index(all.len())];
            let repeatable = matches!(property, Property::UserProperty(_));
            if may_stand_in(&property, place) && (repeatable || !chosen.contains(&property)) {
                chosen.push(property);
            }
        }
        let data = chosen.iter().any(|p| matches!(p, Property::AuthenticationData(_)));
        let method = chosen.iter().any(|p| matches!(p, Property::AuthenticationMethod(_)));
        if (data || place == Some(PacketType::Auth)) && !method {
            chosen.push(Property::AuthenticationMethod(&self.texts[0]));
        }
        chosen
    }

    fn property_of_each_kind(&self) -> Vec<Property<'_>> {
        let [text, other, _] = &self.texts;
        let [a, b, _] = self.numbers;
        let flag = self.flags[0];
        let short = (b & 0xFFFF) as u16;
        let alias = TopicAlias::new(short | 1).expect("not zero");
        let id = SubscriptionId::new((a & 0x0FFF_FFFF) | 1).expect("not zero");
        vec![
            Property::PayloadFormatIndicator(flag),
            Property::MessageExpiryInterval(a),
            Property::ContentType(text),
            Property::ResponseTopic(self.topic()),
            Property::CorrelationData(&self.bytes[0]),
            Property::SubscriptionIdentifier(id),
            Property::SessionExpiryInterval(b),
            Property::AssignedClientIdentifier(text),
            Property::ServerKeepAlive(short),
            Property::AuthenticationMethod(other),
            Property::AuthenticationData(&self.bytes[1]),
            Property::RequestProblemInformation(flag),
            Property::WillDelayInterval(a),
            Property::RequestResponseInformation(!flag),
            Property::ResponseInformation(other),
            Property::ServerReference(text),
            Property::ReasonString(other),
            Property::ReceiveMaximum((short | 1).try_into().expect("not zero")),
            Property::TopicAliasMaximum(short),
            Property::TopicAlias(alias),
            Property::MaximumQoS(if flag { QoS::AtLeastOnce } else { QoS::AtMostOnce }),
            Property::RetainAvailable(flag),
            Property::UserProperty((text, other)),
            Property::MaximumPacketSize((a | 1).try_into().expect("not zero")),
            Property::WildcardSubscriptionAvailable(flag),
            Property::SubscriptionIdentifierAvailable(!flag),
            Property::SharedSubscriptionAvailable(flag),
        ]
    }
}

/// Written again from MQTT 5.0's table 2-4, by place; `None` is the Will.
fn may_stand_in(property: &Property<'_>, place: Option<PacketType>) -> bool {
    let ids: &[u8] = match place {
        None => &[0x01, 0x02, 0x03, 0x08, 0x09, 0x18, 0x26],
        Some(PacketType::Connect) => &[0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x26, 0x27],
        Some(PacketType::ConnAck) => &[
            0x11, 0x12, 0x13, 0x15, 0x16, 0x1A, 0x1C, 0x1F, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27,
            0x28, 0x29, 0x2A,
        ],
        Some(PacketType::Publish) => &[0x01, 0x02, 0x03, 0x08, 0x09, 0x0B, 0x23, 0x26],
        Some(PacketType::Subscribe) => &[0x0B, 0x26],
        Some(PacketType::Unsubscribe) => &[0x26],
        Some(PacketType::Disconnect) => &[0x11, 0x1C, 0x1F, 0x26],
        Some(PacketType::Auth) => &[0x15, 0x16, 0x1F, 0x26],
        Some(_) => &[0x1F, 0x26],
    };
    ids.contains(&property.id())
}

/// Makes the packet and hands it over: it borrows from lists made here.
fn with_packet<T>(
    parts: &Parts,
    version: ProtocolVersion,
    use_it: impl FnOnce(Packet<'_>) -> T,
) -> T {
    let five = version == ProtocolVersion::V5;
    let packet_type = parts.packet_type();
    let list = if five { parts.properties(Some(packet_type)) } else { Vec::new() };
    let will_list = if five { parts.properties(None) } else { Vec::new() };
    let subscriptions: Vec<_> =
        parts.filters.iter().map(|filter| subscription(filter, version)).collect();
    let filters: Vec<_> = subscriptions.iter().map(|subscription| subscription.filter).collect();
    let codes: Vec<u8> = match (five, packet_type) {
        (true, PacketType::SubAck | PacketType::UnsubAck) => {
            vec![parts.code(packet_type).get(); parts.filters.len()]
        }
        (false, PacketType::SubAck) => vec![parts.qos, 0x80],
        _ => Vec::new(),
    };
    let properties = Properties::new(&list);
    let id = PacketId::new(parts.id).expect("not zero");
    let reason = |packet| if five { parts.code(packet) } else { ReasonCode::Success };
    let ack = || Ack { id, reason: reason(packet_type), properties };
    let codes = ReasonCodes::new(&codes).expect("reason codes");
    let subscriptions = Subscriptions::new(&subscriptions);
    let filters = Filters::new(&filters);
    use_it(match packet_type {
        PacketType::Connect => Packet::Connect(connect(parts, version, properties, &will_list)),
        PacketType::ConnAck => Packet::ConnAck(connack(parts, version, properties)),
        PacketType::Publish => Packet::Publish(publish(parts, id, properties)),
        PacketType::PubAck => Packet::PubAck(ack()),
        PacketType::PubRec => Packet::PubRec(ack()),
        PacketType::PubRel => Packet::PubRel(ack()),
        PacketType::PubComp => Packet::PubComp(ack()),
        PacketType::Subscribe => Packet::Subscribe(Subscribe { id, properties, subscriptions }),
        PacketType::SubAck => Packet::SubAck(SubAck { id, properties, codes }),
        PacketType::Unsubscribe => Packet::Unsubscribe(Unsubscribe { id, properties, filters }),
        PacketType::UnsubAck => Packet::UnsubAck(UnsubAck { id, properties, codes }),
        PacketType::PingReq => Packet::PingReq,
        PacketType::PingResp => Packet::PingResp,
        PacketType::Auth if five => {
            Packet::Auth(Auth { reason: reason(PacketType::Auth), properties })
        }
        PacketType::Disconnect | PacketType::Auth => {
            let properties =
                if packet_type == PacketType::Auth { Properties::EMPTY } else { properties };
            Packet::Disconnect(Disconnect { reason: reason(PacketType::Disconnect), properties })
        }
    })
}

fn subscription(
    (text, options, retain_as_published): &(String, u8, bool),
    version: ProtocolVersion,
) -> Subscription<'_> {
    let filter = SubscriptionFilter::parse(text.as_bytes()).expect("a legal filter");
    let plain = Subscription::new(filter, QoS::new(options % 3).expect("0 to 2"));
    if version < ProtocolVersion::V5 {
        return plain;
    }
    Subscription {
        no_local: options / 3 % 4 == 1 && filter.share.is_none(),
        retain_as_published: *retain_as_published,
        retain_handling: match options / 12 {
            0 => RetainHandling::SendAtSubscribe,
            1 => RetainHandling::SendIfNew,
            _ => RetainHandling::DoNotSend,
        },
        ..plain
    }
}

fn connect<'a>(
    parts: &'a Parts,
    version: ProtocolVersion,
    properties: Properties<'a>,
    will_properties: &'a [Property<'a>],
) -> Connect<'a> {
    let [will, user_name, password, clean_session, retain] = parts.flags;
    let five = version == ProtocolVersion::V5;
    Connect {
        version,
        bridge: !five && retain,
        clean_session,
        keep_alive_s: parts.id,
        properties,
        client_id: &parts.texts[0],
        will: will.then_some(Will {
            topic: parts.topic(),
            payload: &parts.bytes[0],
            qos: parts.qos(),
            retain,
            properties: Properties::new(will_properties),
        }),
        user_name: user_name.then_some(&parts.texts[1]),
        password: (password && (user_name || five)).then_some(&parts.bytes[1]),
    }
}

fn connack<'a>(
    parts: &'a Parts,
    version: ProtocolVersion,
    properties: Properties<'a>,
) -> ConnAck<'a> {
    let code = match version {
        ProtocolVersion::V5 => ConnAckCode::V5(parts.code(PacketType::ConnAck)),
        ProtocolVersion::V31 | ProtocolVersion::V311 => {
            let number = parts.code.index(6) as u8;
            ConnAckCode::V3(ConnectReturnCode::new(number).expect("0 to 5"))
        }
    };
    let flag = version > ProtocolVersion::V31 && code.is_accepted();
    ConnAck { session_present: flag && parts.flags[0], code, properties }
}

fn publish<'a>(parts: &'a Parts, id: PacketId, properties: Properties<'a>) -> Publish<'a> {
    let dup = parts.flags[1];
    let alias = properties.iter().any(|p| matches!(p, Property::TopicAlias(_)));
    Publish {
        delivery: match parts.qos() {
            QoS::AtMostOnce => Delivery::AtMostOnce,
            QoS::AtLeastOnce => Delivery::AtLeastOnce { id, dup },
            QoS::ExactlyOnce => Delivery::ExactlyOnce { id, dup },
        },
        retain: parts.flags[2],
        topic: (!alias || parts.flags[3]).then(|| parts.topic()),
        properties,
        payload: &parts.bytes[0],
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn what_is_encoded_is_decoded(parts in parts(), cut in any::<Index>()) {
        for version in VERSIONS {
            with_packet(&parts, version, |packet| check(&packet, version, cut))?;
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..64)) {
        for version in VERSIONS {
            if let Ok(Decoded::Packet { len, .. }) = decode(&bytes, version, &LIMITS) {
                prop_assert!(len <= bytes.len());
            }
        }
    }
}

fn check(packet: &Packet<'_>, version: ProtocolVersion, cut: Index) -> Result<(), TestCaseError> {
    let len = encoded_len(packet, version)
        .map_err(|error| TestCaseError::fail(format!("{error:?}: {packet:?}")))?;
    let mut bytes = vec![0; len + 2];
    prop_assert_eq!(encode(packet, version, &mut bytes), Ok(len));
    bytes[len..].copy_from_slice(&[0xC0, 0]); // The next packet must not disturb.
    match decode(&bytes, version, &LIMITS) {
        Ok(Decoded::Packet { packet: decoded, len: decoded_len, .. }) => {
            prop_assert_eq!(decoded, *packet);
            prop_assert_eq!(decoded_len, len);
        }
        other => prop_assert!(false, "{other:?}: {packet:?}"),
    }
    let end = cut.index(len);
    match decode(&bytes[..end], version, &LIMITS) {
        Ok(Decoded::NeedMore { at_least }) => prop_assert!((1..=len - end).contains(&at_least)),
        other => prop_assert!(false, "{other:?}: {end} bytes of {packet:?}"),
    }
    Ok(())
}
