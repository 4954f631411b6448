//! The log, for programs that read mosquitto's: the same events, told in the same words by a real
//! mosquitto and by Martlet with `log.compat = "2.0"`.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use mosquitto_compat_tests::broker::{Broker, Kind, mosquitto_binary};
use mosquitto_compat_tests::martlet;
use mosquitto_compat_tests::tools::{Running, publish, subscribe};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// What both brokers are told.
const CONF: &str = "allow_anonymous true\nlog_type all\nmax_packet_size 2000\n";

/// One event, and the lines about it, `@` in place of a client's address.
struct Event {
    name: &'static str,
    happens: fn(&Broker, &mut Vec<TcpStream>),
    lines: &'static [&'static str],
}

const EVENTS: &[Event] = &[
    Event {
        name: "a publisher at QoS 1 comes and goes",
        happens: |broker, _| publish(broker, &["-i", "p1", "-q", "1", "-t", "a/b", "-m", "hello"]),
        lines: &[
            "New connection from @ on port PORT.",
            "New client connected from @ as p1 (p2, c1, k60).",
            "Sending CONNACK to p1 (0, 0)",
            "Received PUBLISH from p1 (d0, q1, r0, m1, 'a/b', ... (5 bytes))",
            "Sending PUBACK to p1 (m1, rc0)",
            "Received DISCONNECT from p1",
            "Client p1 disconnected.",
        ],
    },
    Event {
        name: "a publisher at QoS 2 with a user name",
        happens: |broker, _| {
            let options = ["-u", "bob", "-P", "x", "-i", "p2", "-q", "2", "-r", "-t", "c/d"];
            publish(broker, &[&options[..], &["-m", "hello"]].concat());
        },
        lines: &[
            "New client connected from @ as p2 (p2, c1, k60, u'bob').",
            "Received PUBLISH from p2 (d0, q2, r1, m1, 'c/d', ... (5 bytes))",
            "Sending PUBREC to p2 (m1, rc0)",
            "Received PUBREL from p2 (Mid: 1)",
            "Sending PUBCOMP to p2 (m1)",
        ],
    },
    Event {
        name: "a subscriber of MQTT 3.1 gets a message and unsubscribes",
        happens: |broker, _| {
            let options = ["-V", "31", "-i", "s1", "-q", "1", "-t", "s", "-U", "u", "-C", "1"];
            let subscriber = subscribe(broker, &options);
            wait_for(broker, "Sending UNSUBACK to s1");
            publish(broker, &["-i", "p3", "-q", "1", "-t", "s", "-m", "hello"]);
            subscriber.finish();
        },
        lines: &[
            "New client connected from @ as s1 (p1, c1, k60).",
            "Received SUBSCRIBE from s1",
            "\ts (QoS 1)",
            "s1 1 s",
            "Sending SUBACK to s1",
            "Received UNSUBSCRIBE from s1",
            "\tu",
            "s1 u",
            "Sending UNSUBACK to s1",
            "Sending PUBLISH to s1 (d0, q1, r0, m1, 's', ... (5 bytes))",
            "Client s1 disconnected.",
        ],
    },
    Event {
        name: "a client's connection ends without DISCONNECT",
        happens: |broker, _| drop(connect(broker, "gone", 60)),
        lines: &["Client gone closed its connection."],
    },
    Event {
        name: "another one takes its client id",
        happens: |broker, open| {
            open.push(connect(broker, "twice", 60));
            open.push(connect(broker, "twice", 60));
        },
        lines: &["Client twice already connected, closing old connection."],
    },
    Event {
        name: "a client is silent",
        happens: |broker, _| ended_by(&mut connect(broker, "silent", 1)),
        lines: &["Client silent has exceeded timeout, disconnecting."],
    },
    Event {
        name: "a second CONNECT",
        happens: |broker, _| {
            let mut client = connect(broker, "again", 60);
            client.write_all(&packet_connect("again", 60)).unwrap();
            ended_by(&mut client);
        },
        lines: &["Client again disconnected due to protocol error."],
    },
    Event {
        name: "a SUBSCRIBE without filters",
        happens: |broker, _| {
            let mut client = connect(broker, "empty", 60);
            client.write_all(&[0x82, 2, 0, 1]).unwrap();
            ended_by(&mut client);
        },
        lines: &["Client empty disconnected due to malformed packet."],
    },
    Event {
        name: "a packet beyond max_packet_size",
        happens: |broker, _| {
            let mut client = connect(broker, "large", 60);
            let mut packet = vec![0x30, 0xb8, 0x17, 0, 1, b't'];
            packet.resize(3 + 3000, b'x');
            // It may be cut off while it writes.
            let _ = client.write_all(&packet);
            ended_by(&mut client);
        },
        lines: &["Client large disconnected due to oversize packet."],
    },
    Event {
        name: "something that is no CONNECT",
        happens: |broker, _| {
            let mut client = stream(broker);
            client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
            ended_by(&mut client);
        },
        lines: &["Client <unknown> disconnected due to protocol error."],
    },
    Event {
        name: "a ping",
        happens: |broker, open| {
            let mut client = connect(broker, "ping", 60);
            client.write_all(&[0xc0, 0]).unwrap();
            client.read_exact(&mut [0; 2]).unwrap();
            open.push(client);
        },
        lines: &["Received PINGREQ from ping", "Sending PINGRESP to ping"],
    },
];

fn stream(broker: &Broker) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, broker.port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

fn packet_connect(client_id: &str, keep_alive_s: u8) -> Vec<u8> {
    let len = u8::try_from(client_id.len()).unwrap();
    let head = [0x10, 12 + len, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, keep_alive_s, 0, len];
    [&head[..], client_id.as_bytes()].concat()
}

fn connect(broker: &Broker, client_id: &str, keep_alive_s: u8) -> TcpStream {
    let mut stream = stream(broker);
    stream.write_all(&packet_connect(client_id, keep_alive_s)).unwrap();
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).unwrap();
    assert_eq!(connack, [0x20, 2, 0, 0], "{client_id}");
    stream
}

/// Reads until the broker closes.
fn ended_by(stream: &mut TcpStream) {
    let _ = stream.read_to_end(&mut Vec::new());
}

/// The lines of the log without time and mark, `@` for the addresses in them.
fn lines(log: &str) -> Vec<String> {
    let bare = log.lines().filter_map(|line| line.split_once(": ").map(|(_, bare)| bare));
    bare.map(|line| {
        let words = line.split(' ');
        let words = words.map(|word| if word.parse::<SocketAddr>().is_ok() { "@" } else { word });
        words.collect::<Vec<_>>().join(" ")
    })
    .collect()
}

fn both() -> [Broker; 2] {
    let martlet = martlet::binary().unwrap();
    [
        Broker::start_with_conf(Kind::Mosquitto, &mosquitto_binary(), CONF).unwrap(),
        Broker::start_with_conf_and(
            Kind::Martlet,
            &martlet,
            CONF,
            &[("MARTLET_LOG__COMPAT", "2.0")],
        )
        .unwrap(),
    ]
}

/// Waits until the log has a line.
fn wait_for(broker: &Broker, line: &str) -> Vec<String> {
    broker
        .wait_for_log(|log| lines(log).iter().any(|other| other == line))
        .map(|log| lines(&log))
        .unwrap_or_else(|log| panic!("{:?} never said {line:?}:\n{log}", broker.kind()))
}

#[test]
fn each_event_has_the_lines_of_mosquitto_2_0() {
    for broker in both() {
        let mut open = Vec::new();
        for event in EVENTS {
            (event.happens)(&broker, &mut open);
            let port = broker.port().to_string();
            for line in event.lines {
                let line = line.replace("PORT", &port);
                wait_for(&broker, &line);
            }
            let said = lines(&broker.log());
            let mut rest = said.iter();
            let mut lines = event.lines.iter().map(|line| line.replace("PORT", &port));
            let missing = lines.find(|line| !rest.any(|other| other == line));
            let (kind, name) = (broker.kind(), event.name);
            assert_eq!(missing, None, "{kind:?}: {name}: not in this order: {said:#?}");
        }
    }
}

/// What only mosquitto says, and what only Martlet says, of the same start and stop.
#[test]
fn start_and_stop_have_the_lines_of_mosquitto() {
    for broker in both() {
        let name = match broker.kind() {
            Kind::Martlet => concat!("martlet version ", env!("CARGO_PKG_VERSION")).to_owned(),
            Kind::Mosquitto => {
                let said = broker.wait_for_log(|log| log.contains(" starting"));
                let said = said.expect("it starts");
                let at = said.find("mosquitto version ").expect("it says its version");
                said[at..].split_whitespace().take(3).collect::<Vec<_>>().join(" ")
            }
        };
        let port = broker.port();
        for line in [
            format!("{name} starting"),
            format!("Opening ipv4 listen socket on port {port}."),
            format!("{name} running"),
        ] {
            let said = wait_for_start(&broker, &line);
            assert!(said.iter().any(|other| other.starts_with("Config loaded from ")), "{said:?}");
        }
        let (_, said) = broker.stop_and_log(Signal::TERM).expect("it ends");
        assert!(said.contains(&format!("{name} terminating")), "{said}");
    }
}

fn wait_for_start(broker: &Broker, line: &str) -> Vec<String> {
    broker
        .wait_for_log(|log| lines(log).iter().any(|other| other.starts_with(line)))
        .map(|log| lines(&log))
        .unwrap_or_else(|log| panic!("{:?} never said {line:?}:\n{log}", broker.kind()))
}

/// As logrotate does it, for both: renamed, a signal, and the next lines are in a new file.
#[test]
fn a_renamed_file_is_opened_anew_on_sighup() {
    let both = [(Kind::Mosquitto, mosquitto_binary()), (Kind::Martlet, martlet::binary().unwrap())];
    for (kind, program) in both {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("a.log");
        let text = format!(
            "allow_anonymous true\nuser root\nlog_dest file {}\n\
             log_timestamp_format %Y-%m-%dT%H:%M:%S\n",
            path.display()
        );
        let broker = Broker::start_with_conf(kind, &program, &text).unwrap();
        publish(&broker, &["-i", "before", "-t", "t", "-m", "x"]);
        let has = |path: &std::path::Path, words: &str| {
            let there = || fs::read_to_string(path).unwrap_or_default().contains(words);
            assert!(broker.wait_until(there), "{kind:?}: no {words:?} in {}", path.display());
        };
        has(&path, " as before (");
        let rotated = folder.path().join("a.log.1");
        fs::rename(&path, &rotated).unwrap();
        kill_process(Pid::from_raw(broker.pid().try_into().unwrap()).unwrap(), Signal::HUP)
            .unwrap();
        assert!(broker.wait_until(|| path.exists()), "a new file");
        publish(&broker, &["-i", "after", "-t", "t", "-m", "x"]);
        has(&path, " as after (");
        let line = fs::read_to_string(&rotated).unwrap();
        let line = line.lines().next().unwrap().to_owned();
        let (date, rest) = line.split_at("2026-11-30T00:22:21".len());
        assert!(rest.starts_with(": "), "{line}");
        assert!(date.as_bytes()[10] == b'T' && date.as_bytes()[4] == b'-', "{line}");
    }
}

/// Who reads the log over MQTT, at QoS 2 as mosquitto has it or at QoS 0 as Martlet has it: the
/// same topics, and no packet of a log line in the log.
#[test]
fn the_log_has_topics() {
    let config = "allow_anonymous true\nlog_type all\nlog_dest topic\n";
    let both = [(Kind::Mosquitto, mosquitto_binary()), (Kind::Martlet, martlet::binary().unwrap())];
    for (kind, program) in both {
        let broker =
            Broker::start_with_conf_and(kind, &program, config, &[("MARTLET_LOG__COMPAT", "2.0")])
                .unwrap();
        let mut reader = subscribe(&broker, &["-t", "$SYS/broker/log/#", "-t", "end"]);
        let other = subscribe(&broker, &["-i", "s", "-t", "s"]);
        let mut first = connect(&broker, "twice", 60);
        let _second = connect(&broker, "twice", 60);
        ended_by(&mut first);
        other.kill();
        let mut missing = vec![
            ("$SYS/broker/log/N", ": New client connected from "),
            ("$SYS/broker/log/M/subscribe", ": s 0 s"),
            ("$SYS/broker/log/E", ": Client twice already connected, closing old connection."),
            ("$SYS/broker/log/N", ": Client s closed its connection."),
        ];
        while !missing.is_empty() {
            let message = reader.message();
            assert!(!message.retain, "{kind:?} {message:?}");
            let text = message.text();
            assert!(!text.contains("Sending "), "{kind:?} {text}");
            let seconds = text.split(':').next().unwrap();
            assert!(seconds.parse::<u64>().is_ok(), "{kind:?} {text}");
            missing.retain(|(topic, words)| message.topic != *topic || !text.contains(words));
        }
    }
}

/// A reader of standard output that reads nothing stops no client.
#[test]
fn a_destination_that_hangs_stops_nobody() {
    let folder = TempDir::new().unwrap();
    let port = mosquitto_compat_tests::ports::Port::reserve().unwrap();
    let file = folder.path().join("a.conf");
    let text = format!(
        "listener {} 127.0.0.1\nallow_anonymous true\nlog_type all\nlog_dest stdout\nlog_dest file \
         {}\n",
        port.number(),
        folder.path().join("a.log").display()
    );
    fs::write(&file, text).unwrap();
    let mut command = martlet::command(&martlet::binary().unwrap());
    command.arg("-c").arg(&file).stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null());
    let mut child = command.spawn().unwrap();
    let unread = child.stdout.take().unwrap();
    let broker = Broker::of_child(Kind::Martlet, command, child, port, folder).unwrap();
    let topic = "t".repeat(10_000);
    let mut subscriber = subscribe(&broker, &["-t", &topic]);
    // Two lines of 10 KB each, into a pipe that holds 64 KiB and a queue that holds 1 MiB.
    for number in 0..120 {
        publish(&broker, &["-t", &topic, "-m", &number.to_string()]);
    }
    assert_eq!(subscriber.texts(120).last().unwrap(), "119");
    let has_all = broker.wait_until(|| {
        let log = fs::read_to_string(broker.folder().join("a.log")).unwrap_or_default();
        log.matches("Received PUBLISH from").count() == 120
    });
    assert!(has_all, "the other destination has every line");
    drop(unread);
}

/// Where the log cannot be written, nothing begins.
#[test]
fn a_log_that_cannot_be_opened_is_said() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("a.toml");
    fs::write(&file, "[log]\ndestinations = \"file /no/such/folder/a.log\"\n").unwrap();
    let mut command = martlet::command(&martlet::binary().unwrap());
    command.current_dir(folder.path()).arg("-c").arg(&file);
    let finished = Running::start(&mut command).finish();
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    let line = "Error: Cannot open the log file /no/such/folder/a.log: No such file or directory";
    assert!(finished.lines.iter().any(|said| said.contains(line)), "{finished:?}");
}
