//! The device's own TLS on this machine's sockets, with its asynchronous driver: against Martlet
//! and against Debian's mosquitto, by OpenSSL.

use std::fs;
use std::future::{Future, poll_fn};
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use embedded_io::ErrorType;
use embedded_io_async::{Read, Write};
use martlet_codec::reason::QoS;
use martlet_device::client::Client;
use martlet_device::error::{Error, TransportFault};
use martlet_device::event::Event;
use martlet_device::io::asynchronous::{Clock, Driver, Network};
use martlet_device::io::blocking::Clock as _;
use martlet_device::settings::{Backoff, Memory, Publication, Settings, Subscription};
use martlet_device::tls::asynchronous::Tls;
use martlet_device::tls::fault::{CertificateFault, Fault};
use martlet_device::tls::settings::{Buffers, Identity, Platform, Settings as TlsSettings, Trust};
use mosquitto_compat_tests::broker::{Broker, Kind};
use mosquitto_compat_tests::tools::{publish, subscribe};

use crate::network::Started;
use crate::pki::{Authority, Flash, REQUIRED};
use crate::proxy::Proxy;

const COMMANDS: &[Subscription<'static>] =
    &[Subscription { filter: "command/+", qos: QoS::ExactlyOnce }];
const SETTINGS: Settings<'static> = Settings {
    subscriptions: COMMANDS,
    backoff: Backoff { min_ms: 10, max_ms: 200 },
    ..Settings::new("device")
};

/// A socket that never blocks.
struct Socket {
    port: u16,
    stream: Option<TcpStream>,
}

impl Socket {
    /// As soon as it does not want to block.
    async fn attempt<T>(
        &mut self,
        mut attempt: impl FnMut(&mut TcpStream) -> io::Result<T>,
    ) -> io::Result<T> {
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        poll_fn(|_| match attempt(stream) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            done => Poll::Ready(done),
        })
        .await
    }
}

impl ErrorType for Socket {
    type Error = io::Error;
}

impl Read for Socket {
    async fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.attempt(|stream| stream.read(bytes)).await
    }
}

impl Write for Socket {
    async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.attempt(|stream| stream.write(bytes)).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Network for Socket {
    async fn open(&mut self) -> io::Result<()> {
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_nonblocking(true)?;
        self.stream = Some(stream);
        Ok(())
    }

    fn close(&mut self) {
        self.stream = None;
    }
}

struct Machine(Started);

impl Clock for Machine {
    fn now_ms(&mut self) -> u64 {
        self.0.now_ms()
    }

    async fn sleep_until(&mut self, ms: u64) {
        poll_fn(|_| if self.0.now_ms() < ms { Poll::Pending } else { Poll::Ready(()) }).await;
    }

    fn entropy(&mut self) -> u32 {
        self.0.entropy()
    }
}

/// Linux has random numbers, and knows the time.
struct Linux;

impl Platform for Linux {
    fn random(&mut self, bytes: &mut [u8]) {
        fs::File::open("/dev/urandom").unwrap().read_exact(bytes).unwrap();
    }

    fn unix_time(&mut self) -> Option<u64> {
        Some(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs())
    }
}

/// More than anything here takes: a minute of doing nothing.
const POLLS_MAX: usize = 60_000;

#[expect(clippy::disallowed_methods, reason = "sockets that do not block can only be tried again")]
fn wait_for<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    for _ in 0..POLLS_MAX {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return done;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("it did not happen")
}

type Device<'m> = Driver<'m, Tls<'m, Socket, Linux>, Machine>;

/// What happens next that `wanted` makes something of.
#[track_caller]
fn next<T>(
    device: &mut Device<'_>,
    mut wanted: impl FnMut(Result<Event<'_>, Error>) -> Option<T>,
) -> T {
    wait_for(async {
        loop {
            if let Some(found) = wanted(device.next().await) {
                return found;
            }
        }
    })
}

fn connected(device: &mut Device<'_>) -> bool {
    next(device, |event| match event {
        Ok(Event::Connected { session_present }) => Some(session_present),
        _ => None,
    })
}

fn subscribed(device: &mut Device<'_>) {
    next(device, |event| matches!(event, Ok(Event::Subscribed { .. })).then_some(()));
}

/// What a device is told that has this in its flash.
fn settings<'a>(flash: &'a Flash, identity: Option<&'a Identity<'a>>) -> TlsSettings<'a> {
    let trust = Trust { authorities: &flash.authorities, ..Trust::default() };
    TlsSettings { name: "localhost".into(), trust, identity }
}

/// Memory of a device whose records are received in so many bytes.
struct Ram([Vec<u8>; 4]);

impl Ram {
    fn new(record: usize) -> Self {
        Self([256, 1_024, record, 1_024].map(|len| vec![0; len]))
    }

    fn device<'m>(
        &'m mut self,
        port: u16,
        tls: TlsSettings<'m>,
        settings: Settings<'m>,
    ) -> Device<'m> {
        let [receive, outbox, record, transmit] = &mut self.0;
        let client = Client::new(settings, Memory { receive, outbox }).unwrap();
        let buffers = Buffers { receive: record, transmit };
        let network = Tls::new(Socket { port, stream: None }, Linux, tls, buffers);
        Driver::new(client, network, Machine(Started::now()))
    }
}

/// All that a sensor does, each way and at each QoS, and a payload longer than any buffer.
fn converse(broker: &Broker, device: &mut Device<'_>) {
    assert!(!connected(device));
    subscribed(device);
    let mut watcher = subscribe(broker, &["-q", "2", "-t", "reading/#"]);
    for (qos, text) in [(QoS::AtMostOnce, "a"), (QoS::AtLeastOnce, "b"), (QoS::ExactlyOnce, "c")] {
        let topic = format!("reading/{text}");
        let reading = Publication::new(&topic, text.as_bytes()).qos(qos);
        device.client().publish(&reading).unwrap();
    }
    for _ in 0..2 {
        next(device, |event| matches!(event, Ok(Event::Published(_))).then_some(()));
    }
    assert_eq!(watcher.texts(3), ["a", "b", "c"]);
    for qos in ["0", "1", "2"] {
        publish(broker, &["-q", qos, "-t", "command/a", "-m", qos]);
        assert_eq!(message(device), qos);
    }
    let image: String = ('a'..='z').cycle().take(20_000).collect();
    publish(broker, &["-q", "2", "-t", "command/image", "-m", &image]);
    assert_eq!(message(device), image);
    device.client().disconnect();
    next(device, |event| matches!(event, Ok(Event::Disconnected)).then_some(()));
    assert_eq!(device.network().fault(), None);
}

/// The next message, whole.
fn message(device: &mut Device<'_>) -> String {
    let mut came = String::new();
    next(device, |event| {
        let event = event.unwrap_or_else(|error| panic!("{error}"));
        let Event::Message(message) = event else { return None };
        assert_eq!(message.offset, came.len());
        came += str::from_utf8(message.payload).unwrap();
        message.is_last().then_some(())
    });
    came
}

#[test]
fn a_device_converses_with_both_brokers_over_its_own_tls() {
    let authority = Authority::new("127.0.0.1");
    let flash = Flash::of(&authority);
    let identity = flash.identity();
    for kind in [Kind::Martlet, Kind::Mosquitto] {
        for (asked, identity) in [("", None), ("", Some(&identity)), (REQUIRED, Some(&identity))] {
            let (broker, port) = authority.broker(kind, asked);
            let mut ram = Ram::new(16_645);
            let tls = settings(&flash, identity);
            converse(&broker, &mut ram.device(port.number(), tls, SETTINGS));
        }
    }
}

/// OpenSSL heeds what a device asks for; Martlet is told by its operator.
#[test]
fn a_device_with_small_buffers_asks_for_short_records() {
    let authority = Authority::new("127.0.0.1");
    let flash = Flash::of(&authority);
    let identity = flash.identity();
    let (mosquitto, port) = authority.broker(Kind::Mosquitto, REQUIRED);
    let mut ram = Ram::new(2_100);
    converse(
        &mosquitto,
        &mut ram.device(port.number(), settings(&flash, Some(&identity)), SETTINGS),
    );

    let (martlet, port) = authority.durable_martlet(1_024);
    let mut ram = Ram::new(2_100);
    converse(&martlet, &mut ram.device(port.number(), settings(&flash, Some(&identity)), SETTINGS));

    let (_broker, port) = authority.broker(Kind::Martlet, REQUIRED);
    let mut ram = Ram::new(300);
    let mut device = ram.device(port.number(), settings(&flash, Some(&identity)), SETTINGS);
    next(&mut device, |event| event.is_err().then_some(()));
    assert!(matches!(device.network().fault(), Some(Fault::RecordTooLong(301..))));
}

/// A deadline comes in the middle of a record: PINGREQ goes, and the record's rest is not lost.
#[test]
fn a_keep_alive_in_the_middle_of_a_record_loses_nothing() {
    let authority = Authority::new("127.0.0.1");
    let flash = Flash::of(&authority);
    let identity = flash.identity();
    for kind in [Kind::Martlet, Kind::Mosquitto] {
        let (broker, port) = authority.broker(kind, REQUIRED);
        let proxy = Proxy::new(port.number());
        let mut ram = Ram::new(16_645);
        let tls = settings(&flash, Some(&identity));
        let often = Settings { keep_alive_s: 2, response_ms: 30_000, ..SETTINGS };
        let mut device = ram.device(proxy.port(), tls, often);
        connected(&mut device);
        subscribed(&mut device);
        for (round, text) in ["x".repeat(1_000), "y".repeat(3_000)].iter().enumerate() {
            // In the header of the record, and behind it.
            proxy.close_gate_after([3, 300][round]);
            publish(&broker, &["-q", "0", "-t", "command/a", "-m", text]);
            assert_eq!(message(&mut device), *text);
            assert_eq!(proxy.passed(), round + 1);
        }
        assert_eq!(device.client().counters().connections, 1);
    }
}

#[test]
fn a_device_goes_on_where_it_was_when_its_broker_was_killed() {
    let authority = Authority::new("127.0.0.1");
    let flash = Flash::of(&authority);
    let identity = flash.identity();
    let (mut broker, port) = authority.durable_martlet(16_384);
    let mut ram = Ram::new(16_645);
    let tls = settings(&flash, Some(&identity));
    let mut device = ram.device(port.number(), tls, SETTINGS);
    assert!(!connected(&mut device));
    subscribed(&mut device);
    let mut watcher = subscribe(&broker, &["-c", "-i", "watcher", "-q", "2", "-t", "reading"]);
    broker.kill();
    for number in 0..20 {
        let text = number.to_string();
        let reading = Publication::new("reading", text.as_bytes()).qos(QoS::ExactlyOnce);
        device.client().publish(&reading).unwrap();
    }
    let lost = next(&mut device, |event| event.err());
    assert!(matches!(lost, Error::Transport(_)), "{lost}");
    broker.start_again();
    for _ in 0..20 {
        next(&mut device, |event| matches!(event, Ok(Event::Published(_))).then_some(()));
    }
    let numbers: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    assert_eq!(watcher.texts(20), numbers);
}

#[test]
fn a_device_speaks_to_nobody_who_cannot_prove_that_he_is_the_broker() {
    let (right, wrong) = (Authority::new("127.0.0.1"), Authority::new("127.0.0.1"));
    let (broker, port) = right.broker(Kind::Martlet, REQUIRED);
    let (flash, other) = (Flash::of(&right), Flash::of(&wrong));
    let identity = flash.identity();
    let own = Some(&identity);
    let elsewhere = TlsSettings { name: "broker.example.org".into(), ..settings(&flash, own) };
    let certificate = |fault| Some(Fault::Certificate(fault));
    let table = [
        (settings(&other, own), port.number(), certificate(CertificateFault::Untrusted)),
        (elsewhere, port.number(), certificate(CertificateFault::Name)),
        (settings(&flash, None), port.number(), Some(Fault::Alert(116))),
        (settings(&flash, own), broker.port(), None), // no TLS: the broker closes
    ];
    for (settings, port, expected) in table {
        let mut ram = Ram::new(16_645);
        let mut device = ram.device(port, settings, SETTINGS);
        let refused = next(&mut device, |event| match event {
            Ok(event) => panic!("{event:?}"),
            Err(error) => Some(error),
        });
        assert_eq!(refused, Error::Transport(TransportFault::Failed));
        let fault = device.network().fault();
        assert!(fault.is_some());
        assert!(expected.is_none() || fault == expected, "{fault:?}");
        assert_eq!(device.client().counters().connections, 0);
    }
    let refused = broker.wait_for_log(|log| log.contains("UnknownCA"));
    assert!(refused.is_ok(), "{refused:?}");
}
