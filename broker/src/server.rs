//! Builds every part, runs them, tells them of new settings, and stops them in order.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use martlet_codec::decode::DecodeLimits;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::access::{Policy, guard};
use crate::bridge;
use crate::clock::Clock;
use crate::driver::{self, Driver};
use crate::inquiry::Inquiry;
use crate::net::address::Address;
use crate::net::connection::Shared;
use crate::net::door::{Door, Porch};
use crate::net::listener::{self, Listener, Places};
use crate::net::surplus::Surplus;
use crate::net::throttle::{self, Rates};
use crate::net::tls::Acceptor;
use crate::net::tls::settings::Fault;
use crate::net::workers::Workers;
use crate::server::bridges::{Bridges, bridges};
use crate::server::certificates::{Certificates, Made};
use crate::server::reload::{Change, Part, Reloader};
use crate::server::streams::{Recorded, Streams};
use crate::store::{Store, StoreError};
use crate::telemetry::log::{Log, StreamSettings};
use crate::{historian, http};

mod bridges;
mod certificates;
pub mod reload;
mod streams;

/// Everything that a server is told. Configuration fills it; tests write it down.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen, and who may come in there.
    pub listeners: Vec<(listener::Settings, Arc<Policy>)>,
    /// The window, if there is one.
    pub window: Option<Window>,
    /// Passwords that are checked at the same time; see [`Porch::new`].
    pub password_checks_max: u32,
    /// Which addresses are turned away.
    pub guard: guard::Limits,
    /// Bridges to other brokers.
    pub bridges: Vec<bridge::Settings>,
    /// Who is asked besides the policies. Read at the start alone.
    pub inquiry: Option<Arc<Inquiry>>,
    /// The engine and its bounds.
    pub driver: driver::Settings,
    /// What a packet may be.
    pub decode_limits: DecodeLimits,
    /// Connections of all listeners at a time. At the bound: one new connection for each listener
    /// waits accepted but unread, the others in the operating system's backlog.
    pub connections_max: u32,
    /// How long after accept a CONNECT may take.
    pub connect_timeout: Duration,
    /// How fast a client may publish.
    pub rates: throttle::Settings,
    /// What is recorded, where there is a store: the log was made with the same.
    pub recorded: Vec<StreamSettings>,
}

/// Where HTTP comes in, and who may.
pub type Window = (http::Settings, Arc<Policy>);

/// A server whose ports are open.
#[derive(Debug)]
pub struct Server {
    driver: Arc<Driver>,
    listeners: Vec<(Listener, Arc<Shared>)>,
    window: Option<http::window::Window>,
    bridges: Bridges,
    connections: Arc<Semaphore>,
    connections_max: u32,
    stopping: watch::Sender<bool>,
    reloader: Arc<Reloader>,
    /// What is recorded, if anything may be.
    streams: Option<Arc<Streams>>,
    /// Who serves connections besides the thread that runs it.
    workers: Arc<Workers>,
    /// Hears of connections that end.
    surplus: Arc<Surplus>,
}

/// The engine's bounds, what the driver logs, and how fast a client may publish, as a part that
/// takes new settings.
struct Bounds(Arc<Driver>, Arc<Rates>);

/// Who may come in at each listener, and what they may do, as a part that takes new settings.
struct Access {
    driver: Arc<Driver>,
    porch: Arc<Porch>,
    /// By the address that the settings name.
    doors: Vec<(Address, Arc<Door>)>,
    window: Option<http::window::Latch>,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What a listener speaks TLS with cannot be used.
    #[error("{}", lines(.0))]
    Tls(Vec<Fault>),
    /// A port cannot be opened.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// Which.
        address: Address,
        /// The operating system's words.
        source: io::Error,
    },
}

/// How long an orderly stop may take: clients get their last packets, then the rest is cut off.
const STOP_MAX: Duration = Duration::from_secs(10);

impl Server {
    /// Opens the store, then every port; nothing is accepted before all of them are open. Needs the
    /// runtime that will run it.
    ///
    /// # Errors
    /// When the store cannot be read or a port cannot be opened.
    pub fn start(settings: Settings, store: Box<dyn Store>) -> Result<Self, StartError> {
        let clock = Clock::start();
        let driver = Driver::start(settings.driver.clone(), clock, store)?;
        let (stopping, stopped) = watch::channel(false);
        let porch = Porch::new(settings.password_checks_max, settings.guard, clock);
        let porch = Arc::new(porch.asking(settings.inquiry.clone()));
        let (mut listeners, mut doors) = (Vec::new(), Vec::new());
        let rates = Arc::new(Rates::default());
        rates.set(settings.rates);
        let (mut made, mut desks) = (Made::default(), Vec::new());
        let connections = Arc::new(Semaphore::new(settings.connections_max as usize));
        let surplus = Arc::new(Surplus::default());
        for (wanted, policy) in settings.listeners.clone() {
            let address = wanted.address.clone();
            let tls = made.desk(&wanted)?;
            desks.push((address.clone(), Arc::clone(&tls)));
            let door = Arc::new(Door::new(policy, Arc::clone(&porch)));
            doors.push((address.clone(), Arc::clone(&door)));
            let shared = Shared {
                driver: Arc::clone(&driver),
                decode_limits: settings.decode_limits,
                connect_timeout: settings.connect_timeout,
                door,
                proxy: wanted.proxy.clone(),
                tls,
                websocket: wanted.websocket.clone(),
                terms: wanted.terms.clone(),
                rates: Arc::clone(&rates),
                clock,
                stopping: stopped.clone(),
                places: Places::new(&wanted, Arc::clone(&connections)),
                surplus: Arc::clone(&surplus),
            };
            let listener =
                Listener::bind(wanted).map_err(|source| StartError::Bind { address, source })?;
            listener.log_opened();
            listeners.push((listener, Arc::new(shared)));
        }
        let window_desk = settings.window.as_ref().map(|(window, _)| made.window_desk(window));
        let window_desk = window_desk.transpose()?;
        made.warn();
        let (bridges, bridging) = bridges(&settings.bridges, &driver).map_err(StartError::Tls)?;
        let window = settings.window.clone().zip(window_desk.clone());
        let window = window.map(|window| open_window(window, &driver, &porch, &stopped));
        let window = window.transpose()?;
        let connections_max = settings.connections_max;
        // Whoever can take new settings while it runs stands here.
        let latch = window.as_ref().map(http::window::Window::latch);
        let access = Access { driver: Arc::clone(&driver), porch, doors, window: latch };
        let parts: Vec<Arc<dyn Part>> = vec![
            Arc::new(Bounds(Arc::clone(&driver), rates)),
            Arc::new(access),
            Arc::new(Certificates::new(desks, window_desk)),
            Arc::new(bridging),
        ];
        let reloader = Arc::new(Reloader::new(settings, parts));
        Ok(Self {
            driver,
            listeners,
            window,
            bridges,
            connections,
            connections_max,
            stopping,
            reloader,
            streams: None,
            workers: Arc::default(),
            surplus,
        })
    }

    /// The same, with the log that its store records to: it is seen to while the server runs, and
    /// read for clients that ask for history. Needs the runtime that will run it.
    #[must_use]
    pub fn tending(self, log: Log) -> Self {
        if let Some(window) = &self.window {
            window.show(log.clone());
        }
        historian::serve(log.clone(), &self.driver);
        let streams = Arc::new(Streams::new(log, Arc::clone(&self.driver)));
        self.reloader.add(Arc::new(Recorded(Arc::clone(&streams))));
        Self { streams: Some(streams), ..self }
    }

    /// The same, with these workers beside the thread that runs it.
    #[must_use]
    pub fn served_by(self, workers: Workers) -> Self {
        Self { workers: Arc::new(workers), ..self }
    }

    /// The same; each of its threads so far calls `give_back` once clients have left memory behind
    /// that their allocator may give back to the system. Needs the runtime that will run it.
    #[must_use]
    pub fn giving_back(self, give_back: fn()) -> Self {
        self.workers.tend(&self.surplus, give_back);
        self
    }

    /// What is recorded, for whoever reads it.
    pub fn log(&self) -> Option<Log> {
        self.streams.as_ref().map(|streams| streams.log().clone())
    }

    /// Where it listens, in the order of the settings; sockets of the file system aside.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|(listener, _)| listener.address().ip()).collect()
    }

    /// Where the window is, if there is one.
    pub fn window(&self) -> Option<SocketAddr> {
        self.window.as_ref().map(http::window::Window::address)
    }

    /// The pump, for whoever embeds the broker and wants to see what it counts.
    pub fn driver(&self) -> Arc<Driver> {
        Arc::clone(&self.driver)
    }

    /// The parts that take new settings while they run.
    pub fn reloader(&self) -> Arc<Reloader> {
        Arc::clone(&self.reloader)
    }

    /// Serves until `stop` is done; then stops in order: no new connections, every client gets
    /// what waits for it and its farewell, and what was changed is kept.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let pump = tokio::spawn(Arc::clone(&self.driver).run());
        self.bridges.settle().await;
        let bridges = tokio::spawn(self.bridges.run(self.stopping.subscribe()));
        let mut accepting = JoinSet::new();
        for (listener, shared) in self.listeners {
            accepting.spawn(listener.run(shared, Arc::clone(&self.workers)));
        }
        if let Some(window) = self.window {
            accepting.spawn(window.run(Arc::clone(&self.connections)));
        }
        let watch = tokio::spawn(reload::watch(self.reloader));
        let tend = self.streams.clone().map(|streams| tokio::spawn(streams.tend()));
        stop.await;
        watch.abort();
        if let Some(tend) = tend {
            tend.abort();
        }
        self.stopping.send_replace(true);
        while accepting.join_next().await.is_some() {}
        // Each says goodbye to its broker.
        // A panic in there has been reported by the panic itself.
        let _ = bridges.await;
        self.driver.shut_down();
        let open = self.connections_max as usize - self.connections.available_permits();
        if open > 0 {
            tracing::info!("Stopping: {open} connections get their last packets.");
        }
        let all_closed = self.connections.acquire_many(self.connections_max);
        if tokio::time::timeout(STOP_MAX, all_closed).await.is_err() {
            tracing::warn!("Some connections did not end in time and are cut off.");
        }
        pump.abort();
        let (driver, streams) = (self.driver, self.streams);
        let finish = move || {
            if let Some(streams) = streams {
                streams.end_sealing();
            }
            driver.finish_commits();
        };
        // A panic in there has been reported by the panic itself.
        let _ = tokio::task::spawn_blocking(finish).await;
    }
}

impl Part for Bounds {
    fn name(&self) -> &'static str {
        "limits"
    }

    fn prepare(&self, settings: &Settings) -> Result<Change, Vec<String>> {
        let (driver, rates) = (Arc::clone(&self.0), Arc::clone(&self.1));
        let (settings, new_rates) = (settings.driver.clone(), settings.rates);
        Ok(Box::new(move || {
            driver.change(settings);
            rates.set(new_rates);
        }))
    }
}

impl Part for Access {
    fn name(&self) -> &'static str {
        "access"
    }

    /// The files of the policies were read with the settings. Listeners that come or go wait for
    /// the next start.
    fn prepare(&self, settings: &Settings) -> Result<Change, Vec<String>> {
        let policy_of = |wanted: &Address| {
            let mut listeners = settings.listeners.iter();
            listeners.find(|(listener, _)| listener.address == *wanted).map(|(_, policy)| policy)
        };
        let kept = self.doors.iter().filter_map(|(address, door)| {
            let policy = policy_of(address)?.asking_as(&door.policy());
            Some((Arc::clone(door), Arc::new(policy)))
        });
        // A window that comes or goes waits for the next start, too.
        let window = self.window.clone().zip(settings.window.clone());
        let (policies, driver) = (kept.collect::<Vec<_>>(), Arc::clone(&self.driver));
        let (porch, limits) = (Arc::clone(&self.porch), settings.guard);
        Ok(Box::new(move || {
            porch.limit(limits);
            porch.forget_answers();
            for (door, policy) in policies {
                door.replace(policy);
            }
            if let Some((latch, (settings, policy))) = window {
                latch.replace(settings.keys, policy);
            }
            driver.renew_permits();
        }))
    }
}

fn lines(faults: &[Fault]) -> String {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n")
}

fn open_window(
    ((settings, policy), tls): (Window, Arc<Acceptor>),
    driver: &Arc<Driver>,
    porch: &Arc<Porch>,
    stopped: &watch::Receiver<bool>,
) -> Result<http::window::Window, StartError> {
    let address = Address::Ip(settings.address);
    let door = Arc::new(Door::new(policy, Arc::clone(porch)));
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    let window = http::window::Window::bind(settings, driver, (door, tls), stopped.clone())
        .map_err(|source| StartError::Bind { address, source })?;
    let (address, port) = (window.address(), window.address().port());
    tracing::info!(%address, "Opening {scheme} listen socket on port {port}.");
    Ok(window)
}
