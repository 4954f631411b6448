//! What a message costs the disk: at fixed rates through a real broker, checkpoint included, and at
//! fixed batch sizes through the store alone.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use martlet_codec::ids::PacketId;
use martlet_codec::packet::{Delivery, Packet};
use rustix::process::{Pid, Signal, kill_process};

use crate::clock::{self, now_ns};
use crate::error::BenchError;
use crate::machine::{self, Cores, Written};
use crate::scenario::Transport;
use crate::subject::{Source, Subject};
use crate::{peer, wire};

/// Bytes of each payload.
const PAYLOAD: [u8; 150] = [0xA5; 150];
const TOPIC: &str = "bench/economy/temperature";

/// How a publisher publishes.
#[derive(Clone, Copy, Debug)]
enum Pace {
    /// One message at a time, so many a second.
    PerSecond(u64),
    /// So many at a time, the next when all are acknowledged and delivered.
    FlatOut { together: usize },
}

const PACES: [Pace; 5] = [
    Pace::PerSecond(1),
    Pace::PerSecond(10),
    Pace::PerSecond(100),
    Pace::FlatOut { together: 1 },
    Pace::FlatOut { together: 20 },
];

/// One run's account.
struct Row {
    pace: Pace,
    messages: u64,
    seconds: f64,
    /// From the first PUBLISH until the checkpoint behind the last one was written.
    written: Written,
}

/// Runs each pace for so long, each with a checkpoint at its end, and says in Markdown what came to
/// the disk.
pub(crate) fn economy(martlet: &Source, seconds: f64) -> Result<String, BenchError> {
    let cores = Cores::choose()?;
    let mut text = String::from(
        "| rate | messages | seconds | blocks of 4 KiB for each message, device | the same, \
         /proc/PID/io |\n|---|---|---|---|---|\n",
    );
    for pace in PACES {
        let row = run(martlet, pace, seconds, cores)?;
        let blocks = |bytes: u64| bytes as f64 / 4096.0 / row.messages as f64;
        let Row { messages, seconds, written, .. } = &row;
        let device = written.device.map_or("-".to_owned(), |bytes| format!("{:.2}", blocks(bytes)));
        let _ = writeln!(
            text,
            "| {} | {messages} | {seconds:.0} | {device} | {:.2} |",
            row.pace,
            blocks(written.process),
        );
        eprintln!("{}: {messages} messages", row.pace);
    }
    Ok(text)
}

fn run(source: &Source, pace: Pace, seconds: f64, cores: Cores) -> Result<Row, BenchError> {
    let subject = source.start(Transport::Tcp, cores)?;
    let mut pair = Pair::connect(&subject)?;
    clock::rest(); // what the start wrote is not a message's
    let folder = std::env::temp_dir();
    machine::sync_all();
    let before = Written::now(subject.pid, &folder)?;
    let start_ns = now_ns();
    let end_ns = start_ns + (seconds * 1e9) as u64;
    let mut messages = 0;
    while now_ns() < end_ns {
        match pace {
            Pace::PerSecond(rate) => {
                pair.exchange(1)?;
                messages += 1;
                clock::rest_until(start_ns + messages * 1_000_000_000 / rate);
            }
            Pace::FlatOut { together } => {
                pair.exchange(together)?;
                messages += together as u64;
            }
        }
    }
    let seconds = (now_ns() - start_ns) as f64 / 1e9;
    checkpoint(&subject)?;
    machine::sync_all();
    let written = Written::now(subject.pid, &folder)?.since(before);
    Ok(Row { pace, messages, seconds, written })
}

/// Has a checkpoint written, and leaves time for it.
fn checkpoint(subject: &Subject) -> Result<(), BenchError> {
    let pid = subject.pid.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    if let Some(pid) = pid {
        let signalled = kill_process(pid, Signal::USR1).map_err(std::io::Error::from);
        signalled.map_err(BenchError::system("SIGUSR1"))?;
    }
    for _ in 0..2 {
        clock::rest();
    }
    Ok(())
}

/// A publisher, and a subscriber with a session that is kept.
struct Pair {
    publisher: Client,
    subscriber: Client,
    next_id: PacketId,
}

impl Pair {
    fn connect(subject: &Subject) -> Result<Self, BenchError> {
        let subscribe = wire::subscribe(TOPIC, martlet_codec::reason::QoS::AtLeastOnce);
        let subscriber = peer::connect(subject.route.address, 1, false, Some(&subscribe))?;
        let publisher = peer::connect(subject.route.address, 0, true, None)?;
        Ok(Self {
            publisher: Client::new(publisher),
            subscriber: Client::new(subscriber),
            next_id: PacketId::FIRST,
        })
    }

    /// So many messages, each acknowledged by both sides when this returns.
    fn exchange(&mut self, messages: usize) -> Result<(), BenchError> {
        let mut out = Vec::new();
        for _ in 0..messages {
            out.extend(wire::publish(TOPIC, self.next_id, &PAYLOAD));
            self.next_id = self.next_id.next();
        }
        self.publisher.send(&out)?;
        out.clear();
        self.subscriber.receive(messages, |packet| match packet {
            Packet::Publish(publish) => match publish.delivery {
                Delivery::AtLeastOnce { id, .. } => {
                    wire::acknowledge(&mut out, Packet::PubAck, id);
                    true
                }
                Delivery::AtMostOnce | Delivery::ExactlyOnce { .. } => false,
            },
            _ => false,
        })?;
        self.subscriber.send(&out)?;
        self.publisher.receive(messages, |packet| matches!(packet, Packet::PubAck(_)))
    }
}

/// A connection that waits for what it expects.
struct Client {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Client {
    fn new(stream: TcpStream) -> Self {
        Self { stream, input: Vec::new() }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), BenchError> {
        self.stream.write_all(bytes).map_err(BenchError::system("writing"))
    }

    /// So many packets, all of them as `is_right` wants them.
    fn receive(
        &mut self,
        mut packets: usize,
        mut is_right: impl FnMut(&Packet<'_>) -> bool,
    ) -> Result<(), BenchError> {
        let mut buffer = [0; 16 << 10];
        loop {
            let mut used = 0;
            while packets > 0
                && let Some((packet, len)) = wire::next(&self.input[used..])?
            {
                if !is_right(&packet) {
                    return Err(BenchError::Refused(format!("{packet:?}")));
                }
                (used, packets) = (used + len, packets - 1);
            }
            self.input.drain(..used);
            if packets == 0 {
                return Ok(());
            }
            let count = self.stream.read(&mut buffer).map_err(BenchError::system("reading"))?;
            if count == 0 {
                return Err(BenchError::Closed);
            }
            self.input.extend_from_slice(&buffer[..count]);
        }
    }
}

impl std::fmt::Display for Pace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::PerSecond(rate) => write!(f, "{rate}/s"),
            Self::FlatOut { together } => write!(f, "flat out, {together} in flight"),
        }
    }
}

/// How long a run lasts unless another time is asked for.
pub(crate) const SECONDS: Duration = Duration::from_secs(60);
