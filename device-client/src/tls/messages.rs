//! The messages of a handshake (RFC 8446, section 4): how ours are written, and what theirs say.
//! One suite, one group, one signature scheme: TLS_AES_128_GCM_SHA256, secp256r1,
//! ecdsa_secp256r1_sha256.

use super::bytes::{Reader, Writer};
use super::fault::Fault;

/// The types that there are for us.
pub(super) mod kind {
    pub(in crate::tls) const CLIENT_HELLO: u8 = 1;
    pub(in crate::tls) const SERVER_HELLO: u8 = 2;
    pub(in crate::tls) const NEW_SESSION_TICKET: u8 = 4;
    pub(in crate::tls) const ENCRYPTED_EXTENSIONS: u8 = 8;
    pub(in crate::tls) const CERTIFICATE: u8 = 11;
    pub(in crate::tls) const CERTIFICATE_REQUEST: u8 = 13;
    pub(in crate::tls) const CERTIFICATE_VERIFY: u8 = 15;
    pub(in crate::tls) const FINISHED: u8 = 20;
    pub(in crate::tls) const KEY_UPDATE: u8 = 24;
}

mod extension {
    pub(super) const SERVER_NAME: usize = 0;
    pub(super) const MAX_FRAGMENT_LENGTH: usize = 1;
    pub(super) const SUPPORTED_GROUPS: usize = 10;
    pub(super) const SIGNATURE_ALGORITHMS: usize = 13;
    pub(super) const SUPPORTED_VERSIONS: usize = 43;
    pub(super) const KEY_SHARE: usize = 51;
}

const VERSION_12: usize = 0x0303;
const VERSION_13: usize = 0x0304;
const SUITE: usize = 0x1301;
const GROUP: usize = 0x0017;
const SCHEME: usize = 0x0403;

/// What a public key on P-256 looks like: 4, x, y.
pub(super) type Point = [u8; 65];

/// A type and a length stand before each message.
pub(super) const HEADER: usize = 4;

/// The random number by which a ServerHello says that it is a HelloRetryRequest (section 4.1.3).
const RETRY: [u8; 32] = [
    0xCF, 0x21, 0xAD, 0x74, 0xE5, 0x9A, 0x61, 0x11, 0xBE, 0x1D, 0x8C, 0x02, 0x1E, 0x65, 0xB8, 0x91,
    0xC2, 0xA2, 0x11, 0x16, 0x7A, 0xBB, 0x8C, 0x5E, 0x07, 0x9E, 0x09, 0xE2, 0xC8, 0xA8, 0x33, 0x9C,
];

/// How long a ClientHello is at most, without the name in it.
pub(super) const CLIENT_HELLO_MAX: usize = 160;

/// What a ClientHello says beyond what is always the same.
pub(super) struct ClientHello<'a> {
    pub(super) random: &'a [u8; 32],
    pub(super) key: &'a Point,
    /// A DNS name; addresses are not sent.
    pub(super) name: Option<&'a str>,
    /// A code of RFC 6066, section 4.
    pub(super) max_fragment: Option<u8>,
}

impl ClientHello<'_> {
    pub(super) fn write(&self, to: &mut Writer<'_>) {
        message(to, kind::CLIENT_HELLO, |to| {
            put(to, VERSION_12);
            to.put(self.random);
            to.vector(1, |_| {}); // no session to go on with
            to.vector(2, |to| put(to, SUITE));
            to.vector(1, |to| to.put(&[0])); // no compression
            to.vector(2, |to| self.write_extensions(to));
        });
    }

    fn write_extensions(&self, to: &mut Writer<'_>) {
        write_extension(to, extension::SUPPORTED_VERSIONS, |to| {
            to.vector(1, |to| put(to, VERSION_13));
        });
        write_extension(to, extension::SUPPORTED_GROUPS, |to| to.vector(2, |to| put(to, GROUP)));
        write_extension(to, extension::SIGNATURE_ALGORITHMS, |to| {
            to.vector(2, |to| put(to, SCHEME));
        });
        write_extension(to, extension::KEY_SHARE, |to| {
            to.vector(2, |to| {
                put(to, GROUP);
                to.vector(2, |to| to.put(self.key));
            });
        });
        if let Some(code) = self.max_fragment {
            write_extension(to, extension::MAX_FRAGMENT_LENGTH, |to| to.put(&[code]));
        }
        if let Some(name) = self.name {
            write_extension(to, extension::SERVER_NAME, |to| {
                to.vector(2, |to| {
                    to.put(&[0]); // a host's
                    to.vector(2, |to| to.put(name.as_bytes()));
                });
            });
        }
    }
}

/// Our certificate, or that there is none.
pub(super) fn write_certificate(to: &mut Writer<'_>, certificate: Option<&[u8]>) {
    message(to, kind::CERTIFICATE, |to| {
        to.vector(1, |_| {});
        to.vector(3, |to| {
            if let Some(certificate) = certificate {
                to.vector(3, |to| to.put(certificate));
                to.vector(2, |_| {});
            }
        });
    });
}

pub(super) fn write_certificate_verify(to: &mut Writer<'_>, signature: &[u8]) {
    message(to, kind::CERTIFICATE_VERIFY, |to| {
        put(to, SCHEME);
        to.vector(2, |to| to.put(signature));
    });
}

pub(super) fn write_finished(to: &mut Writer<'_>, proof: &[u8]) {
    message(to, kind::FINISHED, |to| to.put(proof));
}

/// The answer to the broker's own; we ask for none.
pub(super) fn write_key_update(to: &mut Writer<'_>) {
    message(to, kind::KEY_UPDATE, |to| to.put(&[0]));
}

/// What is signed to prove a key (section 4.4.3), a hash of 32 bytes behind it.
pub(super) fn signed(whose: &str, messages: &[u8; 32]) -> [u8; 130] {
    let mut signed = [b' '; 130];
    let mut writer = Writer::new(signed.get_mut(64..).unwrap_or_default());
    writer.put(b"TLS 1.3, ");
    writer.put(whose.as_bytes());
    writer.put(b" CertificateVerify\0");
    writer.put(messages);
    signed
}

fn message(to: &mut Writer<'_>, kind: u8, body: impl FnOnce(&mut Writer<'_>)) {
    to.put(&[kind]);
    to.vector(3, body);
}

fn write_extension(to: &mut Writer<'_>, kind: usize, data: impl FnOnce(&mut Writer<'_>)) {
    put(to, kind);
    to.vector(2, data);
}

/// A number of two bytes.
fn put(to: &mut Writer<'_>, number: usize) {
    to.put(&u16::try_from(number).unwrap_or_default().to_be_bytes());
}

/// How long the message is of which these are the first bytes, with its header; `None` if they are
/// too few to say.
pub(super) fn len(bytes: &[u8]) -> Option<usize> {
    let mut reader = Reader(bytes);
    reader.take(1)?;
    reader.number(3).map(|len| HEADER + len)
}

/// The server's public key.
pub(super) fn server_hello(body: &[u8]) -> Result<Point, Fault> {
    let mut hello = Reader(body);
    let version = hello.number(2);
    let random = hello.array::<32>().ok_or(Fault::Malformed)?;
    if version != Some(VERSION_12) {
        return Err(Fault::Version);
    }
    if *random == RETRY {
        return Err(Fault::HelloRetryRequest);
    }
    rest_of_server_hello(hello).ok_or(Fault::Malformed)?
}

/// `None` where its form is wrong.
fn rest_of_server_hello(mut hello: Reader<'_>) -> Option<Result<Point, Fault>> {
    let session = hello.vector(1)?;
    let suite = hello.number(2)?;
    let compression = hello.number(1)?;
    if hello.is_empty() {
        return Some(Err(Fault::Version)); // Before 1.3 there may be no extensions.
    }
    let extensions = Extensions::of(&mut hello)?;
    hello.end()?;
    let (mut version, mut key, mut others) = (None, None, false);
    for (kind, mut data) in extensions {
        match kind {
            extension::SUPPORTED_VERSIONS => version = Some(data.number(2)?),
            extension::KEY_SHARE => key = Some((data.number(2)?, data.vector(2)?.0)),
            _ => others = true,
        }
    }
    if version != Some(VERSION_13) {
        return Some(Err(Fault::Version));
    }
    let (group, key) = key?;
    let as_asked = suite == SUITE && group == GROUP && compression == 0 && session.is_empty();
    (as_asked && !others)
        .then_some(Ok(*key.first_chunk().filter(|point| point.len() == key.len())?))
}

/// Nothing may be answered that was not asked for.
pub(super) fn encrypted_extensions(body: &[u8], max_fragment: Option<u8>) -> Result<(), Fault> {
    let mut message = Reader(body);
    let extensions = Extensions::of(&mut message).ok_or(Fault::Malformed)?;
    message.end().ok_or(Fault::Malformed)?;
    for (kind, data) in extensions {
        let good = match kind {
            extension::SERVER_NAME => data.is_empty(),
            extension::SUPPORTED_GROUPS => true, // for another time
            extension::MAX_FRAGMENT_LENGTH => max_fragment.is_some_and(|code| data.0 == [code]),
            _ => false,
        };
        if !good {
            return Err(Fault::Malformed);
        }
    }
    Ok(())
}

/// Whether they take signatures as ours are.
pub(super) fn certificate_request(body: &[u8]) -> Result<bool, Fault> {
    let takes = || {
        let mut message = Reader(body);
        message.vector(1)?.end()?;
        let extensions = Extensions::of(&mut message)?;
        message.end()?;
        let mut takes = false;
        for (kind, mut data) in extensions {
            if kind == extension::SIGNATURE_ALGORITHMS {
                let schemes = data.vector(2)?.0;
                takes = schemes.chunks_exact(2).any(|scheme| scheme == SCHEME_BYTES);
            }
        }
        Some(takes)
    };
    takes().ok_or(Fault::Malformed)
}

const SCHEME_BYTES: [u8; 2] = [0x04, 0x03];

/// The server's own certificate, which is the first.
pub(super) fn certificate(body: &[u8]) -> Result<&[u8], Fault> {
    let first = || {
        let mut message = Reader(body);
        message.vector(1)?.end()?;
        let mut list = message.vector(3)?;
        message.end()?;
        let mut first = None;
        while !list.is_empty() {
            let certificate = list.vector(3)?;
            // We asked for nothing that could be answered here.
            list.vector(2)?.end()?;
            first = first.or(Some(certificate.0));
        }
        first
    };
    first().ok_or(Fault::Malformed)
}

/// The signature, in DER.
pub(super) fn certificate_verify(body: &[u8]) -> Result<&[u8], Fault> {
    let signature = || {
        let mut message = Reader(body);
        let scheme = message.number(2)?;
        let signature = message.vector(2)?;
        message.end()?;
        (scheme == SCHEME).then_some(signature.0)
    };
    signature().ok_or(Fault::Malformed)
}

/// Whether they want new keys of us too.
pub(super) fn key_update(body: &[u8]) -> Result<bool, Fault> {
    match body {
        [0] => Ok(false),
        [1] => Ok(true),
        _ => Err(Fault::Malformed),
    }
}

/// Extensions, checked for their form.
struct Extensions<'a>(Reader<'a>);

impl<'a> Extensions<'a> {
    /// The next vector, if it is one of extensions, none of which comes twice (section 4.2).
    fn of(message: &mut Reader<'a>) -> Option<Self> {
        let extensions = message.vector(2)?;
        let mut rest = extensions;
        while !rest.is_empty() {
            let kind = rest.number(2)?;
            rest.vector(2)?;
            if Self(rest).any(|(other, _)| other == kind) {
                return None;
            }
        }
        Some(Self(extensions))
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = (usize, Reader<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        Some((self.0.number(2)?, self.0.vector(2)?))
    }
}
