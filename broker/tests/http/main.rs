//! The window, by requests over sockets: what it answers, whom it refuses, and that whoever is slow
//! or goes away costs nobody else anything.

#![allow(missing_docs, unreachable_pub, reason = "a test")]

mod browser;
mod client;
mod entry;
mod following;
mod messages;
mod page;
mod paper;
#[path = "../raw/mod.rs"]
mod raw;
mod recorded;
#[path = "../running/mod.rs"]
mod running;
mod watching;

use std::net::Ipv4Addr;
use std::sync::Arc;

use martlet::access::{self, Policy};
use martlet::http::{Keys, Settings};
use martlet::server;

use crate::client::Http;
use crate::running::Running;

/// The settings of a broker with a window for everybody on this machine.
fn settings() -> server::Settings {
    server::Settings {
        window: Some(window(running::open(), Keys::default())),
        ..running::settings()
    }
}

fn window(policy: Arc<Policy>, keys: Keys) -> server::Window {
    let settings = Settings {
        address: (Ipv4Addr::LOCALHOST, 0).into(),
        connections_max: 20,
        body_bytes_max: 1 << 20,
        decode_limits: running::settings().decode_limits,
        folder: None,
        keys: Arc::new(keys),
        tls: None,
    };
    (settings, policy)
}

/// A policy of files with these contents.
fn policy(anonymous: bool, users: Option<&str>, acl: Option<&str>) -> Arc<Policy> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name, text: Option<&str>| {
        let path = folder.path().join(name);
        text.map(|text| {
            std::fs::write(&path, text).expect("a folder of ours");
            path
        })
    };
    let settings = access::Settings {
        allow_anonymous: anonymous,
        password_file: file("users", users),
        acl_file: file("acl", acl),
        ..access::Settings::default()
    };
    Arc::new(Policy::load(&settings).expect("good files"))
}

fn open(broker: &Running) -> Http {
    Http::open(broker.window())
}
