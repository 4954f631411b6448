//! The head of a PUBLISH and its payload, side by side, are the PUBLISH.

use martlet_codec::encode::{EncodeError, encode, publish_head};
use martlet_codec::ids::PacketId;
use martlet_codec::packet::{Delivery, Packet, Publish};
use martlet_codec::properties::{Properties, Property};
use martlet_codec::reason::ProtocolVersion;
use martlet_codec::topic::TopicName;

#[test]
fn head_and_payload_are_the_packet() {
    let properties = [Property::ContentType("text/plain")];
    let rows = [
        (ProtocolVersion::V311, Properties::EMPTY, 0),
        (ProtocolVersion::V311, Properties::EMPTY, 70_000),
        (ProtocolVersion::V5, Properties::new(&properties), 200),
    ];
    for (version, properties, payload_len) in rows {
        let payload = vec![7; payload_len];
        let publish = Publish {
            delivery: Delivery::AtLeastOnce { id: PacketId::FIRST, dup: false },
            retain: true,
            topic: TopicName::new(b"a/b").ok(),
            properties,
            payload: &payload,
        };
        let mut whole = vec![0; payload_len + 100];
        let len = encode(&Packet::Publish(publish), version, &mut whole).expect("legal");
        let mut head = [0; 100];
        let head_len = publish_head(&publish, version, &mut head).expect("legal");
        assert_eq!(whole[..len], [&head[..head_len], &payload[..]].concat());
        let short = publish_head(&publish, version, &mut head[..head_len - 1]);
        assert_eq!(short, Err(EncodeError::BufferTooSmall { needed: head_len }));
    }
}
