//! What goes wrong, by who can do something about it.

use core::fmt;

use martlet_codec::packet::PacketType;
use martlet_codec::reason::ConnectReturnCode;
use martlet_codec::v311;

/// Why something did not happen. Each variant names who can help.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// The broker refused, or broke a rule of MQTT. The connection is over; trying again by itself
    /// helps only where [`PeerFault`] says so.
    Peer(PeerFault),
    /// A bound of this client was reached: make it larger, or send less.
    Capacity(Bound),
    /// The program asked for what cannot be: change the program.
    Misuse(Misuse),
    /// The network failed: connect again when
    /// [`next_deadline`](crate::client::Client::next_deadline) has come.
    Transport(TransportFault),
}

/// What the broker did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeerFault {
    /// CONNACK refused the connection. `ServerUnavailable` passes by itself; for the others change
    /// user name, password or client id.
    Refused(ConnectReturnCode),
    /// Its bytes are no packet that a broker of MQTT 3.1.1 sends: this is none, or the wrong port.
    Malformed(v311::Malformed),
    /// A packet that a broker may not send, or not now.
    Unexpected(PacketType),
    /// An acknowledgement that does not fit what it acknowledges.
    Mismatched(PacketType),
}

/// Which bound was reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bound {
    /// The message does not fit into what is free of
    /// [`Memory::outbox`](crate::settings::Memory::outbox): publish it again when some were
    /// settled, or give more memory. Nothing of it was kept.
    Outbox,
    /// More than [`LENT_MAX`](crate::settings::LENT_MAX) payloads are lent: wait until one is
    /// settled.
    Lent,
    /// A packet other than PUBLISH does not fit into
    /// [`Memory::receive`](crate::settings::Memory::receive): give more memory.
    Receive,
    /// More than [`RECEIVED_MAX`](crate::settings::RECEIVED_MAX) messages of QoS 2 are under way
    /// from the broker. The connection ends, and the next one goes on with them.
    Received,
    /// [`Storage`](crate::client::storage::Storage) did not keep the session: nothing is promised
    /// to the broker until it does.
    Storage,
}

/// What the program did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Misuse {
    /// The topic is no Topic Name: empty, too long, or with `+`, `#` or U+0000.
    Topic,
    /// The filter is no Topic Filter, or there is none.
    Filter,
    /// No packet of MQTT 3.1.1 can say this: a text of more than 65,535 bytes, a password without
    /// a user name, an empty client id without Clean Session [MQTT-3.1.3-7].
    Settings,
    /// [`Memory::receive`](crate::settings::Memory::receive) is smaller than
    /// [`RECEIVE_MIN`](crate::settings::RECEIVE_MIN) or than the CONNECT that it must hold.
    ReceiveTooSmall,
    /// [`Memory::outbox`](crate::settings::Memory::outbox) does not hold the longest of
    /// [`Settings::subscriptions`](crate::settings::Settings::subscriptions).
    OutboxTooSmall,
    /// There is no connection: call [`attach`](crate::client::Client::attach) first, and
    /// [`detach`](crate::client::Client::detach) after an error.
    NotAttached,
}

/// What the network did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransportFault {
    /// Nothing came within [`response_ms`](crate::settings::Settings::response_ms).
    Silent,
    /// The other side closed the connection.
    Closed,
    /// No connection could be opened, or it broke.
    Failed,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(PeerFault::Refused(code)) => write!(f, "the broker refused: {code:?}"),
            Self::Peer(PeerFault::Malformed(v311::Malformed { rule })) => {
                write!(f, "not a packet of an MQTT 3.1.1 broker [{rule}]")
            }
            Self::Peer(PeerFault::Unexpected(packet)) => write!(f, "unexpected {packet:?}"),
            Self::Peer(PeerFault::Mismatched(packet)) => write!(f, "mismatched {packet:?}"),
            Self::Capacity(bound) => write!(f, "a bound was reached: {bound:?}"),
            Self::Misuse(misuse) => write!(f, "the program must change: {misuse:?}"),
            Self::Transport(fault) => write!(f, "the network failed: {fault:?}"),
        }
    }
}

impl core::error::Error for Error {}
