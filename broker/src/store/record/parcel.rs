//! A passage as facts name it, and as a row of the state says it: perhaps with its message inside.

use martlet_codec::reason::QoS;
use martlet_engine::change::{MessageKey, Passage};
use martlet_engine::message::Message;

use crate::store::record::{RETAIN, Reader, RecordError, Writer};

const SHARE: u8 = 0b1000;
/// The message itself is behind: in the state alone, from version 4 on.
const INSIDE: u8 = 0b1_0000;

/// A passage as a row of the state says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct Parcel {
    pub(in crate::store) passage: Passage,
    /// The message, if no other passage names it; `None`: it has a row of its own.
    pub(in crate::store) inside: Option<Message>,
}

impl Writer<'_> {
    pub(in crate::store) fn passage(&mut self, passage: &Passage) {
        self.passage_with(passage, None);
    }

    pub(in crate::store) fn parcel(&mut self, parcel: &Parcel) {
        self.passage_with(&parcel.passage, parcel.inside.as_ref());
    }

    fn passage_with(&mut self, passage: &Passage, inside: Option<&Message>) {
        let retain = if passage.retain { RETAIN } else { 0 };
        let share = if passage.share.is_some() { SHARE } else { 0 };
        let has_inside = if inside.is_some() { INSIDE } else { 0 };
        self.byte(passage.qos.get() | retain | share | has_inside);
        self.number(passage.key.0);
        if let Some(share) = &passage.share {
            self.text(share.as_str());
        }
        if let Some(message) = inside {
            self.message(message);
        }
    }
}

impl Reader<'_> {
    pub(in crate::store) fn passage(&mut self) -> Result<Passage, RecordError> {
        match self.parcel()? {
            Parcel { passage, inside: None } => Ok(passage),
            Parcel { inside: Some(_), .. } => Err(RecordError::Value("flags")),
        }
    }

    pub(in crate::store) fn parcel(&mut self) -> Result<Parcel, RecordError> {
        let flags = self.byte()?;
        let qos = flags & !(RETAIN | SHARE | INSIDE);
        let qos = QoS::new(qos).ok_or(RecordError::Value("QoS"))?;
        let key = MessageKey(self.number()?);
        let share = if flags & SHARE == 0 { None } else { Some(self.filter()?) };
        let inside = if flags & INSIDE == 0 { None } else { Some(self.message()?) };
        Ok(Parcel { passage: Passage { key, qos, retain: flags & RETAIN != 0, share }, inside })
    }
}

#[cfg(test)]
mod tests {
    use martlet_codec::topic::TopicName;
    use martlet_engine::filter::Filter;

    use super::*;

    fn parcels() -> [Parcel; 4] {
        let topic = TopicName::new(b"a/b").expect("a topic");
        let message = Message::new(topic, b"payload", QoS::ExactlyOnce, true);
        let share = Some(Filter::parse("$share/g/a/#").expect("a filter"));
        let plain =
            Passage { key: MessageKey(300), qos: QoS::AtMostOnce, retain: false, share: None };
        let full = Passage { qos: QoS::ExactlyOnce, retain: true, share, ..plain.clone() };
        let inside = Some(message);
        [
            Parcel { passage: plain.clone(), inside: None },
            Parcel { passage: full.clone(), inside: None },
            Parcel { passage: plain, inside: inside.clone() },
            Parcel { passage: full, inside },
        ]
    }

    fn written(parcel: &Parcel) -> Vec<u8> {
        let mut bytes = Vec::new();
        Writer(&mut bytes).parcel(parcel);
        bytes
    }

    #[test]
    fn parcels_are_read_as_they_were_written_side_by_side() {
        let bytes: Vec<u8> = parcels().iter().flat_map(written).collect();
        let mut reader = Reader(&bytes);
        for parcel in parcels() {
            assert_eq!(reader.parcel(), Ok(parcel));
        }
        assert_eq!(reader.end(), Ok(()));
    }

    #[test]
    fn a_parcel_without_its_end_is_none() {
        for parcel in parcels() {
            let bytes = written(&parcel);
            for end in 0..bytes.len() {
                assert!(Reader(&bytes[..end]).parcel().is_err(), "{parcel:?} cut at {end}");
            }
        }
    }

    #[test]
    fn without_its_message_it_is_the_passage_that_facts_and_older_rows_say() {
        for parcel in parcels() {
            let mut passage = Vec::new();
            Writer(&mut passage).passage(&parcel.passage);
            let read = Reader(&written(&parcel)).passage();
            match parcel.inside {
                None => assert_eq!((written(&parcel), read), (passage, Ok(parcel.passage))),
                Some(_) => assert_eq!(read, Err(RecordError::Value("flags"))),
            }
        }
    }
}
