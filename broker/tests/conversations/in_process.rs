//! A conversation with the engine itself: bytes through the codec, and a clock of our own.

use std::collections::{BTreeMap, VecDeque};

use martlet_codec::decode::{DecodeError, DecodeLimits, Decoded, decode};
use martlet_codec::encode::{encode, encoded_len};
use martlet_codec::packet::Packet as Decodable;
use martlet_codec::reason::ProtocolVersion;
use martlet_engine::input::{Connect, InPacket, Input, LinkId, LostCause, Time};
use martlet_engine::limits::Limits;
use martlet_engine::snapshot::Snapshot;

use crate::machine::{Machine, Parcel};
use crate::raw::{self, Packet};
use crate::script::{Broker, Received};

const LIMITS: DecodeLimits = DecodeLimits { packet_size_max: 10_000_000, topic_levels_max: 200 };
const ROOM_BYTES: u32 = 100_000;

pub struct InProcess {
    machine: Machine,
    clients: BTreeMap<String, Client>,
    nonce: u64,
}

struct Client {
    link: LinkId,
    version: ProtocolVersion,
    /// CONNECT was there.
    connected: bool,
    unread: Vec<u8>,
    received: VecDeque<Received>,
}

impl InProcess {
    pub fn new() -> Self {
        let limits = Limits { sys_interval_s: 0, inflight_max: 20, ..Limits::default() };
        let machine = Machine::new(limits, Snapshot::default(), Time(1_000_000));
        Self { machine, clients: BTreeMap::new(), nonce: 0 }
    }

    fn on_packet(&mut self, who: &str, bytes: &[u8]) {
        let client = self.clients.get_mut(who).expect("the sender is there");
        let (link, connected) = (client.link, client.connected);
        let input = match decode(bytes, client.version, &LIMITS) {
            Ok(Decoded::Packet { packet: Decodable::Connect(connect), .. }) if !connected => {
                client.version = connect.version;
                client.connected = true;
                self.nonce += 1;
                let connect = Connect::from_packet(&connect, ROOM_BYTES, self.nonce);
                Input::Open { link, connect: Box::new(connect) }
            }
            Ok(Decoded::Packet { packet, header_len, .. }) if connected => {
                Input::Packet { link, packet: InPacket::from_packet(&packet, &bytes[header_len..]) }
            }
            Ok(Decoded::NeedMore { .. }) => unreachable!("whole packets only"),
            Ok(_) => return self.refuse(who, None),
            Err(error) if !connected => return self.refuse(who, Some(error)),
            Err(error) => {
                let cause = LostCause::Malformed { rule: error.rule, reason: error.text };
                self.machine.handle(Input::Lost { link, cause });
                self.machine.commit(usize::MAX);
                self.receive();
                return self.end(who);
            }
        };
        self.machine.handle(input);
        self.machine.commit(usize::MAX);
        self.receive();
    }

    /// No CONNECT, no link: the engine never hears of it.
    fn refuse(&mut self, who: &str, error: Option<DecodeError>) {
        let client = self.clients.get_mut(who).expect("the sender is there");
        if error.is_some_and(|error| error.unknown_level) {
            let refusal = Packet::ConnAck { present: false, code: 1 };
            client.received.push_back(Received::Packet(refusal));
        }
        self.end(who);
    }

    fn end(&mut self, who: &str) {
        let client = self.clients.get_mut(who).expect("the client is there");
        client.received.push_back(Received::Closed);
        self.machine.forget(client.link);
    }

    /// Everybody receives what there is.
    fn receive(&mut self) {
        let mut again = true;
        while std::mem::take(&mut again) {
            for client in self.clients.values_mut() {
                while let Some(parcel) = self.machine.take(client.link) {
                    client.received.push_back(match parcel {
                        Parcel::Packet(packet) => {
                            Received::Packet(encoded(&packet.as_packet(), client.version))
                        }
                        Parcel::Farewell(_) => Received::Closed,
                    });
                    again = true;
                }
            }
            self.machine.commit(usize::MAX);
            self.machine.handled.clear();
        }
    }
}

/// By way of bytes.
fn encoded(packet: &Decodable<'_>, version: ProtocolVersion) -> Packet {
    let len = encoded_len(packet, version).expect("the engine sends what can be said");
    let mut bytes = vec![0; len];
    let len = encode(packet, version, &mut bytes).expect("the engine sends what can be said");
    assert_eq!(len, bytes.len(), "an encoder knows its length");
    Packet::decode(&bytes)
}

impl Broker for InProcess {
    fn name(&self) -> &'static str {
        "martlet"
    }

    fn send(&mut self, who: &str, bytes: &[u8]) {
        if !self.clients.contains_key(who) {
            let link = self.machine.link();
            let client = Client {
                link,
                version: ProtocolVersion::V311,
                connected: false,
                unread: Vec::new(),
                received: VecDeque::new(),
            };
            self.clients.insert(who.to_owned(), client);
        }
        let client = self.clients.get_mut(who).expect("just put there");
        client.unread.extend(bytes);
        loop {
            let client = self.clients.get_mut(who).expect("nobody goes unasked");
            if client.received.back() == Some(&Received::Closed) {
                return;
            }
            let header_fault = decode(&client.unread, client.version, &LIMITS).is_err();
            let len = if header_fault { Some(client.unread.len()) } else { None };
            let Some(len) = raw::packet_len(&client.unread).or(len) else { return };
            let packet: Vec<u8> = client.unread.drain(..len).collect();
            self.on_packet(who, &packet);
        }
    }

    fn next(&mut self, who: &str) -> Received {
        let Some(client) = self.clients.get_mut(who) else { panic!("{who} is not connected") };
        let received = client.received.pop_front().unwrap_or(Received::Nothing);
        if received == Received::Closed {
            self.clients.remove(who);
        }
        received
    }

    fn settled(&mut self, who: &str) -> Received {
        self.next(who)
    }

    fn connected(&self) -> Vec<String> {
        self.clients.keys().cloned().collect()
    }

    fn cut(&mut self, who: &str) {
        let client = self.clients.remove(who).unwrap_or_else(|| panic!("{who} is not connected"));
        self.machine.handle(Input::Lost { link: client.link, cause: LostCause::Closed });
        self.machine.commit(usize::MAX);
        self.machine.forget(client.link);
        self.receive();
    }

    fn advance(&mut self, seconds: u64) {
        let time = Time(self.machine.now().0 + seconds * 1000);
        self.machine.advance_to(time);
        self.machine.commit(usize::MAX);
        self.receive();
    }

    fn restart(&mut self) {
        self.clients.clear();
        self.machine.crash().expect("nothing happens to memory");
    }
}
