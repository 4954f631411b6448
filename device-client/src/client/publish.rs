//! What the program publishes, and what is lost when there is no room for it.

use martlet_codec::ids::PacketId;
use martlet_codec::packet::{self, Delivery};
use martlet_codec::properties::Properties;
use martlet_codec::reason::QoS;
use martlet_codec::topic::TopicName;
use martlet_codec::v311;

use crate::error::{Bound, Error, Misuse};
use crate::outbox::{HEADER, Kind, Record, State};
use crate::settings::{Publication, WhenFull};

use super::{Client, Sending, refused, short};

/// What a PUBLISH takes besides topic and payload, with its record's header, at most.
const PUBLISH_HEAD_MAX: usize = HEADER + 9;

impl<'m> Client<'m> {
    /// Publishes: the message is copied into the outbox, whole or not at all, and sent when there
    /// is a connection. `Some(id)` for QoS 1 and 2, which
    /// [`Event::Published`](crate::event::Event::Published) repeats when the broker has it.
    ///
    /// Errors: `Capacity(Outbox)` if it does not fit, which is counted; `Misuse(Topic)`.
    pub fn publish(&mut self, message: &Publication<'_>) -> Result<Option<PacketId>, Error> {
        self.push_publish(message, None)
    }

    /// Publishes without copying the payload: only its topic stands in the outbox. The payload is
    /// read from where it lies whenever it is sent, and is free again with
    /// [`Event::Published`](crate::event::Event::Published),
    /// or for QoS 0 when [`lent`](Self::lent) says so. It does not outlive a
    /// reset: [`save`](Self::save) leaves the message out.
    ///
    /// Errors: as [`publish`](Self::publish), and `Capacity(Lent)`.
    pub fn publish_lent(&mut self, message: &Publication<'m>) -> Result<Option<PacketId>, Error> {
        let Some(place) = self.lent.iter().position(Option::is_none) else {
            self.counters.dropped = self.counters.dropped.saturating_add(1);
            return Err(Error::Capacity(Bound::Lent));
        };
        let id = self.push_publish(message, Some(place as u8))?;
        if let Some(slot) = self.lent.get_mut(place) {
            *slot = Some(message.payload);
        }
        Ok(id)
    }

    /// How many payloads are lent at the moment.
    pub fn lent(&self) -> usize {
        self.lent.iter().flatten().count()
    }

    fn push_publish(
        &mut self,
        message: &Publication<'_>,
        lent: Option<u8>,
    ) -> Result<Option<PacketId>, Error> {
        let topic =
            TopicName::new(message.topic.as_bytes()).map_err(|_| Error::Misuse(Misuse::Topic))?;
        let id = self.free_id();
        let (delivery, kind, id) = match message.qos {
            QoS::AtMostOnce => (Delivery::AtMostOnce, Kind::AtMostOnce, None),
            QoS::AtLeastOnce => {
                (Delivery::AtLeastOnce { id, dup: false }, Kind::AtLeastOnce, Some(id))
            }
            QoS::ExactlyOnce => {
                (Delivery::ExactlyOnce { id, dup: false }, Kind::ExactlyOnce, Some(id))
            }
        };
        let publish = packet::Publish {
            delivery,
            retain: message.retain,
            topic: Some(topic),
            properties: Properties::EMPTY,
            payload: message.payload,
        };
        let copied = if lent.is_some() { &[][..] } else { message.payload };
        let needed = PUBLISH_HEAD_MAX + message.topic.len() + copied.len();
        let len = loop {
            match self.write_publish(&publish, copied) {
                Ok(len) => break len,
                Err(error) if !self.drop_oldest(needed) => {
                    self.counters.dropped = self.counters.dropped.saturating_add(1);
                    return Err(error);
                }
                Err(_) => {}
            }
        };
        self.outbox.push(len, id, kind, lent.map_or(0, |place| place + 1));
        self.last_id = id.unwrap_or(self.last_id);
        self.unsaved |= id.is_some();
        Ok(id)
    }

    /// Head and payload into the free part of the outbox; nothing is kept yet.
    fn write_publish(
        &mut self,
        publish: &packet::Publish<'_>,
        copied: &[u8],
    ) -> Result<u16, Error> {
        let free = self.outbox.free(self.reserve);
        let head = v311::write_publish_head(publish, free)
            .map_err(|error| refused(error, Misuse::Topic))?;
        let end = head.saturating_add(copied.len());
        let place = free.get_mut(head..end).ok_or(Error::Capacity(Bound::Outbox))?;
        for (to, from) in place.iter_mut().zip(copied) {
            *to = *from;
        }
        short(end)
    }

    /// Drops the oldest message that waits, if that is the caller's choice and makes room in the
    /// end for a record of `needed` bytes.
    fn drop_oldest(&mut self, needed: usize) -> bool {
        let begun = match self.sending {
            Sending::Record { at, .. } => Some(at),
            Sending::Nothing | Sending::Connect { .. } => None,
        };
        let waits = |record: &Record| {
            record.kind.is_publish() && record.state == State::Queued && Some(record.at) != begun
        };
        let mut waiting = self.outbox.iter().filter(waits);
        let Some(oldest) = waiting.next() else { return false };
        let droppable = waiting.fold(oldest.size(), |sum, record| sum + record.size());
        let room = self.outbox.room(self.reserve) + droppable;
        if self.settings.when_full != WhenFull::DropOldest || room < needed {
            return false;
        }
        self.remove(&oldest);
        self.counters.dropped = self.counters.dropped.saturating_add(1);
        true
    }
}
