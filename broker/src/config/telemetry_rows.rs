//! The options of `[[telemetry]]`.

use crate::config::rows::{Row, TELEMETRY};
use crate::config::value::{Kind, integer, table, text};

/// Bytes that are left free for everything else on the disk, unless the operator says otherwise.
const FREE_BYTES_MIN: i64 = 128 << 20;

/// A full file in four seconds: faster than most brokers record, and little of any disk.
const SEAL_BYTES_PER_S: i64 = 16 << 20;

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
    Row {
        section: TELEMETRY,
        name: "seal",
        kind: Kind::Choice(&["off", "parquet"]),
        default: text("off"),
        mosquitto: None,
        help: "What becomes of a file that gets no more records: `off` leaves it as it is, as \
               Kafka's tools read it; `parquet` turns it into a Parquet file of a tenth of the \
               size, as DuckDB, Polars and pandas read it. Martlet's own commands and HTTP read \
               both.",
    },
    Row {
        section: TELEMETRY,
        name: "seal_after_s",
        kind: Kind::Integer { min: 0, max: i64::MAX },
        default: integer(86_400),
        mosquitto: None,
        help: "With `seal`: seconds after its first record at which a file gets no more, so that \
               it is sealed; one of 64 MiB is sealed at once. 0: only those.",
    },
    Row {
        section: TELEMETRY,
        name: "seal_bytes_per_s",
        kind: Kind::Integer { min: 1, max: i64::MAX },
        default: integer(SEAL_BYTES_PER_S),
        mosquitto: None,
        help: "With `seal`: bytes of files that are read for it in a second at most. One thread of \
               the lowest priority seals for all streams.",
    },
    Row {
        section: TELEMETRY,
        name: "columns",
        kind: Kind::Columns,
        default: table(),
        mosquitto: None,
        help: "Members of payloads that are JSON objects, which get columns of their own wherever \
               records become Parquet, with a type: `\"number\"`, `\"string\"` or `\"bool\"`. A \
               member inside of another is written as a path in quotes: \
               `\"gps.lat\" = \"number\"`.",
    },
];
