//! What is signed, and by whom: the little of X.509 that is needed beside rustls.

use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm};
use x509_parser::asn1_rs::{Any, BitString, FromDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::x509::SubjectPublicKeyInfo;

/// A certificate or a list, as what was signed, how, and the signature.
struct Signed<'a> {
    content: &'a [u8],
    algorithm: &'a [u8],
    signature: BitString<'a>,
}

/// Whether the key of `issuer` has signed `der`, a certificate or a list.
pub(super) fn is_signed_by(
    der: &[u8],
    issuer: &X509Certificate<'_>,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
) -> bool {
    let Some(Signed { content, algorithm, signature }) = signed(der) else { return false };
    let fitting = algorithms.iter().filter(|a| a.signature_alg_id().as_ref() == algorithm);
    fitting.into_iter().any(|a| verifies(*a, issuer.public_key(), content, &signature.data))
}

/// Whether a key has signed a message, by this algorithm.
pub(super) fn verifies(
    algorithm: &dyn SignatureVerificationAlgorithm,
    key: &SubjectPublicKeyInfo<'_>,
    message: &[u8],
    signature: &[u8],
) -> bool {
    let kind = sequence(key.raw).and_then(|(kind, _)| sequence_content(kind));
    kind.is_some_and(|kind| algorithm.public_key_alg_id().as_ref() == kind)
        && algorithm.verify_signature(&key.subject_public_key.data, message, signature).is_ok()
}

/// A certificate, read.
pub(super) fn certificate<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    X509Certificate::from_der(der).ok().map(|(_, certificate)| certificate)
}

fn signed(der: &[u8]) -> Option<Signed<'_>> {
    let (content, rest) = sequence(der)?;
    let (rest, algorithm) = Any::from_der(rest).ok()?;
    let (_, signature) = BitString::from_der(rest).ok()?;
    Some(Signed { content, algorithm: algorithm.data, signature })
}

/// The first element of a sequence, with its header, and what stands behind it.
fn sequence(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let inside = sequence_content(der)?;
    let (rest, _) = Any::from_der(inside).ok()?;
    Some((&inside[..inside.len() - rest.len()], rest))
}

fn sequence_content(der: &[u8]) -> Option<&[u8]> {
    Any::from_der(der).ok().map(|(_, outer)| outer.data)
}
