//! The binary as a process, and a wire to it that a test may cut.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// Longer than anything takes unless it is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A broker that keeps its folder from one life to the next.
pub(crate) struct Broker {
    dir: tempfile::TempDir,
    configuration: String,
    running: Option<Running>,
    /// What it said in all its lives.
    said: Arc<Said>,
}

struct Running {
    child: Child,
    addresses: Vec<SocketAddr>,
}

#[derive(Default)]
pub(crate) struct Said(Mutex<String>, Condvar);

impl Broker {
    /// Starts one; `configuration` says what it has besides a listener and no bounds, further
    /// `limits` first.
    pub(crate) fn start(configuration: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let configuration = whole(configuration);
        let mut broker = Self { dir, configuration, running: None, said: Arc::default() };
        broker.start_again();
        broker
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.running.as_ref().expect("it runs").addresses[0]
    }

    /// Of the last of its listeners.
    pub(crate) fn last_address(&self) -> SocketAddr {
        *self.running.as_ref().expect("it runs").addresses.last().expect("it listens")
    }

    pub(crate) fn start_again(&mut self) {
        fs::write(self.dir.path().join("martlet.toml"), &self.configuration).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_martlet"));
        command.current_dir(self.dir.path()).env_clear();
        command.args(["-c", "martlet.toml", "--data", "data"]);
        let mut child = command.stderr(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let (mut addresses, mut said) = (Vec::new(), String::new());
        while !said.contains(" running\n") {
            let start = said.len();
            log.read_line(&mut said).unwrap();
            let line = &said[start..];
            assert!(!line.is_empty(), "it ended:\n{said}");
            if let Some((_, found)) = line.split_once("address=") {
                addresses.extend(found.trim().parse::<SocketAddr>());
            }
        }
        self.said.add(&said);
        let known = Arc::clone(&self.said);
        thread::spawn(move || {
            let mut line = String::new();
            while log.read_line(&mut line).is_ok_and(|len| len > 0) {
                known.add(&line);
                line.clear();
            }
        });
        assert!(!addresses.is_empty(), "it listens");
        self.running = Some(Running { child, addresses });
    }

    /// Tells it of another configuration.
    pub(crate) fn reload(&mut self, configuration: &str) {
        self.configuration = whole(configuration);
        fs::write(self.dir.path().join("martlet.toml"), &self.configuration).unwrap();
        let running = self.running.as_ref().expect("it runs");
        kill_process(Pid::from_child(&running.child), Signal::HUP).unwrap();
    }

    /// Ends it.
    pub(crate) fn end(&mut self, signal: Signal) {
        let mut running = self.running.take().expect("it runs");
        kill_process(Pid::from_child(&running.child), signal).unwrap();
        let status = running.child.wait().unwrap();
        assert_eq!(status.code(), (signal == Signal::TERM).then_some(0), "{}", self.said.all());
    }

    pub(crate) fn said(&self) -> &Said {
        &self.said
    }
}

fn whole(configuration: &str) -> String {
    format!(
        "[[listener]]\naddress = '127.0.0.1:0'\nallow_anonymous = true\n\
         [sys]\ninterval_s = 1\n[limits]\nqueue_messages_max = 0\nqueue_bytes_max = 0\n\
         {configuration}"
    )
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
        if thread::panicking() {
            let _ = writeln!(std::io::stderr(), "--- it said:\n{}", self.said.all());
        }
    }
}

impl Said {
    fn add(&self, line: &str) {
        self.0.lock().unwrap().push_str(line);
        self.1.notify_all();
    }

    pub(crate) fn all(&self) -> String {
        self.0.lock().unwrap().clone()
    }

    /// Waits until it has said this so often.
    #[track_caller]
    pub(crate) fn wait_for(&self, words: &str, times: usize) {
        let said = self.0.lock().unwrap();
        let lacks = |said: &mut String| said.matches(words).count() < times;
        let (said, waited) = self.1.wait_timeout_while(said, PATIENCE, lacks).unwrap();
        drop(said);
        assert!(!waited.timed_out(), "{words:?} {times} times");
    }
}

/// A port that leads to a broker, or for a while to nobody.
pub(crate) struct Wire {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    to: Option<SocketAddr>,
    open: Vec<TcpStream>,
    /// How many came.
    came: usize,
}

impl Wire {
    /// To nobody yet.
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut state = shared.lock().unwrap();
                state.came += 1;
                let to = state.to.and_then(|to| TcpStream::connect(to).ok());
                let Some(other) = to else { continue };
                for one in [&stream, &other] {
                    let _ = one.set_nodelay(true);
                    state.open.push(one.try_clone().unwrap());
                }
                let ends = [(&stream, &other), (&other, &stream)];
                for (from, to) in ends.map(|(a, b)| (a.try_clone(), b.try_clone())) {
                    thread::spawn(move || pass(from.unwrap(), to.unwrap()));
                }
            }
        });
        Self { address, state }
    }

    pub(crate) fn to(address: SocketAddr) -> Self {
        let wire = Self::new();
        wire.lead(address);
        wire
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn lead(&self, to: SocketAddr) {
        self.state.lock().unwrap().to = Some(to);
    }

    /// Cuts all that is open, and leads to nobody.
    pub(crate) fn cut(&self) {
        let mut state = self.state.lock().unwrap();
        state.to = None;
        for stream in state.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub(crate) fn came(&self) -> usize {
        self.state.lock().unwrap().came
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    let mut bytes = [0; 65_536];
    while let Ok(len) = from.read(&mut bytes) {
        if len == 0 || to.write_all(&bytes[..len]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
