//! TLS 1.3 for devices without an allocator: who the broker is, and nobody listening.
//!
//! [`asynchronous::Tls`] is a network around another one. What it does is RFC 8446 with one choice
//! of each kind: TLS_AES_128_GCM_SHA256, P-256 for the keys of the connection, ECDSA on P-256 for
//! certificates. It resumes nothing, and answers no HelloRetryRequest.
//!
//! What it promises:
//! 1. No byte of the program leaves, and none is given to it, before the broker has shown a
//!    certificate that [`settings::Trust`] believes, has proved that it has its key, and has sealed
//!    all that was said: no state leads past any of these.
//! 2. It never panics, whatever comes. Lengths are checked before anything is looked at.
//! 3. A record is gathered whole, where the caller's memory is, before it is opened. So a read or a
//!    write that is dropped in the middle loses nothing.
//! 4. Each end has a reason ([`fault::Fault`]), which the broker hears too.

pub mod asynchronous;
pub mod fault;
pub mod settings;

mod bytes;
mod certificate;
mod der;
mod handshake;
mod keys;
mod messages;
mod record;
mod session;
