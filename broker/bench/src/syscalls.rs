//! System calls per message, counted by strace, which slows a broker down: a count, not a time.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::clock;
use crate::error::BenchError;
use crate::load::{Bounds, Load};
use crate::machine::{self, Cores};
use crate::scenario::Scenario;
use crate::subject::Source;

/// Calls of a broker while it delivered messages.
#[derive(Debug)]
pub(crate) struct Count {
    pub(crate) delivered: u64,
    /// Name and number, most frequent first.
    pub(crate) calls: Vec<(String, u64)>,
}

impl Count {
    /// Calls per 1,000 messages delivered.
    pub(crate) fn per_thousand(&self, calls: u64) -> f64 {
        calls as f64 * 1000.0 / self.delivered as f64
    }

    pub(crate) fn total(&self) -> u64 {
        self.calls.iter().map(|(_, calls)| calls).sum()
    }
}

/// Runs `scenario` with strace attached to the broker from after the last SUBACK on.
pub(crate) fn count(
    source: &Source,
    scenario: &Scenario,
    bounds: Bounds,
    cores: Cores,
) -> Result<Count, BenchError> {
    let subject = source.start(scenario.transport, cores)?;
    let pid = subject.pid.ok_or_else(|| BenchError::Strace("no process id".to_owned()))?;
    let load = Load::connect(&subject.route, scenario)?;
    let folder = TempDir::new().map_err(BenchError::system("a temporary folder"))?;
    let table = folder.path().join("calls");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-o"]).arg(&table).args(["-p", &pid.to_string()]);
    let strace = Strace::attach(&mut strace)?;
    // It has said that one thread is attached; calls of the others would be missing.
    if !clock::wait_until(|| machine::is_traced(pid))? {
        return Err(BenchError::Strace("not every thread could be attached".to_owned()));
    }
    let outcome = load.run(bounds)?;
    strace.detach()?;
    let table = fs::read_to_string(table).map_err(BenchError::system("reading strace's table"))?;
    Ok(Count { delivered: outcome.delivered, calls: parse(&table) })
}

/// It tells of each thread that begins, and ends where nobody listens.
struct Strace {
    child: Child,
    _stderr: BufReader<ChildStderr>,
}

impl Strace {
    fn attach(command: &mut Command) -> Result<Self, BenchError> {
        let mut child = command.stderr(Stdio::piped()).spawn().map_err(|error| {
            BenchError::Strace(format!("strace: {error} (apt-get install strace)"))
        })?;
        let stderr = child.stderr.take().expect("it is a pipe");
        let mut stderr = BufReader::new(stderr);
        let mut said = String::new();
        while stderr.read_line(&mut said).is_ok_and(|len| len > 0) {
            if said.contains("attached") {
                return Ok(Self { child, _stderr: stderr });
            }
        }
        let _ = child.wait();
        Err(BenchError::Strace(said))
    }

    fn detach(mut self) -> Result<(), BenchError> {
        let ended = self.child.try_wait().map_err(BenchError::system("looking at strace"))?;
        if let Some(status) = ended {
            return Err(BenchError::Strace(format!("it ended before the run: {status}")));
        }
        // SIGINT is ignored by whoever a shell has started in the background, and by its children.
        let signalled = kill_process(Pid::from_child(&self.child), Signal::TERM);
        signalled.map_err(|error| BenchError::Strace(error.to_string()))?;
        self.child.wait().map_err(BenchError::system("waiting for strace"))?;
        Ok(())
    }
}

/// Reads `% time, seconds, usecs/call, calls, [errors,] syscall`.
fn parse(table: &str) -> Vec<(String, u64)> {
    let mut calls: Vec<(String, u64)> = table
        .lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let name = *words.last()?;
            words.first()?.parse::<f64>().ok()?;
            (name != "total").then_some((name.to_owned(), words.get(3)?.parse().ok()?))
        })
        .collect();
    calls.sort_by_key(|(_, calls)| std::cmp::Reverse(*calls));
    calls
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::{Strace, parse};
    use crate::clock;

    #[test]
    fn whoever_counts_may_speak_until_it_is_let_go() {
        let speaks = "echo attached >&2; while echo another thread >&2; do sleep 0.01; done";
        let strace = Strace::attach(Command::new("sh").args(["-c", speaks])).expect("attached");
        clock::rest();
        strace.detach().expect("it counts still");
    }

    #[test]
    fn a_table_of_strace_is_read() {
        let table = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.000600           1       600           write
 40.00    0.000400           1       900       300 read
------ ----------- ----------- --------- --------- ----------------
100.00    0.001000           1      1500       300 total
";
        assert_eq!(parse(table), [("read".to_owned(), 900), ("write".to_owned(), 600)]);
    }
}
