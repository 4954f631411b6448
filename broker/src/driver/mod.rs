//! The pump: inputs to the engine, its effects to the store and the links.
//!
//! The engine is one logical thread, but no thread is its own: whoever brings a batch and finds the
//! engine free runs it on the spot and takes along what others left in the inbox; whoever finds it
//! busy leaves the batch there. A message from a readable socket to a subscriber thus needs no
//! other thread to wake.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use martlet_engine::Engine;
use martlet_engine::effects::{Effects, Notice};
use martlet_engine::input::{Input, LinkId, Time, Traffic};
use martlet_engine::limits::Limits;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::driver::commits::Commits;
use crate::driver::link::Edge;
use crate::driver::outbox::Queued;
use crate::driver::table::LinkTable;
use crate::store::{Store, StoreError};

mod commits;
pub mod link;
mod log;
pub mod outbox;
mod table;

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
}

/// The pump around one engine.
pub struct Driver {
    settings: Settings,
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
    /// The deadline that `run` sleeps for, in the engine's milliseconds; `u64::MAX` is none.
    armed: AtomicU64,
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

/// Inputs that found the engine busy or the store without room, in the order in which they came.
/// One batch for each link at a time, and one of the pump's, which bounds it.
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

thread_local! {
    /// Kept between batches, so that none need allocate.
    static AFTERMATH: Cell<Aftermath> = Cell::default();
}

/// What is to be done once the engine is let go.
#[derive(Default)]
struct Aftermath {
    /// How many packets went to outboxes and wait there until the engine is let go.
    packets: usize,
    to_send: Vec<Arc<dyn Edge>>,
    to_resume: Vec<Arc<dyn Edge>>,
    notices: Vec<(Notice, Option<Arc<dyn Edge>>)>,
}

/// Totals since start, counted where the bytes are.
#[derive(Debug, Default)]
pub struct TrafficCounters {
    /// Bytes read from sockets.
    pub bytes_received: AtomicU64,
    /// Bytes written to sockets.
    pub bytes_sent: AtomicU64,
    /// Reads that brought bytes, a system call each.
    pub reads: AtomicU64,
    /// Writes that took bytes, a system call each.
    pub writes: AtomicU64,
    /// Sockets accepted.
    pub sockets_accepted: AtomicU64,
    /// Sockets closed.
    pub sockets_closed: AtomicU64,
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
        let engine = Engine::new(settings.limits.clone(), store.load()?, clock.now());
        let pump = Arc::new(Notify::new());
        let (commits, committer) = Commits::start(store, Arc::clone(&pump));
        Ok(Arc::new(Self {
            settings,
            clock,
            core: Mutex::new(Core { engine, effects: Effects::default(), lost: Vec::new() }),
            inbox: Mutex::default(),
            links: Mutex::default(),
            freed: Mutex::default(),
            commits,
            committer: Mutex::new(committer),
            pump,
            armed: AtomicU64::new(u64::MAX),
            traffic: TrafficCounters::default(),
        }))
    }

    /// Sees to what no link's task does: deadlines, and batches that had to wait. Runs until it is
    /// dropped.
    pub async fn run(self: Arc<Self>) {
        loop {
            match self.arm() {
                Some(time) => {
                    let wait = tokio::time::sleep(self.clock.until(time));
                    tokio::select! {
                        () = wait => {}
                        () = self.pump.notified() => {}
                    }
                }
                None => self.pump.notified().await,
            }
            self.turn();
        }
    }

    /// Tells the engine that the broker stops: every link gets its farewell.
    pub fn shut_down(&self) {
        self.submit_from_inside(vec![Input::Shutdown]);
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

    /// Whether clients' coming and going is logged.
    pub(crate) fn logs_connections(&self) -> bool {
        self.settings.connection_messages
    }

    pub(crate) fn outbox_bytes_max(&self) -> u32 {
        self.settings.outbox_bytes_max
    }

    pub(crate) fn submit(&self, edge: &Arc<dyn Edge>, inputs: &mut Vec<Input>) {
        // What this link brought before comes first (I10).
        let may_enter = !edge.link().is_waiting() && self.commits.has_room();
        if may_enter && let Some(mut core) = self.core.try_lock() {
            let mut aftermath = AFTERMATH.take();
            self.handle(&mut core, inputs, &mut aftermath);
            if !inputs.is_empty() {
                edge.link().wait();
                let from = Some(Arc::clone(edge));
                self.inbox.lock().put_back(Batch { from, inputs: std::mem::take(inputs) });
            }
            self.combine(core, aftermath);
            return;
        }
        edge.link().wait();
        let inputs = std::mem::take(inputs);
        let batch = Batch { from: Some(Arc::clone(edge)), inputs };
        self.inbox.lock().batches.push_back(batch);
        // Whoever held the engine looks into the inbox after letting it go; if that was before the
        // push, the engine is free now.
        self.combine_if_free();
    }

    fn submit_from_inside(&self, inputs: Vec<Input>) {
        self.inbox.lock().batches.push_back(Batch { from: None, inputs });
        self.combine_if_free();
    }

    /// Notes the engine's next deadline as the one slept for; under the engine's lock, so that
    /// whoever brings it forward afterwards sees that. None while a `Due` waits to be handled:
    /// whoever handles it wakes the pump.
    fn arm(&self) -> Option<Time> {
        let core = self.core.lock();
        let due = core.engine.next_deadline().filter(|_| !self.inbox.lock().holds_due);
        self.armed.store(due.map_or(u64::MAX, |time| time.0), Ordering::Release);
        drop(core);
        // As in `combine`: whoever found the engine busy just now relies on it.
        self.wake_pump_for_inbox();
        due
    }

    /// One turn of the pump: what waits, and what is due behind it.
    fn turn(&self) {
        if self.armed.load(Ordering::Acquire) <= self.clock.now().0 {
            let mut inbox = self.inbox.lock();
            if !std::mem::replace(&mut inbox.holds_due, true) {
                let inputs = vec![Input::Traffic(self.traffic.totals()), Input::Due];
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

    /// Takes along what waits in the inbox, lets the engine go, and sees to the aftermath.
    fn combine(&self, mut core: parking_lot::MutexGuard<'_, Core>, mut aftermath: Aftermath) {
        for taken in 0..COMBINED_BATCHES_MAX {
            // One at least, so that nobody waits behind a flood that never finds the engine busy.
            let enough = taken > 0 && aftermath.packets >= COMBINED_PACKETS_MAX;
            if enough || !self.commits.has_room() {
                break;
            }
            let Some(mut batch) = self.inbox.lock().next() else { break };
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
        for input in rest.by_ref() {
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

    /// The engine knows of all room that there is when it is entered. Were it told by each link's own
    /// task alone, a task that comes late would cost its client QoS 0 messages for which there is
    /// room.
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

    fn hand_out(&self, core: &mut Core, aftermath: &mut Aftermath) {
        let Core { effects, lost, .. } = core;
        aftermath.packets += effects.outgoing.len();
        let number = self.commits.number_for(&effects.changes);
        let mut promised = Vec::new();
        let mut links = self.links.lock();
        let mut outgoing = effects.outgoing.drain(..).peekable();
        while let Some(first) = outgoing.next() {
            let link = first.link;
            let Some(edge) = links.edge(link) else { continue };
            let mut promises = false;
            let same = std::iter::once(first)
                .chain(std::iter::from_fn(|| outgoing.next_if(|next| next.link == link)))
                .map(|outgoing| {
                    promises |= outgoing.promise;
                    let after_commit = if outgoing.promise { number } else { 0 };
                    Queued { packet: outgoing.packet, after_commit }
                });
            if edge.link().outbox().push_all(same) {
                aftermath.to_send.push(Arc::clone(edge));
            }
            if promises && number > 0 {
                promised.push(Arc::clone(edge));
            }
        }
        drop(outgoing);
        for notice in effects.notices.drain(..) {
            let edge = log::link_of(&notice).and_then(|link| links.edge(link)).cloned();
            if let (Notice::Connected { client_id, .. }, Some(edge)) = (&notice, &edge) {
                edge.link().connected(client_id);
            }
            aftermath.notices.push((notice, edge));
        }
        for (link, farewell) in effects.farewells.drain(..) {
            if let Some(edge) = links.remove(link) {
                edge.link().outbox().close(farewell);
                aftermath.to_send.push(edge);
            }
        }
        for link in lost.drain(..) {
            links.remove(link);
        }
        self.commits.add(&mut effects.changes, &mut promised);
    }

    fn see_to(&self, mut aftermath: Aftermath) {
        for (notice, edge) in aftermath.notices.drain(..) {
            log::write(&notice, edge.as_deref(), self.settings.connection_messages);
        }
        for edge in aftermath.to_send.drain(..) {
            edge.send();
        }
        for edge in aftermath.to_resume.drain(..) {
            edge.link().resume();
        }
        aftermath.packets = 0;
        AFTERMATH.set(aftermath);
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

impl TrafficCounters {
    /// One read brought this many bytes.
    pub fn count_read(&self, bytes: usize) {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.bytes_received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// One write took this many bytes.
    pub fn count_write(&self, bytes: usize) {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.bytes_sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn totals(&self) -> Traffic {
        let accepted = self.sockets_accepted.load(Ordering::Relaxed);
        Traffic {
            bytes_received: self.bytes_received.load(Ordering::Relaxed),
            bytes_sent: self.bytes_sent.load(Ordering::Relaxed),
            sockets_accepted: accepted,
            sockets_open: accepted - self.sockets_closed.load(Ordering::Relaxed).min(accepted),
        }
    }
}

/// An engine that panicked half-way through an input may not keep promises any more: the process
/// ends, and a restart finds what was committed.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::sync::atomic::AtomicU32;
    use std::sync::mpsc;
    use std::task::{Context, Waker};

    use martlet_codec::ids::PacketId;
    use martlet_codec::reason::{ProtocolVersion, QoS};
    use martlet_codec::topic::TopicName;
    use martlet_engine::change::Change;
    use martlet_engine::effects::OutPacket;
    use martlet_engine::filter::Filter;
    use martlet_engine::input::{Connect, InPacket, LostCause};
    use martlet_engine::message::Message;
    use martlet_engine::snapshot::Snapshot;

    use super::*;
    use crate::driver::link::Link;
    use crate::driver::outbox::{Cost, Sent};
    use crate::store::memory::Volatile;

    /// An edge that takes everything at once and counts it; it has no task of its own.
    struct Counting {
        link: Link,
        pongs: AtomicU32,
        messages: AtomicU32,
    }

    impl Counting {
        fn new(driver: &Arc<Driver>) -> Arc<Self> {
            let link = Link::new(Arc::clone(driver));
            Arc::new(Self { link, pongs: AtomicU32::new(0), messages: AtomicU32::new(0) })
        }
    }

    impl Edge for Counting {
        fn link(&self) -> &Link {
            &self.link
        }

        fn send(&self) {
            let mut next = self.link.outbox().begin(false);
            while let Some(packets) = next {
                let mut sent = Sent::default();
                for queued in packets {
                    sent.cost += Cost::of(&queued.packet);
                    let pong = u32::from(queued.packet == OutPacket::PingResp);
                    self.pongs.fetch_add(pong, Ordering::Relaxed);
                    let message = matches!(queued.packet, OutPacket::Publish { .. });
                    self.messages.fetch_add(message.into(), Ordering::Relaxed);
                }
                next = self.link.end(sent);
            }
        }

        fn peer(&self) -> &dyn std::fmt::Display {
            &"test"
        }
    }

    /// How much waits on a link at the most, here: 15 small messages.
    const ROOM_BYTES: u32 = 16 * OutPacket::COST_BASE;

    fn connect(link: LinkId) -> Input {
        let connect = Connect {
            version: ProtocolVersion::V311,
            client_id: format!("c{}", link.slot).into(),
            clean_session: true,
            keep_alive_s: 0,
            will: None,
            user_name: None,
            room_bytes: ROOM_BYTES,
            nonce: 0,
        };
        Input::Open { link, connect: Box::new(connect) }
    }

    fn settings() -> Settings {
        Settings {
            limits: Limits::default(),
            outbox_bytes_max: ROOM_BYTES,
            connection_messages: false,
        }
    }

    fn driver() -> Arc<Driver> {
        Driver::start(settings(), Clock::start(), Box::new(Volatile)).expect("nothing to read")
    }

    #[test]
    fn threads_that_find_the_engine_busy_lose_nothing_and_are_woken() {
        const THREADS: u32 = 4;
        const PINGS: u32 = 5_000;
        let driver = driver();
        // What the pump does when a visitor leaves something behind.
        let pump = Arc::clone(&driver);
        let ping = |driver: Arc<Driver>| {
            let edge = Counting::new(&driver);
            let as_edge: Arc<dyn Edge> = edge.clone();
            let link = edge.link.attach(Arc::clone(&as_edge));
            let mut inputs = vec![connect(link)];
            for _ in 0..PINGS {
                edge.link.submit(&as_edge, &mut inputs);
                assert!(inputs.is_empty(), "taken");
                while edge.link.is_waiting() {
                    std::thread::yield_now();
                }
                inputs.push(Input::Packet { link, packet: InPacket::PingReq });
            }
            edge
        };
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let driver = Arc::clone(&driver);
                std::thread::spawn(move || ping(driver))
            })
            .collect();
        while threads.iter().any(|thread| !thread.is_finished()) {
            pump.turn();
            std::thread::yield_now();
        }
        for thread in threads {
            let edge = thread.join().expect("no assertion failed");
            pump.turn();
            assert_eq!(edge.pongs.load(Ordering::Relaxed), PINGS - 1);
        }
    }

    #[test]
    fn a_slot_that_is_used_again_is_another_link() {
        let driver = driver();
        let (first, second) = (Counting::new(&driver), Counting::new(&driver));
        let first_edge: Arc<dyn Edge> = first.clone();
        let first_id = first.link.attach(Arc::clone(&first_edge));
        let cause = LostCause::Closed;
        let lost = Input::Lost { link: first_id, cause };
        first.link.submit(&first_edge, &mut vec![connect(first_id), lost]);
        let second_edge: Arc<dyn Edge> = second.clone();
        let second_id = second.link.attach(Arc::clone(&second_edge));
        assert_eq!(second_id.slot, first_id.slot);
        second.link.submit(&second_edge, &mut vec![connect(second_id)]);
        // A straggler of the first link reaches nobody.
        let packet = Input::Packet { link: first_id, packet: InPacket::PingReq };
        first.link.submit(&first_edge, &mut vec![packet]);
        assert_eq!(first.pongs.load(Ordering::Relaxed), 0);
        assert_eq!(second.pongs.load(Ordering::Relaxed), 0);
    }

    /// An edge whose CONNECT the engine has.
    fn connected(driver: &Arc<Driver>) -> (Arc<Counting>, Arc<dyn Edge>, LinkId) {
        let edge = Counting::new(driver);
        let as_edge: Arc<dyn Edge> = edge.clone();
        let link = edge.link.attach(Arc::clone(&as_edge));
        edge.link.submit(&as_edge, &mut vec![connect(link)]);
        (edge, as_edge, link)
    }

    #[test]
    fn whoever_takes_everything_loses_nothing_though_its_own_task_never_comes() {
        let driver = driver();
        let (subscriber, as_edge, link) = connected(&driver);
        let filter = Filter::parse("t").expect("a filter");
        let subscriptions = Box::new([(filter, QoS::AtMostOnce)]);
        let packet = InPacket::Subscribe { id: PacketId::FIRST, subscriptions };
        subscriber.link.submit(&as_edge, &mut vec![Input::Packet { link, packet }]);
        let topic = TopicName::new(b"t").expect("a topic");
        for _ in 0..1000 {
            let message = Message::new(topic, b"", QoS::AtMostOnce, false);
            driver.submit_from_inside(vec![Input::Publish(message)]);
        }
        assert_eq!(subscriber.messages.load(Ordering::Relaxed), 1000);
    }

    fn is_notified(pump: &Notify) -> bool {
        let notified = std::pin::pin!(pump.notified());
        notified.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn whoever_finds_the_pump_arming_is_not_left_behind() {
        let driver = driver();
        let (edge, as_edge, link) = connected(&driver);
        while is_notified(&driver.pump) {}
        let ping = Input::Packet { link, packet: InPacket::PingReq };
        let core = driver.core.lock();
        edge.link.submit(&as_edge, &mut vec![ping]);
        assert!(edge.link.is_waiting());
        drop(core);
        driver.arm();
        assert!(is_notified(&driver.pump));
        driver.turn();
        assert_eq!(edge.pongs.load(Ordering::Relaxed), 1);
    }

    /// A disk that takes until the other end is dropped.
    struct Stuck(mpsc::Receiver<()>);

    impl Store for Stuck {
        fn load(&mut self) -> Result<Snapshot, StoreError> {
            Ok(Snapshot::default())
        }

        fn commit(&mut self, _: &[Change]) -> Result<(), StoreError> {
            let _ = self.0.recv(); // dropped: it takes everything
            Ok(())
        }
    }

    #[test]
    fn a_batch_that_fills_the_store_is_gone_on_with_when_there_is_room() {
        const MESSAGES: usize = 200_000;
        let (disk, stuck) = mpsc::sync_channel(0);
        let driver = Driver::start(settings(), Clock::start(), Box::new(Stuck(stuck)));
        let driver = driver.expect("nothing to read");
        let (edge, as_edge, link) = connected(&driver);
        let topic = TopicName::new(b"t").expect("a topic");
        let message = Message::new(topic, b"x", QoS::AtLeastOnce, true);
        let mut inputs = vec![Input::Publish(message); MESSAGES];
        inputs.push(Input::Packet { link, packet: InPacket::PingReq });
        edge.link.submit(&as_edge, &mut inputs);
        assert!(inputs.is_empty(), "taken");
        assert!(edge.link.is_waiting());
        assert_eq!(edge.pongs.load(Ordering::Relaxed), 0);
        let waits = driver.inbox.lock().batches[0].inputs.len();
        assert!(0 < waits && waits < MESSAGES, "{waits}");
        drop(disk);
        while edge.link.is_waiting() {
            driver.turn();
            std::thread::yield_now();
        }
        assert_eq!(edge.pongs.load(Ordering::Relaxed), 1);
        driver.finish_commits();
    }

    #[test]
    fn without_room_in_the_store_inputs_wait_and_what_is_due_waits_behind_them_once() {
        let (disk, stuck) = mpsc::sync_channel(0);
        let driver = Driver::start(settings(), Clock::start(), Box::new(Stuck(stuck)));
        let driver = driver.expect("nothing to read");
        let (edge, as_edge, link) = connected(&driver);
        let topic = TopicName::new(b"t").expect("a topic");
        let message = Message::new(topic, &vec![0; 1 << 20], QoS::AtLeastOnce, true);
        let fill = || driver.submit_from_inside(vec![Input::Publish(message.clone()); 64]);
        fill();
        while !driver.commits.has_room() {
            std::thread::yield_now(); // until the store has taken it
        }
        fill();
        assert!(!driver.commits.has_room(), "64 MiB gathered");
        let ping = Input::Packet { link, packet: InPacket::PingReq };
        edge.link.submit(&as_edge, &mut vec![ping]);
        assert!(edge.link.is_waiting());
        driver.armed.store(0, Ordering::Release);
        for _ in 0..100 {
            driver.turn();
        }
        let inputs = |batch: &Batch| batch.inputs.len();
        let waiting: Vec<_> = driver.inbox.lock().batches.iter().map(inputs).collect();
        assert_eq!(waiting, [1, 2], "the ping, then Traffic and Due");
        assert_eq!(driver.arm(), None, "nothing to sleep for: the store wakes the pump");
        while is_notified(&driver.pump) {}
        drop(disk);
        while !is_notified(&driver.pump) {
            std::thread::yield_now();
        }
        driver.turn();
        assert_eq!(edge.pongs.load(Ordering::Relaxed), 1);
        assert!(driver.arm().is_some(), "the next update of $SYS");
        driver.finish_commits();
    }
}
