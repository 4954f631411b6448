//! Bytes to packets, in one buffer that may be smaller than the largest message: a payload comes in
//! pieces.

use martlet_codec::ids::PacketId;
use martlet_codec::packet::{Delivery, PacketType};
use martlet_codec::reason::ConnectReturnCode;
use martlet_codec::v311::{self, Found, PublishHead, ServerPacket};

use crate::error::{Bound, Error, PeerFault};

/// The fixed header has two bytes at least.
const PACKET_MIN: usize = 2;

/// Gathers bytes until they are something.
#[derive(Debug)]
pub(crate) struct Receiver<'m> {
    buffer: &'m mut [u8],
    /// Bytes in the buffer.
    have: usize,
    stage: Stage,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// There will be something to see when there are so many bytes.
    Gather { want: usize },
    /// The topic of a PUBLISH does not fit: so much of it is still to be passed over, and what
    /// then stands behind it is so long.
    Topic { left: usize, behind: usize, payload_len: usize },
    /// A PUBLISH's head was read, its payload comes.
    Payload(Arriving),
    /// A whole packet stands in the buffer; the next one begins with the next byte.
    Whole,
}

/// A PUBLISH whose payload comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arriving {
    pub(crate) delivery: Delivery,
    pub(crate) retain: bool,
    /// The length of the whole payload.
    pub(crate) len: usize,
    /// How much of it was there before the piece in the buffer.
    pub(crate) offset: usize,
    pub(crate) dup: bool,
    /// Whether the program is to see it. If not, it passes by.
    wanted: bool,
    /// Whether it passes by because its topic does not fit.
    unseen: bool,
    /// Where its topic ends and its pieces begin.
    head: usize,
    topic_at: usize,
    topic_len: usize,
}

/// What has come.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Arrival {
    /// CONNACK.
    ConnAck { session_present: bool, code: ConnectReturnCode },
    /// PUBACK, PUBREC, PUBREL or PUBCOMP.
    Ack(PacketType, PacketId),
    /// SUBACK with so many codes, which stand at the end of the packet.
    SubAck { id: PacketId, codes: u8 },
    /// UNSUBACK.
    UnsubAck(PacketId),
    /// PINGRESP.
    PingResp,
    /// The head of a PUBLISH: [`Receiver::pass`] is to be called now if it is not wanted.
    Head(Delivery),
    /// The program can see a piece.
    Piece,
    /// The last byte of a PUBLISH that is not wanted; `unseen` if its topic did not fit.
    Passed { delivery: Delivery, unseen: bool },
}

impl<'m> Receiver<'m> {
    pub(crate) fn new(buffer: &'m mut [u8]) -> Self {
        Self { buffer, have: 0, stage: Stage::Whole }
    }

    /// All of the buffer, which is nobody's until the broker may answer.
    pub(crate) fn buffer_mut(&mut self) -> &mut [u8] {
        self.buffer
    }

    /// What stands in the buffer.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.buffer.get(..self.have).unwrap_or_default()
    }

    /// The buffer's first bytes, whatever they are.
    pub(crate) fn memory(&self) -> &[u8] {
        self.buffer
    }

    /// A new connection: nothing has come.
    pub(crate) fn reset(&mut self) {
        self.stage = Stage::Whole;
    }

    /// Takes from `bytes` until something has come or there are no more.
    pub(crate) fn take(&mut self, bytes: &mut &[u8]) -> Result<Option<Arrival>, Error> {
        loop {
            match self.stage {
                Stage::Whole => {
                    self.have = 0;
                    self.stage = Stage::Gather { want: PACKET_MIN };
                }
                Stage::Gather { want } => {
                    if !self.fill(want, bytes) {
                        return Ok(None);
                    }
                    if let Some(arrival) = self.look()? {
                        return Ok(Some(arrival));
                    }
                }
                Stage::Topic { left, behind, payload_len } => {
                    let left = left - pass(left, bytes);
                    self.stage = Stage::Topic { left, behind, payload_len };
                    if left > 0 || !self.fill(behind, bytes) {
                        return Ok(None);
                    }
                    return self.begin_unseen(payload_len).map(Some);
                }
                Stage::Payload(arriving) => return Ok(self.payload(arriving, bytes)),
            }
        }
    }

    /// The PUBLISH whose head came is not wanted: its payload passes by.
    pub(crate) fn pass(&mut self) {
        if let Stage::Payload(arriving) = &mut self.stage {
            arriving.wanted = false;
        }
    }

    /// The message whose piece the program can see.
    pub(crate) fn arriving(&self) -> Option<(&Arriving, &[u8], &[u8])> {
        let Stage::Payload(arriving) = &self.stage else { return None };
        let (head, piece) = self.bytes().split_at_checked(arriving.head)?;
        let topic = head.get(arriving.topic_at..)?.get(..arriving.topic_len)?;
        Some((arriving, topic, piece))
    }

    /// The program has seen the piece. After the last one the message is to be settled.
    pub(crate) fn next_piece(&mut self) -> Option<Delivery> {
        let Stage::Payload(arriving) = &mut self.stage else { return None };
        arriving.offset += self.have.saturating_sub(arriving.head);
        self.have = arriving.head;
        if arriving.offset < arriving.len {
            return None;
        }
        let delivery = arriving.delivery;
        self.stage = Stage::Whole;
        Some(delivery)
    }

    fn payload(&mut self, arriving: Arriving, bytes: &mut &[u8]) -> Option<Arrival> {
        let left = arriving.len - arriving.offset;
        if arriving.wanted {
            let piece = left.min(self.buffer.len() - arriving.head);
            return self.fill(arriving.head + piece, bytes).then_some(Arrival::Piece);
        }
        let passed = pass(left, bytes);
        if passed < left {
            let offset = arriving.offset + passed;
            self.stage = Stage::Payload(Arriving { offset, ..arriving });
            return None;
        }
        self.stage = Stage::Whole;
        Some(Arrival::Passed { delivery: arriving.delivery, unseen: arriving.unseen })
    }

    /// Fills the buffer up to `want` bytes; whether they are there.
    fn fill(&mut self, want: usize, bytes: &mut &[u8]) -> bool {
        let place = self.buffer.get_mut(self.have..want).unwrap_or_default();
        let (place_len, bytes_len) = (place.len(), bytes.len());
        for (to, from) in place.iter_mut().zip(*bytes) {
            *to = *from;
        }
        let filled = pass(place_len.min(bytes_len), bytes);
        self.have += filled;
        self.have >= want
    }

    /// Looks at what was gathered: something, or how much more is wanted.
    fn look(&mut self) -> Result<Option<Arrival>, Error> {
        let found = v311::read(self.bytes());
        match found.map_err(|malformed| Error::Peer(PeerFault::Malformed(malformed)))? {
            Found::Packet(ServerPacket::Publish(head)) => {
                let arriving = Arriving::new(&head);
                Ok(Some(self.begin(arriving)))
            }
            Found::Packet(packet) => {
                let arrival = Arrival::new(packet);
                self.stage = Stage::Whole;
                Ok(Some(arrival))
            }
            Found::NeedMore { at_least } => self.want(at_least).map(|()| None),
        }
    }

    /// So many bytes are missing; if they do not fit, a PUBLISH does without its topic.
    fn want(&mut self, missing: usize) -> Result<(), Error> {
        let want = self.have + missing;
        let first = self.bytes().first().copied().unwrap_or_default();
        if want <= self.buffer.len() {
            self.stage = Stage::Gather { want };
        } else if first >> 4 == PacketType::Publish as u8 {
            let id_len = if first & 0b0110 == 0 { 0 } else { 2 };
            let payload_len = remaining_len(self.bytes()).saturating_sub(2 + missing);
            let left = missing.saturating_sub(id_len);
            self.stage = Stage::Topic { left, behind: self.have + id_len, payload_len };
        } else {
            return Err(Error::Capacity(Bound::Receive));
        }
        Ok(())
    }

    /// Goes on with the payload. If nothing of it fits behind the head, the message is not shown.
    fn begin(&mut self, mut arriving: Arriving) -> Arrival {
        arriving.unseen |= arriving.len > 0 && arriving.head >= self.buffer.len();
        arriving.wanted = !arriving.unseen;
        self.stage = Stage::Payload(arriving);
        Arrival::Head(arriving.delivery)
    }

    /// The topic has passed by, and the id behind it is there.
    fn begin_unseen(&mut self, len: usize) -> Result<Arrival, Error> {
        let bytes = self.bytes();
        let first = bytes.first().copied().unwrap_or_default();
        let id = bytes.last_chunk().and_then(|id| PacketId::new(u16::from_be_bytes(*id)));
        let dup = first & 0b1000 != 0;
        let delivery = match (first & 0b0110, id) {
            (0, _) => Delivery::AtMostOnce,
            (0b0010, Some(id)) => Delivery::AtLeastOnce { id, dup },
            (_, Some(id)) => Delivery::ExactlyOnce { id, dup },
            // [MQTT-2.3.1-1]
            (_, None) => return Err(Error::Peer(PeerFault::Unexpected(PacketType::Publish))),
        };
        let retain = first & 1 != 0;
        let arriving = Arriving { delivery, retain, len, dup, unseen: true, ..Arriving::NOTHING };
        Ok(self.begin(arriving))
    }
}

impl Arriving {
    const NOTHING: Self = Self {
        delivery: Delivery::AtMostOnce,
        retain: false,
        len: 0,
        offset: 0,
        dup: false,
        wanted: false,
        unseen: false,
        head: 0,
        topic_at: 0,
        topic_len: 0,
    };

    fn new(publish: &PublishHead<'_>) -> Self {
        let topic_len = publish.topic.as_bytes().len();
        let (id_len, dup) = match publish.delivery {
            Delivery::AtMostOnce => (0, false),
            Delivery::AtLeastOnce { dup, .. } | Delivery::ExactlyOnce { dup, .. } => (2, dup),
        };
        Self {
            delivery: publish.delivery,
            retain: publish.retain,
            len: publish.payload_len,
            dup,
            head: publish.head_len,
            topic_at: publish.head_len - id_len - topic_len,
            topic_len,
            ..Self::NOTHING
        }
    }
}

impl Arrival {
    fn new(packet: ServerPacket<'_>) -> Self {
        match packet {
            ServerPacket::ConnAck { session_present, code } => {
                Self::ConnAck { session_present, code }
            }
            ServerPacket::Publish(publish) => Self::Head(publish.delivery),
            ServerPacket::Ack(packet, id) => Self::Ack(packet, id),
            ServerPacket::SubAck { id, codes } => {
                Self::SubAck { id, codes: codes.len().min(usize::from(u8::MAX)) as u8 }
            }
            ServerPacket::UnsubAck(id) => Self::UnsubAck(id),
            ServerPacket::PingResp => Self::PingResp,
        }
    }
}

/// Passes over so many of the bytes, or as many as there are; says how many.
fn pass(len: usize, bytes: &mut &[u8]) -> usize {
    let passed = len.min(bytes.len());
    *bytes = bytes.get(passed..).unwrap_or_default();
    passed
}

/// Remaining Length of a packet whose fixed header is there.
fn remaining_len(bytes: &[u8]) -> usize {
    let digits = bytes.iter().skip(1).take(4);
    let mut len = 0;
    for (at, digit) in digits.enumerate() {
        len |= usize::from(digit & 0x7F) << (7 * at);
        if digit & 0x80 == 0 {
            break;
        }
    }
    len
}
