//! A broker as a child process.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use thiserror::Error;

use crate::martlet;
use crate::ports::Port;

/// How often and how many times a broker's port and its end are looked at: 20 seconds together.
const PAUSE: Duration = Duration::from_millis(10);
const PAUSES_MAX: u32 = 2_000;

/// Which broker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Ours.
    Martlet,
    /// Debian's mosquitto, the control.
    Mosquitto,
}

impl Kind {
    /// The name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Martlet => "martlet",
            Self::Mosquitto => "mosquitto",
        }
    }
}

/// Why there is no broker.
#[derive(Debug, Error)]
pub enum BrokerError {
    /// Cargo could not build Martlet.
    #[error("{0}")]
    Build(String),
    /// The program is not there.
    #[error("cannot start {program}: {source}{hint}")]
    Start {
        /// Its path.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
        /// What to do about it.
        hint: &'static str,
    },
    /// It ended before it listened.
    #[error("{program} ended with {status} before it listened; its log:\n{log}")]
    Ended {
        /// Its path.
        program: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// All it said.
        log: String,
    },
    /// It runs and does not listen.
    #[error("{program} does not listen on port {port}; its log:\n{log}")]
    Deaf {
        /// Its path.
        program: PathBuf,
        /// Where it should.
        port: u16,
        /// All it said.
        log: String,
    },
    /// Temporary files, ports.
    #[error("cannot prepare a broker: {0}")]
    Io(#[from] io::Error),
}

/// A running broker on 127.0.0.1 that allows anonymous clients and has its defaults otherwise.
/// Dropped, it is killed, by its process id.
#[derive(Debug)]
pub struct Broker {
    kind: Kind,
    command: Command,
    child: Child,
    port: Port,
    folder: TempDir,
}

impl Broker {
    /// Martlet, built from the sources beside us.
    ///
    /// # Panics
    /// When it does not start: the test that asked has failed.
    pub fn martlet() -> Self {
        Self::martlet_with("")
    }

    /// Martlet with a configuration, in TOML, that defines no listener.
    ///
    /// # Panics
    /// When it does not start: the test that asked has failed.
    pub fn martlet_with(config: &str) -> Self {
        let binary = martlet::binary();
        let broker = binary.and_then(|binary| Self::start(Kind::Martlet, &binary, config));
        broker.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Debian's mosquitto.
    ///
    /// # Panics
    /// When it does not start: the test that asked has failed.
    pub fn mosquitto() -> Self {
        let broker = Self::start(Kind::Mosquitto, &mosquitto_binary(), "");
        broker.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts `program` on a free port, with `config` besides, and waits until it listens.
    ///
    /// # Errors
    /// When it cannot be started or does not listen.
    pub fn start(kind: Kind, program: &Path, config: &str) -> Result<Self, BrokerError> {
        Self::start_in(TempDir::with_prefix("martlet-test-")?, kind, program, config)
    }

    /// As [`start`](Self::start), with what it keeps in this folder's `data`.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_in(
        folder: TempDir,
        kind: Kind,
        program: &Path,
        config: &str,
    ) -> Result<Self, BrokerError> {
        let port = Port::reserve()?;
        let command = command(kind, program, port.number(), folder.path(), config)?;
        Self::spawn(kind, program, command, port, folder)
    }

    /// Starts `program` with a configuration file that opens `port` or none, and waits until it
    /// listens there. `folder` is kept for it, and has its output.
    ///
    /// # Errors
    /// When it cannot be started or does not listen.
    pub fn with_file(
        kind: Kind,
        program: &Path,
        file: &Path,
        port: Port,
        folder: TempDir,
    ) -> Result<Self, BrokerError> {
        let mut command = martlet::command(program);
        command.arg("-c").arg(file).args(["-p", &port.number().to_string()]);
        Self::spawn(kind, program, command, port, folder)
    }

    fn spawn(
        kind: Kind,
        program: &Path,
        mut command: Command,
        port: Port,
        folder: TempDir,
    ) -> Result<Self, BrokerError> {
        let log = File::create(folder.path().join("output"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().map_err(|source| BrokerError::Start {
            program: program.to_owned(),
            source,
            hint: match kind {
                Kind::Martlet => "",
                Kind::Mosquitto => " (Debian's package is `mosquitto`: apt-get install mosquitto)",
            },
        })?;
        let mut broker = Self { kind, command, child, port, folder };
        broker.wait_until_listening()?;
        Ok(broker)
    }

    /// Ends it with SIGKILL, to be started again.
    ///
    /// # Panics
    /// When it has ended by itself before.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs until it is waited for");
        self.child.wait().expect("a child can be waited for");
    }

    /// Starts it again after [`kill`](Self::kill): on its port, with what it had kept.
    ///
    /// # Panics
    /// When it does not start: the test that asked has failed.
    pub fn start_again(&mut self) {
        self.child = self.command.spawn().expect("it was started before");
        self.wait_until_listening().unwrap_or_else(|error| panic!("{error}"));
    }

    /// Starts `program` with a mosquitto.conf: a listener on a free port, with `config` below it.
    ///
    /// # Errors
    /// When it cannot be started or does not listen.
    pub fn start_with_conf(kind: Kind, program: &Path, config: &str) -> Result<Self, BrokerError> {
        Self::start_with_conf_and(kind, program, config, &[])
    }

    /// As [`start_with_conf`](Self::start_with_conf), in an environment that has these besides.
    ///
    /// # Errors
    /// When it cannot be started or does not listen.
    pub fn start_with_conf_and(
        kind: Kind,
        program: &Path,
        config: &str,
        variables: &[(&str, &str)],
    ) -> Result<Self, BrokerError> {
        let port = Port::reserve()?;
        let folder = TempDir::with_prefix("martlet-test-")?;
        let file = folder.path().join("mosquitto.conf");
        fs::write(&file, format!("listener {} 127.0.0.1\n{config}", port.number()))?;
        let mut command = martlet::command(program);
        command.arg("-c").arg(file).current_dir(folder.path()).envs(variables.iter().copied());
        Self::spawn(kind, program, command, port, folder)
    }

    /// One that this command has started, with pipes of its own; waits until it listens on `port`.
    ///
    /// # Errors
    /// When it does not listen.
    pub fn of_child(
        kind: Kind,
        command: Command,
        child: Child,
        port: Port,
        folder: TempDir,
    ) -> Result<Self, BrokerError> {
        let mut broker = Self { kind, command, child, port, folder };
        broker.wait_until_listening()?;
        Ok(broker)
    }

    /// Which one it is.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Its port on 127.0.0.1.
    pub const fn port(&self) -> u16 {
        self.port.number()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All it has written to standard output and standard error.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("output")).unwrap_or_default()
    }

    /// The folder that is kept for it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Waits until its log is as wanted, and answers the log.
    ///
    /// # Errors
    /// The log, when it is not so within 20 seconds.
    pub fn wait_for_log(&self, wanted: impl Fn(&str) -> bool) -> Result<String, String> {
        if self.wait_until(|| wanted(&self.log())) { Ok(self.log()) } else { Err(self.log()) }
    }

    /// Waits until something is so; `false` when it is not so within 20 seconds.
    pub fn wait_until(&self, so: impl Fn() -> bool) -> bool {
        for _ in 0..PAUSES_MAX {
            if so() {
                return true;
            }
            pause();
        }
        false
    }

    /// Sends a signal, and waits for the end. `None`: it does not end within 20 seconds, and is
    /// killed.
    pub fn stop(self, signal: Signal) -> Option<ExitStatus> {
        self.stop_and_log(signal).map(|(status, _)| status)
    }

    /// As [`stop`](Self::stop), with all that it has written until its end.
    pub fn stop_and_log(mut self, signal: Signal) -> Option<(ExitStatus, String)> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).ok()?;
        for _ in 0..PAUSES_MAX {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some((status, self.log()));
            }
            pause();
        }
        None
    }

    fn wait_until_listening(&mut self) -> Result<(), BrokerError> {
        let program = PathBuf::from(self.command.get_program());
        for _ in 0..PAUSES_MAX {
            if let Some(status) = self.child.try_wait()? {
                return Err(BrokerError::Ended { program, status, log: self.log() });
            }
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port())).is_ok() {
                return Ok(());
            }
            pause();
        }
        Err(BrokerError::Deaf { program, port: self.port(), log: self.log() })
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Fails only when it has ended already, and then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where Debian puts the broker, which is not in every user's `PATH`.
pub fn mosquitto_binary() -> PathBuf {
    let debian = Path::new("/usr/sbin/mosquitto");
    if debian.exists() { debian.to_owned() } else { PathBuf::from("mosquitto") }
}

/// The command line of a broker on `port` of the loopback addresses with its state in `folder`.
fn command(
    kind: Kind,
    program: &Path,
    port: u16,
    folder: &Path,
    config: &str,
) -> io::Result<Command> {
    let mut command = martlet::command(program);
    let file = folder.join("config");
    let listener = match kind {
        Kind::Martlet => {
            command.args(["-p", &port.to_string()]).arg("--data").arg(folder.join("data"));
            String::new()
        }
        Kind::Mosquitto => format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\npersistence_location {}/\n",
            folder.display(),
        ),
    };
    let text = listener + config;
    if !text.is_empty() {
        fs::write(&file, text)?;
        command.arg("-c").arg(file);
    }
    Ok(command)
}

#[expect(clippy::disallowed_methods, reason = "a port and an exit can only be looked at again")]
fn pause() {
    std::thread::sleep(PAUSE);
}
