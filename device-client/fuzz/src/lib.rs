//! The body of the fuzz target, from where `cargo test` runs it over bytes of its own.

#[path = "../../tests/device/bytes.rs"]
mod bytes;
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../../tests/device/support.rs"]
mod support;

/// See `tests/device/bytes.rs`.
pub fn receive(input: &[u8]) {
    bytes::anything(input);
}
