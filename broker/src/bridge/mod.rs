//! # Bridges: to and from other brokers
//!
//! A bridge is a client of two brokers at a time: of this one over a
//! [`Client`](crate::driver::client::Client) of the driver, of the other one over a socket. It
//! relays Control Packets between them **under the same Packet Identifiers**, renamed topics aside,
//! and remembers nothing itself:
//!
//! - What goes out waits in the bridge's session here, kept on disk as anybody's. A PUBACK, PUBREC
//!   or PUBCOMP of the other broker goes into the engine as it comes, and only that settles the
//!   message here. So it survives the end of either broker, and one of QoS 2 arrives once, as
//!   long as the other broker keeps its session.
//! - What comes in is acknowledged to the other broker by our engine's own PUBACK or PUBREC, which
//!   wait for the disk as they do for every client.
//!
//! [`topics`] says what crosses and under which names, `relay` what each packet becomes, both
//! without a socket; `remote` opens connections, [`task`] runs a bridge.

use std::net::IpAddr;

use martlet_codec::reason::ProtocolVersion;

use crate::bridge::topics::Topics;

pub mod backoff;
mod conversation;
mod local;
mod pace;
mod relay;
mod remote;
pub mod task;
pub mod tls;
mod tolerance;
pub mod topics;

/// One bridge.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// What the log calls it.
    pub name: Box<str>,
    /// Where the other broker is: the first is tried first.
    pub addresses: Vec<Remote>,
    /// Whether to go on with the next address after each connection, instead of coming back to the
    /// first as soon as it answers.
    pub round_robin: bool,
    /// Which messages cross.
    pub topics: Topics,
    /// Who it is at the other broker.
    pub remote: Login,
    /// Its client id here.
    pub local_client_id: Box<str>,
    /// What the log and the records call its user here. It may do everything.
    pub local_user: Option<Box<str>>,
    /// Keep Alive at the other broker. 0 is none.
    pub keep_alive_s: u16,
    /// Whether the other broker forgets the session with the connection.
    pub clean_session: bool,
    /// Whether this broker does: then nothing waits while the other one is away.
    pub local_clean_session: bool,
    /// Whether it says that it is a bridge: then the other broker sends nothing back, and retained
    /// messages as such.
    pub try_private: bool,
    /// 3.1 or 3.1.1.
    pub version: ProtocolVersion,
    /// When it connects.
    pub start: Start,
    /// How long it waits between attempts.
    pub backoff: backoff::Bounds,
    /// Where it says whether it is connected.
    pub notifications: Option<Notifications>,
    /// Whether the RETAIN flag goes along.
    pub outgoing_retain: bool,
    /// Whether it unsubscribes at the other broker from what it does not want.
    pub attempt_unsubscribe: bool,
    /// Bytes of the largest packet, in either direction.
    pub packet_size_max: u32,
    /// Messages that go out in a second; 0 is no bound. At the bound: they wait.
    pub drain_per_s: u32,
    /// The address of ours to connect from.
    pub bind: Option<IpAddr>,
    /// TLS, if it is spoken.
    pub tls: Option<tls::Settings>,
}

/// An address of another broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// A name or an IP address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// Who a bridge is at the other broker.
#[derive(Clone, Debug, PartialEq)]
pub struct Login {
    /// Client id.
    pub client_id: Box<str>,
    /// User Name.
    pub user: Option<Box<str>>,
    /// Password.
    pub password: Option<Password>,
}

/// A password, kept out of what is printed.
#[derive(Clone, PartialEq)]
pub struct Password(pub Box<str>);

/// When a bridge connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// From the start on, and again whenever the connection is lost.
    Automatic,
    /// Once.
    Once,
}

/// Where a bridge says whether it is connected: "1" or "0", retained.
#[derive(Clone, Debug, PartialEq)]
pub struct Notifications {
    /// The topic, on both sides.
    pub topic: Box<str>,
    /// Whether only this broker is told.
    pub local_only: bool,
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(...)")
    }
}

impl std::fmt::Display for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}
