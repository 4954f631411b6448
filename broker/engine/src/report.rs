//! What can be told of single sessions, for people who watch the broker.

use std::sync::Arc;

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

    /// What the session of this link did, while it is connected.
    pub fn tally(&self, link: LinkId) -> Option<Tally> {
        Some(self.sessions[self.links.session(link)?].tally)
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
