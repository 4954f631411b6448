//! Conversations with a broker: one text file each, held with the engine in process, with Martlet
//! over sockets, and with a real mosquitto. `script.rs` says how a file reads.
//!
//! `TEST_CONVERSATION=part-of-a-name` holds only those.

#![allow(missing_docs, unreachable_pub, clippy::print_stderr, reason = "a test")]

mod in_process;
#[path = "../machine/mod.rs"]
mod machine;
mod mosquitto;
#[path = "../raw/mod.rs"]
mod raw;
#[path = "../running/mod.rs"]
mod running;
mod script;
mod sockets;

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Mutex;

use martlet::server::Settings;

use in_process::InProcess;
use mosquitto::Mosquitto;
use running::Running;
use script::{Broker, Script};
use sockets::{Server, Sockets};

/// What a conversation with a clock of its own may take; longer ones are held in virtual time only.
const REAL_SECONDS_MAX: u64 = 8;

#[test]
fn the_engine_holds_every_conversation() {
    hold("the engine", |_| true, |_| Box::new(InProcess::new()));
}

#[test]
fn martlet_holds_them_over_sockets() {
    hold(
        "martlet",
        |script| script.seconds() <= REAL_SECONDS_MAX,
        |_| Box::new(Sockets::new(Running::start(settings()))),
    );
}

#[test]
fn mosquitto_agrees_or_the_difference_is_listed() {
    hold(
        "mosquitto",
        |script| script.seconds() <= REAL_SECONDS_MAX,
        |script| Box::new(Sockets::new(Mosquitto::start(&script.name))),
    );
}

/// With mosquitto's window of 20 messages: the conversations are the same with both.
fn settings() -> Settings {
    let mut settings = running::settings();
    settings.driver.limits.inflight_max = 20;
    settings
}

impl Server for Running {
    fn name(&self) -> &'static str {
        "martlet"
    }

    fn address(&self) -> SocketAddr {
        self.address()
    }

    fn restart(&mut self) {
        self.restart();
    }
}

/// Holds every conversation that `fits`, each with a broker of its own.
fn hold(
    with: &str,
    fits: impl Fn(&Script) -> bool,
    broker: impl Fn(&Script) -> Box<dyn Broker> + Sync,
) {
    let (fitting, left_out): (Vec<Script>, Vec<Script>) = scripts().into_iter().partition(fits);
    let left_out: Vec<&str> = left_out.iter().map(|script| script.name.as_str()).collect();
    eprintln!("with {with}: {} conversations; left out: {left_out:?}", fitting.len());
    let waiting = Mutex::new(fitting.iter());
    let faults = Mutex::new(Vec::new());
    let worker = || {
        while let Some(script) = { waiting.lock().expect("no worker panics with it").next() } {
            let held =
                std::panic::catch_unwind(AssertUnwindSafe(|| script.hold(&mut *broker(script))));
            let held = held.unwrap_or_else(|_| Err(format!("{}: a panic", script.name)));
            faults.lock().expect("no worker panics with it").extend(held.err());
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(worker);
        }
    });
    let faults = faults.into_inner().expect("no worker panics with it");
    assert!(faults.is_empty(), "with {with}:\n{}", faults.join("\n"));
}

fn scripts() -> Vec<Script> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conversations");
    let wanted = std::env::var("TEST_CONVERSATION").unwrap_or_default();
    let entries = std::fs::read_dir(folder).expect("the conversations are beside this file");
    let files = entries.map(|entry| entry.expect("a folder of ours can be read").path());
    let mut files: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|e| e == "txt")).collect();
    files.sort();
    let scripts = files.iter().map(|path| {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let text = std::fs::read_to_string(path).expect("a conversation is UTF-8");
        Script::parse(&name, &text).unwrap_or_else(|fault| panic!("{fault}"))
    });
    let scripts: Vec<Script> = scripts.filter(|script| script.name.contains(&wanted)).collect();
    assert!(!scripts.is_empty(), "no conversation is called {wanted:?}");
    scripts
}
