//! The options of what a listener speaks over, of what it makes of its clients' packets, and of how
//! fast these may come.

use crate::config::rows::{LISTENER, Row};
use crate::config::value::{Kind, Value, bool, integer, text};

/// The rows.
pub(super) const ROWS: &[Row] = &[
    row("path", Kind::Path, None).help(
        "A unix socket in the file system, instead of `address` or `port`. A socket that a broker \
         left there is replaced; any other file is a mistake. It goes when the broker stops.",
    ),
    row("path_mode", Kind::Text { bytes_max: 4 }, None).help(
        "With `path`: who may connect, as `chmod` has it: those who may write the file, so \
         `\"660\"` is the broker's user and group. Left out: `\"770\"`, the same, as \
         in mosquitto.",
    ),
    row("interface", Kind::Text { bytes_max: 15 }, None).mosquitto("bind_interface").help(
        "With `port`: listen on the addresses of this network interface only, the first IPv4 one \
         and the first IPv6 one that it has when the broker starts. `bind` picks one of them.",
    ),
    row("websockets_origins", Kind::Text { bytes_max: 4096 }, None)
        .mosquitto("websockets_origin")
        .help(
            "With `websockets`: the web pages that may connect, by their origins, as in \
             `https://a.example, https://b.example:8443`. Left out: those of every origin. \
             Clients that are no web page name none, and are not asked for one.",
        ),
    row("websockets_request_bytes_max", Kind::Integer { min: 1024, max: 65_535 }, integer(8192))
        .mosquitto("websockets_headers_size")
        .help(
            "With `websockets`: bytes of the HTTP request that opens one, cookies included. At \
             the bound: it is refused (status 431).",
        ),
    row("proxy_protocol", Kind::Choice(&["off", "v1", "v2"]), text("off"))
        .mosquitto("enable_proxy_protocol")
        .help(
            "What a proxy in front says of its client before anything else: `v1` or `v2` of the \
             PROXY protocol, and nothing else then. Logs, bans and limits have the client's own \
             address. With `v2`, `use_identity_as_username` takes the Common Name of a \
             certificate that the proxy has verified.",
        ),
    row("proxy_protocol_require_tls", Kind::Bool, bool(false))
        .mosquitto("proxy_protocol_v2_require_tls")
        .help("With `v2`: refuse clients that did not reach the proxy over TLS."),
    row("proxies", Kind::Text { bytes_max: 4096 }, None).help(
        "Addresses and networks of proxies, as in `10.0.0.0/8, 192.0.2.7`. With `proxy_protocol`: \
         nobody else may connect; left out, everybody who connects is believed. With \
         `websockets`: whose `X-Forwarded-For` is believed; left out, nobody's.",
    ),
    row("mount_point", Kind::Text { bytes_max: 1024 }, None).mosquitto("mount_point").help(
        "A prefix, with a slash at its end, of all topics of this listener's clients: what they \
         publish, subscribe to and leave as their wills is below it, and they see their topics \
         without it. ACL files speak of whole topics.",
    ),
    row("max_qos", Kind::Integer { min: 0, max: 2 }, integer(2)).mosquitto("max_qos").help(
        "The highest QoS of this listener's clients. Above it, a PUBLISH closes the connection, a \
         CONNECT with such a Will is refused, and a subscription is granted this QoS.",
    ),
    row("accept_protocol_versions", Kind::Text { bytes_max: 16 }, text("3, 4, 5"))
        .mosquitto("accept_protocol_versions")
        .help(
            "The protocol levels that are served: 3 is MQTT 3.1, 4 is 3.1.1, and 5, which is 5.0, \
             may stand there and is refused all the same. Other clients get CONNACK 1.",
        ),
    limit("publishes_per_client_per_s", Kind::Integer { min: 0, max: 1_000_000 }, integer(0)).help(
        "PUBLISH packets of one client a second. At the bound: the client is not read from until \
         it is back within it; its messages wait in the network and at the client, and none is \
         lost. 0: no bound.",
    ),
    limit("publish_bytes_per_client_per_s", Kind::Integer { min: 0, max: i64::MAX }, integer(0))
        .help("Bytes of PUBLISH packets of one client a second. At the bound: as above."),
    limit("publish_burst_s", Kind::Integer { min: 1, max: 3600 }, integer(1))
        .help("For how many seconds' worth of both a client that was quiet may publish at once."),
];

const fn row(name: &'static str, kind: Kind, default: Option<Value>) -> Row {
    Row { section: LISTENER, name, kind, default, mosquitto: None, help: "" }
}

const fn limit(name: &'static str, kind: Kind, default: Option<Value>) -> Row {
    Row { section: "limits", name, kind, default, mosquitto: None, help: "" }
}
