//! The Control Packets, one enum for all versions, borrowing from the input.

use crate::ids::PacketId;
use crate::properties::Properties;
use crate::reason::{ConnectReturnCode, ProtocolVersion, QoS, ReasonCode};
use crate::topic::{SubscriptionFilter, TopicName};

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

/// CONNECT.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Connect<'a> {
    /// From protocol name and level.
    pub version: ProtocolVersion,
    /// Bit 7 of the level: a bridge (mosquitto's `try_private`).
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
    /// Whether the server had this client's session.
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
    /// 5.0: 0, 1 or 2: when to send retained messages.
    pub retain_handling: u8,
}
