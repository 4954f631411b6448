//! `bench`: what a message, and a connection, cost a broker.
//!
//! One thread plays all clients ([`load`], [`idle`]) on one core; the broker has another core to
//! itself ([`subject`], [`machine`]). Every message carries its number ([`wire`]), so that losses,
//! duplicates and disorder are counted exactly ([`tally`]). Two brokers are measured in turns, A B
//! A B, and compared by medians ([`report`]). `docs/performance.md` tells what the figures mean.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints results")]

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::error::BenchError;
use crate::load::Bounds;
use crate::machine::Cores;
use crate::masses::Plan;
use crate::measure::Run;
use crate::scenario::{ALL, DURABLE, Scenario, Shape};
use crate::start::Content;
use crate::subject::Source;

mod certificate;
mod clock;
mod durable;
mod economy;
mod error;
mod http;
mod idle;
mod journal;
mod line;
mod load;
mod machine;
mod masses;
mod measure;
mod peer;
mod report;
mod scenario;
mod start;
mod storm;
mod subject;
mod syscalls;
mod tally;
mod telemetry;
mod wire;

/// What a message, and a connection, cost a broker.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Martlet against Debian's mosquitto, in turns; a table of medians and ratios
    Compare(Options),
    /// Sessions that are kept: Martlet with each `data.sync` and mosquitto with persistence, in
    /// turns; a table in Markdown
    Durable(Options),
    /// What a message costs the disk: at fixed rates through Martlet, one checkpoint included, and
    /// at fixed batch sizes through its store alone; two tables in Markdown. The device's count is
    /// that of the whole machine: run nothing else, or set TMPDIR to a disk of its own
    Economy(Options),
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
struct Options {
    /// Only these scenarios, separated by commas (`bench list`)
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// How often each is run with each broker
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Short runs and 1,000 idle connections: to see that it works
    #[arg(long)]
    quick: bool,
    /// How long publishers publish in one run, in seconds (5; for `economy` 60)
    #[arg(long)]
    seconds: Option<f64>,
    /// After how many deliveries they stop before
    #[arg(long, default_value_t = 20_000_000)]
    deliveries: u64,
    /// Idle connections; fewer, with a word about it, where fewer files may be open
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// Run each also with all cores for broker and load, instead of one each, and compare
    #[arg(long)]
    unpinned: bool,
    /// Instead of Martlet: a program (mosquitto's command line if that is in its name, Martlet's
    /// otherwise), or the address of a broker that runs already
    #[arg(long)]
    broker: Option<String>,
    /// The process id of the broker that runs already, for its CPU time and memory
    #[arg(long)]
    pid: Option<u32>,
    /// Write a line of JSON for each run to this file
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Args)]
struct StartOptions {
    /// Only stores with this in them, separated by commas: queued, shared, retained, tail
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// How many messages
    #[arg(long, default_value_t = 1_000_000)]
    messages: u64,
    /// In how many sessions
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    sessions: u64,
    /// Bytes of each payload
    #[arg(long, default_value_t = 150)]
    payload: usize,
    /// Print the broker's log too
    #[arg(long)]
    log: bool,
}

#[derive(Args)]
struct StormOptions {
    /// Connections with TLS in one storm; of plain ones, which cost little, four times as many
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=4_000))]
    connections: u32,
    /// How many of them are on their way together
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100))]
    together: u32,
    /// How often each is run with each broker
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Instead of Martlet: a program
    #[arg(long)]
    broker: Option<String>,
}

#[derive(Args)]
struct MassesOptions {
    /// Filters of all clients
    #[arg(long, default_value_t = 1_000_000)]
    filters: usize,
    /// Clients that subscribe to them
    #[arg(long, default_value_t = 100)]
    clients: usize,
    /// Messages published among the filters
    #[arg(long, default_value_t = 500_000)]
    messages: usize,
    /// Retained messages
    #[arg(long, default_value_t = 1_000_000)]
    retained: usize,
    /// Martlet alone
    #[arg(long)]
    alone: bool,
    /// Instead of Martlet: a program
    #[arg(long)]
    broker: Option<String>,
}

#[derive(Args)]
struct TelemetryOptions {
    /// How many records
    #[arg(long, default_value_t = 2_000_000)]
    records: u64,
    /// On how many topics
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    topics: u64,
    /// Leave the files in this folder, for `broker/bench/analytics.py`
    #[arg(long)]
    keep: Option<PathBuf>,
}

impl TelemetryOptions {
    fn plan(&self) -> telemetry::Plan {
        let Self { records, topics, keep } = self;
        telemetry::Plan { records: *records, topics: *topics, keep: keep.clone() }
    }
}

fn main() -> ExitCode {
    let chore = Cli::parse().chore;
    let done = match &chore {
        Chore::Compare(options) => compare(options, true),
        Chore::Durable(options) => compare_durable(options),
        Chore::Economy(options) => measure_economy(options),
        Chore::Run(options) => compare(options, false),
        Chore::Syscalls(options) => count_syscalls(options),
        Chore::Start(options) => measure_starts(options),
        Chore::Masses(options) => measure_masses(options),
        Chore::Storm(options) => measure_storms(options),
        Chore::Telemetry(options) => telemetry::run(&options.plan()).map(|()| true),
        Chore::Http(options) => http::run(&options.plan()).map(|()| true),
        Chore::List => {
            ALL.iter().chain(&DURABLE).for_each(|name| println!("{name}"));
            println!("each of the first kinds also with another window: p2p-q0-w1000");
            println!("each also over TLS or WebSocket: fan-out-q1-tls, p2p-q0-w1000-ws");
            Ok(true)
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("bench: a broker lost, repeated or reordered messages, see above");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::from(2)
        }
    }
}

fn measure_starts(options: &StartOptions) -> Result<bool, BenchError> {
    let named = options.only.iter().map(|name| Content::parse(name));
    let contents = match options.only.is_empty() {
        true => Content::ALL.to_vec(),
        false => named.collect::<Result<_, _>>()?,
    };
    let StartOptions { messages, sessions, payload: payload_bytes, log, .. } = *options;
    start::run(&start::Plan { contents, messages, sessions, payload_bytes, log })?;
    Ok(true)
}

fn measure_masses(options: &MassesOptions) -> Result<bool, BenchError> {
    let MassesOptions { filters, clients, messages, retained, .. } = *options;
    let first = match &options.broker {
        Some(text) => Source::parse(text, None),
        None => Source::martlet()?,
    };
    let mut sources = Source::forgetful(&first);
    sources.truncate(if options.alone { 1 } else { 2 });
    masses::run(&Plan { filters, clients, messages, retained }, &sources, Cores::choose()?)?;
    Ok(true)
}

fn measure_storms(options: &StormOptions) -> Result<bool, BenchError> {
    let first = match &options.broker {
        Some(text) => Source::parse(text, None),
        None => Source::martlet()?,
    };
    let plan = storm::Plan {
        connections: options.connections as usize,
        together: options.together as usize,
        rounds: options.rounds,
    };
    println!("{}", storm::run(&plan, &[first, Source::mosquitto()], Cores::choose()?)?);
    Ok(true)
}

/// `false`: a delivery was wrong.
fn compare(options: &Options, with_mosquitto: bool) -> Result<bool, BenchError> {
    let scenarios = options.scenarios(&ALL)?;
    let runs = run_all(options, scenarios, &options.sources(with_mosquitto)?)?;
    println!("{}", report::table(runs.iter().filter(|run| !run.unpinned)));
    println!("{}", report::departed(&runs));
    if options.unpinned {
        println!("{}", report::unpinned(&runs));
    }
    Ok(!runs.iter().any(|run| run.faults.any()))
}

fn compare_durable(options: &Options) -> Result<bool, BenchError> {
    let scenarios = options.scenarios(&DURABLE)?;
    let sources = Source::keeping(&options.first()?);
    let runs = run_all(options, scenarios, &sources)?;
    println!("{}", durable::table(&runs, "martlet off"));
    Ok(!runs.iter().any(|run| run.faults.any()))
}

fn measure_economy(options: &Options) -> Result<bool, BenchError> {
    let seconds = match options.seconds {
        _ if options.quick => 2.0,
        Some(seconds) => seconds,
        None => economy::SECONDS.as_secs_f64(),
    };
    println!("{}", journal::journal()?);
    println!("{}", economy::economy(&options.first()?, seconds)?);
    Ok(true)
}

/// Runs all, A B A B.
fn run_all(
    options: &Options,
    mut scenarios: Vec<Scenario>,
    sources: &[Source],
) -> Result<Vec<Run>, BenchError> {
    let mut placements = vec![(false, Cores::choose()?)];
    if options.unpinned {
        placements.push((true, Cores::all()?));
    }
    machine::raise_open_files(&mut scenarios)?;
    let json = options.json.as_ref().map(File::create).transpose();
    let mut json = json.map_err(BenchError::system("creating the file for JSON"))?;
    let mut runs = Vec::new();
    for scenario in &scenarios {
        for round in 1..=options.rounds() {
            for (source, &(unpinned, cores)) in pairs(sources, &placements) {
                let run = match measure::run(source, scenario, options.bounds(), cores) {
                    Err(error @ BenchError::NoWebSocket(_)) => {
                        eprintln!("{} {}: not measured: {error}", scenario.name, source.name());
                        continue;
                    }
                    run => Run { round, unpinned, ..run? },
                };
                let line = serde_json::to_string(&run).expect("numbers and names are JSON");
                progress(&run, options.rounds());
                if let Some(json) = json.as_mut() {
                    writeln!(json, "{line}").map_err(BenchError::system("writing JSON"))?;
                }
                runs.push(run);
            }
        }
    }
    Ok(runs)
}

/// Each of these with each of those.
fn pairs<'a, A, B>(these: &'a [A], those: &'a [B]) -> impl Iterator<Item = (&'a A, &'a B)> {
    these.iter().flat_map(move |this| those.iter().map(move |that| (this, that)))
}

fn count_syscalls(options: &Options) -> Result<bool, BenchError> {
    let cores = Cores::choose()?;
    let mut scenarios = options.scenarios(&ALL)?;
    let sources = options.sources(true)?;
    machine::raise_open_files(&mut scenarios)?;
    let bounds = Bounds { seconds: 10.0, deliveries: 100_000 };
    for scenario in scenarios {
        if matches!(scenario.shape, Shape::Idle { .. }) {
            continue;
        }
        for source in &sources {
            let count = syscalls::count(source, &scenario, bounds, cores)?;
            let most: Vec<String> = count.calls[..count.calls.len().min(5)]
                .iter()
                .map(|(name, calls)| format!("{name} {:.0}", count.per_thousand(*calls)))
                .collect();
            let total = count.per_thousand(count.total());
            let (scenario, broker) = (&scenario.name, source.name());
            println!("{scenario:<16} {broker:<12} {total:>8.0}  ({})", most.join(", "));
        }
    }
    Ok(true)
}

fn progress(run: &Run, rounds: u32) {
    let Run { scenario, broker, round, unpinned, seconds, cpu_s, load_cpu_s, faults, .. } = run;
    let cores = if *unpinned { ", all cores" } else { "" };
    eprintln!(
        "{scenario} {broker} {round}/{rounds}{cores}: {seconds:.1} s, broker {cpu_s:.2} CPU-s, \
         load {load_cpu_s:.2} CPU-s"
    );
    if faults.any() {
        eprintln!("  WRONG: {faults:?}");
    }
}

impl Options {
    /// Those that are asked for, or else these.
    fn scenarios(&self, all: &[&str]) -> Result<Vec<Scenario>, BenchError> {
        let connections = if self.quick { 1_000 } else { self.connections };
        let all: Vec<String> = all.iter().map(|name| (*name).to_owned()).collect();
        let names = if self.only.is_empty() { &all } else { &self.only };
        names.iter().map(|name| Scenario::parse(name, connections)).collect()
    }

    fn sources(&self, with_mosquitto: bool) -> Result<Vec<Source>, BenchError> {
        let mosquitto = with_mosquitto.then(Source::mosquitto);
        Ok([Some(self.first()?), mosquitto].into_iter().flatten().collect())
    }

    fn first(&self) -> Result<Source, BenchError> {
        match &self.broker {
            Some(text) => Ok(Source::parse(text, self.pid)),
            None => Source::martlet(),
        }
    }

    fn bounds(&self) -> Bounds {
        let seconds = if self.quick { 0.5 } else { self.seconds.unwrap_or(5.0) };
        Bounds { seconds, deliveries: self.deliveries }
    }

    fn rounds(&self) -> u32 {
        if self.quick { 1 } else { self.rounds }
    }
}
