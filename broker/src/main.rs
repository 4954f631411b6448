//! The binary `martlet`: reads the command line and the configuration, then runs the server until
//! it is asked to stop.

use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::thread::available_parallelism;

use martlet::cli::{Arguments, BAD_CONFIGURATION, FAILED, Todo};
use martlet::config::Config;
use martlet::server::{Server, StartError};
use martlet::store::memory::Volatile;
use martlet::store::{Store, StoreError, durable};
use martlet::{clock, logging, machine, signals};
use tokio::runtime::{Builder, Runtime};

const VERSION: &str = concat!("martlet version ", env!("CARGO_PKG_VERSION"));

fn main() -> ExitCode {
    match Arguments::of_process().resolve(std::env::vars_os().collect()) {
        Ok(Todo::Serve(resolved)) => serve(resolved.config),
        Ok(Todo::Print(text)) => match std::io::stdout().write_all(text.as_bytes()) {
            // Whoever closes the pipe has read enough.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                complain(&format!("Cannot write to standard output: {error}."));
                ExitCode::from(FAILED)
            }
            Ok(()) | Err(_) => ExitCode::SUCCESS,
        },
        Err(mistakes) => {
            complain(&mistakes.to_string());
            ExitCode::from(BAD_CONFIGURATION)
        }
    }
}

fn serve(config: Config) -> ExitCode {
    logging::init(config.log, clock::wall);
    match run(config) {
        Ok(()) => {
            tracing::info!("{VERSION} terminating");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            tracing::error!("{failure}");
            ExitCode::from(FAILED)
        }
    }
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
    for notice in &config.notices {
        tracing::info!("{notice}");
    }
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
}

fn run(config: Config) -> Result<(), String> {
    announce(&config);
    let mut server = config.server.clone();
    let open_files = machine::raise_open_files();
    if let Some(possible) = machine::fewer_connections(open_files, server.connections_max)? {
        if config.connections_chosen {
            tracing::warn!("{}", machine::explain_fewer(possible, server.connections_max));
        }
        server.connections_max = possible;
    }
    tracing::debug!("At most {} connections at a time.", server.connections_max);
    let stop = signals::listen(end_at_once).map_err(|e| format!("Cannot hear signals: {e}."))?;
    // May take a while: whoever asks it to stop meanwhile is heard.
    let store = open_store(&config).map_err(|error| format!("Cannot keep state: {error}."))?;
    server.listeners.retain(|(listener, _)| {
        !config.optional_addresses.contains(&listener.address) || exists_here(listener.address)
    });
    let runtime = runtime().map_err(|e| format!("Cannot start threads: {e}."))?;
    runtime.block_on(async {
        let server = Server::start(server, store).map_err(|error| match error {
            StartError::Bind { address, source } => machine::diagnose_bind(address, &source),
            StartError::Store(_) => error.to_string(),
        })?;
        tracing::info!("{VERSION} running");
        // The sender lives as long as the thread that hears signals: for ever.
        server.run(async { drop(stop.await) }).await;
        Ok(())
    })
}

/// The store that the configuration asks for.
fn open_store(config: &Config) -> Result<Box<dyn Store>, StoreError> {
    let Some(sync) = config.sync else {
        tracing::warn!("data.sync is \"off\": sessions and retained messages end with the broker.");
        return Ok(Box::new(Volatile));
    };
    let folder = config.data_dir.clone();
    tracing::info!("Opening the store in {}.", folder.display());
    // A colon is no good character in the name of a file.
    let date = humantime::format_rfc3339_seconds(clock::wall()).to_string().replace(':', "-");
    Ok(Box::new(durable::open(durable::Settings { sync, ..durable::Settings::new(folder, date) })?))
}

fn exists_here(address: SocketAddr) -> bool {
    let exists = machine::has_address(address.ip());
    if !exists {
        tracing::info!("{address} is not opened: this machine has no IPv6.");
    }
    exists
}

/// One worker for each processor that this process may use. One alone needs no threads.
fn runtime() -> std::io::Result<Runtime> {
    match available_parallelism().map_or(1, usize::from) {
        1 => Builder::new_current_thread().enable_all().build(),
        workers => Builder::new_multi_thread().worker_threads(workers).enable_all().build(),
    }
}

fn end_at_once(words: &str) {
    complain(words);
    std::process::exit(FAILED.into());
}

/// Says something where there is no log, or not any more.
fn complain(words: &str) {
    // Where standard error is gone there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "{words}");
}
