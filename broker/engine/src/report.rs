//! What can be told of single sessions, for people who watch the broker.

use std::sync::Arc;

use martlet_codec::ids::PacketId;

use crate::Engine;
use crate::input::{LinkId, Time};
use crate::session::{Attachment, Session};

/// One session as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionReport {
    /// Its client.
    pub client_id: Arc<str>,
    /// Its connection; or since when it has none.
    pub link: Result<LinkId, Time>,
    /// Clean Session was 0: it outlives its connection.
    pub durable: bool,
    /// Subscriptions.
    pub subscriptions: u64,
    /// Messages in its queue.
    pub queued: u64,
    /// Messages sent to it and not acknowledged.
    pub unacknowledged: u64,
    /// Bytes of topics and payloads of both.
    pub waiting_bytes: u64,
    /// What it did since the broker started, or since it began if that was later.
    pub tally: Tally,
}

/// What one session did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// PUBLISH packets that came from its client.
    pub received: u64,
    /// PUBLISH packets that were sent to it.
    pub sent: u64,
    /// Messages that it lost to a bound.
    pub dropped: u64,
}

/// Packet Identifiers that a session has in use, of both spaces (I5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ids {
    /// Of QoS 2 messages that its client sent and did not release.
    pub received: Vec<PacketId>,
    /// Of messages that were sent to it and are not settled.
    pub in_flight: Vec<PacketId>,
    /// Of those among them whose PUBREL was sent: the message itself is kept no more.
    pub released: Vec<PacketId>,
}

impl Engine {
    /// The sessions from a place in the table on, `slots_max` places of it at most, in the order of
    /// their places, each with its place; and where to go on, if the table does.
    pub fn sessions(
        &self,
        from: usize,
        slots_max: usize,
    ) -> (Vec<(usize, SessionReport)>, Option<usize>) {
        let end = from.saturating_add(slots_max);
        let mut reports = Vec::new();
        for slot in from..end.min(self.sessions.slots()) {
            reports.extend(self.sessions.in_slot(slot).map(|session| (slot, session.report())));
        }
        (reports, (end < self.sessions.slots()).then_some(end))
    }

    /// The session of this client id, if there is one.
    pub fn session_of(&self, client_id: &str) -> Option<SessionReport> {
        Some(self.sessions[self.sessions.find(client_id)?].report())
    }

    /// The Packet Identifiers that the session of this link has in use, while it is connected: what
    /// a bridge, whose packets these are on the way to another broker, must know of them.
    pub fn ids(&self, link: LinkId) -> Option<Ids> {
        let session = &self.sessions[self.links.session(link)?];
        let in_flight = || session.deliveries.in_flight();
        let released = in_flight().filter(|(_, awaiting)| awaiting.outbound().is_none());
        Some(Ids {
            received: session.rare.received.iter().collect(),
            in_flight: in_flight().map(|(id, _)| id).collect(),
            released: released.map(|(id, _)| id).collect(),
        })
    }

    /// What the session of this link did, while it is connected.
    pub fn tally(&self, link: LinkId) -> Option<Tally> {
        Some(self.sessions[self.links.session(link)?].tally)
    }

    /// Whether retained messages are still to be sent to the session of this link, which its
    /// subscriptions asked for.
    pub fn is_replaying(&self, link: LinkId) -> bool {
        let session = self.links.session(link);
        session.is_some_and(|session| !self.sessions[session].rare.replays.is_empty())
    }
}

impl Session {
    fn report(&self) -> SessionReport {
        SessionReport {
            client_id: Arc::clone(&self.client_id),
            link: match &self.attachment {
                Attachment::Attached(attached) => Ok(attached.link),
                Attachment::Detached { since } => Err(*since),
            },
            durable: self.durable,
            subscriptions: self.subscriptions.len() as u64,
            queued: self.deliveries.queue_len() as u64,
            unacknowledged: self.deliveries.in_flight_len() as u64,
            waiting_bytes: self.deliveries.waiting_bytes(),
            tally: self.tally,
        }
    }
}
