//! Who the broker must be, who we are, and what memory TLS has.

use core::net::IpAddr;

use p256::SecretKey;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{DerSignature, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use super::certificate::{Certificate, is_p256, point};
use super::der::{Der, tag};
use super::fault::CertificateFault;
use super::messages::CLIENT_HELLO_MAX;
use super::record::OVERHEAD;

/// What a connection asks for.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// Whom we call.
    pub name: ServerName<'a>,
    /// Whom we believe.
    pub trust: Trust<'a>,
    /// Our own certificate, for brokers that ask for one.
    pub identity: Option<&'a Identity<'a>>,
}

impl Settings<'_> {
    /// How long [`Buffers::transmit`] must be, in bytes: our hello or our certificate, whichever is
    /// longer.
    pub fn transmit_min(&self) -> usize {
        let name = match self.name {
            ServerName::Dns(name) => name.len(),
            ServerName::Address(_) => 0,
        };
        let certificate = self.identity.map_or(0, |identity| identity.certificate.len());
        OVERHEAD + (CLIENT_HELLO_MAX + name).max(PROOF_MAX + certificate)
    }
}

/// What goes with a certificate: the headers around it, a signature of 72 bytes, and Finished.
const PROOF_MAX: usize = 13 + 80 + 36;

/// Which name or address a certificate must be for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServerName<'a> {
    /// A name of the DNS. `*` in a certificate stands for one label, the first.
    Dns(&'a str),
    /// An address, which must stand in the certificate as one.
    Address(IpAddr),
}

impl<'a> From<&'a str> for ServerName<'a> {
    /// An address if it is one as text, otherwise a name.
    fn from(host: &'a str) -> Self {
        host.parse().map_or(Self::Dns(host), Self::Address)
    }
}

/// Whom to believe. Each list that is not empty is a condition: with both, the broker must have one
/// of the keys, and a good certificate by one of the authorities. With none, nobody is believed.
#[derive(Clone, Copy, Default, Debug)]
pub struct Trust<'a> {
    /// The broker's own key is one of these. Whatever else its certificate says counts for nothing:
    /// such a device needs no clock, and works until the broker's key changes; so pin the next key
    /// too.
    pub keys: &'a [Pin],
    /// One of these has signed the broker's certificate, which is for [`Settings::name`], for
    /// servers, and current where the device knows the time.
    pub authorities: &'a [Authority],
}

/// The SHA-256 of a key's SubjectPublicKeyInfo, as in
/// `openssl x509 -in server.crt -noout -pubkey | openssl pkey -pubin -outform der | sha256sum`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pin(pub [u8; 32]);

/// A key on P-256 whose owner may say who the broker is. It may be that of an intermediate one.
#[derive(Clone, Debug)]
pub struct Authority(VerifyingKey);

impl Authority {
    /// From its certificate in DER, whose key alone is taken: to have it here is to believe it.
    ///
    /// # Errors
    /// If that is none of X.509 version 3, or its key is not on P-256.
    pub fn from_certificate(der: &[u8]) -> Result<Self, CertificateFault> {
        Certificate::parse(der)?.key().map(Self)
    }

    /// From its SubjectPublicKeyInfo in DER.
    ///
    /// # Errors
    /// If it is not on P-256.
    pub fn from_key(der: &[u8]) -> Result<Self, CertificateFault> {
        let point = point(der).ok_or(CertificateFault::Key)?;
        VerifyingKey::from_sec1_bytes(point).map(Self).map_err(|_| CertificateFault::Key)
    }
}

impl Trust<'_> {
    /// Whether to believe who shows this certificate: the key that it must prove now.
    pub(super) fn check(
        &self,
        certificate: &[u8],
        name: ServerName<'_>,
        now: Option<u64>,
    ) -> Result<VerifyingKey, CertificateFault> {
        let certificate = Certificate::parse(certificate)?;
        if !self.keys.is_empty() {
            let pin = Pin(Sha256::digest(certificate.key_info).into());
            self.keys.iter().find(|key| **key == pin).ok_or(CertificateFault::NotPinned)?;
        }
        if !self.authorities.is_empty() || self.keys.is_empty() {
            let mut authorities = self.authorities.iter();
            authorities
                .find(|authority| certificate.is_signed_by(&authority.0))
                .ok_or(CertificateFault::Untrusted)?;
            now.map_or(Ok(()), |now| certificate.check_time(now))?;
            certificate.check_use(name)?;
        }
        certificate.key()
    }
}

/// Our certificate and its key.
#[derive(Debug)]
pub struct Identity<'a> {
    certificate: &'a [u8],
    key: SigningKey,
}

impl<'a> Identity<'a> {
    /// A certificate in DER, and its key on P-256 in DER: PKCS#8, or SEC 1 as in `EC PRIVATE KEY`.
    ///
    /// # Errors
    /// If one of them is none, or they do not go together (`Key`).
    pub fn new(certificate: &'a [u8], key: &[u8]) -> Result<Self, CertificateFault> {
        let scalar = pkcs8(key).or_else(|| sec1(key)).ok_or(CertificateFault::Key)?;
        let key = SecretKey::from_slice(scalar).map_err(|_| CertificateFault::Key)?;
        let key = SigningKey::from(key);
        if Certificate::parse(certificate)?.key()? == *key.verifying_key() {
            Ok(Self { certificate, key })
        } else {
            Err(CertificateFault::Key)
        }
    }

    pub(super) fn certificate(&self) -> &'a [u8] {
        self.certificate
    }

    /// Deterministic (RFC 6979): it takes no random numbers.
    pub(super) fn sign(&self, bytes: &[u8]) -> DerSignature {
        self.key.sign(bytes)
    }
}

/// The secret number in a PrivateKeyInfo (RFC 5208) for P-256.
fn pkcs8(key: &[u8]) -> Option<&[u8]> {
    let mut info = Der(key).sequence()?;
    info.expect(tag::INTEGER)?;
    is_p256(info.sequence()?)?;
    sec1(info.expect(tag::OCTET_STRING)?)
}

/// That in an ECPrivateKey (RFC 5915).
fn sec1(key: &[u8]) -> Option<&[u8]> {
    let mut key = Der(key).sequence()?;
    key.expect(tag::INTEGER)?;
    key.expect(tag::OCTET_STRING).filter(|scalar| scalar.len() == 32)
}

/// Memory of the caller's.
#[derive(Debug)]
pub struct Buffers<'b> {
    /// Holds one record of the broker, and a message of which it is a part: its longest record and
    /// 22 bytes, and its certificates besides if they do not fit into one record. With 16,645 bytes
    /// any broker will do. With less, it is asked for shorter ones (RFC 6066, section 4) if our own
    /// certificate fits into one; OpenSSL heeds that, rustls does not; Martlet has
    /// `tls_fragment_bytes_max`.
    pub receive: &'b mut [u8],
    /// Holds one record of ours, and at least [`Settings::transmit_min`].
    pub transmit: &'b mut [u8],
}

/// What a machine has that no program can have by itself.
pub trait Platform {
    /// Fills all of it with random numbers that nobody can guess: from hardware, or from a
    /// generator for cryptography that was seeded by it. Who guesses them reads everything.
    fn random(&mut self, bytes: &mut [u8]);

    /// Seconds since 1970, where they are known for certain. `None` takes certificates that are
    /// over.
    fn unix_time(&mut self) -> Option<u64>;
}
