//! The broker that is measured: a child on a core of its own, or one that runs already.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use mosquitto_compat_tests::broker::{Broker, BrokerError, Kind, mosquitto_binary};
use mosquitto_compat_tests::martlet;

use crate::certificate::Certificate;
use crate::error::BenchError;
use crate::line::{Layer, Line, Route};
use crate::machine::{self, Cores, CpuTime, Footprint};
use crate::rival::{Rival, Running};
use crate::scenario::Transport;

/// With its default of 1,000, mosquitto 2.0.11 drops messages at QoS 1 and 2 while it holds fewer.
const MOSQUITTO_CONFIG: &str = "max_queued_messages 0\n";

/// The same: what publishers have sent may all wait for one subscriber.
const MARTLET_UNBOUNDED: &str = "[limits]\nqueue_messages_max = 0\nqueue_bytes_max = 0\n";

/// Where a broker comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    /// A program to start, with its defaults, on a free loopback port.
    Program {
        /// Which command line it takes.
        kind: Kind,
        /// Its path.
        path: PathBuf,
        /// Its name in tables.
        label: String,
        /// What its configuration says.
        config: String,
    },
    /// Any other program to start, on a free loopback port.
    Rival {
        /// Its name in tables.
        label: String,
        /// How it is started.
        rival: Rival,
    },
    /// One that listens already.
    Running {
        /// Its name in tables.
        label: String,
        /// Where.
        address: SocketAddr,
        /// Its process, when it is on this machine: without it, no CPU time and no memory.
        pid: Option<u32>,
    },
}

impl Source {
    /// The Martlet of these sources, built for release.
    pub(crate) fn martlet() -> Result<Self, BenchError> {
        eprintln!("building martlet ...");
        Ok(Self::program(Kind::Martlet, martlet::binary()?))
    }

    /// Debian's mosquitto.
    pub(crate) fn mosquitto() -> Self {
        Self::program(Kind::Mosquitto, mosquitto_binary())
    }

    /// Those that keep sessions in their ways, with queues without a bound: this Martlet with each
    /// `data.sync`, this Martlet that records everything besides, and mosquitto with persistence.
    pub(crate) fn keeping(martlet: &Self) -> Vec<Self> {
        let syncs = ["always", "interval 1000", "off"].map(|sync| {
            let label = format!("martlet {sync}");
            martlet.with(&label, &format!("{MARTLET_UNBOUNDED}[data]\nsync = \"{sync}\"\n"))
        });
        let recording =
            format!("{MARTLET_UNBOUNDED}[[telemetry]]\nname = \"all\"\nfilters = [\"#\"]\n");
        let recording = martlet.with("martlet always, recording", &recording);
        let persistence = format!("{MOSQUITTO_CONFIG}persistence true\n");
        let mosquitto = Self::mosquitto().with("mosquitto persistence", &persistence);
        syncs.into_iter().chain([recording, mosquitto]).collect()
    }

    /// This Martlet and mosquitto, keeping nothing on disk: both hold all in memory.
    pub(crate) fn forgetful(martlet: &Self) -> Vec<Self> {
        let limits = "[limits]\nretained_messages_max = 2_000_000\n[data]\nsync = \"off\"\n";
        vec![martlet.with("martlet", limits), Self::mosquitto()]
    }

    fn program(kind: Kind, path: PathBuf) -> Self {
        let config = match kind {
            Kind::Martlet => MARTLET_UNBOUNDED,
            Kind::Mosquitto => MOSQUITTO_CONFIG,
        };
        Self::Program { kind, path, label: kind.name().to_owned(), config: config.to_owned() }
    }

    /// The same with this name and configuration; one that runs already stays as it is.
    fn with(&self, label: &str, config: &str) -> Self {
        let mut source = self.clone();
        if let Self::Program { label: old_label, config: old_config, .. } = &mut source {
            (*old_label, *old_config) = (label.to_owned(), config.to_owned());
        }
        source
    }

    /// What an operator wrote: an address, a command line with a place for the port, or a program,
    /// whose name tells its command line; `NAME=` before any of them, `@PID` behind an address.
    pub(crate) fn parse(text: &str) -> Self {
        let named = text.split_once('=').filter(|(name, _)| is_name(name));
        let (name, what) = named.map_or((None, text), |(name, what)| (Some(name), what));
        let (address, pid) = what.split_once('@').unwrap_or((what, ""));
        let label = |otherwise: &str| name.unwrap_or(otherwise).to_owned();
        if let Ok(socket) = address.parse() {
            let pid = pid.parse().ok();
            return Self::Running { label: label(address), address: socket, pid };
        }
        let program = what.split_whitespace().next().unwrap_or_default();
        // Brokers run in folders of their own.
        let is_path = program.contains('/');
        let path = is_path.then(|| std::path::absolute(program).ok()).flatten();
        let path = path.unwrap_or_else(|| PathBuf::from(program));
        let file_name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        if let Some(rival) = Rival::command(what).or_else(|| Rival::known(&path)) {
            return Self::Rival { label: label(file_name), rival };
        }
        let kind = if file_name.contains("mosquitto") { Kind::Mosquitto } else { Kind::Martlet };
        match Self::program(kind, path) {
            Self::Program { path, config, .. } => {
                Self::Program { kind, path, label: label(kind.name()), config }
            }
            other => other,
        }
    }

    /// The same with this process id, where it runs already.
    pub(crate) fn with_pid(mut self, pid: Option<u32>) -> Self {
        if let Self::Running { pid: old_pid, .. } = &mut self {
            *old_pid = pid.or(*old_pid);
        }
        self
    }

    /// All peers that are on `PATH`.
    pub(crate) fn installed() -> Vec<Self> {
        let paths = Rival::installed();
        paths.iter().map(|path| Self::parse(&path.display().to_string())).collect()
    }

    /// What no broker can be below.
    pub(crate) fn floor() -> Result<Self, BenchError> {
        Ok(Self::Rival { label: "floor".to_owned(), rival: Rival::floor()? })
    }

    /// Its name in tables.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Program { label, .. }
            | Self::Rival { label, .. }
            | Self::Running { label, .. } => label.clone(),
        }
    }

    /// Whether a run with it may fail without an end to all: it is not ours, nor the reference.
    pub(crate) const fn is_guest(&self) -> bool {
        !matches!(self, Self::Program { .. })
    }

    /// Starts it on its cores, with a listener of this kind; this program then goes on on its own.
    pub(crate) fn start(&self, transport: Transport, cores: Cores) -> Result<Subject, BenchError> {
        let (kind, path, config) = match self {
            Self::Program { kind, path, config, .. } => (*kind, path, config),
            Self::Rival { .. } | Self::Running { .. } if transport != Transport::Tcp => {
                return Err(BenchError::Stranger);
            }
            Self::Rival { rival, .. } => {
                machine::pin(&cores.broker)?;
                let running = rival.start();
                machine::pin(&cores.load)?;
                let running = running?;
                let (address, pid) = (running.address(), Some(running.pid()));
                return Ok(Subject::at(address, pid, Some(Child::Rival(running))));
            }
            Self::Running { address, pid, .. } => return Ok(Subject::at(*address, *pid, None)),
        };
        let certificate = match transport {
            Transport::Tls => Some(Certificate::make()?),
            Transport::Tcp | Transport::WebSocket => None,
        };
        machine::pin(&cores.broker)?;
        let broker = match transport {
            Transport::Tcp => Broker::start(kind, path, config),
            Transport::Tls | Transport::WebSocket => {
                let config = mosquitto_conf(kind, certificate.as_ref());
                Broker::start_with_conf(kind, path, &config)
            }
        };
        machine::pin(&cores.load)?;
        let cannot = |log: &str| kind == Kind::Mosquitto && refuses(transport, log);
        let broker = match broker {
            Err(BrokerError::Ended { log, .. }) if cannot(&log) => {
                return Err(BenchError::NoWebSocket(log));
            }
            broker => broker?,
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, broker.port()));
        let layer = match (transport, &certificate) {
            (Transport::WebSocket, _) => Layer::WebSocket,
            (_, Some(certificate)) => Layer::Tls(certificate.terms()?),
            (_, None) => Layer::Tcp,
        };
        let route = Route { address, layer };
        // It may have listened for a moment, before it ended.
        if transport == Transport::WebSocket && Line::open(&route, 0).is_err() {
            let log = broker.log();
            if cannot(&log) {
                return Err(BenchError::NoWebSocket(log));
            }
        }
        Ok(Subject {
            route,
            pid: Some(broker.pid()),
            _child: Some(Child::Broker(broker)),
            _certificate: certificate,
        })
    }
}

/// A listener with TLS or, without a certificate, WebSocket, in words that both brokers read.
/// Martlet keeps a store as it does by default.
fn mosquitto_conf(kind: Kind, certificate: Option<&Certificate>) -> String {
    let (listener, other) = match (kind, certificate) {
        (_, Some(certificate)) => {
            let (path, key_path) = (certificate.path(), certificate.key_path());
            let pair = format!("certfile {}\nkeyfile {}\n", path.display(), key_path.display());
            (pair, "")
        }
        // Over IPv6 it would listen everywhere, and it ends where WebSocket is all it listens for.
        (Kind::Mosquitto, None) => {
            ("protocol websockets\nsocket_domain ipv4\n".to_owned(), "listener 0 besides\n")
        }
        (Kind::Martlet, None) => ("protocol websockets\n".to_owned(), ""),
    };
    let store = match kind {
        Kind::Martlet => "persistence true\npersistence_location ./\n",
        Kind::Mosquitto => "",
    };
    // Started by root, either would become a user who may not read our temporary files.
    format!("{listener}user root\nallow_anonymous true\n{MOSQUITTO_CONFIG}{store}{other}")
}

/// Whether this is a name for tables, and not the beginning of a path or an option.
fn is_name(text: &str) -> bool {
    let is_letter = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    !text.is_empty() && !text.starts_with('-') && text.chars().all(is_letter)
}

/// Whether mosquitto says that it has no such listener: it is built without WebSocket, or its
/// library takes no listener on one address alone.
fn refuses(transport: Transport, log: &str) -> bool {
    let reasons = ["Websockets support not available", "Unable to start any listening sockets"];
    transport == Transport::WebSocket && reasons.iter().any(|reason| log.contains(reason))
}

/// A broker under load. A child ends with it.
pub(crate) struct Subject {
    pub(crate) route: Route,
    pub(crate) pid: Option<u32>,
    _child: Option<Child>,
    _certificate: Option<Certificate>,
}

/// Held for its end alone.
#[expect(dead_code, reason = "dropped, they end what they hold")]
enum Child {
    Broker(Broker),
    Rival(Running),
}

impl Subject {
    const fn at(address: SocketAddr, pid: Option<u32>, child: Option<Child>) -> Self {
        let route = Route { address, layer: Layer::Tcp };
        Self { route, pid, _child: child, _certificate: None }
    }

    /// What it has used; nothing for a stranger.
    pub(crate) fn cpu(&self) -> Result<CpuTime, BenchError> {
        self.pid.map_or(Ok(CpuTime::default()), CpuTime::of)
    }

    /// How often it was woken; never, for a stranger.
    pub(crate) fn wakes(&self) -> Result<u64, BenchError> {
        self.pid.map_or(Ok(0), machine::wakes)
    }

    /// How many files and sockets it has open; none, for a stranger.
    pub(crate) fn open_files(&self) -> Result<usize, BenchError> {
        self.pid.map_or(Ok(0), machine::open_files)
    }

    /// What it holds; nothing for a stranger.
    pub(crate) fn footprint(&self) -> Result<Footprint, BenchError> {
        self.pid.map_or(Ok(Footprint::default()), Footprint::of)
    }
}

#[cfg(test)]
mod tests {
    use super::Source;

    #[test]
    fn a_peer_is_an_address_a_command_or_a_program() {
        for (text, name, is_guest) in [
            ("127.0.0.1:1883", "127.0.0.1:1883", true),
            ("127.0.0.1:1883@42", "127.0.0.1:1883", true),
            ("emqx=127.0.0.1:1883@42", "emqx", true),
            ("/opt/mosquitto", "mosquitto", false),
            ("mosquitto-2.1=/opt/mosquitto", "mosquitto-2.1", false),
            ("before=/opt/a=b/martlet", "before", false),
            ("/opt/rumqttd", "rumqttd", true),
            ("/opt/nano start --port={port}", "nano", true),
            ("nano start --port={port}", "nano", true),
            ("nano=/opt/nanomq --port={port}", "nano", true),
        ] {
            let source = Source::parse(text);
            assert_eq!((source.name().as_str(), source.is_guest()), (name, is_guest), "{text}");
        }
        let Source::Program { path, .. } = Source::parse("target/release/martlet") else {
            panic!("a program")
        };
        assert!(path.is_absolute(), "{path:?}");
        let Source::Running { pid, .. } = Source::parse("127.0.0.1:1883@42") else {
            panic!("an address")
        };
        assert_eq!(pid, Some(42));
    }
}
