//! The tables, their keys and what their rows say. Keys are bytes in an order that puts a session's
//! rows side by side; each row ends with a checksum over key and record, because the database looks
//! at its own only when it repairs itself.

use martlet_codec::ids::PacketId;
use martlet_engine::change::Change;
use martlet_engine::message::Message;
use martlet_engine::snapshot::KeptSubscription;
use redb::{TableDefinition, TableHandle};

use crate::store::ledger::{SessionNumber, SessionRow};
use crate::store::record::{Parcel, Reader, RecordError, Writer};

pub(super) type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// Single numbers by name.
pub(super) const META: Table = TableDefinition::new("meta");
/// Session number -> client id, detached since.
pub(super) const SESSIONS: Table = TableDefinition::new("sessions");
/// Session number, filter -> granted QoS, replay.
pub(super) const SUBSCRIPTIONS: Table = TableDefinition::new("subscriptions");
/// Session number, place -> the passage that stands there, and those behind it: one or more. From
/// version 4 on messages may be inside; before, each row was one passage.
pub(super) const QUEUED: Table = TableDefinition::new("queued");
/// Session number, Packet Identifier -> order, stage.
pub(super) const IN_FLIGHT: Table = TableDefinition::new("in_flight");
/// Session number, Packet Identifier -> nothing.
pub(super) const RECEIVED: Table = TableDefinition::new("received");
/// Message key -> message.
pub(super) const MESSAGES: Table = TableDefinition::new("messages");
/// Topic -> message.
pub(super) const RETAINED: Table = TableDefinition::new("retained");
/// Client id -> message.
pub(super) const WILLS: Table = TableDefinition::new("wills");
/// Stream of the log -> the offset of its next record. From version 2 on.
pub(super) const STREAMS: Table = TableDefinition::new("streams");
/// Number in order -> a recorded message that the log does not have yet. From version 3 on.
pub(super) const RECORDS: Table = TableDefinition::new("records");

/// All tables.
pub(super) const ALL: [Table; 11] = [
    META,
    SESSIONS,
    SUBSCRIPTIONS,
    QUEUED,
    IN_FLIGHT,
    RECEIVED,
    MESSAGES,
    RETAINED,
    WILLS,
    STREAMS,
    RECORDS,
];

/// The first version that has the table.
pub(super) fn since(table: Table) -> u32 {
    match table.name() {
        "records" => 3,
        "streams" => 2,
        _ => 1,
    }
}

/// The tables whose keys begin with a session's number.
pub(super) const OF_SESSIONS: [Table; 5] = [SESSIONS, SUBSCRIPTIONS, QUEUED, IN_FLIGHT, RECEIVED];

/// The rows of `META`.
pub(super) mod meta {
    pub(in crate::store::state) const VERSION: &str = "version";
    pub(in crate::store::state) const POSITION: &str = "position";
    pub(in crate::store::state) const NEXT_KEY: &str = "next_key";
    pub(in crate::store::state) const NEXT_SEGMENT: &str = "next_segment";
}

const CHECKSUM_BYTES: usize = 4;
/// Bytes of a row of several passages: with its key it fills four pages of the database, which are
/// written as one. When some of its passages go, the rest is written again: so much and no more.
const ROW_BYTES_MAX: usize = 4 * 4096 - 16 - 32;
const REPLAY: u8 = 0b100;

/// A delivery in flight, as a row says it.
pub(super) enum Flown {
    Sent(Parcel),
    AwaitPubComp,
}

const SENT: u8 = 1;
const AWAIT_PUBCOMP: u8 = 2;

pub(super) fn of_session(number: SessionNumber, rest: &[u8]) -> Vec<u8> {
    [&number.to_be_bytes(), rest].concat()
}

pub(super) fn of_packet(number: SessionNumber, id: PacketId) -> Vec<u8> {
    of_session(number, &id.get().to_be_bytes())
}

/// The session's number and what follows it.
pub(super) fn split(key: &[u8]) -> Result<(SessionNumber, &[u8]), RecordError> {
    let (number, rest) = key.split_first_chunk().ok_or(RecordError::Short)?;
    Ok((u64::from_be_bytes(*number), rest))
}

pub(super) fn number_key(key: &[u8]) -> Result<u64, RecordError> {
    let bytes = key.try_into().map_err(|_| RecordError::Value("key"))?;
    Ok(u64::from_be_bytes(bytes))
}

pub(super) fn packet_key(key: &[u8]) -> Result<PacketId, RecordError> {
    let bytes = key.try_into().map_err(|_| RecordError::Value("key"))?;
    PacketId::new(u16::from_be_bytes(bytes)).ok_or(RecordError::Value("key"))
}

pub(super) fn text_key(key: &[u8]) -> Result<&str, RecordError> {
    std::str::from_utf8(key).map_err(|_| RecordError::Value("key"))
}

/// The row of a record that `write` appends.
pub(super) fn sealed(key: &[u8], write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut row = Vec::new();
    write(&mut Writer(&mut row));
    let checksum = crc32c::crc32c_append(crc32c::crc32c(key), &row);
    row.extend_from_slice(&checksum.to_le_bytes());
    row
}

/// The record of a row, or an error where a bit of it is not as it was.
pub(super) fn opened<'a>(key: &[u8], row: &'a [u8]) -> Result<Reader<'a>, RecordError> {
    let at = row.len().checked_sub(CHECKSUM_BYTES).ok_or(RecordError::Short)?;
    let (record, checksum) = row.split_at(at);
    let expected = crc32c::crc32c_append(crc32c::crc32c(key), record);
    match checksum == expected.to_le_bytes() {
        true => Ok(Reader(record)),
        false => Err(RecordError::Value("checksum")),
    }
}

pub(super) fn session(key: &[u8], row: &SessionRow) -> Vec<u8> {
    sealed(key, |writer| {
        writer.text(&row.client_id);
        writer.since(row.detached);
    })
}

pub(super) fn read_session(mut record: Reader<'_>) -> Result<SessionRow, RecordError> {
    let client_id = record.text()?.into();
    let detached = record.since()?;
    record.end()?;
    Ok(SessionRow { client_id, detached })
}

pub(super) fn subscription(key: &[u8], kept: KeptSubscription) -> Vec<u8> {
    let replay = if kept.replay { REPLAY } else { 0 };
    sealed(key, |writer| writer.byte(kept.qos.get() | replay))
}

pub(super) fn read_subscription(mut record: Reader<'_>) -> Result<KeptSubscription, RecordError> {
    let flags = record.byte()?;
    record.end()?;
    let qos = Reader(&[flags & !REPLAY]).qos()?;
    Ok(KeptSubscription { qos, replay: flags & REPLAY != 0 })
}

/// The rows of passages that stand in a queue from this place on, as many in each as fit.
pub(super) fn queued(
    number: SessionNumber,
    from: u64,
    parcels: &[Parcel],
) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let left = parcels.get(at..).filter(|left| !left.is_empty())?;
        let key = of_session(number, &(from + at as u64).to_be_bytes());
        let row = sealed(&key, |writer| at += fill(writer, left));
        Some((key, row))
    })
}

/// As many of these as fit a row, but one at least; how many.
fn fill(writer: &mut Writer<'_>, parcels: &[Parcel]) -> usize {
    writer.0.reserve_exact(ROW_BYTES_MAX);
    for (at, parcel) in parcels.iter().enumerate() {
        let before = writer.0.len();
        writer.parcel(parcel);
        if at > 0 && writer.0.len() + CHECKSUM_BYTES > ROW_BYTES_MAX {
            writer.0.truncate(before);
            return at;
        }
    }
    parcels.len()
}

pub(super) fn read_queued(mut record: Reader<'_>) -> Result<Vec<Parcel>, RecordError> {
    let mut parcels = vec![record.parcel()?];
    while !record.is_empty() {
        parcels.push(record.parcel()?);
    }
    Ok(parcels)
}

pub(super) fn flight(key: &[u8], order: u64, flown: &Flown) -> Vec<u8> {
    sealed(key, |writer| {
        writer.number(order);
        match flown {
            Flown::Sent(parcel) => {
                writer.byte(SENT);
                writer.parcel(parcel);
            }
            Flown::AwaitPubComp => writer.byte(AWAIT_PUBCOMP),
        }
    })
}

pub(super) fn read_flight(mut record: Reader<'_>) -> Result<(u64, Flown), RecordError> {
    let order = record.number()?;
    let flown = match record.byte()? {
        SENT => Flown::Sent(record.parcel()?),
        AWAIT_PUBCOMP => Flown::AwaitPubComp,
        _ => return Err(RecordError::Value("stage")),
    };
    record.end()?;
    Ok((order, flown))
}

pub(super) fn message(key: &[u8], message: &Message) -> Vec<u8> {
    sealed(key, |writer| writer.message(message))
}

pub(super) fn read_message(mut record: Reader<'_>) -> Result<Message, RecordError> {
    let message = record.message()?;
    record.end()?;
    Ok(message)
}

pub(super) fn change(key: &[u8], change: &Change) -> Vec<u8> {
    sealed(key, |writer| writer.change(change))
}

pub(super) fn read_change(mut record: Reader<'_>) -> Result<Change, RecordError> {
    let change = record.change()?;
    record.end()?;
    Ok(change)
}

pub(super) fn number(key: &[u8], number: u64) -> Vec<u8> {
    sealed(key, |writer| writer.number(number))
}

pub(super) fn read_number(mut record: Reader<'_>) -> Result<u64, RecordError> {
    let number = record.number()?;
    record.end()?;
    Ok(number)
}
