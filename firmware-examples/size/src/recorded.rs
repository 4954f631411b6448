//! A handshake that a server of TLS 1.3 has said once to a device whose random numbers are all
//! [`RANDOM`]. It says the same to it every time. The keys are nobody's.
//!
//! `TEST_RECORD=1 cargo test -p martlet-device --test tls recorded` makes another one.

/// What the device calls the server.
pub const NAME: &str = "broker.example.org";
/// Each byte of every random number.
pub const RANDOM: u8 = 7;
/// When it was said, in seconds since 1970.
pub const NOW: u64 = 1_790_000_000;
/// In DER: who has signed the server's certificate.
pub const AUTHORITY: &[u8] = include_bytes!("recorded/authority.der");
/// In DER: the device's own certificate, and its key.
pub const CERTIFICATE: &[u8] = include_bytes!("recorded/device.der");
/// See [`CERTIFICATE`].
pub const KEY: &[u8] = include_bytes!("recorded/device.key.der");
/// All that the server says: the handshake, a CertificateRequest in it, and CONNACK, SUBACK and a
/// PUBLISH of QoS 1 to `lamp`.
pub const SERVER: &[u8] = include_bytes!("recorded/server.bin");
