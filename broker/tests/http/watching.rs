//! What the broker tells of itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use martlet::driver::turn;
use martlet::server::Server;
use martlet::store::{Store, StoreError};
use martlet_engine::change::Change;
use martlet_engine::snapshot::Snapshot;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::client::{Answer, Http};
use crate::raw::client::Client;
use crate::raw::{Connect, Id, Packet, Publish};
use crate::running::Running;
use crate::{open, settings};

#[test]
fn metrics_have_our_names_and_those_of_mosquittos_exporters() {
    let broker = Running::start(settings());
    let mut client = Client::connect(broker.address(), "one");
    client.send(&Packet::Publish(Publish::new("t", b"12345".as_slice())));
    client.ping();
    let answer = open(&broker).get("/metrics");
    let kind = answer.header("content-type");
    assert!(kind.is_some_and(|kind| kind.starts_with("application/openmetrics-text")), "{kind:?}");
    let text = answer.text();
    for line in [
        "# TYPE martlet_clients_connected gauge",
        "martlet_clients_connected 1",
        "# TYPE martlet_publish_bytes_received counter",
        "martlet_publish_bytes_received_total 5",
        "broker_clients_connected 1",
        "broker_publish_messages_received 1",
        "broker_retained_messages_count 0",
        "martlet_dropped_total{bound=\"queue_messages_max\"} 0",
        "martlet_http_requests_total 1",
        "martlet_ready 1",
        "# EOF",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(text.lines().all(|line| !line.ends_with("..")), "{text}");
}

#[test]
fn stats_are_the_same_numbers() {
    let broker = Running::start(settings());
    let _client = Client::connect(broker.address(), "one");
    let stats = open(&broker).get("/stats").json();
    assert_eq!(stats["figures"]["clients/connected"], 1);
    assert_eq!(stats["dropped"]["outbox_bytes_max"], 0);
    assert_eq!((&stats["ready"], &stats["durable"]), (&json!(true), &json!(true)));
}

#[test]
fn clients_are_listed_with_what_waits_for_them() {
    let broker = Running::start(settings());
    let mut away =
        Client::connect_as(broker.address(), Connect { clean: false, ..Connect::new("away") });
    away.send(&Packet::Subscribe { id: Id::Number(1), filters: vec![("t".to_owned(), 1)] });
    away.expect("suback 1 1");
    away.finish();
    away.expect_closed();
    let mut http = open(&broker);
    for _ in 0..3 {
        http.ask("POST /push/t", &[], b"12345");
    }
    let _here = Client::connect(broker.address(), "here");
    let clients = |path: &str| open(&broker).get(path).json()["clients"].clone();
    let away = &clients("/clients?matching=away")[0];
    for (name, value) in [
        ("connected", json!(false)),
        ("durable", json!(true)),
        ("subscriptions", json!(1)),
        ("queued", json!(3)),
        ("unacknowledged", json!(0)),
        ("total", json!(3)),
        ("bytes", json!(18)),
        ("address", Value::Null),
    ] {
        assert_eq!(away[name], value, "{name}: {away}");
    }
    assert!(away["away_since"].is_string(), "{away}");
    let here = clients("/clients?connected=true&matching=here");
    assert!(here[0]["address"].as_str().is_some_and(|at| at.starts_with("127.0.0.1:")), "{here}");
    assert_eq!(clients("/clients?matching=nobody"), json!([]));
}

#[test]
fn a_long_list_comes_page_by_page() {
    let broker = Running::start(settings());
    let _clients: Vec<_> =
        (0..7).map(|n| Client::connect(broker.address(), &format!("c{n}"))).collect();
    let (mut names, mut from) = (Vec::new(), Some(0));
    while let Some(at) = from {
        let page = open(&broker).get(&format!("/clients?limit=3&from={at}")).json();
        let page_names = page["clients"].as_array().expect("a list").iter();
        let before = names.len();
        names.extend(page_names.map(|client| client["client_id"].to_string()));
        assert!(names.len() - before <= 3);
        from = page["next"].as_u64();
    }
    names.sort();
    let expected: Vec<String> = (0..7).map(|n| format!("\"c{n}\"")).collect();
    assert_eq!(names, expected);
}

#[test]
fn health_is_told_to_everybody() {
    let broker = Running::start(settings());
    for path in ["/healthz", "/readyz"] {
        let answer = open(&broker).get(path);
        assert_eq!((answer.status, answer.json()), (200, json!({"status": "ok"})), "{path}");
    }
}

/// A disk that is full as long as the test says so.
struct FullDisk(Arc<AtomicBool>);

impl Store for FullDisk {
    fn load(&mut self) -> Result<Snapshot, StoreError> {
        Ok(Snapshot::default())
    }

    fn commit(&mut self, _: &[Change]) -> Result<(), StoreError> {
        if !self.0.load(Ordering::SeqCst) {
            return Ok(());
        }
        let source = std::io::ErrorKind::StorageFull.into();
        Err(StoreError::Io { doing: "writing".into(), source })
    }
}

/// What a path answers once it has this status.
#[expect(clippy::disallowed_methods, reason = "health can only be asked for again")]
fn until(http: &mut Http, path: &str, status: u16) -> Answer {
    for _ in 0..20_000 {
        let answer = http.get(path);
        if answer.status == status {
            return answer;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    panic!("{path} never answers {status}");
}

#[test]
fn a_store_that_fails_is_not_ready_until_it_works_again() {
    let full = Arc::new(AtomicBool::new(false));
    let disk = FullDisk(Arc::clone(&full));
    let (started, window) = std::sync::mpsc::sync_channel(1);
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        let runtime = turn::runtime(turn::WAIT_MAX).build();
        runtime.expect("a runtime of tokio's").block_on(async {
            let server = Server::start(settings(), Box::new(disk)).expect("a server starts");
            started.send(server.window().expect("it has one")).expect("the test waits");
            server.run(async { drop(stopped.await) }).await;
        });
    });
    let mut http = Http::open(window.recv().expect("it says where it listens"));
    assert_eq!(http.get("/readyz").status, 200);
    full.store(true, Ordering::SeqCst);
    let pushed = http.ask("POST /push/a?qos=0&retain=true", &[], b"1");
    assert_eq!(pushed.status, 202, "{}", pushed.text());
    let answer = until(&mut http, "/readyz", 503);
    let detail = answer.json()["detail"].clone();
    assert!(detail.as_str().is_some_and(|text| text.starts_with("the store has failed since 20")));
    assert_eq!(http.get("/healthz").status, 200, "it runs, and says so");
    assert_eq!(http.get("/stats").json()["ready"], false);
    let pushed = http.ask("POST /push/a?retain=true", &[], b"2");
    assert_eq!(pushed.status, 503, "{}", pushed.text());
    assert!(pushed.text().contains("published, but not acknowledged: the store has failed since"));
    full.store(false, Ordering::SeqCst);
    until(&mut http, "/readyz", 200);
    assert_eq!(http.get("/stats").json()["ready"], true);
    let pushed = http.ask("POST /push/a?retain=true", &[], b"3");
    assert_eq!(pushed.status, 200, "{}", pushed.text());
    drop(http);
    drop(stop);
    thread.join().expect("the server does not panic");
}
