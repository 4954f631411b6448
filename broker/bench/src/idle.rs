//! Connections that do nothing.

use crate::clock::now_ns;
use crate::error::BenchError;
use crate::line::{Line, Route};
use crate::peer;
use crate::scenario::Scenario;
use crate::wire;

/// Clients that have connected, perhaps subscribed, and fallen silent.
pub(crate) struct Idle {
    lines: Vec<Line>,
    /// How long it took to connect all, one after the other.
    pub(crate) seconds: f64,
}

impl Idle {
    /// Connects all, each with a subscription of its own if `subscribed`.
    pub(crate) fn connect(
        route: &Route,
        scenario: &Scenario,
        subscribed: bool,
    ) -> Result<Self, BenchError> {
        let start_ns = now_ns();
        let mut lines = Vec::with_capacity(scenario.subscribers);
        for n in 0..scenario.subscribers {
            let subscribe = wire::subscribe(&scenario.filter(n), scenario.qos);
            lines.push(Line::connect(route, n, true, subscribed.then_some(&subscribe[..]))?);
        }
        Ok(Self { lines, seconds: (now_ns() - start_ns) as f64 / 1e9 })
    }

    /// Asks each for a sign of life, and says how many did not give it.
    pub(crate) fn count_dead(&mut self) -> u64 {
        self.lines.iter_mut().map(|line| u64::from(peer::ping(line).is_err())).sum()
    }
}
