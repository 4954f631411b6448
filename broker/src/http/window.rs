//! The window's socket: bind, accept, serve with permits, and an end for whoever is slow.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;
use tower_service::Service;

use crate::access::Policy;
use crate::access::peer::{Peer, PeerAddress};
use crate::driver::Driver;
use crate::http::login::{Gate, Keys, Visitor};
use crate::http::patience::{Patient, WRITE_STALL_MAX};
use crate::http::{Counted, Settings, Shared, routes};
use crate::net::door::Door;
use crate::net::duplex::Duplex;
use crate::net::listener::{self, Listener};
use crate::net::socket::Socket;
use crate::net::tls::Acceptor;
use crate::telemetry::log::Log;

/// A window whose port is open.
#[derive(Debug)]
pub struct Window {
    listener: Listener,
    address: SocketAddr,
    shared: Arc<Shared>,
    permits: Arc<Semaphore>,
}

/// The places of a connection, among those of the window and among all, until nobody has it.
#[derive(Debug)]
#[expect(dead_code, reason = "they are held")]
pub(super) struct Places(OwnedSemaphorePermit, OwnedSemaphorePermit);

/// The part of a window that takes new settings.
#[derive(Clone, Debug)]
pub struct Latch(Arc<Gate>);

/// How long a handshake of TLS, or a request line and its header, may take, and how long a
/// connection may be idle between two requests. At the bound: it is closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of a request's line and header. At the bound: 431.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Fields of a header. At the bound: 431.
const HEADERS_MAX: usize = 64;

/// How long a connection may take to end once the broker stops.
pub(super) const LINGER: Duration = Duration::from_secs(5);

impl Window {
    /// Binds and listens; nothing is accepted yet. Needs the runtime that will run it.
    ///
    /// # Errors
    /// When the operating system refuses the address.
    pub fn bind(
        settings: Settings,
        driver: &Arc<Driver>,
        (door, tls): (Arc<Door>, Arc<Acceptor>),
        stopping: watch::Receiver<bool>,
    ) -> io::Result<Self> {
        let listener = Listener::bind(listener::Settings::at(settings.address))?;
        let address = listener.address().ip().unwrap_or(settings.address);
        let keys = Arc::clone(&settings.keys);
        let permits = Arc::new(Semaphore::new(settings.connections_max as usize));
        let shared = Arc::new(Shared {
            driver: Arc::clone(driver),
            gate: Arc::new(Gate::new(door, keys)),
            tls,
            settings,
            is_loopback: address.ip().is_loopback(),
            log: OnceLock::new(),
            counted: Counted::default(),
            started: driver.now(),
            stopping,
        });
        Ok(Self { listener, address, shared, permits })
    }

    /// Where it listens, with the port that the system chose if it was to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From here on it shows what is recorded there.
    pub fn show(&self, log: Log) {
        // A server has one log.
        let _ = self.shared.log.set(log);
    }

    /// What takes new settings while the window runs.
    pub fn latch(&self) -> Latch {
        Latch(Arc::clone(&self.shared.gate))
    }

    /// Accepts connections, each into a task of its own, until the broker stops. `global` bounds
    /// the connections of the whole broker.
    pub async fn run(self, global: Arc<Semaphore>) {
        let mut stopping = self.shared.stopping.clone();
        let router = routes::router(&self.shared);
        let accepting = async {
            loop {
                let never = "nobody closes these semaphores";
                let own = Arc::clone(&self.permits).acquire_owned().await.expect(never);
                let (socket, Peer { address: peer, .. }) = self.listener.accept().await;
                let permit = Arc::clone(&global).acquire_owned().await.expect(never);
                if self.shared.gate.door().meet(peer).is_err() {
                    Counted::one(&self.shared.driver.traffic.turned_away);
                    continue;
                }
                let (shared, router) = (Arc::clone(&self.shared), router.clone());
                tokio::spawn(serve(socket, peer, shared, router, Places(own, permit)));
            }
        };
        tokio::select! {
            () = accepting => {}
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
    }
}

impl Latch {
    /// From now on these tokens, admins and origins hold, and this policy.
    pub fn replace(&self, keys: Arc<Keys>, policy: Arc<Policy>) {
        self.0.replace(keys);
        self.0.door().replace(policy);
    }
}

async fn serve(
    socket: Socket,
    peer: PeerAddress,
    shared: Arc<Shared>,
    router: Router,
    places: Places,
) {
    Counted::one(&shared.counted.connections);
    let mut stopping = shared.stopping.clone();
    let stop = async { drop(stopping.wait_for(|stopping| *stopping).await) };
    let opened = tokio::select! {
        opened = Duplex::open(socket, &shared.tls, peer, HEAD_TIMEOUT) => opened,
        () = stop => None,
    };
    let Some((stream, certificate)) = opened else { return };
    let visitor = Arc::new(Visitor::new(peer, certificate, places));
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(Arc::clone(&visitor));
        router.clone().call(request.map(Body::new))
    });
    let io = TokioIo::new(Patient::new(stream, WRITE_STALL_MAX));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(io, service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let mut stopping = shared.stopping.clone();
    let stop = async { drop(stopping.wait_for(|stopping| *stopping).await) };
    let ended = tokio::select! {
        ended = connection.as_mut() => Ok(ended),
        () = stop => {
            connection.as_mut().graceful_shutdown();
            timeout(LINGER, connection).await
        }
    };
    match ended {
        Ok(Err(error)) => tracing::debug!(%error, "HTTP connection from {peer}: {error}."),
        Err(_) => tracing::debug!("HTTP connection from {peer} did not end in time."),
        Ok(Ok(())) => {}
    }
}
