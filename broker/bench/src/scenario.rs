//! What is measured: who sends to whom, how often, at which QoS.

use martlet_codec::reason::QoS;

use crate::error::BenchError;

/// PUBLISHes of one publisher that the broker has not acknowledged: mosquitto's own default window
/// towards its clients.
const IN_FLIGHT: usize = 20;

/// Who talks to whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shape {
    /// Publisher n to subscriber n, each pair with a topic of its own.
    Pairs,
    /// All publishers, each on its topic, to one subscriber with a `+`.
    FanIn,
    /// One publisher to all subscribers, on one topic.
    FanOut,
    /// Connections that do nothing, with or without a subscription.
    Idle {
        /// Whether each subscribes to a topic of its own.
        subscribed: bool,
    },
}

/// What becomes of subscribers' sessions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sessions {
    /// Clean Session 1.
    Clean,
    /// Clean Session 0, connected.
    Kept,
    /// Clean Session 0, and connected only once everything is acknowledged to the publishers: it
    /// all queues.
    Away,
}

/// What carries MQTT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Transport {
    /// TCP alone.
    Tcp,
    /// TLS 1.3, the server with a certificate on ECDSA P-256, the client with none.
    Tls,
    /// WebSocket.
    WebSocket,
}

/// One thing to measure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) shape: Shape,
    pub(crate) transport: Transport,
    pub(crate) qos: QoS,
    pub(crate) sessions: Sessions,
    pub(crate) publishers: usize,
    pub(crate) subscribers: usize,
    /// Messages of one publisher that some subscriber of theirs has not received yet, at most:
    /// small enough that no broker's bound on queues is ever reached, whatever the QoS.
    pub(crate) window: usize,
    /// PUBLISHes of one publisher that are not acknowledged yet, at most.
    pub(crate) in_flight: usize,
    /// Messages a second of all publishers together, whatever the broker does with them; `None`:
    /// as many as the two bounds above allow.
    pub(crate) rate: Option<u64>,
}

/// The names of what `bench durable` runs: sessions that are kept, publishers x PUBLISHes of each
/// that are not acknowledged.
pub(crate) const DURABLE: [&str; 7] = [
    "durable-pairs-50x20",
    "durable-pairs-100x1",
    "durable-pairs-10x1",
    "durable-fan-in-50x20",
    "durable-fan-in-10x1",
    "durable-away-50x20",
    "durable-away-10x1",
];

/// Messages a second, if a name says no other rate.
const RATE: u64 = 10_000;

/// The names that run when none is asked for.
pub(crate) const ALL: [&str; 19] = [
    "p2p-q0",
    "p2p-q1",
    "p2p-q2",
    "p2p-q0-w1",
    "p2p-q1-w1",
    "p2p-q0-tls",
    "p2p-q1-tls",
    "p2p-q0-ws",
    "fan-in-q0",
    "fan-in-q1",
    "fan-in-q2",
    "fan-out-q0",
    "fan-out-q1",
    "fan-out-q2",
    "rate-q0",
    "rate-q1",
    "rate-q0-r100",
    "idle",
    "idle-subscribed",
];

impl Transport {
    /// What a scenario's name ends with, and the rest of the name.
    fn split(name: &str) -> (&str, Self) {
        let secure = name.strip_suffix("-tls").map(|rest| (rest, Self::Tls));
        let framed = || name.strip_suffix("-ws").map(|rest| (rest, Self::WebSocket));
        secure.or_else(framed).unwrap_or((name, Self::Tcp))
    }
}

impl Scenario {
    /// `p2p`, `fan-in` or `fan-out`, then `-q0`, `-q1` or `-q2`, then perhaps `-w` and a window;
    /// `rate`, then the same, then perhaps `-r` and messages a second; or `idle`, or
    /// `idle-subscribed`. Behind each of them perhaps `-tls` or `-ws`.
    pub(crate) fn parse(name: &str, connections: usize) -> Result<Self, BenchError> {
        let (rest, transport) = Transport::split(name);
        let unknown = |_| BenchError::Scenario(name.to_owned());
        let scenario = Self::over_tcp(rest, connections).map_err(unknown)?;
        Ok(Self { name: name.to_owned(), transport, ..scenario })
    }

    fn over_tcp(name: &str, connections: usize) -> Result<Self, BenchError> {
        let unknown = || BenchError::Scenario(name.to_owned());
        if let Some(rest) = name.strip_prefix("idle") {
            let subscribed = match rest {
                "" => false,
                "-subscribed" => true,
                _ => return Err(unknown()),
            };
            return Ok(Self::idle(name, subscribed, connections));
        }
        if let Some(rest) = name.strip_prefix("durable-") {
            return Self::durable(name, rest).ok_or_else(unknown);
        }
        if let Some(rest) = name.strip_prefix("rate-") {
            return Self::at_a_rate(name, rest).ok_or_else(unknown);
        }
        let (rest, window) = match name.rsplit_once("-w") {
            Some((rest, window)) => (rest, Some(window.parse().map_err(|_| unknown())?)),
            None => (name, None),
        };
        let (shape, qos) = rest.rsplit_once("-q").ok_or_else(unknown)?;
        let qos = qos.parse().ok().and_then(QoS::new).ok_or_else(unknown)?;
        let (shape, publishers, subscribers, default_window) = match shape {
            "p2p" => (Shape::Pairs, 10, 10, 100),
            "fan-in" => (Shape::FanIn, 50, 1, if qos == QoS::AtMostOnce { 20 } else { 1000 }),
            "fan-out" => (Shape::FanOut, 1, 1000, 20),
            _ => return Err(unknown()),
        };
        let window = window.unwrap_or(default_window).max(1);
        let in_flight = if qos == QoS::AtMostOnce { usize::MAX } else { IN_FLIGHT };
        let name = name.to_owned();
        let sessions = Sessions::Clean;
        Ok(Self {
            name,
            shape,
            transport: Transport::Tcp,
            qos,
            sessions,
            publishers,
            subscribers,
            window,
            in_flight,
            rate: None,
        })
    }

    /// As `p2p`, but no publisher waits for anything.
    fn at_a_rate(name: &str, rest: &str) -> Option<Self> {
        let (qos, rate) = match rest.split_once("-r") {
            Some((qos, rate)) => (qos, rate.parse().ok().filter(|rate| *rate > 0)?),
            None => (rest, RATE),
        };
        let pairs = Self::over_tcp(&format!("p2p-{qos}"), 0).ok()?;
        let (name, rate, unbounded) = (name.to_owned(), Some(rate), usize::MAX);
        Some(Self { name, rate, window: unbounded, in_flight: unbounded, ..pairs })
    }

    /// `pairs`, `fan-in` or `away`, then `-`, publishers, `x`, and PUBLISHes in flight of each, at
    /// QoS 1.
    fn durable(name: &str, rest: &str) -> Option<Self> {
        let (shape, load) = rest.rsplit_once('-')?;
        let (publishers, in_flight) = load.split_once('x')?;
        let (publishers, in_flight) = (publishers.parse().ok()?, in_flight.parse().ok()?);
        let (shape, sessions) = match shape {
            "pairs" => (Shape::Pairs, Sessions::Kept),
            "fan-in" => (Shape::FanIn, Sessions::Kept),
            "away" => (Shape::FanIn, Sessions::Away),
            _ => return None,
        };
        Some(Self {
            name: name.to_owned(),
            shape,
            transport: Transport::Tcp,
            qos: QoS::AtLeastOnce,
            sessions,
            publishers,
            subscribers: if shape == Shape::Pairs { publishers } else { 1 },
            window: if sessions == Sessions::Away { usize::MAX } else { in_flight },
            in_flight,
            rate: None,
        })
    }

    /// Which subscribers get what publisher `n` sends: how many.
    pub(crate) fn receivers(&self) -> usize {
        if self.shape == Shape::FanOut { self.subscribers } else { 1 }
    }

    /// Where publisher `n` publishes.
    pub(crate) fn topic(&self, n: usize) -> String {
        match self.shape {
            Shape::Idle { .. } => format!("devices/{n:05}/commands"),
            Shape::Pairs | Shape::FanIn | Shape::FanOut => format!("bench/{n:03}/temperature"),
        }
    }

    /// What subscriber `n` subscribes to.
    pub(crate) fn filter(&self, n: usize) -> String {
        match self.shape {
            Shape::Pairs | Shape::Idle { .. } => self.topic(n),
            Shape::FanIn => "bench/+/temperature".to_owned(),
            Shape::FanOut => self.topic(0),
        }
    }

    /// The next message that subscriber `n` may expect of publisher `from`.
    pub(crate) fn hears(&self, n: usize, from: usize) -> bool {
        from < self.publishers && (self.shape != Shape::Pairs || n == from)
    }

    fn idle(name: &str, subscribed: bool, connections: usize) -> Self {
        Self {
            name: name.to_owned(),
            shape: Shape::Idle { subscribed },
            transport: Transport::Tcp,
            qos: QoS::AtMostOnce,
            sessions: Sessions::Clean,
            publishers: 0,
            subscribers: connections,
            window: 1,
            in_flight: 1,
            rate: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use martlet_codec::reason::QoS;

    use super::{ALL, DURABLE, Scenario, Sessions, Shape, Transport};

    #[test]
    fn every_listed_name_is_a_scenario() {
        for name in ALL.into_iter().chain(DURABLE) {
            assert_eq!(Scenario::parse(name, 10).unwrap().name, name);
        }
    }

    #[test]
    fn a_name_says_shape_qos_and_window() {
        let scenario = Scenario::parse("fan-out-q2-w7", 10).unwrap();
        assert_eq!(
            (scenario.shape, scenario.qos, scenario.window),
            (Shape::FanOut, QoS::ExactlyOnce, 7)
        );
        let scenario = Scenario::parse("durable-away-5x7", 10).unwrap();
        assert_eq!(
            (scenario.sessions, scenario.publishers, scenario.in_flight),
            (Sessions::Away, 5, 7)
        );
        for (name, transport, window) in [
            ("p2p-q0", Transport::Tcp, 100),
            ("p2p-q0-w7-tls", Transport::Tls, 7),
            ("p2p-q0-ws", Transport::WebSocket, 100),
        ] {
            let scenario = Scenario::parse(name, 10).unwrap();
            assert_eq!((scenario.transport, scenario.window), (transport, window), "{name}");
        }
        for wrong in ["-tls", "tls", "p2p-tls", "p2p-q0-tls-ws", "p2p-q0-tls-w7", "p2p-q0-wss"] {
            assert!(Scenario::parse(wrong, 10).is_err(), "{wrong}");
        }
        for wrong in ["durable", "durable-", "durable-pairs", "durable-star-5x7", "durable-away-5"]
        {
            assert!(Scenario::parse(wrong, 10).is_err(), "{wrong}");
        }
        let scenario = Scenario::parse("rate-q1-r7", 10).unwrap();
        assert_eq!((scenario.rate, scenario.qos), (Some(7), QoS::AtLeastOnce));
        for wrong in ["rate", "rate-q3", "rate-q0-r", "rate-q0-r0", "rate-q0-w7-r7x"] {
            assert!(Scenario::parse(wrong, 10).is_err(), "{wrong}");
        }
        for wrong in ["", "p2p", "p2p-q3", "p2p-q", "idle-", "star-q0", "p2p-q0-w", "p2p-q0-wx"] {
            assert!(Scenario::parse(wrong, 10).is_err(), "{wrong}");
        }
    }
}
