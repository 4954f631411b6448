//! Scenarios and brokers in turns, A B A B, so that what else the machine does hits them alike.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use crate::clock::now_ns;
use crate::error::BenchError;
use crate::load::Bounds;
use crate::machine::{self, Cores};
use crate::measure::{self, Run};
use crate::scenario::Scenario;
use crate::subject::Source;

/// How each is run.
#[derive(Clone, Copy)]
pub(crate) struct Turns {
    pub(crate) bounds: Bounds,
    pub(crate) rounds: u32,
    /// Whether each runs also with all cores for broker and load.
    pub(crate) unpinned: bool,
}

/// Where results are written as they come, a line of JSON for each run.
pub(crate) struct Journal(Option<File>);

impl Journal {
    pub(crate) fn create(path: Option<&Path>) -> Result<Self, BenchError> {
        let file = path.map(File::create).transpose();
        Ok(Self(file.map_err(BenchError::system("creating the file for JSON"))?))
    }

    fn write(&mut self, run: &Run) -> Result<(), BenchError> {
        let Some(file) = &mut self.0 else { return Ok(()) };
        let line = serde_json::to_string(run).expect("numbers and names are JSON");
        writeln!(file, "{line}").map_err(BenchError::system("writing JSON"))
    }
}

/// Runs all. What cannot be measured with one of the brokers is said and left out.
pub(crate) fn run(
    turns: Turns,
    mut scenarios: Vec<Scenario>,
    sources: &[Source],
    journal: &mut Journal,
) -> Result<Vec<Run>, BenchError> {
    let mut placements = vec![(false, Cores::choose()?)];
    if turns.unpinned {
        placements.push((true, Cores::all()?));
    }
    machine::raise_open_files(&mut scenarios)?;
    let mut runs = Vec::new();
    for scenario in &scenarios {
        for round in 1..=turns.rounds {
            for (source, &(unpinned, cores)) in pairs(sources, &placements) {
                let run = match measure::run(source, scenario, turns.bounds, cores) {
                    Err(error) if may_be_left_out(source, &error) => {
                        eprintln!("{} {}: not measured: {error}", scenario.name, source.name());
                        continue;
                    }
                    run => Run { round, unpinned, cores: cores.broker.count(), ..run? },
                };
                progress(&run, turns.rounds);
                journal.write(&run)?;
                runs.push(run);
            }
        }
    }
    Ok(runs)
}

const fn may_be_left_out(source: &Source, error: &BenchError) -> bool {
    source.is_guest() || matches!(error, BenchError::NoWebSocket(_))
}

/// Each of these with each of those.
fn pairs<'a, A, B>(these: &'a [A], those: &'a [B]) -> impl Iterator<Item = (&'a A, &'a B)> {
    these.iter().flat_map(move |this| those.iter().map(move |that| (this, that)))
}

fn progress(run: &Run, rounds: u32) {
    let Run { scenario, broker, round, unpinned, seconds, cpu_s, load_cpu_s, faults, .. } = run;
    let cores = if *unpinned { ", all cores" } else { "" };
    let (minutes, rest) = (now_ns() / 60_000_000_000, now_ns() / 1_000_000_000 % 60);
    eprintln!(
        "{minutes:02}:{rest:02} {scenario} {broker} {round}/{rounds}{cores}: {seconds:.1} s, \
         broker {cpu_s:.2} CPU-s, load {load_cpu_s:.2} CPU-s"
    );
    if faults.any() {
        eprintln!("  WRONG: {faults:?}");
    }
}
