//! What crosses sockets: a broker and its clients on one thread.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use martlet::driver::{Driver, turn};
use martlet::server::Server;
use martlet::store::memory::Volatile;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use crate::running;
use crate::table::Row;

const ROUNDS: u64 = 20;
/// How often each load is counted: the least counts, since what a timer adds is not the message's.
const ATTEMPTS: usize = 5;
const PAYLOAD: [u8; 64] = [b'p'; 64];
const ACK_LEN: usize = 4;

/// So many messages at once, at this QoS, to so many subscribers.
#[derive(Clone, Copy)]
struct Load {
    qos: u8,
    batch: usize,
    subscribers: usize,
}

/// The clients allocate nothing once they are connected.
struct World {
    runtime: Runtime,
    driver: Arc<Driver>,
    clients: Clients,
}

struct Clients {
    load: Load,
    publisher: TcpStream,
    subscribers: Vec<TcpStream>,
    publishes: Vec<u8>,
    /// PUBREL of the same ids.
    releases: Vec<u8>,
    input: Vec<u8>,
    out: Vec<u8>,
}

pub fn rows() -> Vec<Row> {
    let loads = [(0, 1, 1), (0, 100, 1), (0, 20, 50), (1, 1, 1), (1, 20, 1), (1, 20, 50)];
    // The last one is more than a client may have in flight.
    let loads = loads.into_iter().chain([(2, 1, 1), (2, 20, 1), (2, 20, 50), (2, 100, 1)]);
    loads.map(|(qos, batch, subscribers)| row(Load { qos, batch, subscribers })).collect()
}

fn row(load: Load) -> Row {
    let mut world = World::new(load);
    let Load { qos, batch, subscribers } = load;
    // What grows once has grown then.
    world.run(10);
    let counts: Vec<[u64; 6]> = (0..ATTEMPTS).map(|_| world.count()).collect();
    let least = |n: usize| counts.iter().map(|counts| counts[n]).min();
    Row {
        what: format!("sockets: QoS {qos}, {batch} at once, to {subscribers}"),
        messages: ROUNDS * batch as u64,
        allocations: least(0),
        bytes_allocated: least(1),
        reads: least(2),
        bytes_read: least(3),
        writes: least(4),
        bytes_written: least(5),
        syncs: None,
    }
}

impl World {
    fn new(load: Load) -> Self {
        let runtime = turn::runtime(Duration::MAX).build();
        let runtime = runtime.expect("a runtime");
        let (driver, clients) = runtime.block_on(async {
            let mut settings = running::settings();
            settings.driver.connection_messages = false;
            let server = Server::start(settings, Box::new(Volatile)).expect("it starts");
            let (driver, address) = (server.driver(), server.addresses()[0]);
            tokio::spawn(server.run(std::future::pending()));
            (driver, Clients::connect(address, load).await)
        });
        Self { runtime, driver, clients }
    }

    fn run(&mut self, rounds: u64) {
        let Self { runtime, clients, .. } = self;
        runtime.block_on(async {
            for _ in 0..rounds {
                clients.exchange().await;
            }
        });
    }

    /// Allocations and their bytes, then as [`traffic`](Self::traffic).
    fn count(&mut self) -> [u64; 6] {
        let before = self.traffic();
        let allocations = allocation_counter::measure(|| self.run(ROUNDS));
        let traffic = self.traffic();
        let [reads, read, writes, written] = [0, 1, 2, 3].map(|n| traffic[n] - before[n]);
        [allocations.count_total, allocations.bytes_total, reads, read, writes, written]
    }

    /// Reads and their bytes, writes and theirs.
    fn traffic(&self) -> [u64; 4] {
        let traffic = &self.driver.traffic;
        let counters =
            [&traffic.reads, &traffic.bytes_received, &traffic.writes, &traffic.bytes_sent];
        counters.map(|counter| counter.load(Ordering::Relaxed))
    }
}

impl Clients {
    async fn connect(address: SocketAddr, load: Load) -> Self {
        let publisher = connect(address, b'p').await;
        let mut subscribers = Vec::new();
        for n in 0..load.subscribers {
            let mut subscriber = connect(address, b'0' + n as u8).await;
            let subscribe = [0x82, 8, 0, 1, 0, 3, b'a', b'/', b'b', load.qos];
            subscriber.write_all(&subscribe).await.expect("it takes bytes");
            subscriber.read_exact(&mut [0; 5]).await.expect("SUBACK");
            subscribers.push(subscriber);
        }
        let ids = 1..=load.batch as u8;
        let (publishes, releases) = (
            ids.clone().flat_map(|id| publish(load.qos, id)).collect(),
            ids.flat_map(|id| [0x62, 2, 0, id]).collect(),
        );
        let (input, out) = (vec![0; 16 << 10], Vec::with_capacity(16 << 10));
        Self { load, publisher, subscribers, publishes, releases, input, out }
    }

    /// One batch, until nobody owes anybody anything.
    async fn exchange(&mut self) {
        let Load { qos, batch, .. } = self.load;
        send(&mut self.publisher, &self.publishes).await;
        for subscriber in &mut self.subscribers {
            hear(subscriber, self.load, &mut self.input, &mut self.out).await;
        }
        for answers in 0..qos {
            if answers == 1 {
                send(&mut self.publisher, &self.releases).await;
            }
            let acks = &mut self.input[..batch * ACK_LEN];
            self.publisher.read_exact(acks).await.expect("acknowledgements");
        }
    }
}

/// Reads so many messages, and answers all that a read brings in one piece until they are settled.
async fn hear(subscriber: &mut TcpStream, load: Load, input: &mut [u8], out: &mut Vec<u8>) {
    let (mut owed, mut filled) = (load.batch, 0);
    while owed > 0 {
        filled += subscriber.read(&mut input[filled..]).await.expect("messages");
        out.clear();
        let mut at = 0;
        while let Some([kind, ..]) = input[at..filled].first_chunk::<ACK_LEN>()
            && let (len, answer) = expected(*kind, load.qos)
            && let Some(packet) = input[at..filled].get(..len)
        {
            if let Some(answer) = answer {
                let id = if *kind == 0x62 { &packet[2..4] } else { &packet[7..9] };
                out.extend_from_slice(&[answer, 2, id[0], id[1]]);
            }
            owed -= usize::from(answer != Some(0x50));
            at += len;
        }
        input.copy_within(at..filled, 0);
        filled -= at;
        if owed == 0 && load.qos > 0 {
            // A PINGREQ, whose answer says that all this was heard.
            out.extend_from_slice(&[0xC0, 0]);
        }
        send(subscriber, out).await;
    }
    if load.qos > 0 {
        subscriber.read_exact(&mut [0; 2]).await.expect("PINGRESP");
    }
}

/// How long a packet that begins so is, and what answers it: PUBREL gets PUBCOMP.
fn expected(kind: u8, qos: u8) -> (usize, Option<u8>) {
    match (kind, qos) {
        (0x62, _) => (ACK_LEN, Some(0x70)),
        (_, 0) => (publish_len(0), None),
        (_, 1) => (publish_len(1), Some(0x40)),
        (_, _) => (publish_len(2), Some(0x50)),
    }
}

async fn send(socket: &mut TcpStream, packets: &[u8]) {
    socket.write_all(packets).await.expect("it takes bytes");
}

async fn connect(address: SocketAddr, id: u8) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.expect("it listens");
    socket.set_nodelay(true).expect("a socket");
    let mut connect = *b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01?";
    connect[14] = id;
    send(&mut socket, &connect).await;
    socket.read_exact(&mut [0; 4]).await.expect("CONNACK");
    socket
}

fn publish(qos: u8, id: u8) -> Vec<u8> {
    let mut packet = vec![0x30 | qos << 1, publish_len(qos) as u8 - 2, 0, 3, b'a', b'/', b'b'];
    if qos > 0 {
        packet.extend([0, id]);
    }
    packet.extend(PAYLOAD);
    packet
}

const fn publish_len(qos: u8) -> usize {
    2 + 5 + if qos > 0 { 2 } else { 0 } + PAYLOAD.len()
}
