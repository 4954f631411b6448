//! Who a client is, by its certificate.
//!
//! webpki decides, which knows certificates of version 3. Two kinds that OpenSSL takes, and that
//! its simplest commands make, it does not know, so they are looked at here: certificates of
//! version 1, and those that are listed themselves among the signers.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved,
    SignatureScheme,
};
use x509_parser::asn1_rs::FromDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::revocation_list::CertificateRevocationList;
use x509_parser::x509::X509Version;

use crate::net::tls::der;

/// Who may sign, who is revoked, and what webpki makes of it.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) webpki: Arc<dyn ClientCertVerifier>,
    pub(super) signers: Vec<CertificateDer<'static>>,
    pub(super) lists: Vec<CertificateRevocationListDer<'static>>,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
    pub(super) ignore_dates: bool,
    /// Lists whose time is over refuse those that they could speak of.
    pub(super) lists_must_be_current: bool,
}

impl ClientCertVerifier for Verifier {
    fn offer_client_auth(&self) -> bool {
        self.webpki.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.webpki.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.webpki.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let read = der::certificate(own).ok_or(CertificateError::BadEncoding)?;
        let now = if self.ignore_dates { in_its_time(&read, others, now) } else { now };
        if self.signers.iter().any(|signer| signer == own) {
            return in_time(&read, now).map(|()| ClientCertVerified::assertion());
        }
        if read.version() == X509Version::V3 {
            return self.webpki.verify_client_cert(own, others, now);
        }
        self.verify_plain(own, &read, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match plain(own) {
            Some(own) => self.has_signed(message, &own, signed),
            None => verify_tls12_signature(message, own, signed, &self.algorithms),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        use SignatureScheme as S;
        // RFC 8446, 4.2.3: these are for certificates alone.
        let outdated = [S::RSA_PKCS1_SHA256, S::RSA_PKCS1_SHA384, S::RSA_PKCS1_SHA512];
        match plain(own) {
            Some(_) if outdated.contains(&signed.scheme) => {
                Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into())
            }
            Some(own) => self.has_signed(message, &own, signed),
            None => verify_tls13_signature(message, own, signed, &self.algorithms),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl Verifier {
    /// A certificate without extensions: a signer that is listed must have signed it itself.
    fn verify_plain(
        &self,
        own: &CertificateDer<'_>,
        read: &X509Certificate<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let signers: Vec<X509Certificate<'_>> =
            self.signers.iter().filter_map(der::certificate).collect();
        let named =
            |signer: &&X509Certificate<'_>| signer.subject().as_raw() == read.issuer().as_raw();
        let mut named = signers.iter().filter(named).peekable();
        if named.peek().is_none() {
            return Err(CertificateError::UnknownIssuer.into());
        }
        let may_sign = |s: &X509Certificate<'_>| s.version() != X509Version::V3 || s.is_ca();
        let has_signed = |signer: &&X509Certificate<'_>| {
            may_sign(signer) && der::is_signed_by(own, signer, self.algorithms.all)
        };
        let signer = named.find(has_signed).ok_or(CertificateError::BadSignature)?;
        in_time(read, now)?;
        self.is_not_revoked(read, signer, now)
    }

    fn is_not_revoked(
        &self,
        read: &X509Certificate<'_>,
        signer: &X509Certificate<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        if self.lists.is_empty() {
            return Ok(());
        }
        let mut known = false;
        for der in &self.lists {
            let Ok((_, list)) = CertificateRevocationList::from_der(der) else { continue };
            let is_signers = list.issuer().as_raw() == signer.subject().as_raw()
                && der::is_signed_by(der, signer, self.algorithms.all);
            if !is_signers {
                continue;
            }
            if list
                .iter_revoked_certificates()
                .any(|revoked| revoked.raw_serial() == read.raw_serial())
            {
                return Err(CertificateError::Revoked.into());
            }
            if self.lists_must_be_current && is_outdated(&list, now) {
                return Err(CertificateError::ExpiredRevocationList.into());
            }
            known = true;
        }
        if known { Ok(()) } else { Err(CertificateError::UnknownRevocationStatus.into()) }
    }

    fn has_signed(
        &self,
        message: &[u8],
        own: &X509Certificate<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let scheme = self.algorithms.mapping.iter().find(|(scheme, _)| *scheme == signed.scheme);
        let (_, algorithms) =
            scheme.ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        let key = own.public_key();
        algorithms
            .iter()
            .any(|algorithm| der::verifies(*algorithm, key, message, signed.signature()))
            .then(HandshakeSignatureValid::assertion)
            .ok_or_else(|| CertificateError::BadSignature.into())
    }
}

/// Whether the time of a list is over.
pub(super) fn is_outdated(list: &CertificateRevocationList<'_>, now: UnixTime) -> bool {
    list.next_update().is_some_and(|next| next.timestamp() < seconds(now))
}

/// The certificate, if it is of a version before 3.
fn plain<'a>(own: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    der::certificate(own).filter(|certificate| certificate.version() != X509Version::V3)
}

/// Whether it is the time of the certificate.
pub(super) fn in_time(read: &X509Certificate<'_>, now: UnixTime) -> Result<(), Error> {
    let validity = read.validity();
    if seconds(now) < validity.not_before.timestamp() {
        Err(CertificateError::NotValidYet.into())
    } else if seconds(now) > validity.not_after.timestamp() {
        Err(CertificateError::Expired.into())
    } else {
        Ok(())
    }
}

/// A time at which the certificate and those behind it were good, if there is one.
fn in_its_time(
    read: &X509Certificate<'_>,
    others: &[CertificateDer<'_>],
    now: UnixTime,
) -> UnixTime {
    let others: Vec<X509Certificate<'_>> = others.iter().filter_map(der::certificate).collect();
    let times = || [read].into_iter().chain(&others).map(|certificate| certificate.validity());
    let from = times().map(|time| time.not_before.timestamp()).max().unwrap_or_default();
    let until = times().map(|time| time.not_after.timestamp()).min().unwrap_or_default();
    let time = seconds(now).min(until).max(from);
    let since_epoch = std::time::Duration::from_secs(u64::try_from(time).unwrap_or_default());
    UnixTime::since_unix_epoch(since_epoch)
}

fn seconds(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}
