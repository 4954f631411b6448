//! The packet table (`packets.txt`), read.

use martlet_codec::decode::DecodeLimits;
use martlet_codec::reason::ProtocolVersion;

/// The limits that the table's rows are meant for.
pub(crate) const LIMITS: DecodeLimits =
    DecodeLimits { packet_size_max: 65_536, topic_levels_max: 16 };

/// One row.
#[allow(dead_code)] // Not every test reads every column.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) version: ProtocolVersion,
    pub(crate) verdict: Verdict,
    pub(crate) bytes: Vec<u8>,
    pub(crate) meaning: &'static str,
}

/// What the row expects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Legal { shortest: bool },
    NeedMore,
    Illegal { reason: u8, rule: &'static str },
}

/// All rows, in order.
pub(crate) fn rows() -> Vec<Row> {
    include_str!("../packets.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(row)
        .collect()
}

fn row(line: &'static str) -> Row {
    let columns: Vec<&str> = line.splitn(4, '|').map(str::trim).collect();
    let [version, verdict, bytes, meaning] = columns[..] else { panic!("four columns: {line}") };
    let verdict = match verdict.split(' ').collect::<Vec<_>>()[..] {
        ["ok"] => Verdict::Legal { shortest: true },
        ["ok", "long"] => Verdict::Legal { shortest: false },
        ["more"] => Verdict::NeedMore,
        ["error", reason, ..] => Verdict::Illegal {
            reason: u8::from_str_radix(reason, 16).expect("a reason code"),
            rule: &verdict["error 81 ".len()..],
        },
        _ => panic!("a verdict: {line}"),
    };
    Row { version: version_of(version), verdict, bytes: bytes_of(bytes), meaning }
}

fn version_of(text: &str) -> ProtocolVersion {
    match text {
        "v31" => ProtocolVersion::V31,
        "v311" => ProtocolVersion::V311,
        "v5" => ProtocolVersion::V5,
        other => panic!("a version: {other}"),
    }
}

/// Reads hex and quoted text.
fn bytes_of(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (at, part) in text.split('\'').enumerate() {
        if at % 2 == 1 {
            bytes.extend_from_slice(part.as_bytes());
        } else {
            bytes.extend(
                part.split_whitespace().map(|hex| u8::from_str_radix(hex, 16).expect("hex")),
            );
        }
    }
    bytes
}
