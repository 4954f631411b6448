//! The codec against the packet table.

mod table;

use martlet_codec::decode::{Decoded, decode};
use martlet_codec::encode::{EncodeError, encode, encoded_len};
use martlet_codec::packet::Packet;
use martlet_codec::reason::{ProtocolVersion, ReasonCode};
use table::{LIMITS, Row, Verdict, rows};

#[test]
fn every_row_gets_its_verdict() {
    let rows = rows();
    assert!(rows.len() >= 250, "{} rows", rows.len());
    let failures: Vec<String> =
        rows.iter().filter_map(|row| check(row).err().map(|why| tell(row, &why))).collect();
    assert!(failures.is_empty(), "\n{}\n", failures.join("\n"));
}

#[test]
fn every_packet_type_is_legal_and_illegal_somewhere_in_each_version() {
    for version in [ProtocolVersion::V31, ProtocolVersion::V311, ProtocolVersion::V5] {
        for packet_type in 1..=15 {
            let of_type: Vec<_> = rows()
                .into_iter()
                .filter(|row| {
                    row.version == version
                        && row.bytes.first().is_some_and(|b| b >> 4 == packet_type)
                })
                .collect();
            let legal = of_type.iter().any(|row| matches!(row.verdict, Verdict::Legal { .. }));
            assert_eq!(legal, packet_type < 15 || version == ProtocolVersion::V5, "{packet_type}");
            if version > ProtocolVersion::V31 {
                assert!(of_type.iter().any(|row| matches!(row.verdict, Verdict::Illegal { .. })));
            }
        }
    }
}

fn tell(row: &Row, why: &str) -> String {
    format!("{:?} {}: {why}", row.version, row.meaning)
}

fn check(row: &Row) -> Result<(), String> {
    match (row.verdict, decode(&row.bytes, row.version, &LIMITS)) {
        (Verdict::Legal { shortest }, Ok(Decoded::Packet { packet, len, header_len })) => {
            if len != row.bytes.len() || packet.packet_type() as u8 != row.bytes[0] >> 4 {
                return Err(format!("{packet:?} of {len} bytes"));
            }
            if header_len > 5 || header_len > len {
                return Err(format!("a header of {header_len} bytes"));
            }
            check_beginnings(row)?;
            check_encoding(row, &packet, shortest)
        }
        (Verdict::NeedMore, Ok(Decoded::NeedMore { at_least: 1.. })) => Ok(()),
        (Verdict::Illegal { reason, rule }, Err(error)) => {
            let as_expected = error.reason.get() == reason && error.rule == rule;
            let unknown_level = rule == "MQTT-3.1.2-2";
            let too_large = error.reason == ReasonCode::PacketTooLarge;
            if !as_expected
                || unknown_level != error.unknown_level
                || too_large != (rule == "packet_size_max")
            {
                return Err(format!("{error:?}"));
            }
            check_illegal_beginnings(row)
        }
        (_, other) => Err(format!("{other:?}")),
    }
}

/// Nothing but "need more", from any part of a legal packet; and never more than is missing.
fn check_beginnings(row: &Row) -> Result<(), String> {
    for end in 0..row.bytes.len() {
        match decode(&row.bytes[..end], row.version, &LIMITS) {
            Ok(Decoded::NeedMore { at_least })
                if (1..=row.bytes.len() - end).contains(&at_least) => {}
            other => return Err(format!("of the first {end} bytes: {other:?}")),
        }
    }
    Ok(())
}

/// No packet comes out of a part of an illegal one.
fn check_illegal_beginnings(row: &Row) -> Result<(), String> {
    for end in 0..row.bytes.len() {
        if let Ok(Decoded::Packet { packet, .. }) = decode(&row.bytes[..end], row.version, &LIMITS)
        {
            return Err(format!("of the first {end} bytes: {packet:?}"));
        }
    }
    Ok(())
}

fn check_encoding(row: &Row, packet: &Packet<'_>, shortest: bool) -> Result<(), String> {
    let mut out = vec![0xEE; row.bytes.len() + 9];
    let len = encode(packet, row.version, &mut out).map_err(|error| format!("{error:?}"))?;
    if shortest != (out[..len] == row.bytes) || !shortest && len > row.bytes.len() {
        return Err(format!("encoded as {:02x?}", &out[..len]));
    }
    if encoded_len(packet, row.version) != Ok(len) || out[len..].iter().any(|&b| b != 0xEE) {
        return Err(format!("not {len} bytes long"));
    }
    if encode(packet, row.version, &mut out[..len - 1])
        != Err(EncodeError::BufferTooSmall { needed: len })
    {
        return Err("written to a buffer that is too small".to_owned());
    }
    match decode(&out[..len], row.version, &LIMITS) {
        Ok(Decoded::Packet { packet: again, .. }) if again == *packet => Ok(()),
        other => Err(format!("{other:?} after encoding")),
    }
}
