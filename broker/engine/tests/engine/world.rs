//! An engine with a clock, links, and a store that is compared after every step.

use martlet_codec::ids::PacketId;
use martlet_codec::packet::Delivery;
use martlet_codec::reason::{ConnectReturnCode, QoS};
use martlet_codec::topic::TopicName;
use martlet_engine::Engine;
use martlet_engine::change::Change;
use martlet_engine::effects::{Effects, Farewell, Notice, OutPacket, Outgoing};
use martlet_engine::filter::Filter;
use martlet_engine::input::{Connect, InPacket, Input, LinkId, LostCause, Time};
use martlet_engine::limits::Limits;
use martlet_engine::message::Message;
use martlet_engine::snapshot::Snapshot;

pub(crate) const ROOM: u32 = 1 << 20;

pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) limits: Limits,
    pub(crate) now: Time,
    /// What a store holds that was given all changes.
    pub(crate) kept: Snapshot,
    /// Effects of the last step.
    pub(crate) fx: Effects,
    /// Effects so far of which no test has asked.
    unread: Vec<Outgoing>,
    pub(crate) farewells: Vec<(LinkId, Farewell)>,
    next_slot: u32,
}

/// Limits for tests: no `$SYS` in the way.
pub(crate) fn limits() -> Limits {
    Limits { sys_interval_s: 0, ..Limits::default() }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(limits())
    }

    pub(crate) fn with(limits: Limits) -> Self {
        let now = Time(1_000_000);
        Self {
            engine: Engine::new(limits.clone(), Snapshot::default(), now),
            limits,
            now,
            kept: Snapshot::default(),
            fx: Effects::default(),
            unread: Vec::new(),
            farewells: Vec::new(),
            next_slot: 0,
        }
    }

    /// One input. Checks that facts and engine agree.
    pub(crate) fn step(&mut self, input: Input) -> &Effects {
        self.step_unchecked(input);
        assert_eq!(self.engine.snapshot(), self.kept, "the changes say what the engine holds");
        let references = self.kept.messages.values().map(|kept| u64::from(kept.references));
        let waiting = self.engine.gauges().waiting_messages;
        assert!(waiting >= references.sum(), "clean sessions may wait for more");
        &self.fx
    }

    pub(crate) fn step_unchecked(&mut self, input: Input) {
        self.fx = Effects::default();
        self.engine.handle(self.now, input, &mut self.fx);
        for change in &self.fx.changes {
            self.kept.apply(change);
        }
        self.unread.extend(self.fx.outgoing.iter().cloned());
        self.farewells.extend(self.fx.farewells.iter().copied());
        assert!(
            !self.fx.changes.is_empty() || self.fx.outgoing.iter().all(|o| !o.promise),
            "without a change nothing waits for the disk"
        );
    }

    /// The broker dies and starts again from what the store holds.
    pub(crate) fn crash(&mut self) {
        self.engine = Engine::new(self.limits.clone(), self.kept.clone(), self.now);
        assert_eq!(self.engine.snapshot(), self.kept, "a start changes no fact");
        self.unread.clear();
    }

    pub(crate) fn link(&mut self) -> LinkId {
        self.next_slot += 1;
        LinkId { slot: self.next_slot - 1, generation: 7 }
    }

    /// Opens a link with this CONNECT; what it is answered stays to be read.
    pub(crate) fn open(&mut self, connect: Connect) -> LinkId {
        let link = self.link();
        self.step(Input::Open { link, connect: Box::new(connect) });
        link
    }

    /// Connects and reads the CONNACK away.
    pub(crate) fn connect(&mut self, connect: Connect) -> LinkId {
        let link = self.open(connect);
        let at = self.unread.iter().position(|outgoing| outgoing.link == link);
        let first = self.unread.remove(at.expect("CONNACK"));
        let code = ConnectReturnCode::Accepted;
        assert!(
            matches!(first.packet, OutPacket::ConnAck { code: c, .. } if c == code),
            "[MQTT-3.2.0-1] CONNACK first, not {first:?}"
        );
        link
    }

    pub(crate) fn clean(&mut self, client_id: &str) -> LinkId {
        self.connect(clean(client_id))
    }

    pub(crate) fn durable(&mut self, client_id: &str) -> LinkId {
        self.connect(durable(client_id))
    }

    /// A client with a clean session, without the checks of [`Self::step`]: for many.
    pub(crate) fn link_of(&mut self, client_id: &str) -> LinkId {
        let link = self.link();
        self.step_unchecked(Input::Open { link, connect: Box::new(clean(client_id)) });
        link
    }

    pub(crate) fn packet(&mut self, link: LinkId, packet: InPacket) -> &Effects {
        self.step(Input::Packet { link, packet })
    }

    pub(crate) fn lose(&mut self, link: LinkId) {
        self.step(Input::Lost { link, cause: LostCause::Closed });
    }

    pub(crate) fn room(&mut self, link: LinkId, bytes: u32) {
        self.step(Input::Room { link, bytes });
    }

    /// Subscribes and reads the SUBACK away.
    pub(crate) fn subscribe(&mut self, link: LinkId, text: &str, code: u8) {
        let subscriptions = Box::new([(filter(text), qos(code))]);
        self.packet(link, InPacket::Subscribe { id: id(9), subscriptions, beyond: 0 });
        let at = self.unread.iter().position(|o| o.link == link && is_suback(&o.packet));
        let suback = self.unread.remove(at.expect("SUBACK")).packet;
        assert_eq!(suback, OutPacket::SubAck(id(9), Box::new(Box::new([code]))));
    }

    /// Unsubscribes and reads the UNSUBACK away.
    pub(crate) fn unsubscribe(&mut self, link: LinkId, text: &str) {
        let filters = Box::new([filter(text)]);
        self.packet(link, InPacket::Unsubscribe { id: id(9), filters });
        let ours = |o: &Outgoing| o.link == link && o.packet == OutPacket::UnsubAck(id(9));
        let at = self.unread.iter().position(ours);
        self.unread.remove(at.expect("UNSUBACK"));
    }

    /// Publishes with the QoS and RETAIN flag of the message, under this id.
    pub(crate) fn publish(&mut self, link: LinkId, message: Message, number: u16) -> &Effects {
        let delivery = delivery(message.qos(), number, false);
        self.packet(link, InPacket::Publish { message, delivery })
    }

    /// From inside: nobody is acknowledged.
    pub(crate) fn inside(&mut self, message: Message) {
        self.step(Input::Publish(message));
    }

    /// Lets time pass to there, deadline by deadline.
    pub(crate) fn wait(&mut self, ms: u64) {
        let end = Time(self.now.0 + ms);
        for _ in 0..100_000 {
            match self.engine.next_deadline() {
                Some(time) if time <= end => {
                    self.now = self.now.max(time);
                    self.step(Input::Due);
                }
                _ => {
                    self.now = end;
                    return;
                }
            }
        }
        panic!("deadlines without end");
    }

    /// What was sent on this link since it was last read.
    pub(crate) fn read(&mut self, link: LinkId) -> Vec<OutPacket> {
        let (ours, others) = self.unread.drain(..).partition(|outgoing| outgoing.link == link);
        self.unread = others;
        let ours: Vec<Outgoing> = ours;
        ours.into_iter().map(|outgoing| outgoing.packet).collect()
    }

    /// As [`Self::read`], in short form: see [`short`].
    pub(crate) fn heard(&mut self, link: LinkId) -> Vec<String> {
        self.read(link).iter().map(short).collect()
    }

    pub(crate) fn farewell(&self, link: LinkId) -> Option<Farewell> {
        self.farewells.iter().find(|(other, _)| *other == link).map(|(_, farewell)| *farewell)
    }

    pub(crate) fn violated(&self, link: LinkId) -> Option<&'static str> {
        match self.farewell(link)? {
            Farewell::ProtocolViolation { rule } => Some(rule),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn notices(&self) -> &[Notice] {
        &self.fx.notices
    }

    pub(crate) fn changes(&self) -> &[Change] {
        &self.fx.changes
    }
}

/// `topic payload`, with `q1 #5` for QoS and id, `dup`, `retained`; other packets by name.
pub(crate) fn short(packet: &OutPacket) -> String {
    match packet {
        OutPacket::Publish { message, delivery, retain } => {
            let payload = String::from_utf8_lossy(message.payload());
            let mut text = format!("{} {payload}", message.topic().as_str());
            match delivery {
                Delivery::AtMostOnce => {}
                Delivery::AtLeastOnce { id, dup } => {
                    text += &format!(" q1 #{id}{}", if *dup { " dup" } else { "" });
                }
                Delivery::ExactlyOnce { id, dup } => {
                    text += &format!(" q2 #{id}{}", if *dup { " dup" } else { "" });
                }
            }
            if *retain { text + " retained" } else { text }
        }
        OutPacket::PubAck(id) => format!("PUBACK #{id}"),
        OutPacket::PubRec(id) => format!("PUBREC #{id}"),
        OutPacket::PubRel(id) => format!("PUBREL #{id}"),
        OutPacket::PubComp(id) => format!("PUBCOMP #{id}"),
        OutPacket::ConnAck { session_present, code } => {
            format!("CONNACK {} {session_present}", *code as u8)
        }
        OutPacket::SubAck(id, codes) => format!("SUBACK #{id} {codes:?}"),
        OutPacket::UnsubAck(id) => format!("UNSUBACK #{id}"),
        OutPacket::PingResp => "PINGRESP".into(),
    }
}

fn is_suback(packet: &OutPacket) -> bool {
    matches!(packet, OutPacket::SubAck(..))
}

pub(crate) fn id(number: u16) -> PacketId {
    PacketId::new(number).expect("not zero")
}

pub(crate) fn filter(text: &str) -> Filter {
    Filter::parse(text).expect("a filter")
}

pub(crate) fn qos(number: u8) -> QoS {
    QoS::new(number).expect("0, 1 or 2")
}

pub(crate) fn topic_name(text: &str) -> TopicName<'_> {
    TopicName::new(text.as_bytes()).expect("a topic name")
}

pub(crate) fn delivery(qos: QoS, number: u16, dup: bool) -> Delivery {
    match qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => Delivery::AtLeastOnce { id: id(number), dup },
        QoS::ExactlyOnce => Delivery::ExactlyOnce { id: id(number), dup },
    }
}

pub(crate) fn message(topic: &str, payload: &str, code: u8) -> Message {
    Message::new(topic_name(topic), payload.as_bytes(), qos(code), false)
}

pub(crate) fn retained(topic: &str, payload: &str, code: u8) -> Message {
    Message::new(topic_name(topic), payload.as_bytes(), qos(code), true)
}

pub(crate) fn clean(client_id: &str) -> Connect {
    Connect { nonce: 0xABCD, ..Connect::clean(client_id, ROOM) }
}

pub(crate) fn durable(client_id: &str) -> Connect {
    Connect { clean_session: false, ..clean(client_id) }
}
