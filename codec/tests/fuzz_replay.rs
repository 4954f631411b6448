//! The fuzz targets over the committed corpus and over every row of the packet table.

mod fuzz_targets;
mod opinions;
mod table;

use std::fs;
use std::path::Path;

use martlet_codec::reason::ProtocolVersion;
use table::rows;

/// A target by the name of its corpus.
type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 3] = [
    ("decode", fuzz_targets::decoding),
    ("roundtrip", fuzz_targets::roundtrip),
    ("differential", fuzz_targets::differential),
];

#[test]
fn the_corpus_and_the_table_hold() {
    for (name, target) in TARGETS {
        let corpus = corpus(name);
        assert!(corpus.len() > 20, "{} inputs for {name}", corpus.len());
        corpus.iter().chain(&seeds()).for_each(|input| target(input));
    }
}

/// Writes the table as inputs for the fuzzer, where `TEST_FUZZ_SEEDS` names a directory.
#[test]
fn every_row_is_a_seed() {
    let seeds = seeds();
    assert!(seeds.iter().all(|seed| fuzz_targets::parts(seed).is_some()));
    if let Some(directory) = std::env::var_os("TEST_FUZZ_SEEDS") {
        for (at, seed) in seeds.iter().enumerate() {
            fs::write(Path::new(&directory).join(format!("row-{at}")), seed).expect("written");
        }
    }
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    fs::read_dir(directory)
        .expect("the corpus")
        .map(|entry| fs::read(entry.expect("an entry").path()).expect("an input"))
        .collect()
}

fn seeds() -> Vec<Vec<u8>> {
    let first = |version| match version {
        ProtocolVersion::V31 => 0,
        ProtocolVersion::V311 => 1,
        ProtocolVersion::V5 => 2,
    };
    rows().iter().map(|row| [&[first(row.version)], &row.bytes[..]].concat()).collect()
}
