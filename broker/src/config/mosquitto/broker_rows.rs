//! Options of the whole broker: what it keeps, its bounds, its process.

use crate::config::mosquitto::convert;
use crate::config::mosquitto::row::How::{By, Words};
use crate::config::mosquitto::row::Kind::{Bool, Duration, Integer, Text};
use crate::config::mosquitto::row::{Row, global};

/// Any number that mosquitto can hold.
const NUMBER: crate::config::mosquitto::row::Kind =
    Integer { min: i32::MIN as i64, max: i32::MAX as i64 };

/// The rows.
pub(super) const ROWS: &[Row] = &[
    global("include_dir", Text, "", "/etc/mosquitto/conf.d")
        .each()
        .help(
            "Reads every file in this directory whose name ends with `.conf`, in alphabetical \
             order, a capital letter before its small one. Only the main file may say it.",
        )
        .shape("The files are read in mosquitto's order, and mistakes name the file."),
    global("user", Text, "mosquitto", "broker")
        .at_start()
        .help("The user to become when started as root.")
        .kept("process", "user"),
    global("pid_file", Text, "", "/run/mosquitto/mosquitto.pid")
        .at_start()
        .once()
        .help("Where to write the process id.")
        .kept("process", "pid_file"),
    global("set_tcp_nodelay", Bool, "false", "true")
        .help("Sends small packets at once, on every listener.")
        .kept("listener", "tcp_nodelay"),
    global("sys_interval", Integer { min: 0, max: 65_535 }, "10", "60")
        .help("Seconds between updates of `$SYS`; 0: never.")
        .kept("sys", "interval_s"),
    global("retain_available", Bool, "true", "false")
        .help(
            "With `false`, a message that is to be retained is delivered only, and counted as not \
             retained; mosquitto disconnects its publisher.",
        )
        .kept_by("limits", "retained_messages_max", Words(&[("false", "0")])),
    global("retain_expiry_interval", Integer { min: 1, max: i32::MAX as i64 }, "", "60")
        .since("2.0.21")
        .help("Minutes between searches for retained messages that have expired.")
        .no_effect("messages expire in MQTT 5.0 only, which the broker does not speak"),
    global("check_retain_source", Bool, "true", "false")
        .help("Whether a retained message is delivered only while its publisher may publish it."),
    global("upgrade_outgoing_qos", Bool, "false", "true")
        .help("Delivers at the QoS of the subscription even where the message has a lower one.")
        .refused(
            "the standard has messages delivered at the lower QoS of both",
            "publish at the QoS that subscribers want",
        ),
    global("allow_duplicate_messages", Bool, "true", "false")
        .deprecated("The behaviour will default to true.")
        .help("Whether a message that matches several subscriptions of a client comes for each.")
        .no_effect("a message comes once, at the highest QoS of the subscriptions that match"),
    global("queue_qos0_messages", Bool, "false", "true")
        .help("Queues QoS 0 messages, too, for clients that are away.")
        .kept("limits", "queue_qos0"),
    global("max_inflight_messages", Integer { min: i32::MIN as i64, max: 65_535 }, "20", "50")
        .help(
            "QoS 1 and 2 messages on their way to one client; 0: no bound. Left out: Martlet lets \
             256 be on their way, 20 of them at QoS 2 and without PUBREC.",
        )
        .kept_by("limits", "inflight_max", By(convert::inflight)),
    global("max_inflight_bytes", NUMBER, "0", "100000")
        .help("Bytes of QoS 1 and 2 messages on their way to one client; 0: no bound.")
        .kept_by("limits", "inflight_bytes_max", By(convert::zero_for_negative)),
    global("max_queued_messages", NUMBER, "1000", "8192")
        .help("QoS 1 and 2 messages that wait for one client; 0: no bound.")
        .kept_by("limits", "queue_messages_max", By(convert::zero_for_negative)),
    global("max_queued_bytes", NUMBER, "0", "100000000")
        .help("Bytes of QoS 1 and 2 messages that wait for one client; 0: no bound.")
        .kept_by("limits", "queue_bytes_max", By(convert::zero_for_negative)),
    global("max_packet_size", Integer { min: 20, max: i32::MAX as i64 }, "2000000", "1000000")
        .help("Bytes of the largest packet; a client that sends more is disconnected.")
        .kept_by("limits", "packet_size_max", By(convert::packet_size)),
    global("message_size_limit", Integer { min: 0, max: 268_435_455 }, "0", "1000000")
        .help("Bytes of the largest payload: what is larger is acknowledged and thrown away.")
        .kept_by("limits", "packet_size_max", By(convert::payload_size)),
    global("max_keepalive", Integer { min: 0, max: 65_535 }, "0", "300")
        .help(
            "The longest Keep Alive in seconds; 0: no bound. A client that asks for more, or for \
             none, is refused; 2.0.11 lets those of MQTT 3.1 and 3.1.1 in.",
        )
        .kept("limits", "keep_alive_max_s"),
    global("memory_limit", Integer { min: 0, max: i64::MAX }, "", "100000000")
        .help("Bytes of memory that the broker may take.")
        .no_effect(
            "every bound in `[limits]` has its own name and value; to bound the process, use \
             `MemoryMax=` of systemd or the container's limit",
        ),
    global("persistent_client_expiration", Duration, "", "14d")
        .help("After how long the session of a client that is away is forgotten.")
        .kept("limits", "session_expiry_s"),
    global("global_max_clients", NUMBER, "-1", "10000")
        .since("2.1")
        .help("Sessions of all listeners, connected or not; -1: no bound.")
        .kept_by("limits", "sessions_max", By(convert::unless_negative)),
    global("global_max_connections", NUMBER, "-1", "1000")
        .since("2.1")
        .help("Connections of all listeners at a time; -1: no bound.")
        .kept_by("limits", "connections_max", By(convert::unless_negative)),
    global("enable_control_api", Bool, "false", "true")
        .since("2.1")
        .help("Answers on `$CONTROL/broker/v1`.")
        .refused(
            "the broker cannot be controlled over MQTT",
            "use the configuration file and signals",
        ),
    global("packet_buffer_size", Integer { min: 0, max: 65_535 }, "4096", "8192")
        .since("2.1")
        .at_start()
        .help("Bytes of a connection's first read buffer.")
        .no_effect("read buffers grow and shrink by themselves"),
    global("websockets_headers_size", Integer { min: 0, max: 65_535 }, "4096", "8192")
        .at_start()
        .help("Bytes of the headers of a WebSocket handshake.")
        .kept_by("listener", "websockets_request_bytes_max", By(convert::request_size)),
    global("websockets_log_level", NUMBER, "0", "1023")
        .help("What the WebSocket library logs.")
        .no_effect("there is no such library; `log_type` says what is logged"),
    global("retry_interval", Text, "", "20")
        .help("Of mosquitto before 1.5.")
        .no_effect("messages are sent again when a client comes back, as in mosquitto since 1.5"),
    global("persistence", Bool, "false", "true")
        .help("Whether sessions and retained messages outlive the broker.")
        .kept_by("data", "sync", Words(KEEPING)),
    global("retained_persistence", Bool, "false", "true")
        .help("An older name of `persistence`.")
        .kept_by("data", "sync", Words(KEEPING)),
    global("persistence_location", Text, "", "/var/lib/mosquitto/")
        .once()
        .help("The directory for what is kept.")
        .kept("data", "dir"),
    global("persistence_file", Text, "mosquitto.db", "mosquitto.db")
        .once()
        .help("The name of the file for what is kept.")
        .no_effect("what is kept is in several files with names of their own"),
    global("autosave_interval", NUMBER, "1800", "900")
        .help("Seconds between snapshots of what is kept.")
        .no_effect("everything is on disk before it is acknowledged"),
    global("autosave_on_changes", Bool, "false", "true")
        .help("Whether `autosave_interval` counts changes instead of seconds.")
        .no_effect("everything is on disk before it is acknowledged"),
];

const KEEPING: &[(&str, &str)] = &[("true", "always"), ("false", "off")];
