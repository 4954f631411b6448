//! One scenario with one broker, measured.

use serde::Serialize;

use crate::clock;
use crate::error::BenchError;
use crate::idle::Idle;
use crate::load::{Bounds, Load};
use crate::machine::{Cores, CpuTime};
use crate::scenario::{Scenario, Shape};
use crate::subject::{Source, Subject};
use crate::tally::Faults;

/// One line of the results.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Run {
    pub(crate) scenario: String,
    pub(crate) broker: String,
    pub(crate) round: u32,
    /// Whether broker and load had all cores, instead of one each.
    pub(crate) unpinned: bool,
    /// How many cores the broker had.
    pub(crate) cores: u32,
    #[serde(flatten)]
    pub(crate) faults: Faults,
    /// From the first PUBLISH to the last packet; for idle connections, to connect them all.
    pub(crate) seconds: f64,
    /// The broker's CPU time meanwhile: all of it, and the kernel's part.
    pub(crate) cpu_s: f64,
    pub(crate) cpu_system_s: f64,
    /// This program's own.
    pub(crate) load_cpu_s: f64,
    pub(crate) rss_kib: u64,
    pub(crate) rss_peak_kib: u64,
    pub(crate) threads: u64,
    #[serde(flatten)]
    pub(crate) figures: Figures,
}

/// What only one kind of scenario has.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Figures {
    /// Messages.
    Messages {
        published: u64,
        delivered: u64,
        messages_per_s: f64,
        /// Deliveries in one second of the broker's CPU time.
        messages_per_cpu_s: f64,
        /// The same, upside down.
        cpu_s_per_million: f64,
        /// How often a thread of the broker was woken for each.
        wakes_per_message: f64,
        acknowledged_p50_us: f64,
        acknowledged_p99_us: f64,
        latency_p50_us: f64,
        latency_p90_us: f64,
        latency_p99_us: f64,
        latency_p999_us: f64,
    },
    /// Connections that do nothing.
    Idle {
        connections: u64,
        rss_bytes_per_connection: f64,
        /// What the broker still holds of that for each, a second after all have left.
        rss_bytes_left_per_connection: f64,
        cpu_us_per_connection: f64,
    },
}

/// Starts the broker, runs the scenario once, and stops the broker.
pub(crate) fn run(
    source: &Source,
    scenario: &Scenario,
    bounds: Bounds,
    cores: Cores,
) -> Result<Run, BenchError> {
    let subject = source.start(scenario.transport, cores)?;
    let mut run = match scenario.shape {
        Shape::Idle { subscribed } => idle(&subject, scenario, subscribed)?,
        Shape::Pairs | Shape::FanIn | Shape::FanOut => messages(&subject, scenario, bounds)?,
    };
    run.broker = source.name();
    Ok(run)
}

fn messages(subject: &Subject, scenario: &Scenario, bounds: Bounds) -> Result<Run, BenchError> {
    let load = Load::connect(&subject.route, scenario)?;
    let (before, slept) = (Reading::of(subject)?, subject.wakes()?);
    let outcome = load.run(bounds)?;
    let (cpu, load_cpu) = before.until_now(subject)?;
    let wakes = subject.wakes()?.saturating_sub(slept) as f64;
    let delivered = outcome.delivered as f64;
    let delay = |share| outcome.delays.percentile_us(share);
    let figures = Figures::Messages {
        published: outcome.published,
        delivered: outcome.delivered,
        messages_per_s: delivered / outcome.seconds,
        messages_per_cpu_s: delivered / cpu.total_s(),
        cpu_s_per_million: cpu.total_s() * 1e6 / delivered,
        wakes_per_message: wakes / delivered,
        acknowledged_p50_us: outcome.acknowledgements.percentile_us(0.5),
        acknowledged_p99_us: outcome.acknowledgements.percentile_us(0.99),
        latency_p50_us: delay(0.5),
        latency_p90_us: delay(0.9),
        latency_p99_us: delay(0.99),
        latency_p999_us: delay(0.999),
    };
    line(subject, scenario, (outcome.faults, outcome.seconds), (cpu, load_cpu), figures)
}

fn idle(subject: &Subject, scenario: &Scenario, subscribed: bool) -> Result<Run, BenchError> {
    clock::rest();
    let (empty_kib, empty_files) = (subject.footprint()?.own_kib, subject.open_files()?);
    let before = Reading::of(subject)?;
    let mut idle = Idle::connect(&subject.route, scenario, subscribed)?;
    clock::rest();
    let (cpu, load_cpu) = before.until_now(subject)?;
    let connections = scenario.subscribers as f64;
    let grown_for_each = || {
        let grown_kib = subject.footprint()?.own_kib.saturating_sub(empty_kib);
        Ok::<f64, BenchError>(grown_kib as f64 * 1024.0 / connections)
    };
    let rss_bytes_per_connection = grown_for_each()?;
    let seconds = idle.seconds;
    let faults = Faults { lost: idle.count_dead(), ..Faults::default() };
    drop(idle);
    if !clock::wait_until(|| Ok::<_, BenchError>(subject.open_files()? <= empty_files))? {
        return Err(BenchError::Lingering);
    }
    clock::rest();
    let figures = Figures::Idle {
        connections: scenario.subscribers as u64,
        rss_bytes_per_connection,
        rss_bytes_left_per_connection: grown_for_each()?,
        cpu_us_per_connection: cpu.total_s() * 1e6 / connections,
    };
    line(subject, scenario, (faults, seconds), (cpu, load_cpu), figures)
}

fn line(
    subject: &Subject,
    scenario: &Scenario,
    (faults, seconds): (Faults, f64),
    (cpu, load_cpu): (CpuTime, CpuTime),
    figures: Figures,
) -> Result<Run, BenchError> {
    let footprint = subject.footprint()?;
    Ok(Run {
        scenario: scenario.name.clone(),
        broker: String::new(),
        round: 0,
        unpinned: false,
        cores: 1,
        faults,
        seconds,
        cpu_s: cpu.total_s(),
        cpu_system_s: cpu.system_s,
        load_cpu_s: load_cpu.total_s(),
        rss_kib: footprint.rss_kib,
        rss_peak_kib: footprint.rss_peak_kib,
        threads: footprint.threads,
        figures,
    })
}

/// CPU times before a run.
pub(crate) struct Reading {
    broker: CpuTime,
    load: CpuTime,
}

impl Reading {
    pub(crate) fn of(subject: &Subject) -> Result<Self, BenchError> {
        Ok(Self { broker: subject.cpu()?, load: CpuTime::of(std::process::id())? })
    }

    /// The broker's and our own CPU time since.
    pub(crate) fn until_now(&self, subject: &Subject) -> Result<(CpuTime, CpuTime), BenchError> {
        let now = Self::of(subject)?;
        Ok((now.broker.since(self.broker), now.load.since(self.load)))
    }
}
