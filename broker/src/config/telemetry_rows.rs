//! The options of `[[telemetry]]`.

use crate::config::rows::{Row, TELEMETRY};
use crate::config::value::{Kind, integer, text};

/// Bytes that are left free for everything else on the disk, unless the operator says otherwise.
const FREE_BYTES_MIN: i64 = 128 << 20;

pub(crate) const ROWS: &[Row] = &[
    Row {
        section: TELEMETRY,
        name: "name",
        kind: Kind::Name,
        default: None,
        mosquitto: None,
        help: "What the stream is called, also its folder. No two have the same. Must be given.",
    },
    Row {
        section: TELEMETRY,
        name: "filters",
        kind: Kind::Filters,
        default: None,
        mosquitto: None,
        help: "What is recorded: messages that match any of these topic filters, as subscriptions \
               do. Must be given.",
    },
    Row {
        section: TELEMETRY,
        name: "keep_s",
        kind: Kind::Integer { min: 0, max: i64::MAX },
        default: integer(0),
        mosquitto: None,
        help: "Seconds that a record is kept. Whole files of 64 MiB go once everything in them is \
               older. 0: for ever.",
    },
    Row {
        section: TELEMETRY,
        name: "keep_bytes",
        kind: Kind::Integer { min: 0, max: i64::MAX },
        default: integer(0),
        mosquitto: None,
        help: "Bytes that the stream may take. At the bound: the oldest file of 64 MiB goes. 0: \
               no bound but the disk.",
    },
    Row {
        section: TELEMETRY,
        name: "full",
        kind: Kind::Choice(&["stop", "drop-oldest"]),
        default: text("stop"),
        mosquitto: None,
        help: "What happens when less than `free_bytes_min` is free on the disk: `stop` records \
               nothing until there is room again, counts what is missed in \
               `$SYS/broker/martlet/dropped/recording` and says so in the log; `drop-oldest` \
               deletes the stream's oldest files first. Messages go to their subscribers all the \
               same.",
    },
    Row {
        section: TELEMETRY,
        name: "free_bytes_min",
        kind: Kind::Integer { min: 0, max: i64::MAX },
        default: integer(FREE_BYTES_MIN),
        mosquitto: None,
        help: "Bytes of the disk that are left free for everything else.",
    },
];
