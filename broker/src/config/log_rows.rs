//! Options of the log.

use crate::config::rows::Row;
use crate::config::value::{Kind, bool, text};

const FACILITIES: &[&str] =
    &["daemon", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"];

/// The rows.
pub(super) const ROWS: &[Row] = &[
    Row {
        section: "log",
        name: "destinations",
        kind: Kind::LogDestinations,
        default: text("stderr"),
        mosquitto: Some("log_dest"),
        help: "Where the log goes, to one or several: `stderr`, `stdout`, `syslog`, `file PATH` \
               (made for its owner alone, written at its end, opened anew on SIGHUP), `topic` \
               (`$SYS/broker/log/...`, without packets), `none`. A destination that takes no lines \
               stops nobody: up to 1 MiB wait for it, further ones are lost and counted.",
    },
    Row {
        section: "log",
        name: "level",
        kind: Kind::Choice(&["error", "warn", "info", "debug", "trace"]),
        default: text("info"),
        mosquitto: None,
        help: "The least important kind of event that is logged. `-v` is `debug`, `-q` is `error`.",
    },
    Row {
        section: "log",
        name: "types",
        kind: Kind::LogKinds,
        default: None,
        mosquitto: Some("log_type"),
        help: "Exactly the kinds that are logged, in place of `level`: `error`, `warning`, \
               `notice` (who comes and goes), `information`, `debug` (each packet), `subscribe`, \
               `unsubscribe`, `websockets`, `internal`, `all`, `none`. A `level` from the \
               environment or the command line counts more than `types` in a file.",
    },
    Row {
        section: "log",
        name: "format",
        kind: Kind::Choice(&["human", "json"]),
        default: text("human"),
        mosquitto: None,
        help: "`human`: lines like mosquitto's. `json`: one object per line, for machines.",
    },
    Row {
        section: "log",
        name: "compat",
        kind: Kind::Choice(&["2.1", "2.0"]),
        default: text("2.1"),
        mosquitto: None,
        help: "Whose words tell of clients that come and go, for programs that read the log: \
               mosquitto 2.1 (`Client a [192.0.2.1:5] disconnected: exceeded timeout.`) or 2.0 \
               (`Client a has exceeded timeout, disconnecting.`).",
    },
    Row {
        section: "log",
        name: "timestamp",
        kind: Kind::Choice(&["epoch", "iso", "none"]),
        default: text("epoch"),
        mosquitto: Some("log_timestamp"),
        help: "What a line begins with: seconds since 1970 as mosquitto has them, date and time in \
               UTC, or nothing.",
    },
    Row {
        section: "log",
        name: "timestamp_format",
        kind: Kind::TimePattern,
        default: None,
        mosquitto: Some("log_timestamp_format"),
        help: "How the time at the beginning of a line is written, as `strftime` does, in this \
               machine's time zone: `%Y-%m-%dT%H:%M:%S`. Left out, or with `timestamp = \"none\"`: \
               as `timestamp` says.",
    },
    Row {
        section: "log",
        name: "facility",
        kind: Kind::Choice(FACILITIES),
        default: text("daemon"),
        mosquitto: Some("log_facility"),
        help: "What syslog files the lines under.",
    },
    Row {
        section: "log",
        name: "connection_messages",
        kind: Kind::Bool,
        default: bool(true),
        mosquitto: Some("connection_messages"),
        help: "Whether clients' coming and going is logged.",
    },
];
