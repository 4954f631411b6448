//! What is wrong with a peer, in words for the log.

use std::fmt;
use std::io;

use rustls::{CertificateError, Error, InvalidMessage, PeerIncompatible};

/// TLS that cannot go on.
#[derive(Debug)]
pub struct Broken {
    error: Error,
    /// What the peer speaks instead, if it never spoke TLS.
    instead: Option<&'static str>,
}

impl Broken {
    /// The error that these bytes brought.
    pub(super) fn new(error: Error, bytes: &[u8]) -> Self {
        let instead = match error {
            Error::InvalidMessage(InvalidMessage::InvalidContentType) => Some(spoken(bytes)),
            _ => None,
        };
        Self { error, instead }
    }
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self { error, instead: None }
    }
}

impl From<Broken> for io::Error {
    fn from(broken: Broken) -> Self {
        Self::new(io::ErrorKind::InvalidData, broken)
    }
}

impl std::error::Error for Broken {}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.instead, &self.error) {
            (Some(instead), _) => write!(f, "{instead}, and the port takes TLS"),
            (None, Error::NoCertificatesPresented) => {
                f.write_str("it shows no certificate, and the listener wants one")
            }
            (None, Error::InvalidCertificate(error)) => certificate(error, f),
            (None, Error::AlertReceived(alert)) => {
                write!(f, "it refuses us with the TLS alert {alert:?}")
            }
            (None, Error::PeerIncompatible(what)) => incompatible(what, f),
            (None, error) => write!(f, "TLS: {error}"),
        }
    }
}

/// What bytes are that are no TLS.
fn spoken(bytes: &[u8]) -> &'static str {
    const HTTP: [&[u8]; 4] = [b"GET ", b"HEAD", b"POST", b"OPTI"];
    match bytes {
        [0x10, ..] => "this is MQTT without TLS",
        _ if HTTP.iter().any(|method| bytes.starts_with(method)) => {
            "this is HTTP or WebSocket without TLS"
        }
        _ => "this is no TLS",
    }
}

fn certificate(error: &CertificateError, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    use CertificateError as E;
    f.write_str("its certificate ")?;
    match error {
        E::Expired | E::ExpiredContext { .. } => f.write_str("has expired"),
        E::NotValidYet | E::NotValidYetContext { .. } => f.write_str("is not valid yet"),
        E::Revoked => f.write_str("is revoked"),
        E::UnknownIssuer => f.write_str("is signed by nobody in the listener's cafile or capath"),
        E::UnknownRevocationStatus => {
            f.write_str("is of an issuer of whom the listener's crlfile has no list")
        }
        E::ExpiredRevocationList | E::ExpiredRevocationListContext { .. } => {
            f.write_str("may be good, but its list of revoked certificates is outdated")
        }
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => {
            f.write_str("is not for clients (its extended key usage)")
        }
        E::BadSignature => f.write_str("has a signature that is not its issuer's"),
        other => write!(f, "is no good: {other}"),
    }
}

fn incompatible(what: &PeerIncompatible, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    use PeerIncompatible as P;
    match what {
        P::Tls12NotOffered
        | P::Tls12NotOfferedOrEnabled
        | P::ServerTlsVersionIsDisabledByOurConfig
        | P::SupportedVersionsExtensionRequired
        | P::ServerDoesNotSupportTls12Or13 => {
            f.write_str("it speaks no version of TLS that the listener does")
        }
        P::NoCipherSuitesInCommon => f.write_str("it has no cipher in common with the listener"),
        P::NoKxGroupsInCommon => {
            f.write_str("it has no group for the key exchange in common with the listener")
        }
        P::NoSignatureSchemesInCommon => {
            f.write_str("it cannot check signatures of the listener's key")
        }
        other => write!(f, "TLS: {other:?}"),
    }
}
