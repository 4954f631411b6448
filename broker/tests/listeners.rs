//! What listeners are told besides their address: unix sockets, proxies, terms for their clients.
//! Real sockets; nothing here is decided by how long it takes.

#![allow(missing_docs, unreachable_pub, reason = "a test")]

mod raw;
mod running;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::Ordering;

use martlet::access::{self, Policy};
use martlet::net::address::{Address, UnixAddress};
use martlet::net::listener;
use martlet::net::proxy::{self, Proxies, Version};
use martlet::net::terms::Terms;
use martlet::net::throttle;
use martlet::server::Settings;
use martlet_codec::reason::QoS;
use raw::client::Client;
use raw::{Connect, Id, Packet, Publish};
use running::{Running, open, settings};

fn publish(topic: &str, payload: impl Into<Vec<u8>>, qos: u8, id: u16) -> Packet {
    let id = if qos > 0 { Id::Number(id) } else { Id::None };
    Packet::Publish(Publish { qos, id, ..Publish::new(topic, payload) })
}

fn subscribe(client: &mut Client, filter: &str, qos: u8, granted: u8) {
    client.send(&Packet::Subscribe { id: Id::Number(1), filters: vec![(filter.into(), qos)] });
    client.expect(&format!("suback 1 {granted}"));
}

fn any_port() -> listener::Settings {
    let address: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    listener::Settings::at(address)
}

/// A second listener beside the ordinary one.
fn beside(listener: listener::Settings) -> Settings {
    let mut settings = settings();
    settings.listeners.push((listener, open()));
    settings
}

fn unix(path: &Path) -> listener::Settings {
    let place = UnixAddress { path: path.to_owned(), mode: 0o600 };
    listener::Settings::on(Address::Unix(place))
}

fn behind(version: Version) -> listener::Settings {
    let proxies = Proxies::default();
    let proxy = Some(proxy::Settings { version, proxies, require_tls: false });
    listener::Settings { proxy, ..any_port() }
}

/// Any ordered, lossless stream of bytes will do [MQTT-7.1.1-1].
#[test]
fn clients_of_a_unix_socket_and_of_tcp_hear_each_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("martlet.sock");
    let mut broker = Running::start(beside(unix(&path)));
    for round in ["one", "two"] {
        let mut local = Client::open_unix(&path).introduce(Connect::new("local"));
        let mut remote = Client::connect(broker.address(), "remote");
        subscribe(&mut local, "t", 1, 1);
        remote.send(&publish("t", vec![b'x'; 300_000], 0, 0));
        assert_eq!(local.expect_packet(), publish("t", vec![b'x'; 300_000], 0, 0));
        subscribe(&mut remote, "t", 0, 0);
        local.send(&publish("t", round, 0, 0));
        remote.expect(&format!("publish t \"{round}\""));
        broker.restart();
        assert!(path.exists(), "it is there again");
    }
    let lines = broker.log().with("as local");
    let who = format!("unix:pid={},uid=", std::process::id());
    assert!(lines.len() == 2 && lines[0].contains(&who), "{lines:?}");
    let opened = broker.log().with(&format!("unix listen socket on path {}", path.display()));
    assert_eq!(opened.len(), 3);
    drop(broker);
    assert!(!path.exists(), "it goes with the broker");
}

#[test]
fn behind_a_proxy_clients_have_their_own_addresses() {
    let v1 = b"PROXY TCP4 192.0.2.7 127.0.0.1 50000 1883\r\n".to_vec();
    let v2 = [
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".as_slice(),
        &[192, 0, 2, 7, 127, 0, 0, 1, 0xc3, 0x50, 7, 0x5b],
    ];
    let itself = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec();
    for (version, header, expected) in [
        (Version::V1, v1, Some("192.0.2.7:50000")),
        (Version::V2, v2.concat(), Some("192.0.2.7:50000")),
        (Version::V2, itself, None),
        (Version::V1, b"PROXY UNKNOWN\r\n".to_vec(), None),
    ] {
        let broker = Running::start(beside(behind(version)));
        let connect = Packet::Connect(Box::new(Connect::new("proxied"))).encode();
        let mut at_once = Client::open(broker.addresses()[1]);
        at_once.send_bytes(&[&header[..], &connect].concat());
        at_once.expect("connack 0");
        let mut in_pieces = Client::open(broker.addresses()[1]);
        for byte in [&header[..], &connect].concat() {
            in_pieces.send_bytes(&[byte]);
        }
        in_pieces.expect("connack 0");
        in_pieces.ping();
        let own = [at_once.address().to_string(), in_pieces.address().to_string()];
        let lines = broker.log().with("as proxied");
        assert_eq!(lines.len(), 2, "{lines:?}");
        for (line, own) in lines.iter().zip(&own) {
            assert!(line.contains(expected.unwrap_or(own)), "{line}");
        }
    }
}

#[test]
fn who_does_not_speak_as_a_proxy_is_closed_at_once() {
    let mut strict = behind(Version::V2);
    let settings = proxy::Settings {
        version: Version::V2,
        proxies: "127.0.0.0/8".parse().expect("a network"),
        require_tls: true,
    };
    strict.proxy = Some(settings.clone());
    let mut closed = behind(Version::V1);
    let proxies = "192.0.2.1".parse().expect("an address");
    closed.proxy = Some(proxy::Settings { version: Version::V1, proxies, require_tls: false });
    let mut settings = beside(strict);
    settings.listeners.push((closed, open()));
    let broker = Running::start(settings);
    let mut bystander = Client::connect(broker.address(), "bystander");
    let no_tls = [
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".as_slice(),
        &[192, 0, 2, 7, 127, 0, 0, 1, 0xc3, 0x50, 7, 0x5b],
    ];
    let rows: &[(usize, &[u8], &str)] = &[
        (1, b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01c", "no PROXY header of version 2"),
        (1, b"PROXY UNKNOWN\r\n", "no PROXY header of version 2"),
        (1, &no_tls.concat(), "did not reach the proxy over TLS"),
        (2, b"PROXY UNKNOWN\r\n", "none of the proxies"),
    ];
    for (listener, bytes, words) in rows {
        let mut client = Client::open(broker.addresses()[*listener]);
        client.send_bytes(bytes);
        client.expect_closed();
        bystander.ping();
        let lines = broker.log().with(&format!("[{}] disconnected", client.address()));
        assert!(lines.len() == 1 && lines[0].contains(words), "{words}: {lines:?}");
    }
}

/// The proxy has verified the certificate, and its name is the user's.
#[test]
fn a_certificate_that_the_proxy_saw_is_as_good_as_one_that_we_saw() {
    let identity = access::Settings {
        user_from_certificate: Some(access::CertificateName::CommonName),
        ..access::Settings::default()
    };
    let mut settings = settings();
    let policy = Policy::load(&identity).expect("no files");
    settings.listeners.push((behind(Version::V2), policy.into()));
    let broker = Running::start(settings);
    let header = |flags: u8, verify: u8| {
        let ssl = [&[0x20, 0, 16, flags, 0, 0, 0, verify, 0x22, 0, 8][..], b"sensor-1"].concat();
        let fields = [&[192, 0, 2, 7, 127, 0, 0, 1, 0xc3, 0x50, 7, 0x5b][..], &ssl].concat();
        [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0".as_slice(), &[fields.len() as u8], &fields].concat()
    };
    for (flags, verify, code) in [(3, 0, 0), (5, 0, 0), (3, 18, 5), (1, 0, 5), (2, 0, 5)] {
        let mut client = Client::open(broker.addresses()[1]);
        client.send_bytes(&header(flags, verify));
        client.send(&Packet::Connect(Box::new(Connect::new("device"))));
        client.expect(&format!("connack {code}"));
    }
    let lines = broker.log().with("as device");
    assert!(lines.len() == 2 && lines[0].contains("u'sensor-1'"), "{lines:?}");
}

fn mounted(mount_point: &str, qos_max: QoS) -> listener::Settings {
    let mount_point = Some(mount_point.parse().expect("a mount point"));
    let terms = Terms { mount_point, qos_max, ..Terms::default() };
    listener::Settings { terms, ..any_port() }
}

#[test]
fn clients_of_a_mount_point_live_below_it_and_do_not_know() {
    let mut settings = beside(mounted("site/1/", QoS::ExactlyOnce));
    settings.listeners.push((mounted("site/2/", QoS::ExactlyOnce), open()));
    let broker = Running::start(settings);
    let [plain, one, two] = *broker.addresses() else { panic!("three listeners") };
    let mut all = Client::connect(plain, "all");
    subscribe(&mut all, "#", 2, 2);
    let mut inside = Client::connect(one, "inside");
    subscribe(&mut inside, "#", 1, 1);
    subscribe(&mut inside, "$share/g/a", 1, 1);
    let mut elsewhere = Client::connect(two, "elsewhere");
    subscribe(&mut elsewhere, "#", 1, 1);
    inside.send(&publish("a", "from inside", 0, 0));
    all.expect("publish site/1/a \"from inside\"");
    let heard = [inside.expect_packet(), inside.expect_packet()].map(|p| p.to_string());
    assert_eq!(heard, ["publish a \"from inside\"", "publish a \"from inside\""], "once shared");
    for (topic, seen) in [("a", None), ("site/1/b/c", Some("b/c")), ("site/10/a", None)] {
        all.send(&publish(topic, "x", 0, 0));
        all.expect(&format!("publish {topic} \"x\""));
        if let Some(seen) = seen {
            inside.expect(&format!("publish {seen} \"x\""));
        }
    }
    inside.ping();
    elsewhere.ping();
    inside.send(&Packet::Unsubscribe { id: Id::Number(2), filters: vec!["#".into()] });
    inside.expect("unsuback 2");
    all.send(&publish("site/1/b", "x", 0, 0));
    all.expect("publish site/1/b \"x\"");
    inside.ping();
}

#[test]
fn retained_messages_and_wills_are_below_the_mount_point_too() {
    let broker = Running::start(beside(mounted("site/1/", QoS::ExactlyOnce)));
    let [plain, mounted] = *broker.addresses() else { panic!("two listeners") };
    let will = Some(Publish::new("will", "gone"));
    let mut inside = Client::open(mounted).introduce(Connect { will, ..Connect::new("inside") });
    let retained = Publish { retain: true, qos: 1, id: Id::Number(3), ..Publish::new("r", "kept") };
    inside.send(&Packet::Publish(retained));
    inside.expect("puback 3");
    subscribe(&mut inside, "r", 1, 1);
    inside.expect("publish r \"kept\" q1 id=1 retain");
    let mut all = Client::connect(plain, "all");
    subscribe(&mut all, "#", 0, 0);
    all.expect("publish site/1/r \"kept\" retain");
    inside.finish();
    all.expect("publish site/1/will \"gone\"");
}

/// A session that comes back at another listener is sent what is its own, by its whole name.
#[test]
fn a_session_may_come_back_at_another_listener() {
    let broker = Running::start(beside(mounted("site/1/", QoS::ExactlyOnce)));
    let [plain, mounted] = *broker.addresses() else { panic!("two listeners") };
    let kept = || Connect { clean: false, ..Connect::new("kept") };
    let mut client = Client::open(plain).introduce(kept());
    subscribe(&mut client, "elsewhere/a", 1, 1);
    subscribe(&mut client, "site/1/a", 1, 1);
    client.send(&Packet::Disconnect);
    client.expect_closed();
    let mut publisher = Client::connect(plain, "publisher");
    for (id, topic) in [(1, "elsewhere/a"), (2, "site/1/a")] {
        publisher.send(&publish(topic, "x", 1, id));
        publisher.expect(&format!("puback {id}"));
    }
    let mut client = Client::open(mounted);
    client.send(&Packet::Connect(Box::new(kept())));
    client.expect("connack 0 present");
    client.expect("publish elsewhere/a \"x\" q1 id=1");
    client.expect("publish a \"x\" q1 id=2");
}

#[test]
fn nobody_publishes_above_the_listeners_qos() {
    let terms = Terms { qos_max: QoS::AtLeastOnce, ..Terms::default() };
    let broker = Running::start(beside(listener::Settings { terms, ..any_port() }));
    let [plain, limited] = *broker.addresses() else { panic!("two listeners") };
    let mut client = Client::connect(limited, "limited");
    subscribe(&mut client, "t", 2, 1);
    let mut publisher = Client::connect(plain, "publisher");
    publisher.send(&publish("t", "x", 2, 1));
    client.expect("publish t \"x\" q1 id=1");
    client.send(&publish("t", "x", 2, 7));
    client.expect_closed();
    let will = Some(Publish { qos: 2, ..Publish::new("will", "x") });
    let mut other = Client::open(limited);
    other.send(&Packet::Connect(Box::new(Connect { will, ..Connect::new("other") })));
    other.expect("connack 5");
    other.expect_closed();
    for name in ["limited", "other"] {
        let lines = broker.log().with("max_qos").into_iter().filter(|line| line.contains(name));
        assert_eq!(lines.count(), 1, "{name}");
    }
}

#[test]
fn a_listener_may_serve_one_version_only() {
    let terms = Terms { versions: "4, 5".parse().expect("levels"), ..Terms::default() };
    let broker = Running::start(beside(listener::Settings { terms, ..any_port() }));
    let old = Connect { name: "MQIsdp".into(), level: 3, ..Connect::new("old") };
    Client::open(broker.address()).introduce(old.clone()).ping();
    let mut refused = Client::open(broker.addresses()[1]);
    refused.send(&Packet::Connect(Box::new(old)));
    refused.expect("connack 1");
    refused.expect_closed();
    Client::open(broker.addresses()[1]).introduce(Connect::new("new")).ping();
}

/// Whoever publishes too fast is read more slowly: nothing is lost, and nobody else is held up.
#[test]
fn a_fast_publisher_is_slowed_and_loses_nothing() {
    const MESSAGES: u16 = 1200;
    let mut settings = settings();
    settings.rates = throttle::Settings { publishes_per_s: 400, bytes_per_s: 0, burst_s: 1 };
    let broker = Running::start(settings);
    let mut subscriber = Client::connect(broker.address(), "subscriber");
    subscribe(&mut subscriber, "t", 0, 0);
    let mut fast = Client::connect(broker.address(), "fast");
    let burst: Vec<u8> =
        (1..=MESSAGES).flat_map(|id| publish("t", id.to_string(), 1, id).encode()).collect();
    fast.send_bytes(&burst);
    let mut bystander = Client::connect(broker.address(), "bystander");
    for id in 1..=MESSAGES {
        fast.expect(&format!("puback {id}"));
        subscriber.expect(&format!("publish t \"{id}\""));
        if id % 100 == 0 {
            bystander.send(&publish("other", "x", 1, id));
            bystander.expect(&format!("puback {id}"));
        }
    }
    fast.ping();
    let slowed = broker.driver().traffic.publishers_slowed.load(Ordering::Relaxed);
    let lines = broker.log().with("publishes faster than limits.publishes_per_client_per_s");
    assert!(slowed == 1 && lines.len() == 1, "{slowed}: {lines:?}");
    assert!(lines[0].contains("fast"), "{lines:?}");
}

/// What came together with the message that was too much is taken after the pause, a large one that
/// is cut off included.
#[test]
fn a_pause_forgets_nothing_of_what_has_come() {
    let mut settings = settings();
    settings.rates = throttle::Settings { publishes_per_s: 0, bytes_per_s: 200_000, burst_s: 1 };
    let broker = Running::start(settings);
    let mut client = Client::connect(broker.address(), "client");
    let large = publish("t", vec![b'x'; 250_000], 1, 1).encode();
    let rest = [publish("t", "y", 1, 2), Packet::PingReq, publish("t", "z", 1, 3)];
    let rest: Vec<u8> = rest.iter().flat_map(Packet::encode).collect();
    let again = publish("t", vec![b'x'; 150_000], 1, 4).encode();
    client.send_bytes(&[large, rest, again].concat());
    for answer in ["puback 1", "puback 2", "pingresp", "puback 3", "puback 4"] {
        client.expect(answer);
    }
    client.ping();
    assert_eq!(broker.log().with("limits.publish_bytes_per_client_per_s").len(), 1);
}
