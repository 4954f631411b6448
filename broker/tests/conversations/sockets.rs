//! A conversation over real sockets, with whatever listens there.

use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use crate::raw::{self, Packet};
use crate::script::{Broker, Received};

/// How long a packet that must come may take. Only a failure takes so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// A broker that listens.
pub trait Server {
    fn name(&self) -> &'static str;
    fn address(&self) -> SocketAddr;
    fn restart(&mut self);
}

pub struct Sockets<S> {
    server: S,
    clients: BTreeMap<String, Client>,
}

struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
    /// Received while something else was waited for.
    early: VecDeque<Received>,
    /// CONNACK came with code 0.
    accepted: bool,
    closed: bool,
}

impl<S: Server> Sockets<S> {
    pub fn new(server: S) -> Self {
        Self { server, clients: BTreeMap::new() }
    }

    fn client(&mut self, who: &str) -> &mut Client {
        self.clients.get_mut(who).unwrap_or_else(|| panic!("{who} is not connected"))
    }
}

impl<S: Server> Broker for Sockets<S> {
    fn name(&self) -> &'static str {
        self.server.name()
    }

    fn send(&mut self, who: &str, bytes: &[u8]) {
        if !self.clients.contains_key(who) {
            self.clients.insert(who.to_owned(), Client::connect(self.server.address()));
        }
        self.client(who).send(bytes);
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
        let _ = client.stream.shutdown(Shutdown::Write);
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

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap_or_else(|e| panic!("{address}: {e}"));
        stream.set_nodelay(true).expect("a socket of ours");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket of ours");
        let early = VecDeque::new();
        Self { stream, unread: Vec::new(), early, accepted: false, closed: false }
    }

    /// A broker that has closed already does not take it; what it says is read all the same.
    fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    fn next(&mut self) -> Received {
        self.early.pop_front().unwrap_or_else(|| self.read())
    }

    fn settle(&mut self) {
        if !self.accepted || self.closed {
            return;
        }
        self.send(&Packet::PingReq.encode());
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
        loop {
            if let Some(len) = raw::packet_len(&self.unread) {
                let bytes: Vec<u8> = self.unread.drain(..len).collect();
                let packet = Packet::decode(&bytes);
                self.accepted |= matches!(packet, Packet::ConnAck { code: 0, .. });
                return Received::Packet(packet);
            }
            let mut chunk = [0; 16_384];
            match self.stream.read(&mut chunk) {
                Ok(0) => return self.end(),
                Ok(len) => self.unread.extend(&chunk[..len]),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Received::Nothing;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.end(),
            }
        }
    }

    fn end(&mut self) -> Received {
        self.closed = true;
        Received::Closed
    }
}
