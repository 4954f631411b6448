//! TLS against servers that keep the rules, by rustls, and against one that breaks each of them.

#![expect(clippy::unwrap_used, reason = "a test says by panicking that it failed")]
#![expect(clippy::too_many_lines, reason = "a table is as long as it has rows")]

mod certificates;
mod cheat;
mod cheating;
mod driver;
mod honest;
mod pki;
mod recorded;
mod spoiling;
mod wire;
