//! What each packet of one side becomes on the other. No socket, no clock: times are arguments.

use std::collections::{BTreeSet, VecDeque};

use martlet_codec::ids::PacketId;
use martlet_codec::packet::{Ack, Delivery, Disconnect, Packet, Publish};
use martlet_codec::properties::Properties;
use martlet_codec::reason::{ConnectReturnCode, ReasonCode};
use martlet_codec::topic::TopicName;
use martlet_engine::behind::STATEMENT;
use martlet_engine::effects::OutPacket;
use martlet_engine::input::{InPacket, Time};
use martlet_engine::message::Message;

use crate::bridge::Settings;
use crate::bridge::pace::Pace;
use crate::bridge::relay::opening::Opening;
use crate::bridge::relay::out::Out;

pub(super) mod opening;
mod out;

/// What one connection to the other broker is about, from CONNECT on.
#[derive(Debug)]
pub(super) struct Relay<'s> {
    settings: &'s Settings,
    opening: Opening,
    phase: Phase,
    /// The session at the other broker has all subscriptions that are wanted.
    pub(super) subscribed: bool,
    /// It was asked for some that it does not grant.
    refused: bool,
    /// Messages that came in before it was known from whom.
    early: Vec<InPacket>,
    early_bytes: usize,
    /// Bytes for the other broker.
    pub(super) out: Out,
    /// Messages that wait for their turn to go out.
    held: VecDeque<Held>,
    held_bytes: usize,
    /// Ids of QoS 2 messages of a session that the other broker has forgotten: nobody over there
    /// waits for what the engine says of them.
    forgotten: BTreeSet<PacketId>,
    /// Ids of QoS 2 messages that cannot go out: the engine's PUBREL is answered here.
    unsendable: BTreeSet<PacketId>,
    pace: Pace,
    last_sent: Time,
    /// When the next answer must be there.
    answer_by: Option<Time>,
    pub(super) tally: Tally,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// CONNACK is awaited.
    Greeting,
    /// CONNACK has come; the engine is still to take us in.
    Accepted { session_present: bool },
    /// Who is there, if that is said at all, is awaited in front of the SUBACK of `subscribe`; then
    /// UNSUBSCRIBE and SUBSCRIBE may go under these ids.
    Asking { unsubscribe: Option<PacketId>, subscribe: PacketId, answer: Option<u64> },
    /// UNSUBACK with the first id and SUBACK with the second are awaited.
    Subscribing { unsubscribing: Option<PacketId>, subscribing: Option<PacketId> },
    /// Messages go both ways.
    Open,
}

#[derive(Debug)]
struct Held {
    message: Message,
    delivery: Delivery,
    retain: bool,
}

/// What one connection has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Messages that went out.
    pub(super) sent: u64,
    /// Messages that came in.
    pub(super) received: u64,
    /// Messages that could not cross: too large, without a name on the other side or a line that
    /// wants them, or half across when the other broker lost its session.
    pub(super) lost: u64,
}

/// Why a connection is of no use, in words for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// CONNACK said no.
    Refused(ConnectReturnCode),
    /// CONNACK said yes, and that was all that was to be known.
    TakenWithoutBit,
    /// It did not answer in time.
    Silent(&'static str),
    /// It sent what no server may send, or not now.
    Unexpected(&'static str),
}

/// Bytes for the other broker beyond which nothing more is put in front of it.
const OUT_BYTES_MAX: usize = 64 * 1024;

/// Bytes of messages that wait for their turn beyond which no more are taken from the session.
const HELD_BYTES_MAX: usize = 256 * 1024;

/// How long CONNACK, SUBACK, UNSUBACK and PINGRESP may take.
const ANSWER_MS: u64 = 30_000;

const ZERO: &[u8] = b"0";

impl<'s> Relay<'s> {
    /// A connection that is open; its CONNECT is the first to go [MQTT-3.1.0-1].
    pub(super) fn begin(settings: &'s Settings, opening: Opening, now: Time) -> Self {
        let mut relay = Self {
            settings,
            opening,
            phase: Phase::Greeting,
            subscribed: false,
            refused: false,
            early: Vec::new(),
            early_bytes: 0,
            out: Out::default(),
            held: VecDeque::new(),
            held_bytes: 0,
            forgotten: BTreeSet::new(),
            unsendable: BTreeSet::new(),
            pace: Pace::new(settings.drain_per_s, now),
            last_sent: now,
            answer_by: Some(after(now, ANSWER_MS)),
            tally: Tally::default(),
        };
        relay.connect();
        relay
    }

    /// Whether CONNACK has come and the engine is to take us in; and whether the other broker has
    /// kept our session.
    pub(super) fn accepted(&self) -> Option<bool> {
        match self.phase {
            Phase::Accepted { session_present } => Some(session_present),
            Phase::Greeting | Phase::Asking { .. } | Phase::Subscribing { .. } | Phase::Open => {
                None
            }
        }
    }

    /// Whether the other broker has not answered yet who it is.
    pub(super) fn is_asking(&self) -> bool {
        matches!(self.phase, Phase::Asking { .. })
    }

    /// Whether messages go both ways.
    pub(super) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Tells the other broker whether the bridge is there, if anybody wants to know. At QoS 0:
    /// should the connection end first, the Will says it.
    fn tell(&mut self, payload: &[u8]) {
        let told = self.settings.notifications.as_ref().filter(|told| !told.local_only);
        let Some(told) = told else { return };
        self.put(&Packet::Publish(Publish {
            delivery: Delivery::AtMostOnce,
            retain: true,
            topic: Some(TopicName::from_validated(told.topic.as_bytes())),
            properties: Properties::EMPTY,
            payload,
        }));
    }

    /// Whether it takes more packets of the engine now.
    pub(super) fn has_room(&self) -> bool {
        self.out.len() < OUT_BYTES_MAX && self.held_bytes < HELD_BYTES_MAX
    }

    /// A packet of the other broker; what the engine is told of it goes into `say`. `body` is
    /// everything behind its fixed header.
    ///
    /// # Errors
    /// When the connection is of no use any more.
    pub(super) fn on_remote(
        &mut self,
        packet: &Packet<'_>,
        body: &[u8],
        say: &mut Vec<InPacket>,
    ) -> Result<(), Fault> {
        if self.phase == Phase::Greeting {
            let Packet::ConnAck(connack) = packet else {
                return Err(Fault::Unexpected("another packet than CONNACK first"));
            };
            return self.on_connack(connack);
        }
        match packet {
            Packet::Publish(publish) if self.is_answered(publish) => {}
            Packet::Publish(publish) => {
                let message = self.on_publish(publish, body);
                self.pass_in(message, body.len(), say);
            }
            Packet::PubAck(ack) => say.push(InPacket::PubAck(ack.id)),
            Packet::PubRec(ack) => say.push(InPacket::PubRec(ack.id)),
            Packet::PubRel(ack) => say.push(InPacket::PubRel(ack.id)),
            Packet::PubComp(ack) => say.push(InPacket::PubComp(ack.id)),
            Packet::SubAck(suback) => self.on_suback(suback, say)?,
            Packet::UnsubAck(unsuback) => self.on_unsuback(unsuback)?,
            Packet::PingResp => self.answer_by = self.answer_by.filter(|_| !self.is_open()),
            Packet::ConnAck(_) => return Err(Fault::Unexpected("a second CONNACK")),
            Packet::Connect(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::PingReq
            | Packet::Disconnect(_)
            | Packet::Auth(_) => {
                return Err(Fault::Unexpected("a packet that only clients send"));
            }
        }
        Ok(())
    }

    fn on_publish(&mut self, publish: &Publish<'_>, body: &[u8]) -> Option<InPacket> {
        let delivery = publish.delivery;
        let topic = publish.topic.expect("MQTT 3.1.1 has no topic aliases");
        // Who is behind the bridge is ours to say here.
        let name = self.settings.topics.to_local(topic).filter(|name| name != STATEMENT);
        let Some(name) = name else {
            self.tally.lost += 1;
            // Acknowledged, or the other broker would send it for ever.
            let message = Message::from_publish(publish, body);
            let acknowledged = delivery != Delivery::AtMostOnce;
            return acknowledged.then_some(InPacket::DeniedPublish { message, delivery });
        };
        self.tally.received += 1;
        let message = if name == topic.as_str() {
            Message::from_publish(publish, body)
        } else {
            let name = TopicName::from_validated(name.as_bytes());
            Message::new(name, publish.payload, delivery.qos(), publish.retain)
        };
        Some(InPacket::Publish { message, delivery })
    }

    /// A message for the engine, once it knows from whom, or there are too many to wait for that.
    fn pass_in(&mut self, message: Option<InPacket>, bytes: usize, say: &mut Vec<InPacket>) {
        self.early.extend(message);
        self.early_bytes += bytes;
        if !self.is_asking() || self.early_bytes > HELD_BYTES_MAX {
            say.append(&mut self.early);
        }
    }

    /// What came in and was never passed on.
    pub(super) fn take_early(&mut self) -> Vec<InPacket> {
        std::mem::take(&mut self.early)
    }

    /// A packet of the engine; what it is answered at once goes into `say`.
    pub(super) fn on_local(&mut self, packet: OutPacket, say: &mut Vec<InPacket>) {
        match packet {
            OutPacket::Publish { message, delivery, retain } => {
                self.held_bytes += message.len();
                self.held.push_back(Held { message, delivery, retain });
            }
            OutPacket::PubAck(id) => self.put(&Packet::PubAck(Ack::new(id))),
            OutPacket::PubRec(id) => self.put(&Packet::PubRec(Ack::new(id))),
            OutPacket::PubRel(id) if self.unsendable.remove(&id) => {
                say.push(InPacket::PubComp(id));
            }
            OutPacket::PubRel(id) => self.put(&Packet::PubRel(Ack::new(id))),
            OutPacket::PubComp(id) if self.forgotten.remove(&id) => {}
            OutPacket::PubComp(id) => self.put(&Packet::PubComp(Ack::new(id))),
            OutPacket::ConnAck { .. }
            | OutPacket::SubAck(..)
            | OutPacket::UnsubAck(_)
            | OutPacket::PingResp => {}
        }
    }

    /// Lets messages go out, as many as may now; whether there was one. What cannot is settled
    /// here, and counted.
    pub(super) fn let_out(&mut self, now: Time, say: &mut Vec<InPacket>) -> bool {
        self.pace.earn(now);
        let before = self.held.len();
        while self.is_open()
            && self.out.len() < OUT_BYTES_MAX
            && !self.held.is_empty()
            && self.pace.spend()
        {
            let Some(held) = self.held.pop_front() else { break };
            self.held_bytes -= held.message.len();
            if !self.send(&held) {
                self.tally.lost += 1;
                say.extend(self.settle(held.delivery));
            }
        }
        self.held.len() < before
    }

    fn send(&mut self, held: &Held) -> bool {
        let Some(name) = self.settings.topics.to_remote(held.message.topic()) else { return false };
        let publish = Publish {
            delivery: held.delivery,
            retain: held.retain && self.settings.outgoing_retain,
            topic: Some(TopicName::from_validated(name.as_bytes())),
            properties: Properties::EMPTY,
            payload: held.message.payload(),
        };
        let Settings { version, packet_size_max, .. } = self.settings;
        let put = self.out.put(&Packet::Publish(publish), *version, *packet_size_max);
        if put.is_ok() {
            self.out.mark_message(held.delivery == Delivery::AtMostOnce);
        }
        put.is_ok()
    }

    /// What settles a message that goes nowhere.
    fn settle(&mut self, delivery: Delivery) -> Option<InPacket> {
        match delivery {
            Delivery::AtMostOnce => None,
            Delivery::AtLeastOnce { id, .. } => Some(InPacket::PubAck(id)),
            Delivery::ExactlyOnce { id, .. } => {
                self.unsendable.insert(id);
                Some(InPacket::PubRec(id))
            }
        }
    }

    /// Messages at QoS 0 that are lost with the connection; the others are sent again.
    pub(super) fn unsent(&self) -> u64 {
        let lost = |held: &&Held| held.delivery == Delivery::AtMostOnce;
        self.held.iter().filter(lost).count() as u64 + self.out.unsent()
    }

    /// So many bytes were written to the socket.
    pub(super) fn has_sent(&mut self, len: usize, now: Time) {
        self.tally.sent += self.out.take(len);
        self.last_sent = now;
    }

    /// When [`on_time`](Self::on_time) is to be called.
    pub(super) fn deadline(&self) -> Option<Time> {
        let waits = self.is_open() && !self.held.is_empty() && self.out.len() < OUT_BYTES_MAX;
        let pace = waits.then(|| self.pace.next()).flatten();
        [self.answer_by, self.ping_at(), pace].into_iter().flatten().min()
    }

    /// Three quarters of the Keep Alive, so that PINGREQ comes in time [MQTT-3.1.2-23].
    fn ping_at(&self) -> Option<Time> {
        let keep_alive_ms = u64::from(self.settings.keep_alive_s) * 1000;
        let waits = self.is_open() && self.answer_by.is_none() && keep_alive_ms > 0;
        waits.then(|| after(self.last_sent, keep_alive_ms / 4 * 3))
    }

    /// What came is not read now, an answer perhaps among it: nobody can tell whether one is
    /// overdue. One that must come has its time anew; whether a ping is answered, the next shows.
    pub(super) fn excuse(&mut self, now: Time) {
        let awaited = self.answer_by.filter(|_| !self.is_open());
        self.answer_by = awaited.map(|_| after(now, ANSWER_MS));
    }

    /// The time has come that [`deadline`](Self::deadline) named.
    ///
    /// # Errors
    /// When an answer is overdue.
    pub(super) fn on_time(&mut self, now: Time, say: &mut Vec<InPacket>) -> Result<(), Fault> {
        if self.answer_by.is_some_and(|at| at <= now) {
            return Err(Fault::Silent(match self.phase {
                Phase::Greeting | Phase::Accepted { .. } => "CONNACK",
                Phase::Asking { .. } | Phase::Subscribing { .. } => "SUBACK",
                Phase::Open => "PINGRESP",
            }));
        }
        if self.ping_at().is_some_and(|at| at <= now) {
            self.put(&Packet::PingReq);
            self.last_sent = now; // or, if it is excused before it leaves, it would be due at once
            self.answer_by = Some(after(now, ANSWER_MS));
        }
        self.let_out(now, say);
        Ok(())
    }

    /// An orderly end: the other broker does not publish the Will, so it is told.
    pub(super) fn leave(&mut self) {
        if self.phase == Phase::Greeting {
            return;
        }
        self.tell(ZERO);
        let (reason, properties) = (ReasonCode::Success, Properties::EMPTY);
        self.put(&Packet::Disconnect(Disconnect { reason, properties }));
    }

    /// A packet of the bridge's own, or an acknowledgement: none is ever too long.
    fn put(&mut self, packet: &Packet<'_>) {
        let put = self.out.put(packet, self.settings.version, u32::MAX);
        debug_assert!(put.is_ok(), "settings and filters were checked: {put:?}");
    }
}

pub(super) fn after(time: Time, ms: u64) -> Time {
    Time(time.0.saturating_add(ms))
}

#[cfg(test)]
mod tests;
