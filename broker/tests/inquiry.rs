//! Services that are asked who may, over real sockets: what they are asked, what follows from the
//! answers, and what happens where there are none.

#![allow(missing_docs, unreachable_pub, reason = "a test")]

mod raw;
mod running;
mod service;

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use martlet::access::ask::{self, Backend, Backends, Method, Params, Response};
use martlet::access::{self, Policy};
use martlet::inquiry::{Inquiry, Lifetime, Settings};

use raw::client::{Client, Heard};
use raw::{Connect, Id, Packet, Publish};
use running::Running;
use service::{Asked, Reply, Service};

fn settings(address: SocketAddr) -> Settings {
    let http = ask::Service {
        host: address.ip().to_string().into(),
        port: address.port(),
        tls: false,
        verify_peer: true,
        ca_file: None,
        user_path: "/user".into(),
        superuser_path: Some("/superuser".into()),
        acl_path: "/acl".into(),
        method: Method::Post,
        params: Params::Json,
        response: Response::Status,
        user_agent: "martlet".into(),
        timeout_s: 20,
        bearer: false,
    };
    let lifetime = Lifetime { seconds: 600, jitter_s: 0 };
    Settings {
        http: Some(http),
        jwt: None,
        questions_max: 8,
        logins: lifetime,
        rights: lifetime,
        ask_read: true,
        deny_special_chars: true,
    }
}

/// A service with a certificate for `127.0.0.1`, and the authority that has signed it.
fn over_tls(folder: &tempfile::TempDir) -> (Service, std::path::PathBuf) {
    let key = rcgen::KeyPair::generate().expect("entropy");
    let names = vec!["127.0.0.1".to_owned()];
    let certificate = rcgen::CertificateParams::new(names).expect("an address");
    let certificate = certificate.self_signed(&key).expect("a key of ours");
    let path = folder.path().join("ca.pem");
    fs::write(&path, certificate.pem()).expect("a folder of ours");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has suites")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
        );
    let config = Arc::new(config.expect("a good certificate"));
    let address = ([127, 0, 0, 1], 0).into();
    (Service::start_at(address, Some(config), usual), path)
}

#[test]
fn a_service_with_tls_is_believed_as_the_settings_say() {
    let (folder, other) = (tempfile::tempdir(), tempfile::tempdir());
    let (folder, other) = (folder.expect("a folder"), other.expect("a folder"));
    let (service, authority) = over_tls(&folder);
    let (_, stranger) = over_tls(&other);
    let missing = with_tls(&service, true, Some(folder.path().join("missing.pem")));
    assert!(Inquiry::load(&missing).is_err_and(|faults| faults[0].text.contains("No such file")));
    let rows = [(true, Some(authority), 0), (true, Some(stranger), 3), (false, None, 0)];
    for (verify_peer, ca_file, code) in rows {
        let settings = with_tls(&service, verify_peer, ca_file);
        assert_eq!(settings.warnings().len(), usize::from(!verify_peer));
        let broker = broker(&settings);
        let mut client = Client::open(broker.address());
        client.send(&Packet::Connect(Box::new(connect("c", "ann"))));
        client.expect(&format!("connack {code}"));
    }
}

fn with_tls(service: &Service, verify_peer: bool, ca_file: Option<std::path::PathBuf>) -> Settings {
    let mut settings = settings(service.address());
    settings.http =
        settings.http.map(|http| ask::Service { tls: true, verify_peer, ca_file, ..http });
    settings
}

/// A broker that asks so, with what else decides there.
fn broker_with(settings: &Settings, policy: access::Settings) -> Running {
    let mut backends = Backends::default();
    if settings.http.is_some() {
        backends = backends.with(Backend::Http);
    }
    if settings.jwt.is_some() {
        backends = backends.with(Backend::Jwt);
    }
    let policy = Policy::load(&access::Settings { backends, ..policy }).expect("good files");
    let mut server = running::settings();
    server.listeners[0].1 = Arc::new(policy);
    server.inquiry = Some(Arc::new(Inquiry::load(settings).expect("good files")));
    Running::start(server)
}

fn broker(settings: &Settings) -> Running {
    broker_with(settings, access::Settings::default())
}

fn connect(client_id: &str, user: &str) -> Connect {
    let (user, password) = (Some(user.to_owned()), Some("secret".to_owned()));
    Connect { user, password, ..Connect::new(client_id) }
}

fn publish(topic: &str, qos: u8, id: u16) -> Packet {
    let id = if qos == 0 { Id::None } else { Id::Number(id) };
    Packet::Publish(Publish { qos, id, ..Publish::new(topic, "x") })
}

fn subscribe(filters: &[&str]) -> Packet {
    let filters = filters.iter().map(|filter| ((*filter).to_owned(), 0)).collect();
    Packet::Subscribe { id: Id::Number(9), filters }
}

/// `root` may do everything; the others come in, publish to `a/...` and receive `b/...`.
fn usual(asked: &Asked) -> Reply {
    let says = |part: &str| asked.body.contains(part);
    let yes = match &*asked.line {
        "POST /user" => says("\"password\":\"secret\""),
        "POST /superuser" => says("\"username\":\"root\""),
        "POST /acl" if says("\"acc\":2") => says("\"topic\":\"a/"),
        "POST /acl" => says("\"topic\":\"b/"),
        _ => false,
    };
    Reply::Status(if yes { 200 } else { 403 })
}

#[test]
fn a_service_says_who_comes_in_and_what_it_may_do() {
    let service = Service::start(usual);
    let broker = broker(&settings(service.address()));
    let mut wrong = Client::open(broker.address());
    let refused = Connect { password: Some("x".to_owned()), ..connect("c", "ann") };
    wrong.send(&Packet::Connect(Box::new(refused)));
    wrong.expect("connack 5");
    assert_eq!(broker.log().with("refused: not authorised, unknown user.").len(), 1);
    assert_eq!(service.heard(), [r#"POST /user {"clientid":"c","password":"x","username":"ann"}"#]);
    let mut root = Client::connect_as(broker.address(), connect("r", "root"));
    root.send(&subscribe(&["#"]));
    root.expect("suback 9 0");
    assert_eq!(service.heard().len(), 2, "a superuser is asked about once");
    let mut ann = Client::connect_as(broker.address(), connect("c", "ann"));
    ann.send(&publish("a/1", 1, 1));
    ann.expect("puback 1");
    ann.send(&publish("c/1", 1, 2));
    ann.expect("puback 2");
    ann.send(&publish("a/1", 1, 3));
    ann.expect("puback 3");
    ann.send(&subscribe(&["b/#", "#", "$share/g/b/1", "b/+"]));
    ann.expect("suback 9 0 128 0 0");
    for topic in ["a/1", "a/1"] {
        let heard = root.expect_packet().to_string();
        assert!(heard.contains(topic), "{heard}");
    }
    root.send(&publish("b/1", 0, 0));
    let heard = [ann.expect_packet().to_string(), root.expect_packet().to_string()];
    assert!(heard.iter().all(|heard| heard.contains("b/1")), "{heard:?}");
    let acl = |acc: u8, topic: &str| {
        format!(r#"POST /acl {{"acc":{acc},"clientid":"c","topic":"{topic}","username":"ann"}}"#)
    };
    let expected = [
        r#"POST /user {"clientid":"c","password":"secret","username":"ann"}"#.to_owned(),
        r#"POST /superuser {"username":"ann"}"#.to_owned(),
        acl(2, "a/1"),
        acl(2, "c/1"),
        acl(4, "b/#"),
        acl(1, "b/#"),
        acl(4, "#"),
        acl(4, "b/1"),
        acl(1, "b/1"),
        acl(4, "b/+"),
        acl(1, "b/+"),
    ];
    assert_eq!(service.heard(), expected, "and nothing twice");
    let denied = broker.driver().traffic.unanswered.load(Ordering::Relaxed);
    assert_eq!(denied, 0);
}

#[test]
fn files_come_first_and_are_not_asked_about() {
    let folder = tempfile::tempdir().expect("a folder");
    let (users, acl) = (folder.path().join("users"), folder.path().join("acl"));
    let hash = access::edit::hash(access::hash::Scheme::Sha512, b"secret").expect("entropy");
    fs::write(&users, format!("ann:{hash}\n")).expect("a folder of ours");
    fs::write(&acl, "user ann\ntopic own/#\n").expect("a folder of ours");
    let service = Service::start(usual);
    let policy = access::Settings {
        allow_anonymous: true,
        password_file: Some(users),
        acl_file: Some(acl),
        ..access::Settings::default()
    };
    let broker = broker_with(&settings(service.address()), policy);
    let mut ann = Client::connect_as(broker.address(), connect("c", "ann"));
    ann.send(&subscribe(&["own/x", "b/x"]));
    ann.expect("suback 9 0 0");
    ann.send(&publish("own/x", 0, 0));
    assert!(ann.expect_packet().to_string().contains("own/x"));
    let asked = [
        r#"POST /superuser {"username":"ann"}"#,
        r#"POST /acl {"acc":4,"clientid":"c","topic":"b/x","username":"ann"}"#,
        r#"POST /acl {"acc":1,"clientid":"c","topic":"b/x","username":"ann"}"#,
    ];
    assert_eq!(service.heard(), asked);
    // Nobody is asked about somebody without a name.
    let mut nobody = Client::connect(broker.address(), "n");
    nobody.send(&publish("a/1", 1, 1));
    nobody.expect("puback 1");
    nobody.send(&subscribe(&["b/x"]));
    nobody.expect("suback 9 0");
    nobody.ping();
    assert!(service.heard().is_empty());
    // A service may know another password.
    let mut bob = Client::connect_as(broker.address(), connect("d", "bob"));
    bob.send(&publish("a/1", 1, 1));
    bob.expect("puback 1");
    assert_eq!(service.heard().len(), 3);
}

#[test]
fn names_with_wildcards_are_not_asked_about() {
    let service = Service::start(usual);
    let broker = broker(&settings(service.address()));
    let mut client = Client::connect_as(broker.address(), connect("+", "ann"));
    service.asked();
    client.send(&publish("a/1", 1, 1));
    client.expect("puback 1");
    client.send(&subscribe(&["b/1"]));
    client.expect("suback 9 128");
    assert!(service.heard().is_empty());
}

#[test]
fn without_a_memory_every_message_is_asked_about() {
    let service = Service::start(usual);
    let none = Lifetime::default();
    let settings = Settings { logins: none, rights: none, ..settings(service.address()) };
    let broker = broker(&settings);
    let mut ann = Client::connect_as(broker.address(), connect("c", "ann"));
    service.asked();
    // In one piece: they wait for one another, in order.
    let packets = [publish("a/1", 1, 1), publish("c/1", 1, 2), publish("a/1", 1, 3)];
    let bytes: Vec<u8> = packets.iter().flat_map(Packet::encode).collect();
    ann.send_bytes(&bytes);
    for id in 1..=3 {
        ann.expect(&format!("puback {id}"));
    }
    let acl = service.heard().into_iter().filter(|asked| asked.starts_with("POST /acl"));
    assert_eq!(acl.count(), 3);
}

#[test]
fn whoever_waits_keeps_nobody_waiting_and_its_packets_in_order() {
    let service = Service::start(|asked| match &*asked.line {
        "POST /acl" => Reply::Held(200),
        _ => usual(asked),
    });
    let broker = broker(&settings(service.address()));
    let mut root = Client::connect_as(broker.address(), connect("r", "root"));
    root.send(&subscribe(&["#"]));
    root.expect("suback 9 0");
    let mut ann = Client::connect_as(broker.address(), connect("c", "ann"));
    ann.send(&publish("a/1", 1, 1));
    ann.send(&Packet::PingReq);
    service.wait_for_held(1);
    // What is under way to it comes through, and others are served.
    root.send(&publish("x", 1, 1));
    root.expect_packet();
    root.expect("puback 1");
    service.let_go();
    ann.expect("puback 1");
    ann.expect("pingresp");
    assert!(root.expect_packet().to_string().contains("a/1"));
}

#[test]
fn so_many_questions_are_asked_at_a_time_and_no_more() {
    let service = Service::start(|asked| match &*asked.line {
        "POST /acl" => Reply::Held(200),
        _ => usual(asked),
    });
    let settings = Settings { questions_max: 2, ..settings(service.address()) };
    let broker = broker(&settings);
    let clients = (0..6).map(|number| {
        let client_id = format!("c{number}");
        Client::connect_as(broker.address(), connect(&client_id, "ann"))
    });
    let mut clients: Vec<Client> = clients.collect();
    for client in &mut clients {
        client.send(&publish("a/1", 1, 1));
    }
    service.wait_for_held(2);
    service.let_go();
    for mut client in clients {
        client.expect("puback 1");
    }
    assert_eq!(service.held_max(), 2);
}

#[test]
fn no_answer_is_no_and_loses_no_message_that_waits_for_its_acknowledgement() {
    let fails = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&fails);
    let service = Service::start(move |asked| match flag.load(Ordering::SeqCst) {
        true => Reply::Status(500),
        false => usual(asked),
    });
    let broker = broker(&settings(service.address()));
    let mut ann = Client::connect_as(broker.address(), connect("c", "ann"));
    let mut bob = Client::connect_as(broker.address(), connect("d", "bob"));
    let mut known = Client::connect_as(broker.address(), connect("e", "eve"));
    known.send(&publish("a/1", 1, 1));
    known.expect("puback 1");
    fails.store(true, Ordering::SeqCst);
    let mut new = Client::open(broker.address());
    new.send(&Packet::Connect(Box::new(connect("n", "new"))));
    new.expect("connack 3");
    new.expect_closed();
    ann.send(&publish("a/1", 1, 1));
    ann.expect_closed();
    bob.send(&publish("a/1", 0, 0));
    bob.send(&subscribe(&["b/1"]));
    bob.expect("suback 9 128");
    bob.ping();
    // What was answered before goes on counting.
    known.send(&publish("a/1", 1, 2));
    known.expect("puback 2");
    assert_eq!(broker.log().with("does not say who may: it answers with status 500").len(), 1);
    assert_eq!(broker.log().with("nobody answers whether it may publish").len(), 1);
    assert_eq!(broker.driver().traffic.unanswered.load(Ordering::Relaxed), 4);
    fails.store(false, Ordering::SeqCst);
    let mut new = Client::connect_as(broker.address(), connect("n", "new"));
    new.ping();
    bob.send(&subscribe(&["b/1"]));
    bob.expect("suback 9 0");
    assert_eq!(broker.log().with("answers again, after").len(), 1);
}

#[test]
fn a_service_that_cannot_be_reached_is_left_in_peace_for_a_moment() {
    let service = Service::start(usual);
    let address = service.address();
    let settings = settings(address);
    let broker = broker(&settings);
    drop(service);
    let code = |user: &str| {
        let mut client = Client::open(broker.address());
        client.send(&Packet::Connect(Box::new(connect("c", user))));
        match client.hear() {
            Heard::Packet(packet) => packet.to_string(),
            other => panic!("{other:?}"),
        }
    };
    for user in ["ann", "bob", "cid"] {
        assert_eq!(code(user), "connack 3");
    }
    assert_eq!(broker.log().with("does not say who may: ").len(), 1, "{:?}", broker.log().lines());
    let _service = Service::start_at(address, None, usual);
    // Bounded by the patience of the test alone: a second after the last failure it is asked again.
    let answers = (0..100_000).map(|_| code("ann"));
    assert!(answers.into_iter().any(|answer| answer == "connack 0"));
}

/// Whatever a stranger calls itself, the others are let in.
#[test]
fn a_question_that_cannot_be_asked_silences_nobody_else() {
    let service = Service::start(|asked| match &asked.authorization {
        Some(token) if token.contains("bad") => Reply::Gone,
        _ => usual(&Asked { body: "\"password\":\"secret\"".to_owned(), ..asked.clone() }),
    });
    let mut settings = settings(service.address());
    settings.jwt = settings.http.take().map(|http| ask::Service { bearer: true, ..http });
    let broker = broker(&settings);
    let mut ann = Client::connect_as(broker.address(), connect("c", "ann"));
    // A service may break off where a token is too long for it; such a one is not refused by us.
    for (number, (stranger, code)) in [("x\u{7}y", 5), ("bad", 3)].into_iter().enumerate() {
        let mut client = Client::open(broker.address());
        client.send(&Packet::Connect(Box::new(connect("s", stranger))));
        client.expect(&format!("connack {code}"));
        Client::connect_as(broker.address(), connect("d", &format!("user{number}"))).ping();
        ann.send(&publish(&format!("a/{number}"), 1, 1));
        ann.expect("puback 1");
    }
}

#[test]
fn what_a_session_has_subscribed_to_is_asked_about_when_it_comes_back() {
    let allowed = Arc::new(AtomicBool::new(true));
    let flag = Arc::clone(&allowed);
    let service = Service::start(move |asked| match &*asked.line {
        "POST /acl" if asked.body.contains("b/1") && !flag.load(Ordering::SeqCst) => {
            Reply::Status(403)
        }
        _ => usual(asked),
    });
    let none = Lifetime::default();
    let broker = broker(&Settings { rights: none, ..settings(service.address()) });
    let mut root = Client::connect_as(broker.address(), connect("r", "root"));
    let kept = || Connect { clean: false, ..connect("c", "ann") };
    let mut ann = Client::connect_as(broker.address(), kept());
    ann.send(&subscribe(&["b/1", "b/2"]));
    ann.expect("suback 9 0 0");
    ann.send(&Packet::Disconnect);
    ann.expect_closed();
    let comes_back = || {
        let mut ann = Client::open(broker.address());
        ann.send(&Packet::Connect(Box::new(kept())));
        ann.expect("connack 0 present");
        ann
    };
    for (yes, expected) in [(true, &["b/1", "b/2"][..]), (false, &["b/2"])] {
        allowed.store(yes, Ordering::SeqCst);
        let mut ann = comes_back();
        for topic in ["b/1", "b/2"] {
            root.send(&publish(topic, 0, 0));
        }
        root.ping();
        for topic in expected {
            let heard = ann.expect_packet().to_string();
            assert!(heard.contains(topic), "{heard}");
        }
        ann.ping();
        ann.send(&Packet::Disconnect);
        ann.expect_closed();
    }
}

/// However many there were, those that a client has left are gone, and the others stay.
#[test]
fn what_was_granted_is_kept_as_long_as_it_is_used() {
    let service = Service::start(usual);
    let broker = broker(&settings(service.address()));
    let mut root = Client::connect_as(broker.address(), connect("r", "root"));
    let mut ann = Client::connect_as(broker.address(), connect("c", "ann"));
    let filters: Vec<String> = (0..100).map(|number| format!("b/{number}")).collect();
    let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
    for filter in &filters {
        ann.send(&subscribe(&[filter]));
        ann.expect("suback 9 0");
    }
    let leave = |ann: &mut Client, filter: &str| {
        let filters = vec![filter.to_owned()];
        ann.send(&Packet::Unsubscribe { id: Id::Number(8), filters });
        ann.expect("unsuback 8");
    };
    // One that it leaves, comes back to and keeps, and one that it never leaves.
    leave(&mut ann, "b/1");
    ann.send(&subscribe(&["b/1"]));
    ann.expect("suback 9 0");
    filters[2..99].iter().for_each(|filter| leave(&mut ann, filter));
    ann.send(&subscribe(&["b/50"]));
    ann.expect("suback 9 0");
    for filter in &filters {
        root.send(&publish(filter, 0, 0));
    }
    for topic in ["b/0", "b/1", "b/50", "b/99"] {
        let heard = ann.expect_packet().to_string();
        assert!(heard.contains(&format!("{topic} ")), "{heard}");
    }
    ann.ping();
}

#[test]
fn whoever_gets_an_id_is_asked_about_by_it() {
    let service = Service::start(usual);
    let broker = broker(&settings(service.address()));
    let will = Some(Publish::new("c/will", "gone"));
    let nameless = Connect { will, ..connect("", "ann") };
    let mut ann = Client::connect_as(broker.address(), nameless);
    ann.send(&subscribe(&["b/1"]));
    ann.expect("suback 9 0");
    let line = broker.log().with(" as auto-").remove(0);
    let (_, rest) = line.split_once(" as ").expect("it says who");
    let id = rest.split(' ').next().unwrap_or_default();
    let rights = service.heard().into_iter().filter(|asked| asked.starts_with("POST /acl"));
    let rights: Vec<String> = rights.collect();
    assert_eq!(rights.len(), 3, "{rights:?}");
    let named = format!("\"clientid\":\"{id}\"");
    assert!(rights.iter().all(|asked| asked.contains(&named)), "{id} {rights:?}");
}

#[test]
fn a_will_is_asked_about_when_its_client_comes() {
    let service = Service::start(usual);
    let broker = broker(&settings(service.address()));
    let mut root = Client::connect_as(broker.address(), connect("r", "root"));
    root.send(&subscribe(&["#"]));
    root.expect("suback 9 0");
    for (topic, client_id) in [("c/no", "c"), ("a/yes", "d")] {
        let will = Some(Publish::new(topic, "gone"));
        drop(Client::connect_as(broker.address(), Connect { will, ..connect(client_id, "ann") }));
    }
    let heard = root.expect_packet().to_string();
    assert!(heard.contains("a/yes"), "{heard}");
}

#[test]
fn a_service_is_given_the_token_in_a_header_and_no_log_has_it() {
    let service = Service::start(|asked| match (&*asked.line, &asked.authorization) {
        (_, Some(token)) if !token.contains("good") => Reply::Says(401, "{}"),
        ("PUT /superuser", _) => Reply::Says(200, r#"{"ok":false,"error":"no"}"#),
        _ => Reply::Says(200, r#"{"ok":true}"#),
    });
    let mut settings = settings(service.address());
    settings.jwt = settings.http.take().map(|http| ask::Service {
        bearer: true,
        method: Method::Put,
        params: Params::Form,
        response: Response::Json,
        ..http
    });
    let broker = broker(&settings);
    let good = "eyJhbGciOiJIUzI1NiJ9.e30.good";
    let mut client = Client::connect_as(broker.address(), connect("c", good));
    client.send(&publish("a b", 1, 1));
    client.expect("puback 1");
    let asked = service.asked();
    assert!(asked.iter().all(|a| a.authorization == Some(format!("Bearer {good}"))), "{asked:?}");
    assert!(asked.iter().all(|a| a.content_type == "application/x-www-form-urlencoded"));
    let bodies: Vec<String> = asked.iter().map(|a| format!("{} {}", a.line, a.body)).collect();
    assert_eq!(bodies, ["PUT /user ", "PUT /superuser ", "PUT /acl acc=2&clientid=c&topic=a+b"]);
    let mut bad = Client::open(broker.address());
    bad.send(&Packet::Connect(Box::new(connect("d", "eyJhbGciOiJIUzI1NiJ9.e30.evil"))));
    bad.expect("connack 5");
    assert!(broker.log().so_far("eyJ").is_empty(), "{:?}", broker.log().lines());
    assert_eq!(broker.log().with("u'a token'").len(), 1, "{:?}", broker.log().lines());
}
