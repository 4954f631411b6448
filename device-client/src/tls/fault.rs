//! Why there is no connection, by who can do something about it.

use core::fmt;

use embedded_io_async::ErrorKind;

/// Why TLS with the broker did not come about, or ended. Nothing that was not proved to be the
/// broker's was given to the program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The network below failed, or was closed without a word. It is tried again.
    Network(ErrorKind),
    /// What answers speaks no TLS: another port, or a listener without a certificate.
    NotTls,
    /// It speaks no TLS 1.3.
    Version,
    /// It refuses us, and says why with this number (RFC 8446, section 6). 42 to 48 and 116 are
    /// about our certificate, 40 and 71 about what its key is: it must be ECDSA on P-256.
    Alert(u8),
    /// It asks for another group than P-256 first, and there is none here: let it take P-256.
    HelloRetryRequest,
    /// It takes no signatures of ECDSA on P-256, which is what our certificate has.
    SignatureSchemes,
    /// Who answers is not whom we trust, or has a certificate that is not good.
    Certificate(CertificateFault),
    /// It showed a good certificate and cannot prove that it is its own.
    Proof,
    /// What it sent was not sealed with the keys that were agreed on: somebody is in between.
    Forged,
    /// It sent in the clear what must be sealed: somebody is in between.
    Unsealed,
    /// A message that breaks the rules of TLS 1.3.
    Malformed,
    /// A message of this type (RFC 8446, section 4) that may not come, or not now.
    Unexpected(u8),
    /// A record of this type (RFC 8446, section 5.1) that may not come, or not now.
    UnexpectedRecord(u8),
    /// It sends record after record that holds nothing.
    Idle,
    /// Its record takes so many bytes, more than [`Buffers::receive`] has: make that larger, or
    /// the broker's records smaller (`tls_fragment_bytes_max`).
    ///
    /// [`Buffers::receive`]: super::settings::Buffers::receive
    RecordTooLong(usize),
    /// Its certificates take so many bytes, more than [`Buffers::receive`] has.
    ///
    /// [`Buffers::receive`]: super::settings::Buffers::receive
    MessageTooLong(usize),
    /// [`Buffers::transmit`] is smaller than
    /// [`transmit_min`](super::settings::Settings::transmit_min) says.
    ///
    /// [`Buffers::transmit`]: super::settings::Buffers::transmit
    TransmitTooSmall,
    /// The source of random numbers gives the same ones again and again.
    Random,
    /// So much was said with one key that it must be changed: a new connection does that.
    Worn,
}

/// What is wrong with the broker's certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CertificateFault {
    /// It is no certificate of X.509 version 3 in DER.
    Malformed,
    /// Its key is not on P-256.
    Key,
    /// The broker's key is not the one that is pinned.
    NotPinned,
    /// None of our authorities has signed it.
    Untrusted,
    /// It is not for the name or address that we called.
    Name,
    /// It is over.
    Expired,
    /// It has not begun. Is the device's clock right?
    NotYetValid,
    /// It is an authority's, which may sign others and serve nobody.
    Authority,
    /// It is not for servers (its key usage or extended key usage).
    Purpose,
    /// It has an extension that must be understood, and is not.
    Extension,
}

impl Fault {
    /// The alert by which the broker, and its log, hear of it.
    pub(crate) fn alert(self) -> Option<u8> {
        Some(match self {
            Self::Network(_) | Self::NotTls | Self::Alert(_) | Self::Worn => return None,
            Self::Version => 70,
            Self::HelloRetryRequest | Self::SignatureSchemes => 40,
            Self::Certificate(fault) => fault.alert(),
            Self::Proof => 51,
            Self::Forged => 20,
            Self::Malformed => 50,
            Self::Unsealed | Self::Unexpected(_) | Self::UnexpectedRecord(_) | Self::Idle => 10,
            Self::RecordTooLong(_) => 22,
            Self::MessageTooLong(_) | Self::TransmitTooSmall | Self::Random => 80,
        })
    }
}

impl CertificateFault {
    fn alert(self) -> u8 {
        match self {
            Self::Malformed | Self::Name => 42,
            Self::Key | Self::Authority | Self::Purpose | Self::Extension => 43,
            Self::Expired | Self::NotYetValid => 45,
            Self::NotPinned => 46,
            Self::Untrusted => 48,
        }
    }
}

impl From<CertificateFault> for Fault {
    fn from(fault: CertificateFault) -> Self {
        Self::Certificate(fault)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(kind) => write!(f, "the network below TLS failed: {kind:?}"),
            Self::NotTls => f.write_str("no TLS answers at this port"),
            Self::Version => f.write_str("the broker speaks no TLS 1.3"),
            Self::Alert(number) => write!(f, "the broker refuses us with the TLS alert {number}"),
            Self::HelloRetryRequest => f.write_str("the broker does not take P-256"),
            Self::SignatureSchemes => f.write_str("the broker takes no signature by P-256"),
            Self::Certificate(fault) => write!(f, "the broker's certificate: {fault}"),
            Self::Proof => f.write_str("the broker's certificate is not its own"),
            Self::Forged => f.write_str("a record was not sealed by the broker"),
            Self::Unsealed => f.write_str("a record came in the clear that must be sealed"),
            Self::Malformed => f.write_str("a message that is not of TLS 1.3"),
            Self::Unexpected(kind) => write!(f, "an unexpected message, of type {kind}"),
            Self::UnexpectedRecord(kind) => write!(f, "an unexpected record, of type {kind}"),
            Self::Idle => f.write_str("one record after the other holds nothing"),
            Self::RecordTooLong(len) => {
                write!(f, "a record of {len} bytes does not fit into the receive buffer")
            }
            Self::MessageTooLong(len) => {
                write!(f, "a message of {len} bytes does not fit into the receive buffer")
            }
            Self::TransmitTooSmall => f.write_str("the transmit buffer is too small"),
            Self::Random => f.write_str("the random numbers are not random"),
            Self::Worn => f.write_str("the key is worn out"),
        }
    }
}

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "it is none of X.509 version 3",
            Self::Key => "its key is not on P-256",
            Self::NotPinned => "its key is not the pinned one",
            Self::Untrusted => "none of our authorities has signed it",
            Self::Name => "it is for another name",
            Self::Expired => "it has expired",
            Self::NotYetValid => "it is not valid yet",
            Self::Authority => "it is an authority's",
            Self::Purpose => "it is not for servers",
            Self::Extension => "it has an extension that is not known here",
        })
    }
}

impl core::error::Error for Fault {}

impl embedded_io_async::Error for Fault {
    fn kind(&self) -> ErrorKind {
        if let Self::Network(kind) = self { *kind } else { ErrorKind::Other }
    }
}
