//! `bench`: what a message, and a connection, cost a broker.
//!
//! One thread plays all clients ([`load`], [`idle`]) on one core; the broker has another core to
//! itself ([`subject`], [`machine`]). Every message carries its number ([`wire`]), so that losses,
//! duplicates and disorder are counted exactly ([`tally`]). Two brokers are measured in turns, A B
//! A B, and compared by medians ([`report`]). `docs/performance.md` tells what the figures mean.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints results")]

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Chore, Cli, MassesOptions, Options, StartOptions, StormOptions};
use crate::error::BenchError;
use crate::load::Bounds;
use crate::machine::Cores;
use crate::masses::Plan;
use crate::measure::Run;
use crate::scenario::{ALL, DURABLE, Scenario, Shape};
use crate::start::Content;
use crate::subject::Source;
use crate::turns::Journal;

mod all;
mod certificate;
mod cli;
mod clock;
mod disturb;
mod durable;
mod economy;
mod error;
mod floor;
mod grid;
mod http;
mod idle;
mod instructions;
mod journal;
mod line;
mod load;
mod machine;
mod masses;
mod measure;
mod peer;
mod report;
mod rival;
mod scenario;
mod start;
mod storm;
mod subject;
mod syscalls;
mod tally;
mod telemetry;
mod turns;
mod wire;

fn main() -> ExitCode {
    let chore = Cli::parse().chore;
    let done = match &chore {
        Chore::All(options) => all::run(options),
        Chore::Compare(options) => options.sources().and_then(|those| compare(options, &those)),
        Chore::Floor(options) => floor::serve(options.port).map(|()| true),
        Chore::Durable(options) => compare_durable(options),
        Chore::Economy(options) => measure_economy(options),
        Chore::Instructions(options) => instructions::run(options.accept),
        Chore::Fixed(options) => {
            instructions::repeat(&options.input, options.times);
            Ok(true)
        }
        Chore::Run(options) => options.first().and_then(|one| compare(options, &[one])),
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
            eprintln!("bench: something was not as it must be, see above");
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
        Some(text) => Source::parse(text),
        None => Source::martlet()?,
    };
    let mut sources = Source::forgetful(&first);
    sources.truncate(if options.alone { 1 } else { 2 });
    masses::run(&Plan { filters, clients, messages, retained }, &sources, Cores::choose()?)?;
    Ok(true)
}

fn measure_storms(options: &StormOptions) -> Result<bool, BenchError> {
    let first = match &options.broker {
        Some(text) => Source::parse(text),
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
fn compare(options: &Options, sources: &[Source]) -> Result<bool, BenchError> {
    let runs = in_turns(options, options.scenarios(&ALL)?, sources)?;
    println!("{}", report::table(runs.iter().filter(|run| !run.unpinned)));
    println!("{}", report::departed(&runs));
    println!("{}", grid::costs(&runs));
    println!("{}", grid::times_better(&runs));
    if options.unpinned {
        println!("{}", report::unpinned(&runs));
    }
    Ok(!any_wrong(&runs, sources))
}

fn compare_durable(options: &Options) -> Result<bool, BenchError> {
    let sources = Source::keeping(&options.first()?);
    let runs = in_turns(options, options.scenarios(&DURABLE)?, &sources)?;
    println!("{}", durable::table(&runs, "martlet off"));
    Ok(!any_wrong(&runs, &sources))
}

fn in_turns(
    options: &Options,
    scenarios: Vec<Scenario>,
    sources: &[Source],
) -> Result<Vec<Run>, BenchError> {
    let mut journal = Journal::create(options.json.as_deref())?;
    turns::run(options.turns(), scenarios, sources, &mut journal)
}

/// Whether a broker that must not has lost, repeated or reordered something.
fn any_wrong(runs: &[Run], sources: &[Source]) -> bool {
    let guests = sources.iter().filter(|source| source.is_guest());
    let guests: Vec<String> = guests.map(Source::name).collect();
    runs.iter().any(|run| run.faults.any() && !guests.contains(&run.broker))
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

fn count_syscalls(options: &Options) -> Result<bool, BenchError> {
    let cores = Cores::choose()?;
    let mut scenarios = options.scenarios(&ALL)?;
    let sources = options.sources()?;
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
