//! Bridges to other brokers.

use crate::config::mosquitto::convert;
use crate::config::mosquitto::row::How::{All, By};
use crate::config::mosquitto::row::Kind::{Bool, Integer, Text, Word};
use crate::config::mosquitto::row::{How, Kind, Row, bridge};
use crate::config::rows::BRIDGE;

const NUMBER: Kind = Integer { min: i32::MIN as i64, max: i32::MAX as i64 };
const OF_MQTT5: &str = "it belongs to MQTT 5.0, which bridges do not speak here";
const OF_LAZY: &str = "it belongs to `start_type lazy`, which is refused";
const BY_KEEP_ALIVE: &str = "`keepalive_interval` finds a dead connection";
const NO_PSK: &str = "TLS is rustls here, which has no pre-shared keys";
const CERTIFICATE_INSTEAD: &str =
    "give the bridge a certificate (`bridge_certfile`), or a password over TLS";

/// The rows: `connection`, which begins a bridge, and what may stand below it.
pub(super) const ROWS: &[Row] = &[
    option("connection", Text, "", "cloud", "Begins a bridge to another broker.", "name"),
    listed("address", "broker.example.org:8883", "Where the other broker is."),
    listed("addresses", "a.example.org b.example.org", "The same, several."),
    bridge("topic", Text, "", "sensors/# out 1 \"\" site-1/")
        .help("What is passed on, and where to.")
        .kept_by(BRIDGE, "topics", All(convert::one_for_each_line)),
    text("remote_username", "gateway", "The user name at the other broker.", "remote_user"),
    text("username", "gateway", "An older name of `remote_username`.", "remote_user"),
    text("remote_password", "secret", "The password at the other broker.", "remote_password"),
    text("password", "secret", "An older name of `remote_password`.", "remote_password"),
    text("remote_clientid", "gateway-1", "The client id at the other broker.", "remote_client_id"),
    text("clientid", "gateway-1", "An older name of `remote_clientid`.", "remote_client_id"),
    text("local_clientid", "bridge", "The client id at this broker.", "local_client_id"),
    text("local_username", "bridge", "The user name at this broker.", "local_user"),
    bridge("local_password", Text, "", "secret")
        .help("The password at this broker.")
        .no_effect("a bridge is a part of the broker, and proves nothing to it"),
    flag("cleansession", "false", "true", "Clean Session at the other broker.", "clean_session"),
    flag("local_cleansession", "", "true", "Clean Session at this broker.", "local_clean_session"),
    flag(
        "try_private",
        "true",
        "false",
        "Tells the other broker that it is a bridge.",
        "try_private",
    ),
    flag("notifications", "true", "false", "Publishes the state of the bridge.", "notifications"),
    flag(
        "notifications_local_only",
        "false",
        "true",
        "Publishes it here only.",
        "notifications_local_only",
    ),
    text("notification_topic", "bridge/state", "The topic of the state.", "notification_topic"),
    by("keepalive_interval", NUMBER, "60", "30", "keep_alive_s", By(convert::bridge_keep_alive))
        .help("Keep Alive in seconds, 5 at least."),
    bridge("idle_timeout", NUMBER, "60", "30")
        .help("Seconds until a lazy bridge disconnects.")
        .no_effect(OF_LAZY),
    bridge("threshold", NUMBER, "10", "5")
        .help("Messages that wake a lazy bridge.")
        .no_effect(OF_LAZY),
    by("start_type", Word(STARTS), "automatic", "once", "start", By(convert::start_type))
        .help("When it connects. `lazy` is refused: it stays connected instead."),
    by("restart_timeout", Text, "5 30", "10 60", "restart", How::Same)
        .help("Seconds to wait before another try: the shortest and the longest, or one for both."),
    flag("round_robin", "false", "true", "Whether the addresses take turns.", "round_robin"),
    by(
        "bridge_protocol_version",
        Word(VERSIONS),
        "mqttv311",
        "mqttv31",
        "protocol_version",
        By(convert::bridge_version),
    )
    .help("The version of MQTT. `mqttv50` is refused."),
    flag(
        "bridge_attempt_unsubscribe",
        "true",
        "false",
        "Unsubscribes from what is not listed any more.",
        "attempt_unsubscribe",
    ),
    flag(
        "bridge_outgoing_retain",
        "true",
        "false",
        "Passes the retain flag on.",
        "outgoing_retain",
    ),
    text("bridge_bind_address", "192.0.2.1", "The local address to connect from.", "bind"),
    by(
        "bridge_max_packet_size",
        NUMBER,
        "0",
        "65536",
        "packet_size_max",
        By(convert::zero_for_negative),
    )
    .help("The largest packet."),
    bridge("bridge_max_topic_alias", NUMBER, "10", "20")
        .help("Topic Aliases.")
        .since("2.1")
        .no_effect(OF_MQTT5),
    bridge("bridge_receive_maximum", NUMBER, "20", "50")
        .help("Receive Maximum.")
        .since("2.1")
        .no_effect(OF_MQTT5),
    bridge("bridge_session_expiry_interval", NUMBER, "0", "3600")
        .help("Session Expiry Interval.")
        .since("2.1")
        .no_effect(OF_MQTT5),
    bridge("bridge_tcp_keepalive", Text, "", "60 10 5")
        .help("Keep-alive of TCP.")
        .since("2.1")
        .no_effect(BY_KEEP_ALIVE),
    bridge("bridge_tcp_user_timeout", NUMBER, "", "20000")
        .help("User timeout of TCP.")
        .since("2.1")
        .no_effect(BY_KEEP_ALIVE),
    bridge("bridge_reload_type", Word(&["lazy", "immediate"]), "lazy", "immediate")
        .help("When a reload takes effect.")
        .no_effect("a reload begins anew the bridges whose settings it changes, at once"),
    text("bridge_cafile", "/etc/mosquitto/certs/ca.crt", "Whom to trust.", "cafile"),
    text("bridge_capath", "/etc/ssl/certs", "A directory of whom to trust.", "capath"),
    text("bridge_certfile", "/etc/mosquitto/certs/bridge.crt", "Its certificate.", "certfile"),
    text("bridge_keyfile", "/etc/mosquitto/certs/bridge.key", "Its private key.", "keyfile"),
    flag("bridge_insecure", "false", "true", "Does not check the other's name.", "insecure"),
    by("bridge_tls_version", Text, "", "tlsv1.2", "tls_version", By(convert::bridge_tls_version))
        .help("The version of TLS."),
    text("bridge_alpn", "x-amzn-mqtt-ca", "The protocol to name in TLS.", "alpn"),
    bridge("bridge_identity", Text, "", "gateway")
        .help("The identity of a pre-shared key.")
        .refused(NO_PSK, CERTIFICATE_INSTEAD),
    bridge("bridge_psk", Text, "", "0123456789abcdef")
        .help("The pre-shared key.")
        .refused(NO_PSK, CERTIFICATE_INSTEAD),
    bridge("bridge_require_ocsp", Bool, "false", "true")
        .help("Wants a stapled OCSP answer.")
        .refused(
            "a certificate that was revoked would pass unseen, because no answers are read here",
            "leave the line out, and trust an authority of your own (`bridge_cafile`)",
        ),
    flag(
        "bridge_tls_use_os_certs",
        "false",
        "true",
        "Trusts whom the system trusts.",
        "tls_use_os_certs",
    )
    .since("2.1"),
    bridge("bridge_ciphers", Text, "", "ECDHE-RSA-AES256-GCM-SHA384")
        .help("Ciphers of TLS 1.2.")
        .since("2.1")
        .no_effect("a bridge offers the nine suites that are sound, and the other broker chooses"),
    bridge("bridge_ciphers_tls1.3", Text, "", "TLS_AES_256_GCM_SHA384")
        .help("Ciphers of TLS 1.3.")
        .since("2.1")
        .no_effect("a bridge offers the nine suites that are sound, and the other broker chooses"),
];

const STARTS: &[&str] = &["automatic", "lazy", "once"];
const VERSIONS: &[&str] = &["mqttv31", "mqttv311", "mqttv50"];

const fn option(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    example: &'static str,
    help: &'static str,
    kept: &'static str,
) -> Row {
    bridge(name, kind, default, example).help(help).kept(BRIDGE, kept)
}

const fn text(
    name: &'static str,
    example: &'static str,
    help: &'static str,
    kept: &'static str,
) -> Row {
    let row = option(name, Text, "", example, help, kept);
    Row { times: crate::config::mosquitto::row::Times::Once, ..row }
}

const fn flag(
    name: &'static str,
    default: &'static str,
    example: &'static str,
    help: &'static str,
    kept: &'static str,
) -> Row {
    option(name, Bool, default, example, help, kept)
}

const fn by(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    example: &'static str,
    kept: &'static str,
    how: How,
) -> Row {
    bridge(name, kind, default, example).kept_by(BRIDGE, kept, how)
}

const fn listed(name: &'static str, example: &'static str, help: &'static str) -> Row {
    let row = bridge(name, Text, "", example).help(help);
    row.kept_by(BRIDGE, "addresses", By(convert::one_for_each_word)).once()
}
