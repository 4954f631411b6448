//! Networks around the client: short loops that open, read, write, wait and start over.
//!
//! | driver | network | feature |
//! |---|---|---|
//! | [`asynchronous`] | anything that reads and writes as `embedded-io-async` has it | `async` |
//! | [`blocking`] | anything that reads and writes as `embedded-io` has it | `blocking` |
//! | `embassy` | TCP of `embassy-net`, for [`asynchronous`] | `embassy` |
//! | `tls::asynchronous`, beside this | TLS 1.3 around any of [`asynchronous`] | `tls` |

#[cfg(feature = "async")]
pub mod asynchronous;
#[cfg(feature = "blocking")]
pub mod blocking;
#[cfg(feature = "embassy")]
pub mod embassy;

mod buffers;

/// How long a connection may take to open, with an address of our own, the broker's, and TLS, in
/// milliseconds. Then it is tried anew, as after any other failure.
pub const OPEN_MS: u64 = 60_000;

/// How long the network may take to accept a few bytes, in milliseconds. Then the connection counts
/// as lost.
pub const WRITE_MS: u64 = 20_000;
