//! Who is at the other end, as far as the connection itself shows it.

use std::fmt;
use std::net::SocketAddr;

/// The other end of a connection, before it has said anything that MQTT says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where it is.
    pub address: PeerAddress,
    /// The names in its certificate, which was verified. `None`: it showed none, or nobody asked.
    pub certificate: Option<Box<CertificateNames>>,
}

/// Where a peer is. Displayed as log lines say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerAddress {
    /// Address and port; behind a proxy that is believed, those of its client.
    Ip(SocketAddr),
    /// A process of this machine, at a unix socket. What the system knows of it.
    Unix {
        /// Its process id, where the system tells it.
        pid: Option<i32>,
        /// Its user.
        uid: u32,
    },
}

/// Who a certificate speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateNames {
    /// The Common Name of its subject, if there is just one.
    pub common_name: Option<Box<str>>,
    /// The whole subject as RFC 2253 writes it: the last part first, separated by commas.
    pub subject: Box<str>,
}

impl From<SocketAddr> for Peer {
    /// Somebody who has shown no certificate.
    fn from(address: SocketAddr) -> Self {
        Self { address: PeerAddress::Ip(address), certificate: None }
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix { pid: Some(pid), uid } => write!(f, "unix:pid={pid},uid={uid}"),
            Self::Unix { pid: None, uid } => write!(f, "unix:uid={uid}"),
        }
    }
}
