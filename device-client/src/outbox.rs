//! What waits to be sent or settled: records one behind the other in the caller's memory, in the
//! order in which they were accepted, which is the order in which they are sent, and sent again.
//!
//! A record is a header of [`HEADER`] bytes and a packet as it goes over the wire. Nothing here
//! can panic: whatever the memory holds is read with checks.

use core::cell::Cell;

use martlet_codec::ids::PacketId;

/// Bytes in front of each packet.
pub(crate) const HEADER: usize = 7;

/// What is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Kind {
    /// PUBLISH, QoS 0.
    AtMostOnce = 0,
    /// PUBLISH, QoS 1.
    AtLeastOnce = 1,
    /// PUBLISH, QoS 2.
    ExactlyOnce = 2,
    /// SUBSCRIBE by the program; `extra` is the number of filters.
    Subscribe = 3,
    /// SUBSCRIBE of a standing subscription.
    Standing = 4,
    /// UNSUBSCRIBE.
    Unsubscribe = 5,
}

/// Who owes the next packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum State {
    /// We: it was never sent whole on any connection that this session knows of.
    Queued = 0,
    /// They: PUBACK, PUBREC, SUBACK or UNSUBACK.
    Sent = 1,
    /// We: the connection was lost, PUBLISH goes again with DUP.
    Again = 2,
    /// They: PUBCOMP. The packet is gone, its id is not.
    Released = 3,
    /// We: the connection was lost, PUBREL goes again.
    ReleasedAgain = 4,
    /// Nobody: the program is still to hear of it.
    Settled = 5,
}

/// A record without its packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Record {
    /// Where it begins.
    pub(crate) at: usize,
    /// Bytes of its packet that stand in the memory.
    pub(crate) len: u16,
    /// 0 for QoS 0.
    pub(crate) id: u16,
    pub(crate) kind: Kind,
    pub(crate) state: State,
    /// PUBLISH: 0, or one more than the place of its lent payload. SUBSCRIBE: how many filters.
    pub(crate) extra: u8,
}

/// The records.
#[derive(Debug)]
pub(crate) struct Outbox<'m> {
    memory: &'m mut [u8],
    used: usize,
}

impl<'m> Outbox<'m> {
    pub(crate) fn new(memory: &'m mut [u8]) -> Self {
        Self { memory, used: 0 }
    }

    /// The memory that holds records.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.memory.get(..self.used).unwrap_or_default()
    }

    /// All of the memory, to restore records into.
    pub(crate) fn memory_mut(&mut self) -> &mut [u8] {
        self.memory
    }

    /// Takes the first `used` bytes of the memory for records; `None` if they are none.
    pub(crate) fn adopt(&mut self, used: usize) -> Option<()> {
        self.used = used.min(self.memory.len());
        let mut at = 0;
        while at < self.used {
            let record = self.record(at)?;
            if record.end() > self.used {
                return None;
            }
            at = record.end();
        }
        (self.used == used).then_some(())
    }

    pub(crate) fn clear(&mut self) {
        self.used = 0;
    }

    /// Where the next packet is written: behind what is used, without the last `reserve` bytes.
    pub(crate) fn free(&mut self, reserve: usize) -> &mut [u8] {
        let end = self.memory.len().saturating_sub(reserve);
        self.memory.get_mut(self.used.saturating_add(HEADER)..end).unwrap_or_default()
    }

    /// Bytes that are free for records, without the last `reserve`.
    pub(crate) fn room(&self, reserve: usize) -> usize {
        self.memory.len().saturating_sub(reserve).saturating_sub(self.used)
    }

    /// Makes a record of the packet of `len` bytes that was written to [`free`](Self::free).
    pub(crate) fn push(&mut self, len: u16, id: Option<PacketId>, kind: Kind, extra: u8) {
        let id = id.map_or(0, PacketId::get);
        let record = Record { at: self.used, len, id, kind, state: State::Queued, extra };
        self.put(&record);
        self.used = record.end();
    }

    /// The record that begins at `at`.
    pub(crate) fn record(&self, at: usize) -> Option<Record> {
        let [l0, l1, i0, i1, kind, state, extra] =
            *self.bytes().get(at..)?.first_chunk::<HEADER>()?;
        let (kind, state) = (Kind::new(kind)?, State::new(state)?);
        let (len, id) = (u16::from_le_bytes([l0, l1]), u16::from_le_bytes([i0, i1]));
        Some(Record { at, len, id, kind, state, extra })
    }

    /// All records in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Record> + '_ {
        let mut at = 0;
        core::iter::from_fn(move || {
            let record = self.record(at)?;
            at = record.end();
            Some(record)
        })
    }

    /// The record with this id, if it is under way or waits.
    pub(crate) fn find(&self, id: PacketId) -> Option<Record> {
        self.iter().find(|record| record.id == id.get() && record.state != State::Settled)
    }

    /// Whether any record has this id.
    pub(crate) fn holds(&self, id: PacketId) -> bool {
        self.iter().any(|record| record.id == id.get())
    }

    /// The packet of a record, or what of it stands here.
    pub(crate) fn packet(&self, record: &Record) -> &[u8] {
        self.bytes().get(record.at + HEADER..record.end()).unwrap_or_default()
    }

    /// The first byte of a record's packet.
    pub(crate) fn first_byte_mut(&mut self, record: &Record) -> Option<&mut u8> {
        self.memory.get_mut(record.at + HEADER)
    }

    /// Writes a record's new state.
    pub(crate) fn set(&mut self, mut record: Record, state: State) {
        record.state = state;
        self.put(&record);
    }

    /// Drops the packet and keeps the rest.
    pub(crate) fn shorten(&mut self, mut record: Record, state: State) {
        self.cut(record.at + HEADER, usize::from(record.len));
        record.len = 0;
        record.extra = 0;
        self.set(record, state);
    }

    /// Drops the record.
    pub(crate) fn remove(&mut self, record: &Record) {
        self.cut(record.at, record.size());
    }

    fn put(&mut self, record: &Record) {
        let [l0, l1] = record.len.to_le_bytes();
        let [i0, i1] = record.id.to_le_bytes();
        let header = [l0, l1, i0, i1, record.kind as u8, record.state as u8, record.extra];
        let place = self.memory.get_mut(record.at..).and_then(|rest| rest.first_chunk_mut());
        if let Some(place) = place {
            *place = header;
        }
    }

    /// Closes a gap of `len` bytes: everything behind it moves forward.
    fn cut(&mut self, at: usize, len: usize) {
        if let Some(rest) = self.memory.get_mut(at..self.used) {
            let cells = Cell::from_mut(rest).as_slice_of_cells();
            for (to, from) in cells.iter().zip(cells.iter().skip(len)) {
                to.set(from.get());
            }
            self.used = self.used.saturating_sub(len).max(at);
        }
    }
}

impl Record {
    /// Bytes that it takes.
    pub(crate) const fn size(&self) -> usize {
        HEADER + self.len as usize
    }

    /// Where the next one begins.
    pub(crate) const fn end(&self) -> usize {
        self.at + self.size()
    }

    /// Whether it takes one of the window's places: PUBLISH above QoS 0, sent and not settled.
    pub(crate) const fn is_in_flight(&self) -> bool {
        self.kind.is_acknowledged_publish() && !matches!(self.state, State::Queued | State::Settled)
    }
}

impl Kind {
    const fn new(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::AtMostOnce,
            1 => Self::AtLeastOnce,
            2 => Self::ExactlyOnce,
            3 => Self::Subscribe,
            4 => Self::Standing,
            5 => Self::Unsubscribe,
            _ => return None,
        })
    }

    pub(crate) const fn is_publish(self) -> bool {
        matches!(self, Self::AtMostOnce) || self.is_acknowledged_publish()
    }

    pub(crate) const fn is_acknowledged_publish(self) -> bool {
        matches!(self, Self::AtLeastOnce | Self::ExactlyOnce)
    }
}

impl State {
    const fn new(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Queued,
            1 => Self::Sent,
            2 => Self::Again,
            3 => Self::Released,
            4 => Self::ReleasedAgain,
            5 => Self::Settled,
            _ => return None,
        })
    }
}
