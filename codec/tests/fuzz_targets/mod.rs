//! What must hold for any bytes: the bodies of the fuzz targets, which `fuzz_replay.rs` runs over
//! the committed corpus too. The first byte of an input chooses the version.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use martlet_codec::decode::{DecodeError, Decoded, decode};
use martlet_codec::encode::{encode, encoded_len};
use martlet_codec::packet::Packet;
use martlet_codec::properties::Property;
use martlet_codec::reason::ProtocolVersion;

use super::opinions::{Opinion, WHO, seen};
use super::table::{LIMITS, Verdict, rows};

/// Splits an input into the version and the bytes.
pub(crate) fn parts(input: &[u8]) -> Option<(ProtocolVersion, &[u8])> {
    let (first, bytes) = input.split_first()?;
    let version = match first % 3 {
        0 => ProtocolVersion::V31,
        1 => ProtocolVersion::V311,
        _ => ProtocolVersion::V5,
    };
    Some((version, bytes))
}

/// Decoding ends, never reads past a packet, and says of a part nothing that the whole belies.
pub(crate) fn decoding(input: &[u8]) {
    let Some((version, mut bytes)) = parts(input) else { return };
    while let Some(len) = decode_one(version, bytes) {
        bytes = &bytes[len..];
    }
}

/// The length of the packet at the beginning, if there is one.
fn decode_one(version: ProtocolVersion, bytes: &[u8]) -> Option<usize> {
    let whole = decode(bytes, version, &LIMITS);
    for end in (0..bytes.len()).step_by(1 + bytes.len() / 16) {
        check_part(&bytes[..end], version, &whole);
    }
    match whole {
        Ok(Decoded::Packet { packet, len, header_len }) => {
            assert!(2 <= header_len && header_len <= len && len <= bytes.len());
            assert!(len <= LIMITS.packet_size_max as usize);
            let alone = decode(&bytes[..len], version, &LIMITS);
            assert_eq!(alone, Ok(Decoded::Packet { packet, len, header_len }));
            assert!(!format!("{packet:?}").is_empty());
            Some(len)
        }
        Ok(Decoded::NeedMore { at_least }) => {
            assert!(at_least > 0);
            None
        }
        Err(error) => {
            assert!(error.reason.is_error() && !error.rule.is_empty() && !error.text.is_empty());
            None
        }
    }
}

fn check_part(part: &[u8], version: ProtocolVersion, whole: &Result<Decoded<'_>, DecodeError>) {
    match (decode(part, version, &LIMITS), whole) {
        (Ok(Decoded::NeedMore { at_least }), Ok(Decoded::Packet { len, .. })) => {
            assert!(part.len() + at_least <= *len);
        }
        (Ok(Decoded::NeedMore { .. }), _) => {}
        (other, whole) => assert_eq!(other, *whole),
    }
}

/// What was decoded is encoded to the same packet, in no more bytes, and then to the same bytes.
pub(crate) fn roundtrip(input: &[u8]) {
    let Some((version, bytes)) = parts(input) else { return };
    let Ok(Decoded::Packet { packet, len, .. }) = decode(bytes, version, &LIMITS) else { return };
    let mut out = vec![0; len];
    let shortest = encode(&packet, version, &mut out).expect("decoded packets are legal");
    assert_eq!(encoded_len(&packet, version), Ok(shortest));
    // 3.1 may set DUP where there is no QoS, and may leave out what CONNECT's flags announce.
    if shortest == len && version > ProtocolVersion::V31 && !is_v31(&packet) {
        assert_eq!(out, bytes[..len]);
    }
    let again = decode(&out[..shortest], version, &LIMITS);
    let Ok(Decoded::Packet { packet: again, len, .. }) = again else { panic!("{again:?}") };
    assert_eq!((again, len), (packet, shortest));
    let mut out_again = vec![0; shortest];
    assert_eq!(encode(&again, version, &mut out_again), Ok(shortest));
    assert_eq!(out_again, out[..shortest]);
}

fn is_v31(packet: &Packet<'_>) -> bool {
    matches!(packet, Packet::Connect(connect) if connect.version == ProtocolVersion::V31)
}

/// mqttbytes and rumqttc see what we see, but for the faults that the packet table showed.
pub(crate) fn differential(input: &[u8]) {
    let Some((version, bytes)) = parts(input) else { return };
    if version == ProtocolVersion::V31 || is_connect_of_another(version, bytes) {
        return; // Neither speaks 3.1; both read a CONNECT of 5.0 as one of 3.1.1.
    }
    let ours = decode(bytes, version, &LIMITS);
    for (who, ask) in WHO {
        match (&ours, ask(version, bytes)) {
            (Ok(Decoded::Packet { packet, .. }), Opinion::Accepts(theirs)) => {
                if !has_subscription_id(packet) {
                    assert_eq!(seen(packet), theirs, "{who}");
                }
            }
            (Ok(Decoded::Packet { packet, len, .. }), theirs) => {
                let known = is_refused_by_fault(packet, &bytes[..*len], version);
                assert!(known, "{who} {} {packet:?}", theirs.word());
            }
            (Ok(Decoded::NeedMore { .. }), theirs) => {
                assert!(!matches!(theirs, Opinion::Accepts(_)), "{who} accepts a part");
            }
            (Err(error), Opinion::Accepts(_)) => {
                let known = lenient().contains(&(who, error.rule));
                assert!(known || may_lose_place(version, bytes), "{who} accepts {error:?}");
            }
            (Err(_), Opinion::Rejects | Opinion::WantsMore | Opinion::Panics) => {}
        }
    }
}

fn is_connect_of_another(version: ProtocolVersion, bytes: &[u8]) -> bool {
    let level = if version == ProtocolVersion::V5 { 5 } else { 4 };
    let protocol = bytes.windows(7).find(|window| window.starts_with(b"\0\x04MQTT"));
    bytes.first().is_some_and(|first| first >> 4 == 1) && protocol.is_some_and(|p| p[6] != level)
}

/// The rules that each decoder breaks in some row of the table.
fn lenient() -> &'static BTreeSet<(&'static str, &'static str)> {
    static RULES: OnceLock<BTreeSet<(&str, &str)>> = OnceLock::new();
    RULES.get_or_init(|| {
        let mut rules = BTreeSet::new();
        for row in rows() {
            let Verdict::Illegal { rule, .. } = row.verdict else { continue };
            for (who, ask) in WHO {
                if matches!(ask(row.version, &row.bytes), Opinion::Accepts(_)) {
                    rules.insert((who, rule));
                }
            }
        }
        rules
    })
}

/// Behind a Subscription Identifier both read on from the wrong place, and see other bytes.
fn may_lose_place(version: ProtocolVersion, bytes: &[u8]) -> bool {
    let publish = bytes.first().is_some_and(|first| first >> 4 == 3);
    version == ProtocolVersion::V5 && publish && bytes.contains(&0x0B)
}

/// What [`may_lose_place`] is about, in a packet that we could read.
fn has_subscription_id(packet: &Packet<'_>) -> bool {
    packet.properties().iter().any(|p| matches!(p, Property::SubscriptionIdentifier(_)))
}

/// The legal packets that both refuse or wait for (`second_opinions.txt`).
fn is_refused_by_fault(packet: &Packet<'_>, bytes: &[u8], version: ProtocolVersion) -> bool {
    match packet {
        Packet::Connect(connect) => {
            let spoken = connect.version == version && !connect.bridge;
            let password = connect.password.unwrap_or_default();
            !spoken || core::str::from_utf8(password).is_err()
        }
        Packet::Disconnect(_) => version == ProtocolVersion::V5 && bytes.len() < 4,
        Packet::Auth(_) => true,
        _ => has_subscription_id(packet),
    }
}
