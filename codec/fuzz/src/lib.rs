//! The bodies of the fuzz targets, from where `cargo test` runs them over the corpus.

#[path = "../../tests/opinions/mod.rs"]
mod opinions;
#[path = "../../tests/table/mod.rs"]
mod table;

#[path = "../../tests/fuzz_targets/mod.rs"]
mod fuzz_targets;

/// See `tests/fuzz_targets`.
pub fn decode(input: &[u8]) {
    fuzz_targets::decoding(input);
}

/// See `tests/fuzz_targets`.
pub fn roundtrip(input: &[u8]) {
    fuzz_targets::roundtrip(input);
}

/// See `tests/fuzz_targets`.
pub fn differential(input: &[u8]) {
    fuzz_targets::differential(input);
}
