//! The pump: inputs to the engine, its effects to the store and the links.
//!
//! The engine is one logical thread, but no thread is its own: whoever brings a batch and finds the
//! engine free runs it on the spot and takes along what others left in the inbox. A worker that
//! finds it busy keeps the batch and comes again (`left`); anybody else leaves it in the inbox. A
//! message from a readable socket to a subscriber thus needs no other thread to wake.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::available_parallelism;
use std::time::Duration;

use martlet_engine::Engine;
use martlet_engine::effects::Effects;
use martlet_engine::input::{Input, LinkId, Time};
use martlet_engine::limits::Limits;
use martlet_engine::recording::Stream;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::driver::aftermath::{AFTERMATH, Aftermath, turn_cost_max};
use crate::driver::commits::Commits;
use crate::driver::link::Edge;
use crate::driver::table::LinkTable;
use crate::driver::traffic::TrafficCounters;
use crate::store::{Store, StoreError};

mod aftermath;
pub mod bridges;
pub mod client;
mod commits;
mod health;
mod herald;
mod history;
mod left;
pub mod link;
mod log;
mod look;
pub mod outbox;
pub mod report;
mod spare;
mod table;
#[cfg(test)]
mod tests;
pub mod traffic;
mod tree;
pub mod turn;
pub(crate) mod wording;

pub use crate::driver::herald::publisher;
pub use crate::driver::history::Historian;
pub use crate::driver::wording::Wording;

/// What the driver is told at start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The engine's bounds.
    pub limits: Limits,
    /// What may wait to be sent on one link, in the unit of `OutPacket::cost`. At the bound: QoS 1
    /// and 2 wait in the session's queue, QoS 0 is dropped and counted. Acknowledgements may take
    /// as much again: a client that does not take its own is not read from.
    pub outbox_bytes_max: u32,
    /// Whether clients' coming and going is logged (mosquitto's `connection_messages`).
    pub connection_messages: bool,
    /// What is recorded.
    pub streams: Vec<Stream>,
    /// Whose words tell of it.
    pub wording: Wording,
}

/// The pump around one engine.
pub struct Driver {
    outbox_bytes_max: u32,
    turn_cost_max: u64,
    connection_messages: AtomicBool,
    /// [`Wording::V20`] is in use.
    old_wording: AtomicBool,
    clock: Clock,
    core: Mutex<Core>,
    inbox: Mutex<Inbox>,
    links: Mutex<LinkTable>,
    /// Links with room to report, each once.
    freed: Mutex<Vec<LinkId>>,
    commits: Arc<Commits>,
    committer: Mutex<Option<std::thread::JoinHandle<()>>>,
    /// Wakes [`Driver::run`].
    pump: Arc<Notify>,
    historian: OnceLock<Arc<dyn Historian>>,
    /// The deadline that `run` sleeps for, in the engine's milliseconds; `u64::MAX` is none.
    armed: AtomicU64,
    /// When the engine wants totals next, in its milliseconds; `u64::MAX` is never.
    totals_wanted: AtomicU64,
    /// What the sockets count.
    pub traffic: TrafficCounters,
}

/// The engine and what it answered: held by one thread at a time.
struct Core {
    engine: Engine,
    effects: Effects,
    /// Links whose connection is gone, to be forgotten after the batch.
    lost: Vec<LinkId>,
}

/// Inputs that found the store without room, or the engine busy where no turn ends, in the order in
/// which they came. One batch for each link at a time, and one of the pump's, which bounds it.
#[derive(Default)]
struct Inbox {
    batches: VecDeque<Batch>,
    /// The pump has put a [`Input::Due`] in. It stands behind what came before, so that a client
    /// whose PINGREQ had to wait for the store is not taken for a silent one.
    holds_due: bool,
}

struct Batch {
    from: Option<Arc<dyn Edge>>,
    inputs: Vec<Input>,
}

/// Batches from the inbox that one visitor of the engine takes along; the pump does the rest.
const COMBINED_BATCHES_MAX: usize = 64;

/// Packets, or changes, that gather before they are handed out.
const HANDED_OUT_MAX: usize = 4096;

/// Packets for outboxes beyond which a visitor takes no further batch along: nothing is sent while
/// the engine is held, and a reader that is fast should not lose QoS 0 to a full outbox.
const COMBINED_PACKETS_MAX: usize = 4096;

impl Driver {
    /// Loads the store and makes an engine of what it holds.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn start(
        settings: Settings,
        clock: Clock,
        mut store: Box<dyn Store>,
    ) -> Result<Arc<Self>, StoreError> {
        let engine = Engine::new(settings.limits, store.load()?, clock.now());
        let engine = engine.recording(settings.streams);
        settings.wording.take_up(settings.connection_messages);
        let pump = Arc::new(Notify::new());
        let (commits, committer) = Commits::start(store, Arc::clone(&pump), clock);
        let workers = available_parallelism().map_or(1, usize::from);
        Ok(Arc::new(Self {
            outbox_bytes_max: settings.outbox_bytes_max,
            turn_cost_max: turn_cost_max(settings.outbox_bytes_max, workers),
            connection_messages: AtomicBool::new(settings.connection_messages),
            old_wording: AtomicBool::new(settings.wording == Wording::V20),
            clock,
            core: Mutex::new(Core { engine, effects: Effects::default(), lost: Vec::new() }),
            inbox: Mutex::default(),
            links: Mutex::default(),
            freed: Mutex::default(),
            commits,
            committer: Mutex::new(committer),
            pump,
            historian: OnceLock::new(),
            armed: AtomicU64::new(u64::MAX),
            totals_wanted: AtomicU64::new(0),
            traffic: TrafficCounters::default(),
        }))
    }

    /// Sees to what no link's task does: deadlines, and batches that had to wait. Runs until it is
    /// dropped.
    pub async fn run(self: Arc<Self>) {
        loop {
            match self.arm().map(|time| self.clock.until(time)) {
                // No timer is quicker than a millisecond; what others have brought since this task
                // gave way does not wait for what is due.
                Some(Duration::ZERO) => turn::finish(),
                Some(wait) => {
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = self.pump.notified() => {}
                    }
                }
                None => self.pump.notified().await,
            }
            self.turn();
            // Even with more to do at once: this worker may be the one that watches the sockets.
            turn::yield_now().await;
        }
    }

    /// Takes new settings over, all but `outbox_bytes_max`, which every link was promised.
    pub fn change(&self, settings: Settings) {
        self.connection_messages.store(settings.connection_messages, Ordering::Relaxed);
        self.old_wording.store(settings.wording == Wording::V20, Ordering::Relaxed);
        settings.wording.take_up(settings.connection_messages);
        self.submit_from_inside(vec![Input::Limits(Box::new(settings.limits))]);
    }

    /// From here on these streams record, and no others.
    pub fn record(&self, streams: Vec<Stream>) {
        self.submit_from_inside(vec![Input::Streams(streams)]);
    }

    /// Lets the store write down what only its journal has, without waiting for that.
    pub fn checkpoint(&self) {
        self.commits.ask_for_checkpoint();
    }

    /// Tells the engine that the broker stops: every link gets its farewell.
    pub fn shut_down(&self) {
        self.submit_from_inside(vec![Input::Shutdown]);
    }

    /// Tells the engine what everybody may do now that the rules have changed.
    pub fn renew_permits(&self) {
        let links: Vec<_> = {
            let links = self.links.lock();
            links.iter().map(|(link, edge)| (link, Arc::clone(edge))).collect()
        };
        let permits = links.iter().map(|(link, edge)| (*link, edge.permit())).collect();
        self.submit_from_inside(vec![Input::Permits(permits)]);
    }

    /// Handles what still waits, and waits until everything that the engine changed is on disk.
    /// Blocks. What a store that fails has no room for was never acknowledged.
    pub fn finish_commits(&self) {
        while self.commits.has_room() && !self.inbox.lock().batches.is_empty() {
            self.combine(self.core.lock(), AFTERMATH.take());
        }
        self.commits.stop();
        if let Some(thread) = self.committer.lock().take() {
            // A panic of the store's thread has been reported by the panic itself.
            let _ = thread.join();
        }
    }

    pub(crate) fn attach(&self, edge: Arc<dyn Edge>) -> LinkId {
        self.links.lock().insert(edge)
    }

    /// Half an outbox was sent since the engine last heard of it.
    pub(crate) fn has_freed(&self, link: LinkId) {
        self.freed.lock().push(link);
    }

    pub(crate) fn committed(&self) -> u64 {
        self.commits.watermark()
    }

    pub(crate) fn submit(&self, edge: &Arc<dyn Edge>, inputs: &mut Vec<Input>) {
        let batch = |inputs| Batch { from: Some(Arc::clone(edge)), inputs };
        // What this link brought before comes first (I10).
        if left::append(edge, inputs) {
            return;
        }
        let may_enter = !edge.link().is_waiting() && self.commits.has_room();
        if may_enter && let Some(mut core) = self.core.try_lock() {
            let mut aftermath = AFTERMATH.take();
            self.handle(&mut core, inputs, &mut aftermath);
            if !inputs.is_empty() {
                edge.link().wait();
                self.inbox.lock().put_back(batch(std::mem::take(inputs)));
            }
            self.combine(core, aftermath);
            return;
        }
        edge.link().wait();
        let batch = batch(std::mem::take(inputs));
        if may_enter && turn::has_an_end() {
            return left::leave(batch);
        }
        self.leave_to_others(batch);
    }

    /// Puts a batch into the inbox.
    fn leave_to_others(&self, batch: Batch) {
        self.inbox.lock().batches.push_back(batch);
        // Whoever held the engine looks into the inbox after letting it go; if that was before the
        // push, the engine is free now.
        self.combine_if_free();
    }

    fn submit_from_inside(&self, inputs: Vec<Input>) {
        self.leave_to_others(Batch { from: None, inputs });
    }

    /// Notes the engine's next deadline as the one slept for; under the engine's lock, so that
    /// whoever brings it forward afterwards sees that. None while a `Due` waits to be handled:
    /// whoever handles it wakes the pump.
    fn arm(&self) -> Option<Time> {
        let core = self.core.lock();
        let due = core.engine.next_deadline().filter(|_| !self.inbox.lock().holds_due);
        self.armed.store(due.map_or(u64::MAX, |time| time.0), Ordering::Release);
        let wanted = core.engine.totals_wanted().map_or(u64::MAX, |time| time.0);
        self.totals_wanted.store(wanted, Ordering::Relaxed);
        self.let_go(core);
        due
    }

    /// As in `combine`: whoever found the engine busy just now relies on the pump.
    fn let_go(&self, core: parking_lot::MutexGuard<'_, Core>) {
        drop(core);
        self.wake_pump_for_inbox();
    }

    /// One turn of the pump: what waits, and what is due behind it.
    fn turn(&self) {
        let now = self.clock.now().0;
        if self.totals_wanted.load(Ordering::Relaxed) <= now {
            self.look();
        }
        if self.armed.load(Ordering::Acquire) <= now {
            let mut inbox = self.inbox.lock();
            if !std::mem::replace(&mut inbox.holds_due, true) {
                let inputs = vec![
                    Input::Traffic(Box::new(self.traffic.totals())),
                    Input::Store(Box::new(self.commits.health())),
                    Input::Due,
                ];
                inbox.batches.push_back(Batch { from: None, inputs });
            }
        }
        self.combine_if_free();
    }

    fn combine_if_free(&self) {
        if self.commits.has_room()
            && let Some(core) = self.core.try_lock()
        {
            self.combine(core, AFTERMATH.take());
        }
    }

    /// Takes along what this thread has left and what waits in the inbox, lets the engine go, and
    /// sees to the aftermath.
    fn combine(&self, mut core: parking_lot::MutexGuard<'_, Core>, mut aftermath: Aftermath) {
        for taken in 0..COMBINED_BATCHES_MAX {
            // One of the inbox at least, so that nobody waits behind a flood that never finds the
            // engine busy.
            let enough = taken > 0 && aftermath.packets >= COMBINED_PACKETS_MAX;
            if enough || !self.commits.has_room() {
                break;
            }
            let others = || self.inbox.lock().next();
            let next = if taken == 0 {
                others().or_else(|| left::next(self))
            } else {
                left::next(self).or_else(others)
            };
            let Some(mut batch) = next else { break };
            self.handle(&mut core, &mut batch.inputs, &mut aftermath);
            if batch.inputs.is_empty() {
                aftermath.to_resume.extend(batch.from);
            } else {
                self.inbox.lock().put_back(batch);
            }
        }
        let due = core.engine.next_deadline().map_or(u64::MAX, |time| time.0);
        drop(core);
        if due < self.armed.load(Ordering::Acquire) {
            self.pump.notify_one();
        }
        self.wake_pump_for_inbox();
        self.see_to(aftermath);
    }

    /// Comes after the engine was let go. Without room in the store it is the store's thread that
    /// wakes the pump.
    fn wake_pump_for_inbox(&self) {
        if !self.inbox.lock().batches.is_empty() && self.commits.has_room() {
            self.pump.notify_one();
        }
    }

    /// Runs one batch through the engine and hands out what it answered. What the store has no room
    /// for stays in `inputs`.
    fn handle(&self, core: &mut Core, inputs: &mut Vec<Input>, aftermath: &mut Aftermath) {
        let _abort = AbortOnPanic;
        self.put_room_in_front(inputs);
        let now = self.clock.now();
        let mut rest = inputs.drain(..);
        let mut ahead = 0;
        loop {
            if ahead == 0 {
                ahead = core.engine.look_ahead(rest.as_slice());
            }
            let Some(input) = rest.next() else { break };
            ahead -= 1;
            if let Input::Lost { link, .. } = input {
                core.lost.push(link);
            }
            core.engine.handle(now, input, &mut core.effects);
            let Effects { outgoing, changes, .. } = &core.effects;
            // A small packet may be for a thousand sessions.
            if outgoing.len().max(changes.len()) >= HANDED_OUT_MAX {
                self.hand_out(core, aftermath);
                if !self.commits.has_room() {
                    break;
                }
            }
        }
        let rest: Vec<Input> = rest.collect();
        if !rest.is_empty() {
            *inputs = rest;
        }
        self.hand_out(core, aftermath);
    }

    /// The engine knows of all room that there is when it is entered. Were it told by each link's
    /// own task alone, a task that comes late would cost its client QoS 0 messages for which there
    /// is room.
    fn put_room_in_front(&self, inputs: &mut Vec<Input>) {
        let mut freed = self.freed.lock();
        if freed.is_empty() {
            return;
        }
        let links = self.links.lock();
        let reports = freed.drain(..).filter_map(|link| {
            let bytes = links.edge(link)?.link().outbox().take_freed();
            Some(Input::Room { link, bytes })
        });
        inputs.splice(0..0, reports);
    }
}

impl Inbox {
    /// The rest of a batch comes before all others: its link's later ones must not pass it (I10).
    fn put_back(&mut self, batch: Batch) {
        self.batches.push_front(batch);
    }

    fn next(&mut self) -> Option<Batch> {
        let batch = self.batches.pop_front()?;
        self.holds_due &= !matches!(batch.inputs.last(), Some(Input::Due));
        Some(batch)
    }
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}

/// An engine that panicked half-way through an input may not keep promises any more: the process
/// ends, and a restart finds what was committed.
pub(crate) struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}
