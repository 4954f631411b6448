//! Bridges between brokers: two Martlets as processes with a wire between them that is cut, each
//! killed while messages cross, and servers that cheat.

#![allow(missing_docs, unreachable_pub, reason = "a test")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops here")]

#[path = "../raw/mod.rs"]
mod raw;

mod addresses;
#[path = "../tls/authority.rs"]
#[allow(dead_code, reason = "this test uses its part")]
mod authority;
mod broker;
mod changing;
mod cheats;
mod crossing;
mod ends;
mod facing;
mod secure;
mod talk;
