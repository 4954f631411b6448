//! Many clients that connect at once, as after a broker's restart: what each costs it.

use std::fmt::Write as _;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;

use crate::clock;
use crate::error::BenchError;
use crate::line::{Layer, Line, Route};
use crate::machine::Cores;
use crate::measure::Reading;
use crate::peer;
use crate::report::{distinct, median};
use crate::scenario::Transport;
use crate::subject::{Source, Subject};

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Connections with TLS.
    pub(crate) connections: usize,
    /// How many shake hands together.
    pub(crate) together: usize,
    /// How often each broker has each storm.
    pub(crate) rounds: u32,
}

/// Plain connections for each with TLS: the kernel counts CPU time in hundredths of a second.
const PLAIN_TIMES: usize = 4;

const PLAIN: &str = "TCP";
const FULL: &str = "TLS 1.3, full handshake";
const RESUMED: &str = "TLS 1.3, resumed by ticket";

/// One storm.
struct Storm {
    broker: String,
    kind: &'static str,
    round: u32,
    connections: usize,
    resumed: usize,
    /// The broker's CPU time for each, and ours.
    cpu_us: f64,
    load_cpu_us: f64,
    /// What the broker's memory has grown by for each, while all are connected: little where it
    /// still has the memory of the storm before.
    bytes: f64,
}

/// Runs all, A B A B, and answers a table in Markdown. A client without its CONNACK is an error.
pub(crate) fn run(plan: &Plan, sources: &[Source], cores: Cores) -> Result<String, BenchError> {
    let mut storms = Vec::new();
    for round in 1..=plan.rounds {
        for source in sources {
            for mut storm in storms_of(plan, source, cores)? {
                (storm.round, storm.broker) = (round, source.name());
                eprintln!(
                    "{} {} {round}/{}: {} connected, {:.0} us of CPU each, load {:.0} us",
                    storm.broker,
                    storm.kind,
                    plan.rounds,
                    storm.connections,
                    storm.cpu_us,
                    storm.load_cpu_us
                );
                storms.push(storm);
            }
        }
    }
    Ok(table(&storms))
}

/// The three with one broker. Who has shaken hands in full comes again with the ticket of then.
fn storms_of(plan: &Plan, source: &Source, cores: Cores) -> Result<[Storm; 3], BenchError> {
    let plain = source.start(Transport::Tcp, cores)?;
    let routes = vec![plain.route.clone(); plan.connections * PLAIN_TIMES];
    let plain = storm(PLAIN, plan, &plain, &routes)?;
    let secure = source.start(Transport::Tls, cores)?;
    let routes = vec![secure.route.clone(); plan.connections];
    let routes: Vec<Route> = routes.into_iter().map(with_memory).collect();
    let full = storm(FULL, plan, &secure, &routes)?;
    let resumed = storm(RESUMED, plan, &secure, &routes)?;
    Ok([plain, full, resumed])
}

/// A client of its own, which keeps its own tickets.
fn with_memory(mut route: Route) -> Route {
    if let Layer::Tls(terms) = &mut route.layer {
        let mut own = ClientConfig::clone(terms);
        own.resumption = Resumption::in_memory_sessions(1);
        *terms = Arc::new(own);
    }
    route
}

/// Connects a client by each route, so many together, and lets all go again.
fn storm(
    kind: &'static str,
    plan: &Plan,
    subject: &Subject,
    routes: &[Route],
) -> Result<Storm, BenchError> {
    clock::rest();
    let (empty_kib, empty_files) = (subject.footprint()?.own_kib, subject.open_files()?);
    let before = Reading::of(subject)?;
    let mut lines = Vec::with_capacity(routes.len());
    for (n, wave) in routes.chunks(plan.together).enumerate() {
        lines.extend(connect(n * plan.together, wave)?);
    }
    let (cpu, load_cpu) = before.until_now(subject)?;
    clock::rest();
    let grown_kib = subject.footprint()?.own_kib.saturating_sub(empty_kib);
    let each = |total: f64| total / lines.len() as f64;
    let storm = Storm {
        broker: String::new(),
        kind,
        round: 0,
        connections: lines.len(),
        resumed: lines.iter().filter(|line| line.is_resumed()).count(),
        cpu_us: each(cpu.total_s() * 1e6),
        load_cpu_us: each(load_cpu.total_s() * 1e6),
        bytes: each(grown_kib as f64 * 1024.0),
    };
    drop(lines);
    if clock::wait_until(|| Ok::<_, BenchError>(subject.open_files()? <= empty_files))? {
        Ok(storm)
    } else {
        Err(BenchError::Lingering)
    }
}

/// Connects these together: each step of all of them before the next one.
fn connect(first: usize, routes: &[Route]) -> Result<Vec<Line>, BenchError> {
    let mut lines = Vec::with_capacity(routes.len());
    for (n, route) in routes.iter().enumerate() {
        let mut line = Line::open(route, first + n)?;
        line.start()?;
        lines.push(line);
    }
    for (n, line) in lines.iter_mut().enumerate() {
        peer::send_connect(line, first + n, true, None)?;
    }
    for line in &mut lines {
        peer::await_answers(line, 1)?;
    }
    Ok(lines)
}

/// Medians; the ratios are those of the last broker's CPU time to this one's, round by round.
fn table(storms: &[Storm]) -> String {
    let mut text = String::from(
        "| connection | broker | in a CPU-s | CPU us each | load's CPU us | resumed | bytes each | \
         ratio, median | each round |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    let brokers = distinct(storms.iter().map(|storm| storm.broker.as_str()));
    for kind in [PLAIN, FULL, RESUMED] {
        let of = |broker: &str| -> Vec<&Storm> {
            storms.iter().filter(|storm| storm.kind == kind && storm.broker == broker).collect()
        };
        let last = brokers.last().map(|broker| of(broker)).unwrap_or_default();
        for broker in &brokers {
            let ours = of(broker);
            let median_of = |figure: &dyn Fn(&Storm) -> f64| median(ours.iter().map(|s| figure(s)));
            let ratios = ours.iter().zip(&last).map(|(ours, last)| last.cpu_us / ours.cpu_us);
            let ratios: Vec<f64> = ratios.collect();
            let each: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
            let _ = writeln!(
                text,
                "| {kind} | {broker} | {:.0} | {:.0} | {:.0} | {} of {} | {:.0} | {:.2} | {} |",
                median_of(&|storm| 1e6 / storm.cpu_us),
                median_of(&|storm| storm.cpu_us),
                median_of(&|storm| storm.load_cpu_us),
                ours.iter().map(|storm| storm.resumed).sum::<usize>(),
                ours.iter().map(|storm| storm.connections).sum::<usize>(),
                median_of(&|storm| storm.bytes),
                median(ratios.into_iter()),
                each.join(" "),
            );
        }
    }
    text
}
