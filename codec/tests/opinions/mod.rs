//! Second opinions: what two decoders by others say about the same bytes.

use std::panic::catch_unwind;

use bytes::BytesMut;
use martlet_codec::packet::{Delivery, Packet};
use martlet_codec::reason::ProtocolVersion;

/// Asks for the packet at the beginning of these bytes.
pub(crate) type Ask = fn(ProtocolVersion, &[u8]) -> Opinion;

/// Who is asked.
pub(crate) const WHO: [(&str, Ask); 2] = [("mqttbytes", mqttbytes), ("rumqttc", rumqttc)];

/// What it says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Opinion {
    /// A packet; of a PUBLISH, what is in it.
    Accepts(Option<Seen>),
    Rejects,
    WantsMore,
    Panics,
}

impl Opinion {
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Accepts(_) => "accepts",
            Self::Rejects => "rejects",
            Self::WantsMore => "wants more",
            Self::Panics => "panics",
        }
    }
}

/// A PUBLISH as others see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    topic: Vec<u8>,
    payload: Vec<u8>,
    qos: u8,
    id: u16,
    dup: bool,
    retain: bool,
}

/// The same of a packet of ours, if it is a PUBLISH.
pub(crate) fn seen(packet: &Packet<'_>) -> Option<Seen> {
    let Packet::Publish(publish) = packet else { return None };
    let dup = match publish.delivery {
        Delivery::AtMostOnce => false,
        Delivery::AtLeastOnce { dup, .. } | Delivery::ExactlyOnce { dup, .. } => dup,
    };
    Some(Seen {
        topic: publish.topic.map(|topic| topic.as_bytes().to_vec()).unwrap_or_default(),
        payload: publish.payload.to_vec(),
        qos: publish.delivery.qos().get(),
        id: publish.delivery.id().map_or(0, |id| id.get()),
        dup,
        retain: publish.retain,
    })
}

const SIZE_MAX: u32 = super::table::LIMITS.packet_size_max;

macro_rules! seen {
    ($publish:expr) => {{
        let publish = $publish;
        let topic: &[u8] = publish.topic.as_ref();
        Some(Seen {
            topic: topic.to_vec(),
            payload: publish.payload.to_vec(),
            qos: publish.qos as u8,
            id: publish.pkid,
            dup: publish.dup,
            retain: publish.retain,
        })
    }};
}

fn guard(ask: impl FnOnce() -> Opinion + std::panic::UnwindSafe) -> Opinion {
    catch_unwind(ask).unwrap_or(Opinion::Panics)
}

fn mqttbytes(version: ProtocolVersion, bytes: &[u8]) -> Opinion {
    use mqttbytes::{Error, v4, v5};
    let mut stream = BytesMut::from(bytes);
    let refused = |error| match error {
        Error::InsufficientBytes(_) => Opinion::WantsMore,
        _ => Opinion::Rejects,
    };
    guard(move || match version {
        ProtocolVersion::V5 => match v5::read(&mut stream, SIZE_MAX as usize) {
            Ok(v5::Packet::Publish(publish)) => Opinion::Accepts(seen!(publish)),
            Ok(_) => Opinion::Accepts(None),
            Err(error) => refused(error),
        },
        _ => match v4::read(&mut stream, SIZE_MAX as usize) {
            Ok(v4::Packet::Publish(publish)) => Opinion::Accepts(seen!(publish)),
            Ok(_) => Opinion::Accepts(None),
            Err(error) => refused(error),
        },
    })
}

fn rumqttc(version: ProtocolVersion, bytes: &[u8]) -> Opinion {
    use rumqttc::mqttbytes::{Error, v4};
    use rumqttc::v5::mqttbytes::{Error as Error5, v5};
    let mut stream = BytesMut::from(bytes);
    guard(move || match version {
        ProtocolVersion::V5 => match v5::Packet::read(&mut stream, Some(SIZE_MAX)) {
            Ok(v5::Packet::Publish(publish)) => Opinion::Accepts(seen!(publish)),
            Ok(_) => Opinion::Accepts(None),
            Err(Error5::InsufficientBytes(_)) => Opinion::WantsMore,
            Err(_) => Opinion::Rejects,
        },
        _ => match v4::Packet::read(&mut stream, SIZE_MAX as usize) {
            Ok(v4::Packet::Publish(publish)) => Opinion::Accepts(seen!(publish)),
            Ok(_) => Opinion::Accepts(None),
            Err(Error::InsufficientBytes(_)) => Opinion::WantsMore,
            Err(_) => Opinion::Rejects,
        },
    })
}
