//! A PUBLISH of 64 bytes to a topic of 23, decoded and encoded, beside mqttbytes.

use bytes::BytesMut;
use divan::{Bencher, black_box};
use martlet_codec::decode::{DecodeLimits, Decoded, decode};
use martlet_codec::encode::encode;
use martlet_codec::ids::PacketId;
use martlet_codec::packet::{Delivery, Packet, Publish};
use martlet_codec::properties::Properties;
use martlet_codec::reason::ProtocolVersion;
use martlet_codec::topic::{TopicFilter, TopicName};

const TOPIC: &str = "site/line-7/temperature";
const PAYLOAD: [u8; 64] = [b'x'; 64];
const LIMITS: DecodeLimits = DecodeLimits { packet_size_max: 1 << 20, topic_levels_max: 200 };
const QOS: [u8; 2] = [0, 1];
const VERSIONS: [ProtocolVersion; 2] = [ProtocolVersion::V311, ProtocolVersion::V5];

fn main() {
    divan::main();
}

fn publish(qos: u8) -> Packet<'static> {
    let delivery = match qos {
        0 => Delivery::AtMostOnce,
        _ => Delivery::AtLeastOnce { id: PacketId::FIRST, dup: false },
    };
    Packet::Publish(Publish {
        delivery,
        retain: false,
        topic: TopicName::new(TOPIC.as_bytes()).ok(),
        properties: Properties::EMPTY,
        payload: &PAYLOAD,
    })
}

fn encoded(qos: u8, version: ProtocolVersion) -> Vec<u8> {
    let mut out = vec![0; 256];
    let len = encode(&publish(qos), version, &mut out).expect("a legal packet");
    out.truncate(len);
    out
}

mod decoding {
    use super::*;

    #[divan::bench(args = QOS, consts = [false, true])]
    fn ours<const V5: bool>(bencher: Bencher<'_, '_>, qos: u8) {
        let version = VERSIONS[usize::from(V5)];
        let bytes = encoded(qos, version);
        bencher.bench(|| {
            let Ok(Decoded::Packet { packet: Packet::Publish(publish), len, .. }) =
                decode(black_box(&bytes), version, &LIMITS)
            else {
                panic!("a PUBLISH")
            };
            (publish.topic.map(|topic| topic.as_bytes().len()), publish.payload.len(), len)
        });
    }

    #[divan::bench]
    fn topic_name() -> bool {
        TopicName::new(black_box(TOPIC.as_bytes())).is_ok()
    }

    #[divan::bench(args = ["site/line-7/temperature", "site/+/temperature", "site/#"])]
    fn filter_matches(bencher: Bencher<'_, '_>, filter: &str) {
        let filter = TopicFilter::new(filter.as_bytes()).expect("a filter");
        let topic = TopicName::new(TOPIC.as_bytes()).expect("a topic");
        bencher.bench(|| black_box(filter).matches(black_box(topic)));
    }

    #[divan::bench(args = QOS)]
    fn mqttbytes_v4(bencher: Bencher<'_, '_>, qos: u8) {
        let bytes = encoded(qos, ProtocolVersion::V311);
        bencher
            .with_inputs(|| BytesMut::from(&bytes[..]))
            .bench_values(|mut stream| mqttbytes::v4::read(&mut stream, 1 << 20).is_ok());
    }
}

mod encoding {
    use super::*;

    #[divan::bench(args = QOS, consts = [false, true])]
    fn ours<const V5: bool>(bencher: Bencher<'_, '_>, qos: u8) {
        let version = VERSIONS[usize::from(V5)];
        let packet = publish(qos);
        let mut out = [0; 256];
        bencher.bench_local(|| encode(black_box(&packet), version, black_box(&mut out)));
    }

    #[divan::bench(args = QOS)]
    fn mqttbytes_v4(bencher: Bencher<'_, '_>, qos: u8) {
        let qos = mqttbytes::qos(qos).expect("0 or 1");
        let mut publish = mqttbytes::v4::Publish::new(TOPIC, qos, PAYLOAD);
        publish.pkid = 1;
        let mut stream = BytesMut::with_capacity(256);
        bencher.bench_local(|| {
            stream.clear();
            black_box(&publish).write(&mut stream)
        });
    }
}
