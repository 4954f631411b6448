//! The window: HTTP for people, scripts and whoever watches the broker.
//!
//! What it wants of the engine it wants over a link, as every client does, and by the same rules:
//! the users, passwords and rights are MQTT's. What it tells of the broker comes from the driver.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use axum::http::StatusCode;
use martlet_codec::decode::DecodeLimits;
use martlet_engine::input::Time;
use tokio::sync::watch;

use crate::driver::Driver;
use crate::http::login::Gate;
pub use crate::http::login::Keys;
use crate::net::tls;
use crate::telemetry::log::Log;

mod batch;
#[expect(unused_qualifications, reason = "what utoipa's macro writes")]
mod cursors;
mod dashboard;
mod follow;
mod forget;
mod form;
mod health;
#[expect(unused_qualifications, reason = "what utoipa's macro writes")]
mod history;
mod link;
mod login;
mod message;
mod metrics;
mod origin;
mod params;
mod patience;
mod placed;
mod problem;
#[expect(unused_qualifications, reason = "what utoipa's macro writes")]
mod push;
#[expect(unused_qualifications, reason = "what utoipa's macro writes")]
mod realtime;
mod retained;
mod routes;
mod scan;
#[expect(unused_qualifications, reason = "what utoipa's macro writes")]
mod sessions;
mod socket;
mod spec;
mod streams;
mod tail;
pub mod window;

/// Where the window is, and its bounds.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens; port 0 takes any free one.
    pub address: SocketAddr,
    /// Connections of the window at a time, within those of the broker. At the bound: new ones
    /// wait in the operating system's backlog.
    pub connections_max: u32,
    /// Bytes of a request's body. At the bound: 413, and the connection is closed.
    pub body_bytes_max: u64,
    /// What a message may be, as for every client.
    pub decode_limits: DecodeLimits,
    /// The broker's folder, if it keeps anything.
    pub folder: Option<PathBuf>,
    /// Tokens, admins, origins.
    pub keys: Arc<Keys>,
    /// How TLS is spoken there, if it is.
    pub tls: Option<tls::settings::Settings>,
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Shared {
    driver: Arc<Driver>,
    gate: Arc<Gate>,
    tls: Arc<tls::Acceptor>,
    settings: Settings,
    /// What is recorded, once that is known.
    log: OnceLock<Log>,
    /// It listens on this machine only.
    is_loopback: bool,
    counted: Counted,
    /// When the window was opened, which is when the broker started.
    started: Time,
    /// Turns true when the broker stops.
    stopping: watch::Receiver<bool>,
}

/// What the window counts since start.
#[derive(Debug, Default)]
struct Counted {
    connections: AtomicU64,
    requests: AtomicU64,
    /// Requests without credentials that are accepted, and those with others.
    unauthorised: AtomicU64,
    forbidden: AtomicU64,
    /// Messages that a live tail was too slow for.
    tail_dropped: AtomicU64,
}

impl Counted {
    fn one(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn refused(&self, status: StatusCode) {
        Self::one(match status {
            StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS => &self.unauthorised,
            _ => &self.forbidden,
        });
    }
}
