//! What goes to the broker, and in which order.

use martlet_codec::ids::PacketId;
use martlet_codec::packet::PacketType;
use martlet_codec::v311;

use crate::outbox::{Kind, Record, State};

use super::answers::DUP;
use super::{Client, Pending, Phase, Reply, Sending};

impl Client<'_> {
    /// Writes to `out` what is to be sent now, and says how many bytes that is: 0 if there is
    /// nothing. What it writes counts as sent: give all of it to the network, in order, or else
    /// [`detach`](Self::detach). `out` has at least 4 bytes; packets go through it in parts.
    pub fn transmit(&mut self, now: u64, out: &mut [u8]) -> usize {
        self.release();
        let mut written = 0;
        loop {
            let place = out.get_mut(written..).unwrap_or_default();
            let more = self.transmit_some(now, place);
            if more == 0 {
                break;
            }
            written += more;
            self.last_sent = now;
        }
        written
    }

    /// Part of one packet. First what was begun, then acknowledgements, which free the broker's
    /// window, then messages in order, then PINGREQ; DISCONNECT comes before what was not begun.
    fn transmit_some(&mut self, now: u64, out: &mut [u8]) -> usize {
        match self.phase {
            Phase::Offline { .. } | Phase::Over { .. } => return 0,
            Phase::Greeting { .. } | Phase::Online | Phase::Leaving => {}
        }
        match self.sending {
            Sending::Nothing => {}
            Sending::Connect { sent, len } => return self.go_on_with_connect(sent, len, out),
            Sending::Record { at, sent } => return self.go_on_with_record(at, sent, out),
        }
        if out.len() < SMALL_PACKET_MAX || matches!(self.phase, Phase::Greeting { .. }) {
            return 0;
        }
        if let Some(Reply(packet, id)) = self.replies.pop_front() {
            return copy(&v311::ack(packet, id), out);
        }
        if self.phase == Phase::Leaving {
            return self.leave(out);
        }
        self.subscribe_standing();
        if let Some(record) = self.next_due() {
            return self.begin_record(record, out);
        }
        if self.ping_at().is_some_and(|at| at <= now) {
            let response_by = now.saturating_add(u64::from(self.settings.response_ms));
            self.response_by.get_or_insert(response_by);
            return copy(&v311::PINGREQ, out);
        }
        0
    }

    /// When PINGREQ is due: early enough that it arrives within the Keep Alive [MQTT-3.1.2-23].
    pub(super) fn ping_at(&self) -> Option<u64> {
        let keep_alive_ms = u64::from(self.settings.keep_alive_s) * 1000;
        (keep_alive_ms > 0).then(|| self.last_sent.saturating_add(keep_alive_ms / 4 * 3))
    }

    /// The connection is gone: what was sent and not settled is due again in its order
    /// [MQTT-4.4.0-1], and what was begun begins again.
    pub(super) fn forget_connection(&mut self) {
        self.pending = Pending::Nothing;
        self.receiver.reset();
        self.replies.clear();
        self.sending = Sending::Nothing;
        self.response_by = None;
        let mut at = 0;
        while let Some(record) = self.outbox.record(at) {
            at = record.end();
            match (record.state, record.kind.is_publish()) {
                (State::Sent, true) => self.outbox.set(record, State::Again),
                (State::Sent, false) => self.outbox.set(record, State::Queued),
                (State::Released, _) => self.outbox.set(record, State::ReleasedAgain),
                (State::Queued | State::Again | State::ReleasedAgain | State::Settled, _) => {}
            }
        }
    }

    /// The next settled message that the program has not heard of.
    pub(super) fn next_settled(&mut self) -> Pending {
        let settled = self.outbox.iter().find(|record| record.state == State::Settled);
        let Some(record) = settled else {
            self.settled = false;
            return Pending::Nothing;
        };
        self.remove(&record);
        self.settled = self.outbox.iter().any(|record| record.state == State::Settled);
        PacketId::new(record.id).map_or(Pending::Nothing, Pending::Published)
    }

    /// Drops a record. What stands behind it moves.
    pub(super) fn remove(&mut self, record: &Record) {
        self.return_lent(record);
        self.outbox.remove(record);
        self.follow(record, record.size());
        self.unsaved |= record.kind.is_acknowledged_publish();
    }

    /// Drops a record's packet. What stands behind it moves.
    pub(super) fn shorten(&mut self, record: Record, state: State) {
        self.outbox.shorten(record, state);
        self.follow(&record, usize::from(record.len));
    }

    /// The caller may have the payload back.
    pub(super) fn return_lent(&mut self, record: &Record) {
        if let Some(slot) = self.lent_place(record).and_then(|place| self.lent.get_mut(place)) {
            *slot = None;
        }
    }

    /// The record that was begun may stand behind what was cut.
    fn follow(&mut self, record: &Record, cut: usize) {
        if let Sending::Record { at, .. } = &mut self.sending
            && *at > record.at
        {
            *at -= cut;
        }
    }

    fn lent_place(&self, record: &Record) -> Option<usize> {
        let place = usize::from(record.extra).checked_sub(1);
        place.filter(|_| record.kind.is_publish())
    }

    /// One SUBSCRIBE at a time for the standing subscriptions that this session lacks.
    fn subscribe_standing(&mut self) {
        let subscriptions = self.settings.subscriptions;
        let Some(next) = subscriptions.get(usize::from(self.subscribed)) else { return };
        if self.outbox.iter().any(|record| record.kind == Kind::Standing) {
            return;
        }
        let id = self.free_id();
        let reserve = core::mem::take(&mut self.reserve);
        let len = self.write_subscribe(id, core::slice::from_ref(next));
        self.reserve = reserve;
        if let Ok(len) = len {
            self.outbox.push(len, Some(id), Kind::Standing, 1);
            self.last_id = id;
        }
    }

    /// The next record that is to be sent. Messages above QoS 0 wait for the window; what stands
    /// behind them need not.
    fn next_due(&self) -> Option<Record> {
        let in_flight = self.outbox.iter().filter(Record::is_in_flight).count();
        let window = in_flight < usize::from(self.settings.window.max(1));
        self.outbox.iter().find(|record| match record.state {
            State::Queued => window || !record.kind.is_acknowledged_publish(),
            State::Again | State::ReleasedAgain => true,
            State::Sent | State::Released | State::Settled => false,
        })
    }

    fn begin_record(&mut self, record: Record, out: &mut [u8]) -> usize {
        if record.state == State::ReleasedAgain {
            self.outbox.set(record, State::Released);
            // The record's id came from a Packet Identifier.
            return PacketId::new(record.id)
                .map_or(0, |id| copy(&v311::ack(PacketType::PubRel, id), out));
        }
        if record.state == State::Again
            && let Some(first) = self.outbox.first_byte_mut(&record)
        {
            *first |= DUP; // [MQTT-3.3.1-1]
        }
        self.sending = Sending::Record { at: record.at, sent: 0 };
        self.go_on_with_record(record.at, 0, out)
    }

    fn go_on_with_record(&mut self, at: usize, sent: usize, out: &mut [u8]) -> usize {
        let Some(record) = self.outbox.record(at) else {
            self.sending = Sending::Nothing;
            return 0;
        };
        let head = self.outbox.packet(&record);
        let lent = self.lent_place(&record).and_then(|place| *self.lent.get(place)?);
        let lent = lent.unwrap_or_default();
        let whole = head.len() + lent.len();
        let part = match head.get(sent..) {
            Some(rest) if !rest.is_empty() => rest,
            _ => lent.get(sent.saturating_sub(head.len())..).unwrap_or_default(),
        };
        let written = copy(part, out);
        let sent = sent + written;
        if sent < whole {
            self.sending = Sending::Record { at, sent };
            return written;
        }
        self.sending = Sending::Nothing;
        if record.kind == Kind::AtMostOnce {
            self.remove(&record);
        } else {
            self.outbox.set(record, State::Sent);
        }
        written
    }

    fn go_on_with_connect(&mut self, sent: usize, len: usize, out: &mut [u8]) -> usize {
        let connect = self.receiver.memory().get(sent..len).unwrap_or_default();
        let written = copy(connect, out);
        let sent = sent + written;
        self.sending = if sent < len { Sending::Connect { sent, len } } else { Sending::Nothing };
        written
    }

    fn leave(&mut self, out: &mut [u8]) -> usize {
        self.phase = Phase::Over { wished: true }; // [MQTT-3.14.4-1] [MQTT-3.14.4-2]
        self.pending = Pending::Disconnected;
        copy(&v311::DISCONNECT, out)
    }
}

/// PINGREQ, DISCONNECT and the acknowledgements are never cut in parts.
const SMALL_PACKET_MAX: usize = 4;

/// As much as fits; says how much.
fn copy(from: &[u8], to: &mut [u8]) -> usize {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
    from.len().min(to.len())
}
