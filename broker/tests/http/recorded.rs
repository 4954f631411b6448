//! What is recorded, read over HTTP.

use std::sync::Arc;
use std::thread::JoinHandle;

use martlet::access::Policy;
use martlet::access::tokens::{self, Tokens};
use martlet::driver::turn;
use martlet::http::Keys;
use martlet::server::reload::Reloader;
use martlet::server::{self, Server};
use martlet::store::disk::Real;
use martlet::store::durable;
use martlet::telemetry::log::{Log, Settings, StreamSettings};
use martlet_engine::filter::Filter;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::client::{Http, Lines};
use crate::settings;

const LINES: (&str, &str) = ("Content-Type", "application/x-ndjson");
const ACCEPT_LINES: (&str, &str) = ("Accept", "application/x-ndjson");

/// A broker with a store on disk that records `sensors/#` as the stream `plant`.
pub struct Recording {
    window: std::net::SocketAddr,
    settings: server::Settings,
    reloader: Arc<Reloader>,
    threads: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    folder: TempDir,
}

impl Recording {
    pub fn start() -> Self {
        Self::of(&[("plant", "sensors/#")])
    }

    /// As [`start`](Self::start), with these streams.
    pub fn of(streams: &[(&str, &str)]) -> Self {
        Self::with(streams, settings())
    }

    /// The same, with users and rules of its window.
    fn with(streams: &[(&str, &str)], mut settings: server::Settings) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let stream = |(name, filter): &(&str, &str)| {
            StreamSettings::new(name, vec![Filter::parse(filter).expect("one")])
        };
        let streams: Vec<StreamSettings> = streams.iter().map(stream).collect();
        settings.recorded.clone_from(&streams);
        settings.driver.streams = streams.iter().map(StreamSettings::stream).collect();
        settings.window.as_mut().expect("it has one").0.folder = Some(folder.path().to_owned());
        let log = Log::new(Arc::new(Real), Settings::new(folder.path(), streams));
        let opened = durable::Settings {
            recorder: Some(Arc::new(log.clone())),
            ..durable::Settings::new(folder.path().to_owned(), "now".to_owned())
        };
        let store = durable::open(opened).expect("a store in a folder of ours");
        let (started, window) = std::sync::mpsc::sync_channel(1);
        let (stop, stopped) = oneshot::channel::<()>();
        let told = settings.clone();
        let thread = std::thread::spawn(move || {
            let runtime = turn::runtime(turn::WAIT_MAX).build();
            runtime.expect("a runtime of tokio's").block_on(async {
                let server = Server::start(told, Box::new(store)).expect("a server starts");
                let server = server.tending(log);
                let window = server.window().expect("it has one");
                started.send((window, server.reloader())).expect("the test waits");
                server.run(async { drop(stopped.await) }).await;
            });
        });
        let (window, reloader) = window.recv().expect("it says where it listens");
        Self { window, settings, reloader, threads: Some((stop, thread)), folder }
    }

    /// Other rules hold from now on.
    fn rule(&self, policy: Arc<Policy>) {
        let mut settings = self.settings.clone();
        settings.window.as_mut().expect("it has one").1 = policy;
        self.reloader.prepare(settings).expect("good settings").apply();
    }

    pub fn window(&self) -> std::net::SocketAddr {
        self.window
    }

    pub fn open(&self) -> Http {
        Http::open(self.window)
    }

    /// Publishes so many numbers, in turns to three sensors.
    pub fn publish(&self, numbers: std::ops::Range<u64>) {
        let line = |n: u64| format!("{{\"topic\":\"sensors/{}/t\",\"payload\":{n}}}\n", n % 3);
        let body: String = numbers.map(line).collect();
        let answer = self.open().ask("POST /push/", &[LINES], body.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let Some((stop, thread)) = self.threads.take() else { return };
        drop(stop);
        assert!(thread.join().is_ok() || std::thread::panicking(), "the server panicked");
    }
}

fn payloads(records: &Value) -> Vec<u64> {
    let records = records["records"].as_array().expect("a list").iter();
    let number = |record: &Value| record["payload"].as_str()?.parse().ok();
    records.map(|record| number(record).expect("a number")).collect()
}

#[test]
fn a_push_says_where_it_is_recorded() {
    let broker = Recording::start();
    let mut http = broker.open();
    for offset in 0..3 {
        let pushed = http.ask("POST /push/sensors/a", &[], b"x").json();
        let records = pushed["records"].as_array().expect("a list").clone();
        assert_eq!(records.len(), 1, "{pushed}");
        assert_eq!(
            (&records[0]["stream"], &records[0]["offset"]),
            (&json!("plant"), &json!(offset))
        );
        assert!(records[0]["time"].is_string(), "{pushed}");
    }
    assert_eq!(http.ask("POST /push/elsewhere", &[], b"x").json()["records"], json!([]));
    let batch = "{\"topic\":\"sensors/b\",\"payload\":1}\n{\"topic\":\"sensors/c\",\"payload\":2}\n\
                 {\"topic\":\"sensors/d\",\"payload\":3,\"qos\":0}\n";
    let pushed = http.ask("POST /push/", &[LINES], batch.as_bytes()).json();
    let last = &pushed["records"][0];
    assert_eq!((&last["stream"], &last["offset"]), (&json!("plant"), &json!(4)), "{pushed}");
    let batch = "{\"topic\":\"sensors/e\",\"payload\":1}\n\
                 {\"topic\":\"sensors/e\",\"payload\":2,\"qos\":0}\n";
    let pushed = http.ask("POST /push/", &[LINES], batch.as_bytes()).json();
    assert_eq!(pushed["records"][0]["offset"], json!(6), "nobody waited for the later one");
}

/// Whatever a topic's history is like, who publishes to it does not wait for it.
#[test]
fn a_push_reads_nothing_of_what_was_recorded_before() {
    const BLOCK: usize = 64 * 1024;
    let broker = Recording::start();
    let mut http = broker.open();
    http.ask("POST /push/sensors/a", &[], b"old");
    for _ in 0..3 {
        assert_eq!(http.ask("POST /push/sensors/b", &[], &[b'x'; BLOCK]).status, 200);
    }
    let segment = broker.folder.path().join("telemetry/plant/00000000000000000000.log");
    let mut bytes = std::fs::read(&segment).expect("it is there");
    bytes[70] ^= 1;
    std::fs::write(&segment, bytes).expect("a folder of ours");
    let pushed = http.ask("POST /push/sensors/a", &[], b"new").json();
    assert_eq!(pushed["records"][0]["offset"], 4, "{pushed}");
    assert_eq!(http.get("/streams").json()[0]["damaged_bytes"], 0, "nobody came upon it");
    let damaged = http.get("/consume/sensors/a").json()["damaged_bytes"].as_u64();
    assert!(damaged > Some(0), "it is there");
}

/// In bytes, too: not every record is a number.
#[test]
fn the_last_records_are_so_many_or_so_large() {
    const MIB: usize = 1 << 20;
    let broker = Recording::start();
    let mut http = broker.open();
    for _ in 0..10 {
        assert_eq!(http.ask("POST /push/sensors/a", &[], &[b'x'; MIB]).status, 200);
    }
    let page = http.get("/latest/sensors/a?n=10").json();
    let records = page["records"].as_array().expect("a list").iter();
    let offsets: Vec<u64> = records.filter_map(|record| record["offset"].as_u64()).collect();
    assert_eq!(offsets, (2..10).collect::<Vec<_>>());
}

#[test]
fn records_are_read_from_an_offset_and_on_from_there() {
    let broker = Recording::start();
    broker.publish(0..10);
    let mut http = broker.open();
    let mut read = |path: &str| http.get(path).json();
    assert_eq!(payloads(&read("/consume/")), (0..10).collect::<Vec<_>>());
    assert_eq!(payloads(&read("/consume/sensors/%23?offset=7")), [7, 8, 9]);
    assert_eq!(payloads(&read("/consume/sensors/1/t")), [1, 4, 7]);
    assert_eq!(
        payloads(&read("/consume/sensors/+/t?stream=plant&limit=2&offset=earliest")),
        [0, 1]
    );
    assert!(payloads(&read("/consume/%23?offset=latest")).is_empty());
    let (mut all, mut next) = (Vec::new(), 0);
    loop {
        let page = read(&format!("/consume/sensors/%23?limit=3&offset={next}"));
        next = page["next"].as_u64().expect("where to go on");
        let found = payloads(&page);
        if found.is_empty() {
            break;
        }
        all.extend(found);
    }
    assert_eq!((all, next), ((0..10).collect(), 10));
}

#[test]
fn records_come_as_json_as_lines_and_as_csv() {
    let broker = Recording::start();
    broker.publish(0..2);
    let get = |accept: &str| broker.open().ask("GET /consume/", &[("Accept", accept)], b"");
    let lines = get("application/x-ndjson").text();
    assert_eq!(lines.lines().count(), 2, "{lines}");
    let first: Value = serde_json::from_str(lines.lines().next().expect("one")).expect("JSON");
    assert_eq!((&first["topic"], &first["offset"]), (&json!("sensors/0/t"), &json!(0)));
    assert!(first["client_id"].as_str().is_some_and(|id| id.starts_with("http-")), "{first}");
    let csv = get("text/csv").text();
    assert!(csv.starts_with("offset,time,topic,") && csv.lines().count() == 3, "{csv}");
    let refused = get("image/png");
    assert_eq!(refused.status, 406);
    assert!(refused.text().contains("application/x-ndjson, text/csv"), "{}", refused.text());
}

#[test]
fn the_last_records_and_those_of_a_time() {
    let broker = Recording::start();
    broker.publish(0..9);
    let mut http = broker.open();
    let mut read = |path: &str| http.get(path).json();
    assert_eq!(payloads(&read("/latest/sensors/%23?n=2")), [7, 8]);
    assert_eq!(payloads(&read("/latest/sensors/2/t")), [2, 5, 8]);
    assert_eq!(payloads(&read("/latest_time/sensors/%23?since=3600&limit=4")), [0, 1, 2, 3]);
    assert_eq!(payloads(&read("/latest_time/sensors/0/t?from=-1h")), [0, 3, 6]);
    assert_eq!(payloads(&read("/latest/?n=2")), [7, 8]);
    assert_eq!(payloads(&read("/latest_time/?from=2020-01-01T00:00:00%2B02:00&limit=1")), [0]);
    let none = "/latest_time/%23?from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z";
    assert!(payloads(&read(none)).is_empty());
}

#[test]
fn topics_and_streams_are_counted() {
    let broker = Recording::start();
    broker.publish(0..9);
    let mut http = broker.open();
    let page = http.get("/topics/?limit=2").json();
    let names = |page: &Value| {
        let topics = page["topics"].as_array().expect("a list").iter();
        topics.map(|topic| topic["topic"].to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&page), ["\"sensors/0/t\"", "\"sensors/1/t\""]);
    assert_eq!((&page["topics"][0]["records"], &page["next"]), (&json!(3), &json!("sensors/1/t")));
    let rest = http.get("/topics/?after=sensors/1/t").json();
    assert_eq!(names(&rest), ["\"sensors/2/t\""]);
    assert_eq!(rest["next"], Value::Null);
    let metrics = http.get("/metrics").text();
    let line = "martlet_stream_records_total{stream=\"plant\"} 9";
    assert!(metrics.lines().any(|found| found == line), "{metrics}");
    for name in ["parquet_files", "parquet_records", "seal_failures_total", "damaged_bytes_total"] {
        let line = format!("martlet_stream_{name}{{stream=\"plant\"}} 0");
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    }
    assert!(metrics.contains("\nmartlet_disk_free_bytes "), "{metrics}");
    assert!(http.get("/stats").json()["disk"]["used_bytes"].as_u64().is_some_and(|used| used > 0));
    let streams = http.get("/streams").json();
    assert_eq!((&streams[0]["stream"], &streams[0]["next_offset"]), (&json!("plant"), &json!(9)));
}

/// A window where `root` is an admin by token, and everybody else has these rights.
fn ruled(acl: &str) -> (server::Settings, String) {
    let (root, line) = tokens::make("root").expect("entropy");
    let tokens = Tokens::parse("tokens".as_ref(), &line).expect("a good line");
    let (tokens, admins) = (Some(tokens), vec!["root".into()]);
    let keys = Keys { tokens, admins, ..Keys::default() };
    let window = Some(crate::window(crate::policy(true, None, Some(acl)), keys));
    (server::Settings { window, ..settings() }, format!("Bearer {root}"))
}

/// As if there was nothing else: no name, no gap in a page, no fewer of the last ones.
#[test]
fn what_somebody_may_not_read_is_not_there_for_them() {
    let (settings, root) = ruled("topic read sensors/a/#\n");
    let broker = Recording::with(&[("plant", "#")], settings);
    let headers = [LINES, ("Authorization", &root)];
    let line = |topic: &str, n: u32| format!("{{\"topic\":\"{topic}\",\"payload\":{n}}}\n");
    let topics = ["sensors/a/1", "sensors/a/2", "secret", "sensors/b", "sensors/a/3", "zoo"];
    let mut body = topics.map(|topic| line(topic, 7)).concat();
    body += &line("secret", 8).repeat(10);
    let mut http = broker.open();
    assert_eq!(http.ask("POST /push/", &headers, body.as_bytes()).status, 200);
    let (mut names, mut after) = (Vec::new(), String::new());
    loop {
        let page = http.get(&format!("/topics/?limit=1&after={after}")).json();
        names.extend(page["topics"].as_array().expect("a list").clone());
        match page["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => break,
        }
        assert!(after.starts_with("sensors/a/"), "{after}");
    }
    let names: Vec<_> = names.iter().map(|topic| &topic["topic"]).collect();
    assert_eq!(names, ["sensors/a/1", "sensors/a/2", "sensors/a/3"]);
    let of = |page: Value| page["records"].as_array().expect("a list").clone();
    let latest = of(http.get("/latest/%23?n=2").json());
    let topics: Vec<_> = latest.iter().map(|record| &record["topic"]).collect();
    assert_eq!(topics, ["sensors/a/2", "sensors/a/3"]);
    let all = http.ask("GET /latest/%23?n=2", &[("Authorization", &root)], b"");
    assert_eq!(payloads(&all.json()), [8, 8]);
}

/// New rules hold for those too who follow or read already.
#[test]
fn who_follows_a_stream_gets_no_more_than_the_rules_say_now() {
    let (settings, root) = ruled("topic read sensors/#\n");
    let broker = Recording::with(&[("plant", "sensors/#")], settings);
    let mut tail = Lines::of(broker.open(), "/realtime/sensors/%23?stream=plant", &[ACCEPT_LINES]);
    let mut http = broker.open();
    let mut push = |topic: &str| {
        let headers = [("Authorization", root.as_str())];
        assert_eq!(http.ask(&format!("POST /push/{topic}"), &headers, b"x").status, 200);
    };
    push("sensors/a");
    assert_eq!(tail.json()["topic"], "sensors/a");
    broker.rule(crate::policy(true, None, Some("topic read sensors/b\n")));
    ["sensors/a", "sensors/b"].into_iter().for_each(&mut push);
    assert_eq!(tail.json()["topic"], "sensors/b");
    broker.rule(crate::policy(true, None, Some("topic read sensors/#\n")));
    push("sensors/a");
    assert_eq!(tail.json()["topic"], "sensors/a");
}

#[test]
fn a_long_answer_ends_with_the_rights_to_it() {
    const RECORDS: usize = 500;
    let (settings, root) = ruled("topic read sensors/#\n");
    let broker = Recording::with(&[("plant", "sensors/#")], settings);
    let mut http = broker.open();
    // Far more than sockets hold.
    for _ in 0..RECORDS {
        let headers = [("Authorization", root.as_str())];
        assert_eq!(http.ask("POST /push/sensors/a", &headers, &[b'x'; 50_000]).status, 200);
    }
    let mut slow = Lines::of(broker.open(), "/consume/?limit=1000", &[ACCEPT_LINES]);
    assert_eq!(slow.json()["topic"], "sensors/a");
    broker.rule(crate::policy(true, None, Some("topic read elsewhere\n")));
    let rest = std::iter::from_fn(|| slow.next()).count();
    assert!(rest < RECORDS - 1, "{rest} came");
}

/// Who follows a stream sees what it missed, and goes on without a gap.
#[test]
fn a_tail_of_the_log_misses_nothing() {
    let broker = Recording::start();
    broker.publish(0..5);
    let mut tail = Lines::of(broker.open(), "/realtime/sensors/%23?stream=plant&offset=3", &[]);
    let head = [(); 3].map(|()| tail.next().expect("how it goes on"));
    assert_eq!(head, [": from the stream plant", "id: 2", ""]);
    let mut event = || {
        let id = tail.next().expect("an id");
        let data = tail.next().expect("data");
        assert_eq!(tail.next().as_deref(), Some(""), "{id} {data}");
        let data: Value =
            serde_json::from_str(data.strip_prefix("data: ").expect("data")).expect("JSON");
        assert_eq!(id, format!("id: {}", data["offset"]));
        data["payload"].as_str().expect("text").to_owned()
    };
    assert_eq!([event(), event()], ["3", "4"]);
    broker.publish(5..7);
    assert_eq!([event(), event()], ["5", "6"]);
    let headers = [("Last-Event-ID", "5"), ACCEPT_LINES];
    let mut back = Lines::of(broker.open(), "/realtime/sensors/%23", &headers);
    broker.publish(7..8);
    assert_eq!([&back.json()["payload"], &back.json()["payload"]], ["6", "7"]);
}

#[test]
fn a_stream_is_followed_over_a_websocket_too() {
    let broker = Recording::start();
    broker.publish(0..3);
    let stream = std::net::TcpStream::connect(broker.window).expect("the window is open");
    let url = format!("ws://{}/realtime/%23?stream=plant&offset=1", broker.window);
    let (mut socket, _) = tungstenite::client(&url, stream).expect("a WebSocket");
    broker.publish(3..4);
    for offset in 1..4 {
        let text = socket.read().expect("a message").into_text().expect("text");
        let record: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(record["offset"], offset);
    }
}

#[cfg(feature = "parquet")]
#[test]
fn records_come_as_parquet() {
    let broker = Recording::start();
    broker.publish(0..1000);
    let parquet = ("Accept", "application/vnd.apache.parquet");
    for path in ["/consume/sensors/1/t", "/latest_time/%23?since=3600&limit=10"] {
        let answer = broker.open().ask(&format!("GET {path}"), &[parquet], b"");
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(parquet.1)));
        let bytes = &answer.body;
        assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"), "{} bytes", bytes.len());
        let name = b"payload_binary";
        assert!(bytes.windows(name.len()).any(|part| part == name), "{path}");
    }
    let few = broker.open().ask("GET /latest/%23", &[parquet], b"");
    assert_eq!(few.status, 406);
    assert!(few.text().contains("/consume and /latest_time have"), "{}", few.text());
}

/// By GET, in every form; acknowledged by its lease or at once.
#[test]
fn what_a_cursor_has_not_consumed_is_read_as_the_latest() {
    let broker = Recording::start();
    broker.publish(0..5);
    let mut http = broker.open();
    let put = http.ask("PUT /cursors/jobs?offset=earliest&filter=sensors/%23", &[], b"");
    assert_eq!(put.status, 200, "{}", put.text());
    let first = http.get("/latest/sensors/%23?cursor=jobs&n=2");
    assert_eq!((payloads(&first.json()), &first.json()["next"]), (vec![0, 1], &json!(2)));
    let lease = first.header("martlet-lease").expect("a lease").to_owned();
    let second = http.get("/latest/sensors/%23?cursor=jobs&n=2&commit=true");
    assert_eq!(payloads(&second.json()), [2, 3]);
    let position = |http: &mut Http| http.get("/cursors/").json()[0]["position"].clone();
    assert_eq!(position(&mut http), 0, "the first two are out");
    let ack = http.ask(&format!("POST /cursors/jobs/ack?lease={lease}"), &[], b"");
    assert_eq!(ack.status, 200, "{}", ack.text());
    assert_eq!(position(&mut http), 4);
    let line = http.ask("GET /latest/sensors/%23?cursor=jobs&commit=true", &[ACCEPT_LINES], b"");
    assert!(line.text().contains("\"payload\":\"4\"") && line.text().lines().count() == 1);
    assert!(payloads(&http.get("/latest/sensors/%23?cursor=jobs").json()).is_empty());
    for (path, status, words) in [
        ("/latest/sensors/%23?cursor=none", 404, "there is no cursor"),
        ("/latest/sensors/0/t?cursor=jobs", 400, "reads \\\"sensors/#\\\", not"),
        ("/latest/sensors/%23?cursor=jobs&lease_s=0", 400, "lease_s 1 to 86400"),
    ] {
        let answer = http.get(path);
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(answer.text().contains(words), "{path}: {}", answer.text());
    }
}

/// An image in a page of somebody else's is a GET without an origin.
#[test]
fn a_page_of_another_origin_takes_no_records_away() {
    let broker = Recording::start();
    broker.publish(0..2);
    let mut http = broker.open();
    assert_eq!(http.ask("PUT /cursors/jobs?offset=earliest", &[], b"").status, 200);
    let path = "GET /latest/%23?cursor=jobs&commit=true";
    for (site, status) in [("cross-site", 403), ("same-site", 403), ("same-origin", 200)] {
        let answer = http.ask(path, &[("sec-fetch-site", site)], b"");
        assert_eq!(answer.status, status, "{site}: {}", answer.text());
        if status == 200 {
            assert_eq!(payloads(&answer.json()), [0, 1], "nothing was taken before");
        }
    }
}

#[test]
fn a_cursor_is_shared_on_leases_and_kept() {
    let broker = Recording::start();
    broker.publish(0..6);
    let mut http = broker.open();
    let put = http.ask("PUT /cursors/jobs?offset=earliest&filter=sensors/%23", &[], b"");
    assert_eq!((put.status, &put.json()["lag"]), (200, &json!(6)), "{}", put.text());
    let mut take = |path: &str| {
        let answer = http.ask(&format!("POST /cursors/jobs/take{path}"), &[], b"");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    let (first, second) = (take("?n=2"), take("?n=2"));
    assert_eq!((payloads(&first), payloads(&second)), (vec![0, 1], vec![2, 3]));
    assert_eq!(payloads(&take("?n=2&commit=true")), [4, 5]);
    assert_eq!(payloads(&take("")), Vec::<u64>::new(), "what is out comes to nobody else");
    for (lease, position) in [(&second, 0), (&first, 6)] {
        let ack = format!("POST /cursors/jobs/ack?lease={}", lease["lease"]);
        let answer = broker.open().ask(&ack, &[], b"");
        assert_eq!(answer.json(), json!({"position": position}));
    }
    let again = format!("POST /cursors/jobs/ack?lease={}", first["lease"]);
    let answer = broker.open().ask(&again, &[], b"");
    assert!(answer.status == 400 && answer.text().contains("has no lease"), "{}", answer.text());
    let cursors = broker.open().get("/cursors/").json();
    let expected = json!([{"name": "jobs", "stream": "plant", "filter": "sensors/#", "position": 6,
        "lag": 0, "leases": 0}]);
    assert_eq!(cursors, expected);
    let mut http = broker.open();
    let rows = [
        ("PUT /cursors/a%20b", 400, "is no name"),
        ("PUT /cursors/a?stream=x", 404, "there is no stream"),
        ("PUT /cursors/a?offset=99", 400, "has not come yet"),
        ("POST /cursors/none/take", 404, "there is no cursor \\\"none\\\"; there are: jobs"),
        ("POST /cursors/jobs/take?n=0", 400, "n is 1 to 10000"),
        ("POST /cursors/jobs/ack", 400, "missing field `lease`"),
        ("DELETE /cursors/none", 404, "there are: jobs"),
        ("DELETE /cursors/jobs", 204, ""),
        ("DELETE /cursors/jobs", 404, "there is no cursor"),
    ];
    for (line, status, part) in rows {
        let answer = http.ask(line, &[], b"");
        assert_eq!(answer.status, status, "{line}: {}", answer.text());
        assert!(answer.text().contains(part), "{line}: {}", answer.text());
    }
}

#[test]
fn what_is_damaged_is_passed_over_and_counted() {
    let broker = Recording::start();
    broker.publish(0..3);
    let end = broker.open().get("/streams").json()[0]["bytes"].as_u64().expect("bytes");
    broker.publish(3..6);
    let segment = broker.folder.path().join("telemetry/plant/00000000000000000000.log");
    let mut bytes = std::fs::read(&segment).expect("it is there");
    bytes[70] ^= 1;
    std::fs::write(&segment, bytes).expect("a folder of ours");
    let mut http = broker.open();
    let page = http.get("/consume/").json();
    let lost = page["damaged_bytes"].as_u64().expect("it is told");
    assert!((1..=end).contains(&lost), "{page}");
    let (found, last) = (payloads(&page), [3, 4, 5]);
    assert!(found.len() < 6 && found.ends_with(&last), "{page}");
    assert!(http.get("/consume/?offset=3").json()["damaged_bytes"].as_u64() <= Some(lost));
    assert!(http.get("/streams").json()[0]["damaged_bytes"].as_u64() >= Some(lost));
}

#[test]
fn a_topic_is_forgotten() {
    let broker = Recording::start();
    broker.publish(0..6);
    let mut http = broker.open();
    http.ask("POST /push/sensors/0/t?retain=true", &[], b"100");
    http.ask("PUT /cursors/zero?filter=sensors/0/t", &[], b"");
    http.ask("PUT /cursors/all?filter=sensors/%23", &[], b"");
    assert_eq!(http.ask("DELETE /delete/sensors/0/t", &[], b"").status, 204);
    assert_eq!(payloads(&http.get("/consume/").json()), [1, 2, 4, 5]);
    let cursors = http.get("/cursors/").json();
    assert_eq!((cursors.as_array().map(Vec::len), &cursors[0]["name"]), (Some(1), &json!("all")));
    http.ask("POST /push/sensors/0/t", &[], b"101");
    assert_eq!(payloads(&http.get("/consume/sensors/0/t").json()), [101], "it may begin anew");
    let mut tail = Lines::of(broker.open(), "/realtime/sensors/%23?every=100", &[ACCEPT_LINES]);
    http.ask("POST /push/sensors/live", &[], b"1");
    assert_eq!(tail.json()["topic"], "sensors/live", "nothing is retained");
    assert_eq!(http.ask("DELETE /delete/a/%23", &[], b"").status, 400);
}

/// Whole histories go through in bounded memory, whoever else stalls or goes away.
#[test]
fn a_long_history_comes_whole_beside_readers_that_stall_and_vanish() {
    const RECORDS: u64 = 20_000;
    let broker = Recording::start();
    broker.publish(0..RECORDS);
    let path = format!("/consume/?limit={RECORDS}");
    let mut stalled: Vec<Http> = (0..3).map(|_| broker.open()).collect();
    for http in &mut stalled {
        http.send(&format!("GET {path}"), &[], b"");
    }
    let mut gone = broker.open();
    gone.send(&format!("GET {path}"), &[ACCEPT_LINES], b"");
    assert_eq!(gone.head().status, 200);
    gone.vanish();
    let lines = broker.open().ask(&format!("GET {path}"), &[ACCEPT_LINES], b"").text();
    assert_eq!(lines.lines().count() as u64, RECORDS);
    assert_eq!(payloads(&stalled.remove(0).answer().json()).len() as u64, RECORDS);
}

#[test]
fn what_cannot_be_read_is_told_why() {
    let broker = Recording::start();
    broker.publish(0..3);
    let mut http = broker.open();
    let rows = [
        ("/consume/a/%23/b", 400, "is no topic filter"),
        ("/consume/%23?offset=4", 400, "has not come yet: the next one is 3"),
        ("/consume/%23?offset=first", 400, "offset takes \\\"earliest\\\""),
        ("/consume/%23?offset=99999999999999999999", 400, "offset takes"),
        ("/consume/%23?limit=0", 400, "limit is at least 1"),
        ("/consume/%23?limit=-1", 400, "limit: invalid digit"),
        (
            "/consume/%23?stream=factory",
            404,
            "there is no stream \\\"factory\\\"; there are: plant",
        ),
        ("/consume/$share/g/%23", 400, "a share has no place here"),
        ("/latest/%23?n=0", 400, "n is 1 to 10000"),
        ("/latest/%23?n=10001", 400, "n is 1 to 10000"),
        ("/latest_time/%23", 400, "say from"),
        ("/latest_time/%23?from=yesterday", 400, "from is a time such as"),
        ("/latest_time/%23?since=1&to=2000-01-01T00:00:00Z", 400, "to is before from"),
        ("/topics/?limit=0", 400, "limit is 1 to 10000"),
        ("/realtime/%23?stream=plant&offset=9", 400, "has not come yet"),
    ];
    for (path, status, part) in rows {
        let answer = http.get(path);
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(answer.text().contains(part), "{path}: {}", answer.text());
    }
    let answer = http.ask("GET /realtime/%23", &[("Last-Event-ID", "x")], b"");
    assert!(answer.text().contains("Last-Event-ID is the offset"), "{}", answer.text());
    let without = crate::running::Running::start(settings());
    let answer = crate::open(&without).get("/consume/");
    assert_eq!(answer.status, 404);
    assert!(answer.text().contains("[[telemetry]]"), "{}", answer.text());
}
