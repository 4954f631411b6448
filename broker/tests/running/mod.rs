//! Martlet, running on a free port of the loopback interface, with its log.

#![allow(dead_code, reason = "each test uses its part")]

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use martlet::access::{self, Policy};
use martlet::driver::{self, Driver, turn};
use martlet::net::listener;
use martlet::net::workers::Workers;
use martlet::server::reload::Reloader;
use martlet::server::{Server, Settings};
use martlet::store::memory::Memory;
use martlet_codec::decode::DecodeLimits;
use martlet_engine::limits::Limits;
use tokio::sync::oneshot;

/// How long something may take that happens at once where nothing else runs.
const PATIENCE: Duration = Duration::from_secs(20);

/// A broker on threads of its own. Stopped in order when dropped.
pub struct Running {
    settings: Settings,
    store: Memory,
    log: Log,
    addresses: Vec<SocketAddr>,
    window: Option<SocketAddr>,
    driver: Option<Arc<Driver>>,
    reloader: Option<Arc<Reloader>>,
    threads: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

/// What it logged, line by line.
#[derive(Clone, Default)]
pub struct Log(Arc<(Mutex<Vec<u8>>, Condvar)>);

/// One listener for everybody, and otherwise what a broker has by default.
pub fn settings() -> Settings {
    let listener = listener::Settings::at((Ipv4Addr::LOCALHOST, 0).into());
    Settings {
        listeners: vec![(listener, open())],
        window: None,
        password_checks_max: 2,
        guard: Default::default(),
        bridges: Vec::new(),
        inquiry: None,
        driver: driver::Settings {
            streams: Vec::new(),
            limits: Limits { sys_interval_s: 0, ..Limits::default() },
            outbox_bytes_max: 256 * 1024,
            connection_messages: true,
            wording: Default::default(),
        },
        decode_limits: DecodeLimits { packet_size_max: 10_000_000, topic_levels_max: 200 },
        connections_max: 1000,
        connect_timeout: Duration::from_secs(30),
        rates: Default::default(),
        recorded: Vec::new(),
    }
}

/// Everybody may come in and do everything.
pub fn open() -> Arc<Policy> {
    let settings = access::Settings { allow_anonymous: true, ..access::Settings::default() };
    Arc::new(Policy::load(&settings).expect("no files"))
}

impl Running {
    pub fn start(settings: Settings) -> Self {
        let (store, log) = (Memory::default(), Log::default());
        let addresses = Vec::new();
        let (window, driver, reloader, threads) = (None, None, None, None);
        let mut broker =
            Self { settings, store, log, addresses, window, driver, reloader, threads };
        broker.run();
        broker
    }

    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Of each listener that has an IP address.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where its window is.
    pub fn window(&self) -> SocketAddr {
        self.window.expect("its settings have a window")
    }

    /// The pump of the broker that runs.
    pub fn driver(&self) -> Arc<Driver> {
        Arc::clone(self.driver.as_ref().expect("it was started"))
    }

    /// The parts of it that take new settings.
    pub fn reloader(&self) -> &Reloader {
        self.reloader.as_ref().expect("it was started")
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Stops it in order and starts another on what it kept.
    pub fn restart(&mut self) {
        self.stop();
        self.run();
    }

    fn run(&mut self) {
        let (settings, store, log) = (self.settings.clone(), self.store.clone(), self.log.clone());
        let (started, addresses) = std::sync::mpsc::sync_channel(1);
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let listen = log.listener();
            let mut builder = turn::runtime(turn::WAIT_MAX);
            let runtime = builder.on_thread_start(listen.clone()).build();
            let workers = Workers::start(1, turn::WAIT_MAX, listen).expect("a thread");
            runtime.expect("a runtime of tokio's").block_on(async {
                let _log = log.listen();
                let server = Server::start(settings, Box::new(store)).expect("a server starts");
                let server = server.served_by(workers);
                started
                    .send((server.addresses(), server.window(), server.driver(), server.reloader()))
                    .expect("the test waits for it");
                let stop = async { drop(stopped.await) };
                tokio::spawn(server.run(stop)).await.expect("a server that does not panic");
            });
        });
        let (addresses, window, driver, reloader) =
            addresses.recv().expect("the server says where it listens");
        (self.addresses, self.window) = (addresses, window);
        (self.driver, self.reloader) = (Some(driver), Some(reloader));
        self.threads = Some((stop, thread));
    }

    fn stop(&mut self) {
        (self.driver, self.reloader) = (None, None);
        let Some((stop, thread)) = self.threads.take() else { return };
        drop(stop);
        let ended = thread.join();
        assert!(ended.is_ok() || std::thread::panicking(), "the server panicked");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Log {
    /// Takes what this thread logs.
    pub fn listen(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing::Level::INFO)
            .with_writer(move || log.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    /// What lets a thread's whole life be listened to, called on it.
    pub fn listener(&self) -> impl Fn() + Clone + Send + Sync + use<> + 'static {
        let log = self.clone();
        move || std::mem::forget(log.listen())
    }

    pub fn lines(&self) -> Vec<String> {
        lines(&self.0.0.lock().expect("nobody panics with it"))
    }

    /// The lines that hold this, once there is one: a peer may notice what happens before the log
    /// has it.
    pub fn with(&self, part: &str) -> Vec<String> {
        let (bytes, news) = &*self.0;
        let bytes = bytes.lock().expect("nobody panics with it");
        let lacks = |bytes: &mut Vec<u8>| !lines(bytes).iter().any(|line| line.contains(part));
        drop(news.wait_timeout_while(bytes, PATIENCE, lacks).expect("nobody panics with it"));
        self.so_far(part)
    }

    /// The lines that hold this by now.
    pub fn so_far(&self, part: &str) -> Vec<String> {
        self.lines().into_iter().filter(|line| line.contains(part)).collect()
    }
}

fn lines(log: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(log).lines().map(str::to_owned).collect()
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.0.lock().expect("nobody panics with it").extend(bytes);
        self.0.1.notify_all();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
