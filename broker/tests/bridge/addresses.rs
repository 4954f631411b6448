//! Where bridges connect to, from where, and how often.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use crate::broker::{Broker, PATIENCE, Wire};
use crate::talk::{next, subscriber, wait_for_state};

fn bridge(addresses: &[u16], more: &str) -> String {
    let addresses: Vec<String> =
        addresses.iter().map(|port| format!("'127.0.0.1:{port}'")).collect();
    format!(
        "[[bridge]]\nname = 'b'\nremote_client_id = 'gateway'\nrestart = '1'\n\
         addresses = [{}]\n{more}\n",
        addresses.join(", ")
    )
}

/// A server that takes whom it is told to, and says who came and with which level.
fn server(takes: fn(u8) -> bool) -> (u16, Receiver<(IpAddr, u8)>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (came, who) = sync_channel(100);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let came = came.clone();
            thread::spawn(move || serve(stream, takes, &came));
        }
    });
    (port, who)
}

/// Answers CONNECT, and stays; or closes without a word.
fn serve(mut stream: TcpStream, takes: fn(u8) -> bool, came: &SyncSender<(IpAddr, u8)>) {
    let mut bytes = [0; 4096];
    let len = stream.read(&mut bytes).unwrap();
    let level = bytes[..len][8];
    let _ = came.send((stream.peer_addr().unwrap().ip(), level));
    if takes(level) {
        let _ = stream.write_all(b"\x20\x02\x00\x00");
        while stream.read(&mut bytes).is_ok_and(|len| len > 0) {}
    }
}

#[test]
fn each_address_has_its_turn_with_round_robin_and_else_the_first_is_come_back_to() {
    for (more, then) in [("round_robin = true", 1), ("round_robin = false", 0)] {
        let far = [Broker::start(""), Broker::start("")];
        let wires = far.each_ref().map(|far| Wire::to(far.address()));
        let ports = wires.each_ref().map(Wire::port);
        let near = Broker::start(&bridge(&ports, &format!("topics = ['# out 1']\n{more}")));
        near.said().wait_for("Bridge b is connected to", 1);
        wires[0].cut();
        wires[0].lead(far[0].address());
        near.said().wait_for("Bridge b is connected to", 2);
        wait_for_state(far[then].address(), "gateway", "1");
        let second = format!("Bridge b is connected to 127.0.0.1:{}", ports[1]);
        assert_eq!(near.said().all().matches(&second).count(), then, "{more}");
    }
}

#[test]
fn a_connection_comes_from_the_address_that_it_is_bound_to() {
    let (port, who) = server(|_| true);
    let bound: IpAddr = [127, 0, 0, 9].into();
    let _near = Broker::start(&bridge(
        &[port],
        &format!("bind = '{bound}'\ntry_private = false\ntopics = ['# out']"),
    ));
    assert_eq!(who.recv_timeout(PATIENCE).unwrap(), (bound, 4));
}

#[test]
fn what_is_started_once_is_not_started_again() {
    let far = Broker::start("");
    let wire = Wire::to(far.address());
    let near = Broker::start(&bridge(&[wire.port()], "start = 'once'\ntopics = ['# out 1']"));
    wait_for_state(far.address(), "gateway", "1");
    let came = wire.came();
    wire.cut();
    near.said().wait_for("Bridge b (", 1);
    wire.lead(far.address());
    // Twice as long as another one waits: those that begin meanwhile show that time has passed.
    let other = Broker::start(&bridge(&[1], "topics = ['# out']"));
    other.said().wait_for("Error creating bridge", 3);
    assert_eq!(wire.came(), came);
}

#[test]
fn who_closes_the_connection_on_the_bit_is_asked_without_at_the_same_address() {
    let (shy, came_there) = server(|level| level == 4);
    let other = Wire::new();
    let near = Broker::start(&bridge(
        &[shy, other.port()],
        "topics = ['# out']\nattempt_unsubscribe = false",
    ));
    near.said().wait_for(&format!("Bridge b is connected to 127.0.0.1:{shy}"), 1);
    // Twice: the first time it might have closed for any reason.
    let levels = [0x84, 4, 0x84, 4].map(|_| came_there.recv_timeout(PATIENCE).unwrap().1);
    assert_eq!(levels, [0x84, 4, 0x84, 4]);
    assert_eq!(other.came(), 0, "the second address had no turn");
}

#[test]
fn who_ends_during_the_first_connection_is_told_of_the_bit_again() {
    fn all_but_the_first(_: u8) -> bool {
        static CAME: AtomicUsize = AtomicUsize::new(0);
        CAME.fetch_add(1, Ordering::Relaxed) > 0
    }
    let (port, came) = server(all_but_the_first);
    let near = Broker::start(&bridge(&[port], "topics = ['# out']\nattempt_unsubscribe = false"));
    let levels = [0x84, 4, 0x84].map(|_| came.recv_timeout(PATIENCE).unwrap().1);
    assert_eq!(levels, [0x84, 4, 0x84]);
    drop(near);
    assert!(came.try_recv().is_err(), "it stayed");
}

/// A broker that knows the bridge, and leaves a message at QoS 2 half across at each connection.
fn half_across(payload: u8) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut bytes = [0; 4096];
            let connect = stream.read(&mut bytes).unwrap_or(0);
            let _ = stream.write_all(b"\x20\x02\x01\x00");
            let subscribe = stream.read(&mut bytes).unwrap_or(0);
            let _ = stream.write_all(&[0x90, 3, bytes[2], bytes[3], 2]);
            let _ = stream.write_all(&[0x34, 6, 0, 1, b't', 0, 1, payload]);
            let pubrec = stream.read(&mut bytes).unwrap_or(0);
            assert!(connect > 0 && subscribe > 0 && pubrec == 4, "it takes part to its end");
        }
    });
    port
}

#[test]
fn two_brokers_behind_two_addresses_do_not_take_each_others_messages_for_repeated() {
    let near = Broker::start(&bridge(
        &[half_across(b'1'), half_across(b'2')],
        "round_robin = true\ntopics = ['t in 2']\ntry_private = false\nnotifications = false",
    ));
    let mut hearer = subscriber(near.address(), "h", "t", 2);
    // Whichever comes first: the other one has the same Packet Identifier.
    let both = [next(&mut hearer), next(&mut hearer)].map(|said| said.expect("a message"));
    assert_ne!(both[0], both[1]);
}
