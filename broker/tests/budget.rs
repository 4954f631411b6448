//! What a message costs, counted: allocations in the whole broker, reads and writes of sockets.

#![allow(missing_docs, unreachable_pub, reason = "a test")]

mod running;

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use martlet::driver::{Driver, turn};
use martlet::net::workers::Workers;
use martlet::server::Server;
use martlet::store::memory::Volatile;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Handle, Runtime};

/// Broker and clients on one thread, so that what this thread allocates is what they allocate; the
/// clients allocate nothing once they are connected.
struct World {
    runtime: Runtime,
    driver: Arc<Driver>,
    address: SocketAddr,
    publisher: TcpStream,
    subscribers: Vec<TcpStream>,
}

/// What something cost the broker.
#[derive(Debug)]
struct Cost {
    allocations: u64,
    reads: u64,
    writes: u64,
}

const PUBLISH_QOS0: &[u8] = b"\x30\x0d\x00\x03a/b12345678";
const PUBLISH_QOS1: &[u8] = b"\x32\x0f\x00\x03a/b\x00\x0112345678";

impl World {
    fn new(subscribers: usize, qos: u8) -> Self {
        let runtime = turn::runtime(Duration::MAX).build().expect("a runtime");
        let (driver, address, publisher, subscribers) = runtime.block_on(async {
            let mut settings = running::settings();
            settings.driver.connection_messages = false;
            let server = Server::start(settings, Box::new(Volatile)).expect("it starts");
            let (driver, address) = (server.driver(), server.addresses()[0]);
            tokio::spawn(server.run(std::future::pending()));
            let publisher = connect(address, b'p').await;
            let mut all = Vec::new();
            for id in 0..subscribers {
                let mut subscriber = connect(address, b'0' + id as u8).await;
                let subscribe = [0x82, 8, 0, 1, 0, 3, b'a', b'/', b'b', qos];
                exchange(&mut subscriber, &subscribe, &mut [0; 5]).await;
                all.push(subscriber);
            }
            (driver, address, publisher, all)
        });
        Self { runtime, driver, address, publisher, subscribers }
    }

    /// Publishes `rounds` times what `packets` holds, each in one write, and waits each time until
    /// all subscribers and the publisher have got what they are to get.
    fn cost(&mut self, rounds: u32, packets: &[u8], answer_len: usize, got_len: usize) -> Cost {
        self.run(2, packets, answer_len, got_len);
        let traffic = &self.driver.clone().traffic;
        let before =
            (traffic.reads.load(Ordering::Relaxed), traffic.writes.load(Ordering::Relaxed));
        let allocations =
            allocation_counter::measure(|| self.run(rounds, packets, answer_len, got_len));
        Cost {
            allocations: allocations.count_total,
            reads: traffic.reads.load(Ordering::Relaxed) - before.0,
            writes: traffic.writes.load(Ordering::Relaxed) - before.1,
        }
    }

    fn run(&mut self, rounds: u32, packets: &[u8], answer_len: usize, got_len: usize) {
        let Self { runtime, publisher, subscribers, .. } = self;
        let mut buffer = [0; 8192];
        runtime.block_on(async {
            for _ in 0..rounds {
                exchange(publisher, packets, &mut buffer[..answer_len]).await;
                for subscriber in &mut *subscribers {
                    subscriber.read_exact(&mut buffer[..got_len]).await.expect("messages");
                }
            }
        });
    }
}

async fn connect(address: SocketAddr, id: u8) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.expect("it listens");
    socket.set_nodelay(true).expect("a socket");
    let mut connect = *b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01?";
    connect[14] = id;
    exchange(&mut socket, &connect, &mut [0; 4]).await;
    socket
}

async fn exchange(socket: &mut TcpStream, packets: &[u8], answer: &mut [u8]) {
    socket.write_all(packets).await.expect("it takes bytes");
    socket.read_exact(answer).await.expect("it answers");
}

/// For 1,000 messages: every five seconds the broker looks at its files meanwhile, which takes ten.
const ONE_EACH: std::ops::Range<u64> = 1000..1100;

#[test]
fn a_message_is_one_allocation() {
    let mut world = World::new(1, 0);
    let cost = world.cost(1000, PUBLISH_QOS0, 0, PUBLISH_QOS0.len());
    assert!(ONE_EACH.contains(&cost.allocations), "{cost:?}");
}

#[test]
fn a_delivery_is_no_allocation() {
    let mut world = World::new(50, 0);
    let cost = world.cost(1000, PUBLISH_QOS0, 0, PUBLISH_QOS0.len());
    assert!(ONE_EACH.contains(&cost.allocations), "50,000 deliveries: {cost:?}");
}

#[test]
fn a_batch_is_one_read_and_one_write_for_each_receiver() {
    const BATCH: usize = 100;
    let mut world = World::new(3, 0);
    let cost = world.cost(200, &PUBLISH_QOS0.repeat(BATCH), 0, BATCH * PUBLISH_QOS0.len());
    assert_eq!((cost.reads, cost.writes), (200, 3 * 200), "20,000 messages: {cost:?}");
    // One for each message, and a few while the first outboxes grow.
    let for_batches = cost.allocations - 200 * BATCH as u64;
    assert!(for_batches <= 200, "{cost:?}");
}

#[test]
fn acknowledgements_of_a_batch_are_one_write() {
    const BATCH: usize = 100;
    let mut world = World::new(1, 0);
    let got_len = BATCH * PUBLISH_QOS0.len();
    let cost = world.cost(200, &PUBLISH_QOS1.repeat(BATCH), BATCH * 4, got_len);
    assert_eq!((cost.reads, cost.writes), (200, 2 * 200), "20,000 messages: {cost:?}");
}

/// Connects without the runtime, so that the client takes nothing of what is counted.
async fn connect_silently(address: SocketAddr, id: u16) -> std::net::TcpStream {
    let mut socket = std::net::TcpStream::connect(address).expect("it listens");
    let mut connect = *b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x00\x00\x03???";
    for (place, digit) in connect[14..].iter_mut().zip([id / 100, id / 10 % 10, id % 10]) {
        *place = b'0' + digit as u8;
    }
    socket.write_all(&connect).expect("it takes bytes");
    socket.set_nonblocking(true).expect("a socket");
    let mut answer = [0; 4];
    while let Err(error) = socket.read(&mut answer) {
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        // The broker writes when its thread has nothing else to do.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(answer, *b"\x20\x02\x00\x00", "it came in");
    socket
}

/// What the heap takes of it: its task, its readiness in the runtime, what its task shares, its
/// session, its places in tables.
#[test]
fn a_silent_connection_takes_little() {
    const CLIENTS: u16 = 500;
    let World { runtime, address, .. } = &World::new(0, 0);
    let mut clients = Vec::with_capacity(CLIENTS.into());
    let allocations = allocation_counter::measure(|| {
        runtime.block_on(async {
            for id in 0..CLIENTS {
                clients.push(connect_silently(*address, id).await);
            }
        });
    });
    let each = allocations.bytes_current / i64::from(CLIENTS);
    println!("{each} bytes of heap for each");
    assert!(each <= 890, "{each} bytes: {allocations:?}");
}

/// What is still allocated of clients that have left: tables keep a piece each to begin again with.
#[test]
fn a_connection_that_ends_leaves_nothing() {
    const CLIENTS: u16 = 900;
    let World { runtime, driver, address, .. } = &World::new(0, 0);
    let come_and_go = || {
        runtime.block_on(async {
            let mut clients = Vec::with_capacity(CLIENTS.into());
            for id in 0..CLIENTS {
                clients.push(connect_silently(*address, id).await);
            }
            drop(clients);
            while driver.numbers().gauges.connected > 1 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    };
    let kept = allocation_counter::measure(come_and_go).bytes_current;
    println!("{kept} bytes of heap are kept of {CLIENTS} connections");
    come_and_go();
    let again = allocation_counter::measure(come_and_go).bytes_current;
    println!("{again} more after the third time");
    assert!(kept < 100_000 && again < 10_000, "{kept} bytes, then {again}");
}

#[test]
fn what_many_publishers_bring_in_a_turn_is_one_write() {
    const PUBLISHERS: usize = 20;
    const ROUNDS: u64 = 100;
    let World { runtime, driver, address, mut subscribers, .. } = World::new(1, 0);
    let mut messages = [0; PUBLISHERS * PUBLISH_QOS0.len()];
    let writes = &driver.traffic.writes;
    let written = runtime.block_on(async {
        let mut publishers = Vec::new();
        for id in 0..PUBLISHERS {
            publishers.push(connect(address, b'A' + id as u8).await);
        }
        let before = writes.load(Ordering::Relaxed);
        for _ in 0..ROUNDS {
            for publisher in &mut publishers {
                publisher.write_all(PUBLISH_QOS0).await.expect("it takes bytes");
            }
            subscribers[0].read_exact(&mut messages).await.expect("messages");
        }
        writes.load(Ordering::Relaxed) - before
    });
    // One a round, but when the system delivers what was sent is its own affair.
    assert!(written <= 2 * ROUNDS, "{written} for {ROUNDS} rounds of {PUBLISHERS} messages");
}

/// The engine hands out a piece at each of its turns, and the next turn waits for nothing but that
/// others have theirs.
#[test]
fn a_long_delivery_of_retained_messages_waits_for_no_timer() {
    const MESSAGES: usize = 20_000;
    let mut world = World::new(0, 0);
    let retained = |n| format!("1\x0d\x00\x09many/{n:04x}p!").into_bytes();
    let all: Vec<u8> = (0..MESSAGES).flat_map(retained).collect();
    world.run(1, &[&all[..], b"\xc0\0"].concat(), 2, 0); // with a PINGREQ behind them
    let World { runtime, driver, address, .. } = world;
    let (writes, metrics) = (&driver.traffic.writes, runtime.metrics());
    let (parks, written) = runtime.block_on(async {
        let mut subscriber = connect(address, b's').await;
        let before = (metrics.worker_park_count(0), writes.load(Ordering::Relaxed));
        exchange(&mut subscriber, b"\x82\x0b\x00\x01\x00\x06many/#\x00", &mut [0; 5]).await;
        let mut got = vec![0; all.len()];
        subscriber.read_exact(&mut got).await.expect("messages");
        assert!(got == all, "all of them, as they are");
        let after = (metrics.worker_park_count(0), writes.load(Ordering::Relaxed));
        (after.0 - before.0, after.1 - before.1)
    });
    println!("{parks} times the thread had nothing to do, {written} writes");
    assert!(parks <= 10, "the thread had nothing to do {parks} times");
    assert!(written <= MESSAGES as u64 / 100, "{written} writes of {MESSAGES} messages");
}

#[test]
fn messages_wake_no_worker_but_those_whose_clients_send() {
    const ROUNDS: usize = 500;
    let (here, there) = std::sync::mpsc::sync_channel(1);
    // Threads that a runtime starts for what blocks find the place taken.
    let begin = move || drop(here.try_send(Handle::current()));
    let workers = Workers::start(1, Duration::MAX, begin).expect("a thread");
    let other = there.recv().expect("it has started").metrics();
    let runtime = turn::runtime(Duration::MAX).build().expect("a runtime");
    let woken = runtime.block_on(async {
        let server = Server::start(running::settings(), Box::new(Volatile)).expect("it starts");
        let address = server.addresses()[0];
        tokio::spawn(server.served_by(workers).run(std::future::pending()));
        let (mut publishers, mut subscribers) = (Vec::new(), Vec::new());
        let mut id = b'a';
        while publishers.is_empty() || subscribers.is_empty() {
            let before = other.num_alive_tasks();
            let client = connect(address, id).await;
            let is_there = other.num_alive_tasks() > before;
            if is_there { &mut subscribers } else { &mut publishers }.push(client);
            id += 1;
        }
        let (publisher, subscriber) = (&mut publishers[0], &mut subscribers[0]);
        exchange(subscriber, b"\x82\x08\x00\x01\x00\x03a/b\x00", &mut [0; 5]).await;
        let before = other.worker_park_count(0);
        for _ in 0..ROUNDS {
            publisher.write_all(PUBLISH_QOS0).await.expect("it takes bytes");
            subscriber.read_exact(&mut [0; PUBLISH_QOS0.len()]).await.expect("a message");
        }
        other.worker_park_count(0) - before
    });
    // It may have been about to wait.
    assert!(woken <= 2, "{woken} times for {ROUNDS} messages to a client of its");
}

#[test]
fn what_a_peer_has_announced_takes_no_memory() {
    let mut world = World::new(0, 0);
    world.run(2, PUBLISH_QOS0, 0, 0);
    let World { runtime, driver, publisher, .. } = &mut world;
    // The head of a PUBLISH of one MiB, and a little of its payload.
    let mut head = b"\x30\xff\xff\x3f\x00\x03a/b".to_vec();
    head.resize(1000, b'x');
    let received = &driver.traffic.bytes_received;
    let all = received.load(Ordering::Relaxed) + head.len() as u64;
    let allocations = allocation_counter::measure(|| {
        runtime.block_on(async {
            publisher.write_all(&head).await.expect("it takes bytes");
            while received.load(Ordering::Relaxed) < all {
                turn::yield_now().await;
            }
            turn::yield_now().await;
        });
    });
    assert!(allocations.bytes_max < 10_000, "{allocations:?}");
}
