//! Options of the process: what it says of itself, what it keeps, who it is.

use crate::config::rows::Row;
use crate::config::value::{Kind, bool, integer, text};

/// The rows.
pub(super) const ROWS: &[Row] = &[
    Row {
        section: "sys",
        name: "interval_s",
        kind: Kind::Integer { min: 0, max: 86_400 },
        default: integer(10),
        mosquitto: Some("sys_interval"),
        help: "Seconds between updates of `$SYS`. 0: never.",
    },
    Row {
        section: "sys",
        name: "clients",
        kind: Kind::Bool,
        default: bool(false),
        mosquitto: None,
        help: "Whether `$SYS/broker/martlet/clients/ID/state` says, retained, of every session \
               whether its client is connected (`1`) or not (`0`); the topic is gone with the \
               session. In ID, `%2F` stands for `/`, `%2B` for `+`, `%23` for `#`, `%25` for `%`.",
    },
    Row {
        section: "data",
        name: "dir",
        kind: Kind::Path,
        default: text("./martlet-data"),
        mosquitto: Some("persistence_location"),
        help: "The state directory: sessions, what waits for them, retained messages. One broker \
               at a time uses it. A relative path starts at the directory that the broker was \
               started in. `--data` sets it too.",
    },
    Row {
        section: "data",
        name: "sync",
        kind: Kind::Keeping,
        default: text("always"),
        mosquitto: Some("autosave_interval"),
        help: "When an acknowledgement leaves. `always`: when what it promises is on disk. \
               `interval MS`: at once, and the disk follows within so many milliseconds; a power \
               cut loses what came in them. `off`: state is in memory only and ends with the \
               broker. `docs/persistence.md` says exactly what each can lose.",
    },
    Row {
        section: "process",
        name: "user",
        kind: Kind::Text { bytes_max: 256 },
        default: None,
        mosquitto: Some("user"),
        help: "The user to become once ports and files are open, when started by root; of no \
               meaning otherwise. What root has made in `data.dir`, the files of the log and \
               `pid_file` belong to it from then on. Left out, or `root`: root it stays, and the \
               log warns of it.",
    },
    Row {
        section: "process",
        name: "pid_file",
        kind: Kind::Path,
        default: None,
        mosquitto: Some("pid_file"),
        help: "Where to write the process id, once all ports are open; gone at the end.",
    },
];
