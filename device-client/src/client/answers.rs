//! What comes from the broker, and what is owed for it.

use martlet_codec::ids::PacketId;
use martlet_codec::packet::{Delivery, PacketType};
use martlet_codec::reason::ConnectReturnCode;

use crate::error::{Bound, Error, Misuse, PeerFault, TransportFault};
use crate::outbox::{Kind, Record, State};
use crate::receiver::Arrival;

use super::{Client, Pending, Phase, Reply, Sending};

impl Client<'_> {
    /// Bytes from the network; says how many it took. It stops where the program is to hear of
    /// something ([`event`](Self::event)) or where acknowledgements must leave first
    /// ([`transmit`](Self::transmit)); then give it the rest. No bytes at all are fine: a deadline
    /// that has passed is noticed here.
    ///
    /// An error ends the connection: close it, call [`detach`](Self::detach).
    pub fn receive(&mut self, now: u64, bytes: &[u8]) -> Result<usize, Error> {
        let result = self.receive_some(now, bytes);
        if result.is_err() && !matches!(self.phase, Phase::Offline { .. }) {
            self.phase = Phase::Over { wished: false };
        }
        result
    }

    fn receive_some(&mut self, now: u64, bytes: &[u8]) -> Result<usize, Error> {
        self.release();
        self.check_deadlines(now, bytes)?;
        if let Sending::Connect { .. } = self.sending {
            return Ok(0); // What answers CONNECT would overwrite it: it stands in the same buffer.
        }
        let mut rest = bytes;
        while matches!(self.pending, Pending::Nothing) && !self.replies.is_full() {
            let Some(arrival) = self.receiver.take(&mut rest)? else { break };
            self.on_arrival(now, arrival)?;
        }
        Ok(bytes.len() - rest.len())
    }

    /// Ends what was shown to the program: a message is acknowledged after its last piece.
    pub(super) fn release(&mut self) {
        if matches!(self.pending, Pending::Shown) {
            self.pending = Pending::Nothing;
            if let Some(delivery) = self.receiver.next_piece() {
                self.settle_received(delivery);
            }
        }
    }

    /// Bytes that came in time count, however late it is.
    fn check_deadlines(&mut self, now: u64, bytes: &[u8]) -> Result<(), Error> {
        let silent = Error::Transport(TransportFault::Silent);
        match self.phase {
            Phase::Offline { .. } | Phase::Over { .. } => Err(Error::Misuse(Misuse::NotAttached)),
            Phase::Greeting { response_by } if response_by <= now && bytes.is_empty() => {
                Err(silent)
            }
            Phase::Greeting { .. } => Ok(()),
            Phase::Online | Phase::Leaving => {
                if bytes.is_empty() {
                    let late = self.response_by.is_some_and(|response_by| response_by <= now);
                    return if late { Err(silent) } else { Ok(()) };
                }
                // An answer may stand behind a long message: as long as bytes come, it may come.
                let response_ms = u64::from(self.settings.response_ms);
                self.response_by = self.response_by.map(|_| now.saturating_add(response_ms));
                Ok(())
            }
        }
    }

    /// One packet, or a part of a PUBLISH.
    fn on_arrival(&mut self, now: u64, arrival: Arrival) -> Result<(), Error> {
        if let (Phase::Greeting { .. }, Arrival::ConnAck { session_present, code }) =
            (self.phase, arrival)
        {
            return self.on_connack(now, session_present, code);
        }
        let greeting = matches!(self.phase, Phase::Greeting { .. });
        match arrival {
            Arrival::ConnAck { .. } => Err(unexpected(PacketType::ConnAck)),
            _ if greeting => Err(unexpected(arrival.packet_type())), // [MQTT-3.2.0-1]
            Arrival::Ack(packet, id) => self.on_ack(packet, id),
            Arrival::SubAck { id, codes } => self.on_suback(id, codes),
            Arrival::UnsubAck(id) => self.on_unsuback(id),
            Arrival::PingResp => {
                self.response_by = None;
                Ok(())
            }
            Arrival::Head(delivery) => self.on_publish(delivery),
            Arrival::Piece => {
                self.pending = Pending::Piece;
                Ok(())
            }
            Arrival::Passed { delivery, unseen } => {
                if unseen {
                    self.counters.unseen = self.counters.unseen.saturating_add(1);
                }
                self.settle_received(delivery);
                Ok(())
            }
        }
    }

    fn on_connack(
        &mut self,
        now: u64,
        session_present: bool,
        code: ConnectReturnCode,
    ) -> Result<(), Error> {
        if code != ConnectReturnCode::Accepted {
            return Err(Error::Peer(PeerFault::Refused(code)));
        }
        if session_present && self.settings.clean_session {
            return Err(unexpected(PacketType::ConnAck)); // [MQTT-3.2.2-1]
        }
        if !session_present {
            self.begin_anew();
        }
        self.phase = Phase::Online;
        self.failures = 0;
        self.last_sent = self.last_sent.max(now);
        self.counters.connections = self.counters.connections.saturating_add(1);
        self.pending = Pending::Connected { session_present };
        Ok(())
    }

    /// The broker knows nothing of this session: what it had not acknowledged is published anew,
    /// what it had received counts as settled, and its own ids mean nothing any more.
    fn begin_anew(&mut self) {
        self.received.clear();
        self.subscribed = 0;
        let mut at = 0;
        while let Some(record) = self.outbox.record(at) {
            at = record.end();
            match record.state {
                State::Released | State::ReleasedAgain => {
                    self.outbox.set(record, State::Settled);
                    self.settled = true;
                }
                State::Sent | State::Again => {
                    if let Some(first) = self.outbox.first_byte_mut(&record) {
                        *first &= !DUP;
                    }
                    self.outbox.set(record, State::Queued);
                }
                State::Queued | State::Settled => {}
            }
        }
        self.unsaved = true;
    }

    fn on_ack(&mut self, packet: PacketType, id: PacketId) -> Result<(), Error> {
        if packet == PacketType::PubRel {
            self.received.retain(|received| *received != id);
            self.unsaved = true;
            self.reply(PacketType::PubComp, id); // [MQTT-4.3.3-2], known or not
            return Ok(());
        }
        let found = self.outbox.find(id).filter(|record| !self.is_begun(record));
        let Some(record) = found.filter(|record| record.state != State::Queued) else {
            // Of a session that is gone. Without its PUBREL the broker would keep the id for ever.
            if packet == PacketType::PubRec {
                self.reply(PacketType::PubRel, id);
            }
            return Ok(());
        };
        let released = matches!(record.state, State::Released | State::ReleasedAgain);
        match (packet, record.kind, released) {
            (PacketType::PubAck, Kind::AtLeastOnce, _) => self.settle(record), // [MQTT-4.3.2-1]
            (PacketType::PubRec, Kind::ExactlyOnce, _) => self.release_sent(record, id),
            (PacketType::PubComp, Kind::ExactlyOnce, true) => self.settle(record),
            _ => return Err(Error::Peer(PeerFault::Mismatched(packet))),
        }
        Ok(())
    }

    /// PUBREC came: PUBLISH is never sent again [MQTT-4.3.3-1], PUBREL is owed, in the order of the
    /// PUBRECs [MQTT-4.6.0-4].
    fn release_sent(&mut self, record: Record, id: PacketId) {
        self.return_lent(&record);
        self.shorten(record, State::Released);
        self.unsaved = true;
        self.reply(PacketType::PubRel, id);
    }

    /// The broker has it. The program hears of it when it asks.
    fn settle(&mut self, record: Record) {
        self.return_lent(&record);
        self.shorten(record, State::Settled);
        self.settled = true;
        self.unsaved = true;
    }

    fn on_suback(&mut self, id: PacketId, codes: u8) -> Result<(), Error> {
        let Some(record) = self.outbox.find(id).filter(|record| record.state == State::Sent) else {
            return Ok(()); // Of a subscription that this session does not know.
        };
        let standing = match record.kind {
            Kind::Subscribe => None,
            Kind::Standing => {
                self.subscribed = self.subscribed.saturating_add(1);
                Some(self.subscribed - 1)
            }
            Kind::AtMostOnce | Kind::AtLeastOnce | Kind::ExactlyOnce | Kind::Unsubscribe => {
                return Err(Error::Peer(PeerFault::Mismatched(PacketType::SubAck)));
            }
        };
        if codes != record.extra {
            return Err(Error::Peer(PeerFault::Mismatched(PacketType::SubAck))); // [MQTT-3.8.4-5]
        }
        self.remove(&record);
        self.pending = Pending::Subscribed { id, standing, codes };
        Ok(())
    }

    fn on_unsuback(&mut self, id: PacketId) -> Result<(), Error> {
        let Some(record) = self.outbox.find(id).filter(|record| record.state == State::Sent) else {
            return Ok(());
        };
        if record.kind != Kind::Unsubscribe {
            return Err(Error::Peer(PeerFault::Mismatched(PacketType::UnsubAck)));
        }
        self.remove(&record);
        self.pending = Pending::Unsubscribed(id);
        Ok(())
    }

    /// Whether the program is to see the message: one of QoS 2 only once [MQTT-4.3.3-2].
    fn on_publish(&mut self, delivery: Delivery) -> Result<(), Error> {
        let Delivery::ExactlyOnce { id, .. } = delivery else { return Ok(()) };
        if self.has_received(id) {
            self.receiver.pass();
        } else if self.received.is_full() {
            return Err(Error::Capacity(Bound::Received));
        }
        Ok(())
    }

    /// The program has had all of it, or is not to see it.
    fn settle_received(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::AtMostOnce => {}
            // [MQTT-4.3.2-2]
            Delivery::AtLeastOnce { id, .. } => self.reply(PacketType::PubAck, id),
            Delivery::ExactlyOnce { id, .. } => {
                if !self.has_received(id) {
                    // There was room when the head came, and nothing else has come since.
                    let _ = self.received.push(id);
                    self.unsaved = true;
                }
                self.reply(PacketType::PubRec, id); // [MQTT-4.3.3-2]
            }
        }
    }

    /// Acknowledgements leave in the order in which they became due [MQTT-4.6.0-2] [MQTT-4.6.0-3].
    fn reply(&mut self, packet: PacketType, id: PacketId) {
        // `receive` takes nothing while there is no room.
        let _ = self.replies.push_back(Reply(packet, id));
    }

    #[expect(clippy::manual_contains, reason = "half the code, for a list this short")]
    fn has_received(&self, id: PacketId) -> bool {
        self.received.iter().any(|received| *received == id)
    }

    fn is_begun(&self, record: &Record) -> bool {
        matches!(self.sending, Sending::Record { at, .. } if at == record.at)
    }
}

/// The DUP flag in the first byte of a PUBLISH.
pub(super) const DUP: u8 = 0b1000;

impl Arrival {
    fn packet_type(self) -> PacketType {
        match self {
            Self::ConnAck { .. } => PacketType::ConnAck,
            Self::Ack(packet, _) => packet,
            Self::SubAck { .. } => PacketType::SubAck,
            Self::UnsubAck(_) => PacketType::UnsubAck,
            Self::PingResp => PacketType::PingResp,
            Self::Head(_) | Self::Piece | Self::Passed { .. } => PacketType::Publish,
        }
    }
}

fn unexpected(packet: PacketType) -> Error {
    Error::Peer(PeerFault::Unexpected(packet))
}
