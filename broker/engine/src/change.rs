//! The facts that must survive: what the store keeps, and what an engine starts from.

use martlet_codec::ids::PacketId;
use martlet_codec::reason::QoS;

use crate::input::Time;
use crate::message::Message;

/// The name of a message in the store: given when it is first enqueued for a session that outlives
/// its connection, never given twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MessageKey(pub u64);

/// One durable fact. Only sessions with Clean Session 0 make any, and retained messages.
///
/// Applied in order to what was there before they give exactly what [`Snapshot`] must say. Sessions
/// are named by client id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The session exists from now on.
    SaveSession {
        /// Whose.
        client_id: Box<str>,
    },
    /// The session and all it held is gone.
    DropSession {
        /// Whose.
        client_id: Box<str>,
    },
    /// The session's connection ended at this time (its expiry counts from here), or `None`: it is
    /// connected.
    Detach {
        /// Whose.
        client_id: Box<str>,
        /// Since when.
        since: Option<Time>,
    },
}
