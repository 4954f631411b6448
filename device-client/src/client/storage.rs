//! A session that outlives a reset: its image, written to and read from what the caller has.

use heapless::Vec;
use martlet_codec::ids::PacketId;

use crate::outbox::State;
use crate::settings::RECEIVED_MAX;

use super::answers::DUP;
use super::{Client, Phase};

/// Where a session is kept: a page of flash, RAM that a reset leaves alone, a file.
pub trait Storage {
    /// Why it failed, in the storage's words.
    type Error;

    /// Keeps these parts, one behind the other, in place of what was kept before. After a power cut
    /// the old or the new ones are there; anything else is noticed and taken for nothing.
    fn save(&mut self, parts: &[&[u8]]) -> Result<(), Self::Error>;

    /// Fills `out` from what is kept, beginning `offset` bytes behind its start; says how many
    /// bytes there were.
    fn load(&mut self, offset: usize, out: &mut [u8]) -> Result<usize, Self::Error>;
}

/// No storage: after a reset the session is gone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Forgetful;

impl Storage for Forgetful {
    type Error = core::convert::Infallible;

    fn save(&mut self, _: &[&[u8]]) -> Result<(), Self::Error> {
        Ok(())
    }

    fn load(&mut self, _: usize, _: &mut [u8]) -> Result<usize, Self::Error> {
        Ok(0)
    }
}

/// Magic, checksum, last id, received ids, bytes of records.
const HEADER: usize = 16;
const MAGIC: [u8; 4] = *b"MCS1";

impl Client<'_> {
    /// Whether something changed that must outlive a reset. Who keeps sessions calls
    /// [`save`](Self::save) then, before [`transmit`](Self::transmit): what is promised to the
    /// broker is kept before it is promised.
    pub fn is_unsaved(&self) -> bool {
        self.unsaved
    }

    /// Keeps the session: messages of QoS 1 and 2 that are not settled, and the ids of those
    /// received. What is lent ([`publish_lent`](Self::publish_lent)) is not kept.
    pub fn save<S: Storage>(&mut self, storage: &mut S) -> Result<(), S::Error> {
        self.release();
        let mut received = [0; 2 * RECEIVED_MAX];
        for (place, id) in received.chunks_exact_mut(2).zip(&self.received) {
            place.copy_from_slice(&id.get().to_le_bytes());
        }
        let received = received.get(..2 * self.received.len()).unwrap_or_default();
        let records = self.outbox.bytes();
        let mut header = self.header(records.len() as u32);
        let sum = self.checksum(&header, received, records);
        put(&mut header, 4, &sum.to_le_bytes());
        storage.save(&[&header, received, records])?;
        self.unsaved = false;
        Ok(())
    }

    /// Goes on with the session that `storage` holds; whether it held one of this client id. To be
    /// called on a new client, before its first connection.
    pub fn restore<S: Storage>(&mut self, storage: &mut S) -> Result<bool, S::Error> {
        let mut header = [0; HEADER];
        let mut received = [0; 2 * RECEIVED_MAX];
        if !matches!(self.phase, Phase::Offline { .. }) || storage.load(0, &mut header)? < HEADER {
            return Ok(false);
        }
        let [m0, m1, m2, m3, s0, s1, s2, s3, id0, id1, r0, r1, l0, l1, l2, l3] = header;
        let received_len = 2 * usize::from(u16::from_le_bytes([r0, r1]));
        let records_len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let received = received.get_mut(..received_len);
        let records = self.outbox.memory_mut().get_mut(..records_len);
        let (Some(received), Some(records)) = (received, records) else { return Ok(false) };
        let loaded =
            storage.load(HEADER, received)? + storage.load(HEADER + received_len, &mut *records)?;
        let whole = loaded == received_len + records_len && [m0, m1, m2, m3] == MAGIC;
        put(&mut header, 4, &[0; 4]);
        let fits = whole && self.outbox.adopt(records_len).is_some();
        let sum = self.checksum(&header, received, self.outbox.bytes());
        if !fits || sum != u32::from_le_bytes([s0, s1, s2, s3]) {
            self.outbox.clear();
            return Ok(false);
        }
        self.last_id = PacketId::new(u16::from_le_bytes([id0, id1])).unwrap_or(PacketId::FIRST);
        let ids = received.as_chunks::<2>().0.iter();
        let ids = ids.filter_map(|id| PacketId::new(u16::from_le_bytes(*id)));
        self.received = ids.collect::<Vec<_, RECEIVED_MAX>>();
        self.wake_records();
        Ok(true)
    }

    /// Nobody knows what was sent after the image was made: all of it is due, and may be a
    /// repetition [MQTT-3.3.1-1].
    fn wake_records(&mut self) {
        let mut at = 0;
        while let Some(record) = self.outbox.record(at) {
            if !record.kind.is_acknowledged_publish() || record.extra != 0 {
                self.outbox.remove(&record);
                continue;
            }
            at = record.end();
            match record.state {
                State::Settled => self.settled = true,
                State::Released | State::ReleasedAgain => {
                    self.outbox.set(record, State::ReleasedAgain);
                }
                State::Queued | State::Sent | State::Again => {
                    if let Some(first) = self.outbox.first_byte_mut(&record) {
                        *first |= DUP;
                    }
                    let sent = record.state != State::Queued;
                    self.outbox.set(record, if sent { State::Again } else { State::Queued });
                }
            }
        }
    }

    fn header(&self, records_len: u32) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        put(&mut header, 0, &MAGIC);
        put(&mut header, 8, &self.last_id.get().to_le_bytes());
        put(&mut header, 10, &(self.received.len() as u16).to_le_bytes());
        put(&mut header, 12, &records_len.to_le_bytes());
        header
    }

    /// Over everything, and the client id: another client's session is none of ours.
    fn checksum(&self, header: &[u8], received: &[u8], records: &[u8]) -> u32 {
        let id = self.settings.client_id.as_bytes();
        [id, header, received, records].into_iter().fold(u32::MAX, crc32)
    }
}

fn put(header: &mut [u8; HEADER], at: usize, bytes: &[u8]) {
    for (to, from) in header.iter_mut().skip(at).zip(bytes) {
        *to = *from;
    }
}

/// CRC-32 (IEEE 802.3), a bit at a time: slow, small.
fn crc32(sum: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(sum, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            let polynomial = if sum & 1 == 0 { 0 } else { 0xEDB8_8320 };
            (sum >> 1) ^ polynomial
        })
    })
}
