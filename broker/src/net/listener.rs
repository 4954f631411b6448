//! Listening sockets: bind, accept, serve with permits, back off when the machine is short.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit, watch};

use crate::access::peer::Peer;
use crate::logging::NOTICE;
use crate::net::address::{Address, Listening};
use crate::net::arrival::Open;
use crate::net::connection::{Life, Shared};
use crate::net::socket::{Accepted, Socket};
use crate::net::terms::Terms;
use crate::net::workers::Workers;
use crate::net::{proxy, tls, websocket};

/// One listener's own settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens.
    pub address: Address,
    /// `TCP_NODELAY` on accepted sockets.
    pub tcp_nodelay: bool,
    /// Connections of this listener at a time. At the bound: one new connection waits accepted but
    /// unread, the others in the operating system's backlog.
    pub connections_max: Option<u32>,
    /// What proxies say first, if they stand in front.
    pub proxy: Option<proxy::Settings>,
    /// How TLS is spoken there, if it is.
    pub tls: Option<tls::settings::Settings>,
    /// MQTT comes over WebSocket.
    pub websocket: Option<websocket::Settings>,
    /// What is made of its clients' packets.
    pub terms: Terms,
}

impl Settings {
    /// A listener at this IP address with everything else as it is by default.
    pub fn at(address: SocketAddr) -> Self {
        Self::on(Address::Ip(address))
    }

    /// A listener there with everything else as it is by default.
    pub fn on(address: Address) -> Self {
        Self {
            address,
            tcp_nodelay: true,
            connections_max: None,
            proxy: None,
            tls: None,
            websocket: None,
            terms: Terms::default(),
        }
    }
}

/// A socket that listens.
#[derive(Debug)]
pub struct Listener {
    socket: Listening,
    settings: Settings,
}

/// Places for connections: of one listener, and those that all share.
#[derive(Debug)]
pub struct Places {
    own: Semaphore,
    global: Arc<Semaphore>,
}

/// How long to wait after an accept that failed: doubled each time up to the second value.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

impl Listener {
    /// Binds and listens; nothing is accepted yet. Needs the runtime that will run it.
    ///
    /// # Errors
    /// When the operating system refuses the address, or to watch the socket.
    pub fn bind(mut settings: Settings) -> io::Result<Self> {
        let (socket, address) = Listening::open(&settings.address)?;
        settings.address = address;
        Ok(Self { socket, settings })
    }

    /// Where it listens, with the port that the system chose if it was to.
    pub fn address(&self) -> &Address {
        &self.settings.address
    }

    /// Tells the log that it is open.
    pub fn log_opened(&self) {
        let address = self.address();
        let (kind, place) = match address {
            Address::Unix(place) => ("unix", format!("path {}", place.path.display())),
            Address::Ip(ip) if ip.is_ipv6() => ("ipv6", format!("port {}", ip.port())),
            Address::Ip(ip) => ("ipv4", format!("port {}", ip.port())),
        };
        let kind = if self.settings.websocket.is_some() { "websockets" } else { kind };
        tracing::info!(%address, "Opening {kind} listen socket on {place}.");
    }

    /// Accepts one connection; waits and tries again when the machine is short of something.
    pub(crate) async fn accept(&self) -> (Socket, Peer) {
        loop {
            let (accepted, peer) = accept(&self.socket).await;
            if self.makes_ready(&accepted, &peer)
                && let Some(socket) = accepted.watch(&peer)
            {
                return (socket, peer);
            }
        }
    }

    /// Accepts connections, each into a task of its own of a worker, until the broker stops.
    pub async fn run(self, shared: Arc<Shared>, workers: Arc<Workers>) {
        let mut stopping: watch::Receiver<bool> = shared.stopping.clone();
        let accepting = async {
            let mut full = false;
            loop {
                let (socket, peer) = accept(&self.socket).await;
                // Taken before, a permit would be idle where no client comes, and another listener
                // would lack it.
                let places = shared.places.take(&mut full).await;
                if !self.makes_ready(&socket, &peer) {
                    continue;
                }
                if shared.driver.logs_connections() {
                    self.log_new(&peer);
                }
                workers.spawn(Life::new(socket, peer, Open::new(&shared, places)));
            }
        };
        tokio::select! {
            () = accepting => {}
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
    }
}

impl Listener {
    /// Lets small packets go at once, if they are to; `false` if there is nobody any more.
    fn makes_ready(&self, accepted: &Accepted, peer: &Peer) -> bool {
        let ready = if self.settings.tcp_nodelay { accepted.send_at_once() } else { Ok(()) };
        let address = peer.address;
        ready
            .inspect_err(|error| {
                tracing::debug!(%error, "A connection from {address} was gone at once.");
            })
            .is_ok()
    }

    fn log_new(&self, peer: &Peer) {
        let address = peer.address;
        match self.address() {
            Address::Ip(ip) => {
                let port = ip.port();
                tracing::info!(
                    target: NOTICE, %address,
                    "New connection from {address} on port {port}."
                );
            }
            Address::Unix(place) => {
                let path = place.path.display();
                tracing::info!(
                    target: NOTICE, %address,
                    "New connection from {address} on {path}."
                );
            }
        }
    }
}

impl Places {
    /// So many of a listener as its settings say, and those of all listeners.
    pub fn new(settings: &Settings, global: Arc<Semaphore>) -> Self {
        let most = settings.connections_max.map_or(Semaphore::MAX_PERMITS, |most| most as usize);
        Self { own: Semaphore::new(most), global }
    }

    /// Waits until there is one of both. `full` says whether the last one had to wait too: the log
    /// is told once, not for everybody who takes the place of another.
    async fn take(&self, full: &mut bool) -> [SemaphorePermit<'_>; 2] {
        let reached = match (self.own.available_permits(), self.global.available_permits()) {
            (0, _) => Some("the listener's max_connections"),
            (_, 0) => Some("limits.connections_max"),
            _ => None,
        };
        let was_full = std::mem::replace(full, reached.is_some());
        if let (Some(limit), false) = (reached, was_full) {
            tracing::warn!(limit, "{limit} is reached: new connections wait until others end.");
        }
        let never = "nobody closes these semaphores";
        let own = self.own.acquire().await.expect(never);
        [own, self.global.acquire().await.expect(never)]
    }

    /// Somebody leaves who had taken one of both.
    pub(super) fn give_back(&self) {
        self.own.add_permits(1);
        self.global.add_permits(1);
    }
}

/// Accepts one connection; waits and tries again when the machine is short of something.
async fn accept(socket: &Listening) -> (Accepted, Peer) {
    let mut wait = BACK_OFF.0;
    loop {
        match socket.accept().await {
            Ok(accepted) => return accepted,
            // The peer was gone before we looked.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::error!(
                    %error,
                    "Cannot accept connections ({error}); trying again. If files run out, raise \
                     `ulimit -n`."
                );
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(BACK_OFF.1);
            }
        }
    }
}
