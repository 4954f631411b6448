//! Listening sockets: bind, accept, serve with permits, back off when the machine is short.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::net::connection::{self, Shared};
use crate::net::{socket, tls};

/// One listener's own settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens; port 0 takes any free one.
    pub address: SocketAddr,
    /// `TCP_NODELAY` on accepted sockets.
    pub tcp_nodelay: bool,
    /// Connections of this listener at a time. At the bound: one new connection waits accepted but
    /// unread, the others in the operating system's backlog.
    pub connections_max: Option<u32>,
    /// How TLS is spoken there, if it is.
    pub tls: Option<tls::settings::Settings>,
}

impl Settings {
    /// A listener at this address with everything else as it is by default.
    pub fn at(address: SocketAddr) -> Self {
        Self { address, tcp_nodelay: true, connections_max: None, tls: None }
    }
}

/// A socket that listens.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    settings: Settings,
    permits: Arc<Semaphore>,
}

/// What may wait in the operating system to be accepted.
const BACKLOG: i32 = 4096;

/// How long to wait after an accept that failed: doubled each time up to the second value.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

impl Listener {
    /// Binds and listens; nothing is accepted yet. Needs the runtime that will run it.
    ///
    /// # Errors
    /// When the operating system refuses the address, or to watch the socket.
    pub fn bind(mut settings: Settings) -> io::Result<Self> {
        let address = settings.address;
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        let most = settings.connections_max.map_or(Semaphore::MAX_PERMITS, |most| most as usize);
        let permits = Arc::new(Semaphore::new(most));
        let socket = TcpListener::from_std(socket.into())?;
        settings.address = socket.local_addr()?;
        Ok(Self { socket, settings, permits })
    }

    /// Where it listens, with the port that the system chose if it was to.
    pub fn address(&self) -> SocketAddr {
        self.settings.address
    }

    /// Accepts connections, each into a task of its own, until the broker stops. `global` bounds
    /// the connections of all listeners.
    pub async fn run(self, shared: Arc<Shared>, global: Arc<Semaphore>) {
        let mut stopping: watch::Receiver<bool> = shared.stopping.clone();
        let accepting = async {
            let mut full = false;
            loop {
                let (stream, peer) = accept(&self.socket).await;
                // Taken before, a permit would be idle where no client comes, and another listener
                // would lack it.
                let permits = take_permits(&self.permits, &global, &mut full).await;
                if self.settings.tcp_nodelay
                    && let Err(error) = stream.set_nodelay(true)
                {
                    tracing::debug!(%error, "A connection from {peer} was gone at once.");
                    continue;
                }
                if shared.driver.logs_connections() {
                    let port = self.settings.address.port();
                    tracing::info!(address = %peer, "New connection from {peer} on port {port}.");
                }
                serve(stream, peer, &shared, permits);
            }
        };
        tokio::select! {
            () = accepting => {}
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
    }
}

type Permits = (OwnedSemaphorePermit, OwnedSemaphorePermit);

/// Waits until there is a place. `full` says whether the last one had to wait too: the log is told
/// once, not for everybody who takes the place of another.
async fn take_permits(own: &Arc<Semaphore>, global: &Arc<Semaphore>, full: &mut bool) -> Permits {
    let reached = match (own.available_permits(), global.available_permits()) {
        (0, _) => Some("the listener's max_connections"),
        (_, 0) => Some("limits.connections_max"),
        _ => None,
    };
    let was_full = std::mem::replace(full, reached.is_some());
    if let (Some(limit), false) = (reached, was_full) {
        tracing::warn!(limit, "{limit} is reached: new connections wait until others end.");
    }
    let never = "nobody closes these semaphores";
    let own = Arc::clone(own).acquire_owned().await.expect(never);
    let global = Arc::clone(global).acquire_owned().await.expect(never);
    (own, global)
}

/// Accepts one connection; waits and tries again when the machine is short of something.
async fn accept(socket: &TcpListener) -> (TcpStream, SocketAddr) {
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

fn serve(stream: TcpStream, peer: SocketAddr, shared: &Arc<Shared>, permits: Permits) {
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        connection::serve(socket::Socket::Tcp(stream), peer.into(), shared).await;
        drop(permits);
    });
}
