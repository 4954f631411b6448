//! The options of `[[bridge]]`.

use crate::config::rows::{BRIDGE, Row};
use crate::config::value::{Kind, Value, bool, integer, text};

const WORDS: Kind = Kind::Text { bytes_max: 65_535 };

/// The rows.
pub(crate) const ROWS: &[Row] = &[
    row("name", Kind::Text { bytes_max: 256 }, None).mosquitto("connection").help(
        "What the bridge is called, in the log and in its client id. No two have the same. Must \
         be given.",
    ),
    row("addresses", Kind::Texts, None).mosquitto("addresses").help(
        "Where the other broker is: `host`, `host:port`, or `[ipv6]:port`; the port is 1883 \
         unless it is said. Several are tried one after the other. Must be given.",
    ),
    row("topics", Kind::Texts, None).mosquitto("topic").help(
        "Which messages cross: each `PATTERN [out|in|both] [QOS] [LOCAL-PREFIX] [REMOTE-PREFIX]`, \
         as mosquitto's `topic`. [bridge.md](bridge.md) has the rules. Must be given.",
    ),
    row("remote_client_id", WORDS, None)
        .mosquitto("remote_clientid")
        .help("The client id at the other broker. Left out: `HOSTNAME.NAME`."),
    row("remote_user", WORDS, None)
        .mosquitto("remote_username")
        .help("The user name at the other broker. Left out: none."),
    row("remote_password", Kind::Secret { bytes_max: 65_535 }, None)
        .mosquitto("remote_password")
        .help("The password of `remote_user`. Left out: none."),
    row("local_client_id", WORDS, None).mosquitto("local_clientid").help(
        "The client id of the bridge's session at this broker, where messages wait that go out. \
         Left out: `local.` and the remote one.",
    ),
    row("local_user", WORDS, None).mosquitto("local_username").help(
        "Under which user name the log and recorded messages name the bridge. Its rights do not \
         depend on it: a bridge may do what its topics say.",
    ),
    row("keep_alive_s", Kind::Integer { min: 5, max: 65_535 }, integer(60))
        .mosquitto("keepalive_interval")
        .help("Keep Alive at the other broker, in seconds."),
    row("clean_session", Kind::Bool, bool(false)).mosquitto("cleansession").help(
        "Whether the other broker forgets the bridge's session with the connection. With `true` \
         what should come in is lost while the connection is.",
    ),
    row("local_clean_session", Kind::Bool, None).mosquitto("local_cleansession").help(
        "Whether this broker does: with `true` what should go out is lost while the connection \
         is. Left out: as `clean_session`.",
    ),
    row("try_private", Kind::Bool, bool(true)).mosquitto("try_private").help(
        "Tell the other broker that this is a bridge, so that nothing comes back that went there, \
         also not over a bridge of that broker to this one, and retained messages are retained \
         there. A broker that refuses that is asked without.",
    ),
    row("protocol_version", Kind::Choice(&["3.1", "3.1.1"]), text("3.1.1"))
        .mosquitto("bridge_protocol_version")
        .help("The version of MQTT that is spoken with the other broker."),
    row("start", Kind::Choice(&["automatic", "once"]), text("automatic"))
        .mosquitto("start_type")
        .help("`automatic`: connect again whenever the connection is lost. `once`: never again."),
    row("restart", Kind::Text { bytes_max: 64 }, text("5 30")).mosquitto("restart_timeout").help(
        "Seconds between attempts: the shortest and the longest wait, which grows from one to the \
         other with jitter; or one number, which is always waited.",
    ),
    row("round_robin", Kind::Bool, bool(false)).mosquitto("round_robin").help(
        "Whether each connection goes to the next of `addresses`. With `false` the first is used \
         whenever it answers.",
    ),
    row("notifications", Kind::Bool, bool(true)).mosquitto("notifications").help(
        "Publish whether the bridge is connected, as the retained `1` or `0`, at both brokers.",
    ),
    row("notifications_local_only", Kind::Bool, bool(false))
        .mosquitto("notifications_local_only")
        .help("Publish that at this broker only."),
    row("notification_topic", WORDS, None)
        .mosquitto("notification_topic")
        .help("Under which topic. Left out: `$SYS/broker/connection/REMOTE_CLIENT_ID/state`."),
    row("outgoing_retain", Kind::Bool, bool(true)).mosquitto("bridge_outgoing_retain").help(
        "Whether the RETAIN flag of what goes out is passed on. With `false` the other broker \
         retains nothing of it.",
    ),
    row("attempt_unsubscribe", Kind::Bool, bool(true))
        .mosquitto("bridge_attempt_unsubscribe")
        .help(
            "Unsubscribe at the other broker from topics that only go out, which an earlier \
             configuration may have wanted. Some services close the connection on that.",
        ),
    row("packet_size_max", Kind::Integer { min: 0, max: 268_435_460 }, integer(0))
        .mosquitto("bridge_max_packet_size")
        .help(
            "Bytes of the largest packet to and from the other broker. What is larger does not go \
             out, and is counted; if it comes in, the connection is closed. 0: as \
             `limits.packet_size_max`.",
        ),
    row("drain_per_s", Kind::Integer { min: 0, max: 1_000_000 }, integer(0)).help(
        "Messages that go out in a second. At the bound: QoS 1 and 2 wait in the \
         session. For links and brokers that a queue of many hours would flood. 0: no \
         bound.",
    ),
    row("bind", Kind::IpAddress, None)
        .mosquitto("bridge_bind_address")
        .help("The IP address of this machine to connect from. Left out: the system chooses."),
    row("cafile", Kind::Path, None).mosquitto("bridge_cafile").help(
        "Certificates, in PEM, of those who may sign the other broker's. With it, `capath` or \
         `tls_use_os_certs` the bridge speaks TLS.",
    ),
    row("capath", Kind::Path, None)
        .mosquitto("bridge_capath")
        .help("A directory of files with such certificates. They need no particular names."),
    row("tls_use_os_certs", Kind::Bool, bool(false))
        .mosquitto("bridge_tls_use_os_certs")
        .help("Whether those may sign it whom the system trusts."),
    row("certfile", Kind::Path, None)
        .mosquitto("bridge_certfile")
        .help("The bridge's own certificate, in PEM, for a broker that asks for one."),
    row("keyfile", Kind::Path, None)
        .mosquitto("bridge_keyfile")
        .help("The private key of `certfile`, in PEM, without a password."),
    row("insecure", Kind::Bool, bool(false)).mosquitto("bridge_insecure").help(
        "Accept a certificate that is for another name than the address. It must be signed all \
         the same. Whoever has any such certificate can then stand in the other broker's place.",
    ),
    row("alpn", Kind::Text { bytes_max: 255 }, None)
        .mosquitto("bridge_alpn")
        .help("The application protocol to name in TLS, such as `x-amzn-mqtt-ca`."),
    row("tls_version", Kind::Choice(&["1.2", "1.3"]), None)
        .mosquitto("bridge_tls_version")
        .help("The only version of TLS to speak. Left out: 1.3, or 1.2 where that is not there."),
];

const fn row(name: &'static str, kind: Kind, default: Option<Value>) -> Row {
    Row { section: BRIDGE, name, kind, default, mosquitto: None, help: "" }
}
