//! `[http]`: its options, and what they come to.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use martlet_codec::decode::DecodeLimits;
use serde::Deserialize;

use crate::access::tokens::Tokens;
use crate::access::{self, Policy};
use crate::config::access::{Policies, Sections};
use crate::config::layers::Layers;
use crate::config::origin::Mistake;
use crate::config::rows::Row;
use crate::config::tls;
use crate::config::value::{Kind, integer, text};
use crate::config::written::WrittenListener;
use crate::http::{Keys, Settings};

/// The section.
pub(super) const SECTION: &str = "http";

/// The options.
pub(super) const ROWS: &[Row] = &[
    Row {
        section: SECTION,
        name: "address",
        kind: Kind::SocketAddress,
        default: None,
        mosquitto: None,
        help: "IP address and port of the window: dashboard, publishing, live tail, metrics. Left \
               out: there is none. An address that other machines reach wants `token_file` or a \
               password file, or `allow_anonymous = true`; and `certfile`, so that nobody between \
               reads along.",
    },
    Row {
        section: SECTION,
        name: "allow_anonymous",
        kind: Kind::Bool,
        default: None,
        mosquitto: None,
        help: "Whether requests may come without credentials. Left out: they may if the address is \
               of this machine alone and there are neither users nor tokens.",
    },
    Row {
        section: SECTION,
        name: "password_file",
        kind: Kind::Path,
        default: None,
        mosquitto: None,
        help: "`access.password_file` for the window.",
    },
    Row {
        section: SECTION,
        name: "acl_file",
        kind: Kind::Path,
        default: None,
        mosquitto: None,
        help: "`access.acl_file` for the window.",
    },
    Row {
        section: SECTION,
        name: "token_file",
        kind: Kind::Path,
        default: None,
        mosquitto: None,
        help: "Names and hashed bearer tokens, as `martlet token` writes them. Whoever shows a \
               token is the user of that name, for the ACL file too.",
    },
    Row {
        section: SECTION,
        name: "admins",
        kind: Kind::Text { bytes_max: 4096 },
        default: text(""),
        mosquitto: None,
        help: "Names of users, separated by spaces, who may see and do everything in the window. \
               Empty: everybody is one where there is no ACL file, and nobody where there is one.",
    },
    Row {
        section: SECTION,
        name: "origins",
        kind: Kind::Text { bytes_max: 4096 },
        default: text(""),
        mosquitto: None,
        help: "Origins of other web pages that browsers may let in, such as \
               `https://grafana.example.org`, separated by spaces; also the address that browsers \
               see when the window is behind a proxy.",
    },
    Row {
        section: SECTION,
        name: "connections_max",
        kind: Kind::Integer { min: 1, max: 65_536 },
        default: integer(100),
        mosquitto: None,
        help: "Connections of the window at a time, within `limits.connections_max`. At the bound: \
               new ones wait until one closes.",
    },
    Row {
        section: SECTION,
        name: "body_bytes_max",
        kind: Kind::Integer { min: 1024, max: i64::MAX },
        default: integer(268_435_456),
        mosquitto: None,
        help: "Bytes of a request's body, such as a batch of messages. At the bound: it is refused \
               (413). A single message is bounded by `limits.packet_size_max`.",
    },
];

/// `[http]` with its defaults.
#[derive(Debug, Deserialize)]
pub(super) struct Section {
    address: Option<SocketAddr>,
    allow_anonymous: Option<bool>,
    password_file: Option<PathBuf>,
    acl_file: Option<PathBuf>,
    token_file: Option<PathBuf>,
    admins: String,
    origins: String,
    connections_max: u32,
    body_bytes_max: u64,
    #[serde(flatten)]
    tls: tls::Section,
}

impl Section {
    /// Where the window is and who may come; what is wrong is added to `mistakes`.
    pub(super) fn resolve(
        &self,
        access: &Sections<'_>,
        (decode_limits, folder): (DecodeLimits, Option<PathBuf>),
        layers: &Layers,
        mistakes: &mut Vec<Mistake>,
    ) -> Option<(Settings, Arc<Policy>)> {
        let keys = self.keys(layers, mistakes);
        let address = self.address?;
        let tls = self.tls.resolve(&written(layers), false, mistakes);
        let policy = access.at_window(self.password_file.as_deref(), self.acl_file.as_deref());
        let user_from_certificate = self.tls.user_from_certificate();
        let policy = access::Settings { user_from_certificate, ..policy };
        let users = policy.password_file.is_some()
            || policy.tokens.is_some()
            || user_from_certificate.is_some();
        let known = users || self.token_file.is_some();
        let local = address.ip().is_loopback();
        let allow_anonymous = self.allow_anonymous.unwrap_or(local && !known);
        if !(known || allow_anonymous) {
            let text = format!(
                "{address} is for other machines too, and nobody may come in: set \"token_file\" \
                 (see `martlet token`) or \"password_file\", or \"allow_anonymous\" = true"
            );
            mistakes.push(Mistake::new(layers.origin(SECTION, "address"), text));
        }
        let policy = access::Settings { allow_anonymous, ..policy };
        let policy = Policies::default().load(policy, mistakes)?;
        let settings = Settings {
            address,
            connections_max: self.connections_max,
            body_bytes_max: self.body_bytes_max,
            decode_limits,
            folder,
            keys: Arc::new(keys?),
            tls,
        };
        Some((settings, policy))
    }

    fn keys(&self, layers: &Layers, mistakes: &mut Vec<Mistake>) -> Option<Keys> {
        let before = mistakes.len();
        let tokens = self.token_file.as_deref().map(Tokens::read).transpose();
        let tokens =
            tokens.map_err(|faults| mistakes.extend(faults.into_iter().map(Mistake::from)));
        let words = |text: &str| text.split_whitespace().map(Box::from).collect::<Vec<Box<str>>>();
        let origins = words(&self.origins);
        for origin in &origins {
            let rest = origin.strip_prefix("https://").or(origin.strip_prefix("http://"));
            if rest.is_none_or(|rest| rest.is_empty() || rest.contains('/')) {
                let text = format!(
                    "{origin:?} is no origin: it is http:// or https:// and a name, perhaps with a \
                     port, and nothing behind that"
                );
                mistakes.push(Mistake::new(layers.origin(SECTION, "origins"), text));
            }
        }
        let keys = Keys { tokens: tokens.ok()?, admins: words(&self.admins), origins };
        (mistakes.len() == before).then_some(keys)
    }
}

/// What was said of the window, as of a listener.
fn written(layers: &Layers) -> WrittenListener {
    let (origin, settings) = (layers.origin(SECTION, "address"), layers.said_of(SECTION));
    WrittenListener { origin, settings, broken: false, unnamed: false }
}
