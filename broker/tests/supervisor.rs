//! What a supervisor hears: a socket of our own in place of systemd's.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, reason = "a test")]

use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

struct Supervisor {
    socket: UnixDatagram,
    broker: Child,
    _folder: tempfile::TempDir,
}

impl Supervisor {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_martlet"));
        command.current_dir(folder.path()).env_clear().args(["-p", "0"]);
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "50000");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let broker = command.spawn().unwrap();
        Self { socket, broker, _folder: folder }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.broker), signal).unwrap();
    }

    /// Hears messages up to one that has this line.
    fn hear(&self, wanted: &str) {
        let mut bytes = [0; 1000];
        loop {
            let len = self.socket.recv(&mut bytes).expect("it says something");
            let text = str::from_utf8(&bytes[..len]).unwrap();
            if text.lines().any(|line| line == wanted) {
                return;
            }
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        let _ = self.broker.kill();
        let _ = self.broker.wait();
    }
}

#[test]
fn a_supervisor_hears_of_the_start_a_reload_life_and_the_stop() {
    let mut supervisor = Supervisor::start();
    supervisor.hear("READY=1");
    for _ in 0..3 {
        supervisor.hear("WATCHDOG=1");
    }
    supervisor.signal(Signal::HUP);
    supervisor.hear("RELOADING=1");
    supervisor.hear("READY=1");
    supervisor.hear("WATCHDOG=1");
    supervisor.signal(Signal::TERM);
    supervisor.hear("STOPPING=1");
    assert_eq!(supervisor.broker.wait().unwrap().code(), Some(0));
}
