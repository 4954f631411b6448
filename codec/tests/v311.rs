//! The narrow reader and writer of 3.1.1 agree with the general ones.

#![allow(missing_docs, unreachable_pub, reason = "a test")]

#[allow(dead_code, reason = "each test uses its part")]
#[path = "table/mod.rs"]
mod table;

use martlet_codec::decode::{DecodeLimits, Decoded, decode};
use martlet_codec::encode::{EncodeError, encode, publish_head};
use martlet_codec::packet::{ConnAckCode, Packet, PacketType};
use martlet_codec::reason::ProtocolVersion::V311;
use martlet_codec::topic::SubscriptionFilter;
use martlet_codec::v311::{self, Found, Malformed, ServerPacket};

const LIMITS: DecodeLimits = DecodeLimits { packet_size_max: u32::MAX, topic_levels_max: u16::MAX };

#[test]
fn every_row_is_read_alike() {
    let rows = table::rows();
    let rows: Vec<_> = rows.iter().filter(|row| row.version == V311).collect();
    assert!(rows.len() > 50);
    for row in rows {
        let steps = 1 + row.bytes.len() / 64;
        (0..=row.bytes.len()).step_by(steps).for_each(|end| compare(&row.bytes[..end]));
        compare(&row.bytes);
    }
}

/// Bytes that are nearly packets: rows with bytes changed.
#[test]
fn what_is_nearly_a_packet_is_read_alike() {
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = |bound: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 16) as usize % bound
    };
    let rows = table::rows();
    let rows: Vec<_> = rows.iter().filter(|row| row.bytes.len() < 200).collect();
    for _ in 0..100_000 {
        let mut bytes = rows[next(rows.len())].bytes.clone();
        for _ in 0..=next(3) {
            if !bytes.is_empty() {
                let at = next(bytes.len());
                bytes[at] = [0, 1, 2, 0x80, 0xFF, next(256) as u8][next(6)];
            }
        }
        bytes.truncate(1 + next(bytes.len().max(1)));
        compare(&bytes);
    }
}

fn compare(bytes: &[u8]) {
    let general = decode(bytes, V311, &LIMITS);
    let narrow = v311::read(bytes);
    let first = bytes.first().copied().unwrap_or_default();
    if matches!(first >> 4, 1 | 8 | 10 | 12 | 14) {
        assert!(narrow.is_err(), "only clients send {bytes:02x?}");
        return;
    }
    match (general, narrow) {
        (Ok(Decoded::Packet { packet, len, .. }), Ok(Found::Packet(narrow))) => {
            assert!(is_same(&packet, len, &narrow), "{packet:?} {narrow:?}");
        }
        (Ok(Decoded::NeedMore { at_least: general }), Ok(Found::NeedMore { at_least })) => {
            assert!(at_least > 0 && at_least <= general, "{bytes:02x?}");
        }
        // The head is enough, or is seen to be wrong before the rest is there.
        (Ok(Decoded::NeedMore { .. }), Ok(Found::Packet(ServerPacket::Publish(_))) | Err(_)) => {
            assert_eq!(first >> 4, PacketType::Publish as u8, "{bytes:02x?}");
        }
        (Err(_), Err(Malformed { rule })) => assert!(rule.starts_with("MQTT")),
        (general, narrow) => panic!("{bytes:02x?}: {general:?}, {narrow:?}"),
    }
}

fn is_same(packet: &Packet<'_>, len: usize, narrow: &ServerPacket<'_>) -> bool {
    match (packet, narrow) {
        (Packet::ConnAck(connack), ServerPacket::ConnAck { session_present, code }) => {
            connack.session_present == *session_present && connack.code == ConnAckCode::V3(*code)
        }
        (Packet::Publish(publish), ServerPacket::Publish(head)) => {
            publish.delivery == head.delivery
                && publish.retain == head.retain
                && publish.topic == Some(head.topic)
                && publish.payload.len() == head.payload_len
                && len == head.head_len + head.payload_len
        }
        (
            Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack),
            ServerPacket::Ack(packet_type, id),
        ) => packet.packet_type() == *packet_type && ack.id == *id,
        (Packet::SubAck(suback), ServerPacket::SubAck { id, codes }) => {
            suback.id == *id && suback.codes.as_bytes() == *codes
        }
        (Packet::UnsubAck(unsuback), ServerPacket::UnsubAck(id)) => unsuback.id == *id,
        (Packet::PingResp, ServerPacket::PingResp) => true,
        _ => false,
    }
}

/// What a client says is written alike: every row that is legal, into every size of buffer.
#[test]
fn every_row_is_written_alike() {
    let mut written = 0;
    for row in table::rows().iter().filter(|row| row.version == V311) {
        let Ok(Decoded::Packet { packet, .. }) = decode(&row.bytes, V311, &LIMITS) else {
            continue;
        };
        let steps = 1 + row.bytes.len() / 64;
        for size in (0..row.bytes.len() + 2).rev().step_by(steps) {
            let (mut general, mut narrow) = (vec![0; size], vec![0; size]);
            let Some(result) = write(&packet, &mut narrow) else { break };
            let expected = match &packet {
                Packet::Publish(publish) => publish_head(publish, V311, &mut general),
                packet => encode(packet, V311, &mut general),
            };
            assert_eq!(result, expected, "{packet:?}");
            if let Ok(len) = result {
                assert_eq!(narrow[..len], general[..len], "{packet:?}");
                written += 1;
            }
        }
    }
    assert!(written > 20, "{written}");
}

fn write(packet: &Packet<'_>, out: &mut [u8]) -> Option<Result<usize, EncodeError>> {
    let copied = |bytes: &[u8], out: &mut [u8]| match out.get_mut(..bytes.len()) {
        Some(place) => {
            place.copy_from_slice(bytes);
            Ok(bytes.len())
        }
        None => Err(EncodeError::BufferTooSmall { needed: bytes.len() }),
    };
    Some(match packet {
        Packet::Connect(connect) if connect.version == V311 && !connect.bridge => {
            v311::write_connect(connect, out)
        }
        Packet::Publish(publish) => v311::write_publish_head(publish, out),
        Packet::Subscribe(subscribe) => {
            let wishes = subscribe.subscriptions.iter().map(|wish| (text(&wish.filter), wish.qos));
            let wishes: Vec<_> = wishes.collect();
            let wishes = wishes.iter().map(|(filter, qos)| (filter.as_str(), *qos));
            v311::write_subscribe(subscribe.id, wishes, out)
        }
        Packet::Unsubscribe(unsubscribe) => {
            let filters: Vec<_> = unsubscribe.filters.iter().map(|filter| text(&filter)).collect();
            v311::write_unsubscribe(unsubscribe.id, filters.iter().map(String::as_str), out)
        }
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            copied(&v311::ack(packet.packet_type(), ack.id), out)
        }
        Packet::PingReq => copied(&v311::PINGREQ, out),
        Packet::Disconnect(_) => copied(&v311::DISCONNECT, out),
        _ => return None,
    })
}

fn text(filter: &SubscriptionFilter<'_>) -> String {
    let share = filter.share.map(|name| format!("$share/{name}/")).unwrap_or_default();
    share + filter.filter.as_str()
}
