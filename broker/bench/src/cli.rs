//! What may be asked for.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::error::BenchError;
use crate::load::Bounds;
use crate::scenario::Scenario;
use crate::subject::Source;
use crate::telemetry;
use crate::turns::Turns;

/// What a message, and a connection, cost a broker.
#[derive(Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) chore: Chore,
}

#[derive(Subcommand)]
pub(crate) enum Chore {
    /// Everything that docs/performance.md shows of messages and connections, beside mosquitto, the
    /// floor, and peers that are installed or given, in about 20 minutes; tables in Markdown
    All(AllOptions),
    /// Martlet against Debian's mosquitto, and others, in turns; tables of medians and ratios
    Compare(Options),
    /// The floor alone, until it is killed: what `--floor` starts
    #[command(hide = true)]
    Floor(FloorOptions),
    /// Sessions that are kept: Martlet with each `data.sync` and mosquitto with persistence, in
    /// turns; a table in Markdown
    Durable(Options),
    /// What a message costs the disk: at fixed rates through Martlet, one checkpoint included, and
    /// at fixed batch sizes through its store alone; two tables in Markdown. The device's count is
    /// that of the whole machine: run nothing else, or set TMPDIR to a disk of its own
    Economy(Options),
    /// Instructions that fixed inputs take in codec and engine, counted by callgrind, beside those
    /// in broker/bench/instructions.txt: more than a fiftieth off fails
    Instructions(InstructionsOptions),
    /// What `instructions` counts
    #[command(hide = true)]
    Fixed(FixedOptions),
    /// One broker alone
    Run(Options),
    /// System calls per 1,000 messages, counted by strace
    Syscalls(Options),
    /// How long Martlet takes to start with a full store, and in how much memory
    Start(StartOptions),
    /// A million filters and a million retained messages: time, CPU time and memory; a table in
    /// Markdown
    Masses(MassesOptions),
    /// Many connections at once, over TCP, with TLS handshakes in full, and with resumed ones: what
    /// each costs Martlet and mosquitto; a table in Markdown
    Storm(StormOptions),
    /// The log's files: how fast they are recorded, sealed into Parquet and read, and how large
    /// they are; a table in Markdown
    Telemetry(TelemetryOptions),
    /// How fast the window answers with what was recorded, in each form; a table in Markdown
    Http(TelemetryOptions),
    /// The scenarios
    List,
}

#[derive(Args)]
pub(crate) struct Options {
    /// Only these scenarios, separated by commas (`bench list`)
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// How often each is run with each broker
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// Short runs and 1,000 idle connections: to see that it works
    #[arg(long)]
    pub(crate) quick: bool,
    /// How long publishers publish in one run, in seconds (5; for `economy` 60)
    #[arg(long)]
    pub(crate) seconds: Option<f64>,
    /// After how many deliveries they stop before
    #[arg(long, default_value_t = 20_000_000)]
    pub(crate) deliveries: u64,
    /// Idle connections; fewer, with a word about it, where fewer files may be open
    #[arg(long, default_value_t = 10_000)]
    pub(crate) connections: usize,
    /// Run each also with all cores for broker and load, instead of one each, and compare
    #[arg(long)]
    pub(crate) unpinned: bool,
    /// Instead of Martlet: a program (mosquitto's command line if that is in its name, Martlet's
    /// otherwise), or whatever --peer takes
    #[arg(long)]
    pub(crate) broker: Option<String>,
    /// The process id of a --broker that runs already, for its CPU time and memory
    #[arg(long)]
    pub(crate) pid: Option<u32>,
    #[command(flatten)]
    pub(crate) peers: Peers,
    /// Write a line of JSON for each run to this file
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}

/// Who else is measured.
#[derive(Args)]
pub(crate) struct Peers {
    /// Another broker in the same rounds; may be given several times. A program whose command line
    /// is known (rumqttd, nats-server, any mosquitto or Martlet), a command line with {port}, and
    /// perhaps {folder} or {config:FILE}, or ADDRESS or ADDRESS@PID of one that runs already. A
    /// name in front: name=/opt/broker --port {port}
    #[arg(long = "peer", value_name = "BROKER")]
    pub(crate) peers: Vec<String>,
    /// What no broker can be below: a server that reads frames and writes them to fixed targets
    #[arg(long)]
    pub(crate) floor: bool,
}

/// Everything.
#[derive(Args)]
pub(crate) struct AllOptions {
    #[command(flatten)]
    pub(crate) peers: Peers,
    /// How often each is run with each broker
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// How long publishers publish in one run, in seconds
    #[arg(long, default_value_t = 2.0)]
    pub(crate) seconds: f64,
    /// Everything as short as it can be: to see that it works
    #[arg(long)]
    pub(crate) quick: bool,
    /// Instead of Martlet: a program
    #[arg(long)]
    pub(crate) broker: Option<String>,
    /// Write a line of JSON for each run to this file
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct InstructionsOptions {
    /// Take what is counted now
    #[arg(long)]
    pub(crate) accept: bool,
}

#[derive(Args)]
pub(crate) struct FixedOptions {
    pub(crate) input: String,
    pub(crate) times: u64,
}

#[derive(Args)]
pub(crate) struct FloorOptions {
    /// Where it listens, on 127.0.0.1
    #[arg(long)]
    pub(crate) port: u16,
}

#[derive(Args)]
pub(crate) struct StartOptions {
    /// Only stores with this in them, separated by commas: queued, shared, retained, tail
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// How many messages
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) messages: u64,
    /// In how many sessions
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) sessions: u64,
    /// Bytes of each payload
    #[arg(long, default_value_t = 150)]
    pub(crate) payload: usize,
    /// Print the broker's log too
    #[arg(long)]
    pub(crate) log: bool,
}

#[derive(Args)]
pub(crate) struct StormOptions {
    /// Connections with TLS in one storm; of plain ones, which cost little, four times as many
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=4_000))]
    pub(crate) connections: u32,
    /// How many of them are on their way together
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) together: u32,
    /// How often each is run with each broker
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// Instead of Martlet: a program
    #[arg(long)]
    pub(crate) broker: Option<String>,
}

#[derive(Args)]
pub(crate) struct MassesOptions {
    /// Filters of all clients
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) filters: usize,
    /// Clients that subscribe to them
    #[arg(long, default_value_t = 100)]
    pub(crate) clients: usize,
    /// Messages published among the filters
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) messages: usize,
    /// Retained messages
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) retained: usize,
    /// Martlet alone
    #[arg(long)]
    pub(crate) alone: bool,
    /// Instead of Martlet: a program
    #[arg(long)]
    pub(crate) broker: Option<String>,
}

#[derive(Args)]
pub(crate) struct TelemetryOptions {
    /// How many records
    #[arg(long, default_value_t = 2_000_000)]
    pub(crate) records: u64,
    /// On how many topics
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) topics: u64,
    /// Leave the files in this folder, for `broker/bench/analytics.py`
    #[arg(long)]
    pub(crate) keep: Option<PathBuf>,
}

impl Peers {
    /// These and the peers; the floor is last.
    pub(crate) fn beside(&self, mut sources: Vec<Source>) -> Result<Vec<Source>, BenchError> {
        sources.extend(self.peers.iter().map(|text| Source::parse(text)));
        if self.floor {
            sources.push(Source::floor()?);
        }
        Ok(sources)
    }
}

impl TelemetryOptions {
    pub(crate) fn plan(&self) -> telemetry::Plan {
        let Self { records, topics, keep } = self;
        telemetry::Plan { records: *records, topics: *topics, keep: keep.clone() }
    }
}

impl Options {
    /// Those that are asked for, or else these.
    pub(crate) fn scenarios(&self, all: &[&str]) -> Result<Vec<Scenario>, BenchError> {
        let connections = if self.quick { 1_000 } else { self.connections };
        let all: Vec<String> = all.iter().map(|name| (*name).to_owned()).collect();
        let names = if self.only.is_empty() { &all } else { &self.only };
        names.iter().map(|name| Scenario::parse(name, connections)).collect()
    }

    /// Martlet, the peers, and mosquitto between them.
    pub(crate) fn sources(&self) -> Result<Vec<Source>, BenchError> {
        self.peers.beside(vec![self.first()?, Source::mosquitto()])
    }

    /// Martlet, or what stands in its place.
    pub(crate) fn first(&self) -> Result<Source, BenchError> {
        let Some(text) = &self.broker else { return Source::martlet() };
        Ok(Source::parse(text).with_pid(self.pid))
    }

    pub(crate) fn turns(&self) -> Turns {
        let seconds = if self.quick { 0.5 } else { self.seconds.unwrap_or(5.0) };
        let rounds = if self.quick { 1 } else { self.rounds };
        let bounds = Bounds { seconds, deliveries: self.deliveries };
        Turns { bounds, rounds, unpinned: self.unpinned }
    }
}
