//! One client's connection: a blocking handshake, then bytes in and out in large pieces.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use martlet_codec::packet::Packet;
use socket2::{Domain, Socket, Type};

use crate::error::BenchError;
use crate::line::Line;
use crate::wire;

/// Connections from one source address: fewer than Linux has outgoing ports.
const CONNECTIONS_PER_SOURCE: usize = 20_000;
/// Bytes of the packet that answers CONNECT.
const CONNACK_BYTES: usize = 4;
/// How long a broker may take to answer during the handshake.
const PATIENCE: Duration = Duration::from_secs(20);

/// Connects client `n` to `broker` over plain TCP, subscribes it if it has a SUBSCRIBE, and waits
/// for the answers.
pub(crate) fn connect(
    broker: SocketAddr,
    n: usize,
    clean_session: bool,
    subscribe: Option<&[u8]>,
) -> Result<TcpStream, BenchError> {
    let mut stream = open(broker, n)?;
    greet(&mut stream, n, clean_session, subscribe)?;
    Ok(stream)
}

/// The same over what is open already.
pub(crate) fn greet(
    stream: &mut (impl Read + Write),
    n: usize,
    clean_session: bool,
    subscribe: Option<&[u8]>,
) -> Result<(), BenchError> {
    send_connect(stream, n, clean_session, subscribe)?;
    await_answers(stream, 1 + usize::from(subscribe.is_some()))
}

/// CONNECT, and SUBSCRIBE where there is one.
pub(crate) fn send_connect(
    stream: &mut (impl Read + Write),
    n: usize,
    clean_session: bool,
    subscribe: Option<&[u8]>,
) -> Result<(), BenchError> {
    let mut hello = wire::connect(&format!("bench-{n}"), clean_session);
    hello.extend_from_slice(subscribe.unwrap_or_default());
    let sent = stream.write_all(&hello).and_then(|()| stream.flush());
    sent.map_err(BenchError::system("sending CONNECT"))
}

/// Waits for CONNACK, and SUBACK where it is the second.
pub(crate) fn await_answers(stream: &mut impl Read, mut answers: usize) -> Result<(), BenchError> {
    let mut input = Vec::new();
    while answers > 0 {
        receive(stream, &mut input)?;
        while let Some((packet, len)) = wire::next(&input)? {
            check_answer(&packet)?;
            answers = answers.saturating_sub(1);
            input.drain(..len);
        }
    }
    Ok(())
}

/// Asks for a PINGRESP and waits for it.
pub(crate) fn ping(stream: &mut (impl Read + Write)) -> Result<(), BenchError> {
    let sent = stream.write_all(&wire::ping()).and_then(|()| stream.flush());
    sent.map_err(BenchError::system("sending PINGREQ"))?;
    let mut input = Vec::new();
    loop {
        receive(stream, &mut input)?;
        match wire::next(&input)? {
            Some((Packet::PingResp, _)) => return Ok(()),
            Some((other, _)) => return Err(BenchError::Refused(format!("{other:?}"))),
            None => {}
        }
    }
}

/// Client `n`'s TCP connection, from a source address that has a port left.
pub(crate) fn open(broker: SocketAddr, n: usize) -> Result<TcpStream, BenchError> {
    try_open(broker, n).map_err(BenchError::system("connecting"))
}

fn try_open(broker: SocketAddr, n: usize) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(broker), Type::STREAM, None)?;
    if let (Ok(index @ 1..), IpAddr::V4(ip)) =
        (u8::try_from(n / CONNECTIONS_PER_SOURCE), broker.ip())
        && ip.is_loopback()
    {
        let source = Ipv4Addr::new(127, 0, 0, 1 + index);
        socket.bind(&SocketAddr::from((source, 0)).into())?;
    }
    socket.connect(&broker.into())?;
    socket.set_tcp_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket.into())
}

/// Reads no further than a CONNACK: behind it stands what a session was owed.
fn receive(stream: &mut impl Read, input: &mut Vec<u8>) -> Result<(), BenchError> {
    let mut buffer = [0; CONNACK_BYTES];
    let count = stream.read(&mut buffer).map_err(BenchError::system("waiting for an answer"))?;
    if count == 0 {
        return Err(BenchError::Closed);
    }
    input.extend_from_slice(&buffer[..count]);
    Ok(())
}

fn check_answer(packet: &Packet<'_>) -> Result<(), BenchError> {
    match packet {
        Packet::ConnAck(answer) if answer.code.is_accepted() => Ok(()),
        Packet::SubAck(_) => Ok(()),
        other => Err(BenchError::Refused(format!("{other:?}"))),
    }
}

/// A connection after its handshake.
pub(crate) struct Peer {
    pub(crate) line: Line,
    /// What is to be sent.
    pub(crate) out: Vec<u8>,
    written: usize,
    /// The beginning of a packet whose rest has not come.
    rest: Vec<u8>,
}

impl Peer {
    pub(crate) fn new(line: Line) -> Result<Self, BenchError> {
        let set = line.socket().set_nonblocking(true);
        set.map_err(BenchError::system("set_nonblocking"))?;
        Ok(Self { line, out: Vec::new(), written: 0, rest: Vec::new() })
    }

    /// Reads once into `buffer`, behind the rest of the last time. Returns how much of `buffer` is
    /// filled and whether there may be more; `None` when there is nothing.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<Option<(usize, bool)>, BenchError> {
        let start = self.rest.len();
        buffer[..start].copy_from_slice(&self.rest);
        match self.line.read(&mut buffer[start..]) {
            Ok(0) => Err(BenchError::Closed),
            Ok(count) => {
                self.rest.clear();
                let is_full = start + count == buffer.len();
                Ok(Some((start + count, is_full || self.line.reads_in_pieces())))
            }
            Err(error) if is_transient(&error) => Ok(None),
            Err(error) => Err(BenchError::system("reading")(error)),
        }
    }

    /// Keeps the beginning of a packet for the next time.
    pub(crate) fn keep(&mut self, rest: &[u8]) {
        self.rest.extend_from_slice(rest);
    }

    /// Writes what the socket takes.
    pub(crate) fn flush(&mut self) -> Result<(), BenchError> {
        while self.written < self.out.len() {
            match self.line.write(&self.out[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if is_transient(&error) => return Ok(()),
                Err(error) => return Err(BenchError::system("writing")(error)),
            }
        }
        self.out.clear();
        self.written = 0;
        match self.line.flush() {
            Err(error) if !is_transient(&error) => Err(BenchError::system("writing")(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// Nothing to read, no room to write, or a signal: the next event tells.
pub(crate) fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
