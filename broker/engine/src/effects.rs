//! What the engine answers: facts to keep, packets to send, links to close, news to log.

use std::sync::Arc;

use martlet_codec::ids::PacketId;
use martlet_codec::packet::{
    Ack, ConnAck, ConnAckCode, Delivery, Packet, Publish, SubAck, UnsubAck,
};
use martlet_codec::payload::ReasonCodes;
use martlet_codec::properties::Properties;
use martlet_codec::reason::{ConnectReturnCode, ProtocolVersion, ReasonCode};

use crate::change::Change;
use crate::counters::PacketKind;
use crate::filter::Filter;
use crate::history::{Order, Refusal};
use crate::input::{LinkId, LostCause};
use crate::message::Message;

/// Everything that follows from the inputs handled since it was last emptied, each list in order.
#[derive(Debug, Default)]
pub struct Effects {
    /// Facts to keep, for the store.
    pub changes: Vec<Change>,
    /// Packets to send, for the links.
    pub outgoing: Vec<Outgoing>,
    /// Links to close once what stands in `outgoing` before them is sent.
    pub farewells: Vec<(LinkId, Farewell)>,
    /// News for the log.
    pub notices: Vec<Notice>,
    /// What is to be read of what was recorded.
    pub history: Vec<Order>,
}

/// One packet for one link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// To whom.
    pub link: LinkId,
    /// What.
    pub packet: OutPacket,
    /// Whether it must wait until the changes of its own batch are on disk (I2). Whatever is queued
    /// behind it on the same link waits with it.
    pub promise: bool,
}

/// A packet to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutPacket {
    /// CONNACK.
    ConnAck {
        /// Whether the client's session was there [MQTT-3.2.2-1] to [MQTT-3.2.2-4].
        session_present: bool,
        /// The answer.
        code: ConnectReturnCode,
    },
    /// PUBLISH.
    Publish {
        /// Topic and payload. Its own QoS and RETAIN flag are the publisher's: the two fields below
        /// are what this receiver gets.
        message: Message,
        /// QoS with Packet Identifier and DUP.
        delivery: Delivery,
        /// The RETAIN flag towards this receiver [MQTT-3.3.1-8] [MQTT-3.3.1-9].
        retain: bool,
    },
    /// PUBACK.
    PubAck(PacketId),
    /// PUBREC.
    PubRec(PacketId),
    /// PUBREL.
    PubRel(PacketId),
    /// PUBCOMP.
    PubComp(PacketId),
    /// SUBACK: granted QoS or 0x80 for each filter, in order. They stand behind one word, so that a
    /// packet of any kind takes no more than a PUBLISH.
    SubAck(PacketId, Box<Box<[u8]>>),
    /// UNSUBACK.
    UnsubAck(PacketId),
    /// PINGRESP.
    PingResp,
}

impl OutPacket {
    /// What every packet costs its link's outbox besides topic and payload: headers and the
    /// outbox's own entry, rounded up.
    pub const COST_BASE: u32 = 64;

    /// How much of a link's room this takes: [`Self::COST_BASE`] plus topic and payload. A packet
    /// may be sent while any room is left, so that the largest packet always passes.
    pub fn cost(&self) -> u32 {
        match self {
            Self::Publish { message, .. } => Self::publish_cost(message),
            Self::SubAck(_, codes) => {
                Self::COST_BASE + u32::try_from(codes.len()).unwrap_or(u32::MAX / 2)
            }
            Self::ConnAck { .. }
            | Self::PubAck(_)
            | Self::PubRec(_)
            | Self::PubRel(_)
            | Self::PubComp(_)
            | Self::UnsubAck(_)
            | Self::PingResp => Self::COST_BASE,
        }
    }

    /// The same for a PUBLISH of this message.
    pub(crate) fn publish_cost(message: &Message) -> u32 {
        Self::COST_BASE + u32::try_from(message.len()).unwrap_or(u32::MAX / 2)
    }

    /// Its kind.
    pub fn kind(&self) -> PacketKind {
        match self {
            Self::ConnAck { .. } => PacketKind::ConnAck,
            Self::Publish { .. } => PacketKind::Publish,
            Self::PubAck(_) => PacketKind::PubAck,
            Self::PubRec(_) => PacketKind::PubRec,
            Self::PubRel(_) => PacketKind::PubRel,
            Self::PubComp(_) => PacketKind::PubComp,
            Self::SubAck(..) => PacketKind::SubAck,
            Self::UnsubAck(_) => PacketKind::UnsubAck,
            Self::PingResp => PacketKind::PingResp,
        }
    }

    /// The packet for the codec, as MQTT 3.1 and 3.1.1 have it.
    pub fn as_packet(&self) -> Packet<'_> {
        match self {
            Self::ConnAck { session_present, code } => Packet::ConnAck(ConnAck {
                session_present: *session_present,
                code: ConnAckCode::V3(*code),
                properties: Properties::EMPTY,
            }),
            Self::Publish { message, delivery, retain } => Packet::Publish(Publish {
                delivery: *delivery,
                retain: *retain,
                topic: Some(message.topic()),
                properties: Properties::EMPTY,
                payload: message.payload(),
            }),
            Self::PubAck(id) => Packet::PubAck(ack(*id)),
            Self::PubRec(id) => Packet::PubRec(ack(*id)),
            Self::PubRel(id) => Packet::PubRel(ack(*id)),
            Self::PubComp(id) => Packet::PubComp(ack(*id)),
            Self::SubAck(id, codes) => Packet::SubAck(SubAck {
                id: *id,
                properties: Properties::EMPTY,
                codes: ReasonCodes::new(codes).expect("granted QoS and 0x80 are reason codes"),
            }),
            Self::UnsubAck(id) => Packet::UnsubAck(UnsubAck {
                id: *id,
                properties: Properties::EMPTY,
                codes: ReasonCodes::EMPTY,
            }),
            Self::PingResp => Packet::PingResp,
        }
    }
}

fn ack(id: PacketId) -> Ack<'static> {
    Ack { id, reason: ReasonCode::Success, properties: Properties::EMPTY }
}

/// Why we close a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// The client sent DISCONNECT.
    Disconnected,
    /// CONNECT was refused; the CONNACK says how [MQTT-3.2.2-5].
    Refused(ConnectReturnCode),
    /// Another connection uses the same client id now [MQTT-3.1.4-2].
    TakenOver,
    /// Nothing came for one and a half times the keep-alive [MQTT-3.1.2-24].
    KeepAliveExceeded,
    /// The client broke a rule [MQTT-4.8.0-1].
    ProtocolViolation {
        /// The rule's id.
        rule: &'static str,
    },
    /// A bound was reached that leaves no other way.
    LimitReached {
        /// The bound's name in [`Limits`](crate::limits::Limits).
        limit: &'static str,
    },
    /// The broker stops.
    ShuttingDown,
}

/// News for the log, in the engine's words; the driver adds the address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A client is connected.
    Connected {
        /// Its link.
        link: LinkId,
        /// Its id, as given or as assigned.
        client_id: Arc<str>,
        /// What it speaks.
        version: ProtocolVersion,
        /// Clean Session.
        clean_session: bool,
        /// Seconds.
        keep_alive_s: u16,
        /// User Name.
        user_name: Option<Box<str>>,
    },
    /// A client is gone.
    Disconnected {
        /// Its link.
        link: LinkId,
        /// Its id.
        client_id: Arc<str>,
        /// Why.
        cause: DisconnectCause,
    },
    /// A connect was refused.
    Refused {
        /// Its link.
        link: LinkId,
        /// Its id.
        client_id: Arc<str>,
        /// How.
        code: ConnectReturnCode,
        /// Why, in a few words.
        reason: &'static str,
    },
    /// A message of this client was lost to a bound, for the first time since it took what fills
    /// its outbox twice without a loss.
    Dropping {
        /// Its id.
        client_id: Arc<str>,
        /// The bound's name in [`Limits`](crate::limits::Limits).
        limit: &'static str,
    },
    /// A message was delivered but not retained, for the first time since there was room again.
    NotRetained {
        /// The bound's name in [`Limits`](crate::limits::Limits).
        limit: &'static str,
    },
    /// A bridge of this broker and another session lead to the same broker: what one of them brings
    /// does not go back over the other, but what both carry arrives there twice.
    SameBroker {
        /// The one that said so last.
        client_id: Arc<str>,
        /// The other one.
        other: Arc<str>,
    },
    /// Filters of one SUBSCRIBE were refused.
    SubscriptionsRefused {
        /// Whose.
        client_id: Arc<str>,
        /// How many.
        count: u64,
        /// The bound's name in [`Limits`](crate::limits::Limits), or of
        /// [`FILTERS_MAX`](crate::input::FILTERS_MAX); `None`: they are denied or ask for history,
        /// as those that were told of before.
        limit: Option<&'static str>,
    },
    /// A client published what it may not publish: counted, acknowledged and not routed.
    PublishDenied {
        /// Whose.
        client_id: Arc<str>,
        /// What.
        message: Message,
        /// How it came; at QoS 0 where it was a will.
        delivery: Delivery,
    },
    /// A client asked for history that it does not get.
    HistoryRefused {
        /// Whose.
        client_id: Arc<str>,
        /// What it asked for.
        filter: Filter,
        /// Why not.
        refusal: Refusal,
    },
    /// A client subscribed to what it may not subscribe to.
    SubscribeDenied {
        /// Whose.
        client_id: Arc<str>,
        /// To what.
        filter: Filter,
    },
    /// A session ended by its expiry.
    SessionExpired {
        /// Whose.
        client_id: Arc<str>,
    },
}

/// Why a client is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DisconnectCause {
    /// We closed.
    Farewell(Farewell),
    /// It was lost.
    Lost(LostCause),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_takes_two_words() {
        assert_eq!((size_of::<OutPacket>(), size_of::<Outgoing>()), (16, 32));
    }
}
