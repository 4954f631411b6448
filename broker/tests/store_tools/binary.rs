//! The binary as a process on a folder of its own, and where it may stand: as another user, or with
//! file systems of its own.

use std::fs;
use std::io::{BufRead, BufReader, Write, stderr};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::process::{Pid, Signal, getuid, kill_process};

const CONFIGURATION: &str = "\
    [[listener]]\naddress = '127.0.0.1:0'\nallow_anonymous = true\n[sys]\ninterval_s = 1\n";

pub const BINARY: &str = env!("CARGO_BIN_EXE_martlet");

/// Held while a process is made, and while a store is open in this one: until a child runs its own
/// program it holds what this process had open, locks among it.
pub static FORKS: Mutex<()> = Mutex::new(());

pub fn spawn(command: &mut Command) -> Child {
    let _alone = FORKS.lock().unwrap_or_else(PoisonError::into_inner);
    command.spawn().unwrap()
}

/// What a run ended with.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

pub fn run(command: &mut Command) -> Ended {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = spawn(command).wait_with_output().unwrap();
    Ended {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// `martlet store ...`, its folder as the last word.
pub fn store(words: &[&str], folder: &Path) -> Ended {
    run(Command::new(BINARY).env_clear().arg("store").args(words).arg(folder))
}

/// A broker that runs; killed when a test fails.
pub struct Broker {
    child: Child,
    log: BufReader<ChildStderr>,
    pub said: String,
    pub address: SocketAddr,
}

impl Broker {
    /// On `dir/data`.
    pub fn start(dir: &Path) -> Self {
        Self::start_by(Command::new(BINARY), dir, &dir.join("data"))
    }

    /// `command` runs the binary with the arguments behind its own.
    pub fn start_by(mut command: Command, dir: &Path, folder: &Path) -> Self {
        let file = dir.join("martlet.toml");
        fs::write(&file, CONFIGURATION).unwrap();
        command.arg("-c").arg(file).arg("--data").arg(folder);
        let mut child = spawn(command.stderr(Stdio::piped()).stdin(Stdio::null()));
        let log = BufReader::new(child.stderr.take().unwrap());
        let address = ([127, 0, 0, 1], 0).into();
        let mut broker = Self { child, log, said: String::new(), address };
        broker.wait_for(" running");
        let port = broker.said.rsplit_once("address=").unwrap().1.lines().next().unwrap();
        broker.address = port.trim().parse().unwrap();
        broker
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Reads the log up to the line with these words.
    pub fn wait_for(&mut self, words: &str) {
        loop {
            let start = self.said.len();
            self.log.read_line(&mut self.said).unwrap();
            let line = &self.said[start..];
            assert!(!line.is_empty(), "ended without saying {words:?}:\n{}", self.said);
            if line.contains(words) {
                return;
            }
        }
    }

    pub fn end(mut self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Ended already, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What runs a command as somebody whom permission bits bind; none where that is everybody.
pub fn as_nobody() -> Command {
    if !getuid().is_root() {
        return Command::new("env");
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command
}

/// A world with mounts of its own, as long as this lives.
pub struct Mounts {
    holder: Child,
    folder: PathBuf,
}

impl Mounts {
    /// `script` mounts something on its `$1`, which is `folder`. `None`, and said so: this machine
    /// lets nobody mount.
    pub fn new(script: &str, folder: &Path) -> Option<Self> {
        let script = format!("{script} && echo mounted && exec sleep 3600");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation=private"]);
        if !getuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["sh", "-c", &script, "sh"]).arg(folder);
        let mut holder = spawn(command.stdout(Stdio::piped()));
        let mut said = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let mounts = Self { holder, folder: folder.to_owned() };
        if said != "mounted\n" {
            // Past the capture: whoever runs the tests should see it.
            let _ = writeln!(stderr(), "SKIPPED: this machine lets nobody mount anything");
            return None;
        }
        Some(mounts)
    }

    /// Runs a command in there.
    pub fn command(&self) -> Command {
        let mut command = Command::new("nsenter");
        if !getuid().is_root() {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.arg("--mount").arg("--target").arg(self.holder.id().to_string()).arg("--");
        command
    }

    /// The folder from out here.
    pub fn folder(&self) -> PathBuf {
        let inside = self.folder.strip_prefix("/").unwrap();
        Path::new("/proc").join(self.holder.id().to_string()).join("root").join(inside)
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
