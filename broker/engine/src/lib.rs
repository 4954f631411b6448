//! # martlet-engine: the whole MQTT server as one deterministic machine
//!
//! [`Engine`] knows no socket, no disk, no clock and no task. Its caller (the broker's driver, a
//! unit test, the simulator) gives it one [`Input`] at a time with the time, and takes the
//! [`Effects`]: facts to keep, packets to send, links to close.
//!
//! The contract:
//! 1. One input at a time; effects are appended, never half-made. [`Engine::handle`] cannot fail:
//!    what a peer did wrong becomes a [`Farewell`](effects::Farewell) with a reason and the id of the rule; what we did
//!    wrong is an assertion.
//! 2. Time is an argument and never goes backward. Nothing sleeps: the caller asks
//!    [`Engine::next_deadline`] and sends [`Input::Due`] when that time has come.
//! 3. Same inputs in the same order give the same effects, byte for byte.
//! 4. All memory is bounded by [`Limits`]; each bound names what happens at the bound, and whoever
//!    loses a message to one finds it counted in [`Counters`].
//! 5. Long work is cut: a retained replay of a million topics is a cursor kept in the session and
//!    advanced as its link reports room.
#![forbid(unsafe_code)]

pub mod change;
pub mod counters;
pub mod effects;
pub mod filter;
pub mod input;
pub mod limits;
pub mod message;
pub mod snapshot;

use crate::counters::{Counters, Gauges};
use crate::effects::Effects;
use crate::input::{Input, Time};
use crate::limits::Limits;
use crate::snapshot::Snapshot;

/// The machine. See the crate's first page for its contract.
pub struct Engine {
    limits: Limits,
    now: Time,
    counters: Counters,
}

impl Engine {
    /// An engine that goes on from `snapshot`: all its sessions without a connection. The first
    /// [`handle`](Self::handle), whatever its input, first publishes the wills of those who were
    /// connected when the snapshot ends.
    pub fn new(limits: Limits, snapshot: Snapshot, now: Time) -> Self {
        let _ = snapshot;
        Self { limits, now, counters: Counters::default() }
    }

    /// One input, at this time; what follows from it is appended to `effects`.
    pub fn handle(&mut self, now: Time, input: Input, effects: &mut Effects) {
        self.now = now;
        let _ = (input, effects, &self.limits);
    }

    /// When to send [`Input::Due`]: at once if that time is not after now; `None`: nothing is
    /// awaited.
    pub fn next_deadline(&self) -> Option<Time> {
        None
    }

    /// Totals since start.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What is there now.
    pub fn gauges(&self) -> Gauges {
        Gauges::default()
    }

    /// All facts, as the changes that were given out have made them: what a store must hold.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::default()
    }
}
