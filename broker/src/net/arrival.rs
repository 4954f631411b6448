//! From an accepted socket to a connection that speaks MQTT: layer by layer, each of which may wait
//! for the peer, all of them and the CONNECT within one time.

use std::ops::Deref;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use martlet_engine::input::LostCause;
use tokio::sync::{SemaphorePermit, watch};
use tokio::time::{Sleep, sleep, timeout};

use crate::access::peer::{Peer, PeerAddress};
use crate::driver::wording;
use crate::net::connection::{Connection, End, LINGER, Shared};
use crate::net::proxy;
use crate::net::receive::Incoming;
use crate::net::socket::{Accepted, Socket};
use crate::net::stream::Stream;
use crate::net::tls::session::{Failure, Refused};
use crate::net::websocket;

/// One of the connections of a listener, which has its places among those and among all.
#[derive(Debug)]
pub(super) struct Open(Arc<Shared>);

/// A connection whose CONNECT was admitted, or that ends without.
pub(super) struct Arrived {
    pub(super) connection: Arc<Connection>,
    pub(super) incoming: Incoming,
    pub(super) end: Option<End>,
}

/// A byte stream, and who is at its other end.
type Layered = (Stream, Peer);

/// How long a connection may take to arrive.
struct Patience {
    stopping: watch::Receiver<bool>,
    time: Pin<Box<Sleep>>,
}

/// Why something was not waited for.
#[derive(Clone, Copy)]
enum Over {
    /// The broker stops.
    Stopping,
    /// It took too long.
    Late,
}

/// Lets a connection come in; `None`: it was gone or turned away before there was anything to be
/// said to it.
pub(super) async fn arrive(accepted: Accepted, peer: Peer, open: Open) -> Option<Arrived> {
    let socket = accepted.watch(&peer)?;
    let shared = Arc::clone(&open.0);
    let mut patience = Patience::new(&shared);
    let address = peer.address;
    // Closed only when the log has been told.
    let layers = pin!(layers(socket, peer, &shared));
    let layered = match patience.wait(layers).await {
        Ok(layered) => layered?,
        Err(Over::Late) => {
            is_late(&shared, address, &awaited(&shared));
            return None;
        }
        Err(Over::Stopping) => return None,
    };
    let (stream, peer) = layered;
    let connection = Connection::new(stream, peer, open);
    let mut incoming = Incoming::default();
    let end = match patience.wait(connection.come_in(&mut incoming)).await {
        Ok(come_in) => come_in.err(),
        Err(over) => {
            if let Over::Late = over {
                is_late(&shared, connection.peer_address(), "CONNECT");
            }
            Some(End::Lost(LostCause::Closed))
        }
    };
    Some(Arrived { connection, incoming, end })
}

fn is_late(shared: &Shared, address: PeerAddress, awaited: &str) {
    shared.driver.traffic.connect_timeouts.fetch_add(1, Ordering::Relaxed);
    log_lost(address, &format!("no {awaited} within the connect timeout"), "connect_timeout_s");
}

/// What has to come before MQTT does.
fn awaited(shared: &Shared) -> String {
    let layers = [
        (shared.proxy.is_some(), "PROXY header"),
        (shared.tls.terms().is_some(), "TLS handshake"),
        (shared.websocket.is_some(), "WebSocket"),
    ];
    let awaited: Vec<&str> = layers.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
    awaited.join(" and ")
}

/// Puts the layers of the listener over the socket, from the lowest up.
async fn layers(socket: Socket, peer: Peer, shared: &Shared) -> Option<Layered> {
    let mut peer = match &shared.proxy {
        None => peer,
        Some(settings) => {
            let address = peer.address;
            let told = proxy::read(&socket, settings, peer).await;
            told.inspect_err(|refusal| log_no_client(address, refusal)).ok()?
        }
    };
    // A proxy comes often, and its clients are met by their own addresses.
    let speaks_for_others = |websocket: &websocket::Settings| websocket.believe(peer.address);
    let is_proxy = shared.websocket.as_ref().is_some_and(speaks_for_others);
    if !is_proxy {
        meet(shared, peer.address)?;
    }
    let mut stream = match shared.tls.over(socket).await {
        Ok((stream, certificate)) => {
            // Without TLS, what a proxy has told of it stays.
            if let Stream::Tls(_) = stream {
                peer.certificate = certificate;
            }
            stream
        }
        Err(refused) => {
            refuse_tls(peer.address, refused).await;
            return None;
        }
    };
    if let Some(settings) = &shared.websocket {
        let accepted = websocket::session::accept(stream, settings, peer.address).await;
        let (session, client) = match accepted {
            Ok(accepted) => accepted,
            Err(refusal) => return refuse_websocket(peer.address, refusal).await,
        };
        stream = Stream::WebSocket(Box::new(session));
        peer.address = client.map_or(peer.address, PeerAddress::Ip);
    }
    if is_proxy {
        meet(shared, peer.address)?;
    }
    Some((stream, peer))
}

/// Whether the address may come at all.
fn meet(shared: &Shared, address: PeerAddress) -> Option<()> {
    let met = shared.door.meet(address);
    met.inspect_err(|turned_away| {
        shared.driver.traffic.turned_away.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(%address, "Connection from {address} closed: {turned_away}.");
    })
    .ok()
}

/// Tells the log why there is no TLS, and parts with the peer.
pub(super) async fn refuse_tls(address: PeerAddress, refused: Refused) {
    log_no_tls(address, &refused.failure);
    // A peer that does not close in time is cut off.
    let _ = timeout(LINGER, refused.part()).await;
}

fn log_no_tls(address: PeerAddress, failure: &Failure) {
    match failure {
        Failure::Tls(broken) => log_lost(address, &broken.to_string(), "TLS"),
        Failure::Gone => {
            tracing::debug!(%address, "Client <unknown> [{address}] closed before TLS.");
        }
        Failure::Socket(error) => {
            tracing::debug!(%address, "Client <unknown> [{address}] failed before TLS: {error}.");
        }
    }
}

fn log_no_client(address: PeerAddress, refusal: &proxy::Refusal) {
    match refusal {
        proxy::Refusal::Told(reason) => log_lost(address, reason, "proxy_protocol"),
        proxy::Refusal::Gone(error) => {
            tracing::debug!(%address, "Proxy [{address}] was gone before its header: {error}.");
        }
    }
}

async fn refuse_websocket(address: PeerAddress, refusal: websocket::Refusal) -> Option<Layered> {
    match refusal {
        websocket::Refusal::Told(reason, parting) => {
            log_lost(address, &reason, "RFC 6455");
            parting.part().await;
        }
        websocket::Refusal::Gone(error) => {
            tracing::debug!(
                %address,
                "Client <unknown> [{address}] was gone before its WebSocket: {error}."
            );
        }
    }
    None
}

/// Somebody leaves who never said who it was.
pub(super) fn log_lost(address: PeerAddress, reason: &str, rule: &str) {
    tracing::warn!(
        client = "<unknown>", %address, reason, rule,
        "Client <unknown> [{address}] disconnected: {reason} [{rule}]."
    );
    wording::never_connected(rule);
}

impl Patience {
    fn new(shared: &Shared) -> Self {
        let time = Box::pin(sleep(shared.connect_timeout));
        Self { stopping: shared.stopping.clone(), time }
    }

    async fn wait<T>(&mut self, step: impl Future<Output = T>) -> Result<T, Over> {
        tokio::select! {
            biased;
            _ = self.stopping.wait_for(|stopping| *stopping) => Err(Over::Stopping),
            done = step => Ok(done),
            () = &mut self.time => Err(Over::Late),
        }
    }
}

impl Open {
    /// Takes the two places for itself.
    pub(super) fn new(shared: &Arc<Shared>, places: [SemaphorePermit<'_>; 2]) -> Self {
        places.into_iter().for_each(SemaphorePermit::forget);
        shared.driver.traffic.sockets_accepted.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(shared))
    }
}

impl Deref for Open {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let closed = self.0.driver.traffic.sockets_closed.fetch_add(1, Ordering::Relaxed);
        self.0.places.give_back();
        self.0.surplus.after(closed + 1);
    }
}
