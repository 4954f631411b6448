//! Why a run has no result.

use std::io;

use mosquitto_compat_tests::broker::BrokerError;
use thiserror::Error;

/// Why a run has no result. Wrong deliveries are results, not errors.
#[derive(Debug, Error)]
pub(crate) enum BenchError {
    /// No broker.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// callgrind told no number; what it said.
    #[error("cannot count instructions; valgrind (apt-get install valgrind) says: {0}")]
    Callgrind(String),
    /// A certificate for the broker.
    #[error("cannot make a certificate: {0}")]
    Certificate(rcgen::Error),
    /// The broker closed a connection.
    #[error("the broker closed a connection")]
    Closed,
    /// Too few file descriptors.
    #[error(
        "{scenario} opens {wanted} files and only {allowed} are allowed: raise `ulimit -Hn`, \
             or ask for fewer with --connections"
    )]
    Files {
        /// What would need them.
        scenario: String,
        /// How many, for either side.
        wanted: u64,
        /// The hard limit.
        allowed: u64,
    },
    /// Its clients have left, and it has not closed their connections.
    #[error("the broker still has connections open 30 seconds after all clients have left")]
    Lingering,
    /// It sent bytes that are no packet.
    #[error("the broker sent bytes that are no packet: {0}")]
    Malformed(&'static str),
    /// mosquitto has no listener for WebSocket; its log.
    #[error("this mosquitto opens no listener for WebSocket on 127.0.0.1; its log:\n{0}")]
    NoWebSocket(String),
    /// It did not accept a connection or a subscription.
    #[error("the broker refused a connection or a subscription: {0}")]
    Refused(String),
    /// A peer's command line without a word.
    #[error("a peer's command line is empty")]
    NoCommand,
    /// No scenario of this name.
    #[error("no scenario is called {0:?}; see `bench list`")]
    Scenario(String),
    /// TLS or WebSocket, of a broker whose configuration is not ours to write.
    #[error(
        "measured over plain TCP alone: only Martlet and mosquitto get listeners of other kinds"
    )]
    Stranger,
    /// A store alone, filled or measured.
    #[error("the store: {0}")]
    Store(martlet::store::StoreError),
    /// The log alone.
    #[error("the log: {0}")]
    Log(martlet::telemetry::LogError),
    /// strace.
    #[error("cannot count system calls: {0}")]
    Strace(String),
    /// TLS on our side.
    #[error("cannot speak TLS: {0}")]
    Tls(rustls::Error),
    /// The system.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl BenchError {
    /// For `map_err`.
    pub(crate) fn system(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}
