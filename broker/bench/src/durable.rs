//! Sessions that are kept: how firmly, and what that costs.

use std::fmt::Write as _;

use crate::measure::{Figures, Run};
use crate::report::{distinct, median};

/// One broker's medians in one scenario.
struct Row<'a> {
    broker: &'a str,
    per_s: f64,
    per_cpu_s: f64,
    /// From PUBLISH to PUBACK.
    p50_ms: f64,
    p99_ms: f64,
    acknowledged: u64,
    delivered: u64,
    /// Of each round against the round's `reference`.
    ratios: Vec<f64>,
}

/// The table in Markdown: rates beside those of `reference` in the same round.
pub(crate) fn table(runs: &[Run], reference: &str) -> String {
    let mut text = String::from(
        "| scenario | broker | acknowledged/s | per CPU-s | PUBACK p50 ms | p99 ms | \
         acknowledged | delivered | to `off`, median | each round |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    for scenario in distinct(runs.iter().map(|run| run.scenario.as_str())) {
        let of_scenario: Vec<&Run> = runs.iter().filter(|run| run.scenario == scenario).collect();
        for broker in distinct(of_scenario.iter().map(|run| run.broker.as_str())) {
            let row = Row::of(broker, reference, &of_scenario);
            let each: Vec<String> = row.ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
            let _ = writeln!(
                text,
                "| {scenario} | {} | {:.0} | {:.0} | {:.2} | {:.2} | {} | {} | {:.2} | {} |",
                row.broker,
                row.per_s,
                row.per_cpu_s,
                row.p50_ms,
                row.p99_ms,
                row.acknowledged,
                row.delivered,
                median(row.ratios.iter().copied()),
                each.join(" "),
            );
        }
    }
    text
}

impl<'a> Row<'a> {
    fn of(broker: &'a str, reference: &str, runs: &[&Run]) -> Self {
        let ours: Vec<&&Run> = runs.iter().filter(|run| run.broker == broker).collect();
        let of = |figure: &dyn Fn(&Run) -> f64| median(ours.iter().map(|run| figure(run)));
        let same_round = |round| {
            let mut others = runs.iter().filter(|run| run.broker == reference);
            others.find(|run| run.round == round).map_or(f64::NAN, |run| per_s(run))
        };
        Self {
            broker,
            per_s: of(&per_s),
            per_cpu_s: of(&|run| per_s(run) * run.seconds / run.cpu_s),
            p50_ms: of(&|run| acknowledged_us(run).0) / 1000.0,
            p99_ms: of(&|run| acknowledged_us(run).1) / 1000.0,
            acknowledged: ours.iter().map(|run| messages(run).0).sum(),
            delivered: ours.iter().map(|run| messages(run).1).sum(),
            ratios: ours.iter().map(|run| per_s(run) / same_round(run.round)).collect(),
        }
    }
}

fn per_s(run: &Run) -> f64 {
    messages(run).0 as f64 / run.seconds
}

/// Acknowledged and delivered. A run ends when all that was published is acknowledged; what is not
/// has been counted as a fault.
fn messages(run: &Run) -> (u64, u64) {
    match run.figures {
        Figures::Messages { published, delivered, .. } => (published, delivered),
        Figures::Idle { .. } => (0, 0),
    }
}

fn acknowledged_us(run: &Run) -> (f64, f64) {
    match run.figures {
        Figures::Messages { acknowledged_p50_us, acknowledged_p99_us, .. } => {
            (acknowledged_p50_us, acknowledged_p99_us)
        }
        Figures::Idle { .. } => (f64::NAN, f64::NAN),
    }
}
