//! A client over a socket that blocks, and that does what no decent client would.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::{Connect, Packet, packet_len};

/// How long a packet that must come may take. Only a failure takes so long.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Heard {
    Packet(Packet),
    /// The broker closed the connection.
    Closed,
    /// Patience is over.
    Silence,
}

impl Client {
    pub fn open(address: SocketAddr) -> Self {
        Self::try_open(address).unwrap_or_else(|e| panic!("{address}: {e}"))
    }

    /// A client of a broker that may have ended.
    pub fn try_open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true).expect("a socket of ours");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket of ours");
        Ok(Self { stream, unread: Vec::new() })
    }

    /// A client that is connected.
    pub fn connect(address: SocketAddr, client_id: &str) -> Self {
        Self::connect_as(address, Connect::new(client_id))
    }

    pub fn connect_as(address: SocketAddr, connect: Connect) -> Self {
        let mut client = Self::open(address);
        client.send(&Packet::Connect(Box::new(connect)));
        client.expect("connack 0");
        client
    }

    /// The same connection, for a thread that only sends.
    pub fn mouth(&self) -> Self {
        let stream = self.stream.try_clone().expect("a socket of ours");
        Self { stream, unread: Vec::new() }
    }

    pub fn address(&self) -> SocketAddr {
        self.stream.local_addr().expect("a connected socket has an address")
    }

    pub fn send(&mut self, packet: &Packet) {
        self.send_bytes(&packet.encode());
    }

    /// A broker that has closed already does not take it; what it said is heard all the same.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Says that nothing more comes.
    pub fn finish(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    pub fn hear(&mut self) -> Heard {
        loop {
            if let Some(len) = packet_len(&self.unread) {
                let rest = self.unread.split_off(len);
                let packet = Packet::decode(&std::mem::replace(&mut self.unread, rest));
                return Heard::Packet(packet);
            }
            let mut chunk = [0; 16_384];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Heard::Closed,
                Ok(len) => self.unread.extend(&chunk[..len]),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Heard::Silence;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Heard::Closed,
            }
        }
    }

    /// The next packet, as text.
    #[track_caller]
    pub fn expect(&mut self, text: &str) {
        match self.hear() {
            Heard::Packet(packet) => assert_eq!(packet.to_string(), text),
            other => panic!("{other:?} instead of {text}"),
        }
    }

    #[track_caller]
    pub fn expect_packet(&mut self) -> Packet {
        match self.hear() {
            Heard::Packet(packet) => packet,
            other => panic!("{other:?} instead of a packet"),
        }
    }

    #[track_caller]
    pub fn expect_closed(&mut self) {
        assert_eq!(self.hear(), Heard::Closed);
    }

    /// When the answer is there, all that was sent before has been handled.
    #[track_caller]
    pub fn ping(&mut self) {
        self.send(&Packet::PingReq);
        self.expect("pingresp");
    }
}
