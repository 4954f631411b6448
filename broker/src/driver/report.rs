//! What people who watch the broker are told of it. Each question holds the engine for a bounded
//! time.

use std::time::Duration;

use martlet_engine::counters::{Counters, Gauges};
use martlet_engine::input::{LinkId, StoreHealth, Time};
use martlet_engine::report::{Ids, SessionReport, Tally};

use crate::driver::Driver;

/// The broker's numbers at one moment.
#[derive(Clone, Debug)]
pub struct Numbers {
    /// Totals since start.
    pub counters: Counters,
    /// What is there now.
    pub gauges: Gauges,
}

/// A session, with what its connection knows of it.
#[derive(Clone, Debug)]
pub struct SessionView {
    /// What the engine says.
    pub report: SessionReport,
    /// Who it is, as its connection knows it.
    pub user_name: Option<Box<str>>,
    /// Where it is connected from.
    pub address: Option<Box<str>>,
}

/// Places in the table of sessions that are looked at while the engine is held once.
pub const SLOTS_AT_ONCE: usize = 1024;

impl Driver {
    /// The broker's numbers as they are now.
    pub fn numbers(&self) -> Numbers {
        self.look();
        let core = self.core.lock();
        let (mut counters, gauges) = (core.engine.counters().clone(), core.engine.gauges());
        self.let_go(core);
        // Fresher than what the engine was told last.
        (counters.traffic, counters.store) = (self.traffic.totals(), self.commits.health());
        Numbers { counters, gauges }
    }

    /// The sessions of the next [`SLOTS_AT_ONCE`] places from this one on, each with its place; and
    /// where to go on.
    pub fn sessions(&self, from: usize) -> (Vec<(usize, SessionView)>, Option<usize>) {
        let core = self.core.lock();
        let (reports, next) = core.engine.sessions(from, SLOTS_AT_ONCE);
        self.let_go(core);
        let links = self.links.lock();
        let view = |(slot, report): (usize, SessionReport)| {
            let edge = report.link.ok().and_then(|link| links.edge(link)).cloned();
            let user_name = edge.as_ref().and_then(|edge| edge.user_name().map(Box::from));
            let address = edge.map(|edge| edge.peer().to_string().into());
            (slot, SessionView { report, user_name, address })
        };
        (reports.into_iter().map(view).collect(), next)
    }

    /// What the session of this link did, while it is connected.
    pub fn tally(&self, link: LinkId) -> Option<Tally> {
        let core = self.core.lock();
        let tally = core.engine.tally(link);
        self.let_go(core);
        tally
    }

    /// Whether retained messages are still to be sent to the session of this link.
    pub fn is_replaying(&self, link: LinkId) -> bool {
        let core = self.core.lock();
        let is_replaying = core.engine.is_replaying(link);
        self.let_go(core);
        is_replaying
    }

    /// The Packet Identifiers that the session of this link has in use, while it is connected.
    pub fn ids(&self, link: LinkId) -> Option<Ids> {
        let core = self.core.lock();
        let ids = core.engine.ids(link);
        self.let_go(core);
        ids
    }

    /// Who this broker is to others, from its start on.
    pub fn broker_id(&self) -> u64 {
        let core = self.core.lock();
        let id = core.engine.broker_id();
        self.let_go(core);
        id
    }

    /// How the store is.
    pub fn store_health(&self) -> StoreHealth {
        self.commits.health()
    }

    /// Whether what is acknowledged is on disk, or in memory only.
    pub fn keeps(&self) -> bool {
        !self.commits.is_volatile()
    }

    /// What may wait to be sent on one link, in the unit of `OutPacket::cost`.
    pub fn outbox_bytes_max(&self) -> u32 {
        self.outbox_bytes_max
    }

    /// How long from now until then; zero if it has passed.
    pub fn until(&self, time: Time) -> Duration {
        self.clock.until(time)
    }

    /// The broker's time now.
    pub fn now(&self) -> Time {
        self.clock.now()
    }
}
