//! A conversation over real sockets, with whatever listens there.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use crate::raw::Packet;
use crate::raw::client::{Client, Heard};
use crate::script::{Broker, Received};

/// A broker that listens.
pub trait Server {
    fn name(&self) -> &'static str;
    fn address(&self) -> SocketAddr;
    fn restart(&mut self);
}

pub struct Sockets<S> {
    /// Dropped before the server, which would wait for them to close.
    clients: BTreeMap<String, Talker>,
    server: S,
}

struct Talker {
    client: Client,
    /// Received while something else was waited for.
    early: VecDeque<Received>,
    /// CONNACK came with code 0.
    accepted: bool,
    closed: bool,
}

impl<S: Server> Sockets<S> {
    pub fn new(server: S) -> Self {
        Self { clients: BTreeMap::new(), server }
    }

    fn client(&mut self, who: &str) -> &mut Talker {
        self.clients.get_mut(who).unwrap_or_else(|| panic!("{who} is not connected"))
    }
}

impl<S: Server> Broker for Sockets<S> {
    fn name(&self) -> &'static str {
        self.server.name()
    }

    fn send(&mut self, who: &str, bytes: &[u8]) {
        if !self.clients.contains_key(who) {
            self.clients.insert(who.to_owned(), Talker::new(self.server.address()));
        }
        self.client(who).client.send_bytes(bytes);
    }

    fn next(&mut self, who: &str) -> Received {
        let received = self.client(who).next();
        if received == Received::Closed {
            self.clients.remove(who);
        }
        received
    }

    /// All clients ask for a PINGRESP: when it comes, what they sent before has been handled, and
    /// whoever had to get something has it in front of a PINGRESP of its own.
    fn settled(&mut self, who: &str) -> Received {
        for (name, client) in &mut self.clients {
            if name != who {
                client.settle();
            }
        }
        let client = self.client(who);
        client.settle();
        client.early.pop_front().unwrap_or(Received::Nothing)
    }

    fn connected(&self) -> Vec<String> {
        self.clients.iter().filter(|(_, c)| c.accepted).map(|(name, _)| name.clone()).collect()
    }

    fn cut(&mut self, who: &str) {
        let mut client =
            self.clients.remove(who).unwrap_or_else(|| panic!("{who} is not connected"));
        // The broker closes its side when it has seen ours end.
        client.client.finish();
        while !matches!(client.read(), Received::Closed | Received::Nothing) {}
    }

    #[expect(clippy::disallowed_methods, reason = "time that passes for a broker of its own clock")]
    fn advance(&mut self, seconds: u64) {
        std::thread::sleep(Duration::from_secs(seconds));
    }

    fn restart(&mut self) {
        for client in self.clients.values_mut() {
            client.settle();
        }
        self.clients.clear();
        self.server.restart();
    }
}

impl Talker {
    fn new(address: SocketAddr) -> Self {
        let client = Client::open(address);
        Self { client, early: VecDeque::new(), accepted: false, closed: false }
    }

    fn next(&mut self) -> Received {
        self.early.pop_front().unwrap_or_else(|| self.read())
    }

    fn settle(&mut self) {
        if !self.accepted || self.closed {
            return;
        }
        self.client.send(&Packet::PingReq);
        loop {
            match self.read() {
                Received::Packet(Packet::PingResp) => return,
                ended @ (Received::Closed | Received::Nothing) => {
                    self.early.push_back(ended);
                    return;
                }
                packet @ Received::Packet(_) => self.early.push_back(packet),
            }
        }
    }

    /// The next packet from the socket; `Nothing` when patience is over.
    fn read(&mut self) -> Received {
        match self.client.hear() {
            Heard::Packet(packet) => {
                self.accepted |= matches!(packet, Packet::ConnAck { code: 0, .. });
                Received::Packet(packet)
            }
            Heard::Closed => {
                self.closed = true;
                Received::Closed
            }
            Heard::Silence => Received::Nothing,
        }
    }
}
