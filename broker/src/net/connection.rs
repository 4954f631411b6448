//! One network connection: one task, both directions, no buffer while it is idle.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use martlet_codec::decode::DecodeLimits;
use martlet_codec::packet::Packet;
use martlet_codec::reason::ProtocolVersion;
use martlet_engine::effects::Farewell;
use martlet_engine::input::{Input, LostCause};
use martlet_engine::permit::Permission;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::access::jwt::Bearer;
use crate::access::peer::{Peer, PeerAddress};
use crate::clock::{self, Clock};
use crate::driver::Driver;
use crate::driver::link::{Edge, Link};
use crate::driver::traffic::TrafficCounters;
use crate::net::arrival::{Arrived, Open, arrive};
use crate::net::door::Door;
use crate::net::listener::Places;
use crate::net::receive::{Incoming, Received, lost_by};
use crate::net::rights::Rights;
use crate::net::socket::Accepted;
use crate::net::stream::Stream;
use crate::net::surplus::Surplus;
use crate::net::terms::Terms;
use crate::net::throttle::{Rates, Throttle};
use crate::net::tls::Acceptor;
use crate::net::transmit::Unsent;
use crate::net::words::{self, Words};
use crate::net::{proxy, websocket};

/// What all connections of a listener share.
#[derive(Debug)]
pub struct Shared {
    /// Where inputs go.
    pub driver: Arc<Driver>,
    /// What a packet may be.
    pub decode_limits: DecodeLimits,
    /// How long after accept a CONNECT may take.
    pub connect_timeout: Duration,
    /// Who may connect.
    pub door: Arc<Door>,
    /// What proxies say first, if they stand in front.
    pub proxy: Option<proxy::Settings>,
    /// What TLS is spoken, if any.
    pub tls: Arc<Acceptor>,
    /// MQTT comes over WebSocket.
    pub websocket: Option<websocket::Settings>,
    /// What is made of clients' packets.
    pub terms: Terms,
    /// How fast a client may publish.
    pub rates: Arc<Rates>,
    /// The time.
    pub clock: Clock,
    /// Turns true when the broker stops.
    pub stopping: watch::Receiver<bool>,
    /// How many there may be.
    pub places: Places,
    /// Hears of those that end.
    pub surplus: Arc<Surplus>,
}

/// One network connection, shared by its own task and whoever sends on it.
#[derive(Debug)]
pub struct Connection {
    pub(super) stream: Stream,
    pub(super) shared: Open,
    pub(super) link: Link,
    /// What the socket did not take; touched only by whoever is sending.
    pub(super) unsent: Mutex<Option<Box<Unsent>>>,
    pub(super) asked: OnceLock<Asked>,
    /// Who it is, if it said so and came in.
    pub(super) guest: OnceLock<Box<Guest>>,
    pub(super) peer: Peer,
    seldom: OnceLock<Box<Seldom>>,
}

/// What hardly any connection has.
#[derive(Debug, Default)]
pub(super) struct Seldom {
    /// Why writing failed.
    pub(super) broken: OnceLock<Arc<str>>,
    /// How fast it publishes, if that is bounded; touched only by whoever reads.
    pub(super) throttle: OnceLock<Mutex<Throttle>>,
}

/// What CONNECT has asked for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) version: ProtocolVersion,
    pub(super) keep_alive_s: u16,
}

/// A client that came in with more than a client id.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) user_name: Option<Box<str>>,
    /// What its token says, if it came in with one.
    pub(super) bearer: Option<Box<Bearer>>,
    /// What others say that it may, if they are asked.
    pub(super) rights: Option<Arc<Rights>>,
}

/// How a connection ends. The engine knows already, or never knew.
#[derive(Debug)]
pub(super) enum End {
    /// There is nobody to send to any more, or nothing that would help them.
    Lost(LostCause),
    /// What is in the outbox is still to be sent.
    Farewell(Farewell),
    /// The CONNECT was answered with a refusal.
    Refused,
}

/// Reads after which a connection lets others on its worker have a turn.
const READS_PER_TURN: u32 = 4;

/// How long a connection that ends may take to bring its last packets to the peer, and how long
/// after that the peer may take to close.
pub(super) const LINGER: Duration = Duration::from_secs(5);

/// A connection's life, from its first byte to its last: a task. It is as large as its largest
/// stage, and all but the one in which a connection is idle are boxed.
pub(super) enum Life {
    /// It may still become a connection.
    Arriving(Pin<Box<dyn Future<Output = Option<Arrived>> + Send>>),
    /// It goes on until something ends it.
    Going(Arc<Connection>, Incoming),
    /// It goes on for a bounded time, or says farewell.
    Leaving(Pin<Box<dyn Future<Output = ()> + Send>>),
    /// Nothing is left.
    Over,
}

impl Life {
    /// Begins with an accepted socket.
    pub(super) fn new(socket: Accepted, peer: Peer, open: Open) -> Self {
        Self::Arriving(Box::pin(arrive(socket, peer, open)))
    }

    fn behind(Arrived { connection, mut incoming, end }: Arrived) -> Self {
        match (end, connection.ends_after()) {
            (Some(end), _) => Self::leave(connection, end),
            (None, None) => Self::Going(connection, incoming),
            (None, Some(rest)) => Self::Leaving(Box::pin(async move {
                let end = connection.go_on_for(rest, &mut incoming).await;
                connection.finish(end).await;
            })),
        }
    }

    fn leave(connection: Arc<Connection>, end: End) -> Self {
        Self::Leaving(Box::pin(async move { connection.finish(end).await }))
    }
}

impl Future for Life {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            *self = match &mut *self {
                Self::Arriving(arriving) => match ready!(arriving.as_mut().poll(cx)) {
                    Some(arrived) => Self::behind(arrived),
                    None => Self::Over,
                },
                Self::Going(connection, incoming) => {
                    let end = ready!(connection.poll_turn(cx, incoming));
                    Self::leave(Arc::clone(connection), end)
                }
                Self::Leaving(leaving) => {
                    ready!(leaving.as_mut().poll(cx));
                    Self::Over
                }
                Self::Over => return Poll::Ready(()),
            }
        }
    }
}

impl Connection {
    /// Takes over a byte stream from `peer`.
    pub(super) fn new(stream: Stream, peer: Peer, shared: Open) -> Arc<Self> {
        Arc::new(Self {
            stream,
            link: Link::new(Arc::clone(&shared.driver)),
            shared,
            unsent: Mutex::default(),
            asked: OnceLock::new(),
            guest: OnceLock::new(),
            peer,
            seldom: OnceLock::new(),
        })
    }

    /// What hardly any connection has: this one gets it.
    pub(super) fn seldom(&self) -> &Seldom {
        self.seldom.get_or_init(Box::default)
    }

    /// Why writing failed, if it did.
    pub(super) fn broken(&self) -> Option<&Arc<str>> {
        self.seldom.get()?.broken.get()
    }

    /// How long its token lets it stay, where that is bounded.
    fn ends_after(&self) -> Option<Duration> {
        let ends_at_s = self.guest.get()?.bearer.as_ref()?.ends_at_s?;
        Some(Duration::from_secs(ends_at_s.saturating_sub(clock::wall_s())))
    }

    /// Goes on until the end, or until `rest` has passed.
    async fn go_on_for(self: &Arc<Self>, rest: Duration, incoming: &mut Incoming) -> End {
        let end = timeout(rest, poll_fn(|cx| self.poll_turn(cx, incoming))).await;
        end.unwrap_or_else(|_| self.lose(LostCause::LetGo { reason: "its token has expired" }))
    }

    /// Does what can be done now, in both directions.
    fn poll_turn(self: &Arc<Self>, cx: &mut Context<'_>, incoming: &mut Incoming) -> Poll<End> {
        let mut reads = 0;
        loop {
            let standing = self.link.outbox().standing(cx.waker());
            if let Some(error) = self.broken() {
                return Poll::Ready(self.lose(LostCause::Socket(Arc::clone(error))));
            }
            if let Some(farewell) = standing.farewell {
                return Poll::Ready(End::Farewell(farewell));
            }
            if standing.blocked && self.poll_send_blocked(cx).is_ready() {
                continue;
            }
            if self.link.is_waiting() {
                return Poll::Pending;
            }
            if standing.freed >= self.link.room_report_bytes() {
                self.submit(&mut Vec::new()); // nobody else has come to the engine since
                continue;
            }
            if standing.cost.answers >= u64::from(self.link.outbox_bytes_max()) {
                return Poll::Pending;
            }
            match ready!(self.poll_receive(cx, incoming)) {
                Ok(Received::Packets { more }) => reads += if more { 1 } else { 0 },
                Ok(Received::End(end)) => return Poll::Ready(end),
                Err(error) => return Poll::Ready(self.lose(lost_by(&error))),
            }
            if reads == READS_PER_TURN {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    /// Goes on sending once the socket takes more.
    fn poll_send_blocked(&self, cx: &mut Context<'_>) -> Poll<()> {
        match ready!(self.stream.poll_writable(cx)) {
            Ok(()) => self.send_now(true),
            Err(error) => self.fail(&error),
        }
        Poll::Ready(())
    }

    pub(super) fn submit(self: &Arc<Self>, inputs: &mut Vec<Input>) {
        let edge: Arc<dyn Edge> = Arc::clone(self) as _;
        self.link.submit(&edge, inputs);
    }

    /// Tells the engine that the connection is gone.
    pub(super) fn lose(self: &Arc<Self>, cause: LostCause) -> End {
        if let Some(link) = self.link.id() {
            self.submit(&mut vec![Input::Lost { link, cause: cause.clone() }]);
        }
        End::Lost(cause)
    }

    async fn finish(&self, end: End) {
        match end {
            End::Lost(cause) => {
                if self.link.id().is_none() {
                    self.log_never_connected(&cause);
                }
                let listens =
                    matches!(cause, LostCause::Malformed { .. } | LostCause::Oversize { .. });
                if listens && self.stream.takes_leave() {
                    self.linger().await;
                }
            }
            End::Farewell(farewell) => {
                let drained = timeout(LINGER, poll_fn(|cx| self.poll_drained(cx))).await;
                let listens = farewell != Farewell::Disconnected || self.stream.takes_leave();
                if drained.is_ok() && listens {
                    self.linger().await;
                }
            }
            End::Refused => self.linger().await,
        }
    }

    fn poll_drained(&self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let standing = self.link.outbox().standing(cx.waker());
            if standing.cost.all == 0 || self.broken().is_some() {
                return Poll::Ready(());
            }
            if !standing.blocked || self.poll_send_blocked(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Says that nothing more comes and reads until the peer closes too: closing a socket that
    /// holds unread bytes would reset the connection, and the peer might lose our last packet.
    async fn linger(&self) {
        // What this turn has brought goes before.
        self.send_now(true);
        self.stream.shut_down();
        // A peer that does not close in time is cut off.
        let _ = timeout(LINGER, poll_fn(|cx| self.poll_closed(cx))).await;
    }

    pub(super) fn version(&self) -> ProtocolVersion {
        self.asked.get().map_or(ProtocolVersion::V311, |asked| asked.version)
    }

    pub(super) fn traffic(&self) -> &TrafficCounters {
        &self.shared.driver.traffic
    }

    pub(super) fn peer_address(&self) -> PeerAddress {
        self.peer.address
    }

    pub(super) fn log_packet(&self, verb: &str, way: &'static str, packet: &Packet<'_>) {
        let client = self.link.client_id();
        tracing::debug!(client, "{verb} {}", Words { packet, way, client });
        if matches!(packet, Packet::Subscribe(_) | Packet::Unsubscribe(_)) {
            words::log_filters(client, packet);
        }
    }
}

impl Edge for Connection {
    fn link(&self) -> &Link {
        &self.link
    }

    fn send(&self) {
        self.send_now(false);
    }

    /// It is a system call.
    fn gathers(&self) -> bool {
        true
    }

    fn permit(&self) -> Permission {
        let policy = self.shared.door.policy();
        let Some(guest) = self.guest.get() else { return policy.permit(None, None) };
        match &guest.rights {
            Some(rights) => rights.renew(&policy),
            None => policy.permit(guest.user_name.as_deref(), guest.bearer.as_deref()),
        }
    }

    fn user_name(&self) -> Option<&str> {
        self.guest.get()?.user_name.as_deref()
    }

    fn peer(&self) -> &dyn std::fmt::Display {
        &self.peer.address
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The runtime adds 104 bytes to a task, and rounds up to a multiple of 128. `Arc` adds 16, and
    /// what is larger than 320 is 384 for the allocator.
    #[test]
    fn an_idle_connection_is_small() {
        assert!(size_of::<Life>() <= 24, "{}", size_of::<Life>());
        assert!(size_of::<Connection>() <= 304, "{}", size_of::<Connection>());
    }
}
