//! TLS from outside: who comes in with which certificate, what the log says of the others, and what
//! becomes of connections and sessions when certificates change.

#![allow(missing_docs, unreachable_pub, reason = "a test")]

mod authority;
mod budget;
mod cert;
mod client;
#[path = "../running/mod.rs"]
mod running;
mod websocket;
mod window;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use martlet::access::{self, CertificateName, Policy};
use martlet::net::tls::settings::{ClientCertificates, Settings};
use rcgen::ExtendedKeyUsagePurpose;
use rustls::client::Tls12Resumption;

use crate::authority::{Authority, Folder, device, server};
use crate::client::{Client, VERSIONS, config, connect_packet, resumes};
use crate::running::Running;

/// A broker's own authority, its files, and who may sign for its clients.
struct World {
    folder: Folder,
    own: Authority,
    devices: Authority,
}

impl World {
    fn new() -> Self {
        let world = Self {
            folder: Folder::new(),
            own: Authority::new("own"),
            devices: Authority::new("devices"),
        };
        world.renew();
        world.folder.file("ca.crt", &world.devices.pem());
        world
    }

    /// Writes another certificate for the server.
    fn renew(&self) {
        self.renew_as(1);
    }

    /// The same with this serial number.
    fn renew_as(&self, serial: u64) {
        let identity = self.own.issue(&authority::Subject { serial, ..server() });
        self.folder.file("server.crt", &identity.pem);
        self.folder.file("server.key", &identity.key_pem);
    }

    /// How the broker speaks TLS, without certificates of clients.
    fn tls(&self) -> Settings {
        let file = |name: &str| self.folder.path().join(name);
        Settings::new(file("server.crt"), file("server.key"))
    }

    /// The same with them.
    fn mutual(&self, clients: ClientCertificates) -> Settings {
        Settings { ca_file: Some(self.folder.path().join("ca.crt")), clients, ..self.tls() }
    }
}

/// So many lines that say this, once they are there.
#[expect(clippy::disallowed_methods, reason = "a log can only be looked at again")]
fn lines(broker: &Running, words: &str, count: usize) -> Vec<String> {
    for _ in 0..20_000 {
        let lines = broker.log().so_far(words);
        if lines.len() >= count {
            assert_eq!(lines.len(), count, "{words}: {lines:#?}");
            return lines;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("{words}: {:#?}", broker.log().lines());
}

fn settings(tls: Settings) -> martlet::server::Settings {
    let mut settings = running::settings();
    settings.listeners[0].0.tls = Some(tls);
    settings
}

/// Who has a certificate is who it says.
fn named(mut settings: martlet::server::Settings) -> martlet::server::Settings {
    let access = access::Settings {
        user_from_certificate: Some(CertificateName::CommonName),
        ..access::Settings::default()
    };
    settings.listeners[0].1 = Arc::new(Policy::load(&access).expect("no files"));
    settings
}

#[test]
fn bad_certificates_are_refused_and_the_log_says_why() {
    let world = World::new();
    let others = Authority::new("others");
    let crl = world.folder.file("crl", &world.devices.revoke_now(&[66, 67]));
    let tls = Settings { crl_file: Some(crl), ..world.mutual(ClientCertificates::Required) };
    let broker = Running::start(settings(tls));
    let ca = &world.devices;
    let server_usage = Some(ExtendedKeyUsagePurpose::ServerAuth);
    let rows = [
        ("expired", Some(ca.issue(&device("d").expired())), "its certificate has expired"),
        ("early", Some(ca.issue(&device("d").early())), "its certificate is not valid yet"),
        ("other", Some(others.issue(&device("d"))), "is signed by nobody in the listener's cafile"),
        ("self", Some(device("d").self_signed()), "is signed by nobody in the listener's cafile"),
        (
            "usage",
            Some(ca.issue(&authority::Subject { usage: server_usage, ..device("d") })),
            "its certificate is not for clients (its extended key usage)",
        ),
        (
            "revoked",
            Some(ca.issue(&authority::Subject { serial: 66, ..device("d") })),
            "its certificate is revoked",
        ),
        ("none", None, "it shows no certificate, and the listener wants one"),
    ];
    for version in VERSIONS {
        for (id, identity, words) in &rows {
            let before = broker.log().so_far(words).len();
            let config = Arc::new(config(version, &world.own, identity.as_ref()));
            let refused = Client::connect(broker.address(), &config, id);
            let error = refused.err().unwrap_or_else(|| panic!("{id} came in"));
            assert!(error.to_string().contains("alert"), "{id} is not told: {error}");
            let lines = lines(&broker, words, before + 1);
            let line = lines.last().expect("one at least");
            assert!(line.contains("WARN") && line.contains("Client <unknown> [127.0"), "{line}");
            assert!(line.contains("disconnected: ") && line.contains(" [TLS]."), "{line}");
        }
        let good = ca.issue(&device("d"));
        let config = Arc::new(config(version, &world.own, Some(&good)));
        Client::connect(broker.address(), &config, "good").expect("it may").ping();
    }
}

#[test]
fn a_name_in_a_certificate_is_the_user() {
    for clients in [ClientCertificates::Required, ClientCertificates::Optional] {
        let world = World::new();
        let broker = Running::start(named(settings(world.mutual(clients))));
        let identity = world.devices.issue(&device("meter 7"));
        for version in VERSIONS {
            let with = Arc::new(config(version, &world.own, Some(&identity)));
            Client::connect(broker.address(), &with, "meter").expect("it may").ping();
            let line = broker.log().with("connected from").pop().expect("one");
            assert!(line.contains(" as meter (") && line.contains("u'meter 7')."), "{line}");
            let said = broker.log().with("Client meter negotiated TLSv1.");
            assert!(said.iter().all(|line| line.contains(" cipher ")), "{said:?}");
            let without = Arc::new(config(version, &world.own, None));
            assert!(Client::connect(broker.address(), &without, "nobody").is_err());
        }
        let optional = clients == ClientCertificates::Optional;
        lines(&broker, "no name in a certificate", if optional { 2 } else { 0 });
    }
}

#[test]
fn certificates_that_openssl_takes_too() {
    let world = World::new();
    // Listed itself among the signers.
    let pinned = device("pinned").self_signed();
    world.folder.file("ca.crt", &(world.devices.pem() + &pinned.pem));
    let tls = Settings { ignore_client_dates: true, ..world.mutual(ClientCertificates::Required) };
    let broker = Running::start(named(settings(tls)));
    let outdated = world.devices.issue(&device("outdated").expired());
    let early = world.devices.issue(&device("early").early());
    for version in VERSIONS {
        for identity in [&pinned, &outdated, &early] {
            let config = Arc::new(config(version, &world.own, Some(identity)));
            Client::connect(broker.address(), &config, "c").expect("it may").ping();
        }
        let other = Arc::new(config(version, &world.own, Some(&device("d").self_signed())));
        assert!(Client::connect(broker.address(), &other, "c").is_err());
    }
}

#[test]
fn sessions_are_resumed_with_tickets_and_with_ids() {
    let world = World::new();
    let broker = Running::start(named(settings(world.mutual(ClientCertificates::Required))));
    let identity = world.devices.issue(&device("d"));
    for version in VERSIONS {
        for way in [Tls12Resumption::SessionIdOrTickets, Tls12Resumption::SessionIdOnly] {
            let config = resumes(config(version, &world.own, Some(&identity)), way);
            let kinds = [0; 3].map(|_| {
                let mut client = Client::connect(broker.address(), &config, "c").expect("it may");
                client.ping();
                client.resumed()
            });
            assert_eq!(kinds, [false, true, true], "{version:?} {way:?}");
        }
    }
    let lines = broker.log().with("u'd'");
    assert_eq!(lines.len(), 12, "a resumed session has the same user: {lines:#?}");
}

#[test]
fn a_revoked_client_does_not_come_back_by_resumption() {
    let world = World::new();
    let crl = world.folder.file("crl", &world.devices.revoke_now(&[]));
    let tls = Settings { crl_file: Some(crl), ..world.mutual(ClientCertificates::Required) };
    let settings = settings(tls);
    let broker = Running::start(settings.clone());
    let identity = world.devices.issue(&device("d"));
    let configs = VERSIONS.map(|version| {
        resumes(config(version, &world.own, Some(&identity)), Tls12Resumption::SessionIdOrTickets)
    });
    let mut connected = configs.each_ref().map(|config| {
        let mut client = Client::connect(broker.address(), config, "c").expect("it may");
        client.ping();
        client
    });
    for config in &configs {
        let mut again = Client::connect(broker.address(), config, "d").expect("it may");
        again.ping();
        assert!(again.resumed());
    }
    world.folder.file("crl", &world.devices.revoke_now(&[7]));
    broker.reloader().prepare(settings).expect("a good list").apply();
    connected[1].ping(); // the last of its name
    for config in &configs {
        assert!(Client::connect(broker.address(), config, "e").is_err());
    }
    lines(&broker, "its certificate is revoked", 2);
}

#[test]
fn files_that_change_on_disk_are_taken_and_connections_stay() {
    let world = World::new();
    let broker = Running::start(settings(world.tls()));
    let config = Arc::new(config(&rustls::version::TLS13, &world.own, None));
    let shown = |client: &Client| client.tls().peer_certificates().expect("a server")[0].clone();
    let mut first = Client::connect(broker.address(), &config, "first").expect("it may");
    let _log = broker.log().listen();
    let look = || {
        // Twice: a change counts once it has settled.
        broker.reloader().look();
        broker.reloader().look();
    };
    world.folder.file("server.key", "-----BEGIN PRIVATE KEY-----\ngarbage\n");
    look();
    let mut second = Client::connect(broker.address(), &config, "second").expect("it may");
    assert_eq!(shown(&first), shown(&second), "the broker goes on as it was");
    let said = broker.log().with("server.key: is no good PEM: ");
    assert!(said.len() == 1 && said[0].contains("ERROR"), "{:#?}", broker.log().lines());
    world.renew();
    look();
    let mut third = Client::connect(broker.address(), &config, "third").expect("it may");
    assert_ne!(shown(&first), shown(&third));
    for client in [&mut first, &mut second, &mut third] {
        client.ping();
    }
    let said = broker.log().with("Files of the certificates have changed on disk and are in use");
    assert_eq!(said.len(), 1, "{:#?}", broker.log().lines());
}

#[test]
fn clients_come_and_go_while_certificates_change() {
    const CLIENTS: usize = 4;
    const TIMES: usize = 15;
    let world = World::new();
    let settings = settings(world.tls());
    let broker = Running::start(settings.clone());
    let address = broker.address();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let config = config(VERSIONS[number % 2], &world.own, None);
            let config = resumes(config, Tls12Resumption::SessionIdOrTickets);
            thread::spawn(move || {
                let [stays, goes] = ["stays", "goes"].map(|name| format!("{name} {number}"));
                let mut stays = Client::connect(address, &config, &stays).expect("it may");
                for _ in 0..TIMES {
                    Client::connect(address, &config, &goes).expect("it may").ping();
                    stays.ping();
                }
            })
        })
        .collect();
    while !clients.iter().all(thread::JoinHandle::is_finished) {
        world.renew();
        broker.reloader().prepare(settings.clone()).expect("good files").apply();
    }
    for client in clients {
        client.join().expect("nobody noticed");
    }
}

#[test]
fn a_listener_may_begin_to_speak_tls_and_stop_again() {
    let world = World::new();
    let (clear, tls) = (running::settings(), settings(world.tls()));
    let broker = Running::start(clear.clone());
    let config = Arc::new(config(VERSIONS[1], &world.own, None));
    for (number, (settings, speaks)) in [(&tls, true), (&clear, false)].into_iter().enumerate() {
        let settings = settings.clone();
        broker.reloader().prepare(settings).expect("good files").apply();
        let comes_in = Client::connect(broker.address(), &config, "c").is_ok();
        assert_eq!(comes_in, speaks, "{number}");
    }
}

#[test]
fn a_hundred_shake_hands_at_once() {
    let world = World::new();
    let broker = Running::start(settings(world.mutual(ClientCertificates::Required)));
    let address = broker.address();
    let identity = world.devices.issue(&device("d"));
    let clients: Vec<_> = (0..100)
        .map(|number| {
            let config = Arc::new(config(VERSIONS[number % 2], &world.own, Some(&identity)));
            thread::spawn(move || {
                let id = format!("client {number}");
                Client::connect(address, &config, &id).map(|mut client| client.ping())
            })
        })
        .collect();
    for client in clients {
        client.join().expect("no panic").expect("it may");
    }
}

#[test]
fn a_protocol_that_is_asked_for_by_name_is_agreed_to_if_it_is_ours() {
    let world = World::new();
    let broker = Running::start(settings(world.tls()));
    let rows: &[(&[&str], Option<&[u8]>)] = &[
        (&[], None),
        (&["mqtt"], Some(b"mqtt")),
        (&["h2", "mqtt"], Some(b"mqtt")),
        (&["x-amzn-mqtt-ca"], None),
    ];
    for version in VERSIONS {
        for (asked, agreed) in rows {
            let mut config = config(version, &world.own, None);
            config.alpn_protocols = asked.iter().map(|name| name.as_bytes().to_vec()).collect();
            let config = Arc::new(config);
            let mut client = Client::connect(broker.address(), &config, "c").expect("it may");
            client.ping();
            assert_eq!(client.tls().alpn_protocol(), *agreed, "{asked:?}");
        }
    }
}

/// A device whose buffers are small gets records that go into them, and every byte.
#[test]
fn records_are_as_small_as_the_listener_says() {
    const FRAGMENT: usize = 512;
    let world = World::new();
    let tls = Settings { fragment_bytes_max: Some(FRAGMENT), ..world.tls() };
    let broker = Running::start(settings(tls));
    for version in VERSIONS {
        let config = Arc::new(config(version, &world.own, None));
        let mut client = Client::connect(broker.address(), &config, "c").expect("it may");
        client.send(b"\x82\x06\0\x01\0\x01t\0").expect("the broker reads");
        assert_eq!(client.read(5).expect("a SUBACK"), b"\x90\x03\0\x01\0");
        let payload: Vec<u8> = (0..50_000_u32).map(|n| (n % 251) as u8).collect();
        let mut publish = vec![0x30, 0xd3, 0x86, 0x03, 0, 1, b't'];
        publish.extend(&payload);
        client.send(&publish).expect("the broker reads");
        // What came is looked at before it is decrypted.
        let mut tap = vec![0; 60_000];
        let mut lengths = Vec::new();
        let mut socket = client.socket();
        let (mut filled, mut at, mut plain) = (0, 0, 0);
        while plain < publish.len() {
            filled += socket.read(&mut tap[filled..]).expect("the broker sends");
            while filled >= at + 5 {
                let len = usize::from(u16::from_be_bytes([tap[at + 3], tap[at + 4]]));
                if filled < at + 5 + len {
                    break;
                }
                lengths.push(len);
                at += 5 + len;
                plain += len.min(FRAGMENT) - 24; // at most, what a record has besides
            }
            if lengths.len() > publish.len() / FRAGMENT {
                break;
            }
        }
        assert!(lengths.len() > publish.len() / FRAGMENT, "{lengths:?}");
        assert!(lengths.iter().all(|len| *len <= FRAGMENT + 32), "{lengths:?}");
    }
}

#[test]
fn whoever_says_nothing_is_closed_in_time() {
    let world = World::new();
    let mut settings = settings(world.tls());
    settings.connect_timeout = Duration::from_millis(200);
    let broker = Running::start(settings);
    let mut silent = TcpStream::connect(broker.address()).expect("it listens");
    let mut slow = TcpStream::connect(broker.address()).expect("it listens");
    slow.write_all(b"\x16\x03\x01\x02\x00\x01").expect("it takes bytes");
    for socket in [&mut silent, &mut slow] {
        socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
        assert_eq!(socket.read(&mut [0]).expect("it is closed"), 0);
    }
    lines(&broker, " within the connect timeout [connect_timeout_s]", 2);
}

#[test]
fn bytes_of_another_kind_get_a_line_that_says_so() {
    let world = World::new();
    let broker = Running::start(settings(world.tls()));
    let rows = [
        (connect_packet("c"), "disconnected: this is MQTT without TLS, and the port takes TLS"),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "this is HTTP or WebSocket without TLS, and the"),
        (b"\0\0\0\0\0\0\0\0".to_vec(), "this is no TLS, and the port takes TLS"),
    ];
    for (bytes, words) in rows {
        let mut socket = TcpStream::connect(broker.address()).expect("it listens");
        socket.write_all(&bytes).expect("it takes bytes");
        // An alert, or a reset where bytes were not read.
        let _ = socket.read_to_end(&mut Vec::new());
        let said = lines(&broker, words, 1);
        assert!(said[0].contains(" [127.0.0.1:"), "{said:?}");
    }
}

/// However a client goes, the broker takes leave of it, and nothing of it is left behind.
#[test]
fn storms_leave_nothing_behind() {
    const THREADS: usize = 4;
    const ROUNDS: usize = 25;
    let world = World::new();
    let broker = Running::start(settings(world.tls()));
    let (address, driver) = (broker.address(), broker.driver());
    let storms: Vec<_> = (0..THREADS)
        .map(|number| {
            let config = config(VERSIONS[number % 2], &world.own, None);
            let config = resumes(config, Tls12Resumption::SessionIdOrTickets);
            thread::spawn(move || {
                for round in 0..ROUNDS {
                    let mut client = Client::open(address, &config).expect("it listens");
                    // All under one name, so that they take each other's session over.
                    let part = connect_packet("same");
                    let cut = if round % 5 == 0 { 3 } else { part.len() };
                    // Whoever was taken over meanwhile cannot send any more.
                    let sent = client.send(&part[..cut]);
                    match round % 5 {
                        1 => drop(sent.and_then(|()| client.send(b"\xe0\0"))),
                        2 => drop(sent.and_then(|()| client.read(4))),
                        3 => drop(client.socket().shutdown(std::net::Shutdown::Write)),
                        _ => {}
                    }
                }
            })
        })
        .collect();
    for _ in 0..ROUNDS {
        let mut socket = TcpStream::connect(address).expect("it listens");
        socket.write_all(b"\x16\x03\x01\x02\x00\x01\x00").expect("it takes bytes");
    }
    for thread in storms {
        thread.join().expect("no assertion failed");
    }
    let config = Arc::new(config(VERSIONS[1], &world.own, None));
    let mut polite = Client::connect(address, &config, "polite").expect("it may");
    polite.send(b"\xe0\0").expect("the broker reads");
    let left = polite.read(1).expect_err("nothing comes");
    assert!(!left.to_string().contains("close_notify"), "no leave: {left}");
    drop(polite);
    drop(broker);
    let traffic = &driver.traffic;
    let accepted = traffic.sockets_accepted.load(Ordering::Relaxed);
    assert_eq!(traffic.sockets_closed.load(Ordering::Relaxed), accepted);
    assert!(accepted > (THREADS * ROUNDS + ROUNDS) as u64);
    assert_eq!(Arc::strong_count(&driver), 1, "no connection holds on to it");
}

/// Records that nobody encrypted, after a handshake that was good.
#[test]
fn bad_records_close_one_connection_and_nobody_else_notices() {
    let world = World::new();
    let broker = Running::start(settings(world.tls()));
    let trusted = |version| Arc::new(config(version, &world.own, None));
    let mut bystander =
        Client::connect(broker.address(), &trusted(VERSIONS[1]), "bystander").expect("it may");
    let mut state = 0x9e37_79b9_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    for round in 0..60 {
        let config = trusted(VERSIONS[round % 2]);
        let client = Client::connect(broker.address(), &config, "victim").expect("it may");
        let len = (next() % 2000) as usize;
        let mut bytes: Vec<u8> = (0..len).map(|_| next() as u8).collect();
        if round % 3 == 0 && len > 5 {
            let [high, low] = ((len - 5) as u16).to_be_bytes();
            bytes[..5].copy_from_slice(&[23, 3, 3, high, low]);
        }
        let mut socket = client.socket();
        socket.write_all(&bytes).expect("it takes bytes");
        socket.shutdown(std::net::Shutdown::Write).expect("a socket");
        let _ = socket.read_to_end(&mut Vec::new());
        bystander.ping();
    }
}

#[test]
fn lists_of_revoked_certificates_are_looked_at_before_they_count() {
    let world = World::new();
    let others = Authority::new("others");
    let load = |list: &str| {
        let crl = world.folder.file("crl", list);
        let tls = Settings { crl_file: Some(crl), ..world.mutual(ClientCertificates::Required) };
        martlet::net::tls::terms::Terms::load(&tls, martlet::net::tls::now())
    };
    let said = load(&others.revoke_now(&[7])).expect_err("of nobody here");
    assert!(said[0].text.contains("is a list of CN=others, whose certificate is in neither"));
    // Somebody who only calls himself so.
    let said = load(&Authority::new("devices").revoke_now(&[7])).expect_err("not signed");
    assert!(said[0].text.starts_with("is a list that CN=devices has not signed"), "{said:?}");
    let good = load(&world.devices.revoke_long_ago(&[7])).expect("it still counts");
    assert!(good.warnings[0].contains("should have been renewed by"), "{:?}", good.warnings);
    assert!(good.warnings[0].ends_with("whom it names stays refused."), "{:?}", good.warnings);
}

#[test]
fn an_outdated_list_refuses_whom_it_names_or_everybody() {
    for current in [false, true] {
        let world = World::new();
        let crl = world.folder.file("crl", &world.devices.revoke_long_ago(&[66]));
        let tls = Settings {
            crl_file: Some(crl),
            crl_must_be_current: current,
            ..world.mutual(ClientCertificates::Required)
        };
        let broker = Running::start(settings(tls));
        let comes = |serial| {
            let identity = world.devices.issue(&authority::Subject { serial, ..device("d") });
            let config = Arc::new(config(VERSIONS[1], &world.own, Some(&identity)));
            Client::connect(broker.address(), &config, "c").is_ok()
        };
        assert_eq!((comes(66), comes(7)), (false, !current));
        lines(&broker, "its list of revoked certificates", if current { 2 } else { 0 });
    }
}

#[test]
fn what_does_not_go_together_is_named() {
    let world = World::new();
    let (folder, identity) = (&world.folder, world.own.issue(&server()));
    let other_key = folder.file("other.key", &identity.key_pem);
    let garbage = folder.file("garbage", "no certificate\n");
    let encrypted = folder.file(
        "encrypted",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let swapped = folder.path().join("server.crt");
    let no = |name: &str| Path::new("/nonexistent").join(name);
    let good = world.mutual(ClientCertificates::Required);
    let rows = [
        (Settings { key_file: other_key, ..good.clone() }, "is not the key of the certificate in"),
        (Settings { key_file: encrypted, ..good.clone() }, "is encrypted, and nobody is there to"),
        (Settings { key_file: swapped, ..good.clone() }, "holds no private key but a certificate"),
        (
            Settings { certificate_file: garbage.clone(), ..good.clone() },
            "holds no certificate in PEM (-----BEGIN ...)",
        ),
        (
            Settings { certificate_file: no("a"), ..good.clone() },
            "cannot be read: No such file or directory",
        ),
        (
            Settings { ca_file: Some(garbage.clone()), ..good.clone() },
            "holds no certificate in PEM",
        ),
        (Settings { ca_path: Some(no("b")), ..good.clone() }, "cannot be read: No such file"),
        (Settings { crl_file: Some(garbage), ..good.clone() }, "holds no list of revoked"),
        (Settings { ca_file: None, ..good.clone() }, "want a \"cafile\" or a \"capath\""),
        (Settings { ciphers: Some("FOO".into()), ..good.clone() }, "\"FOO\" is no cipher and no"),
    ];
    for (settings, words) in rows {
        let loaded = martlet::net::tls::terms::Terms::load(&settings, martlet::net::tls::now());
        let said = loaded.expect_err(words);
        assert!(said.len() == 1 && said[0].text.starts_with(words), "{words}: {said:?}");
    }
    assert!(martlet::net::tls::terms::Terms::load(&good, martlet::net::tls::now()).is_ok());
}

#[test]
fn a_directory_of_signers_is_as_good_as_a_file() {
    let world = World::new();
    let folder = Folder::new();
    folder.file("0a1b2c3d.0", &world.devices.pem());
    folder.file("README", "what lies here\n");
    // An empty sequence.
    folder.file("odd.pem", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n");
    let tls = Settings {
        ca_file: None,
        ca_path: Some(folder.path().to_owned()),
        ..world.mutual(ClientCertificates::Required)
    };
    let broker = Running::start(settings(tls));
    let identity = world.devices.issue(&device("d"));
    let config = Arc::new(config(VERSIONS[1], &world.own, Some(&identity)));
    Client::connect(broker.address(), &config, "c").expect("it may").ping();
    lines(&broker, "1 of 2 certificates cannot be read and are passed over.", 1);
}
