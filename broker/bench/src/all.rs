//! Everything that the paper on performance shows of messages and connections, in one go.

use crate::cli::AllOptions;
use crate::durable;
use crate::error::BenchError;
use crate::grid;
use crate::load::Bounds;
use crate::machine::Cores;
use crate::masses;
use crate::measure::Run;
use crate::report;
use crate::scenario::Scenario;
use crate::storm;
use crate::subject::Source;
use crate::turns::{self, Journal, Turns};

/// Other windows, fixed rates, TLS, WebSocket.
const BESIDES: [&str; 11] = [
    "p2p-q0-w1",
    "p2p-q1-w1",
    "p2p-q0-w1000",
    "fan-in-q0-w10",
    "fan-in-q0-w100",
    "rate-q0",
    "rate-q1",
    "rate-q0-r100",
    "p2p-q0-tls",
    "p2p-q1-tls",
    "p2p-q0-ws",
];
const IDLE: [&str; 2] = ["idle", "idle-subscribed"];
/// Sessions that are kept.
const KEPT: [&str; 3] = ["durable-pairs-50x20", "durable-fan-in-50x20", "durable-away-50x20"];
/// Connections of one storm with TLS, and of *idle*.
const STORM_CONNECTIONS: usize = 2_000;
const IDLE_CONNECTIONS: usize = 10_000;
/// How much smaller everything is that is only to be seen to work.
const QUICK: usize = 20;

/// Measures all and prints all tables. `false`: Martlet or mosquitto delivered wrongly.
pub(crate) fn run(options: &AllOptions) -> Result<bool, BenchError> {
    let martlet = match &options.broker {
        Some(text) => Source::parse(text),
        None => Source::martlet()?,
    };
    let sources = sources(options, &martlet)?;
    let few = [martlet.clone(), Source::mosquitto(), Source::floor()?];
    let mut all = Programme { options, journal: Journal::create(options.json.as_deref())? };
    let rounds = all.rounds();
    let messages = all.turns(&grid::columns(), &sources, rounds, false)?;
    let besides = all.turns(&BESIDES, &few, rounds, false)?;
    let idle = all.turns(&IDLE, &few, 1, false)?;
    let unpinned = all.turns(&grid::columns(), &few[..1], rounds, true)?;
    let kept = all.turns(&KEPT, &Source::keeping(&martlet), rounds, false)?;
    let storms = all.storms(&few[..2])?;

    println!("## Messages\n\n{}", grid::costs(&messages));
    println!("{}", grid::times_better(&messages));
    println!("## Other windows, fixed rates, TLS, WebSocket\n\n{}", grid::costs(&besides));
    println!("{}", grid::times_better(&besides));
    println!("```\n{}```\n", report::table(besides.iter().chain(&idle)));
    println!("{}", report::departed(&idle));
    println!("## All cores\n\n{}", report::unpinned(&unpinned));
    println!("## Sessions that are kept\n\n{}", durable::table(&kept, "martlet off"));
    println!("## Storms\n\n{storms}\n## Masses\n");
    all.masses(&martlet)?;
    let ours: Vec<String> = vec![martlet.name(), few[1].name()];
    let mut wrong = messages.iter().chain(&besides).chain(&idle).chain(&unpinned).chain(&kept);
    Ok(!wrong.any(|run| run.faults.any() && is_counted(run, &ours)))
}

/// What a peer loses is said and does not make the program fail.
fn is_counted(run: &Run, ours: &[String]) -> bool {
    ours.iter().any(|name| run.broker.starts_with(name))
}

/// Martlet, mosquitto, the peers that were given or are installed, and the floor.
fn sources(options: &AllOptions, martlet: &Source) -> Result<Vec<Source>, BenchError> {
    let mut sources = options.peers.beside(vec![martlet.clone(), Source::mosquitto()])?;
    if options.peers.peers.is_empty() {
        sources.extend(Source::installed());
    }
    if !options.peers.floor {
        sources.push(Source::floor()?);
    }
    let names: Vec<String> = sources.iter().map(Source::name).collect();
    eprintln!("measured: {}", names.join(", "));
    Ok(sources)
}

struct Programme<'a> {
    options: &'a AllOptions,
    journal: Journal,
}

impl Programme<'_> {
    fn turns(
        &mut self,
        names: &[&str],
        sources: &[Source],
        rounds: u32,
        unpinned: bool,
    ) -> Result<Vec<Run>, BenchError> {
        let connections = self.scaled(IDLE_CONNECTIONS);
        let scenarios = names.iter().map(|name| Scenario::parse(name, connections));
        let seconds = if self.options.quick { 0.2 } else { self.options.seconds };
        let bounds = Bounds { seconds, deliveries: 20_000_000 };
        let turns = Turns { bounds, rounds, unpinned };
        turns::run(turns, scenarios.collect::<Result<_, _>>()?, sources, &mut self.journal)
    }

    fn storms(&self, sources: &[Source]) -> Result<String, BenchError> {
        let connections = self.scaled(STORM_CONNECTIONS);
        let plan = storm::Plan { connections, together: 50, rounds: self.rounds() };
        storm::run(&plan, sources, Cores::choose()?)
    }

    fn masses(&self, martlet: &Source) -> Result<(), BenchError> {
        let plan = masses::Plan {
            filters: self.scaled(1_000_000),
            clients: 100,
            messages: self.scaled(500_000),
            retained: self.scaled(1_000_000),
        };
        masses::run(&plan, &Source::forgetful(martlet), Cores::choose()?)
    }

    const fn rounds(&self) -> u32 {
        if self.options.quick { 1 } else { self.options.rounds }
    }

    const fn scaled(&self, size: usize) -> usize {
        if self.options.quick { size / QUICK } else { size }
    }
}
