//! One row per option. The rows make the parser, the environment's names, the defaults,
//! `martlet config show` and the chapter in `docs/configuration.md`.

use std::borrow::Cow;

use crate::config::access_rows;
use crate::config::bridge_rows;
use crate::config::http;
use crate::config::log_rows;
use crate::config::process_rows;
use crate::config::service_rows;
use crate::config::telemetry_rows;
use crate::config::tls_rows;
use crate::config::transport_rows;
use crate::config::value::{Kind, Value, bool, integer, text};

/// One option.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) section: &'static str,
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// `None`: the option may be left out, and `help` says what holds then.
    pub(crate) default: Option<Value>,
    /// What mosquitto calls it: shown in the manual, and suggested to those who write that.
    pub(crate) mosquitto: Option<&'static str>,
    /// One paragraph: meaning, unit, what happens at the bound.
    pub(crate) help: &'static str,
}

/// The section that may stand many times, as `[[listener]]`.
pub(crate) const LISTENER: &str = "listener";

/// Another one.
pub(crate) const TELEMETRY: &str = "telemetry";

/// And another one.
pub(crate) const BRIDGE: &str = "bridge";

/// All of them, each with what one of them is called.
pub(crate) const REPEATED: [(&str, &str); 3] =
    [(LISTENER, "listener"), (TELEMETRY, "stream"), (BRIDGE, "bridge")];

/// Every section in the order of the manual, with its introduction.
pub(crate) const SECTIONS: &[(&str, &str)] = &[
    (
        LISTENER,
        "Where clients come in. The section may stand several times. Without one the broker is in \
         local only mode. The environment cannot set these options.",
    ),
    (
        "access",
        "Who may come in at every listener that does not say otherwise, and what they may do.",
    ),
    (
        "auth_jwt",
        "JSON Web Tokens, for listeners whose `backends` name `jwt`. [access.md](access.md) has \
         the whole of it.",
    ),
    (
        "auth_http",
        "A service that is asked over HTTP, as mosquitto-go-auth asks it, for listeners whose \
         `backends` name `http`. The last options are about every service that is asked, one that \
         reads tokens included.",
    ),
    ("limits", "Every bound, so that no client can take more than its share."),
    ("clients", "How clients are named."),
    (
        "http",
        "The window: a dashboard, publishing, a live tail and metrics, by HTTP. \
         [http.md](http.md) has the whole of it.",
    ),
    ("log", "The log: what is written, how, and where to; one line per event."),
    ("sys", "The broker's own topics, `$SYS/...`."),
    ("data", "What the broker keeps."),
    (
        TELEMETRY,
        "What the log records: a stream each. The section may stand several times. The \
         environment cannot set these options. [telemetry.md](telemetry.md) has the whole of it.",
    ),
    (
        BRIDGE,
        "Another broker, and the messages that go there or come from it. The section may stand \
         several times. The environment cannot set these options. [bridge.md](bridge.md) has the \
         whole of it.",
    ),
    ("process", "Who the broker is, for the system."),
];

const U16_MAX: i64 = u16::MAX as i64;
const U32_MAX: i64 = u32::MAX as i64;

/// Every table of options. A section that has grown long has a table in a file of its own.
const TABLES: &[&[Row]] = &[
    ROWS,
    transport_rows::ROWS,
    tls_rows::ROWS,
    access_rows::ROWS,
    service_rows::JWT,
    service_rows::HTTP,
    log_rows::ROWS,
    http::ROWS,
    tls_rows::WINDOW,
    telemetry_rows::ROWS,
    bridge_rows::ROWS,
    process_rows::ROWS,
];

/// The options of most sections.
const ROWS: &[Row] = &[
    Row {
        section: LISTENER,
        name: "address",
        kind: Kind::SocketAddress,
        default: None,
        mosquitto: Some("bind_address"),
        help: "IP address and port to listen on. `0.0.0.0` is every IPv4 address of this machine, \
               `[::]` every IPv6 address and no IPv4 one; port 0 lets the system choose. A \
               listener has one of `address`, `port` and `path`.",
    },
    Row {
        section: LISTENER,
        name: "port",
        kind: Kind::Integer { min: 0, max: U16_MAX },
        default: None,
        mosquitto: Some("port"),
        help: "Port to listen on, on every IPv4 address and, where the machine has IPv6, on every \
               IPv6 address; `bind` narrows it to one.",
    },
    Row {
        section: LISTENER,
        name: "bind",
        kind: Kind::IpAddress,
        default: None,
        mosquitto: None,
        help: "With `port`: the one IP address to listen on. Left out: every one.",
    },
    Row {
        section: LISTENER,
        name: "protocol",
        kind: Kind::Choice(&["mqtt", "websockets"]),
        default: text("mqtt"),
        mosquitto: Some("protocol"),
        help: "What is spoken: `mqtt` is MQTT as it is, `websockets` MQTT over WebSocket, on any \
               path. [listeners.md](listeners.md) has more.",
    },
    Row {
        section: LISTENER,
        name: "allow_anonymous",
        kind: Kind::Bool,
        default: bool(false),
        mosquitto: Some("allow_anonymous"),
        help: "Whether clients may connect without proving who they are. With `true`, a user name \
               is accepted unchecked, as mosquitto does without a password file; with one, a user \
               name is checked.",
    },
    Row {
        section: LISTENER,
        name: "password_file",
        kind: Kind::Path,
        default: None,
        mosquitto: Some("password_file"),
        help: "`access.password_file` for this listener.",
    },
    Row {
        section: LISTENER,
        name: "acl_file",
        kind: Kind::Path,
        default: None,
        mosquitto: Some("acl_file"),
        help: "`access.acl_file` for this listener.",
    },
    Row {
        section: LISTENER,
        name: "use_username_as_clientid",
        kind: Kind::Bool,
        default: bool(false),
        mosquitto: Some("use_username_as_clientid"),
        help: "Take the user name for the client id, so that no client passes for another user's. \
               A client without one is refused.",
    },
    Row {
        section: LISTENER,
        name: "max_connections",
        kind: Kind::Integer { min: 0, max: U32_MAX },
        default: integer(0),
        mosquitto: Some("max_connections"),
        help: "Connections at a time on each address of this listener. At the bound: new ones wait \
               until one closes. 0: no bound but `limits.connections_max`.",
    },
    Row {
        section: LISTENER,
        name: "tcp_nodelay",
        kind: Kind::Bool,
        default: bool(true),
        mosquitto: Some("set_tcp_nodelay"),
        help: "Send small packets at once instead of waiting to fill a segment. The broker gathers \
               packets itself, so `false` saves little and costs up to 40 ms.",
    },
    Row {
        section: "limits",
        name: "packet_size_max",
        kind: Kind::Integer { min: 1024, max: 268_435_460 },
        default: integer(16_777_216),
        mosquitto: Some("max_packet_size"),
        help: "Bytes of the largest packet, fixed header included. At the bound: the connection is \
               closed. The default lets photos and firmware pieces through, while a client cannot \
               make the broker hold more than this; mosquitto 2.0 has no bound but the \
               protocol's, mosquitto 2.1 takes 2,000,000.",
    },
    Row {
        section: "limits",
        name: "topic_levels_max",
        kind: Kind::Integer { min: 1, max: U16_MAX },
        default: integer(200),
        mosquitto: None,
        help: "Levels of a topic name or filter (`a/b/c` has three). At the bound: the connection \
               is closed.",
    },
    Row {
        section: "limits",
        name: "connections_max",
        kind: Kind::Integer { min: 0, max: 10_000_000 },
        default: integer(0),
        mosquitto: Some("global_max_connections"),
        help: "Connections of all listeners at a time. At the bound: new ones wait until one \
               closes. 0: as many as the system lets the broker open files, and a million at most.",
    },
    Row {
        section: "limits",
        name: "connect_timeout_s",
        kind: Kind::Integer { min: 1, max: 3600 },
        default: integer(30),
        mosquitto: None,
        help: "Seconds that a new connection has to send its CONNECT. At the bound: it is closed.",
    },
    Row {
        section: "limits",
        name: "password_checks_max",
        kind: Kind::Integer { min: 1, max: 256 },
        default: integer(2),
        mosquitto: None,
        help: "Passwords checked at the same time. Each check keeps a processor busy, and takes 46 \
               MiB where the hash is argon2id. At the bound: clients wait their turn, within \
               `connect_timeout_s`.",
    },
    Row {
        section: "limits",
        name: "connects_per_address_per_s",
        kind: Kind::Integer { min: 0, max: 1_000_000 },
        default: integer(0),
        mosquitto: None,
        help: "Connections of one address a second. At the bound: closed at once. 0: no bound.",
    },
    Row {
        section: "limits",
        name: "outbox_bytes_max",
        kind: Kind::Integer { min: 4096, max: 1_073_741_824 },
        default: integer(1_048_576),
        mosquitto: None,
        help: "Bytes that may wait to be sent on one connection; a single larger packet still \
               passes. At the bound: QoS 1 and 2 wait in the session's queue, QoS 0 is dropped and \
               counted.",
    },
    Row {
        section: "limits",
        name: "inflight_max",
        kind: Kind::Integer { min: 1, max: U16_MAX },
        default: integer(256),
        mosquitto: Some("max_inflight_messages"),
        help: "QoS 1 and 2 messages sent to one client and not yet acknowledged. At the bound: \
               further ones wait in the session's queue. 1 keeps strict order.",
    },
    Row {
        section: "limits",
        name: "inflight_qos2_max",
        kind: Kind::Integer { min: 1, max: U16_MAX },
        default: integer(20),
        mosquitto: None,
        help: "Those of them that have QoS 2 and that the client has not answered with PUBREC: it \
               must remember the Packet Identifier of each until PUBREL, and small ones have few \
               places. At the bound: the next one waits in the session's queue, and what is behind \
               it too. Left out where `inflight_max` is given: as many as that.",
    },
    Row {
        section: "limits",
        name: "inflight_bytes_max",
        kind: Kind::Integer { min: 0, max: i64::MAX },
        default: integer(67_108_864),
        mosquitto: Some("max_inflight_bytes"),
        help: "Bytes of topics and payloads of QoS 1 and 2 messages sent to one client and not \
               yet acknowledged. Once there are so many: further ones wait in the session's \
               queue. 0: no bound, as in mosquitto.",
    },
    Row {
        section: "limits",
        name: "received_max",
        kind: Kind::Integer { min: 1, max: U16_MAX },
        default: integer(1000),
        mosquitto: None,
        help: "QoS 2 messages received from one client and not yet released by it. At the bound: \
               the connection is closed.",
    },
    Row {
        section: "limits",
        name: "queue_messages_max",
        kind: Kind::Integer { min: 0, max: U32_MAX },
        default: integer(1000),
        mosquitto: Some("max_queued_messages"),
        help: "Messages in one session's queue. At the bound: a new message is dropped for that \
               session, and counted. 0: no bound.",
    },
    Row {
        section: "limits",
        name: "queue_bytes_max",
        kind: Kind::Integer { min: 0, max: i64::MAX },
        default: integer(67_108_864),
        mosquitto: Some("max_queued_bytes"),
        help: "Bytes of topics and payloads in one session's queue, and nothing else that they \
               take. At the bound: as above. 0: no bound, as in mosquitto. Below \
               `packet_size_max`: the largest messages can never be queued, and the log warns of \
               it.",
    },
    Row {
        section: "limits",
        name: "all_queues_bytes_max",
        kind: Kind::Integer { min: 0, max: i64::MAX },
        default: integer(0),
        mosquitto: None,
        help: "Bytes of memory that the queues of all sessions together may take: each message \
               once, however many sessions it waits in, with what it takes besides its topic and \
               payload (64 bytes, and 64 for each session). At the bound: a new message is \
               dropped for those sessions whose queue it was for, and counted. 0: a quarter of \
               the memory that the broker may use.",
    },
    Row {
        section: "limits",
        name: "queue_qos0",
        kind: Kind::Bool,
        default: bool(false),
        mosquitto: Some("queue_qos0_messages"),
        help: "Whether QoS 0 messages, too, are queued for sessions whose client is away.",
    },
    Row {
        section: "limits",
        name: "retained_messages_max",
        kind: Kind::Integer { min: 0, max: U32_MAX },
        default: integer(1_000_000),
        mosquitto: None,
        help: "Retained messages. At the bound: a message for a new topic is delivered but not \
               retained, and counted. 0: nothing is retained.",
    },
    Row {
        section: "limits",
        name: "retained_bytes_max",
        kind: Kind::Integer { min: 0, max: i64::MAX },
        default: integer(1_073_741_824),
        mosquitto: None,
        help: "Bytes of retained topics and payloads. At the bound: as above.",
    },
    Row {
        section: "limits",
        name: "subscriptions_per_session_max",
        kind: Kind::Integer { min: 1, max: U32_MAX },
        default: integer(10_000),
        mosquitto: None,
        help: "Subscriptions of one session. At the bound: the filter is refused in the SUBACK. So \
               are those of one packet behind its first 10,000.",
    },
    Row {
        section: "limits",
        name: "sessions_max",
        kind: Kind::Integer { min: 1, max: U32_MAX },
        default: integer(1_000_000),
        mosquitto: Some("global_max_clients"),
        help: "Sessions, their clients connected or not. At the bound: a new client is refused \
               (CONNACK 3, server unavailable).",
    },
    Row {
        section: "limits",
        name: "keep_alive_max_s",
        kind: Kind::Integer { min: 0, max: U16_MAX },
        default: integer(0),
        mosquitto: Some("max_keepalive"),
        help: "Longest Keep Alive in seconds. A client that asks for more, or for none, is refused \
               (CONNACK 2), as mosquitto does. 0: no bound.",
    },
    Row {
        section: "limits",
        name: "session_expiry_s",
        kind: Kind::Integer { min: 0, max: i64::MAX },
        default: integer(0),
        mosquitto: Some("persistent_client_expiration"),
        help: "Seconds after which the session of a client that is away is forgotten, with its \
               subscriptions and its queue. 0: never.",
    },
    Row {
        section: "clients",
        name: "allow_zero_length_client_id",
        kind: Kind::Bool,
        default: bool(true),
        mosquitto: Some("allow_zero_length_clientid"),
        help: "Whether a client may leave its id empty and get one assigned; otherwise it is \
               refused (CONNACK 2).",
    },
    Row {
        section: "clients",
        name: "auto_id_prefix",
        kind: Kind::Text { bytes_max: 64 },
        default: text("auto-"),
        mosquitto: Some("auto_id_prefix"),
        help: "What an assigned client id begins with.",
    },
];

/// Every option.
pub(crate) fn all() -> impl Iterator<Item = &'static Row> {
    TABLES.iter().copied().flatten()
}

/// The line that begins a section.
pub(crate) fn header(section: &str) -> String {
    if is_repeated(section) { format!("[[{section}]]") } else { format!("[{section}]") }
}

/// Whether a section may stand several times.
pub(crate) fn is_repeated(section: &str) -> bool {
    REPEATED.iter().any(|(repeated, _)| *repeated == section)
}

/// The option of that name.
pub(crate) fn find(section: &str, name: &str) -> Option<&'static Row> {
    all().find(|row| row.section == section && row.name == name)
}

/// The options of a section.
pub(crate) fn of(section: &str) -> impl Iterator<Item = &'static Row> {
    all().filter(move |row| row.section == section)
}

impl Row {
    /// The environment variable that sets it; none where the section is one of a list.
    pub(crate) fn variable(&self) -> Option<String> {
        let name = format!("MARTLET_{}__{}", self.section, self.name);
        (!is_repeated(self.section)).then(|| name.to_uppercase())
    }

    /// Takes a value that has the right TOML type or says what the option takes instead.
    pub(crate) fn check(&self, value: Value) -> Result<Value, String> {
        if self.kind.allows(&value) {
            return Ok(value);
        }
        let hint = match (&value, self.parse(value.words())) {
            (Value::Text(_), Ok(unquoted)) if unquoted != value => "; write it without quotes",
            _ => "",
        };
        Err(format!("\"{}\" takes {}, not {value}{hint}", self.name, self.kind))
    }

    /// A value as it may be shown to whoever looks.
    pub(crate) fn shown(&self, value: Value) -> Value {
        match self.kind {
            Kind::Secret { .. } => Value::Text("(hidden)".into()),
            _ => value,
        }
    }

    /// Takes a value written as bare text, in a variable or on the command line.
    pub(crate) fn parse(&self, words: Cow<'static, str>) -> Result<Value, String> {
        let value = match self.kind {
            Kind::Bool => words.parse().ok().map(Value::Bool),
            Kind::Integer { .. } => words.parse().ok().map(Value::Integer),
            Kind::Choice(_)
            | Kind::SocketAddress
            | Kind::IpAddress
            | Kind::Words(_)
            | Kind::Text { .. }
            | Kind::Secret { .. }
            | Kind::Path
            | Kind::Keeping
            | Kind::LogKinds
            | Kind::LogDestinations
            | Kind::TimePattern
            | Kind::Name
            | Kind::Filters
            | Kind::Columns => Some(Value::Text(words.clone())),
            Kind::Texts => Some(Value::List(words.lines().map(str::to_owned).collect())),
        };
        value
            .filter(|value| self.kind.allows(value))
            .ok_or_else(|| format!("takes {}, not {}", self.kind, Value::Text(words)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_option_stands_once_in_a_known_section_with_a_default_that_it_allows() {
        let mut seen = BTreeSet::new();
        for row in all() {
            assert!(SECTIONS.iter().any(|(name, _)| *name == row.section), "{}", row.section);
            assert!(seen.insert((row.section, row.name)), "{} twice", row.name);
            if let Some(default) = &row.default {
                assert_eq!(row.check(default.clone()).as_ref(), Ok(default), "{}", row.name);
            }
            assert!(row.help.ends_with('.') && row.help.len() > 20, "{}", row.name);
        }
    }

    #[test]
    fn values_at_and_beyond_their_bounds() {
        let inflight = find("limits", "inflight_max").expect("row");
        for (number, fits) in [(0, false), (1, true), (65_535, true), (65_536, false), (-1, false)]
        {
            assert_eq!(inflight.check(Value::Integer(number)).is_ok(), fits, "{number}");
            assert_eq!(inflight.parse(number.to_string().into()).is_ok(), fits, "{number}");
        }
    }

    #[test]
    fn every_kind_refuses_what_it_does_not_take() {
        let rows = [
            ("limits", "inflight_max", "\"20\"; write it without quotes", "20"),
            ("limits", "queue_qos0", "\"true\"; write it without quotes", "true"),
            ("limits", "queue_qos0", "\"yes\"", "yes"),
            ("log", "level", "\"loud\"", "loud"),
            (LISTENER, "address", "\"localhost:1883\"", "localhost:1883"),
            (LISTENER, "address", "\"0.0.0.0\"", "0.0.0.0"),
            (LISTENER, "bind", "\"eth0\"", "eth0"),
            ("clients", "auto_id_prefix", "\"a\\nb\"", "a\nb"),
            ("data", "dir", "\"\"", ""),
            ("data", "sync", "\"sometimes\"", "sometimes"),
        ];
        for (section, name, end, text) in rows {
            let row = find(section, name).expect("row");
            let refusal = row.check(Value::Text(text.into())).expect_err(text);
            assert!(refusal.ends_with(&format!(", not {end}")), "{refusal}");
        }
        let level = find("log", "level").expect("row");
        assert!(level.check(Value::Bool(true)).is_err());
        assert!(find("limits", "inflight_max").expect("row").check(Value::Bool(true)).is_err());
    }
}
