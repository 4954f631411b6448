//! The packet table put to mqttbytes and to rumqttc's decoder, with what they get wrong listed
//! (`second_opinions.txt`). 3.1, which neither speaks, is left out.

mod opinions;
mod table;

use std::collections::BTreeSet;

use martlet_codec::decode::{Decoded, decode};
use martlet_codec::reason::ProtocolVersion;
use opinions::{Opinion, WHO, seen};
use table::{LIMITS, Row, Verdict, rows};

#[test]
fn others_agree_but_for_their_known_faults() {
    std::panic::set_hook(Box::new(|_| ())); // A decoder that panics is one of the findings.
    let listed: BTreeSet<String> = include_str!("second_opinions.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .flat_map(expand)
        .collect();
    let found: BTreeSet<String> = rows().iter().flat_map(differences).collect();
    let _ = std::panic::take_hook();
    let unexpected: Vec<_> = found.difference(&listed).map(String::as_str).collect();
    let gone: Vec<_> = listed.difference(&found).map(String::as_str).collect();
    assert!(
        unexpected.is_empty() && gone.is_empty(),
        "not listed:\n{}\nlisted, but they agree now:\n{}\n",
        unexpected.join("\n"),
        gone.join("\n")
    );
}

/// A line may name both decoders and both versions.
fn expand(line: &str) -> Vec<String> {
    let columns: Vec<&str> = line.splitn(4, '|').map(str::trim).collect();
    let [who, versions, what, meaning] = columns[..] else { panic!("four columns: {line}") };
    who.split(' ')
        .flat_map(|who| versions.split(' ').map(move |version| (who, version)))
        .map(|(who, version)| format!("{who} | {version} | {what} | {meaning}"))
        .collect()
}

fn differences(row: &Row) -> Vec<String> {
    let version = match row.version {
        ProtocolVersion::V31 => return Vec::new(),
        ProtocolVersion::V311 => "v311",
        ProtocolVersion::V5 => "v5",
    };
    let expected = match (row.verdict, decode(&row.bytes, row.version, &LIMITS)) {
        (Verdict::Legal { .. }, Ok(Decoded::Packet { packet, .. })) => {
            Opinion::Accepts(seen(&packet))
        }
        (Verdict::NeedMore, _) => Opinion::WantsMore,
        _ => Opinion::Rejects,
    };
    WHO.iter()
        .map(|(who, ask)| (who, ask(row.version, &row.bytes)))
        .filter(|(_, opinion)| *opinion != expected)
        .map(|(who, opinion)| {
            let same_word = opinion.word() == expected.word();
            let what = if same_word { "misreads" } else { opinion.word() };
            format!("{who} | {version} | {what} | {}", row.meaning)
        })
        .collect()
}
