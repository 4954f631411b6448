//! What an idle connection costs in memory, counted: what the broker's thread has allocated and not
//! given back.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use martlet::driver::turn;
use martlet::net::tls::settings::ClientCertificates;
use martlet::server::{Server, Settings};
use martlet::store::memory::Volatile;
use tokio::sync::oneshot;

use crate::authority::device;
use crate::client::{Client, VERSIONS, config, connect_packet};
use crate::{World, running, settings};

const CONNECTIONS: usize = 40;

/// Bytes that each of many idle connections takes. `connect` makes one, in a thread of its own.
fn idle_bytes<T: Send + 'static>(
    mut settings: Settings,
    connect: impl Fn(SocketAddr, &str) -> T + Send + 'static,
) -> i64 {
    settings.driver.connection_messages = false;
    let runtime = turn::runtime(Duration::MAX).build();
    let runtime = runtime.expect("a runtime");
    let address = runtime.block_on(async {
        let server = Server::start(settings, Box::new(Volatile)).expect("it starts");
        let address = server.addresses()[0];
        tokio::spawn(server.run(std::future::pending()));
        address
    });
    let (more, asked) = std::sync::mpsc::sync_channel::<oneshot::Sender<()>>(1);
    let clients = thread::spawn(move || {
        let mut clients = Vec::new();
        while let Ok(done) = asked.recv() {
            for _ in 0..CONNECTIONS {
                clients.push(connect(address, &format!("client {}", clients.len())));
            }
            done.send(()).expect("the test waits");
        }
    });
    let connect_some = || {
        let (done, all) = oneshot::channel();
        more.send(done).expect("the clients wait");
        runtime.block_on(all).expect("they came in");
    };
    // The first ones bring what all share.
    connect_some();
    let cost = allocation_counter::measure(connect_some);
    drop(more);
    clients.join().expect("they came in");
    cost.bytes_current / CONNECTIONS as i64
}

#[test]
fn an_idle_connection_in_tls_takes_little_more() {
    let clear = idle_bytes(running::settings(), |address, id| {
        let mut socket = TcpStream::connect(address).expect("it listens");
        socket.write_all(&connect_packet(id)).expect("it takes bytes");
        socket.read_exact(&mut [0; 4]).expect("it answers");
        socket
    });
    for version in VERSIONS {
        let world = World::new();
        let identity = world.devices.issue(&device("d"));
        let clients = Arc::new(config(version, &world.own, Some(&identity)));
        let tls = settings(world.mutual(ClientCertificates::Required));
        let bytes = idle_bytes(tls, move |address, id| {
            let mut client = Client::connect(address, &clients, id).expect("it may");
            client.ping();
            client
        });
        println!("{version:?}: {bytes} bytes, {clear} in the clear");
        assert!(bytes - clear < 12_000, "{version:?}: {bytes} bytes, {clear} in the clear");
    }
}
