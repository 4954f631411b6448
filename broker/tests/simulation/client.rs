//! A client that keeps the rules of MQTT 3.1.1, and what it checks by itself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use martlet_codec::ids::PacketId;
use martlet_codec::packet::Delivery;
use martlet_codec::reason::QoS;
use martlet_engine::effects::OutPacket;
use martlet_engine::input::InPacket;
use martlet_engine::message::Message;

pub struct Client {
    pub id: String,
    /// Asks for Clean Session 0 most of the time.
    pub persistent: bool,
    /// Its newest connection.
    pub connection: Option<usize>,
    /// CONNACK was there.
    pub connected: bool,
    /// What it is still to send: acknowledgements, and what must be said again.
    pub due: VecDeque<InPacket>,
    sent: Vec<Outstanding>,
    received: BTreeSet<PacketId>,
    /// It has no place for more.
    received_max: usize,
    /// Messages published and delivered at QoS 2: how often they came in this session.
    accepted: BTreeMap<Vec<u8>, u32>,
    /// It has been in a share, which brings a message besides its own subscriptions.
    pub shares: bool,
    /// Its session is.
    clean: bool,
    next_id: PacketId,
}

/// What it has sent and the broker has not settled.
struct Outstanding {
    id: PacketId,
    packet: InPacket,
    released: bool,
}

impl Client {
    pub fn new(id: String, persistent: bool, received_max: usize) -> Self {
        Self {
            id,
            persistent,
            connection: None,
            connected: false,
            due: VecDeque::new(),
            sent: Vec::new(),
            received: BTreeSet::new(),
            received_max,
            accepted: BTreeMap::new(),
            shares: false,
            clean: false,
            next_id: PacketId::FIRST,
        }
    }

    pub fn outstanding(&self) -> usize {
        self.sent.len()
    }

    /// A connection begins or ends: what was to be said on the old one is not said any more, and a
    /// clean session ends with it.
    pub fn on_connection(&mut self, connection: Option<usize>, clean: bool) {
        if self.clean || clean {
            self.begin_anew();
        }
        self.clean = clean;
        self.connection = connection;
        self.connected = false;
        self.due.clear();
    }

    pub fn publish(&mut self, message: Message) -> InPacket {
        let qos = message.qos();
        let delivery = match qos {
            QoS::AtMostOnce => Delivery::AtMostOnce,
            QoS::AtLeastOnce => Delivery::AtLeastOnce { id: self.free_id(), dup: false },
            QoS::ExactlyOnce => Delivery::ExactlyOnce { id: self.free_id(), dup: false },
        };
        let packet = InPacket::Publish { message, delivery };
        if let Delivery::AtLeastOnce { id, .. } | Delivery::ExactlyOnce { id, .. } = delivery {
            self.sent.push(Outstanding { id, packet: packet.clone(), released: false });
        }
        packet
    }

    /// An id for SUBSCRIBE and UNSUBSCRIBE, which are not said again.
    pub fn free_id(&mut self) -> PacketId {
        while self.sent.iter().any(|outstanding| outstanding.id == self.next_id) {
            self.next_id = self.next_id.next();
        }
        let id = self.next_id;
        self.next_id = id.next();
        id
    }

    pub fn on_packet(&mut self, packet: OutPacket) -> Result<(), String> {
        match packet {
            OutPacket::ConnAck { session_present, .. } => self.on_connack(session_present),
            OutPacket::Publish { message, delivery, .. } => {
                return self.on_publish(message, delivery);
            }
            OutPacket::PubAck(id) => self.sent.retain(|outstanding| outstanding.id != id),
            OutPacket::PubRec(id) => {
                for outstanding in self.sent.iter_mut().filter(|o| o.id == id) {
                    outstanding.released = true;
                }
                self.due.push_back(InPacket::PubRel(id));
            }
            OutPacket::PubRel(id) => {
                self.received.remove(&id);
                self.due.push_back(InPacket::PubComp(id));
            }
            OutPacket::PubComp(id) => self.sent.retain(|outstanding| outstanding.id != id),
            OutPacket::SubAck(..) | OutPacket::UnsubAck(_) | OutPacket::PingResp => {}
        }
        Ok(())
    }

    /// Goes on where it was, or begins anew.
    fn on_connack(&mut self, session_present: bool) {
        self.connected = true;
        if !session_present {
            return self.begin_anew();
        }
        for outstanding in &self.sent {
            self.due.push_back(match (&outstanding.packet, outstanding.released) {
                (_, true) => InPacket::PubRel(outstanding.id),
                (InPacket::Publish { message, delivery }, _) => {
                    let (id, dup) = (outstanding.id, true);
                    let delivery = match delivery.qos() {
                        QoS::ExactlyOnce => Delivery::ExactlyOnce { id, dup },
                        _ => Delivery::AtLeastOnce { id, dup },
                    };
                    InPacket::Publish { message: message.clone(), delivery }
                }
                (packet, _) => packet.clone(),
            });
        }
    }

    fn begin_anew(&mut self) {
        self.sent.clear();
        self.received.clear();
        self.accepted.clear();
    }

    fn on_publish(&mut self, message: Message, delivery: Delivery) -> Result<(), String> {
        match delivery {
            Delivery::AtMostOnce => {}
            Delivery::AtLeastOnce { id, .. } => self.due.push_back(InPacket::PubAck(id)),
            Delivery::ExactlyOnce { id, .. } => {
                self.due.push_back(InPacket::PubRec(id));
                if self.received.insert(id) && !message.retain() {
                    let times = self.accepted.entry(message.payload().to_vec()).or_default();
                    *times += 1;
                    if *times > 1 + u32::from(self.shares) {
                        return Err(format!("{} got {message:?} {times} times", self.id));
                    }
                }
                if self.received.len() > self.received_max {
                    return Err(format!("{} is to remember more ids than it can", self.id));
                }
            }
        }
        Ok(())
    }
}
