//! The rules that a packet can break, one row each: how 3.1.1 and 5.0 name it, and what to answer.

use crate::packet::PacketType;
use crate::reason::ReasonCode;
use crate::topic::TopicError;

/// A rule, as seen by who broke it. 3.1 has no ids and goes by those of 3.1.1.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) v3: &'static str,
    pub(crate) v5: &'static str,
    pub(crate) reason: ReasonCode,
    pub(crate) text: &'static str,
}

/// A value, or the rule that was broken.
pub(crate) type Checked<T> = Result<T, &'static Rule>;

/// Declares rules: name, reason code, id in 3.1.1, id in 5.0, text. Both standards begin their ids
/// with `MQTT-`; those of 5.0 are told apart as `MQTT5-`. Where a standard gives a statement no id,
/// its section stands for it.
macro_rules! rules {
    ($($name:ident $reason:ident $v3:literal $v5:literal $text:literal;)+) => {
        $(
            pub(crate) const $name: &Rule =
                &Rule { v3: $v3, v5: $v5, reason: ReasonCode::$reason, text: $text };
        )+
    };
}

rules! {
    // Fixed header.
    TYPE_RESERVED MalformedPacket "MQTT 3.1.1 2.2.1" "MQTT 5.0 2.1.2" "reserved packet type";
    FLAGS MalformedPacket "MQTT-2.2.2-2" "MQTT5-2.1.3-1" "wrong flags in the fixed header";
    PUBREL_FLAGS MalformedPacket "MQTT-3.6.1-1" "MQTT5-3.6.1-1" "PUBREL's flags must be 0010";
    SUBSCRIBE_FLAGS MalformedPacket "MQTT-3.8.1-1" "MQTT5-3.8.1-1" "SUBSCRIBE's flags must be 0010";
    UNSUBSCRIBE_FLAGS MalformedPacket "MQTT-3.10.1-1" "MQTT5-3.10.1-1"
        "UNSUBSCRIBE's flags must be 0010";
    DISCONNECT_FLAGS MalformedPacket "MQTT-3.14.1-1" "MQTT5-3.14.1-1"
        "DISCONNECT's flags must be 0000";
    AUTH_FLAGS MalformedPacket "MQTT 3.1.1 2.2.1" "MQTT5-3.15.1-1" "AUTH's flags must be 0000";
    LENGTH_TOO_LONG MalformedPacket "MQTT 3.1.1 2.2.3" "MQTT 5.0 1.5.5"
        "a variable byte integer has at most four bytes";
    LENGTH_NOT_MINIMAL MalformedPacket "MQTT 3.1.1 2.2.3" "MQTT5-1.5.5-1"
        "a variable byte integer must take as few bytes as it can";
    PACKET_TOO_LARGE PacketTooLarge "packet_size_max" "packet_size_max"
        "larger than this connection accepts";

    // Every packet's body.
    CROSSES_END MalformedPacket "MQTT 3.1.1 2.2.3" "MQTT 5.0 2.1.4"
        "a field goes past the packet's end";
    TRAILING MalformedPacket "MQTT 3.1.1 2.2.3" "MQTT 5.0 2.1.4" "bytes behind the last field";
    FIELD_TOO_LONG MalformedPacket "MQTT 3.1.1 1.5.3" "MQTT 5.0 1.5.4"
        "a string or binary field has at most 65535 bytes";
    UTF8 MalformedPacket "MQTT-1.5.3-1" "MQTT5-1.5.4-1" "ill-formed UTF-8";
    UTF8_NULL MalformedPacket "MQTT-1.5.3-2" "MQTT5-1.5.4-2" "U+0000 in a string";
    ID_ZERO MalformedPacket "MQTT-2.3.1-1" "MQTT5-2.2.1-3" "packet identifier 0";
    ACK_ID_ZERO MalformedPacket "MQTT-2.3.1-6" "MQTT5-2.2.1-5" "packet identifier 0";
    SUBACK_ID_ZERO MalformedPacket "MQTT-2.3.1-7" "MQTT5-2.2.1-6" "packet identifier 0";

    // Topics.
    TOPIC_EMPTY MalformedPacket "MQTT-4.7.3-1" "MQTT5-4.7.3-1" "a topic has at least one character";
    TOPIC_NULL MalformedPacket "MQTT-4.7.3-2" "MQTT5-4.7.3-2" "U+0000 in a topic";
    TOPIC_TOO_LONG MalformedPacket "MQTT-4.7.3-3" "MQTT5-4.7.3-3"
        "a topic has at most 65535 bytes";
    TOPIC_HASH MalformedPacket "MQTT-4.7.1-2" "MQTT5-4.7.1-1" "# must be the whole last level";
    TOPIC_PLUS MalformedPacket "MQTT-4.7.1-3" "MQTT5-4.7.1-2" "+ must be a whole level";
    TOPIC_WILDCARD MalformedPacket "MQTT-3.3.2-2" "MQTT5-3.3.2-2" "a wildcard in a topic name";
    WILL_WILDCARD MalformedPacket "MQTT-4.7.1-1" "MQTT5-4.7.0-1" "a wildcard in the will topic";
    RESPONSE_WILDCARD MalformedPacket "MQTT 5.0 3.3.2.3.5" "MQTT5-3.3.2-14"
        "a wildcard in the response topic";
    TOPIC_UTF8 MalformedPacket "MQTT-3.3.2-1" "MQTT5-3.3.2-1" "ill-formed UTF-8 in the topic name";
    WILL_UTF8 MalformedPacket "MQTT-3.1.3-10" "MQTT5-3.1.3-11" "ill-formed UTF-8 in the will topic";
    RESPONSE_UTF8 MalformedPacket "MQTT 5.0 3.3.2.3.5" "MQTT5-3.3.2-13"
        "ill-formed UTF-8 in the response topic";
    FILTER_UTF8 MalformedPacket "MQTT-3.8.3-1" "MQTT5-3.8.3-1" "ill-formed UTF-8 in a topic filter";
    UNSUBSCRIBE_UTF8 MalformedPacket "MQTT-3.10.3-1" "MQTT5-3.10.3-1"
        "ill-formed UTF-8 in a topic filter";
    SHARE MalformedPacket "MQTT 5.0 4.8.2" "MQTT5-4.8.2-1"
        "a share is written $share/NAME/FILTER";
    NAME_LEVELS TopicNameInvalid "topic_levels_max" "topic_levels_max"
        "a topic name with too many levels";
    FILTER_LEVELS TopicFilterInvalid "topic_levels_max" "topic_levels_max"
        "a topic filter with too many levels";

    // CONNECT.
    PROTOCOL_NAME UnsupportedProtocolVersion "MQTT-3.1.2-1" "MQTT5-3.1.2-1"
        "the protocol name is neither MQTT nor MQIsdp";
    PROTOCOL_LEVEL UnsupportedProtocolVersion "MQTT-3.1.2-2" "MQTT5-3.1.2-2"
        "unsupported protocol level";
    CONNECT_RESERVED MalformedPacket "MQTT-3.1.2-3" "MQTT5-3.1.2-3"
        "CONNECT's reserved flag is set";
    WILL_QOS_WITHOUT_WILL MalformedPacket "MQTT-3.1.2-13" "MQTT5-3.1.2-11"
        "a will QoS without a will";
    WILL_QOS MalformedPacket "MQTT-3.1.2-14" "MQTT5-3.1.2-12" "will QoS 3";
    WILL_RETAIN_WITHOUT_WILL MalformedPacket "MQTT-3.1.2-15" "MQTT5-3.1.2-13"
        "a will retain flag without a will";
    PASSWORD_WITHOUT_USER MalformedPacket "MQTT-3.1.2-22" "MQTT 5.0 3.1.2.9"
        "a password without a user name";
    CLIENT_ID_MISSING MalformedPacket "MQTT-3.1.3-3" "MQTT5-3.1.3-3" "no client identifier";
    CLIENT_ID_UTF8 MalformedPacket "MQTT-3.1.3-4" "MQTT5-3.1.3-4"
        "ill-formed UTF-8 in the client identifier";
    WILL_MISSING MalformedPacket "MQTT-3.1.2-9" "MQTT5-3.1.2-9" "a will flag without a will";
    USER_MISSING MalformedPacket "MQTT-3.1.2-19" "MQTT5-3.1.2-17"
        "a user name flag without a user name";
    USER_UTF8 MalformedPacket "MQTT-3.1.3-11" "MQTT5-3.1.3-12" "ill-formed UTF-8 in the user name";
    PASSWORD_MISSING MalformedPacket "MQTT-3.1.2-21" "MQTT5-3.1.2-19"
        "a password flag without a password";

    // CONNACK.
    CONNACK_FLAGS MalformedPacket "MQTT 3.1.1 3.2.2.1" "MQTT5-3.2.2-1"
        "reserved bits in CONNACK's flags";
    SESSION_PRESENT_REFUSED ProtocolError "MQTT-3.2.2-4" "MQTT5-3.2.2-6"
        "session present in a refusal";
    RETURN_CODE MalformedPacket "MQTT 3.1.1 3.2.2.3" "MQTT5-3.2.2-8" "no code of CONNACK";

    // PUBLISH and its acknowledgements.
    DUP_QOS_0 MalformedPacket "MQTT-3.3.1-2" "MQTT5-3.3.1-2" "DUP at QoS 0";
    PUBLISH_QOS MalformedPacket "MQTT-3.3.1-4" "MQTT5-3.3.1-4" "QoS 3";
    NO_TOPIC ProtocolError "MQTT-4.7.3-1" "MQTT 5.0 3.3.2.1" "neither topic name nor topic alias";
    PUBACK_CODE MalformedPacket "MQTT 5.0 2.4" "MQTT5-3.4.2-1" "no reason code of PUBACK";
    PUBREC_CODE MalformedPacket "MQTT 5.0 2.4" "MQTT5-3.5.2-1" "no reason code of PUBREC";
    PUBREL_CODE MalformedPacket "MQTT 5.0 2.4" "MQTT5-3.6.2-1" "no reason code of PUBREL";
    PUBCOMP_CODE MalformedPacket "MQTT 5.0 2.4" "MQTT5-3.7.2-1" "no reason code of PUBCOMP";

    // SUBSCRIBE, UNSUBSCRIBE and their acknowledgements.
    SUBSCRIBE_EMPTY ProtocolError "MQTT-3.8.3-3" "MQTT5-3.8.3-2" "SUBSCRIBE without a topic filter";
    SUBSCRIBE_OPTIONS MalformedPacket "MQTT-3.8.3-4" "MQTT5-3.8.3-5"
        "reserved bits in the subscription options";
    SUBSCRIBE_QOS MalformedPacket "MQTT-3.8.3-4" "MQTT 5.0 3.8.3.1" "QoS 3 asked for";
    RETAIN_HANDLING ProtocolError "MQTT-3.8.3-4" "MQTT 5.0 3.8.3.1" "retain handling 3";
    NO_LOCAL_SHARED ProtocolError "MQTT-3.8.3-4" "MQTT5-3.8.3-4"
        "no local on a shared subscription";
    SUBACK_EMPTY ProtocolError "MQTT-3.8.4-5" "MQTT5-3.8.4-6" "SUBACK without a code";
    SUBACK_CODE MalformedPacket "MQTT-3.9.3-2" "MQTT5-3.9.3-2" "no code of SUBACK";
    UNSUBSCRIBE_EMPTY ProtocolError "MQTT-3.10.3-2" "MQTT5-3.10.3-2"
        "UNSUBSCRIBE without a topic filter";
    UNSUBACK_EMPTY ProtocolError "MQTT 3.1.1 3.11.3" "MQTT5-3.11.3-1" "UNSUBACK without a code";
    UNSUBACK_CODE MalformedPacket "MQTT 3.1.1 3.11.3" "MQTT5-3.11.3-2" "no code of UNSUBACK";

    // DISCONNECT and AUTH.
    DISCONNECT_CODE MalformedPacket "MQTT 3.1.1 3.14.2" "MQTT5-3.14.2-1"
        "no reason code of DISCONNECT";
    AUTH_CODE MalformedPacket "MQTT 3.1.1 2.2.1" "MQTT5-3.15.2-1" "no reason code of AUTH";
    AUTH_METHOD_MISSING ProtocolError "MQTT 3.1.1 2.2.1" "MQTT 5.0 3.15.2.2.2"
        "AUTH without an authentication method";

    // Properties.
    PROPERTIES_LENGTH_MISSING MalformedPacket "MQTT 5.0 2.2.2.1" "MQTT5-2.2.2-1"
        "no property length";
    PROPERTY_UNKNOWN MalformedPacket "MQTT 5.0 2.2.2.2" "MQTT 5.0 2.2.2.2" "unknown property";
    PROPERTY_MISPLACED MalformedPacket "MQTT 5.0 2.2.2.2" "MQTT 5.0 2.2.2.2"
        "a property that this packet does not have";
    PROPERTY_CROSSES_END MalformedPacket "MQTT 5.0 2.2.2.1" "MQTT 5.0 2.2.2.1"
        "a property goes past the property length";
    PROPERTY_TWICE ProtocolError "MQTT 5.0 2.2.2.2" "MQTT 5.0 2.2.2.2"
        "a property that may come once came twice";
    PROPERTY_VALUE ProtocolError "MQTT 5.0 2.2.2.2" "MQTT 5.0 2.2.2.2"
        "a property's value is out of its range";
    TOPIC_ALIAS_ZERO TopicAliasInvalid "MQTT 5.0 3.3.2.3.4" "MQTT5-3.3.2-8" "topic alias 0";
    AUTH_DATA_ALONE ProtocolError "MQTT 5.0 3.1.2.11.10" "MQTT 5.0 3.1.2.11.10"
        "authentication data without a method";
}

/// The rule that a topic filter (or the rest of a topic name) broke.
pub(crate) fn topic(
    error: TopicError,
    utf8: &'static Rule,
    wildcard: &'static Rule,
) -> &'static Rule {
    match error {
        TopicError::Empty => TOPIC_EMPTY,
        TopicError::NotUtf8 => utf8,
        TopicError::Null => TOPIC_NULL,
        TopicError::TooLong => TOPIC_TOO_LONG,
        TopicError::WildcardInName => wildcard,
        TopicError::MisplacedHash => TOPIC_HASH,
        TopicError::MisplacedPlus => TOPIC_PLUS,
        TopicError::BadShare => SHARE,
    }
}

/// The rule that a reason code broke which this packet does not have.
pub(crate) const fn reason_code(packet: PacketType) -> &'static Rule {
    match packet {
        PacketType::PubAck => PUBACK_CODE,
        PacketType::PubRec => PUBREC_CODE,
        PacketType::PubRel => PUBREL_CODE,
        PacketType::PubComp => PUBCOMP_CODE,
        PacketType::SubAck => SUBACK_CODE,
        PacketType::UnsubAck => UNSUBACK_CODE,
        PacketType::Disconnect => DISCONNECT_CODE,
        PacketType::Auth => AUTH_CODE,
        PacketType::ConnAck
        | PacketType::Connect
        | PacketType::Publish
        | PacketType::Subscribe
        | PacketType::Unsubscribe
        | PacketType::PingReq
        | PacketType::PingResp => RETURN_CODE,
    }
}

/// Whether a caller's text can stand in a UTF-8 Encoded String.
pub(crate) fn check_string(text: &str) -> Checked<()> {
    if text.as_bytes().contains(&0) {
        return Err(UTF8_NULL); // [MQTT-1.5.3-2]
    }
    check_binary(text.as_bytes())
}

/// Whether a caller's bytes can stand in a field with a length of two bytes.
pub(crate) fn check_binary(bytes: &[u8]) -> Checked<()> {
    if bytes.len() > usize::from(u16::MAX) { Err(FIELD_TOO_LONG) } else { Ok(()) }
}
