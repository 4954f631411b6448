//! The device client on this machine's sockets, with the network that the Linux example has:
//! against Martlet and against Debian's mosquitto, over TCP and over TLS.

use martlet_codec::reason::QoS;
use martlet_device::client::Client;
use martlet_device::error::{Error, TransportFault};
use martlet_device::event::Event;
use martlet_device::io::blocking::Driver;
use martlet_device::settings::{Backoff, Memory, Publication, Settings, Subscription};
use mosquitto_compat_tests::broker::{Broker, Kind};
use mosquitto_compat_tests::tools::{publish, subscribe};

use crate::network::{Link, READ_FOR, Started};
use crate::pki::{Authority, REQUIRED};

const COMMANDS: &[Subscription<'static>] =
    &[Subscription { filter: "command/+", qos: QoS::ExactlyOnce }];
const SETTINGS: Settings<'static> = Settings {
    subscriptions: COMMANDS,
    backoff: Backoff { min_ms: 10, max_ms: 200 },
    ..Settings::new("device")
};
/// Looks at the network until something must have happened: each takes a tenth of a second or less.
const POLLS_MAX: usize = 600;

type Device<'m> = Driver<'m, Link, Started>;

fn device<'m>(receive: &'m mut [u8], outbox: &'m mut [u8], link: Link) -> Device<'m> {
    let client = Client::new(SETTINGS, Memory { receive, outbox }).unwrap();
    Driver::new(client, link, Started::now())
}

/// What happens next that `wanted` makes something of.
#[track_caller]
fn next<T>(
    device: &mut Device<'_>,
    mut wanted: impl FnMut(Result<Event<'_>, Error>) -> Option<T>,
) -> T {
    for _ in 0..POLLS_MAX {
        if !device.client().is_attached() {
            pause();
        }
        let happened = device.poll().transpose();
        if let Some(found) = happened.and_then(&mut wanted) {
            return found;
        }
    }
    panic!("it did not happen")
}

#[expect(clippy::disallowed_methods, reason = "a broker that is not there can only be tried again")]
fn pause() {
    std::thread::sleep(READ_FOR);
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

/// All that a sensor does, each way and at each QoS, and a payload that is twenty buffers long.
fn converse(broker: &Broker, link: Link) {
    let (mut receive, mut outbox) = ([0; 256], [0; 1024]);
    let mut device = device(&mut receive, &mut outbox, link);
    assert!(!connected(&mut device));
    subscribed(&mut device);

    let mut watcher = subscribe(broker, &["-q", "2", "-t", "reading/#"]);
    let readings = [(QoS::AtMostOnce, "a"), (QoS::AtLeastOnce, "b"), (QoS::ExactlyOnce, "c")];
    for (qos, text) in readings {
        let topic = format!("reading/{text}");
        let reading = Publication::new(&topic, text.as_bytes()).qos(qos);
        device.client().publish(&reading).unwrap();
    }
    for _ in 0..2 {
        next(&mut device, |event| matches!(event, Ok(Event::Published(_))).then_some(()));
    }
    assert_eq!(watcher.texts(3), ["a", "b", "c"]);

    for qos in ["0", "1", "2"] {
        publish(broker, &["-q", qos, "-t", "command/a", "-m", qos]);
        let text = next(&mut device, |event| event.as_ref().ok().and_then(command));
        assert_eq!(text, qos);
    }
    let image: String = ('a'..='z').cycle().take(5_000).collect();
    publish(broker, &["-q", "2", "-t", "command/image", "-m", &image]);
    let mut came = String::new();
    next(&mut device, |event| {
        let Ok(Event::Message(message)) = event else { return None };
        assert_eq!((message.offset, message.len), (came.len(), image.len()));
        came += str::from_utf8(message.payload).unwrap();
        message.is_last().then_some(())
    });
    assert_eq!(came, image);

    device.client().disconnect();
    next(&mut device, |event| matches!(event, Ok(Event::Disconnected)).then_some(()));
}

/// The text of a command.
fn command(event: &Event<'_>) -> Option<String> {
    let Event::Message(message) = event else { return None };
    assert!(message.is_whole() && message.topic == "command/a");
    Some(String::from_utf8_lossy(message.payload).into_owned())
}

fn plain(broker: &Broker) -> Link {
    Link::plain(&format!("127.0.0.1:{}", broker.port()))
}

#[test]
fn a_sensor_converses_with_both_brokers() {
    for broker in [Broker::martlet(), Broker::mosquitto()] {
        converse(&broker, plain(&broker));
    }
}

#[test]
fn a_sensor_goes_on_where_it_was_when_its_broker_was_killed() {
    let mut broker = Broker::martlet();
    let (mut receive, mut outbox) = ([0; 256], [0; 2048]);
    let mut device = device(&mut receive, &mut outbox, plain(&broker));
    assert!(!connected(&mut device));
    subscribed(&mut device);
    let mut watcher = subscribe(&broker, &["-c", "-i", "watcher", "-q", "2", "-t", "reading"]);
    publish(&broker, &["-q", "2", "-t", "command/a", "-m", "before"]);
    broker.kill();
    for number in 0..20 {
        let text = number.to_string();
        let reading = Publication::new("reading", text.as_bytes()).qos(QoS::ExactlyOnce);
        device.client().publish(&reading).unwrap();
    }
    // It may come before the end is noticed, and not again after it.
    let mut commands = Vec::new();
    let lost = next(&mut device, |event| match event {
        Err(error) => Some(error),
        Ok(event) => {
            commands.extend(command(&event));
            None
        }
    });
    assert!(matches!(lost, Error::Transport(_)), "{lost}");
    broker.start_again();
    for _ in 0..20 {
        next(&mut device, |event| {
            commands.extend(event.as_ref().ok().and_then(command));
            matches!(event, Ok(Event::Published(_))).then_some(())
        });
    }
    let numbers: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    assert_eq!(watcher.texts(20), numbers);
    publish(&broker, &["-q", "2", "-t", "command/a", "-m", "after"]);
    while commands.last().is_none_or(|last| last != "after") {
        let text = next(&mut device, |event| event.as_ref().ok().and_then(command));
        commands.push(text);
    }
    assert_eq!(commands, ["before", "after"]);
}

#[test]
fn a_sensor_converses_with_both_brokers_over_tls() {
    let authority = Authority::new("127.0.0.1");
    for kind in [Kind::Martlet, Kind::Mosquitto] {
        let (broker, port) = authority.broker(kind, REQUIRED);
        let (certificate, key) = authority.own();
        let address = format!("localhost:{}", port.number());
        let own = Some((certificate.as_str(), key.as_str()));
        let link = Link::secret(&address, &authority.path("ca.crt"), own).unwrap();
        converse(&broker, link);
    }
}

#[test]
fn a_sensor_speaks_to_nobody_who_cannot_prove_that_he_is_the_broker() {
    let (right, wrong) = (Authority::new("127.0.0.1"), Authority::new("127.0.0.1"));
    let (broker, port) = right.broker(Kind::Martlet, REQUIRED);
    let tls = port.number();
    let (certificate, key) = right.own();
    let own = Some((certificate.as_str(), key.as_str()));
    // whose authority it trusts, what it shows, which port
    let rows = [
        ("another authority's", &wrong, own, tls),
        ("no TLS at all", &right, own, broker.port()),
        ("no certificate of ours", &right, None, tls),
    ];
    for (why, authority, own, port) in rows {
        let address = format!("localhost:{port}");
        let link = Link::secret(&address, &authority.path("ca.crt"), own).unwrap();
        let (mut receive, mut outbox) = ([0; 256], [0; 256]);
        let mut device = device(&mut receive, &mut outbox, link);
        let refused = next(&mut device, |event| match event {
            Ok(event) => panic!("{why}: {event:?}"),
            Err(error) => Some(error),
        });
        let fault =
            matches!(refused, Error::Transport(TransportFault::Failed | TransportFault::Closed));
        assert!(fault, "{why}: {refused}");
        assert_eq!(device.client().counters().connections, 0, "{why}");
    }
}
