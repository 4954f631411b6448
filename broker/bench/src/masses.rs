//! A million filters, a million retained messages: how long they take to come, what they take of
//! memory, what a message costs among them, and what it does to others when all go to one client.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;

use martlet_codec::packet::Packet;
use martlet_codec::reason::QoS;

use crate::clock::{self, now_ns};
use crate::disturb::Delays;
use crate::error::BenchError;
use crate::machine::{Cores, CpuTime};
use crate::report::median;
use crate::scenario::Transport;
use crate::subject::{Source, Subject};
use crate::{disturb, peer, wire};

/// How much of what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Filters of all clients together, half with `+` and half with `#`.
    pub(crate) filters: usize,
    /// Clients that subscribe, each to as many of them.
    pub(crate) clients: usize,
    /// Messages published among the filters, and among a thousandth of them.
    pub(crate) messages: usize,
    /// Retained messages.
    pub(crate) retained: usize,
}

/// What came of it.
#[derive(Clone, Copy, Default, Debug)]
struct Figures {
    seconds: f64,
    cpu_s: f64,
    /// What the load has used meanwhile.
    load_cpu_s: f64,
    /// Memory that is taken afterwards and was not before.
    bytes: u64,
}

/// A broker with its clients and their filters.
struct Crowd {
    subject: Subject,
    streams: Vec<TcpStream>,
    filters: usize,
    /// What all messages took.
    published: Figures,
}

impl Figures {
    fn add(&mut self, more: Self) {
        self.seconds += more.seconds;
        self.cpu_s += more.cpu_s;
        self.load_cpu_s += more.load_cpu_s;
        self.bytes += more.bytes;
    }
}

/// Filters in one SUBSCRIBE.
const FILTERS_PER_PACKET: usize = 100;
/// Messages that go to one subscriber, and come back, together.
const BATCH: usize = 100;
/// Bytes handed to a socket together.
const CHUNK_BYTES: usize = 256 << 10;
/// How often messages go to few and to many filters in turns, and neighbours are watched by
/// themselves and beside a delivery.
const ROUNDS: usize = 5;
/// What only reads behind all others has of it.
const NICE: i32 = 19;
const SUBACK_BYTES: usize = 5;
/// Seconds of each time by themselves.
const CALM_S: usize = 2;

/// Measures each broker and prints a table in Markdown.
pub(crate) fn run(plan: &Plan, sources: &[Source], cores: Cores) -> Result<(), BenchError> {
    println!(
        "| broker | what | seconds | CPU-s for a million | the load's | bytes each |\n\
         |---|---|---|---|---|---|"
    );
    let mut disturbances = Vec::new();
    for source in sources {
        among_filters(plan, source, cores)?;
        let subject = source.start(Transport::Tcp, cores)?;
        let stored = retain(&subject, plan.retained)?;
        row(source, &format!("{} retained messages stored", plan.retained), stored, plan.retained);
        let replayed = replay(&subject, 1, plan.retained)?;
        row(source, "delivered to one `#`", replayed, plan.retained);
        disturbances.push(disturb(source, &subject, plan.retained)?);
    }
    println!(
        "\n| broker | neighbours' messages, 1,000 a second | p50 us | p99 us | each p99 |\n\
         |---|---|---|---|---|"
    );
    disturbances.iter().for_each(|rows| print!("{rows}"));
    Ok(())
}

/// A broker with few filters and one with all of them. Messages go to both in turns, so that what
/// else the machine does hits them alike.
fn among_filters(plan: &Plan, source: &Source, cores: Cores) -> Result<(), BenchError> {
    let clients = plan.clients.max(1);
    let mut crowds = Vec::new();
    for filters in [(plan.filters / 1000).max(clients), plan.filters] {
        let subject = source.start(Transport::Tcp, cores)?;
        let (streams, subscribed) = subscribe(&subject, filters, clients)?;
        row(source, &format!("{filters} filters subscribed"), subscribed, filters);
        crowds.push(Crowd { subject, streams, filters, published: Figures::default() });
    }
    let messages = plan.messages / ROUNDS;
    for round in 0..ROUNDS {
        for crowd in &mut crowds {
            let published = crowd.publish(round * messages, messages)?;
            crowd.published.add(published);
        }
    }
    for Crowd { filters, published, .. } in &crowds {
        let what = format!("{} messages, QoS 0, among {filters}", messages * ROUNDS);
        row(source, &what, *published, messages * ROUNDS);
    }
    Ok(())
}

/// Two neighbours by themselves, and beside the delivery of all retained messages: medians of
/// rounds.
fn disturb(source: &Source, subject: &Subject, count: usize) -> Result<String, BenchError> {
    let address = subject.route.address;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let rest = || {
            (0..CALM_S).for_each(|_| clock::rest());
            Ok(())
        };
        alone.push(disturb::beside(address, 2, rest)?.1);
        beside.push(disturb::beside(address, 2, || swallow(subject, 4, count))?.1);
    }
    let rows = [("alone", alone), ("beside that delivery", beside)].map(|(what, rounds)| {
        let of = |figure: fn(&Delays) -> u64| rounds.iter().map(move |round| figure(round) as f64);
        let p99s = of(|delays| delays.p99_us);
        let each = p99s.clone().map(|p99| p99.to_string()).collect::<Vec<_>>().join(" ");
        let (p50, p99) = (median(of(|delays| delays.p50_us)), median(p99s));
        format!("| {} | {what} | {p50} | {p99} | {each} |\n", source.name())
    });
    Ok(rows.concat())
}

fn row(source: &Source, what: &str, figures: Figures, count: usize) {
    let Figures { seconds, cpu_s, load_cpu_s, bytes } = figures;
    let count = count as f64;
    println!(
        "| {} | {what} | {seconds:.2} | {:.2} | {:.2} | {:.0} |",
        source.name(),
        cpu_s * 1e6 / count,
        load_cpu_s * 1e6 / count,
        bytes as f64 / count
    );
}

/// What the broker takes for what `work` does.
fn measure<T>(
    subject: &Subject,
    work: impl FnOnce() -> Result<T, BenchError>,
) -> Result<(T, Figures), BenchError> {
    let load_cpu = || CpuTime::of(std::process::id());
    let (start_ns, cpu, load) = (now_ns(), subject.cpu()?, load_cpu()?);
    let before_kib = subject.footprint()?.own_kib;
    let done = work()?;
    let seconds = (now_ns() - start_ns) as f64 / 1e9;
    let cpu_s = subject.cpu()?.since(cpu).total_s();
    let load_cpu_s = load_cpu()?.since(load).total_s();
    clock::rest();
    let bytes = subject.footprint()?.own_kib.saturating_sub(before_kib) * 1024;
    Ok((done, Figures { seconds, cpu_s, load_cpu_s, bytes }))
}

/// Connects the clients and lets each subscribe to its part of the filters.
fn subscribe(
    subject: &Subject,
    filters: usize,
    clients: usize,
) -> Result<(Vec<TcpStream>, Figures), BenchError> {
    let streams = (0..clients).map(|n| peer::connect(subject.route.address, n, true, None));
    let mut streams = streams.collect::<Result<Vec<_>, _>>()?;
    let each = filters / clients;
    let ((), figures) = measure(subject, || {
        for (client, stream) in streams.iter_mut().enumerate() {
            let filters: Vec<_> = (client * each..(client + 1) * each).map(filter).collect();
            let packets = filters.chunks(FILTERS_PER_PACKET);
            let mut answers = packets.len();
            let bytes: Vec<u8> =
                packets.flat_map(|filters| wire::subscribe_all(filters, QoS::AtMostOnce)).collect();
            stream.write_all(&bytes).map_err(BenchError::system("subscribing"))?;
            receive(stream, |packet| {
                answers -= usize::from(matches!(packet, Packet::SubAck(_)));
                answers > 0
            })?;
        }
        Ok(())
    })?;
    Ok((streams, figures))
}

/// Every other with `+`, every other with `#`.
fn filter(number: usize) -> String {
    let last = if number.is_multiple_of(2) { "+/value" } else { "#" };
    format!("site/{number:07}/{last}")
}

impl Crowd {
    /// Publishes to topics each of which one filter matches, and waits for every message. So many
    /// were published before.
    fn publish(&mut self, before: usize, messages: usize) -> Result<Figures, BenchError> {
        let Self { subject, streams, filters, .. } = self;
        let mut publisher = peer::connect(subject.route.address, streams.len(), true, None)?;
        let each = *filters / streams.len();
        let ((), figures) = measure(subject, || {
            for batch in before / BATCH..(before + messages) / BATCH {
                let client = batch % streams.len();
                // Anywhere among the client's own.
                let own = |n: usize| (batch * BATCH + n).wrapping_mul(7919) % each;
                let topics = (0..BATCH).map(|n| topic(client * each + own(n)));
                let packets = topics.flat_map(|topic| wire::publish_qos0(&topic, &PAYLOAD, false));
                let bytes: Vec<u8> = packets.collect();
                publisher.write_all(&bytes).map_err(BenchError::system("publishing"))?;
                let mut missing = BATCH;
                receive(&mut streams[client], |packet| {
                    missing -= usize::from(matches!(packet, Packet::Publish(_)));
                    missing > 0
                })?;
            }
            Ok(())
        })?;
        Ok(figures)
    }
}

/// What the filter of this number matches.
fn topic(number: usize) -> String {
    format!("site/{number:07}/d/value")
}

const PAYLOAD: [u8; wire::PAYLOAD_LEN] = [0xA5; wire::PAYLOAD_LEN];

fn retain(subject: &Subject, count: usize) -> Result<Figures, BenchError> {
    let mut publisher = peer::connect(subject.route.address, 0, true, None)?;
    let ((), figures) = measure(subject, || {
        let mut bytes = Vec::new();
        for number in 0..count {
            bytes.extend(retained(number));
            if bytes.len() >= CHUNK_BYTES || number + 1 == count {
                publisher.write_all(&bytes).map_err(BenchError::system("publishing"))?;
                bytes.clear();
            }
        }
        peer::ping(&mut publisher) // behind all of them
    })?;
    Ok(figures)
}

fn retained(number: usize) -> Vec<u8> {
    wire::publish_qos0(&format!("site/{number:07}/value"), &PAYLOAD, true)
}

fn replay(subject: &Subject, client: usize, count: usize) -> Result<Figures, BenchError> {
    let mut subscriber = peer::connect(subject.route.address, client, true, None)?;
    let ((), figures) = measure(subject, || {
        let subscribe = wire::subscribe("site/#", QoS::AtMostOnce);
        subscriber.write_all(&subscribe).map_err(BenchError::system("subscribing"))?;
        let mut missing = count;
        receive(&mut subscriber, |packet| {
            missing -= usize::from(matches!(packet, Packet::Publish(_)));
            missing > 0
        })
    })?;
    Ok(figures)
}

/// Takes all retained messages by their bytes, and only when nobody else of the load has anything
/// to do: what neighbours wait for is the broker.
fn swallow(subject: &Subject, client: usize, count: usize) -> Result<(), BenchError> {
    let mut subscriber = peer::connect(subject.route.address, client, true, None)?;
    let subscribe = wire::subscribe("site/#", QoS::AtMostOnce);
    subscriber.write_all(&subscribe).map_err(BenchError::system("subscribing"))?;
    let bytes = SUBACK_BYTES + count * retained(0).len();
    thread::scope(|scope| {
        let taken = scope.spawn(|| take_behind_others(&mut subscriber, bytes));
        taken.join().expect("it returns its errors")
    })
}

fn take_behind_others(stream: &mut TcpStream, bytes: usize) -> Result<(), BenchError> {
    // Of this thread alone.
    let nice = rustix::process::nice(NICE).map_err(io::Error::from);
    nice.map_err(BenchError::system("nice"))?;
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut taken = 0;
    while taken < bytes {
        let read = stream.read(&mut buffer).map_err(BenchError::system("waiting for packets"))?;
        if read == 0 {
            return Err(BenchError::Closed);
        }
        taken += read;
    }
    Ok(())
}

/// Reads packets until `more` says that it was the last.
pub(crate) fn receive(
    stream: &mut TcpStream,
    mut more: impl FnMut(&Packet<'_>) -> bool,
) -> Result<(), BenchError> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut filled = 0;
    loop {
        let count = stream
            .read(&mut buffer[filled..])
            .map_err(BenchError::system("waiting for packets"))?;
        if count == 0 {
            return Err(BenchError::Closed);
        }
        filled += count;
        let mut at = 0;
        while let Some((packet, len)) = wire::next(&buffer[at..filled])? {
            at += len;
            if !more(&packet) {
                return Ok(());
            }
        }
        buffer.copy_within(at..filled, 0);
        filled -= at;
    }
}
