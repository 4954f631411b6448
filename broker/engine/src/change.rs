//! The facts that must survive, one at a time: what the store writes down.

use std::sync::Arc;

use martlet_codec::ids::PacketId;
use martlet_codec::reason::QoS;

use crate::filter::Filter;
use crate::input::Time;
use crate::message::Message;

/// The name of a message in the store: given when it is first enqueued for a session that outlives
/// its connection, never given twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct MessageKey(pub u64);

/// One message on its way to one session, as the facts name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    /// Which message.
    pub key: MessageKey,
    /// The QoS this session gets it at.
    pub qos: QoS,
    /// The RETAIN flag this session gets it with.
    pub retain: bool,
    /// The shared subscription it came by, if any: should this session end first, the message goes
    /// to another member.
    pub share: Option<Filter>,
}

/// One durable fact. Sessions with Clean Session 0, retained messages (but `$SYS`) and wills make
/// them.
///
/// Applied in order to what was there before they give exactly what
/// [`Snapshot`](crate::snapshot::Snapshot) must say. Sessions are named by client id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The session exists from now on, empty and connected.
    SaveSession {
        /// Whose.
        client_id: Arc<str>,
    },
    /// The session and all it held is gone (not its will).
    DropSession {
        /// Whose.
        client_id: Arc<str>,
    },
    /// The session's connection ended at this time (its expiry counts from here), or `None`: it is
    /// connected.
    Detach {
        /// Whose.
        client_id: Arc<str>,
        /// Since when.
        since: Option<Time>,
    },
    /// The session has this subscription, instead of any with the same filter.
    Subscribe {
        /// Whose.
        client_id: Arc<str>,
        /// To what.
        filter: Filter,
        /// The granted QoS.
        qos: QoS,
    },
    /// The session no longer has this subscription, nor a replay for it.
    Unsubscribe {
        /// Whose.
        client_id: Arc<str>,
        /// To what.
        filter: Filter,
    },
    /// Retained messages for this subscription are still to be sent (`pending`), or no longer.
    /// An engine that starts with a pending replay begins it again.
    Replay {
        /// Whose.
        client_id: Arc<str>,
        /// For which of its subscriptions.
        filter: Filter,
        /// Whether any are still to be sent.
        pending: bool,
    },
    /// A message that facts behind this one name, all of them of the same input: the store counts
    /// on that. It is gone with the last passage that names it.
    KeepMessage {
        /// Its name.
        key: MessageKey,
        /// The message.
        message: Message,
    },
    /// A message stands at the end of the session's queue.
    Enqueue {
        /// Whose.
        client_id: Arc<str>,
        /// Which, and how.
        passage: Passage,
    },
    /// The first message of the queue was sent: in flight under this id as the last, or gone when
    /// it had QoS 0 (`None`).
    Send {
        /// Whose.
        client_id: Arc<str>,
        /// Under which of the server's Packet Identifiers.
        id: Option<PacketId>,
    },
    /// A message was sent without passing the queue: in flight under this id as the last. Its QoS
    /// is 1 or 2.
    Deliver {
        /// Whose.
        client_id: Arc<str>,
        /// Which, and how.
        passage: Passage,
        /// Under which of the server's Packet Identifiers.
        id: PacketId,
    },
    /// PUBREC came: the message itself is no longer needed, PUBCOMP is awaited.
    Advance {
        /// Whose.
        client_id: Arc<str>,
        /// Which delivery.
        id: PacketId,
    },
    /// PUBACK or PUBCOMP came: the delivery is over.
    Settle {
        /// Whose.
        client_id: Arc<str>,
        /// Which delivery.
        id: PacketId,
    },
    /// A QoS 2 message with this id came from the client and was routed; PUBREL is awaited.
    MarkReceived {
        /// From whom.
        client_id: Arc<str>,
        /// The client's Packet Identifier.
        id: PacketId,
    },
    /// PUBREL came: the id is free.
    ForgetReceived {
        /// From whom.
        client_id: Arc<str>,
        /// The client's Packet Identifier.
        id: PacketId,
    },
    /// The retained message of its topic from now on.
    Retain {
        /// The message.
        message: Message,
    },
    /// The topic has no retained message.
    ClearRetained {
        /// The topic's name.
        topic: Box<str>,
    },
    /// A connected client's will, published should the broker not be there to see the connection
    /// end. Clients with Clean Session 1 have one too.
    KeepWill {
        /// Whose.
        client_id: Arc<str>,
        /// The message.
        will: Message,
    },
    /// The will is published or discarded.
    DropWill {
        /// Whose.
        client_id: Arc<str>,
    },
    /// A message has its place in a stream of the log.
    Record(Recorded),
}

/// A message in a stream of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The stream's name.
    pub stream: Arc<str>,
    /// Its place: offsets of a stream follow each other without a gap.
    pub offset: u64,
    /// When it came.
    pub time: Time,
    /// Who published it; `None`: the broker itself.
    pub client_id: Option<Arc<str>>,
    /// The publisher's User Name, if it gave one.
    pub user_name: Option<Arc<str>>,
    /// What was published.
    pub message: Message,
}
