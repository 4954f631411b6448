//! # martlet-engine: the whole MQTT server as one deterministic machine
//!
//! [`Engine`] knows no socket, no disk, no clock and no task. Its caller (the broker's driver, a
//! unit test, the simulator) gives it one [`Input`] at a time with the time, and takes the
//! [`Effects`]: facts to keep, packets to send, links to close.
//!
//! The contract:
//! 1. One input at a time; effects are appended, never half-made. [`Engine::handle`] cannot fail:
//!    what a peer did wrong becomes a [`Farewell`] with a reason and the id of the
//!    rule; what we did wrong is an assertion.
//! 2. Time is an argument and never goes backward. Nothing sleeps: the caller asks
//!    [`Engine::next_deadline`] and sends [`Input::Due`] when that time has come.
//! 3. Same inputs in the same order give the same effects, byte for byte.
//! 4. All memory is bounded by [`Limits`]; each bound names what happens at the bound, and whoever
//!    loses a message to one finds it counted in [`Counters`].
//! 5. Long work is cut: a retained replay of a million topics is a cursor kept in the session and
//!    advanced as its link reports room.
//! 6. A packet that says "I will remember" is marked [`promise`](effects::Outgoing::promise) when
//!    its input changed a fact: it must not leave before those changes are on disk (I2).
#![forbid(unsafe_code)]
#![warn(clippy::wildcard_enum_match_arm)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use martlet_codec::topic::TopicName;

use crate::change::MessageKey;
use crate::counters::Counters;
use crate::deadlines::Deadlines;
use crate::effects::{Effects, Farewell};
use crate::history::Histories;
use crate::input::{InPacket, Input, LinkId, Time};
use crate::limits::Limits;
use crate::recording::Recording;
use crate::replay::Turn;
use crate::router::retained::Retained;
use crate::router::{Found, Router};
use crate::session::deliveries::Waiting;
use crate::session::queues::Queues;
use crate::session::{Attachment, SessionIndex, Sessions};
use crate::snapshot::Snapshot;
use crate::state::{Links, Recovery};
use crate::sys_topics::SysTopics;

pub mod behind;
pub mod change;
pub mod counters;
pub mod effects;
pub mod figures;
pub mod filter;
pub mod history;
pub mod input;
pub mod limits;
mod loads;
mod lookup;
pub mod message;
pub mod permit;
pub mod recording;
pub mod report;
pub mod slab;
pub mod snapshot;

mod acknowledge;
mod connect;
mod deadlines;
mod deliver;
mod disconnect;
mod due;
mod publish;
mod replay;
mod router;
mod session;
mod state;
mod subscribe;
mod sys_topics;
mod will;

/// The machine. See the crate's first page for its contract.
pub struct Engine {
    limits: Limits,
    now: Time,
    links: Links,
    sessions: Sessions,
    router: Router,
    retained: Retained,
    recording: Recording,
    histories: Histories,
    /// Client ids of this broker's own bridges: their sessions do not expire.
    own_bridges: BTreeSet<Arc<str>>,
    deadlines: Deadlines,
    /// Sessions whose replay has used its share of an input and can go on at once.
    replaying: BTreeMap<Turn, SessionIndex>,
    /// What is to be done before the first input.
    recovery: Option<Box<Recovery>>,
    next_key: MessageKey,
    counters: Counters,
    /// In all sessions together.
    waiting: Waiting,
    queues: Queues,
    sys_topics: SysTopics,
    /// [`Input::Shutdown`] came: nobody comes in any more.
    stopping: bool,
    /// Kept between messages, so that routing does not allocate.
    found: Found,
}

/// Inputs whose topics are looked up together: what they fetch has room in the nearest cache.
const LOOK_AHEAD_MAX: usize = 64;

/// Where this goes, if it is a message.
fn topic_of(input: &Input) -> Option<TopicName<'_>> {
    if let Input::Publish(message)
    | Input::Packet { packet: InPacket::Publish { message, .. }, .. } = input
    {
        Some(message.topic())
    } else {
        None
    }
}

impl Engine {
    /// An engine that goes on from `snapshot`: all its sessions without a connection. The first
    /// [`handle`](Self::handle), whatever its input, first publishes the wills of those who were
    /// connected when the snapshot ends.
    pub fn new(limits: Limits, snapshot: Snapshot, now: Time) -> Self {
        let hash_seed = limits.hash_seed;
        let mut engine = Self {
            sys_topics: SysTopics::new(&limits, now),
            limits,
            now,
            links: Links::default(),
            sessions: Sessions::new(hash_seed),
            router: Router::new(hash_seed),
            retained: Retained::default(),
            recording: Recording::default(),
            histories: Histories::default(),
            own_bridges: BTreeSet::new(),
            deadlines: Deadlines::default(),
            replaying: BTreeMap::new(),
            recovery: None,
            next_key: MessageKey::default(),
            counters: Counters::default(),
            waiting: Waiting::default(),
            queues: Queues::new(hash_seed),
            stopping: false,
            found: Found::default(),
        };
        engine.restore(snapshot);
        engine
    }

    /// One input, at this time; what follows from it is appended to `effects`.
    pub fn handle(&mut self, now: Time, input: Input, effects: &mut Effects) {
        debug_assert!(now >= self.now, "time never goes backward");
        self.now = self.now.max(now);
        let changes_before = effects.changes.len();
        let outgoing_before = effects.outgoing.len();
        if let Some(recovery) = self.recovery.take() {
            self.recover(*recovery, effects);
        }
        match input {
            Input::Open { link, connect } => self.on_connect(link, *connect, effects),
            Input::Packet { link, packet } => self.on_packet(link, packet, effects),
            Input::Lost { link, cause } => self.on_lost(link, cause, effects),
            Input::Room { link, bytes } => self.on_room(link, bytes, effects),
            Input::Publish(message) => self.route(&message, effects),
            Input::Permits(permits) => self.on_permits(permits),
            Input::Permit { link, permit } => self.on_permit(link, permit),
            Input::Streams(streams) => self.change_streams(streams),
            Input::ServeHistory(dialect) => self.serve_history(dialect),
            Input::History { id, messages } => self.on_history(id, messages, effects),
            Input::OwnBridge { client_id, is_one } => self.change_own_bridge(&client_id, is_one),
            Input::Limits(limits) => {
                let told = self.limits.sys_clients;
                self.change_limits(*limits);
                self.change_telling(told, effects);
            }
            Input::Traffic(traffic) => self.counters.take_traffic(*traffic),
            Input::Store(health) => self.counters.store = *health,
            Input::Due => self.on_due(effects),
            Input::Shutdown => self.on_shutdown(effects),
        }
        if effects.changes.len() == changes_before {
            for outgoing in &mut effects.outgoing[outgoing_before..] {
                outgoing.promise = false; // nothing changed that it could rest on
            }
        }
    }

    /// Makes the next inputs cheaper, and changes nothing that comes of them: what they ask for is
    /// looked up for the first of them together. Says how many these are.
    pub fn look_ahead(&mut self, inputs: &[Input]) -> usize {
        let inputs = &inputs[..inputs.len().min(LOOK_AHEAD_MAX)];
        self.router.look_ahead(inputs.iter().filter_map(topic_of));
        inputs.len()
    }

    /// When to send [`Input::Due`]: at once if that time is not after now; `None`: nothing is
    /// awaited.
    pub fn next_deadline(&self) -> Option<Time> {
        if self.recovery.is_some() || !self.replaying.is_empty() {
            return Some(self.now);
        }
        [self.deadlines.next(), self.sys_topics.next()].into_iter().flatten().min()
    }

    /// Totals since start.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn on_packet(&mut self, link: LinkId, packet: InPacket, fx: &mut Effects) {
        // [MQTT-3.1.4-5] what was pipelined behind a refused CONNECT, or a farewell, is ignored
        let Some(index) = self.links.session(link) else { return };
        self.counters.count_received(packet.kind());
        if let Attachment::Attached(attached) = &mut self.sessions[index].attachment {
            attached.last_seen = self.now;
        }
        match packet {
            InPacket::Publish { message, delivery } => {
                self.on_publish(index, &message, delivery, fx);
            }
            InPacket::DeniedPublish { message, delivery } => {
                self.on_denied_publish(index, &message, delivery, fx);
            }
            InPacket::PubAck(id) => self.on_puback(index, id, fx),
            InPacket::PubRec(id) => self.on_pubrec(index, id, fx),
            InPacket::PubRel(id) => self.on_pubrel(index, id, fx),
            InPacket::PubComp(id) => self.on_pubcomp(index, id, fx),
            InPacket::Subscribe { id, subscriptions, beyond } => {
                self.on_subscribe(index, id, (&subscriptions, beyond), fx);
            }
            InPacket::Unsubscribe { id, filters } => self.on_unsubscribe(index, id, &filters, fx),
            InPacket::PingReq => self.on_pingreq(index, fx),
            InPacket::Disconnect => self.close(index, Farewell::Disconnected, fx),
            InPacket::Forbidden { rule } => {
                self.close(index, Farewell::ProtocolViolation { rule }, fx); // [MQTT-4.8.0-1]
            }
        }
    }
}
