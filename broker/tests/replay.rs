//! `$replay/<from>/<filter>` over sockets: what was recorded, and on from there, without a gap or a
//! repetition.

#![allow(missing_docs, unreachable_pub, reason = "a test")]

mod raw;
mod running;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use martlet::driver::turn;
use martlet::net::workers::Workers;
use martlet::server::reload::Reloader;
use martlet::server::{self, Server};
use martlet::store::disk::Real;
use martlet::store::durable;
use martlet::telemetry::Position;
use martlet::telemetry::log::{Log, Settings, StreamSettings};
use martlet_engine::filter::Filter;
use raw::client::Client;
use raw::{AckKind, Id, Packet, Publish};
use running::settings;
use tempfile::TempDir;
use tokio::sync::oneshot;

/// A broker with a store on disk that records `sensors/#` as the stream `plant`.
struct Recording {
    address: SocketAddr,
    log: Log,
    settings: server::Settings,
    reloader: Arc<Reloader>,
    said: running::Log,
    threads: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    _folder: TempDir,
}

impl Recording {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let stream = StreamSettings::new("plant", vec![Filter::parse("sensors/#").expect("one")]);
        let mut settings = settings();
        settings.driver.streams = vec![stream.stream()];
        settings.recorded = vec![stream.clone()];
        let log = Log::new(Arc::new(Real), Settings::new(folder.path(), vec![stream]));
        let opened = durable::Settings {
            recorder: Some(Arc::new(log.clone())),
            ..durable::Settings::new(folder.path().to_owned(), "now".to_owned())
        };
        let store = durable::open(opened).expect("a store in a folder of ours");
        let (started, address) = std::sync::mpsc::sync_channel(1);
        let (stop, stopped) = oneshot::channel::<()>();
        let (records, said) = (log.clone(), running::Log::default());
        let told = settings.clone();
        let says = said.clone();
        let thread = std::thread::spawn(move || {
            let listen = says.listener();
            let mut builder = turn::runtime(turn::WAIT_MAX);
            let runtime = builder.on_thread_start(listen.clone()).build();
            let workers = Workers::start(1, turn::WAIT_MAX, listen).expect("a thread");
            runtime.expect("a runtime of tokio's").block_on(async {
                let _says = says.listen();
                let server = Server::start(told, Box::new(store)).expect("a server starts");
                let server = server.served_by(workers).tending(records);
                started.send((server.addresses()[0], server.reloader())).expect("the test waits");
                server.run(async { drop(stopped.await) }).await;
            });
        });
        let (address, reloader) = address.recv().expect("it says where it listens");
        Self {
            address,
            log,
            settings,
            reloader,
            said,
            threads: Some((stop, thread)),
            _folder: folder,
        }
    }

    fn client(&self, client_id: &str) -> Client {
        Client::connect(self.address, client_id)
    }

    /// Publishes so many at QoS 1, many in flight, and waits until all are acknowledged.
    fn publish(&self, client_id: &str, topic: &str, count: u16) {
        let mut client = self.client(client_id);
        let mut mouth = client.mouth();
        let (topic, name) = (topic.to_owned(), client_id.to_owned());
        let sending = std::thread::spawn(move || {
            for n in 1..=count {
                let payload = format!("{name}:{n}");
                let publish =
                    Publish { qos: 1, id: Id::Number(n), ..Publish::new(&topic, payload) };
                mouth.send(&Packet::Publish(publish));
            }
        });
        for n in 1..=count {
            client.expect(&format!("puback {n}"));
        }
        sending.join().expect("it sends");
    }

    /// All that is recorded now, as topic and payload.
    fn recorded(&self) -> Vec<(String, Vec<u8>)> {
        let mut reader = self.log.reader("plant", Position::Earliest, None).expect("a stream");
        let mut all = Vec::new();
        while let Some(record) = reader.next().expect("it can be read") {
            all.push((record.topic.to_owned(), record.payload.to_owned()));
        }
        all
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let Some((stop, thread)) = self.threads.take() else { return };
        drop(stop);
        assert!(thread.join().is_ok() || std::thread::panicking(), "the server panicked");
    }
}

fn subscribe(client: &mut Client, filter: &str, qos: u8) {
    client.send(&Packet::Subscribe { id: Id::Number(1), filters: vec![(filter.to_owned(), qos)] });
    client.expect(&format!("suback 1 {qos}"));
}

/// The next message, acknowledged.
fn next(client: &mut Client) -> Publish {
    let Packet::Publish(publish) = client.expect_packet() else { panic!("a message") };
    if publish.qos == 1 {
        client.send(&Packet::Ack(AckKind::PubAck, publish.id.clone()));
    }
    publish
}

fn read(client: &mut Client, count: usize) -> Vec<(String, Vec<u8>)> {
    (0..count).map(|_| next(client)).map(|publish| (publish.topic, publish.payload)).collect()
}

#[test]
fn history_and_what_comes_meanwhile_are_heard_once_and_in_order() {
    const EACH: u16 = 3000;
    let broker = Recording::start();
    broker.publish("early", "sensors/early", 500);
    let (heard_0, heard_1) = std::thread::scope(|scope| {
        let broker = &broker;
        for name in ["p0", "p1", "p2", "p3"] {
            scope.spawn(move || broker.publish(name, &format!("sensors/{name}/t"), EACH));
        }
        let reader = |client_id: &'static str, qos| {
            scope.spawn(move || {
                let mut client = broker.client(client_id);
                subscribe(&mut client, "$replay/earliest/sensors/#", qos);
                let heard = read(&mut client, 500 + 4 * usize::from(EACH));
                client.ping(); // and nothing more came before the answer
                heard
            })
        };
        let (zero, one) = (reader("r0", 0), reader("r1", 1));
        (zero.join().expect("it reads"), one.join().expect("it reads"))
    });
    let recorded = broker.recorded();
    assert_eq!(recorded.len(), 500 + 4 * usize::from(EACH));
    assert_eq!(heard_0, recorded, "every offset once, in order");
    assert_eq!(heard_1, recorded, "also where each is acknowledged");
}

#[test]
fn a_reader_that_takes_nothing_disturbs_nobody_and_loses_nothing() {
    let broker = Recording::start();
    let mut slow = broker.client("slow");
    subscribe(&mut slow, "$replay/earliest/sensors/#", 0);
    // Some megabytes: more than its outbox and its sockets hold.
    for name in ["p0", "p1"] {
        let topic = format!("sensors/{}", "long".repeat(100));
        broker.publish(name, &topic, 8000);
    }
    let mut live = broker.client("live");
    subscribe(&mut live, "sensors/live", 0);
    broker.publish("p2", "sensors/live", 1);
    assert_eq!(next(&mut live).payload, b"p2:1");
    let recorded = broker.recorded();
    assert_eq!(recorded.len(), 16_001);
    assert!(read(&mut slow, recorded.len()) == recorded, "all of it, in order");
}

#[test]
fn it_begins_where_it_is_told_to_and_ends_when_it_is_told_to() {
    let broker = Recording::start();
    broker.publish("p", "sensors/a", 10);
    let rows =
        [("7", 8), ("-1h", 1), ("earliest", 1), ("2020-01-01T00:00:00Z", 1), ("9@plant", 10)];
    for (from, first) in rows {
        let mut client = broker.client("c");
        subscribe(&mut client, &format!("$replay/{from}/sensors/+"), 1);
        let heard: Vec<u8> = (first..=10).collect();
        let texts: Vec<_> = heard.iter().map(|n| format!("p:{n}").into_bytes()).collect();
        let payloads = read(&mut client, texts.len()).into_iter().map(|(_, payload)| payload);
        assert_eq!(payloads.collect::<Vec<_>>(), texts, "{from}");
    }
    let mut client = broker.client("c");
    subscribe(&mut client, "$replay/latest/sensors/#", 1);
    client.ping();
    broker.publish("q", "sensors/a", 1);
    let Publish { topic, payload, retain, qos, .. } = next(&mut client);
    assert_eq!((topic.as_str(), &*payload, retain, qos), ("sensors/a", &b"q:1"[..], false, 1));
    let filters = vec!["$replay/latest/sensors/#".to_owned()];
    client.send(&Packet::Unsubscribe { id: Id::Number(2), filters });
    client.expect("unsuback 2");
    broker.publish("q", "sensors/a", 1);
    client.ping();
}

#[test]
fn streams_come_go_and_change_while_it_runs() {
    let broker = Recording::start();
    broker.publish("p", "sensors/a", 2);
    broker.publish("p", "lamps/a", 2);
    let stream = |name: &str, filter: &str| {
        StreamSettings::new(name, vec![Filter::parse(filter).expect("a filter")])
    };
    let reload = |streams: &[StreamSettings]| {
        let settings = server::Settings { recorded: streams.to_vec(), ..broker.settings.clone() };
        broker.reloader.prepare(settings).expect("good settings").apply();
    };
    let mut early = broker.client("early");
    subscribe(&mut early, "$replay/earliest/sensors/#", 0);
    assert_eq!(read(&mut early, 2).len(), 2);
    reload(&[stream("plant", "sensors/#"), stream("lights", "lamps/#")]);
    broker.publish("q", "lamps/a", 3);
    let mut client = broker.client("c");
    subscribe(&mut client, "$replay/earliest/lamps/#", 0);
    assert_eq!(next(&mut client).payload, b"q:1", "nothing of before");
    assert_eq!(read(&mut client, 2).len(), 2);
    // One goes, and can still be read; in again, its offsets go on.
    reload(&[stream("lights", "lamps/#")]);
    broker.publish("q", "sensors/a", 5);
    let mut other = broker.client("o");
    subscribe(&mut other, "$replay/earliest@plant/sensors/#", 0);
    assert_eq!(read(&mut other, 2)[1].1, b"p:2");
    reload(&[stream("lights", "lamps/#"), stream("plant", "sensors/+")]);
    broker.publish("r", "sensors/a", 1);
    assert_eq!(next(&mut other).payload, b"r:1", "and nothing of between");
    assert_eq!(next(&mut early).payload, b"r:1");
    assert_eq!(broker.log.stats("plant").expect("a stream").next_offset, 3);
    // How long it is kept changes too.
    let short = StreamSettings { keep_bytes: Some(1), ..stream("plant", "sensors/+") };
    reload(&[short]);
    let told = broker.log.tend(0);
    assert!(told.is_none_or(|streams| streams.len() == 1 && &*streams[0].name == "plant"));
}

#[test]
fn what_cannot_be_granted_is_refused_and_the_log_says_why() {
    let broker = Recording::start();
    broker.publish("p", "sensors/a", 1);
    let mut client = broker.client("c");
    let rows = [
        ("$replay/1h/sensors/#", "<from> takes \"earliest\", \"latest\", an offset"),
        ("$replay/-1h", "it is $replay/<from>/<filter>"),
        ("$replay/-1h/lamps/#", "no stream records any of it; there are: plant"),
        ("$replay/-1h@lamps/#", "there is no stream of the name behind @; there are: plant"),
        ("$replay/2/sensors/#", "the offset has not come yet: the next one is 1"),
        ("$share/g/$replay/-1h/sensors/#", "it takes no $share"),
    ];
    for (filter, reason) in rows {
        let filters = vec![(filter.to_owned(), 1)];
        client.send(&Packet::Subscribe { id: Id::Number(1), filters });
        client.expect("suback 1 128");
        let lines = broker.said.with(&format!("client c to '{filter}' refused"));
        assert!(lines.iter().any(|line| line.contains(reason)), "{filter}: {lines:?}");
    }
    let nothing = running::Running::start(settings());
    let mut client = Client::connect(nothing.address(), "c");
    client
        .send(&Packet::Subscribe { id: Id::Number(1), filters: vec![("$replay/-1h/#".into(), 0)] });
    client.expect("suback 1 128");
    let lines = nothing.log().with("nothing is recorded: a [[telemetry]] section says what is");
    assert_eq!(lines.len(), 1);
}
