//! Debian's mosquitto, started on a free port of the loopback interface.

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::sockets::Server;

pub struct Mosquitto {
    folder: PathBuf,
    address: SocketAddr,
    process: Child,
}

impl Mosquitto {
    /// # Panics
    /// Where mosquitto is not installed: what is compared with nothing is not compared.
    pub fn start(name: &str) -> Self {
        let folder = format!("martlet-conversations-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        std::fs::create_dir_all(&folder).expect("a folder for mosquitto's state");
        let address = free_address();
        let process = spawn(&folder, address);
        let mut broker = Self { folder, address, process };
        broker.wait_until_it_listens();
        broker
    }

    fn wait_until_it_listens(&mut self) {
        for _ in 0..1000 {
            if TcpStream::connect(self.address).is_ok() {
                return;
            }
            if self.process.try_wait().is_ok_and(|status| status.is_some()) {
                // Somebody else took the port in between.
                self.address = free_address();
                self.process = spawn(&self.folder, self.address);
            }
            rest();
        }
        panic!("mosquitto does not listen on {}", self.address);
    }
}

impl Server for Mosquitto {
    fn name(&self) -> &'static str {
        "mosquitto"
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn restart(&mut self) {
        let ended =
            Command::new("sh").arg("-c").arg(format!("kill {}", self.process.id())).status();
        assert!(ended.is_ok_and(|status| status.success()), "mosquitto can be told to stop");
        self.process.wait().expect("mosquitto stops");
        self.process = spawn(&self.folder, self.address);
        self.wait_until_it_listens();
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn spawn(folder: &std::path::Path, address: SocketAddr) -> Child {
    let file = folder.join("mosquitto.conf");
    let mut text = format!("listener {} {}\n", address.port(), address.ip());
    let _ = write!(text, "allow_anonymous true\nlog_dest none\nset_tcp_nodelay true\nuser root\n");
    let _ = write!(text, "persistence true\npersistence_location {}/\n", folder.display());
    std::fs::write(&file, text).expect("a folder of ours takes a file");
    // Debian keeps it where not every user's PATH leads.
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/usr/local/sbin";
    let command = Command::new("mosquitto")
        .env("PATH", path)
        .arg("-c")
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    command.unwrap_or_else(|e| panic!("mosquitto cannot be started ({e}): ./test installs it"))
}

/// Below the ports that a system chooses by itself: were this one given to another broker before
/// mosquitto has it, the conversation would be held with that broker.
fn free_address() -> SocketAddr {
    static TRIED: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(97);
    let mut addresses = (0..4000).map(|_| {
        let step = start.wrapping_add(TRIED.fetch_add(1, Ordering::Relaxed)) % 4000;
        SocketAddr::from((Ipv4Addr::LOCALHOST, 8000 + step as u16))
    });
    addresses.find(|address| TcpListener::bind(address).is_ok()).expect("a free port")
}

#[expect(clippy::disallowed_methods, reason = "another process has no other way to tell")]
fn rest() {
    std::thread::sleep(Duration::from_millis(10));
}
