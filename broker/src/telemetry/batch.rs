//! Records as bytes: the published layout of Kafka's RecordBatch, version 2, so that whoever knows
//! it can read a segment. Key = topic, value = payload, headers = client, user, QoS, retain.
//!
//! A batch is whole or it is not there: its CRC-32C says which. Numbers of the batch's header are
//! big-endian; those of a record are zigzag LEB128.

use std::ops::Range;

use martlet_codec::reason::QoS;
use martlet_engine::change::Recorded;

use crate::telemetry::Record;

/// Bytes of a batch's header.
pub(super) const HEADER_BYTES: usize = 61;
/// What stands in front of the batch's length and is not counted in it.
const UNCOUNTED_BYTES: usize = 12;
/// Where the part begins that the checksum covers.
const CHECKED_FROM: usize = 21;
/// The layout's version.
const MAGIC: u8 = 2;
/// A batch of one record of the largest packet is smaller than this.
const BATCH_BYTES_MAX: usize = 512 << 20;
/// No producer, no epoch, no sequence: nobody sends a batch twice.
const NOBODY: [u8; 14] = [0xFF; 14];

const CLIENT: &[u8] = b"client";
const USER: &[u8] = b"user";
const QOS: &[u8] = b"qos";
const RETAIN: &[u8] = b"retain";

/// A whole batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batch<'a> {
    /// The offset of its first record.
    pub(super) first: u64,
    /// The offset behind its last one.
    pub(super) end: u64,
    /// The times of its oldest and newest record.
    pub(super) time_min: u64,
    pub(super) time_max: u64,
    /// All of it.
    pub(super) bytes: &'a [u8],
}

/// Where the parts of a record stand in the bytes that it was read from.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) time: u64,
    topic: Range<usize>,
    payload: Range<usize>,
    client: Option<Range<usize>>,
    user: Option<Range<usize>>,
    qos: QoS,
    retain: bool,
    /// Where the next one begins.
    pub(super) end: usize,
}

/// Appends one batch of these records, in the order of their offsets, which may have gaps.
pub(super) fn write<'a>(
    out: &mut Vec<u8>,
    records: impl ExactSizeIterator<Item = Record<'a>> + Clone,
) {
    let Some(first) = records.clone().next() else { return };
    let start = out.len();
    let times = || records.clone().map(|record| record.time_ms);
    let base = times().min().unwrap_or(0);
    out.extend_from_slice(&first.offset.to_be_bytes());
    out.extend_from_slice(&[0; 4]); // the length, below
    out.extend_from_slice(&offset_checksum(first.offset.to_be_bytes()).to_be_bytes());
    out.push(MAGIC);
    out.extend_from_slice(&[0; 4]); // the checksum, below
    out.extend_from_slice(&0_u16.to_be_bytes()); // attributes: not compressed, time of creation
    out.extend_from_slice(&[0; 4]); // how far the last offset is, below
    out.extend_from_slice(&base.to_be_bytes());
    out.extend_from_slice(&times().max().unwrap_or(0).to_be_bytes());
    out.extend_from_slice(&NOBODY);
    let count = u32::try_from(records.len()).expect("a batch has few records");
    out.extend_from_slice(&count.to_be_bytes());
    let mut last = 0;
    for record in records {
        last = record.offset - first.offset;
        write_record(out, &record, record.time_ms - base, last);
    }
    let last = u32::try_from(last).expect("a batch is of one segment");
    out[start + 23..start + 27].copy_from_slice(&last.to_be_bytes());
    let len = u32::try_from(out.len() - start - UNCOUNTED_BYTES).expect("under 512 MiB");
    out[start + 8..start + 12].copy_from_slice(&len.to_be_bytes());
    let checksum = crc32c::crc32c(&out[start + CHECKED_FROM..]);
    out[start + 17..start + 21].copy_from_slice(&checksum.to_be_bytes());
}

/// A record of the journal.
pub(super) fn lend(record: &Recorded) -> Record<'_> {
    Record {
        offset: record.offset,
        time_ms: record.time.0,
        topic: record.message.topic().as_str(),
        client_id: record.client_id.as_deref(),
        user_name: record.user_name.as_deref(),
        qos: record.message.qos(),
        retain: record.message.retain(),
        payload: record.message.payload(),
    }
}

fn write_record(out: &mut Vec<u8>, record: &Record<'_>, time: u64, offset: u64) {
    let (topic, payload) = (record.topic.as_bytes(), record.payload);
    let qos = [b'0' + record.qos.get()];
    let headers = [
        record.client_id.map(|client| (CLIENT, client.as_bytes())),
        record.user_name.map(|user| (USER, user.as_bytes())),
        Some((QOS, &qos[..])),
        record.retain.then_some((RETAIN, &b"1"[..])),
    ];
    let headers = || headers.iter().flatten();
    let header_bytes: usize =
        headers().map(|(key, value)| field_bytes(key) + field_bytes(value)).sum();
    let bytes = 1
        + number_bytes(time)
        + number_bytes(offset)
        + field_bytes(topic)
        + field_bytes(payload)
        + 1
        + header_bytes;
    number(out, bytes as u64);
    out.push(0); // attributes
    number(out, time);
    number(out, offset);
    field(out, topic);
    field(out, payload);
    number(out, headers().count() as u64);
    for (key, value) in headers() {
        field(out, key);
        field(out, value);
    }
}

/// The whole batch that begins there, if one does.
pub(super) fn read(bytes: &[u8]) -> Option<Batch<'_>> {
    let len = len(bytes)?;
    let batch = bytes.get(..len)?;
    let is_whole = is_offset_whole(batch)
        && crc32c::crc32c(&batch[CHECKED_FROM..]) == u32_at(batch, 17)
        && u32_at(batch, 57).checked_sub(1).is_some_and(|last| last <= u32_at(batch, 23));
    is_whole.then(|| trusted(batch))
}

/// The layout's checksum does not cover the first offset. Ours of it stands where other writers
/// have the epoch of a leader, which a log without leaders does not need. Never 0.
fn offset_checksum(first: [u8; 8]) -> u32 {
    crc32c::crc32c(&first).max(1)
}

/// Earlier versions wrote 0 in its place.
fn is_offset_whole(batch: &[u8]) -> bool {
    let first = batch[..8].try_into().expect("eight bytes are eight bytes");
    [0, offset_checksum(first)].contains(&u32_at(batch, 12))
}

/// The batch that was just written.
pub(super) fn trusted(batch: &[u8]) -> Batch<'_> {
    let first = u64_at(batch, 0);
    Batch {
        first,
        end: first + u64::from(u32_at(batch, 23)) + 1,
        time_min: u64_at(batch, 27),
        time_max: u64_at(batch, 35),
        bytes: batch,
    }
}

/// How long the batch is that begins there, if one could; `bytes` has its header at least.
pub(super) fn len(bytes: &[u8]) -> Option<usize> {
    let header = bytes.get(..HEADER_BYTES)?;
    let len = u32_at(header, 8) as usize + UNCOUNTED_BYTES;
    let is_possible = header[16] == MAGIC
        && header[43..57] == NOBODY
        && (HEADER_BYTES..=BATCH_BYTES_MAX).contains(&len)
        && u64_at(header, 0) <= i64::MAX as u64;
    is_possible.then_some(len)
}

impl<'a> Batch<'a> {
    /// Its records, as far as they can be told apart: all of them, if we wrote it.
    pub(super) fn places(self) -> impl Iterator<Item = Place> + 'a {
        let mut at = HEADER_BYTES;
        std::iter::from_fn(move || {
            let place = self.place(at)?;
            at = place.end;
            Some(place)
        })
    }

    /// The record that begins there.
    pub(super) fn place(self, at: usize) -> Option<Place> {
        let mut fields = Fields { bytes: self.bytes, at };
        let len = usize::try_from(fields.number()?).ok()?;
        let end = fields.at.checked_add(len).filter(|end| *end <= self.bytes.len())?;
        fields.at += 1; // attributes
        let time = self.time_min + fields.number()?;
        let offset = self.first + fields.number()?;
        let (topic, payload) = (fields.field()?, fields.field()?);
        let none = QoS::AtMostOnce;
        let mut place = Place {
            offset,
            time,
            topic,
            payload,
            client: None,
            user: None,
            qos: none,
            retain: false,
            end,
        };
        for _ in 0..fields.number()? {
            let (key, value) = (fields.field()?, fields.field()?);
            match &self.bytes[key] {
                CLIENT => place.client = Some(value),
                USER => place.user = Some(value),
                QOS => place.qos = qos(&self.bytes[value])?,
                RETAIN => place.retain = true,
                _ => {} // a later version's
            }
        }
        Some(place)
    }
}

impl Place {
    /// The record, out of the batch that it was found in.
    pub(super) fn record<'a>(&self, batch: &'a [u8]) -> Record<'a> {
        // Written from text, and covered by the checksum.
        let text = |range: &Range<usize>| std::str::from_utf8(&batch[range.clone()]).unwrap_or("");
        Record {
            offset: self.offset,
            time_ms: self.time,
            topic: text(&self.topic),
            client_id: self.client.as_ref().map(text),
            user_name: self.user.as_ref().map(text),
            qos: self.qos,
            retain: self.retain,
            payload: &batch[self.payload.clone()],
        }
    }

    pub(super) fn topic<'a>(&self, batch: &'a [u8]) -> &'a [u8] {
        &batch[self.topic.clone()]
    }

    /// Bytes of topic and payload.
    pub(super) fn bytes(&self) -> u64 {
        (self.topic.len() + self.payload.len()) as u64
    }
}

fn qos(value: &[u8]) -> Option<QoS> {
    let [digit] = value else { return None };
    QoS::new(digit.checked_sub(b'0')?)
}

struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Fields<'_> {
    fn field(&mut self) -> Option<Range<usize>> {
        let len = usize::try_from(self.number()?).ok()?;
        let end = self.at.checked_add(len).filter(|end| *end <= self.bytes.len())?;
        let field = self.at..end;
        self.at = end;
        Some(field)
    }

    /// A number that is not negative, as all of ours are.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            number |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return (number & 1 == 0).then_some(number >> 1);
            }
        }
        None
    }
}

fn field(out: &mut Vec<u8>, bytes: &[u8]) {
    number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn number(out: &mut Vec<u8>, number: u64) {
    let mut rest = number << 1;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn field_bytes(bytes: &[u8]) -> usize {
    number_bytes(bytes.len() as u64) + bytes.len()
}

fn number_bytes(number: u64) -> usize {
    let bits = 64 - (number << 1 | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes are four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes are eight bytes"))
}

#[cfg(test)]
mod tests {
    use martlet_codec::topic::TopicName;
    use martlet_engine::input::Time;
    use martlet_engine::message::Message;

    use super::*;

    fn recorded(offset: u64, time: u64, who: Option<&str>, payload: &[u8]) -> Recorded {
        let topic = TopicName::new(b"sensors/garden").expect("a topic");
        Recorded {
            stream: "s".into(),
            offset,
            time: Time(time),
            client_id: who.map(Into::into),
            user_name: who.map(|who| format!("{who}-user").into()),
            message: Message::new(topic, payload, QoS::AtLeastOnce, who.is_none()),
        }
    }

    fn written(records: &[Recorded]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&mut bytes, records.iter().map(lend));
        bytes
    }

    #[test]
    fn a_batch_is_read_as_it_was_written() {
        let records =
            [recorded(7, 1_000, Some("c"), b"21.5"), recorded(8, 900, None, &[0xFF; 9000])];
        let bytes = written(&records);
        let batch = read(&bytes).expect("whole");
        assert_eq!((batch.first, batch.end), (7, 9));
        assert_eq!((batch.time_min, batch.time_max), (900, 1_000));
        let places: Vec<Place> = batch.places().collect();
        assert_eq!(places.len(), 2);
        for (place, expected) in places.iter().zip(&records) {
            let record = place.record(batch.bytes);
            assert_eq!((record.offset, record.time_ms), (expected.offset, expected.time.0));
            assert_eq!(record.topic, "sensors/garden");
            assert_eq!(record.payload, expected.message.payload());
            assert_eq!(record.client_id, expected.client_id.as_deref());
            assert_eq!(record.user_name, expected.user_name.as_deref());
            assert_eq!((record.qos, record.retain), (QoS::AtLeastOnce, expected.message.retain()));
        }
    }

    /// The bytes of one record, laid out by hand from the published description.
    #[test]
    fn the_layout_is_the_published_one() {
        let bytes = written(&[recorded(1, 5, None, b"x")]);
        assert_eq!(&bytes[..8], 1_u64.to_be_bytes(), "base offset");
        assert_eq!(u32_at(&bytes, 8) as usize, bytes.len() - 12, "length behind the length");
        assert_eq!(u32_at(&bytes, 12), crc32c::crc32c(&bytes[..8]), "of the base offset");
        assert_eq!(bytes[16], 2, "magic");
        assert_eq!(u32_at(&bytes, 17), crc32c::crc32c(&bytes[21..]), "CRC from the attributes on");
        assert_eq!(&bytes[43..57], [0xFF; 14], "no producer");
        let record = &bytes[61..];
        let head = [record.len() as u8 * 2 - 2, 0, 0, 0, 14 * 2];
        assert_eq!(record[..5], head, "length, attributes, time, offset, length of the key");
        assert_eq!(&record[5..19], b"sensors/garden");
        assert_eq!(&record[19..22], [2, b'x', 4], "value, two headers");
        assert_eq!(&record[22..], b"\x06qos\x021\x0cretain\x021");
    }

    #[test]
    fn a_batch_of_an_earlier_version_is_read() {
        let mut bytes = written(&[recorded(7, 5, None, b"x")]);
        bytes[12..16].fill(0);
        assert_eq!(read(&bytes).map(|batch| batch.first), Some(7));
    }

    #[test]
    fn a_batch_that_is_cut_or_has_a_flipped_bit_is_none() {
        let bytes = written(&[recorded(0, 0, Some("c"), b"payload")]);
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end]).is_none(), "cut at {end}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&flipped).is_none(), "bit {bit}");
        }
    }
}
