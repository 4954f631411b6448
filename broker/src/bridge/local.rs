//! The bridge as a client of this broker.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use martlet_codec::ids::PacketId;
use martlet_codec::packet::Delivery;
use martlet_codec::reason::{ProtocolVersion, QoS};
use martlet_codec::topic::TopicName;
use martlet_engine::effects::{Farewell, OutPacket};
use martlet_engine::filter::Filter;
use martlet_engine::input::{Connect, InPacket};
use martlet_engine::message::Message;
use martlet_engine::permit::Permission;

use crate::bridge::Settings;
use crate::driver::Driver;
use crate::driver::client::{Client, Holder, nonce};

/// Who holds the link.
struct Bridge {
    name: String,
    user: Option<Box<str>>,
}

/// Its link while the other broker is there.
pub(super) fn open(settings: &Settings, driver: &Arc<Driver>) -> Client {
    link(settings, driver, driver.outbox_bytes_max())
}

/// Makes its session, or makes it want what it should, without taking any message.
///
/// # Errors
/// When this broker does not have it.
pub(super) async fn prepare(settings: &Settings, driver: &Arc<Driver>) -> Result<(), Farewell> {
    let had = driver.grants_of(&settings.local_client_id);
    let had: BTreeMap<&Filter, QoS> = had.iter().map(|(filter, qos)| (filter, *qos)).collect();
    let wanted: BTreeMap<&Filter, QoS> = merged(settings.topics.local());
    let mut client = link(settings, driver, 0);
    client.hear().await?; // CONNACK
    if !settings.local_clean_session {
        let old: Box<[Filter]> = had
            .keys()
            .filter(|filter| !wanted.contains_key(*filter))
            .map(|f| (*f).clone())
            .collect();
        let new = wanted.iter().filter(|(filter, qos)| had.get(*filter) != Some(qos));
        let asked = [
            (!old.is_empty()).then(|| InPacket::Unsubscribe { id: PacketId::FIRST, filters: old }),
            subscribe(new.map(|(filter, qos)| (*filter, *qos))),
        ];
        for packet in asked.into_iter().flatten() {
            client.say(packet);
            client.hear().await?;
        }
    }
    if let Some(state) = state(settings, false) {
        client.say(state);
    }
    client.say(InPacket::PingReq);
    while !client.hear().await?.contains(&OutPacket::PingResp) {}
    Ok(())
}

/// Ends what its session wants: it takes nothing new.
///
/// # Errors
/// When this broker does not have it.
pub(super) async fn unsubscribe(settings: &Settings, driver: &Arc<Driver>) -> Result<(), Farewell> {
    if settings.local_clean_session {
        return Ok(());
    }
    let connect = Connect { will: None, ..connect(settings, 0) };
    let mut client = Client::new(driver, Box::new(Bridge::of(settings)), connect);
    client.hear().await?; // CONNACK
    let granted = driver.grants_of(&settings.local_client_id).into_iter();
    let filters: Box<[Filter]> = granted.map(|(filter, _)| filter).collect();
    if !filters.is_empty() {
        client.say(InPacket::Unsubscribe { id: PacketId::FIRST, filters });
        client.hear().await?;
    }
    Ok(())
}

/// SUBSCRIBE for these, if there are any.
pub(super) fn subscribe<'f>(wanted: impl Iterator<Item = (&'f Filter, QoS)>) -> Option<InPacket> {
    let subscriptions: Box<[(Filter, QoS)]> =
        merged(wanted).into_iter().map(|(filter, qos)| (filter.clone(), qos)).collect();
    let any = !subscriptions.is_empty();
    any.then(|| InPacket::Subscribe { id: PacketId::FIRST, subscriptions, beyond: 0 })
}

/// A filter that stands in several lines is wanted at the highest QoS of them.
fn merged<'f>(wanted: impl Iterator<Item = (&'f Filter, QoS)>) -> BTreeMap<&'f Filter, QoS> {
    let mut merged = BTreeMap::new();
    for (filter, qos) in wanted {
        let highest = merged.entry(filter).or_insert(qos);
        *highest = qos.max(*highest);
    }
    merged
}

/// Says here whether it is connected, if anybody wants to know.
pub(super) fn state(settings: &Settings, connected: bool) -> Option<InPacket> {
    let message = told(settings, connected)?;
    Some(InPacket::Publish { message, delivery: Delivery::AtMostOnce })
}

fn told(settings: &Settings, connected: bool) -> Option<Message> {
    let topic = &settings.notifications.as_ref()?.topic;
    let topic = TopicName::from_validated(topic.as_bytes());
    let payload: &[u8] = if connected { b"1" } else { b"0" };
    Some(Message::new(topic, payload, QoS::AtMostOnce, true))
}

fn link(settings: &Settings, driver: &Arc<Driver>, room_bytes: u32) -> Client {
    Client::new(driver, Box::new(Bridge::of(settings)), connect(settings, room_bytes))
}

fn connect(settings: &Settings, room_bytes: u32) -> Connect {
    Connect {
        version: ProtocolVersion::V311,
        client_id: settings.local_client_id.clone(),
        clean_session: settings.local_clean_session,
        bridge: true,
        inside: true,
        keep_alive_s: 0,
        will: told(settings, false),
        user_name: settings.local_user.clone(),
        permit: None,
        room_bytes,
        nonce: nonce(),
    }
}

impl Bridge {
    fn of(settings: &Settings) -> Self {
        let name = format!("bridge {}", settings.name);
        Self { name, user: settings.local_user.clone() }
    }
}

impl Holder for Bridge {
    /// An operator wrote down what crosses: nobody else need allow it.
    fn permit(&self) -> Permission {
        None
    }

    fn user_name(&self) -> Option<&str> {
        self.user.as_deref()
    }

    fn peer(&self) -> &dyn fmt::Display {
        &self.name
    }

    /// The bridge says more than that its link came and went.
    fn is_quiet(&self) -> bool {
        true
    }
}
