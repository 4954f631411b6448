//! What the engine is told.

use std::convert::Infallible;
use std::sync::Arc;

use martlet_codec::ids::PacketId;
use martlet_codec::packet::{self, Delivery, Packet};
use martlet_codec::reason::{ProtocolVersion, QoS};
use martlet_codec::topic::SubscriptionFilter;

use crate::counters::PacketKind;
use crate::filter::Filter;
use crate::history::{Dialect, HistoryId};
use crate::limits::Limits;
use crate::message::Message;
use crate::permit::Permission;
use crate::recording::Stream;

/// Milliseconds since an epoch that the caller chose (the driver: Unix time at start, then the
/// monotonic clock). Never goes backward within one engine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Time(pub u64);

/// One client's way in and out: a slot in the driver's table of links, and which use of that slot.
///
/// Slots are small and dense, so that the engine may keep a table by slot; the generation tells a
/// new link from an old one in the same slot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkId {
    /// Index in the driver's table.
    pub slot: u32,
    /// Grows with each use of the slot.
    pub generation: u32,
}

/// Filters of one SUBSCRIBE that are looked at, so that no packet keeps the engine from others for
/// long: as many as a session may have if nothing is said. At the bound: SUBACK 0x80 for each of
/// the others, which are counted and told of as subscriptions that are refused.
pub const FILTERS_MAX: usize = 10_000;

/// What the log calls that bound.
pub(crate) const FILTERS_MAX_NAME: &str = "filters_per_packet_max";

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// A CONNECT arrived on a new link and its user may connect.
    Open {
        /// The new link. From here until [`Lost`](Input::Lost) or its farewell it is known.
        link: LinkId,
        /// What the CONNECT says.
        connect: Box<Connect>,
    },
    /// A packet arrived. A packet of a link that is not known is ignored [MQTT-3.1.4-5].
    Packet {
        /// From whom.
        link: LinkId,
        /// What.
        packet: InPacket,
    },
    /// The Network Connection ended without our asking: closed, broken, or full of bad bytes.
    Lost {
        /// Which.
        link: LinkId,
        /// Why (for the notice; the will fires in every case [MQTT-3.1.2-8]).
        cause: LostCause,
    },
    /// The link has sent things: this much of [`Connect::room_bytes`] is free again, in the unit of
    /// [`OutPacket::cost`](crate::effects::OutPacket::cost). The caller may gather
    /// several packets' worth, but must report at the latest when half of the room is to be given
    /// back: nothing else makes a queue or replay go on that waits for room, and these wait only
    /// while at least half of it is taken.
    Room {
        /// Which.
        link: LinkId,
        /// How much was freed since the last report.
        bytes: u32,
    },
    /// A message from inside the broker (bridge, HTTP). Routed like any other.
    Publish(Message),
    /// The rules changed: from here on these links have these permits. Sessions that are away have
    /// none until they come back with one.
    Permits(Vec<(LinkId, Permission)>),
    /// More, or less, is known of what one client may do. The rules are the same for all others.
    Permit {
        /// Its.
        link: LinkId,
        /// What it may do from here on.
        permit: Permission,
    },
    /// From here on these streams record, and no others.
    Streams(Vec<Stream>),
    /// From here on somebody reads the log for clients that ask for history, and answers orders;
    /// this is how people write where it begins. Before that, none is granted.
    ServeHistory(Dialect),
    /// A batch of a history, in the log's order, and one at least: the answer to an
    /// [`Order`](crate::history::Order).
    History {
        /// Which.
        id: HistoryId,
        /// As they were published.
        messages: Vec<Message>,
    },
    /// From here on the session with this client id is one of a bridge of this broker, or is none
    /// any more. While it is one it does not expire: its other broker may be away for longer than
    /// any client. Of those that a broker starts with before its first [`Due`](Self::Due).
    OwnBridge {
        /// Its.
        client_id: Arc<str>,
        /// Whether it is one.
        is_one: bool,
    },
    /// New bounds, for a broker whose operator changed them while it runs. What is held already
    /// stays held, even beyond a bound that was lowered. The hash seed and the
    /// broker's id stay as they were.
    Limits(Box<Limits>),
    /// Byte and connection totals that only the driver knows, for `$SYS`.
    Traffic(Box<Traffic>),
    /// How the store is, which only the driver knows, for `$SYS`.
    Store(Box<StoreHealth>),
    /// The time that [`next_deadline`](crate::Engine::next_deadline) named has come.
    Due,
    /// The broker stops: every link gets a farewell, wills are published, sessions stay.
    Shutdown,
}

/// A CONNECT that was decoded and admitted.
#[derive(Clone, Debug)]
pub struct Connect {
    /// 3.1 or 3.1.1 (5.0 later).
    pub version: ProtocolVersion,
    /// Empty: the engine assigns one, or refuses [MQTT-3.1.3-6] [MQTT-3.1.3-8].
    pub client_id: Box<str>,
    /// Clean Session.
    pub clean_session: bool,
    /// It is a bridge (bit 7 of the Protocol Level): it never gets back what it published, and
    /// sees the RETAIN flags of publishers, so that the other broker retains the same.
    pub bridge: bool,
    /// It is a part of the broker: no Keep Alive is asked of it.
    pub inside: bool,
    /// Seconds; 0 is none.
    pub keep_alive_s: u16,
    /// The Will: a message, with its QoS and RETAIN flag.
    pub will: Option<Message>,
    /// Who the client is, when it said so.
    pub user_name: Option<Box<str>>,
    /// What the client may do from here on; `None`: everything.
    pub permit: Permission,
    /// How much may stand in this link's outbox. Each packet takes its
    /// [`cost`](crate::effects::OutPacket::cost); while any room is left one more may go.
    /// [`Room`](Input::Room) gives it back.
    pub room_bytes: u32,
    /// Entropy for an assigned client id, if one is needed (the engine has no randomness).
    pub nonce: u64,
}

/// A packet from a client, owned. What depends on one packet alone was checked by the codec.
#[derive(Clone, Debug)]
pub enum InPacket {
    /// PUBLISH.
    Publish {
        /// Topic, payload, QoS, RETAIN flag.
        message: Message,
        /// QoS with Packet Identifier and DUP.
        delivery: Delivery,
    },
    /// PUBLISH of which others have said that its client may not: it is acknowledged, and goes
    /// nowhere.
    DeniedPublish {
        /// As above.
        message: Message,
        /// As above.
        delivery: Delivery,
    },
    /// PUBACK.
    PubAck(PacketId),
    /// PUBREC.
    PubRec(PacketId),
    /// PUBREL.
    PubRel(PacketId),
    /// PUBCOMP.
    PubComp(PacketId),
    /// SUBSCRIBE.
    Subscribe {
        /// The id.
        id: PacketId,
        /// Filters with the QoS asked for, in order: of one packet [`FILTERS_MAX`] at the most.
        subscriptions: Box<[(Filter, QoS)]>,
        /// How many more the packet has. They are refused.
        beyond: u32,
    },
    /// UNSUBSCRIBE.
    Unsubscribe {
        /// The id.
        id: PacketId,
        /// Filters, in order.
        filters: Box<[Filter]>,
    },
    /// PINGREQ.
    PingReq,
    /// DISCONNECT.
    Disconnect,
    /// A packet that a client may not send, or not now (a second CONNECT, a CONNACK...).
    Forbidden {
        /// The id of the rule that it breaks.
        rule: &'static str,
    },
}

impl Connect {
    /// A client of MQTT 3.1.1 with Clean Session that says no more than who it is, and may do
    /// everything.
    pub fn clean(client_id: impl Into<Box<str>>, room_bytes: u32) -> Self {
        Self {
            version: ProtocolVersion::V311,
            client_id: client_id.into(),
            clean_session: true,
            bridge: false,
            inside: false,
            keep_alive_s: 0,
            will: None,
            user_name: None,
            permit: None,
            room_bytes,
            nonce: 0,
        }
    }

    /// What the engine must know of a CONNECT of somebody who may do everything. `room_bytes` and
    /// `nonce`: see the fields.
    pub fn from_packet(packet: &packet::Connect<'_>, room_bytes: u32, nonce: u64) -> Self {
        Self {
            version: packet.version,
            client_id: packet.client_id.into(),
            clean_session: packet.clean_session,
            bridge: packet.bridge,
            inside: false,
            keep_alive_s: packet.keep_alive_s,
            will: packet.will.map(|w| Message::new(w.topic, w.payload, w.qos, w.retain)),
            user_name: packet.user_name.map(Box::from),
            permit: None,
            room_bytes,
            nonce,
        }
    }
}

impl InPacket {
    /// Its kind; `None`: one that a client may not send.
    pub fn kind(&self) -> Option<PacketKind> {
        Some(match self {
            Self::Publish { .. } | Self::DeniedPublish { .. } => PacketKind::Publish,
            Self::PubAck(_) => PacketKind::PubAck,
            Self::PubRec(_) => PacketKind::PubRec,
            Self::PubRel(_) => PacketKind::PubRel,
            Self::PubComp(_) => PacketKind::PubComp,
            Self::Subscribe { .. } => PacketKind::Subscribe,
            Self::Unsubscribe { .. } => PacketKind::Unsubscribe,
            Self::PingReq => PacketKind::PingReq,
            Self::Disconnect => PacketKind::Disconnect,
            Self::Forbidden { .. } => return None,
        })
    }

    /// The owned form of a SUBSCRIBE whose filters are to become what `filter` says.
    ///
    /// # Errors
    /// When `filter` has one.
    pub fn from_subscribe<E>(
        packet: &packet::Subscribe<'_>,
        filter: impl Fn(SubscriptionFilter<'_>) -> Result<Filter, E>,
    ) -> Result<Self, E> {
        let mut asked = packet.subscriptions.iter();
        let looked_at = asked.by_ref().take(FILTERS_MAX);
        let subscriptions = looked_at.map(|asked| Ok((filter(asked.filter)?, asked.qos)));
        Ok(Self::Subscribe {
            id: packet.id,
            subscriptions: subscriptions.collect::<Result<_, E>>()?,
            beyond: u32::try_from(asked.count()).unwrap_or(u32::MAX),
        })
    }

    /// The owned form of a decoded packet. `body` is everything behind its fixed header.
    pub fn from_packet(packet: &Packet<'_>, body: &[u8]) -> Self {
        match packet {
            Packet::Publish(publish) => Self::Publish {
                message: Message::from_publish(publish, body),
                delivery: publish.delivery,
            },
            Packet::PubAck(ack) => Self::PubAck(ack.id),
            Packet::PubRec(ack) => Self::PubRec(ack.id),
            Packet::PubRel(ack) => Self::PubRel(ack.id),
            Packet::PubComp(ack) => Self::PubComp(ack.id),
            Packet::Subscribe(subscribe) => {
                let Ok(taken) = Self::from_subscribe(subscribe, |filter| {
                    Ok::<_, Infallible>(Filter::from(filter))
                });
                taken
            }
            Packet::Unsubscribe(unsubscribe) => Self::Unsubscribe {
                id: unsubscribe.id,
                filters: unsubscribe.filters.iter().map(Filter::from).collect(),
            },
            Packet::PingReq => Self::PingReq,
            Packet::Disconnect(_) => Self::Disconnect,
            Packet::Connect(_) => Self::Forbidden { rule: "MQTT-3.1.0-2" },
            // Only servers send these, and AUTH needs a method agreed on in CONNECT.
            Packet::ConnAck(_)
            | Packet::SubAck(_)
            | Packet::UnsubAck(_)
            | Packet::PingResp
            | Packet::Auth(_) => Self::Forbidden { rule: "MQTT-4.8.0-1" },
        }
    }
}

/// Why a link is gone without our asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LostCause {
    /// The peer closed its side.
    Closed,
    /// The socket broke; the operating system's words.
    Socket(Arc<str>),
    /// The bytes were no packet: closed by us.
    Malformed {
        /// The id of the rule, e.g. `MQTT-2.2.2-2`.
        rule: &'static str,
        /// What was wrong, in a few words.
        reason: &'static str,
    },
    /// A packet over the limit: closed by us.
    Oversize {
        /// The limit that it passed, in bytes.
        packet_size_max: u32,
    },
    /// Its time was over: closed by us.
    LetGo {
        /// What was over, in a few words.
        reason: &'static str,
    },
}

/// Totals since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes read from sockets.
    pub bytes_received: u64,
    /// Bytes written to sockets.
    pub bytes_sent: u64,
    /// Sockets accepted.
    pub sockets_accepted: u64,
    /// Sockets open now.
    pub sockets_open: u64,
    /// CONNECTs that were refused before the engine saw them.
    pub connects_refused: u64,
    /// Logins that failed.
    pub logins_failed: u64,
    /// Connections that were closed because their address came, or failed, too often.
    pub turned_away: u64,
    /// Connections that were closed because what must come first took too long.
    pub connect_timeouts: u64,
    /// What crosses to and from other brokers.
    pub bridges: Bridges,
    /// Packets that wait in outboxes.
    pub packets_waiting: u64,
    /// What they take there.
    pub packets_waiting_bytes: u64,
    /// Bytes of memory that the process has to itself.
    pub memory_bytes: u64,
    /// The most that it had.
    pub memory_bytes_max: u64,
    /// Lines that a destination of the log did not take.
    pub log_lines_lost: u64,
    /// How often a client began to publish faster than it may, and was read more slowly.
    pub publishers_slowed: u64,
    /// Clients and packets that got no further because nobody answered whether they may.
    pub unanswered: u64,
    /// Messages at QoS 0 that were still to be sent when their connection ended.
    pub messages_unsent: u64,
}

/// Of all bridges together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bridges {
    /// Those that are connected now.
    pub connected: u64,
    /// Connections that other brokers accepted.
    pub connections: u64,
    /// Messages that they sent to other brokers.
    pub sent: u64,
    /// Messages that they received from there.
    pub received: u64,
    /// Messages that could not cross.
    pub lost: u64,
}

/// How the store is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreHealth {
    /// What could not be read when it was opened, in words, each by itself.
    pub damage: Vec<Box<str>>,
    /// Commits that failed since start, each attempt counted.
    pub commits_failed: u64,
    /// Since when no commit has gone through; `None`: the last one did.
    pub failing_since: Option<Time>,
}

#[cfg(test)]
mod tests {
    use super::Input;

    /// Each is moved three times between its socket and what it leads to.
    #[test]
    fn an_input_is_small() {
        assert!(size_of::<Input>() <= 48, "{}", size_of::<Input>());
    }
}
