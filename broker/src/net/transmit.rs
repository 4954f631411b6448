//! Packets to bytes, many to a write. What the socket does not take stays with the connection.

use std::cell::RefCell;
use std::io::{self, IoSlice};

use martlet_codec::encode::{self, EncodeError};
use martlet_codec::packet::Packet;
use martlet_codec::reason::ProtocolVersion;
use martlet_engine::effects::OutPacket;
use martlet_engine::message::Message;

use crate::driver::outbox::{Cost, Sent};
use crate::net::connection::Connection;

/// Encoded bytes beyond which they are written.
const FULL_BYTES: usize = 64 * 1024;

/// What the buffer has at first: room for a packet of ordinary size behind an almost full one.
const BUFFER_BYTES: usize = FULL_BYTES + 2 * LARGE_PAYLOAD_BYTES;

/// A payload from this size on is written from where it lies instead of being copied.
const LARGE_PAYLOAD_BYTES: usize = 16 * 1024;

/// How often in a row somebody sends what came meanwhile, before the link's own task has to.
const ROUNDS_MAX: u32 = 16;

thread_local! {
    /// One for each worker, so that idle connections own none.
    static BUFFER: RefCell<Buffer> = const { RefCell::new(Buffer::new()) };
}

/// Encoded packets on their way to one socket: bytes, and behind them perhaps a large payload.
struct Buffer {
    bytes: Vec<u8>,
    used: usize,
    payload: Option<Message>,
    /// Cost of the packets in here.
    cost: Cost,
}

/// What a socket did not take: bytes, and behind them perhaps a large payload.
#[derive(Debug)]
pub(super) struct Unsent {
    bytes: Vec<u8>,
    payload: Option<Message>,
    /// How much of both is written by now.
    written: usize,
    /// Cost of the packets in here.
    cost: Cost,
}

impl Connection {
    /// Sends what the outbox holds, as far as it goes without waiting.
    pub(super) fn send_now(&self, own_task: bool) {
        let mut next = self.link.begin(own_task);
        let mut rounds = 0;
        while let Some(packets) = next {
            let mut sent = Sent { left: packets, ..Sent::default() };
            if let Err(error) = self.send_packets(&mut sent) {
                sent.left.clear();
                self.fail(&error);
            }
            rounds += 1;
            // Whoever brought one message must not send for ever what others bring meanwhile.
            sent.blocked |= rounds == ROUNDS_MAX;
            next = self.link.end(sent);
        }
    }

    /// A write failed: from here on nothing is sent, and the connection's own task ends it.
    pub(super) fn fail(&self, error: &io::Error) {
        self.seldom().broken.get_or_init(|| error.to_string().into());
        self.link.outbox().wake();
    }

    fn send_packets(&self, sent: &mut Sent) -> io::Result<()> {
        if self.broken().is_some() {
            sent.left.clear();
            return Ok(());
        }
        if !self.send_unsent(sent)? {
            return Ok(());
        }
        BUFFER.with_borrow_mut(|buffer| {
            let result = self.send_through(buffer, sent);
            buffer.clear();
            result
        })
    }

    /// Goes on with what the socket did not take before; `true` if that is done.
    fn send_unsent(&self, sent: &mut Sent) -> io::Result<bool> {
        let mut place = self.unsent.lock();
        let Some(unsent) = place.as_mut() else { return Ok(true) };
        let (bytes, payload) = unsent.rest();
        let rest = bytes.len() + payload.len();
        let written = self.write(bytes, payload)?;
        if written < rest {
            unsent.written += written;
            sent.blocked = true;
            return Ok(false);
        }
        sent.cost += unsent.cost;
        *place = None;
        Ok(true)
    }

    fn send_through(&self, buffer: &mut Buffer, sent: &mut Sent) -> io::Result<()> {
        let committed = self.link.committed();
        let mut packets = std::mem::take(&mut sent.left);
        let mut done = 0;
        for queued in packets.iter().take_while(|queued| queued.after_commit <= committed) {
            let mut encoded = queued.packet.as_packet();
            self.shared.terms.give(&mut encoded);
            self.log_packet("Sending", "to", &encoded);
            buffer.put(&queued.packet, &encoded, self.version());
            done += 1;
            if buffer.is_full() && !self.send_buffer(buffer, sent)? {
                break;
            }
        }
        packets.drain(..done);
        sent.left = packets;
        if !sent.blocked && buffer.used > 0 {
            self.send_buffer(buffer, sent)?;
        }
        Ok(())
    }

    /// Writes the buffer and empties it; what the socket does not take becomes unsent, and `false`
    /// is the answer.
    fn send_buffer(&self, buffer: &mut Buffer, sent: &mut Sent) -> io::Result<bool> {
        let (bytes, payload) = buffer.filled();
        let len = bytes.len();
        let written = self.write(bytes, payload)?;
        if written == len + payload.len() {
            sent.cost += buffer.cost;
            buffer.clear();
            return Ok(true);
        }
        let from = written.min(len);
        *self.unsent.lock() = Some(Box::new(Unsent {
            bytes: bytes[from..].to_vec(),
            payload: buffer.payload.take(),
            written: written - from,
            cost: buffer.cost,
        }));
        sent.blocked = true;
        buffer.clear();
        Ok(false)
    }

    /// Writes as much as the socket takes now; answers how much that was.
    fn write(&self, bytes: &[u8], payload: &[u8]) -> io::Result<usize> {
        let len = bytes.len() + payload.len();
        let mut written = 0;
        while written < len {
            let result = if payload.is_empty() {
                self.stream.try_write(&[IoSlice::new(&bytes[written..])])
            } else {
                let from = written.min(bytes.len());
                let payload = &payload[written - from..];
                self.stream.try_write(&[IoSlice::new(&bytes[from..]), IoSlice::new(payload)])
            };
            match result {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(more) => {
                    self.traffic().count_write(more);
                    written += more;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }
}

impl Unsent {
    fn rest(&self) -> (&[u8], &[u8]) {
        let from = self.written.min(self.bytes.len());
        let payload = self.payload.as_ref().map_or(&[][..], Message::payload);
        (&self.bytes[from..], &payload[self.written - from..])
    }
}

impl Buffer {
    const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            used: 0,
            payload: None,
            cost: Cost { all: 0, answers: 0, qos0: 0 },
        }
    }

    /// Encodes a packet behind the others; a large payload is kept as it is.
    fn put(&mut self, packet: &OutPacket, encoded: &Packet<'_>, version: ProtocolVersion) {
        self.cost += Cost::of(packet);
        let large = match (packet, encoded) {
            (OutPacket::Publish { message, .. }, Packet::Publish(publish))
                if publish.payload.len() >= LARGE_PAYLOAD_BYTES =>
            {
                Some((message, publish))
            }
            _ => None,
        };
        match large {
            Some((message, publish)) => {
                self.append(|out| encode::publish_head(publish, version, out));
                self.payload = Some(message.clone());
            }
            None => self.append(|out| encode::encode(encoded, version, out)),
        }
    }

    /// Lets `write` write behind what is here, with more room if it asks for that.
    fn append(&mut self, mut write: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>) {
        if self.bytes.is_empty() {
            self.bytes.resize(BUFFER_BYTES, 0);
        }
        self.used += match write(&mut self.bytes[self.used..]) {
            Err(EncodeError::BufferTooSmall { needed }) => {
                self.bytes.resize(self.used + needed, 0);
                write(&mut self.bytes[self.used..])
            }
            result => result,
        }
        .expect("the engine sends packets of the client's version, made of decoded ones");
    }

    fn filled(&self) -> (&[u8], &[u8]) {
        (&self.bytes[..self.used], self.payload.as_ref().map_or(&[], Message::payload))
    }

    fn is_full(&self) -> bool {
        self.used >= FULL_BYTES || self.payload.is_some()
    }

    fn clear(&mut self) {
        self.used = 0;
        self.payload = None;
        self.cost = Cost::default();
        if self.bytes.len() > 4 * BUFFER_BYTES {
            self.bytes = Vec::new();
        }
    }
}
