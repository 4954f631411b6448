//! What a listener makes of its clients' packets: which versions and which QoS they may use, and
//! where their topics are for everybody else.

use std::str::FromStr;

use martlet_codec::packet::{self, Packet, Publish};
use martlet_codec::reason::{ProtocolVersion, QoS};
use martlet_codec::topic::{SubscriptionFilter, TopicError, TopicFilter, TopicName};
use martlet_engine::filter::Filter;
use martlet_engine::input::{Connect, InPacket, LostCause};
use martlet_engine::message::Message;

/// One listener's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What stands in front of all topics of its clients.
    pub mount_point: Option<MountPoint>,
    /// The highest QoS: whoever publishes above it is closed, and whoever subscribes above it is
    /// granted this.
    pub qos_max: QoS,
    /// Versions of MQTT that are served.
    pub versions: Versions,
}

/// A topic name that ends with a slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountPoint(Box<str>);

/// Versions of MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    v31: bool,
    v311: bool,
}

/// Against the terms: the option that says so, and what was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Breach {
    pub(super) option: &'static str,
    pub(super) what: &'static str,
}

/// With the mount point in front, a topic or filter is none any more: it has got too long.
const TOO_LONG: Breach =
    Breach { option: "mount_point", what: "a topic that is too long for the mount point" };

impl Breach {
    /// What becomes of a connection.
    pub(super) fn cause(self) -> LostCause {
        LostCause::Malformed { rule: self.option, reason: self.what }
    }
}

impl Default for Terms {
    /// Everything that the broker can.
    fn default() -> Self {
        let versions = Versions { v31: true, v311: true };
        Self { mount_point: None, qos_max: QoS::ExactlyOnce, versions }
    }
}

impl Terms {
    /// The CONNECT as the engine is to see it; `room_bytes`, `nonce`: as there.
    pub(super) fn open(
        &self,
        connect: &packet::Connect<'_>,
        room_bytes: u32,
        nonce: u64,
    ) -> Result<Connect, Breach> {
        let mut opened = Connect::from_packet(connect, room_bytes, nonce);
        let Some(will) = &connect.will else { return Ok(opened) };
        if will.qos > self.qos_max {
            let what = "a Will of a higher QoS than the listener takes";
            return Err(Breach { option: "max_qos", what });
        }
        if let Some(mount) = &self.mount_point {
            opened.will = Some(mount.message(will.topic, will.payload, will.qos, will.retain)?);
        }
        Ok(opened)
    }

    /// A packet as the engine is to see it. `body` is everything behind its fixed header.
    #[inline]
    pub(super) fn take(&self, packet: &Packet<'_>, body: &[u8]) -> Result<InPacket, Breach> {
        if let Packet::Publish(publish) = packet
            && publish.delivery.qos() > self.qos_max
        {
            let what = "a PUBLISH of a higher QoS than the listener takes";
            return Err(Breach { option: "max_qos", what });
        }
        match (packet, &self.mount_point) {
            (Packet::Subscribe(_), _) => self.take_subscribe(packet, body),
            (_, None) => Ok(InPacket::from_packet(packet, body)),
            (_, Some(mount)) => mount.take(packet, body),
        }
    }

    fn take_subscribe(&self, packet: &Packet<'_>, body: &[u8]) -> Result<InPacket, Breach> {
        let mut taken = match &self.mount_point {
            None => InPacket::from_packet(packet, body),
            Some(mount) => mount.take(packet, body)?,
        };
        if let InPacket::Subscribe { subscriptions, .. } = &mut taken {
            for (_, qos) in subscriptions {
                *qos = self.qos_max.min(*qos);
            }
        }
        Ok(taken)
    }

    /// Makes a packet what the client is to see.
    pub(super) fn give(&self, packet: &mut Packet<'_>) {
        if let (Some(mount), Packet::Publish(publish)) = (&self.mount_point, packet) {
            publish.topic = publish.topic.map(|topic| mount.below(topic));
        }
    }
}

impl MountPoint {
    fn take(&self, packet: &Packet<'_>, body: &[u8]) -> Result<InPacket, Breach> {
        Ok(match packet {
            Packet::Publish(Publish { topic: Some(topic), delivery, payload, retain, .. }) => {
                let message = self.message(*topic, payload, delivery.qos(), *retain)?;
                InPacket::Publish { message, delivery: *delivery }
            }
            Packet::Subscribe(subscribe) => {
                InPacket::from_subscribe(subscribe, |filter| self.filter(filter))?
            }
            Packet::Unsubscribe(unsubscribe) => InPacket::Unsubscribe {
                id: unsubscribe.id,
                filters: unsubscribe
                    .filters
                    .iter()
                    .map(|filter| self.filter(filter))
                    .collect::<Result<_, _>>()?,
            },
            other => InPacket::from_packet(other, body),
        })
    }

    fn message(
        &self,
        topic: TopicName<'_>,
        payload: &[u8],
        qos: QoS,
        retain: bool,
    ) -> Result<Message, Breach> {
        let topic = [self.0.as_bytes(), topic.as_bytes()].concat();
        let topic = TopicName::new(&topic).map_err(|_| TOO_LONG)?;
        Ok(Message::new(topic, payload, qos, retain))
    }

    /// A shared subscription stays one: what is mounted is what it shares. So does one that asks
    /// for history.
    fn filter(&self, filter: SubscriptionFilter<'_>) -> Result<Filter, Breach> {
        let text = Filter::from(filter);
        let (prefix, topics) = match filter.share {
            None => {
                text.as_str().split_at(text.as_str().len() - text.topic_filter().as_str().len())
            }
            Some(_) => ("", filter.filter.as_str()),
        };
        let mounted = [prefix, &*self.0, topics].concat().into_bytes();
        let mounted = TopicFilter::new(&mounted).map_err(|_| TOO_LONG)?;
        Ok(Filter::from(SubscriptionFilter { filter: mounted, ..filter }))
    }

    /// The name of a topic as it is below the mount point. A message from elsewhere keeps its whole
    /// name: its session subscribed to it at another listener.
    fn below<'a>(&self, topic: TopicName<'a>) -> TopicName<'a> {
        match topic.as_bytes().strip_prefix(self.0.as_bytes()) {
            Some(rest) if !rest.is_empty() => TopicName::from_validated(rest),
            _ => topic,
        }
    }
}

impl FromStr for MountPoint {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match TopicName::new(text.as_bytes()) {
            Err(TopicError::WildcardInName) => Err("a mount point has no wildcards"),
            Err(_) => Err("a mount point is a topic name"),
            Ok(name) if name.is_dollar() => Err("topics that begin with $ are the broker's"),
            Ok(_) if !text.ends_with('/') => {
                Err("a mount point ends with a slash, so that # below it is all that is there")
            }
            Ok(_) => Ok(Self(text.into())),
        }
    }
}

impl Versions {
    /// Whether this one is served.
    pub fn hold(self, version: ProtocolVersion) -> bool {
        match version {
            ProtocolVersion::V31 => self.v31,
            ProtocolVersion::V311 => self.v311,
            ProtocolVersion::V5 => false,
        }
    }
}

impl FromStr for Versions {
    type Err = String;

    /// Protocol levels, as in `3, 4`: 3 is MQTT 3.1, 4 is 3.1.1, 5 is 5.0.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut versions = Self { v31: false, v311: false };
        for level in text.split(',').map(str::trim) {
            match level {
                "3" => versions.v31 = true,
                "4" => versions.v311 = true,
                "5" => {}
                _ => return Err(format!("{level:?} is no protocol level: 3, 4 and 5 are")),
            }
        }
        if versions.v31 || versions.v311 {
            Ok(versions)
        } else {
            Err("without 3 or 4 nobody could connect: MQTT 5.0 is not spoken yet".to_owned())
        }
    }
}

#[cfg(test)]
mod tests;
