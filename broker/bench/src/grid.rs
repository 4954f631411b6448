//! What a message costs each broker, as tables in Markdown.

use std::fmt::Write as _;

use crate::measure::{Figures, Run};
use crate::report::{cpu_s_per_million, distinct, median};

/// Columns of one table.
const COLUMNS_MAX: usize = 9;
/// Whom the first broker is compared with, and what no broker can be below.
const REFERENCE: &str = "mosquitto";
const FLOOR: &str = "floor";

/// How many times less CPU time than Debian's mosquitto a message shall cost Martlet.
const GOALS: [(&str, f64); 9] = [
    ("p2p-q0", 16.0),
    ("fan-in-q0", 14.0),
    ("fan-out-q0", 14.0),
    ("p2p-q1", 11.0),
    ("fan-in-q1", 13.0),
    ("fan-out-q1", 10.0),
    ("p2p-q2", 12.0),
    ("fan-in-q2", 23.0),
    ("fan-out-q2", 12.0),
];

/// The scenarios of the table of messages, in its order.
pub(crate) fn columns() -> Vec<&'static str> {
    GOALS.iter().map(|(scenario, _)| *scenario).collect()
}

/// Broker CPU-seconds per million messages: a row for each broker, a column for each scenario; the
/// lowest in bold, but for the floor.
pub(crate) fn costs(runs: &[Run]) -> String {
    let runs: Vec<&Run> = runs.iter().filter(|run| is_message(run)).collect();
    let brokers = distinct(runs.iter().map(|run| run.broker.as_str()));
    let scenarios = distinct(runs.iter().map(|run| run.scenario.as_str()));
    let mut text = String::new();
    for scenarios in scenarios.chunks(COLUMNS_MAX) {
        let _ = writeln!(text, "| CPU-s per million | {} |", scenarios.join(" | "));
        let _ = writeln!(text, "|---|{}", "---|".repeat(scenarios.len()));
        for &broker in &brokers {
            let cells = scenarios.iter().map(|scenario| {
                let ours = cost(&runs, broker, scenario);
                let others = brokers.iter().filter(|&&other| other != broker && other != FLOOR);
                let mut others = others.map(|other| cost(&runs, other, scenario));
                let is_lowest = broker != FLOOR && others.all(|cost| cost.is_nan() || ours < cost);
                cell(ours, is_lowest)
            });
            let cells: Vec<String> = cells.collect();
            let _ = writeln!(text, "| {broker} | {} |", cells.join(" | "));
        }
        text.push('\n');
    }
    text
}

/// How many times more CPU time mosquitto took than the first broker, round by round; the goal, and
/// how many times more than the floor the first broker took.
pub(crate) fn times_better(runs: &[Run]) -> String {
    let runs: Vec<&Run> = runs.iter().filter(|run| !run.unpinned).collect();
    let Some(first) = runs.first().map(|run| run.broker.as_str()) else { return String::new() };
    if first == REFERENCE || !runs.iter().any(|run| run.broker == REFERENCE) {
        return String::new();
    }
    let mut text = format!(
        "| scenario | {REFERENCE} to {first}, median | each round | goal | {first} to {FLOOR} |\n\
         |---|---|---|---|---|\n"
    );
    for scenario in distinct(runs.iter().map(|run| run.scenario.as_str())) {
        let ratios = ratios(&runs, scenario, REFERENCE, first);
        let each: Vec<String> = ratios.iter().copied().map(ratio).collect();
        let goal = GOALS.iter().find(|(name, _)| *name == scenario);
        let goal = goal.map_or(String::new(), |(_, goal)| format!("{goal:.0}"));
        let above = median(self::ratios(&runs, scenario, first, FLOOR).into_iter());
        let _ = writeln!(
            text,
            "| {scenario} | {} | {} | {goal} | {} |",
            ratio(median(ratios.iter().copied())),
            each.join(" "),
            ratio(above),
        );
    }
    text
}

/// The cost of one broker to that of another, in each round that has both.
fn ratios(runs: &[&Run], scenario: &str, of: &str, to: &str) -> Vec<f64> {
    let cost_in = |broker: &str, round: u32| {
        let mut runs = runs.iter().filter(|run| run.scenario == scenario && run.round == round);
        runs.find(|run| run.broker == broker).map(|run| cpu_s_per_million(run))
    };
    let rounds = runs.iter().map(|run| run.round).max().unwrap_or(0);
    (1..=rounds).filter_map(|round| Some(cost_in(of, round)? / cost_in(to, round)?)).collect()
}

/// A short run may have taken no time that the kernel counted.
fn ratio(ratio: f64) -> String {
    if ratio.is_finite() { format!("{ratio:.1}") } else { "-".to_owned() }
}

fn cost(runs: &[&Run], broker: &str, scenario: &str) -> f64 {
    let ours = runs.iter().filter(|run| run.broker == broker && run.scenario == scenario);
    median(ours.map(|run| cpu_s_per_million(run)))
}

fn cell(cost: f64, is_lowest: bool) -> String {
    let digits = match cost {
        cost if cost >= 10.0 => 1,
        cost if cost >= 1.0 => 2,
        _ => 3,
    };
    match (cost.is_nan(), is_lowest) {
        (true, _) => "-".to_owned(),
        (false, true) => format!("**{cost:.digits$}**"),
        (false, false) => format!("{cost:.digits$}"),
    }
}

const fn is_message(run: &Run) -> bool {
    !run.unpinned && matches!(run.figures, Figures::Messages { .. })
}

#[cfg(test)]
mod tests {
    use super::{cell, columns};
    use crate::scenario::Scenario;

    #[test]
    fn every_goal_is_of_a_scenario() {
        for name in columns() {
            assert_eq!(Scenario::parse(name, 10).unwrap().name, name);
        }
    }

    #[test]
    fn a_cell_has_about_three_digits() {
        let cells = [(0.1234, true), (1.234, false), (12.34, false), (f64::NAN, true)];
        let cells = cells.map(|(cost, is_lowest)| cell(cost, is_lowest));
        assert_eq!(cells, ["**0.123**", "1.23", "12.3", "-"]);
    }
}
