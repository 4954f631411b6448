//! The keys of TLS 1.3 (RFC 8446, section 7), for TLS_AES_128_GCM_SHA256 alone.

use aes_gcm::Aes128Gcm;
use aes_gcm::aead::AeadInOut;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::bytes::Writer;

/// A secret, or a hash: with SHA-256 they are of one length.
pub(super) type Secret = [u8; 32];

/// What sealing adds to a text.
pub(super) const TAG: usize = 16;

/// After so many records a key has seen enough; RFC 8446, section 5.5, allows about 2^24.5.
const RECORDS_MAX: u64 = 1 << 24;

/// Seals or opens the records of one direction.
#[derive(Clone)]
pub(super) struct Keys {
    secret: Secret,
    key: [u8; 16],
    iv: [u8; 12],
    sequence: u64,
}

impl Keys {
    pub(super) fn new(secret: Secret) -> Self {
        let (mut key, mut iv) = ([0; 16], [0; 12]);
        expand(&secret, b"key", &[], &mut key);
        expand(&secret, b"iv", &[], &mut iv);
        Self { secret, key, iv, sequence: 0 }
    }

    /// The next keys of this direction (section 7.2).
    pub(super) fn updated(&self) -> Self {
        let mut secret = [0; 32];
        expand(&self.secret, b"traffic upd", &[], &mut secret);
        Self::new(secret)
    }

    /// What Finished holds after messages with this hash (section 4.4.4).
    pub(super) fn finished(&self, messages: &Secret) -> Secret {
        let mut key = [0; 32];
        expand(&self.secret, b"finished", &[], &mut key);
        authenticate(&key, &[messages])
    }

    /// Whether another record may be sealed or opened.
    pub(super) fn is_worn(&self) -> bool {
        self.sequence >= RECORDS_MAX
    }

    /// Seals the text in place. `None` if there is more of it than AES can take, which no record
    /// holds.
    pub(super) fn seal(&mut self, header: &[u8], text: &mut [u8]) -> Option<[u8; TAG]> {
        let nonce = self.next_nonce();
        let cipher = Aes128Gcm::new(&self.key.into());
        let tag = cipher.encrypt_inout_detached(&nonce.into(), header, text.into()).ok()?;
        Some(tag.into())
    }

    /// Opens what lies in front of its tag, in place; says how long it is. `None` if it was not
    /// sealed with these keys, as the next record, behind this header.
    pub(super) fn open(&mut self, header: &[u8], sealed: &mut [u8]) -> Option<usize> {
        let nonce = self.next_nonce();
        let (text, tag) = sealed.split_last_chunk_mut::<TAG>()?;
        let cipher = Aes128Gcm::new(&self.key.into());
        let len = text.len();
        let tag = (*tag).into();
        cipher.decrypt_inout_detached(&nonce.into(), header, text.into(), &tag).ok()?;
        Some(len)
    }

    /// Section 5.3: no two records have the same.
    fn next_nonce(&mut self) -> [u8; 12] {
        let mut nonce = self.iv;
        let number = self.sequence.to_be_bytes();
        for (byte, number) in nonce.iter_mut().rev().zip(number.iter().rev()) {
            *byte ^= number;
        }
        self.sequence += 1;
        nonce
    }
}

/// What the traffic keys come from once both have said hello (section 7.1).
pub(super) struct Schedule(Secret);

impl Schedule {
    /// From the secret that only the two who said hello share.
    pub(super) fn handshake(shared: &[u8]) -> Self {
        let early = authenticate(&[0; 32], &[&[0; 32]]);
        Self(authenticate(&derive(&early, b"derived", &empty_hash()), &[shared]))
    }

    /// The client's keys and the server's, as long as the handshake takes.
    pub(super) fn handshake_keys(&self, hellos: &Secret) -> (Keys, Keys) {
        self.keys(b"c hs traffic", b"s hs traffic", hellos)
    }

    /// Theirs after it.
    pub(super) fn application_keys(&self, messages: &Secret) -> (Keys, Keys) {
        let main = derive(&self.0, b"derived", &empty_hash());
        let main = Self(authenticate(&main, &[&[0; 32]]));
        main.keys(b"c ap traffic", b"s ap traffic", messages)
    }

    fn keys(&self, client: &[u8], server: &[u8], messages: &Secret) -> (Keys, Keys) {
        let keys = |label| Keys::new(derive(&self.0, label, messages));
        (keys(client), keys(server))
    }
}

fn empty_hash() -> Secret {
    Sha256::digest([]).into()
}

/// Derive-Secret.
fn derive(secret: &Secret, label: &[u8], messages: &Secret) -> Secret {
    let mut derived = [0; 32];
    expand(secret, label, messages, &mut derived);
    derived
}

/// HKDF-Expand-Label. No output here is longer than one hash, so that one round is all of it.
fn expand(secret: &Secret, label: &[u8], context: &[u8], out: &mut [u8]) {
    // Two bytes of length, two vectors of at most 18 and 32 bytes.
    let mut info = [0; 64];
    let mut writer = Writer::new(&mut info);
    writer.put(&[0, out.len() as u8]);
    writer.vector(1, |writer| {
        writer.put(b"tls13 ");
        writer.put(label);
    });
    writer.vector(1, |writer| writer.put(context));
    let expanded = authenticate(secret, &[writer.since(0), &[1]]);
    out.iter_mut().zip(expanded).for_each(|(out, byte)| *out = byte);
}

/// HMAC, which is HKDF-Extract too.
fn authenticate(key: &Secret, parts: &[&[u8]]) -> Secret {
    let mut block = [0; 64];
    block.iter_mut().zip(key).for_each(|(block, byte)| *block = *byte);
    let mut hmac = Hmac::<Sha256>::new(&block.into());
    parts.iter().for_each(|part| hmac.update(part));
    hmac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::{Keys, Schedule, TAG};

    /// RFC 8448, section 3.
    #[test]
    fn keys_are_those_of_the_example() {
        let shared = "8bd4054fb55b9d63fdfbacf9f04b9f0d35e6d63f537563efd46272900f89492d";
        let hellos = "860c06edc07858ee8e78f0e7428c58edd6b43f2ca3e6e95f02ed063cf0e1cad8";
        let schedule = Schedule::handshake(&hex::<32>(shared));
        let (client, server) = schedule.handshake_keys(&hex(hellos));
        assert_eq!(server.key, hex("3fce516009c21727d0f2e4e86ee403bc"));
        assert_eq!(server.iv, hex("5d313eb2671276ee13000b30"));
        assert_eq!(client.key, hex("dbfaa693d1762c5b666af5d950258d01"));
        assert_eq!(client.iv, hex("5bd3c71b836e0b76bb73265f"));
        let messages = "9608102a0f1ccc6db6250b7b7e417b1a000eaada3daae4777a7686c9ff83df13";
        let (client, server) = schedule.application_keys(&hex(messages));
        assert_eq!(server.key, hex("9f02283b6c9c07efc26bb9f2ac92e356"));
        assert_eq!(server.iv, hex("cf782b88dd83549aadf1e984"));
        assert_eq!(client.key, hex("17422dda596ed5d9acd890e3c63f5051"));
        assert_eq!(client.iv, hex("5b78923dee08579033e523d9"));
    }

    #[test]
    fn what_was_sealed_opens_once_in_its_order_and_unchanged() {
        let mut sealer = Keys::new([7; 32]);
        let mut seal = |text: &[u8; 5]| {
            let mut text = *text;
            let tag = sealer.seal(b"header", &mut text).unwrap();
            let mut sealed = [0; 5 + TAG];
            sealed[..5].copy_from_slice(&text);
            sealed[5..].copy_from_slice(&tag);
            sealed
        };
        let (first, second) = (seal(b"first"), seal(b"later"));
        let open = |keys: &mut Keys, header: &[u8], sealed: [u8; 21]| {
            let mut text = sealed;
            keys.open(header, &mut text).map(|len| (text, len))
        };
        let mut keys = Keys::new([7; 32]);
        let (text, len) = open(&mut keys, b"header", first).unwrap();
        assert_eq!(&text[..len], b"first");
        assert_eq!(open(&mut keys.clone(), b"header", first), None);
        assert_eq!(open(&mut keys.clone(), b"Header", second), None);
        for byte in 0..second.len() {
            let mut changed = second;
            changed[byte] ^= 0x80;
            assert_eq!(open(&mut keys.clone(), b"header", changed), None, "{byte}");
        }
        let (text, len) = open(&mut keys, b"header", second).unwrap();
        assert_eq!(&text[..len], b"later");
        assert_eq!(keys.open(b"header", &mut [0; 15]), None);
    }

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        assert_eq!(text.len(), 2 * N);
        core::array::from_fn(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
    }
}
