//! The options of TLS at a listener, and at the window.

use crate::config::http::SECTION as HTTP;
use crate::config::rows::{LISTENER, Row};
use crate::config::value::{Kind, Value, bool, integer, text};

/// The rows of a listener.
pub(super) const ROWS: &[Row] = &LISTENERS;

/// The same for the window.
pub(super) const WINDOW: &[Row] = &at_window(LISTENERS);

const LISTENERS: [Row; 15] = [
    row("certfile", Kind::Path, None).mosquitto("certfile").help(
        "The server's certificate, and behind it those that lead to a root, in PEM. With it the \
         listener speaks TLS and nothing else. [tls.md](tls.md) has the whole way.",
    ),
    row("keyfile", Kind::Path, None)
        .mosquitto("keyfile")
        .help("The private key of `certfile`, in PEM, without a password."),
    row("client_certificates", Kind::Choice(&["none", "optional", "required"]), text("none"))
        .mosquitto("require_certificate")
        .help(
            "Whether clients are asked for a certificate. `optional`: who shows one must show a \
             good one. `required`: who shows none is refused.",
        ),
    row("cafile", Kind::Path, None)
        .mosquitto("cafile")
        .help("Certificates, in PEM, of those who may sign the certificates of clients."),
    row("capath", Kind::Path, None)
        .mosquitto("capath")
        .help("A directory of files with such certificates. They need no particular names."),
    row("crlfile", Kind::Path, None).mosquitto("crlfile").help(
        "Lists of revoked certificates, in PEM: one at least of everybody who has signed a \
         client's certificate, because a client of whose signer there is none is refused.",
    ),
    row("crl_must_be_current", Kind::Bool, bool(false)).help(
        "Whether a list counts only until the time by which it should have been renewed: then \
         every client is refused whom it could speak of, as mosquitto does. With `false` it goes \
         on to count, and the log warns.",
    ),
    row("use_identity_as_username", Kind::Bool, bool(false))
        .mosquitto("use_identity_as_username")
        .help(
            "Take the Common Name of the client's certificate for its user name. No password is \
             asked for, and what the client calls itself does not count.",
        ),
    row("use_subject_as_username", Kind::Bool, bool(false))
        .mosquitto("use_subject_as_username")
        .help("The same with the whole subject, as RFC 2253 writes it: `CN=a,OU=b,O=c`."),
    row("disable_client_cert_date_checks", Kind::Bool, bool(false))
        .mosquitto("disable_client_cert_date_checks")
        .help("Accept certificates of clients before and after their time."),
    row("tls_version_min", Kind::Choice(&["1.2", "1.3"]), text("1.2"))
        .mosquitto("tls_version")
        .help("The lowest version of TLS. 1.2 and 1.3 are all that there are."),
    row("ciphers", Kind::Text { bytes_max: 4096 }, None).mosquitto("ciphers").help(
        "Cipher suites of TLS 1.2, in OpenSSL's names and lists. Left out: all six that are \
         sound. Words that mean none of them change nothing.",
    ),
    row("ciphers_tls13", Kind::Text { bytes_max: 4096 }, None)
        .mosquitto("ciphers_tls1.3")
        .help("Cipher suites of TLS 1.3, divided by colons. Left out: all three."),
    row("tls_fragment_bytes_max", Kind::Integer { min: 512, max: 16_384 }, integer(16_384)).help(
        "Bytes of payload in one record of TLS. For clients whose buffers do not hold 16 KiB, \
         set it to what they hold: TLS has no other way to tell us.",
    ),
    row("tls_sessions_max", Kind::Integer { min: 0, max: 1_000_000 }, integer(1024)).help(
        "Sessions of TLS 1.2 remembered for clients that resume one by its id. At the bound: the \
         oldest is forgotten, and its client shakes hands in full. Clients that keep a ticket \
         take no place.",
    ),
];

/// They are the listeners' own, but for the words.
const fn at_window<const N: usize>(mut rows: [Row; N]) -> [Row; N] {
    let mut at = 0;
    while at < N {
        rows[at].section = HTTP;
        rows[at].mosquitto = None;
        rows[at].help = "As in `[[listener]]`.";
        at += 1;
    }
    rows[0].help = "As in `[[listener]]`: with it the window speaks HTTPS and nothing else.";
    rows
}

const fn row(name: &'static str, kind: Kind, default: Option<Value>) -> Row {
    Row { section: LISTENER, name, kind, default, mosquitto: None, help: "" }
}

impl Row {
    pub(super) const fn mosquitto(mut self, name: &'static str) -> Self {
        self.mosquitto = Some(name);
        self
    }

    pub(super) const fn help(mut self, help: &'static str) -> Self {
        self.help = help;
        self
    }
}
