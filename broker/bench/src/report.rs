//! Results: a line of JSON for each run, and one table of medians.

use std::fmt::Write as _;

use crate::measure::{Figures, Run};

/// One broker's medians in one scenario.
struct Median {
    broker: String,
    /// Messages per second, or connections per second.
    rate: f64,
    /// Messages per CPU second of the broker, or connections per CPU second.
    per_cpu_s: f64,
    /// Microseconds, or nothing.
    latency_us: Option<(f64, f64)>,
    /// KiB in all, or bytes per connection.
    memory: f64,
    /// Seconds of CPU per million messages or connections.
    cpu_s_per_million: f64,
    /// For each message, how often a thread was woken.
    wakes: f64,
}

/// The table of all runs: one row for each scenario and broker, in the order of `runs`; the last
/// column is the broker's work per CPU second against mosquitto's, or else the last broker's.
pub(crate) fn table<'a>(runs: impl Iterator<Item = &'a Run>) -> String {
    let runs: Vec<&Run> = runs.collect();
    let mut text = format!(
        "{:<16} {:<12} {:>12} {:>13} {:>12} {:>10} {:>10} {:>6} {:>13} {:>7}\n",
        "scenario",
        "broker",
        "per second",
        "per CPU-s",
        "CPU-s per M",
        "p50 us",
        "p99 us",
        "wakes",
        "memory",
        "ratio"
    );
    for scenario in distinct(runs.iter().map(|run| run.scenario.as_str())) {
        let of_scenario: Vec<&Run> =
            runs.iter().copied().filter(|run| run.scenario == scenario).collect();
        let brokers = distinct(of_scenario.iter().map(|run| run.broker.as_str()));
        let medians: Vec<Median> =
            brokers.into_iter().map(|broker| Median::of(broker, &of_scenario)).collect();
        let reference = medians.iter().find(|median| median.broker == "mosquitto");
        let reference = reference.or(medians.last()).map_or(f64::NAN, |median| median.per_cpu_s);
        for median in &medians {
            text.push_str(&row(scenario, median, median.per_cpu_s / reference));
        }
    }
    text
}

fn row(scenario: &str, median: &Median, ratio: f64) -> String {
    let mut text = format!(
        "{scenario:<16} {:<12} {:>12.0} {:>13.0} {:>12.3} ",
        median.broker, median.rate, median.per_cpu_s, median.cpu_s_per_million
    );
    let memory = match median.latency_us {
        Some((p50, p99)) => {
            let _ = write!(text, "{p50:>10.0} {p99:>10.0} {:>6.2}", median.wakes);
            format!("{:.0} KiB", median.memory)
        }
        None => {
            let _ = write!(text, "{:>10} {:>10} {:>6}", "-", "-", "-");
            format!("{:.0} B/conn", median.memory)
        }
    };
    let _ = writeln!(text, " {memory:>13} {ratio:>7.2}");
    text
}

impl Median {
    fn of(broker: &str, runs: &[&Run]) -> Self {
        let runs: Vec<&&Run> = runs.iter().filter(|run| run.broker == broker).collect();
        let of = |figure: &dyn Fn(&Run) -> f64| median(runs.iter().map(|run| figure(run)));
        let messages =
            matches!(runs.first().map(|run| &run.figures), Some(Figures::Messages { .. }));
        Self {
            broker: broker.to_owned(),
            rate: of(&|run| rate(run)),
            per_cpu_s: of(&|run| 1e6 / cpu_s_per_million(run)),
            latency_us: messages.then(|| (of(&|run| latency(run).0), of(&|run| latency(run).1))),
            memory: of(&|run| memory(run)),
            cpu_s_per_million: of(&cpu_s_per_million),
            wakes: of(&wakes),
        }
    }
}

/// What idle connections leave behind, a line for each scenario and broker.
pub(crate) fn departed(runs: &[Run]) -> String {
    let mut text = String::new();
    for (scenario, broker, runs) in groups(runs) {
        let left = runs.iter().filter_map(|run| match run.figures {
            Figures::Idle { connections, rss_bytes_left_per_connection, .. } => {
                Some((connections, rss_bytes_left_per_connection))
            }
            Figures::Messages { .. } => None,
        });
        let left: Vec<(u64, f64)> = left.collect();
        if let Some((connections, _)) = left.first() {
            let bytes = median(left.iter().map(|(_, bytes)| *bytes));
            let _ = writeln!(
                text,
                "{scenario}, {broker}: {bytes:.0} B for each of {connections} connections are left \
                 after they have left"
            );
        }
    }
    text
}

/// Messages or connections a second with all cores for broker and load, to those with one core for
/// each in the same round; and the most that this can be: a table in Markdown.
pub(crate) fn unpinned(runs: &[Run]) -> String {
    let mut text = String::from(
        "| scenario | broker | per second, a core each | all cores | ratio, median | each round | \
         at most |\n|---|---|---|---|---|---|---|\n",
    );
    for (scenario, broker, runs) in groups(runs) {
        let (free, apart): (Vec<&Run>, Vec<&Run>) = runs.iter().partition(|run| run.unpinned);
        let ratios = free.iter().filter_map(|run| {
            let same = apart.iter().find(|other| other.round == run.round)?;
            Some(rate(run) / rate(same))
        });
        let ratios: Vec<f64> = ratios.collect();
        let each: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
        let cores = free.first().map_or(f64::NAN, |run| f64::from(run.cores));
        let bounds = apart.iter().map(|run| gain_max(cores, run.cpu_s, run.load_cpu_s));
        let _ = writeln!(
            text,
            "| {scenario} | {broker} | {:.0} | {:.0} | {:.2} | {} | {:.2} |",
            median(apart.iter().map(|run| rate(run))),
            median(free.iter().map(|run| rate(run))),
            median(ratios.into_iter()),
            each.join(" "),
            median(bounds),
        );
    }
    text
}

/// How many times more messages broker and load can exchange when they share these cores instead of
/// having one each: the work is the same, and the load is one thread.
fn gain_max(cores: f64, broker_cpu_s: f64, load_cpu_s: f64) -> f64 {
    let apart = 1.0 / broker_cpu_s.max(load_cpu_s);
    let shared = (cores / (broker_cpu_s + load_cpu_s)).min(1.0 / load_cpu_s);
    shared / apart
}

/// The runs of each scenario with each broker, in their order.
fn groups(runs: &[Run]) -> Vec<(&str, &str, Vec<&Run>)> {
    let mut found: Vec<(&str, &str, Vec<&Run>)> = Vec::new();
    for run in runs {
        let is_its = |(scenario, broker, _): &&mut (&str, &str, Vec<&Run>)| {
            *scenario == run.scenario && *broker == run.broker
        };
        match found.iter_mut().find(is_its) {
            Some((_, _, runs)) => runs.push(run),
            None => found.push((&run.scenario, &run.broker, vec![run])),
        }
    }
    found
}

fn rate(run: &Run) -> f64 {
    match run.figures {
        Figures::Messages { messages_per_s, .. } => messages_per_s,
        Figures::Idle { connections, .. } => connections as f64 / run.seconds,
    }
}

pub(crate) fn cpu_s_per_million(run: &Run) -> f64 {
    match run.figures {
        Figures::Messages { cpu_s_per_million, .. } => cpu_s_per_million,
        Figures::Idle { cpu_us_per_connection, .. } => cpu_us_per_connection,
    }
}

fn wakes(run: &Run) -> f64 {
    match run.figures {
        Figures::Messages { wakes_per_message, .. } => wakes_per_message,
        Figures::Idle { .. } => f64::NAN,
    }
}

fn latency(run: &Run) -> (f64, f64) {
    match run.figures {
        Figures::Messages { latency_p50_us, latency_p99_us, .. } => {
            (latency_p50_us, latency_p99_us)
        }
        Figures::Idle { .. } => (f64::NAN, f64::NAN),
    }
}

fn memory(run: &Run) -> f64 {
    match run.figures {
        Figures::Messages { .. } => run.rss_peak_kib as f64,
        Figures::Idle { rss_bytes_per_connection, .. } => rss_bytes_per_connection,
    }
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let (below, above) = (values.get((values.len().max(1) - 1) / 2), values.get(values.len() / 2));
    below.zip(above).map_or(f64::NAN, |(below, above)| (below + above) / 2.0)
}

pub(crate) fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut found = Vec::new();
    for name in names {
        if !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{distinct, gain_max, median};

    #[test]
    fn two_cores_bring_less_than_twice_as_much_where_the_load_works_too() {
        assert_eq!(gain_max(2.0, 3.0, 1.0), 1.5);
        assert_eq!(gain_max(2.0, 1.0, 1.0), 1.0);
        assert_eq!(gain_max(8.0, 3.0, 1.0), 3.0, "the load is one thread");
    }

    #[test]
    fn a_median_is_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
        assert!(median([].into_iter()).is_nan());
    }

    #[test]
    fn names_keep_their_order() {
        assert_eq!(distinct(["b", "a", "b"].into_iter()), ["b", "a"]);
    }
}
