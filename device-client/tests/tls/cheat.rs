//! A server of TLS 1.3 that says whatever a test wants it to, with keys that are right. Its
//! cryptography is ring's, and its messages are written here: nothing of it is the client's.

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use ring::digest::{SHA256, digest};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};

use crate::pki::Pair;
use crate::wire::Peer;

/// What the server says to a hello. A good one is [`Script::good`]; a test changes what it likes.
#[derive(Clone)]
pub(crate) struct Script {
    /// In the clear, in front of everything.
    pub(crate) first: Vec<u8>,
    pub(crate) server_hello: ServerHello,
    /// Behind ServerHello, in its record.
    pub(crate) behind_hello: Vec<u8>,
    /// The handshake behind it.
    pub(crate) flight: Vec<Part>,
    /// Behind the handshake: type and text of each record.
    pub(crate) later: Vec<(u8, Vec<u8>)>,
    /// Of all bytes, only so many are said.
    pub(crate) len: usize,
    pub(crate) certificate: Vec<u8>,
    /// Signs CertificateVerify.
    pub(crate) key: Vec<u8>,
}

#[derive(Clone)]
pub(crate) struct ServerHello {
    pub(crate) version: u16,
    pub(crate) random: [u8; 32],
    pub(crate) session: Vec<u8>,
    pub(crate) suite: u16,
    pub(crate) compression: u8,
    /// The key's is filled in: `None` in place of data.
    pub(crate) extensions: Vec<(u16, Option<Vec<u8>>)>,
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Part {
    /// A whole message.
    Message(u8, Vec<u8>),
    /// EncryptedExtensions without any.
    Extensions,
    Certificate,
    /// Signed by the key; under this scheme, with a byte of it changed or not.
    CertificateVerify {
        scheme: u16,
        whose: &'static str,
        spoilt: bool,
    },
    Finished {
        spoilt: bool,
    },
    /// What was said since the last of these goes into a sealed record.
    Seal,
    /// It goes into a record in the clear.
    Bare,
    /// These bytes go as they are, in between.
    Raw(Vec<u8>),
    /// Text of this type goes into a sealed record, with zeros behind it.
    Sealed(u8, Vec<u8>, usize),
}

pub(crate) const GOOD_PROOF: Part =
    Part::CertificateVerify { scheme: 0x0403, whose: "server", spoilt: false };
pub(crate) const GOOD_END: Part = Part::Finished { spoilt: false };

impl Script {
    pub(crate) fn good(server: &Pair) -> Self {
        let versions = (43, Some(vec![3, 4]));
        Self {
            first: Vec::new(),
            server_hello: ServerHello {
                version: 0x0303,
                random: [7; 32],
                session: Vec::new(),
                suite: 0x1301,
                compression: 0,
                extensions: vec![versions, (51, None)],
            },
            behind_hello: Vec::new(),
            flight: vec![Part::Extensions, Part::Certificate, GOOD_PROOF, GOOD_END, Part::Seal],
            later: vec![(23, b"welcome".to_vec())],
            len: usize::MAX,
            certificate: server.certificate.clone(),
            key: server.key.serialize_der(),
        }
    }

    /// The certificate list that is said in place of Certificate.
    pub(crate) fn list(&self) -> Vec<u8> {
        let mut list = sized(3, &self.certificate);
        list.extend([0, 0]);
        [vec![0], sized(3, &list)].concat()
    }

    /// All that it says to this hello.
    fn say(&self, hello: &[u8]) -> Vec<u8> {
        let mut said = self.first.clone();
        let mut keys = Keys::agree(hello);
        let server_hello = message(2, &self.server_hello.body(&keys.public));
        keys.messages.extend(&server_hello);
        said.extend(record(22, &[server_hello, self.behind_hello.clone()].concat()));
        keys.change("s hs traffic");
        let mut text = Vec::new();
        for part in &self.flight {
            match part {
                Part::Seal => said.extend(keys.seal(22, &std::mem::take(&mut text), 0)),
                Part::Bare => said.extend(record(22, &std::mem::take(&mut text))),
                Part::Raw(bytes) => said.extend(bytes),
                Part::Sealed(kind, bytes, zeros) => said.extend(keys.seal(*kind, bytes, *zeros)),
                part => {
                    let message = self.message(part, &keys);
                    keys.messages.extend(&message);
                    text.extend(message);
                }
            }
        }
        keys.change("s ap traffic");
        for (kind, text) in &self.later {
            said.extend(keys.seal(*kind, text, 0));
        }
        said.truncate(self.len);
        said
    }

    fn message(&self, part: &Part, keys: &Keys) -> Vec<u8> {
        match part {
            Part::Message(kind, body) => message(*kind, body),
            Part::Extensions => message(8, &[0, 0]),
            Part::Certificate => message(11, &self.list()),
            Part::CertificateVerify { scheme, whose, spoilt } => {
                let mut signed = vec![b' '; 64];
                signed.extend(format!("TLS 1.3, {whose} CertificateVerify\0").bytes());
                signed.extend(digest(&SHA256, &keys.messages).as_ref());
                let mut signature = sign(&self.key, &signed);
                if *spoilt {
                    *signature.last_mut().unwrap() ^= 1;
                }
                let scheme = scheme.to_be_bytes().to_vec();
                message(15, &[scheme, sized(2, &signature)].concat())
            }
            Part::Finished { spoilt } => {
                let key = expand(&keys.secret, "finished", &[], 32);
                let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
                let mut proof =
                    hmac::sign(&key, digest(&SHA256, &keys.messages).as_ref()).as_ref().to_vec();
                proof[31] ^= u8::from(*spoilt);
                message(20, &proof)
            }
            other => unreachable!("{other:?} is no message"),
        }
    }
}

impl ServerHello {
    fn body(&self, key: &[u8]) -> Vec<u8> {
        let mut extensions = Vec::new();
        for (kind, data) in &self.extensions {
            let key = || [vec![0, 0x17], sized(2, key)].concat();
            extensions.extend(kind.to_be_bytes());
            extensions.extend(sized(2, &data.clone().unwrap_or_else(key)));
        }
        let mut body = self.version.to_be_bytes().to_vec();
        body.extend(self.random);
        body.extend(sized(1, &self.session));
        body.extend(self.suite.to_be_bytes());
        body.push(self.compression);
        body.extend(sized(2, &extensions));
        body
    }
}

fn sign(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    let random = SystemRandom::new();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key, &random).unwrap();
    key.sign(&random, bytes).unwrap().as_ref().to_vec()
}

/// Bytes behind their length.
pub(crate) fn sized(width: usize, bytes: &[u8]) -> Vec<u8> {
    let len = bytes.len().to_be_bytes();
    [&len[len.len() - width..], bytes].concat()
}

pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [vec![kind], sized(3, body)].concat()
}

pub(crate) fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    [vec![kind, 3, 3], sized(2, body)].concat()
}

/// What seals at the moment.
struct Keys {
    public: Vec<u8>,
    messages: Vec<u8>,
    handshake: [u8; 32],
    secret: [u8; 32],
    sequence: u64,
}

impl Keys {
    /// With whoever said this hello, in its first record.
    fn agree(hello: &[u8]) -> Self {
        let random = SystemRandom::new();
        let ours = EphemeralPrivateKey::generate(&ECDH_P256, &random).unwrap();
        let public = ours.compute_public_key().unwrap().as_ref().to_vec();
        let shared =
            agree_ephemeral(ours, &UnparsedPublicKey::new(&ECDH_P256, key_in(hello)), |s| {
                extract(&derived(&extract(&[0; 32], &[0; 32])), s)
            });
        let messages = hello[5..].to_vec();
        Self { public, messages, handshake: shared.unwrap(), secret: [0; 32], sequence: 0 }
    }

    fn change(&mut self, label: &str) {
        let base = match label {
            "s hs traffic" => self.handshake,
            _ => extract(&derived(&self.handshake), &[0; 32]),
        };
        let messages = digest(&SHA256, &self.messages);
        self.secret = expand(&base, label, messages.as_ref(), 32).try_into().unwrap();
        self.sequence = 0;
    }

    fn seal(&mut self, kind: u8, text: &[u8], zeros: usize) -> Vec<u8> {
        let mut text = [text, &[kind], &vec![0; zeros]].concat();
        if kind == NO_TYPE {
            text.pop();
        }
        let key = UnboundKey::new(&AES_128_GCM, &expand(&self.secret, "key", &[], 16)).unwrap();
        let mut nonce: [u8; 12] = expand(&self.secret, "iv", &[], 12).try_into().unwrap();
        nonce.iter_mut().rev().zip(self.sequence.to_le_bytes()).for_each(|(n, s)| *n ^= s);
        self.sequence += 1;
        let len = u16::try_from(text.len() + 16).unwrap().to_be_bytes();
        let header = [23, 3, 3, len[0], len[1]];
        let nonce = Nonce::assume_unique_for_key(nonce);
        let key = LessSafeKey::new(key);
        key.seal_in_place_append_tag(nonce, Aad::from(header), &mut text).unwrap();
        [&header[..], &text].concat()
    }
}

/// In place of a type: the text is all that there is.
pub(crate) const NO_TYPE: u8 = 255;

/// The public key in a ClientHello, wherever it stands: behind `secp256r1`, 65 and 4.
fn key_in(hello: &[u8]) -> &[u8] {
    let at = hello.windows(5).position(|bytes| bytes == [0, 0x17, 0, 65, 4]).unwrap();
    &hello[at + 4..at + 4 + 65]
}

fn extract(salt: &[u8; 32], secret: &[u8]) -> [u8; 32] {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, salt), secret).as_ref().try_into().unwrap()
}

fn derived(secret: &[u8; 32]) -> [u8; 32] {
    let nothing = digest(&SHA256, &[]);
    expand(secret, "derived", nothing.as_ref(), 32).try_into().unwrap()
}

fn expand(secret: &[u8; 32], label: &str, context: &[u8], len: usize) -> Vec<u8> {
    struct Len(usize);
    impl KeyType for Len {
        fn len(&self) -> usize {
            self.0
        }
    }
    let label = sized(1, format!("tls13 {label}").as_bytes());
    let info = [&u16::try_from(len).unwrap().to_be_bytes()[..], &label, &sized(1, context)];
    let mut out = vec![0; len];
    Prk::new_less_safe(HKDF_SHA256, secret)
        .expand(&info, Len(len))
        .unwrap()
        .fill(&mut out)
        .unwrap();
    out
}

/// Plays the script to the first hello that it hears.
pub(crate) struct Cheat {
    script: Script,
    heard: Vec<u8>,
    played: bool,
}

impl Cheat {
    pub(crate) fn new(script: Script) -> Self {
        Self { script, heard: Vec::new(), played: false }
    }
}

impl Peer for Cheat {
    fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.heard.extend(bytes);
        if self.played || self.heard.len() < 5 || self.heard[0] != 22 {
            return Vec::new();
        }
        let len = 5 + usize::from(u16::from_be_bytes([self.heard[3], self.heard[4]]));
        if self.heard.len() < len {
            return Vec::new();
        }
        self.played = true;
        self.script.say(&self.heard[..len])
    }
}
