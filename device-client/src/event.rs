//! What the client tells the program.

use martlet_codec::ids::PacketId;
use martlet_codec::payload::ReasonCodes;
use martlet_codec::reason::QoS;

/// One thing that happened.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Event<'e> {
    /// The broker accepted the connection.
    Connected {
        /// Whether it still had the session. If not, it has forgotten the subscriptions too: those
        /// of [`Settings`](crate::settings::Settings::subscriptions) are made again by themselves.
        session_present: bool,
    },
    /// A message, or a piece of one.
    Message(Message<'e>),
    /// A message published at QoS 1 or 2 is settled: the broker has it.
    Published(PacketId),
    /// The broker answered a SUBSCRIBE.
    Subscribed {
        /// The id that [`subscribe`](crate::client::Client::subscribe) returned.
        id: PacketId,
        /// For a standing subscription, its place in
        /// [`Settings::subscriptions`](crate::settings::Settings::subscriptions).
        standing: Option<u16>,
        /// One code for each filter, in order: the QoS granted, or a failure
        /// ([`is_error`](martlet_codec::reason::ReasonCode::is_error)).
        codes: ReasonCodes<'e>,
    },
    /// The broker answered an UNSUBSCRIBE.
    Unsubscribed(PacketId),
    /// DISCONNECT was given to the network after
    /// [`disconnect`](crate::client::Client::disconnect): close it.
    Disconnected,
}

/// A message from the broker, or a piece of one: a payload that does not fit into the receive
/// buffer comes in order, piece by piece.
///
/// It is acknowledged when the program calls the client again after its last piece. If the
/// connection is lost before, the whole message comes again: a piece at offset 0 always begins
/// anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message<'e> {
    /// Its Topic Name.
    pub topic: &'e str,
    /// This piece of its payload.
    pub payload: &'e [u8],
    /// Where in the payload this piece begins.
    pub offset: usize,
    /// How long the whole payload is.
    pub len: usize,
    /// Its QoS.
    pub qos: QoS,
    /// Whether it is a retained message, sent because of a new subscription.
    pub retain: bool,
    /// Whether the broker has sent it before. QoS 2 messages come once whatever this says.
    pub dup: bool,
}

impl Message<'_> {
    /// Whether this is all of it.
    pub const fn is_whole(&self) -> bool {
        self.payload.len() == self.len
    }

    /// Whether nothing of it is to come.
    pub const fn is_last(&self) -> bool {
        self.offset + self.payload.len() == self.len
    }
}
