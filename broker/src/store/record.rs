//! Facts as bytes: the records of journal frames and of the state's rows. `docs/persistence.md`
//! has the formats; what is written here today must be read for ever.
//!
//! Numbers are LEB128 (seven bits a byte, lowest first), texts and payloads have their length in
//! front. Reading is strict: a record is exactly what writing makes, or an error.

use std::sync::Arc;

use martlet_codec::ids::PacketId;
use martlet_codec::reason::QoS;
use martlet_codec::topic::TopicName;
use martlet_engine::change::{Change, MessageKey, Recorded};
use martlet_engine::filter::Filter;
use martlet_engine::input::Time;
use martlet_engine::message::Message;

pub(super) use parcel::Parcel;

mod parcel;

/// Why bytes are no record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordError {
    /// It ends too early.
    #[error("the record ends too early")]
    Short,
    /// Something stands behind its end.
    #[error("bytes stand behind the record's end")]
    Long,
    /// A fact of a kind that this version does not know.
    #[error("unknown kind of fact {0}")]
    Kind(u8),
    /// A value that this field cannot have.
    #[error("{0} is out of range")]
    Value(&'static str),
}

const RETAIN: u8 = 0b100;

/// What is known of a record's publisher.
const CLIENT: u8 = 0b1;
const USER: u8 = 0b10;

/// The kinds of facts, never given anew to another fact.
mod kind {
    pub(super) const SAVE_SESSION: u8 = 1;
    pub(super) const DROP_SESSION: u8 = 2;
    pub(super) const DETACH: u8 = 3;
    pub(super) const SUBSCRIBE: u8 = 4;
    pub(super) const UNSUBSCRIBE: u8 = 5;
    pub(super) const REPLAY: u8 = 6;
    pub(super) const KEEP_MESSAGE: u8 = 7;
    pub(super) const ENQUEUE: u8 = 8;
    pub(super) const SEND: u8 = 9;
    pub(super) const DELIVER: u8 = 10;
    pub(super) const ADVANCE: u8 = 11;
    pub(super) const SETTLE: u8 = 12;
    pub(super) const MARK_RECEIVED: u8 = 13;
    pub(super) const FORGET_RECEIVED: u8 = 14;
    pub(super) const RETAIN: u8 = 15;
    pub(super) const CLEAR_RETAINED: u8 = 16;
    pub(super) const KEEP_WILL: u8 = 17;
    pub(super) const DROP_WILL: u8 = 18;
    /// From version 2 on.
    pub(super) const RECORD: u8 = 19;
}

/// Appends records to bytes.
#[derive(Debug)]
pub(super) struct Writer<'a>(pub(super) &'a mut Vec<u8>);

impl Writer<'_> {
    pub(super) fn change(&mut self, change: &Change) {
        match change {
            Change::SaveSession { client_id } => self.session(kind::SAVE_SESSION, client_id),
            Change::DropSession { client_id } => self.session(kind::DROP_SESSION, client_id),
            Change::Detach { client_id, since } => {
                self.session(kind::DETACH, client_id);
                self.since(*since);
            }
            Change::Subscribe { client_id, filter, qos } => {
                self.session(kind::SUBSCRIBE, client_id);
                self.text(filter.as_str());
                self.byte(qos.get());
            }
            Change::Unsubscribe { client_id, filter } => {
                self.session(kind::UNSUBSCRIBE, client_id);
                self.text(filter.as_str());
            }
            Change::Replay { client_id, filter, pending } => {
                self.session(kind::REPLAY, client_id);
                self.text(filter.as_str());
                self.byte(u8::from(*pending));
            }
            Change::KeepMessage { key, message } => {
                self.byte(kind::KEEP_MESSAGE);
                self.number(key.0);
                self.message(message);
            }
            Change::Enqueue { client_id, passage } => {
                self.session(kind::ENQUEUE, client_id);
                self.passage(passage);
            }
            Change::Send { client_id, id } => {
                self.session(kind::SEND, client_id);
                self.number(id.map_or(0, |id| id.get().into()));
            }
            Change::Deliver { client_id, passage, id } => {
                self.with_id(kind::DELIVER, client_id, *id);
                self.passage(passage);
            }
            Change::Advance { client_id, id } => self.with_id(kind::ADVANCE, client_id, *id),
            Change::Settle { client_id, id } => self.with_id(kind::SETTLE, client_id, *id),
            Change::MarkReceived { client_id, id } => {
                self.with_id(kind::MARK_RECEIVED, client_id, *id);
            }
            Change::ForgetReceived { client_id, id } => {
                self.with_id(kind::FORGET_RECEIVED, client_id, *id);
            }
            Change::Retain { message } => {
                self.byte(kind::RETAIN);
                self.message(message);
            }
            Change::ClearRetained { topic } => self.session(kind::CLEAR_RETAINED, topic),
            Change::KeepWill { client_id, will } => {
                self.session(kind::KEEP_WILL, client_id);
                self.message(will);
            }
            Change::DropWill { client_id } => self.session(kind::DROP_WILL, client_id),
            Change::Record(record) => self.record(record),
        }
    }

    fn record(&mut self, record: &Recorded) {
        let Recorded { stream, offset, time, client_id, user_name, message } = record;
        self.session(kind::RECORD, stream);
        self.number(*offset);
        self.number(time.0);
        let client = if client_id.is_some() { CLIENT } else { 0 };
        let user = if user_name.is_some() { USER } else { 0 };
        self.byte(client | user);
        [client_id, user_name].into_iter().flatten().for_each(|name| self.text(name));
        self.message(message);
    }

    pub(super) fn message(&mut self, message: &Message) {
        self.byte(message.qos().get() | if message.retain() { RETAIN } else { 0 });
        self.bytes(message.topic().as_bytes());
        self.bytes(message.payload());
    }

    /// 0, or one more than the time.
    pub(super) fn since(&mut self, since: Option<Time>) {
        self.number(since.map_or(0, |time| time.0.saturating_add(1)));
    }

    pub(super) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    pub(super) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    fn session(&mut self, kind: u8, name: &str) {
        self.byte(kind);
        self.text(name);
    }

    fn with_id(&mut self, kind: u8, client_id: &str, id: PacketId) {
        self.session(kind, client_id);
        self.number(id.get().into());
    }
}

/// Takes records from bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn change(&mut self) -> Result<Change, RecordError> {
        let kind = self.byte()?;
        match kind {
            kind::KEEP_MESSAGE => {
                let key = MessageKey(self.number()?);
                return Ok(Change::KeepMessage { key, message: self.message()? });
            }
            kind::RETAIN => return Ok(Change::Retain { message: self.message()? }),
            kind::CLEAR_RETAINED => return self.clear_retained(),
            _ => {}
        }
        if !(kind::SAVE_SESSION..=kind::RECORD).contains(&kind) {
            return Err(RecordError::Kind(kind));
        }
        let client_id: Arc<str> = self.text()?.into();
        Ok(match kind {
            kind::SAVE_SESSION => Change::SaveSession { client_id },
            kind::DROP_SESSION => Change::DropSession { client_id },
            kind::DETACH => Change::Detach { client_id, since: self.since()? },
            kind::SUBSCRIBE => {
                Change::Subscribe { client_id, filter: self.filter()?, qos: self.qos()? }
            }
            kind::UNSUBSCRIBE => Change::Unsubscribe { client_id, filter: self.filter()? },
            kind::REPLAY => {
                Change::Replay { client_id, filter: self.filter()?, pending: self.flag()? }
            }
            kind::ENQUEUE => Change::Enqueue { client_id, passage: self.passage()? },
            kind::SEND => Change::Send { client_id, id: PacketId::new(self.u16()?) },
            kind::DELIVER => {
                let id = self.packet_id()?;
                Change::Deliver { client_id, passage: self.passage()?, id }
            }
            kind::ADVANCE => Change::Advance { client_id, id: self.packet_id()? },
            kind::SETTLE => Change::Settle { client_id, id: self.packet_id()? },
            kind::MARK_RECEIVED => Change::MarkReceived { client_id, id: self.packet_id()? },
            kind::FORGET_RECEIVED => Change::ForgetReceived { client_id, id: self.packet_id()? },
            kind::KEEP_WILL => Change::KeepWill { client_id, will: self.message()? },
            kind::DROP_WILL => Change::DropWill { client_id },
            kind::RECORD => Change::Record(self.record(client_id)?),
            unknown => return Err(RecordError::Kind(unknown)),
        })
    }

    fn record(&mut self, stream: Arc<str>) -> Result<Recorded, RecordError> {
        let (offset, time) = (self.number()?, Time(self.number()?));
        let flags = self.byte()?;
        if flags & !(CLIENT | USER) != 0 {
            return Err(RecordError::Value("publisher"));
        }
        let mut name = |flag| match flags & flag {
            0 => Ok(None),
            _ => self.text().map(|name| Some(name.into())),
        };
        let (client_id, user_name) = (name(CLIENT)?, name(USER)?);
        let message = self.message()?;
        Ok(Recorded { stream, offset, time, client_id, user_name, message })
    }

    pub(super) fn message(&mut self) -> Result<Message, RecordError> {
        let flags = self.byte()?;
        let qos = QoS::new(flags & !RETAIN).ok_or(RecordError::Value("QoS"))?;
        let topic = self.bytes()?;
        let topic = TopicName::new(topic).map_err(|_| RecordError::Value("topic"))?;
        Ok(Message::new(topic, self.bytes()?, qos, flags & RETAIN != 0))
    }

    pub(super) fn since(&mut self) -> Result<Option<Time>, RecordError> {
        Ok(self.number()?.checked_sub(1).map(Time))
    }

    pub(super) fn filter(&mut self) -> Result<Filter, RecordError> {
        Filter::parse(self.text()?).map_err(|_| RecordError::Value("filter"))
    }

    pub(super) fn packet_id(&mut self) -> Result<PacketId, RecordError> {
        PacketId::new(self.u16()?).ok_or(RecordError::Value("Packet Identifier"))
    }

    pub(super) fn qos(&mut self) -> Result<QoS, RecordError> {
        QoS::new(self.byte()?).ok_or(RecordError::Value("QoS"))
    }

    pub(super) fn flag(&mut self) -> Result<bool, RecordError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(RecordError::Value("flag")),
        }
    }

    pub(super) fn text(&mut self) -> Result<&'a str, RecordError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| RecordError::Value("text"))
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], RecordError> {
        let len = usize::try_from(self.number()?).map_err(|_| RecordError::Short)?;
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(RecordError::Short)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(super) fn number(&mut self) -> Result<u64, RecordError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            if bits << shift >> shift != bits || (byte == 0 && shift > 0) {
                return Err(RecordError::Value("number"));
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(RecordError::Value("number"))
    }

    pub(super) fn byte(&mut self) -> Result<u8, RecordError> {
        let (&byte, rest) = self.0.split_first().ok_or(RecordError::Short)?;
        self.0 = rest;
        Ok(byte)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Result<(), RecordError> {
        if self.is_empty() { Ok(()) } else { Err(RecordError::Long) }
    }

    fn clear_retained(&mut self) -> Result<Change, RecordError> {
        let topic = TopicName::new(self.bytes()?).map_err(|_| RecordError::Value("topic"))?;
        Ok(Change::ClearRetained { topic: topic.as_str().into() })
    }

    fn u16(&mut self) -> Result<u16, RecordError> {
        u16::try_from(self.number()?).map_err(|_| RecordError::Value("Packet Identifier"))
    }
}

#[cfg(test)]
mod tests {
    use martlet_engine::change::Passage;

    use super::*;

    fn id(number: u16) -> PacketId {
        PacketId::new(number).expect("not zero")
    }

    fn recorded(
        client_id: Option<Arc<str>>,
        user_name: Option<Arc<str>>,
        message: Message,
    ) -> Recorded {
        let (stream, time) = ("stream".into(), Time(1 << 41));
        Recorded { stream, offset: 300, time, client_id, user_name, message }
    }

    fn all_kinds() -> Vec<Change> {
        let client_id: Arc<str> = "client".into();
        let filter = Filter::parse("$share/g/a/+").expect("a filter");
        let topic = TopicName::new(b"a/b").expect("a topic");
        let message = Message::new(topic, b"payload", QoS::ExactlyOnce, true);
        let passage = Passage {
            key: MessageKey(u64::MAX),
            qos: QoS::AtLeastOnce,
            retain: true,
            share: Some(filter.clone()),
        };
        let plain = Passage { share: None, retain: false, ..passage.clone() };
        let c = || client_id.clone();
        vec![
            Change::SaveSession { client_id: c() },
            Change::DropSession { client_id: c() },
            Change::Detach { client_id: c(), since: None },
            Change::Detach { client_id: c(), since: Some(Time(0)) },
            Change::Subscribe { client_id: c(), filter: filter.clone(), qos: QoS::AtMostOnce },
            Change::Unsubscribe { client_id: c(), filter: filter.clone() },
            Change::Replay { client_id: c(), filter, pending: true },
            Change::KeepMessage { key: MessageKey(300), message: message.clone() },
            Change::Enqueue { client_id: c(), passage: passage.clone() },
            Change::Enqueue { client_id: c(), passage: plain },
            Change::Send { client_id: c(), id: None },
            Change::Send { client_id: c(), id: Some(id(65_535)) },
            Change::Deliver { client_id: c(), passage, id: id(1) },
            Change::Advance { client_id: c(), id: id(2) },
            Change::Settle { client_id: c(), id: id(3) },
            Change::MarkReceived { client_id: c(), id: id(4) },
            Change::ForgetReceived { client_id: c(), id: id(5) },
            Change::Retain { message: message.clone() },
            Change::ClearRetained { topic: "a/b".into() },
            Change::KeepWill { client_id: c(), will: message.clone() },
            Change::DropWill { client_id: c() },
            Change::Record(recorded(Some(c()), None, message.clone())),
            Change::Record(recorded(Some(c()), Some("user".into()), message.clone())),
            Change::Record(recorded(None, None, message)),
        ]
    }

    fn written(change: &Change) -> Vec<u8> {
        let mut bytes = Vec::new();
        Writer(&mut bytes).change(change);
        bytes
    }

    #[test]
    fn every_fact_is_read_as_it_was_written() {
        for change in all_kinds() {
            let bytes = written(&change);
            let mut reader = Reader(&bytes);
            assert_eq!(reader.change(), Ok(change));
            assert_eq!(reader.end(), Ok(()));
        }
    }

    #[test]
    fn a_fact_without_its_end_is_none() {
        for change in all_kinds() {
            let bytes = written(&change);
            for end in 0..bytes.len() {
                assert!(Reader(&bytes[..end]).change().is_err(), "{change:?} cut at {end}");
            }
        }
    }

    #[test]
    fn a_flipped_bit_gives_an_error_or_another_fact_and_never_a_panic() {
        for change in all_kinds() {
            let bytes = written(&change);
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let mut reader = Reader(&flipped);
                let read = reader.change();
                if reader.is_empty() {
                    assert_ne!(read, Ok(change.clone()), "bit {bit}: one way to write a fact");
                }
            }
        }
    }

    #[test]
    fn bytes_that_are_no_fact_are_refused() {
        let rows: &[(&[u8], RecordError)] = &[
            (&[], RecordError::Short),
            (&[0], RecordError::Kind(0)),
            (&[20], RecordError::Kind(20)),
            (&[19, 1, b's', 0, 0, 4], RecordError::Value("publisher")),
            (&[1, 5, b'a'], RecordError::Short),
            (&[1, 1, 0xFF], RecordError::Value("text")),
            (&[1, 0x80, 0], RecordError::Value("number")),
            (&[11, 1, b'a', 0], RecordError::Value("Packet Identifier")),
            (&[5, 1, b'a', 2, b'#', b'#'], RecordError::Value("filter")),
            (&[15, 3, 1, b'a', 0], RecordError::Value("QoS")),
            (&[16, 1, b'#'], RecordError::Value("topic")),
        ];
        for (bytes, error) in rows {
            assert_eq!(Reader(bytes).change(), Err(*error), "{bytes:?}");
        }
    }
}
