//! MQTT over WebSocket: the request that opens it, and frames in both directions, without a socket.
//! No frame is ever gathered: what it carries goes on as it comes, so that an idle connection owns
//! no buffer, and a large one no second.

use std::borrow::Cow;
use std::io;

mod frames;
mod handshake;
pub mod session;

pub use handshake::Settings;

/// Why somebody does not come in over WebSocket.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The request was not good, which the peer is to be told.
    Told(Cow<'static, str>, session::Parting),
    /// Its stream ended or failed.
    Gone(io::Error),
}

/// What a peer did wrong, and what a Close frame says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} [{rule}]")]
pub(super) struct Fault {
    /// The status code of the Close frame.
    pub(super) code: u16,
    pub(super) rule: &'static str,
    pub(super) reason: &'static str,
}

impl Fault {
    /// Frames that are none.
    const fn frame(reason: &'static str) -> Self {
        Self { code: 1002, rule: "RFC 6455", reason }
    }

    /// Data that cannot be MQTT's.
    const fn text() -> Self {
        let reason = "a text frame, and MQTT comes in binary ones";
        Self { code: 1003, rule: "MQTT-6.0.0-1", reason }
    }
}
