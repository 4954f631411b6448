//! Where clients come in.

use crate::config::mosquitto::convert;
use crate::config::mosquitto::row::How::{All, By, Words};
use crate::config::mosquitto::row::Kind::{Bool, Integer, Text, Word};
use crate::config::mosquitto::row::{Row, listener};

/// The rows.
pub(super) const ROWS: &[Row] = &[
    listener("listener", Text, "", "1883 127.0.0.1")
        .each()
        .help(
            "Opens a port, on all addresses or on the one that follows; or, with port 0, the Unix \
             socket whose path follows. What stands below belongs to it.",
        )
        .shape("Begins a `[[listener]]`."),
    listener("port", Integer { min: 1, max: 65_535 }, "1883", "1883")
        .deprecated("Please use 'listener' instead.")
        .help("The port of the default listener.")
        .shape("Begins a `[[listener]]`, once."),
    listener("bind_address", Text, "", "127.0.0.1")
        .once()
        .deprecated("")
        .help("The address of the default listener.")
        .shape("`bind` of that `[[listener]]`."),
    listener("bind_interface", Text, "", "eth0")
        .once()
        .help("Listens on the addresses of this network interface only.")
        .kept("listener", "interface"),
    listener("socket_domain", Word(&["ipv4", "ipv6"]), "", "ipv4")
        .help("Listens on addresses of this kind only.")
        .shape("`bind` is `0.0.0.0` or `::` where no address is given."),
    listener("protocol", Word(&["mqtt", "websockets", "http_api"]), "mqtt", "mqtt")
        .help("What is spoken.")
        .kept("listener", "protocol"),
    listener("http_dir", Text, "", "/usr/share/mosquitto/www")
        .once()
        .help("Files to serve over HTTP.")
        .refused("the broker serves no files", "use a web server"),
    listener("max_connections", Integer { min: i32::MIN as i64, max: i32::MAX as i64 }, "-1", "50")
        .help("Connections at a time; -1: no bound.")
        .kept_by("listener", "max_connections", By(convert::zero_for_negative)),
    listener("max_qos", Integer { min: 0, max: 2 }, "2", "1")
        .help("The highest QoS that clients may use.")
        .kept("listener", "max_qos"),
    listener("maximum_qos", Integer { min: 0, max: 2 }, "2", "1")
        .help("An older name of `max_qos`.")
        .kept("listener", "max_qos"),
    listener("max_topic_alias", Integer { min: 0, max: 65_535 }, "10", "20")
        .help("Topic Aliases that a client may use.")
        .no_effect("Topic Aliases are of MQTT 5.0, which the broker does not speak"),
    listener("max_topic_alias_broker", Integer { min: 0, max: 65_535 }, "10", "20")
        .since("2.1")
        .help("Topic Aliases that the broker uses.")
        .no_effect("Topic Aliases are of MQTT 5.0, which the broker does not speak"),
    listener("mount_point", Text, "", "site-1/")
        .help("A prefix of all topics of this listener's clients.")
        .kept_by("listener", "mount_point", By(convert::mount_point)),
    listener("use_username_as_clientid", Bool, "false", "true")
        .help("Takes the user name for the client id.")
        .kept("listener", "use_username_as_clientid"),
    listener("accept_protocol_versions", Text, "3, 4, 5", "3, 4")
        .since("2.1")
        .help("The protocol levels that clients may speak: 3 is MQTT 3.1, 4 is 3.1.1, 5 is 5.0.")
        .kept("listener", "accept_protocol_versions"),
    listener("enable_proxy_protocol", Integer { min: 1, max: 2 }, "", "2")
        .since("2.1")
        .help("Expects the PROXY protocol of this version before MQTT.")
        .kept_by("listener", "proxy_protocol", Words(&[("1", "v1"), ("2", "v2")])),
    listener("proxy_protocol_v2_require_tls", Bool, "false", "true")
        .since("2.1")
        .help("Refuses clients that did not reach the proxy over TLS.")
        .kept("listener", "proxy_protocol_require_tls"),
    listener("websockets_origin", Text, "", "https://example.org")
        .since("2.1")
        .each()
        .help("Lets only web pages of this origin connect; several lines add up.")
        .kept_by("listener", "websockets_origins", All(convert::listed)),
    listener("cafile", Text, "", "/etc/mosquitto/certs/ca.crt")
        .help("Certificates of those who may sign client certificates.")
        .kept("listener", "cafile"),
    listener("capath", Text, "", "/etc/mosquitto/ca_certificates")
        .help("A directory of such certificates.")
        .kept("listener", "capath"),
    listener("certfile", Text, "", "/etc/mosquitto/certs/server.crt")
        .help("The server's certificate and its chain. Makes the listener speak TLS.")
        .kept("listener", "certfile"),
    listener("keyfile", Text, "", "/etc/mosquitto/certs/server.key")
        .help("The server's private key.")
        .kept("listener", "keyfile"),
    listener("require_certificate", Bool, "false", "true")
        .help("Whether clients must show a certificate.")
        .kept_by("listener", "client_certificates", Words(REQUIRED)),
    listener("use_identity_as_username", Bool, "false", "true")
        .help("Takes the Common Name of the client's certificate for the user name.")
        .kept("listener", "use_identity_as_username"),
    listener("use_subject_as_username", Bool, "false", "true")
        .help("Takes the whole subject of the client's certificate for the user name.")
        .kept("listener", "use_subject_as_username"),
    listener("crlfile", Text, "", "/etc/mosquitto/certs/ca.crl")
        .help("Certificates that are revoked.")
        .kept("listener", "crlfile"),
    listener("disable_client_cert_date_checks", Bool, "false", "true")
        .since("2.1")
        .help("Accepts client certificates before and after their time.")
        .kept("listener", "disable_client_cert_date_checks"),
    listener("tls_version", Word(&["tlsv1.1", "tlsv1.2", "tlsv1.3"]), "", "tlsv1.2")
        .once()
        .help(
            "The lowest version of TLS; without a line: 1.2 and 1.3 are spoken. After `tlsv1.1` \
             too: OpenSSL 3 has shut 1.1 off, and rustls never had it.",
        )
        .kept_by("listener", "tls_version_min", Words(VERSIONS)),
    listener("ciphers", Text, "", "ECDHE-RSA-AES256-GCM-SHA384")
        .help("OpenSSL's list of ciphers for TLS 1.2.")
        .kept("listener", "ciphers"),
    listener("ciphers_tls1.3", Text, "", "TLS_AES_256_GCM_SHA384")
        .help("OpenSSL's list of ciphers for TLS 1.3.")
        .kept("listener", "ciphers_tls13"),
    listener("dhparamfile", Text, "", "/etc/mosquitto/certs/dhparam.pem")
        .help("Parameters of Diffie-Hellman.")
        .no_effect("clients agree on keys over elliptic curves, which need no parameters"),
    listener("tls_engine", Text, "", "pkcs11")
        .once()
        .help("An engine of OpenSSL.")
        .refused(NO_ENGINE, KEY_IN_A_FILE),
    listener("tls_engine_kpass_sha1", Text, "", "da39a3ee5e6b4b0d3255bfef95601890afd80709")
        .help("The hash of the password of the engine's key.")
        .refused(NO_ENGINE, KEY_IN_A_FILE),
    listener("tls_keyform", Word(&["pem", "engine"]), "pem", "engine")
        .help("Where the private key is.")
        .refused(NO_ENGINE, KEY_IN_A_FILE),
    listener("psk_hint", Text, "", "broker")
        .once()
        .help("Makes the listener speak TLS with pre-shared keys, and names it to clients.")
        .refused(NO_PSK, CERTIFICATES_INSTEAD),
];

/// How a yes or no of mosquitto is written here.
const REQUIRED: &[(&str, &str)] = &[("true", "required"), ("false", "none")];

const VERSIONS: &[(&str, &str)] = &[("tlsv1.1", "1.2"), ("tlsv1.2", "1.2"), ("tlsv1.3", "1.3")];

const NO_ENGINE: &str = "TLS is rustls here, which has no engines of OpenSSL";
const KEY_IN_A_FILE: &str = "keep the private key in a file that only the broker's user may read";

/// Said of every option of pre-shared keys.
pub(super) const NO_PSK: &str = "TLS is rustls here, which has no pre-shared keys";
pub(super) const CERTIFICATES_INSTEAD: &str =
    "give each device a certificate (`martlet cert device NAME`), or a password over TLS";
