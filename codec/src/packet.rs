//! The Control Packets, one enum for all versions, borrowing from the input.

use crate::ids::PacketId;
use crate::payload::{Filters, ReasonCodes, Subscriptions};
use crate::properties::{AUTHENTICATION_METHOD, Properties};
use crate::reason::{ConnectReturnCode, ProtocolVersion, QoS, ReasonCode};
use crate::rules::{self, Checked};
use crate::topic::{SubscriptionFilter, TopicName};

/// The type of a Control Packet: the upper half of its first byte.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum PacketType {
    /// 1.
    Connect = 1,
    /// 2.
    ConnAck = 2,
    /// 3.
    Publish = 3,
    /// 4.
    PubAck = 4,
    /// 5.
    PubRec = 5,
    /// 6.
    PubRel = 6,
    /// 7.
    PubComp = 7,
    /// 8.
    Subscribe = 8,
    /// 9.
    SubAck = 9,
    /// 10.
    Unsubscribe = 10,
    /// 11.
    UnsubAck = 11,
    /// 12.
    PingReq = 12,
    /// 13.
    PingResp = 13,
    /// 14.
    Disconnect = 14,
    /// 15, in 5.0 only.
    Auth = 15,
}

impl PacketType {
    /// The type in a packet's first byte; 0 is reserved.
    #[inline]
    pub const fn of(first_byte: u8) -> Option<Self> {
        Some(match first_byte >> 4 {
            1 => Self::Connect,
            2 => Self::ConnAck,
            3 => Self::Publish,
            4 => Self::PubAck,
            5 => Self::PubRec,
            6 => Self::PubRel,
            7 => Self::PubComp,
            8 => Self::Subscribe,
            9 => Self::SubAck,
            10 => Self::Unsubscribe,
            11 => Self::UnsubAck,
            12 => Self::PingReq,
            13 => Self::PingResp,
            14 => Self::Disconnect,
            15 => Self::Auth,
            _ => return None,
        })
    }
}

/// One Control Packet.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Packet<'a> {
    /// CONNECT.
    Connect(Connect<'a>),
    /// CONNACK.
    ConnAck(ConnAck<'a>),
    /// PUBLISH.
    Publish(Publish<'a>),
    /// PUBACK.
    PubAck(Ack<'a>),
    /// PUBREC.
    PubRec(Ack<'a>),
    /// PUBREL.
    PubRel(Ack<'a>),
    /// PUBCOMP.
    PubComp(Ack<'a>),
    /// SUBSCRIBE.
    Subscribe(Subscribe<'a>),
    /// SUBACK.
    SubAck(SubAck<'a>),
    /// UNSUBSCRIBE.
    Unsubscribe(Unsubscribe<'a>),
    /// UNSUBACK.
    UnsubAck(UnsubAck<'a>),
    /// PINGREQ.
    PingReq,
    /// PINGRESP.
    PingResp,
    /// DISCONNECT.
    Disconnect(Disconnect<'a>),
    /// AUTH (5.0 only).
    Auth(Auth<'a>),
}

impl<'a> Packet<'a> {
    /// Its properties (a Will's are its own).
    #[inline]
    pub const fn properties(&self) -> Properties<'a> {
        match self {
            Self::Connect(connect) => connect.properties,
            Self::ConnAck(connack) => connack.properties,
            Self::Publish(publish) => publish.properties,
            Self::PubAck(ack) | Self::PubRec(ack) | Self::PubRel(ack) | Self::PubComp(ack) => {
                ack.properties
            }
            Self::Subscribe(subscribe) => subscribe.properties,
            Self::SubAck(suback) => suback.properties,
            Self::Unsubscribe(unsubscribe) => unsubscribe.properties,
            Self::UnsubAck(unsuback) => unsuback.properties,
            Self::PingReq | Self::PingResp => Properties::EMPTY,
            Self::Disconnect(disconnect) => disconnect.properties,
            Self::Auth(auth) => auth.properties,
        }
    }

    /// Its type.
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Self::Connect(_) => PacketType::Connect,
            Self::ConnAck(_) => PacketType::ConnAck,
            Self::Publish(_) => PacketType::Publish,
            Self::PubAck(_) => PacketType::PubAck,
            Self::PubRec(_) => PacketType::PubRec,
            Self::PubRel(_) => PacketType::PubRel,
            Self::PubComp(_) => PacketType::PubComp,
            Self::Subscribe(_) => PacketType::Subscribe,
            Self::SubAck(_) => PacketType::SubAck,
            Self::Unsubscribe(_) => PacketType::Unsubscribe,
            Self::UnsubAck(_) => PacketType::UnsubAck,
            Self::PingReq => PacketType::PingReq,
            Self::PingResp => PacketType::PingResp,
            Self::Disconnect(_) => PacketType::Disconnect,
            Self::Auth(_) => PacketType::Auth,
        }
    }
}

/// CONNECT.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Connect<'a> {
    /// From protocol name and level.
    pub version: ProtocolVersion,
    /// Bit 7 of the level: a bridge (mosquitto's `try_private`). 3.1 and 3.1.1 only.
    pub bridge: bool,
    /// Clean Session (3.x), Clean Start (5.0).
    pub clean_session: bool,
    /// Keep Alive in seconds; 0 is none.
    pub keep_alive_s: u16,
    /// 5.0 only; empty otherwise.
    pub properties: Properties<'a>,
    /// Client Identifier; may be empty.
    pub client_id: &'a str,
    /// The Will.
    pub will: Option<Will<'a>>,
    /// User Name.
    pub user_name: Option<&'a str>,
    /// Password: binary data.
    pub password: Option<&'a [u8]>,
}

/// The Will in a CONNECT.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Will<'a> {
    /// Where it is published.
    pub topic: TopicName<'a>,
    /// What is published.
    pub payload: &'a [u8],
    /// At which QoS.
    pub qos: QoS,
    /// Whether it becomes the retained message of its topic.
    pub retain: bool,
    /// 5.0 only; empty otherwise.
    pub properties: Properties<'a>,
}

/// CONNACK.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ConnAck<'a> {
    /// Whether the server had this client's session. 3.1 has no such flag: not sent there.
    pub session_present: bool,
    /// The answer.
    pub code: ConnAckCode,
    /// 5.0 only; empty otherwise.
    pub properties: Properties<'a>,
}

/// CONNACK's answer: a return code (3.x) or a reason code (5.0).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConnAckCode {
    /// MQTT 3.1 and 3.1.1.
    V3(ConnectReturnCode),
    /// MQTT 5.0.
    V5(ReasonCode),
}

impl ConnAckCode {
    /// Whether the client is in.
    pub const fn is_accepted(self) -> bool {
        matches!(self, Self::V3(ConnectReturnCode::Accepted) | Self::V5(ReasonCode::Success))
    }
}

/// PUBLISH.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Publish<'a> {
    /// QoS, with what only that QoS has.
    pub delivery: Delivery,
    /// The RETAIN flag.
    pub retain: bool,
    /// The topic; `None` only in 5.0, where a topic alias stands for it.
    pub topic: Option<TopicName<'a>>,
    /// 5.0 only; empty otherwise.
    pub properties: Properties<'a>,
    /// The application message's payload.
    pub payload: &'a [u8],
}

/// A PUBLISH's QoS with its Packet Identifier and DUP flag, which exist only above QoS 0
/// [MQTT-2.3.1-5] [MQTT-3.3.1-2].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Delivery {
    /// QoS 0.
    AtMostOnce,
    /// QoS 1.
    AtLeastOnce {
        /// The Packet Identifier.
        id: PacketId,
        /// Whether this may be a repetition.
        dup: bool,
    },
    /// QoS 2.
    ExactlyOnce {
        /// The Packet Identifier.
        id: PacketId,
        /// Whether this may be a repetition.
        dup: bool,
    },
}

impl Delivery {
    /// The Packet Identifier, where there is one.
    pub const fn id(self) -> Option<PacketId> {
        match self {
            Self::AtMostOnce => None,
            Self::AtLeastOnce { id, .. } | Self::ExactlyOnce { id, .. } => Some(id),
        }
    }

    /// The QoS alone.
    pub const fn qos(self) -> QoS {
        match self {
            Self::AtMostOnce => QoS::AtMostOnce,
            Self::AtLeastOnce { .. } => QoS::AtLeastOnce,
            Self::ExactlyOnce { .. } => QoS::ExactlyOnce,
        }
    }
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Ack<'a> {
    /// The id of the PUBLISH [MQTT-2.3.1-6].
    pub id: PacketId,
    /// 5.0; `Success` otherwise.
    pub reason: ReasonCode,
    /// 5.0 only; empty otherwise.
    pub properties: Properties<'a>,
}

impl Ack<'_> {
    /// The plain acknowledgement: `Success`, no properties.
    pub const fn new(id: PacketId) -> Self {
        Self { id, reason: ReasonCode::Success, properties: Properties::EMPTY }
    }
}

/// SUBSCRIBE.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Subscribe<'a> {
    /// Its id, which the SUBACK repeats.
    pub id: PacketId,
    /// 5.0 only; empty otherwise.
    pub properties: Properties<'a>,
    /// The filters with their options, at least one [MQTT-3.8.3-3].
    pub subscriptions: Subscriptions<'a>,
}

/// One filter of a SUBSCRIBE.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Subscription<'a> {
    /// Filter and share.
    pub filter: SubscriptionFilter<'a>,
    /// The QoS asked for.
    pub qos: QoS,
    /// 5.0: do not send me what I published.
    pub no_local: bool,
    /// 5.0: keep the RETAIN flag as published.
    pub retain_as_published: bool,
    /// 5.0: when to send retained messages.
    pub retain_handling: RetainHandling,
}

impl<'a> Subscription<'a> {
    /// A subscription as 3.1 and 3.1.1 have it: every option of 5.0 at its default.
    pub const fn new(filter: SubscriptionFilter<'a>, qos: QoS) -> Self {
        Self {
            filter,
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::SendAtSubscribe,
        }
    }
}

/// When a subscription gets the retained messages of its topics (MQTT 5.0 3.8.3.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(u8)]
pub enum RetainHandling {
    /// Whenever it is made, as in 3.1.1 [MQTT-3.3.1-6].
    #[default]
    SendAtSubscribe = 0,
    /// When it did not exist before.
    SendIfNew = 1,
    /// Never.
    DoNotSend = 2,
}

/// SUBACK.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct SubAck<'a> {
    /// The id of the SUBSCRIBE [MQTT-2.3.1-7].
    pub id: PacketId,
    /// 5.0 only; empty otherwise.
    pub properties: Properties<'a>,
    /// One for each filter, in order [MQTT-3.9.3-1].
    pub codes: ReasonCodes<'a>,
}

/// UNSUBSCRIBE.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Unsubscribe<'a> {
    /// Its id, which the UNSUBACK repeats.
    pub id: PacketId,
    /// 5.0 only; empty otherwise.
    pub properties: Properties<'a>,
    /// The filters, at least one [MQTT-3.10.3-2].
    pub filters: Filters<'a>,
}

/// UNSUBACK.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct UnsubAck<'a> {
    /// The id of the UNSUBSCRIBE [MQTT-2.3.1-7].
    pub id: PacketId,
    /// 5.0 only; empty otherwise.
    pub properties: Properties<'a>,
    /// 5.0: one for each filter, in order; empty otherwise.
    pub codes: ReasonCodes<'a>,
}

/// DISCONNECT.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Disconnect<'a> {
    /// 5.0; `Success` (a normal disconnection) otherwise.
    pub reason: ReasonCode,
    /// 5.0 only; empty otherwise.
    pub properties: Properties<'a>,
}

/// AUTH (5.0 only).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Auth<'a> {
    /// `Success`, `ContinueAuthentication` or `ReAuthenticate`.
    pub reason: ReasonCode,
    /// With the Authentication Method, unless there are none and the reason is `Success`.
    pub properties: Properties<'a>,
}

impl Auth<'_> {
    /// An Authentication Method must be named, unless the packet says no more than `Success`
    /// (MQTT 5.0 3.15.2.1, 3.15.2.2.2).
    pub(crate) fn check_method(&self) -> Checked<()> {
        let bare = self.reason == ReasonCode::Success && self.properties.is_empty();
        if bare || self.properties.has(AUTHENTICATION_METHOD) {
            Ok(())
        } else {
            Err(rules::AUTH_METHOD_MISSING)
        }
    }
}
