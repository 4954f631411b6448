use std::future::Future;
use std::sync::atomic::AtomicU32;
use std::sync::mpsc;
use std::task::{Context, Waker};
use std::time::Duration;

use martlet_codec::ids::PacketId;
use martlet_codec::reason::QoS;
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
    gathers: bool,
}

impl Counting {
    fn new(driver: &Arc<Driver>) -> Arc<Self> {
        Self::that_gathers(driver, false)
    }

    fn that_gathers(driver: &Arc<Driver>, gathers: bool) -> Arc<Self> {
        let link = Link::new(Arc::clone(driver));
        Arc::new(Self { link, pongs: AtomicU32::new(0), messages: AtomicU32::new(0), gathers })
    }
}

impl Edge for Counting {
    fn link(&self) -> &Link {
        &self.link
    }

    fn send(&self) {
        let mut next = self.link.begin(false);
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

    fn gathers(&self) -> bool {
        self.gathers
    }

    fn peer(&self) -> &dyn std::fmt::Display {
        &"test"
    }
}

/// How much waits on a link at the most, here: 15 small messages.
const ROOM_BYTES: u32 = 16 * OutPacket::COST_BASE;

fn connect(link: LinkId) -> Input {
    let connect = Connect::clean(format!("c{}", link.slot), ROOM_BYTES);
    Input::Open { link, connect: Box::new(connect) }
}

fn settings() -> Settings {
    Settings {
        limits: Limits::default(),
        outbox_bytes_max: ROOM_BYTES,
        connection_messages: false,
        streams: Vec::new(),
        wording: Wording::V21,
    }
}

pub(super) fn driver() -> Arc<Driver> {
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
fn what_a_turn_brings_does_not_wait_for_the_turn_of_another_thread() {
    let settings = Settings { outbox_bytes_max: 1 << 20, ..settings() };
    let driver = Driver::start(settings, Clock::start(), Box::new(Volatile));
    let driver = driver.expect("nothing to read");
    let edge = Counting::that_gathers(&driver, true);
    let as_edge: Arc<dyn Edge> = edge.clone();
    let link = edge.link.attach(Arc::clone(&as_edge));
    edge.link.submit(&as_edge, &mut vec![connect(link)]);
    let ping = || {
        turn::end(Duration::MAX); // from here on the thread says when its turns end
        let ping = Input::Packet { link, packet: InPacket::PingReq };
        edge.link.submit(&as_edge, &mut vec![ping]);
        edge.pongs.load(Ordering::Relaxed)
    };
    let (goes_on, long) = mpsc::sync_channel::<()>(0);
    let (filled, fills) = mpsc::sync_channel(0);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            filled.send(ping()).expect("the test waits for it");
            let _ = long.recv(); // its turn goes on until the test is over
        });
        assert_eq!(fills.recv(), Ok(0), "gathered");
        let other = scope.spawn(|| {
            assert_eq!(ping(), 0, "gathered");
            turn::end(Duration::MAX);
            edge.pongs.load(Ordering::Relaxed)
        });
        let sent = other.join();
        drop(goes_on);
        assert_eq!(sent.expect("it does not panic"), 2);
    });
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
    let packet = InPacket::Subscribe { id: PacketId::FIRST, subscriptions, beyond: 0 };
    subscriber.link.submit(&as_edge, &mut vec![Input::Packet { link, packet }]);
    let topic = TopicName::new(b"t").expect("a topic");
    for _ in 0..1000 {
        let message = Message::new(topic, b"", QoS::AtMostOnce, false);
        driver.submit_from_inside(vec![Input::Publish(message)]);
    }
    assert_eq!(subscriber.messages.load(Ordering::Relaxed), 1000);
}

/// On a thread whose turns end: what `submits` brings finds the engine busy.
fn bring_to_a_busy_engine(driver: &Arc<Driver>, edge: &Arc<dyn Edge>, batches: [Input; 2]) {
    turn::end(Duration::MAX);
    while is_notified(&driver.pump) {}
    let core = driver.core.lock();
    batches.into_iter().for_each(|input| edge.link().submit(edge, &mut vec![input]));
    drop(core);
    assert!(edge.link().is_waiting());
    assert!(driver.inbox.lock().batches.is_empty(), "nobody else is to take it along");
    assert!(!is_notified(&driver.pump), "nobody is woken for it");
}

#[test]
fn what_finds_the_engine_busy_waits_for_the_end_of_its_workers_turn() {
    let driver = driver();
    let (edge, as_edge, link) = connected(&driver);
    let ping = || Input::Packet { link, packet: InPacket::PingReq };
    let worker = || {
        bring_to_a_busy_engine(&driver, &as_edge, [ping(), ping()]);
        std::thread::scope(|scope| scope.spawn(|| driver.turn()).join()).expect("no panic");
        assert_eq!(edge.pongs.load(Ordering::Relaxed), 0, "it is not the pump's");
        turn::end(Duration::MAX);
    };
    std::thread::scope(|scope| scope.spawn(worker).join()).expect("no panic");
    assert!(!edge.link.is_waiting());
    assert_eq!(edge.pongs.load(Ordering::Relaxed), 2);
}

#[test]
fn what_finds_the_engine_busy_goes_along_with_what_comes_next() {
    let driver = driver();
    let (edge, as_edge, link) = connected(&driver);
    let (other, as_other, other_link) = connected(&driver);
    let ping = |link| Input::Packet { link, packet: InPacket::PingReq };
    let worker = || {
        bring_to_a_busy_engine(&driver, &as_edge, [ping(link), ping(link)]);
        other.link.submit(&as_other, &mut vec![ping(other_link)]);
        assert!(!edge.link.is_waiting());
    };
    std::thread::scope(|scope| scope.spawn(worker).join()).expect("no panic");
    assert_eq!(edge.pongs.load(Ordering::Relaxed), 2);
}

#[test]
fn what_a_worker_has_left_is_no_flood_behind_which_others_wait() {
    let driver = driver();
    let (flood, as_flood, link) = connected(&driver);
    let (other, as_other, other_link) = connected(&driver);
    let ping = |link| Input::Packet { link, packet: InPacket::PingReq };
    let worker = || {
        turn::end(Duration::MAX);
        let core = driver.core.lock();
        flood.link.submit(&as_flood, &mut vec![ping(link); COMBINED_PACKETS_MAX]);
        let no_worker = || other.link.submit(&as_other, &mut vec![ping(other_link)]);
        std::thread::scope(|scope| scope.spawn(no_worker).join()).expect("no panic");
        assert_eq!(driver.inbox.lock().batches.len(), 1);
        driver.combine(core, AFTERMATH.take());
        assert!(!other.link.is_waiting(), "one of the inbox at each visit");
        turn::end(Duration::MAX);
    };
    std::thread::scope(|scope| scope.spawn(worker).join()).expect("no panic");
    assert_eq!(flood.pongs.load(Ordering::Relaxed) as usize, COMBINED_PACKETS_MAX);
}

#[test]
fn what_a_worker_has_left_waits_for_room_in_the_store_with_all_others() {
    let (disk, stuck) = mpsc::sync_channel(0);
    let driver = Driver::start(settings(), Clock::start(), Box::new(Stuck(stuck)));
    let driver = driver.expect("nothing to read");
    let (edge, as_edge, link) = connected(&driver);
    let ping = || Input::Packet { link, packet: InPacket::PingReq };
    let topic = TopicName::new(b"t").expect("a topic");
    let message = Message::new(topic, &vec![0; 1 << 20], QoS::AtLeastOnce, true);
    let fill = || driver.submit_from_inside(vec![Input::Publish(message.clone()); 64]);
    let worker = || {
        bring_to_a_busy_engine(&driver, &as_edge, [ping(), ping()]);
        std::thread::scope(|scope| scope.spawn(fill).join()).expect("no panic");
        while !driver.commits.has_room() {
            std::thread::yield_now(); // until the store has taken it
        }
        std::thread::scope(|scope| scope.spawn(fill).join()).expect("no panic");
        assert!(!driver.commits.has_room(), "64 MiB gathered");
        turn::end(Duration::MAX);
    };
    std::thread::scope(|scope| scope.spawn(worker).join()).expect("no panic");
    let waiting = |batch: &Batch| batch.inputs.len();
    let waiting: Vec<usize> = driver.inbox.lock().batches.iter().map(waiting).collect();
    assert_eq!(waiting, [2], "one batch of one link, so that nothing overtakes (I10)");
    drop(disk);
    while edge.link.is_waiting() {
        driver.turn();
        std::thread::yield_now();
    }
    assert_eq!(edge.pongs.load(Ordering::Relaxed), 2);
    driver.finish_commits();
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
    assert_eq!(waiting, [1, 3], "the ping, then Traffic, Store and Due");
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
