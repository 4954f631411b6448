//! What clients that leave give back to the system: the binary alone, with its allocator.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, reason = "a test")]
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};

/// How often we look, 50 ms apart, before we say that it does not come back.
const LOOKS: u32 = 400;

struct Broker {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Broker {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_martlet"));
        command.current_dir(folder.path()).env_clear().args(["-p", "0"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let (mut said, mut port) = (String::new(), None);
        while !said.contains(" running\n") {
            said.clear();
            assert_ne!(log.read_line(&mut said).unwrap(), 0, "it ended");
            let found = said.split_once("address=127.0.0.1:").map(|(_, port)| port.trim());
            port = port.or(found.and_then(|port| port.parse().ok()));
        }
        thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { child, port: port.expect("it says where it listens"), _folder: folder }
    }

    fn connect(&self, number: usize) -> TcpStream {
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        let client_id = format!("leaving-{number:05}");
        let mut connect = b"\x10\x19\x00\x04MQTT\x04\x02\x00\x00\x00\x0d".to_vec();
        connect.extend_from_slice(client_id.as_bytes());
        socket.write_all(&connect).unwrap();
        let mut answer = [0; 4];
        socket.read_exact(&mut answer).unwrap();
        assert_eq!(answer, *b"\x20\x02\x00\x00");
        socket
    }

    fn connect_all(&self, count: usize) -> Vec<TcpStream> {
        (0..count).map(|number| self.connect(number)).collect()
    }

    /// What it has in memory for itself alone, in KiB.
    fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Most of it: each thread gives back a moment after thousands have ended.
#[test]
#[expect(clippy::disallowed_methods, reason = "another process's memory can only be looked at")]
fn the_memory_of_clients_that_leave_goes_back() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let possible = limit.maximum.map_or(usize::MAX, |files| files as usize);
    if possible < 4000 {
        return println!("skipped: {possible} open files are too few");
    }
    let broker = Broker::start();
    drop(broker.connect(0));
    let before = broker.resident_kib();
    let clients = broker.connect_all((possible - 500).min(6000));
    let full = broker.resident_kib();
    drop(clients);

    let aim = before + (full - before) * 2 / 5;
    let mut after = broker.resident_kib();
    for _ in 0..LOOKS {
        if after <= aim {
            return;
        }
        thread::sleep(Duration::from_millis(50));
        after = broker.resident_kib();
    }
    panic!("{before} KiB, {full} with all of them, and still {after}");
}
