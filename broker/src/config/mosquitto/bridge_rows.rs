//! Bridges to other brokers.

use crate::config::mosquitto::row::Kind::{Bool, Integer, Text, Word};
use crate::config::mosquitto::row::{Kind, Row, bridge};

const NUMBER: Kind = Integer { min: i32::MIN as i64, max: i32::MAX as i64 };
const OF_THE_CONNECTION: &str = "The `connection` above it is refused as a whole.";

/// The rows: `connection`, which begins a bridge, and what may stand below it.
pub(super) const ROWS: &[Row] = &[
    bridge("connection", Text, "", "cloud").help("Begins a bridge to another broker.").refused(
        "Martlet has no bridges yet, and without this one messages would not arrive",
        "keep a mosquitto beside it for the bridge (its `address` can be Martlet's), or take the \
         block out",
    ),
    option("address", Text, "", "broker.example.org:8883", "Where the other broker is."),
    option("addresses", Text, "", "a.example.org b.example.org", "Where the other broker is."),
    option("topic", Text, "", "sensors/# out 1 \"\" site-1/", "What is passed on, and where to."),
    option("remote_username", Text, "", "gateway", "The user name at the other broker."),
    option("username", Text, "", "gateway", "An older name of `remote_username`."),
    option("remote_password", Text, "", "secret", "The password at the other broker."),
    option("password", Text, "", "secret", "An older name of `remote_password`."),
    option("remote_clientid", Text, "", "gateway-1", "The client id at the other broker."),
    option("clientid", Text, "", "gateway-1", "An older name of `remote_clientid`."),
    option("local_clientid", Text, "", "bridge", "The client id at this broker."),
    option("local_username", Text, "", "bridge", "The user name at this broker."),
    option("local_password", Text, "", "secret", "The password at this broker."),
    option("cleansession", Bool, "false", "true", "Clean Session at the other broker."),
    option("local_cleansession", Bool, "", "true", "Clean Session at this broker."),
    option("try_private", Bool, "true", "false", "Tells the other broker that it is a bridge."),
    option("notifications", Bool, "true", "false", "Publishes the state of the bridge."),
    option("notifications_local_only", Bool, "false", "true", "Publishes it here only."),
    option("notification_topic", Text, "", "bridge/state", "The topic of the state."),
    option("keepalive_interval", NUMBER, "60", "30", "Keep Alive in seconds, 5 at least."),
    option("idle_timeout", NUMBER, "60", "30", "Seconds until a lazy bridge disconnects."),
    option("threshold", NUMBER, "10", "5", "Messages that wake a lazy bridge."),
    option(
        "start_type",
        Word(&["automatic", "lazy", "once"]),
        "automatic",
        "lazy",
        "When it \
           connects.",
    ),
    option("restart_timeout", Text, "5 30", "10 60", "Seconds to wait before another try."),
    option("round_robin", Bool, "false", "true", "Whether the addresses take turns."),
    option(
        "bridge_protocol_version",
        Word(&["mqttv31", "mqttv311", "mqttv50"]),
        "mqttv311",
        "mqttv50",
        "The version of MQTT.",
    ),
    option(
        "bridge_attempt_unsubscribe",
        Bool,
        "true",
        "false",
        "Unsubscribes from what is not \
           listed any more.",
    ),
    option("bridge_outgoing_retain", Bool, "true", "false", "Passes the retain flag on."),
    option("bridge_bind_address", Text, "", "192.0.2.1", "The local address to connect from."),
    option("bridge_max_packet_size", NUMBER, "0", "65536", "The largest packet."),
    option("bridge_max_topic_alias", NUMBER, "10", "20", "Topic Aliases.").since("2.1"),
    option("bridge_receive_maximum", NUMBER, "20", "50", "Receive Maximum.").since("2.1"),
    option("bridge_session_expiry_interval", NUMBER, "0", "3600", "Session Expiry Interval.")
        .since("2.1"),
    option("bridge_tcp_keepalive", Text, "", "60 10 5", "Keep-alive of TCP.").since("2.1"),
    option("bridge_tcp_user_timeout", NUMBER, "", "20000", "User timeout of TCP.").since("2.1"),
    option(
        "bridge_reload_type",
        Word(&["lazy", "immediate"]),
        "lazy",
        "immediate",
        "When a \
           reload takes effect.",
    ),
    option("bridge_cafile", Text, "", "/etc/mosquitto/certs/ca.crt", "Whom to trust."),
    option("bridge_capath", Text, "", "/etc/ssl/certs", "A directory of whom to trust."),
    option("bridge_certfile", Text, "", "/etc/mosquitto/certs/bridge.crt", "Its certificate."),
    option("bridge_keyfile", Text, "", "/etc/mosquitto/certs/bridge.key", "Its private key."),
    option("bridge_insecure", Bool, "false", "true", "Does not check the other's name."),
    option("bridge_tls_version", Text, "", "tlsv1.2", "The version of TLS."),
    option("bridge_alpn", Text, "", "x-amzn-mqtt-ca", "The protocol to name in TLS."),
    option("bridge_identity", Text, "", "gateway", "The identity of a pre-shared key."),
    option("bridge_psk", Text, "", "0123456789abcdef", "The pre-shared key."),
    option("bridge_require_ocsp", Bool, "false", "true", "Wants a stapled OCSP answer."),
    option("bridge_tls_use_os_certs", Bool, "false", "true", "Trusts whom the system trusts.")
        .since("2.1"),
    option("bridge_ciphers", Text, "", "ECDHE-RSA-AES256-GCM-SHA384", "Ciphers of TLS 1.2.")
        .since("2.1"),
    option("bridge_ciphers_tls1.3", Text, "", "TLS_AES_256_GCM_SHA384", "Ciphers of TLS 1.3.")
        .since("2.1"),
];

const fn option(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    example: &'static str,
    help: &'static str,
) -> Row {
    bridge(name, kind, default, example).help(help).shape(OF_THE_CONNECTION)
}
