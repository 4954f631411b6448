//! A client over a socket that blocks, and that does what no decent client would.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::websocket::WebSocket;
use super::{Connect, Packet, packet_len};

/// How long a packet that must come may take. Only a failure takes so long.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Client {
    stream: Stream,
    unread: Vec<u8>,
}

/// What a client speaks over.
pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    WebSocket(Box<WebSocket>),
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
        tcp(address).map(|stream| Self::over(Stream::Tcp(stream)))
    }

    pub fn open_unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket of ours");
        Self::over(Stream::Unix(stream))
    }

    /// A client over WebSocket, whose request was answered.
    pub fn open_websocket(address: SocketAddr) -> Self {
        Self::over(Stream::WebSocket(Box::new(WebSocket::open(address))))
    }

    pub fn over(stream: Stream) -> Self {
        Self { stream, unread: Vec::new() }
    }

    /// A client that is connected.
    pub fn connect(address: SocketAddr, client_id: &str) -> Self {
        Self::connect_as(address, Connect::new(client_id))
    }

    pub fn connect_as(address: SocketAddr, connect: Connect) -> Self {
        Self::open(address).introduce(connect)
    }

    pub fn introduce(mut self, connect: Connect) -> Self {
        self.send(&Packet::Connect(Box::new(connect)));
        self.expect("connack 0");
        self
    }

    /// The same connection, for a thread that only sends.
    pub fn mouth(&self) -> Self {
        Self::over(match &self.stream {
            Stream::Tcp(stream) => Stream::Tcp(stream.try_clone().expect("a socket of ours")),
            Stream::Unix(stream) => Stream::Unix(stream.try_clone().expect("a socket of ours")),
            Stream::WebSocket(stream) => Stream::WebSocket(Box::new(stream.mouth())),
        })
    }

    pub fn address(&self) -> SocketAddr {
        let stream = match &self.stream {
            Stream::Tcp(stream) => stream,
            Stream::WebSocket(stream) => &stream.tcp,
            Stream::Unix(_) => panic!("a unix socket has no address"),
        };
        stream.local_addr().expect("a connected socket has an address")
    }

    /// The WebSocket that it speaks over.
    pub fn websocket(&mut self) -> &mut WebSocket {
        match &mut self.stream {
            Stream::WebSocket(stream) => stream,
            Stream::Tcp(_) | Stream::Unix(_) => panic!("it speaks over no WebSocket"),
        }
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
        let _ = match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
            Stream::WebSocket(stream) => stream.tcp.shutdown(Shutdown::Write),
        };
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

/// A connection that waits for an answer, but not for ever.
pub fn tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true).expect("a socket of ours");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket of ours");
    Ok(stream)
}

impl Read for Stream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(bytes),
            Self::Unix(stream) => stream.read(bytes),
            Self::WebSocket(stream) => stream.read(bytes),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
            Self::WebSocket(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
