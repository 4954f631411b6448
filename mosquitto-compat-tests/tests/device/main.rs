//! The device client on real sockets: on this machine's, and on those of an emulated board.

#![expect(clippy::unwrap_used, reason = "a test says by panicking that it failed")]

mod board;
#[allow(unreachable_pub, clippy::disallowed_methods, reason = "a whole program's own")]
#[path = "../../../firmware-examples/raspberry-pi/src/network.rs"]
mod network;
mod pki;
mod proxy;
mod sockets;
mod tls;
