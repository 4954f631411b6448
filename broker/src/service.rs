//! # One run of the broker
//!
//! From a configuration that was read, through whatever an operator asks while it runs, to its end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use crate::config::{self, Config, Resolved, Sources};
use crate::driver::{self, Driver, turn};
use crate::logging::Log;
use crate::net::workers::Workers;
use crate::server::reload::Reloader;
use crate::server::{Server, StartError};
use crate::signals::Request;
use crate::store::disk::Real;
use crate::store::memory::Volatile;
use crate::store::recorder::Recorder;
use crate::store::{Store, StoreError, durable};
use crate::telemetry::log as records;
use crate::{clock, daemon, logging, machine, server, signals, supervisor};

const VERSION: &str = concat!("martlet version ", env!("CARGO_PKG_VERSION"));

/// Why a run failed, in words; they were logged.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failure(String);

/// What is for the program to say, not for the broker.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// What a second request to stop leads to, with the words to say.
    pub end_at_once: fn(&str),
    /// Gives memory that a thread no longer needs back to the system.
    pub give_back: fn(),
}

/// Runs the broker until it is asked to stop.
///
/// `in_background`: it is the process that `-d` started.
///
/// # Errors
/// When it could not start.
pub fn run(
    resolved: Resolved,
    sources: Sources,
    in_background: bool,
    program: Program,
) -> Result<(), Failure> {
    let log = start_log(&resolved.config)?;
    let ended = match serve(&log, resolved, sources, in_background, program) {
        Ok(()) => {
            tracing::info!("{VERSION} terminating");
            Ok(())
        }
        Err(failure) => {
            tracing::error!("{failure}");
            Err(Failure(failure))
        }
    };
    log.flush();
    ended
}

/// What is wrong with the log itself is said on standard error.
fn start_log(config: &Config) -> Result<Log, Failure> {
    logging::init(config.log.clone(), clock::wall).map_err(|mistakes| {
        let failure = mistakes.join("\n");
        if let Ok(log) = logging::init(logging::Settings::for_people(), clock::wall) {
            tracing::error!("{failure}");
            log.flush();
        }
        Failure(failure)
    })
}

fn serve(
    log: &Log,
    resolved: Resolved,
    sources: Sources,
    in_background: bool,
    program: Program,
) -> Result<(), String> {
    let config = &resolved.config;
    announce(config);
    if in_background {
        daemon::leave_session().map_err(|e| format!("Cannot leave the terminal: {e}."))?;
    }
    let mut settings = on_this_machine(config);
    let open_files = machine::raise_open_files();
    let (workers, wanted) = (workers_possible(), settings.connections_max);
    let own_files = machine::own_files(workers);
    if let Some(possible) = machine::fewer_connections(open_files, own_files, wanted)? {
        if config.connections_chosen {
            tracing::warn!("{}", machine::explain_fewer(possible, own_files, wanted));
        }
        settings.connections_max = possible;
    }
    tracing::debug!("At most {} connections at a time.", settings.connections_max);
    let heard =
        signals::listen(program.end_at_once).map_err(|e| format!("Cannot hear signals: {e}."))?;
    // May take a while: whoever asks it to stop meanwhile is heard.
    let (store, recorded) =
        open_store(config).map_err(|error| format!("Cannot keep state: {error}."))?;
    settings.listeners.retain(|(listener, _)| {
        let optional = listener.address.ip().filter(|ip| config.optional_addresses.contains(ip));
        optional.is_none_or(exists_here)
    });
    let started = start_workers(workers).map_err(|e| format!("Cannot start threads: {e}."));
    let (runtime, workers) = started?;
    runtime.block_on(async {
        let server = Server::start(settings, store).map_err(|error| match error {
            StartError::Bind { address, source } => machine::diagnose_bind(&address, &source),
            StartError::Store(_) | StartError::Tls(_) => error.to_string(),
        })?;
        let server = server.served_by(workers).giving_back(program.give_back);
        let server = match recorded {
            Some(recorded) => server.tending(recorded),
            None => server,
        };
        let _pid_file = resolved.config.identity.take_on()?;
        let (reloader, driver) = (server.reloader(), server.driver());
        driver.traffic.count_log_losses_of(log.losses());
        log.publish_with(Arc::new(driver::publisher(&driver)));
        let alive = tokio::spawn(supervisor::watch_over(Arc::clone(&driver)));
        let operated = Operated { resolved, sources, reloader, driver, log: log.clone() };
        tokio::spawn(operated.answer(heard.requests));
        tracing::info!("{VERSION} running");
        if in_background {
            daemon::let_go().map_err(|e| format!("Cannot let go of the terminal: {e}."))?;
        }
        supervisor::ready();
        // The sender lives as long as the thread that hears signals: for ever.
        let stop = async {
            drop(heard.stop.await);
            supervisor::stopping();
        };
        server.run(stop).await;
        alive.abort();
        Ok(())
    })
}

fn announce(config: &Config) {
    tracing::info!("{VERSION} starting");
    match &config.file {
        Some(file) => tracing::info!("Config loaded from {}.", file.display()),
        None => tracing::info!("Using default config."),
    }
    if config.local_only {
        tracing::info!(
            "Starting in local only mode. Connections will only be possible from clients running \
             on this machine."
        );
        tracing::info!(
            "Create a configuration file which defines a listener to allow remote access, and \
             start with -c FILE. `martlet config manual` shows how."
        );
    }
    pass_on(config);
}

/// What the server is told, with what nobody chose as this machine allows it.
fn on_this_machine(config: &Config) -> server::Settings {
    let mut settings = config.server.clone();
    let queues_bytes_max = &mut settings.driver.limits.all_queues_bytes_max;
    if *queues_bytes_max == 0 {
        *queues_bytes_max = machine::memory_bytes().map_or(0, |bytes| bytes / QUEUES_SHARE);
        tracing::debug!("At most {queues_bytes_max} bytes for the queues of all sessions.");
    }
    settings
}

/// The queues of all sessions together may have one part in so many of the memory.
const QUEUES_SHARE: u64 = 4;

/// What the reading of the configuration has to say.
fn pass_on(config: &Config) {
    for notice in &config.notices {
        tracing::info!("{notice}");
    }
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
}

/// The store that the configuration asks for, and the log behind it.
fn open_store(config: &Config) -> Result<(Box<dyn Store>, Option<records::Log>), StoreError> {
    let Some(sync) = config.sync else {
        tracing::warn!("data.sync is \"off\": sessions and retained messages end with the broker.");
        return Ok((Box::new(Volatile), None));
    };
    let folder = config.data_dir.clone();
    tracing::info!("Opening the store in {}.", folder.display());
    let date = clock::date(clock::wall());
    // Also without a stream: an earlier run may have left records in the journal.
    let settings = records::Settings::new(&folder, config.streams.clone());
    let log = records::Log::new(Arc::new(Real), settings);
    let recorder: Option<Arc<dyn Recorder>> = Some(Arc::new(log.clone()));
    let settings = durable::Settings { sync, recorder, ..durable::Settings::new(folder, date) };
    Ok((Box::new(durable::open(settings)?), Some(log)))
}

fn exists_here(address: SocketAddr) -> bool {
    let exists = machine::has_address(address.ip());
    if !exists {
        tracing::info!("{address} is not opened: this machine has no IPv6.");
    }
    exists
}

/// One for each processor that this process may use.
fn workers_possible() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// The first worker's runtime, for this thread, and the other workers.
fn start_workers(count: usize) -> io::Result<(Runtime, Workers)> {
    let first = turn::runtime(turn::WAIT_MAX).build()?;
    Ok((first, Workers::start(count - 1, turn::WAIT_MAX, || {})?))
}

/// A broker that runs, as an operator may change it.
struct Operated {
    resolved: Resolved,
    sources: Sources,
    reloader: Arc<Reloader>,
    driver: Arc<Driver>,
    log: Log,
}

impl Operated {
    /// Does what is asked, one request after the other, until it is dropped.
    async fn answer(mut self, mut requests: mpsc::Receiver<Request>) {
        while let Some(request) = requests.recv().await {
            // Files are read and engines walked: not on a thread that serves connections.
            let answered = tokio::task::spawn_blocking(move || {
                self.see_to(request);
                self
            });
            match answered.await {
                Ok(operated) => self = operated,
                // A panic in there has been reported by the panic itself.
                Err(_) => return,
            }
        }
    }

    fn see_to(&mut self, request: Request) {
        match request {
            Request::Reload => self.reload(),
            Request::Save => self.driver.checkpoint(),
            Request::PrintTree => {
                for line in self.driver.subscriptions() {
                    tracing::info!("{line}");
                }
            }
            Request::ReopenLog => self.log.reopen(),
        }
    }

    /// Takes the configuration as it is written now, all of it or nothing.
    fn reload(&mut self) {
        tracing::info!("Reloading config.");
        supervisor::reloading();
        match self.read_and_apply() {
            Ok(()) => tracing::info!("The configuration was reloaded."),
            Err(mistakes) => {
                // Whoever rotates logs has renamed the files, whatever the configuration says.
                self.log.reopen();
                for mistake in mistakes {
                    tracing::error!("{mistake}");
                }
                tracing::error!("The configuration was not reloaded: the one before stays in use.");
            }
        }
        supervisor::ready();
    }

    fn read_and_apply(&mut self) -> Result<(), Vec<String>> {
        let resolved = config::load(&self.sources)
            .map_err(|mistakes| mistakes.0.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        // It opens the files of the log anew, also those that stay the same.
        let log = self.log.prepare(resolved.config.log.clone());
        let ready = self.reloader.prepare(on_this_machine(&resolved.config));
        let (log, ready) = match (log, ready) {
            (Ok(log), Ok(ready)) => (log, ready),
            (log, ready) => {
                let mistakes = [log.err(), ready.err()].into_iter().flatten();
                return Err(mistakes.flatten().collect());
            }
        };
        ready.apply();
        log.apply();
        pass_on(&resolved.config);
        for option in self.resolved.waits_for_restart(&resolved) {
            tracing::warn!("{option} has changed, which takes effect at the next start only.");
        }
        self.resolved = resolved;
        Ok(())
    }
}
