//! TLS against servers that keep the rules, by rustls, and against one that breaks each of them.

mod certificates;
mod cheat;
mod cheating;
mod honest;
mod pki;
mod wire;
