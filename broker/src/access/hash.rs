//! What a password file keeps of a password: every form that some `mosquitto_passwd` or go-auth
//! has written.

use std::fmt;
use std::str::FromStr;

use argon2::{Algorithm, Argon2, Params, Version};
use base64ct::{Base64, Base64Unpadded, Encoding};
use pbkdf2::pbkdf2_hmac;
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;

/// A salted hash of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Hash {
    scheme: Scheme,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

/// How a hash is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `$6$`: SHA-512 once, as mosquitto 1 had it. Fast to guess: for old files only.
    Sha512,
    /// `$7$`: PBKDF2-HMAC-SHA512, mosquitto 2.0's default.
    Pbkdf2 {
        /// Rounds.
        iterations: u32,
    },
    /// `PBKDF2$sha512$` or `PBKDF2$sha256$`, as go-auth writes it.
    GoAuth {
        /// Rounds.
        iterations: u32,
        /// With SHA-256 instead of SHA-512.
        sha256: bool,
    },
    /// `$argon2id$`, mosquitto 2.1's default.
    Argon2id {
        /// Memory that one hash takes, in KiB.
        memory_kib: u32,
        /// Passes over that memory.
        passes: u32,
        /// Lanes.
        lanes: u32,
    },
}

impl Scheme {
    /// PBKDF2 as `martlet passwd` writes it: every mosquitto of this decade reads it, and one guess
    /// costs two hundred times what it does with mosquitto's own 101 rounds.
    pub const PBKDF2: Self = Self::Pbkdf2 { iterations: 20_000 };
    /// Argon2id with the parameters of mosquitto 2.1: 46 MiB for each check.
    pub const ARGON2ID: Self = Self::Argon2id { memory_kib: 47_104, passes: 1, lanes: 1 };

    /// Rounds beyond this are a mistake, or somebody's attempt to stop the broker.
    pub const ITERATIONS_MAX: u32 = 10_000_000;
    /// As above, in KiB: one GiB.
    const MEMORY_KIB_MAX: u32 = 1 << 20;
    const PASSES_MAX: u32 = 100;
    /// Bytes that are kept of a hash.
    const HASH_BYTES: usize = 64;
    /// The longest salt or hash of a file, in bytes.
    const BYTES_MAX: usize = 1024;

    /// Bytes of salt that mosquitto 2.0 takes for this scheme; it reads any number.
    pub const SALT_BYTES: usize = 12;
}

impl Hash {
    /// Hashes a password. `salt` is random and used for nothing else.
    pub fn new(scheme: Scheme, password: &[u8], salt: Vec<u8>) -> Self {
        let mut hash = vec![0; Scheme::HASH_BYTES];
        scheme.fill(password, &salt, &mut hash);
        Self { scheme, salt, hash }
    }

    /// Whether this is the password. Takes as long as the scheme is strong, and the same time
    /// whatever the answer.
    pub fn verify(&self, password: &[u8]) -> bool {
        let mut hash = vec![0; self.hash.len()];
        self.scheme.fill(password, &self.salt, &mut hash);
        hash.ct_eq(&self.hash).into()
    }

    /// How much work a check is, in rounds of PBKDF2 or KiB of Argon2 (which take about as long).
    pub(super) fn cost(&self) -> u64 {
        match self.scheme {
            Scheme::Sha512 => 1,
            Scheme::Pbkdf2 { iterations } | Scheme::GoAuth { iterations, .. } => iterations.into(),
            Scheme::Argon2id { memory_kib, passes, .. } => {
                u64::from(memory_kib) * u64::from(passes)
            }
        }
    }
}

impl Scheme {
    fn fill(self, password: &[u8], salt: &[u8], hash: &mut [u8]) {
        match self {
            Self::Sha512 => {
                let digest = Sha512::new().chain_update(password).chain_update(salt).finalize();
                let len = hash.len().min(digest.len());
                hash[..len].copy_from_slice(&digest[..len]);
            }
            Self::GoAuth { iterations, sha256: true } => {
                pbkdf2_hmac::<Sha256>(password, salt, iterations, hash);
            }
            Self::Pbkdf2 { iterations } | Self::GoAuth { iterations, sha256: false } => {
                pbkdf2_hmac::<Sha512>(password, salt, iterations, hash);
            }
            Self::Argon2id { memory_kib, passes, lanes } => {
                let params = Params::new(memory_kib, passes, lanes, Some(hash.len()));
                let params = params.expect("they were checked when the hash was read");
                let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
                // Without the memory nobody comes in: no hash is all zeros.
                let _ = argon2.hash_password_into(password, salt, hash);
            }
        }
    }
}

impl FromStr for Hash {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split('$').collect();
        let hash = match *parts {
            ["", "6", salt, hash] => Self::padded(Scheme::Sha512, salt, hash)?,
            ["", "7", iterations, salt, hash] => {
                let scheme = Scheme::Pbkdf2 { iterations: rounds(iterations)? };
                Self::padded(scheme, salt, hash)?
            }
            ["PBKDF2", name @ ("sha512" | "sha256"), iterations, salt, hash] => {
                let iterations = rounds(iterations)?;
                let scheme = Scheme::GoAuth { iterations, sha256: name == "sha256" };
                Self::padded(scheme, salt, hash)?
            }
            ["", "argon2id", "v=19", params, salt, hash] => {
                let decoded = (Base64Unpadded::decode_vec(salt), Base64Unpadded::decode_vec(hash));
                let (Ok(salt), Ok(hash)) = decoded else { return Err(NO_BASE64) };
                Self { scheme: argon2id(params, hash.len())?, salt, hash }
            }
            ["", "6" | "7" | "argon2id", ..] | ["PBKDF2", ..] => {
                return Err("the hash of the password is cut off or garbled");
            }
            ["", "2a" | "2b" | "2y", ..] => {
                return Err("bcrypt is not supported: set the password anew with `martlet passwd`");
            }
            _ => {
                return Err(
                    "the password is not hashed, or by nothing that is known here: `martlet \
                            passwd -U FILE` hashes the passwords of a whole file",
                );
            }
        };
        let bytes = 1..=Scheme::BYTES_MAX;
        if !bytes.contains(&hash.hash.len()) || hash.salt.len() > Scheme::BYTES_MAX {
            return Err("the hash of the password is of no possible length");
        }
        if hash.scheme == Scheme::Sha512 && hash.hash.len() != Scheme::HASH_BYTES {
            return Err("a `$6$` hash has 64 bytes");
        }
        Ok(hash)
    }
}

const NO_BASE64: &str = "the hash of the password is no base64";

impl Hash {
    fn padded(scheme: Scheme, salt: &str, hash: &str) -> Result<Self, &'static str> {
        match (Base64::decode_vec(salt), Base64::decode_vec(hash)) {
            (Ok(salt), Ok(hash)) => Ok(Self { scheme, salt, hash }),
            _ => Err(NO_BASE64),
        }
    }
}

fn rounds(text: &str) -> Result<u32, &'static str> {
    let rounds = text.parse().ok().filter(|rounds| (1..=Scheme::ITERATIONS_MAX).contains(rounds));
    rounds.ok_or("the iterations must be a number from 1 to 10000000")
}

/// `m=47104,t=1,p=1`
fn argon2id(text: &str, hash_bytes: usize) -> Result<Scheme, &'static str> {
    let wrong = "argon2id wants `m=KIB,t=PASSES,p=LANES`, at most 1 GiB and 100 passes";
    let mut parts = text.split(',').zip(["m=", "t=", "p="]);
    let mut next = || parts.next().and_then(|(part, name)| part.strip_prefix(name)?.parse().ok());
    let (Some(memory_kib), Some(passes), Some(lanes)) = (next(), next(), next()) else {
        return Err(wrong);
    };
    let bounded = memory_kib <= Scheme::MEMORY_KIB_MAX && passes <= Scheme::PASSES_MAX;
    let valid = Params::new(memory_kib, passes, lanes, Some(hash_bytes)).is_ok();
    if text.split(',').count() == 3 && bounded && valid {
        Ok(Scheme::Argon2id { memory_kib, passes, lanes })
    } else {
        Err(wrong)
    }
}

impl fmt::Display for Hash {
    /// As it stands in a file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (salt, hash) = (Base64::encode_string(&self.salt), Base64::encode_string(&self.hash));
        match self.scheme {
            Scheme::Sha512 => write!(f, "$6${salt}${hash}"),
            Scheme::Pbkdf2 { iterations } => write!(f, "$7${iterations}${salt}${hash}"),
            Scheme::GoAuth { iterations, sha256 } => {
                let name = if sha256 { "sha256" } else { "sha512" };
                write!(f, "PBKDF2${name}${iterations}${salt}${hash}")
            }
            Scheme::Argon2id { memory_kib, passes, lanes } => {
                let salt = Base64Unpadded::encode_string(&self.salt);
                let hash = Base64Unpadded::encode_string(&self.hash);
                write!(f, "$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${salt}${hash}")
            }
        }
    }
}

impl fmt::Debug for Hash {
    /// Neither salt nor hash belongs in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.scheme.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The password is `secret`. By Debian's mosquitto_passwd 2.0.11 with `-H sha512` and as it is;
    /// as go-auth writes it, by Python's hashlib; by Debian's `argon2`, with the parameters of
    /// mosquitto 2.1.
    const FOREIGN: [&str; 4] = [
        "$6$Zw3ZpvQzFArR7Chx$UCV3TV7NJ2aL/JQd5oRoLsJVtTyBUcbn3ZurAGYa6Y0aP/SAugMQfSEgIEbG/AM/\
         18yB3PzhLWTEGXY+RqSjvA==",
        "$7$101$+FfyKRy1gitNV1PI$K+RV4lBwuqhewvqSpszE9ghd2XKCyfO2HC0S9eOxq+w541kwbzkLl2aNasik\
         9CL69fH/Am2BicQ3DUWixXVonw==",
        "PBKDF2$sha512$1000$BlwtSl/ubLqi+HT7w2pxoA==$MVMBmVRo1Wg/zC577qZ69L2RhIh2l1RQ69OuoksqfI4p\
         /rx23yOxvFh/gsbhw/ZgMdWcGZKumNYhVKtGMZ/d2w==",
        "$argon2id$v=19$m=47104,t=1,p=1$c2FsdHNhbHRzYWx0MQ$cUyzZ7c6mE/114oGz1/DnJStlTDrvkh9z8TJWG\
         0AftAGBb8UZ9eMY6bY6b7ANShja5xShzebP14W8cYNa3iL/w",
    ];

    #[test]
    fn hashes_of_other_programs_know_their_password() {
        for text in FOREIGN {
            let hash: Hash = text.parse().expect(text);
            assert!(hash.verify(b"secret"), "{text}");
            for wrong in ["", "Secret", "secret ", "secre"] {
                assert!(!hash.verify(wrong.as_bytes()), "{text} {wrong:?}");
            }
            assert_eq!(hash.to_string(), text);
        }
    }

    #[test]
    fn what_is_written_can_be_read() {
        let cheap = Scheme::Argon2id { memory_kib: 64, passes: 2, lanes: 1 };
        let go_auth = Scheme::GoAuth { iterations: 3, sha256: true };
        for scheme in [Scheme::Sha512, Scheme::Pbkdf2 { iterations: 2 }, go_auth, cheap] {
            let hash = Hash::new(scheme, b"\xff\0 any bytes", b"0123456789ab".to_vec());
            let read: Hash = hash.to_string().parse().expect("what we wrote");
            assert_eq!(read, hash);
            assert!(read.verify(b"\xff\0 any bytes"));
            assert!(!read.verify(b"\xff"));
        }
    }

    #[test]
    fn what_is_no_hash_says_why() {
        let rows = [
            ("", "is not hashed"),
            ("secret", "is not hashed"),
            ("$1$abc$def", "is not hashed"),
            ("$6$AAAA", "cut off"),
            ("$6$AAAA$AAAA", "64 bytes"),
            ("$6$A$AAAA", "no base64"),
            ("$7$0$AAAA$AAAA", "iterations"),
            ("$7$10000001$AAAA$AAAA", "iterations"),
            ("$7$ten$AAAA$AAAA", "iterations"),
            ("$7$10$AAAA$", "length"),
            ("$7$10$AAAA$AAAA$AAAA", "cut off"),
            ("$2a$10$abcdefghijklmnopqrstuv", "bcrypt"),
            ("PBKDF2$md5$10$AAAA$AAAA", "cut off"),
            ("$argon2id$v=19$m=64,t=1$c2FsdHNhbHQ$AAAAAAAA", "m=KIB"),
            ("$argon2id$v=19$m=64,t=1,p=1,x=1$c2FsdHNhbHQ$AAAAAAAA", "m=KIB"),
            ("$argon2id$v=19$m=4194304,t=1,p=1$c2FsdHNhbHQ$AAAAAAAA", "1 GiB"),
            ("$argon2id$v=19$m=64,t=101,p=1$c2FsdHNhbHQ$AAAAAAAA", "100 passes"),
            ("$argon2id$v=16$m=64,t=1,p=1$c2FsdHNhbHQ$AAAAAAAA", "cut off"),
        ];
        for (text, words) in rows {
            let said = text.parse::<Hash>().expect_err(text);
            assert!(said.contains(words), "{text}: {said}");
        }
    }

    #[test]
    fn nothing_of_it_shows_in_a_log() {
        let hash: Hash = FOREIGN[1].parse().expect("a hash");
        assert_eq!(format!("{hash:?}"), "Pbkdf2 { iterations: 101 }");
    }
}
