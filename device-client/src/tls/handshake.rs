//! The handshake from our side (RFC 8446, section 2 and appendix A.1), as a table of what may come
//! when. No state leads to the end but through Certificate and CertificateVerify.

use p256::SecretKey;
use p256::ecdh::diffie_hellman;
use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{Signature, VerifyingKey};
use p256::elliptic_curve::sec1::ToSec1Point;
use sha2::{Digest, Sha256};

use super::bytes::Writer;
use super::fault::Fault;
use super::keys::{Schedule, Secret};
use super::messages::{self, ClientHello, Point, kind};
use super::record::{self, Incoming, Outgoing};
use super::settings::{Identity, Platform, ServerName, Settings};

/// How far it is, and a hash of all messages so far.
pub(super) struct Handshake {
    state: State,
    messages: Sha256,
    /// What we asked for of RFC 6066, section 4.
    max_fragment: Option<u8>,
    /// Seconds since 1970 when it began, where they are known.
    now: Option<u64>,
}

/// What must come next.
enum State {
    /// Nothing: there is no handshake, or it has failed.
    None,
    ServerHello(SecretKey),
    EncryptedExtensions(Schedule),
    Certificate(Schedule, Asked),
    CertificateVerify(Schedule, Asked, VerifyingKey),
    Finished(Schedule, Asked),
    /// It is over: the broker has proved its key, and that it saw what we saw.
    Proved,
}

/// What the broker wants of our certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Nothing,
    Certificate { ecdsa: bool },
}

impl Handshake {
    pub(super) fn new() -> Self {
        Self { state: State::None, messages: Sha256::new(), max_fragment: None, now: None }
    }

    pub(super) fn is_under_way(&self) -> bool {
        !matches!(self.state, State::None | State::Proved)
    }

    /// The broker is who it must be.
    pub(super) fn is_proved(&self) -> bool {
        matches!(self.state, State::Proved)
    }

    /// Says hello. No records longer than 2 to the power of 8 and `max_fragment` are asked for.
    pub(super) fn begin(
        &mut self,
        settings: &Settings<'_>,
        platform: &mut impl Platform,
        max_fragment: Option<u8>,
        outgoing: &mut Outgoing<'_>,
    ) -> Result<(), Fault> {
        let now = platform.unix_time();
        *self = Self { state: State::None, messages: Sha256::new(), max_fragment, now };
        let mut random = [0; 32];
        platform.random(&mut random);
        let secret = secret(platform)?;
        let key = public(&secret)?;
        let name = match settings.name {
            ServerName::Dns(name) => Some(name),
            ServerName::Address(_) => None,
        };
        let hello = ClientHello { random: &random, key: &key, name, max_fragment };
        outgoing.record(record::kind::HANDSHAKE, |writer| {
            hello.write(writer);
            self.messages.update(writer.since(0));
        })?;
        self.state = State::ServerHello(secret);
        Ok(())
    }

    /// Takes a whole message of the broker's, which is the first of what is held.
    pub(super) fn take(
        &mut self,
        settings: &Settings<'_>,
        len: usize,
        incoming: &mut Incoming<'_>,
        outgoing: &mut Outgoing<'_>,
    ) -> Result<(), Fault> {
        let before = self.hash();
        let message = incoming.held().get(..len).unwrap_or_default();
        let (header, body) = message.split_at_checked(messages::HEADER).ok_or(Fault::Malformed)?;
        let kind = header.first().copied().unwrap_or_default();
        let is_last = len == incoming.held().len();
        self.messages.update(message);
        // Should it fail, there is no state from which anything could be accepted.
        let state = core::mem::replace(&mut self.state, State::None);
        self.state = match (state, kind) {
            (State::ServerHello(secret), kind::SERVER_HELLO) => {
                let schedule = greeted(&secret, &messages::server_hello(body)?)?;
                at_the_end_of_a_record(is_last)?;
                let (client, server) = schedule.handshake_keys(&self.hash());
                (outgoing.keys, incoming.keys) = (Some(client), Some(server));
                State::EncryptedExtensions(schedule)
            }
            (State::EncryptedExtensions(schedule), kind::ENCRYPTED_EXTENSIONS) => {
                messages::encrypted_extensions(body, self.max_fragment)?;
                State::Certificate(schedule, Asked::Nothing)
            }
            (State::Certificate(schedule, Asked::Nothing), kind::CERTIFICATE_REQUEST) => {
                let ecdsa = messages::certificate_request(body)?;
                State::Certificate(schedule, Asked::Certificate { ecdsa })
            }
            (State::Certificate(schedule, asked), kind::CERTIFICATE) => {
                let certificate = messages::certificate(body)?;
                let key = settings.trust.check(certificate, settings.name, self.now)?;
                State::CertificateVerify(schedule, asked, key)
            }
            (State::CertificateVerify(schedule, asked, key), kind::CERTIFICATE_VERIFY) => {
                prove(&key, messages::certificate_verify(body)?, &before)?;
                State::Finished(schedule, asked)
            }
            (State::Finished(schedule, asked), kind::FINISHED) => {
                let keys = incoming.keys.as_ref().ok_or(Fault::Malformed)?;
                same(body, &keys.finished(&before)).ok_or(Fault::Forged)?;
                at_the_end_of_a_record(is_last)?;
                let (client, server) = schedule.application_keys(&self.hash());
                self.finish(settings.identity, asked, outgoing)?;
                (outgoing.keys, incoming.keys) = (Some(client), Some(server));
                State::Proved
            }
            (_, kind) => return Err(Fault::Unexpected(kind)),
        };
        Ok(())
    }

    /// Our certificate, where one is asked for, and the end.
    fn finish(
        &mut self,
        identity: Option<&Identity<'_>>,
        asked: Asked,
        outgoing: &mut Outgoing<'_>,
    ) -> Result<(), Fault> {
        let keys = outgoing.keys.clone().ok_or(Fault::Malformed)?;
        if asked == (Asked::Certificate { ecdsa: false }) && identity.is_some() {
            return Err(Fault::SignatureSchemes);
        }
        outgoing.record(record::kind::HANDSHAKE, |writer| {
            if asked != Asked::Nothing {
                self.write_identity(identity, writer);
            }
            messages::write_finished(writer, &keys.finished(&self.hash()));
        })
    }

    fn write_identity(&mut self, identity: Option<&Identity<'_>>, writer: &mut Writer<'_>) {
        let start = writer.len();
        messages::write_certificate(writer, identity.map(Identity::certificate));
        self.messages.update(writer.since(start));
        let Some(identity) = identity else { return };
        let start = writer.len();
        let signature = identity.sign(&messages::signed("client", &self.hash()));
        messages::write_certificate_verify(writer, signature.as_bytes());
        self.messages.update(writer.since(start));
    }

    fn hash(&self) -> Secret {
        self.messages.clone().finalize().into()
    }
}

/// A new secret number. All but one in 2^32 of all numbers of 32 bytes will do.
fn secret(platform: &mut impl Platform) -> Result<SecretKey, Fault> {
    const TRIES: usize = 4;
    let mut tries = (0..TRIES).filter_map(|_| {
        let mut bytes = [0; 32];
        platform.random(&mut bytes);
        SecretKey::from_slice(&bytes).ok()
    });
    tries.next().ok_or(Fault::Random)
}

fn public(secret: &SecretKey) -> Result<Point, Fault> {
    let point = secret.public_key().to_sec1_point(false);
    point.as_bytes().try_into().map_err(|_| Fault::Random)
}

/// What we share with the owner of this key.
fn greeted(secret: &SecretKey, key: &Point) -> Result<Schedule, Fault> {
    let key = p256::PublicKey::from_sec1_bytes(key).map_err(|_| Fault::Malformed)?;
    let shared = diffie_hellman(secret.to_nonzero_scalar(), key.as_affine());
    Ok(Schedule::handshake(shared.raw_secret_bytes()))
}

/// The keys change behind this message, so that nothing may follow it in its record (section 5.1).
fn at_the_end_of_a_record(is_last: bool) -> Result<(), Fault> {
    if is_last { Ok(()) } else { Err(Fault::Malformed) }
}

/// The broker has signed all that was said up to its certificate (section 4.4.3).
fn prove(key: &VerifyingKey, signature: &[u8], messages: &Secret) -> Result<(), Fault> {
    let signature = Signature::from_der(signature).map_err(|_| Fault::Proof)?;
    let signed = messages::signed("server", messages);
    key.verify(&signed, &signature).map_err(|_| Fault::Proof)
}

/// In a time that tells nothing of where they differ.
fn same(one: &[u8], other: &Secret) -> Option<()> {
    let differ = one.iter().zip(other).fold(0, |differ, (one, other)| differ | (one ^ other));
    (one.len() == other.len() && differ == 0).then_some(())
}
