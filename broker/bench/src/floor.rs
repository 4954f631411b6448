//! The floor: a server that reads frames and writes them to fixed targets without being a broker.
//!
//! One thread, one buffer for all reads, one write for each receiver of what a round of events
//! brought. It answers what a client waits for and checks nothing: no topic, no id, no session.
//! What a message costs here is the kernel's sockets and one copy, and no broker is below that.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::error::BenchError;
use crate::peer::is_transient;

const READ_BUFFER: usize = 256 << 10;
const LISTENER: Token = Token(usize::MAX);

/// The kinds of packet that are told apart, as the first four bits of a frame.
mod kind {
    pub(super) const CONNECT: u8 = 1;
    pub(super) const PUBLISH: u8 = 3;
    pub(super) const PUBREC: u8 = 5;
    pub(super) const PUBREL: u8 = 6;
    pub(super) const SUBSCRIBE: u8 = 8;
    pub(super) const PINGREQ: u8 = 12;
}

/// One connection.
struct Client {
    socket: TcpStream,
    /// The beginning of a frame whose rest has not come.
    rest: Vec<u8>,
    out: Vec<u8>,
    written: usize,
    /// The filter of its last SUBSCRIBE.
    filter: Vec<u8>,
    /// Who gets what it publishes: fixed at its first PUBLISH.
    targets: Option<Vec<usize>>,
}

struct Floor {
    poll: Poll,
    listener: TcpListener,
    clients: Vec<Option<Client>>,
    free: Vec<usize>,
    /// Whose output has grown in this round.
    touched: Vec<usize>,
}

/// Serves on this port of 127.0.0.1 until it is killed.
pub(crate) fn serve(port: u16) -> Result<(), BenchError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut listener = TcpListener::bind(address).map_err(BenchError::system("listening"))?;
    let poll = Poll::new().map_err(BenchError::system("epoll"))?;
    let registered = poll.registry().register(&mut listener, LISTENER, Interest::READABLE);
    registered.map_err(BenchError::system("epoll_ctl"))?;
    let (clients, free, touched) = (Vec::new(), Vec::new(), Vec::new());
    let mut floor = Floor { poll, listener, clients, free, touched };
    let mut buffer = vec![0; READ_BUFFER];
    let mut events = Events::with_capacity(1024);
    loop {
        match floor.poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled.map_err(BenchError::system("epoll_wait"))?,
        }
        for event in &events {
            match event.token() {
                LISTENER => floor.accept()?,
                Token(slot) => floor.on_event(slot, event, &mut buffer),
            }
        }
        floor.flush_touched();
    }
}

impl Floor {
    fn accept(&mut self) -> Result<(), BenchError> {
        loop {
            let mut socket = match self.listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if is_transient(&error) => return Ok(()),
                Err(error) => return Err(BenchError::system("accepting")(error)),
            };
            let slot = self.free.pop().unwrap_or(self.clients.len());
            let interest = Interest::READABLE | Interest::WRITABLE;
            let registered = self.poll.registry().register(&mut socket, Token(slot), interest);
            registered.map_err(BenchError::system("epoll_ctl"))?;
            socket.set_nodelay(true).map_err(BenchError::system("TCP_NODELAY"))?;
            if slot == self.clients.len() {
                self.clients.push(None);
            }
            self.clients[slot] = Some(Client::new(socket));
        }
    }

    fn on_event(&mut self, slot: usize, event: &Event, buffer: &mut [u8]) {
        if event.is_writable() && self.clients[slot].as_ref().is_some_and(Client::is_behind) {
            self.touched.push(slot);
        }
        if !event.is_readable() {
            return;
        }
        loop {
            let Some(client) = &mut self.clients[slot] else { return };
            let start = client.rest.len();
            buffer[..start].copy_from_slice(&client.rest);
            let filled = match client.socket.read(&mut buffer[start..]) {
                Ok(count @ 1..) => start + count,
                Err(error) if is_transient(&error) => return,
                Ok(0) | Err(_) => return self.close(slot),
            };
            let used = self.on_frames(slot, &buffer[..filled]);
            let Some(client) = &mut self.clients[slot] else { return };
            client.rest.clear();
            client.rest.extend_from_slice(&buffer[used..filled]);
            // A socket that gave less than was asked for is empty, unless its end has come.
            if filled < buffer.len() && !event.is_read_closed() {
                return;
            }
        }
    }

    /// Answers and hands on all whole frames. Returns the length of them all.
    fn on_frames(&mut self, slot: usize, input: &[u8]) -> usize {
        let (mut at, mut run_start) = (0, 0);
        while let Some((body, end)) = frame(&input[at..]) {
            let packet = &input[at..at + end];
            if packet[0] >> 4 != kind::PUBLISH {
                self.hand_on(slot, &input[run_start..at]);
                run_start = at + end;
            }
            self.answer(slot, packet, &packet[body..]);
            at += end;
        }
        self.hand_on(slot, &input[run_start..at]);
        at
    }

    fn answer(&mut self, slot: usize, packet: &[u8], body: &[u8]) {
        let Some(client) = &mut self.clients[slot] else { return };
        let id_at = |at: usize| [*body.get(at).unwrap_or(&0), *body.get(at + 1).unwrap_or(&0)];
        let [high, low] = id_at(0);
        match (packet[0] >> 4, packet[0] & 0x06) {
            (kind::CONNECT, _) => client.out.extend([0x20, 2, 0, 0]),
            (kind::SUBSCRIBE, _) => {
                let filter_len = usize::from(u16::from_be_bytes(id_at(2)));
                client.filter = body.iter().skip(4).take(filter_len).copied().collect();
                let qos = *body.last().unwrap_or(&0);
                client.out.extend([0x90, 3, high, low, qos]);
            }
            (kind::PINGREQ, _) => client.out.extend([0xD0, 0]),
            (kind::PUBREC, _) => client.out.extend([0x62, 2, high, low]),
            (kind::PUBREL, _) => client.out.extend([0x70, 2, high, low]),
            (kind::PUBLISH, qos @ (2 | 4)) => {
                let [high, low] = id_at(2 + usize::from(u16::from_be_bytes([high, low])));
                client.out.extend([if qos == 2 { 0x40 } else { 0x50 }, 2, high, low]);
            }
            _ => return,
        }
        self.touch(slot);
    }

    /// Copies PUBLISHes, as they came, to everyone that gets them.
    fn hand_on(&mut self, slot: usize, publishes: &[u8]) {
        if publishes.is_empty() {
            return;
        }
        let fixed = self.clients[slot].as_mut().and_then(|client| client.targets.take());
        let targets = fixed.unwrap_or_else(|| self.targets(topic(publishes)));
        for &target in &targets {
            if let Some(client) = &mut self.clients[target] {
                client.out.extend_from_slice(publishes);
                self.touch(target);
            }
        }
        if let Some(client) = &mut self.clients[slot] {
            client.targets = Some(targets);
        }
    }

    /// Whoever subscribes to this topic, or to anything with a wildcard.
    fn targets(&self, topic: &[u8]) -> Vec<usize> {
        let hears = |client: &Client| client.filter == topic || client.filter.contains(&b'+');
        let slots = (0..).zip(&self.clients);
        slots.filter(|(_, client)| client.as_ref().is_some_and(hears)).map(|(n, _)| n).collect()
    }

    /// Remembers who has output; whoever is remembered twice has none left at the second time.
    fn touch(&mut self, slot: usize) {
        if self.touched.last() != Some(&slot) {
            self.touched.push(slot);
        }
    }

    fn flush_touched(&mut self) {
        let mut touched = std::mem::take(&mut self.touched);
        for slot in touched.drain(..) {
            if self.clients[slot].as_mut().is_some_and(|client| client.flush().is_err()) {
                self.close(slot);
            }
        }
        self.touched = touched;
    }

    fn close(&mut self, slot: usize) {
        if self.clients[slot].take().is_some() {
            self.free.push(slot);
        }
    }
}

impl Client {
    fn new(socket: TcpStream) -> Self {
        let (rest, out, filter) = (Vec::new(), Vec::new(), Vec::new());
        Self { socket, rest, out, written: 0, filter, targets: None }
    }

    const fn is_behind(&self) -> bool {
        self.written < self.out.len()
    }

    /// Writes what the socket takes.
    fn flush(&mut self) -> std::io::Result<()> {
        while self.written < self.out.len() {
            match self.socket.write(&self.out[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if is_transient(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }
}

/// Where the body of the first frame begins and ends, if it is all there.
fn frame(input: &[u8]) -> Option<(usize, usize)> {
    let mut len = 0;
    for (n, byte) in input.iter().skip(1).take(4).enumerate() {
        len |= usize::from(byte & 0x7F) << (7 * n);
        if byte & 0x80 == 0 {
            let end = 2 + n + len;
            return (end <= input.len()).then_some((2 + n, end));
        }
    }
    None
}

/// The Topic Name of the first of these PUBLISHes.
fn topic(publishes: &[u8]) -> &[u8] {
    let body = frame(publishes).map_or(&[][..], |(body, end)| &publishes[body..end]);
    let (len, rest) = body.split_first_chunk().unwrap_or((&[0, 0], &[]));
    rest.get(..usize::from(u16::from_be_bytes(*len))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{frame, topic};

    #[test]
    fn a_frame_is_found_when_it_is_all_there() {
        let mut long = vec![0x30, 0x80, 0x01];
        long.resize(3 + 128, b'x');
        for (input, expected) in [
            (&b"\xc0\x00"[..], Some((2, 2))),
            (b"\xc0", None),
            (b"", None),
            (b"\x30\x02a", None),
            (b"\x30\x02ab\xc0\x00", Some((2, 4))),
            (&long, Some((3, 131))),
            (&long[..130], None),
        ] {
            assert_eq!(frame(input), expected, "{input:?}");
        }
        assert_eq!(topic(b"\x30\x06\x00\x03a/bx\x30\x06\x00\x03a/cx"), b"a/b");
        assert_eq!(topic(b"\x30\x03\x00\x09a"), b"");
    }
}
