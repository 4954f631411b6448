//! Martlet as a process: where it listens, how it stops, what it says when it cannot start.

use std::io::Read;
use std::net::{Ipv4Addr, Ipv6Addr, TcpStream};

use mosquitto_compat_tests::broker::Broker;
use mosquitto_compat_tests::martlet;
use mosquitto_compat_tests::tools::{Running, publish, subscribe};
use rustix::process::Signal;
use tempfile::TempDir;

#[test]
fn without_configuration_it_listens_on_both_loopback_addresses() {
    let broker = Broker::martlet();
    TcpStream::connect((Ipv4Addr::LOCALHOST, broker.port())).unwrap();
    TcpStream::connect((Ipv6Addr::LOCALHOST, broker.port())).unwrap();
    broker.wait_for_log(|log| log.to_lowercase().contains("local")).expect("says so");
}

#[test]
fn it_stops_in_order_at_sigterm_and_at_sigint() {
    for signal in [Signal::TERM, Signal::INT] {
        let broker = Broker::martlet();
        let mut subscriber = subscribe(&broker, &["-t", "s"]);
        publish(&broker, &["-t", "s", "-m", "x"]);
        assert_eq!(subscriber.message().text(), "x");
        let mut silent = TcpStream::connect((Ipv4Addr::LOCALHOST, broker.port())).unwrap();
        let status = broker.stop(signal).expect("it ends within 20 seconds");
        assert_eq!(status.code(), Some(0), "at {signal:?}");
        // Closed, in order or by a reset: nothing more comes either way.
        assert_eq!(silent.read(&mut [0; 16]).unwrap_or(0), 0);
    }
}

#[test]
fn a_port_in_use_is_said_in_one_sentence() {
    let broker = Broker::martlet();
    let folder = TempDir::new().unwrap();
    let port = broker.port().to_string();
    let mut second = martlet::command(&martlet::binary().unwrap());
    second.args(["-p", &port, "--data"]).arg(folder.path().join("data"));
    let finished = Running::start(&mut second).finish();
    assert!(!finished.status.success());
    let said = finished.lines.join("\n");
    let line = finished.lines.iter().find(|line| line.contains("in use"));
    assert!(line.is_some_and(|line| line.contains(&port)), "it said:\n{said}");
    assert!(!said.contains("panicked"), "{said}");
    // The first one does not notice.
    let mut subscriber = subscribe(&broker, &["-t", "s"]);
    publish(&broker, &["-t", "s", "-m", "x"]);
    assert_eq!(subscriber.message().text(), "x");
}
