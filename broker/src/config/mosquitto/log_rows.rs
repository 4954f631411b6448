//! Options of the log.

use crate::config::mosquitto::convert;
use crate::config::mosquitto::row::How::{All, By, Words};
use crate::config::mosquitto::row::Kind::{Bool, Integer, Text, Word};
use crate::config::mosquitto::row::{Row, global};

/// The rows.
pub(super) const ROWS: &[Row] = &[
    global("log_dest", Text, "stderr", "stdout")
        .each()
        .help(
            "Where the log goes: `stdout`, `stderr`, `syslog`, `topic`, `file PATH`, `none`. \
             Several lines add up.",
        )
        .kept_by("log", "destinations", All(convert::log_destinations)),
    global("log_type", Word(TYPES), "", "all")
        .each()
        .help(
            "What is logged; several lines add up. Without a line: error, warning, notice and \
               information.",
        )
        .kept_by("log", "types", All(convert::listed)),
    global("log_timestamp", Bool, "true", "false")
        .help("Whether a line begins with the time.")
        .kept_by("log", "timestamp", Words(&[("true", "epoch"), ("false", "none")])),
    global("log_timestamp_format", Text, "", "%Y-%m-%dT%H:%M:%S")
        .once()
        .help("How the time is written, as `strftime` does; without a line: seconds since 1970.")
        .kept("log", "timestamp_format"),
    global("log_facility", Integer { min: 0, max: 7 }, "", "3")
        .at_start()
        .help("The facility of syslog: local0 to local7; without a line: daemon.")
        .kept_by("log", "facility", By(convert::log_facility)),
    global("connection_messages", Bool, "true", "false")
        .help("Whether clients' coming and going is logged.")
        .kept("log", "connection_messages"),
];

const TYPES: &[&str] = &[
    "debug",
    "error",
    "warning",
    "notice",
    "information",
    "subscribe",
    "unsubscribe",
    "internal",
    "websockets",
    "none",
    "all",
];
