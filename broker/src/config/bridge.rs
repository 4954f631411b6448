//! Bridges: from what `[[bridge]]` or `connection` says to settings.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use martlet_codec::reason::ProtocolVersion;
use martlet_codec::topic::TopicName;
use serde::Deserialize;

use crate::bridge::backoff::Bounds;
use crate::bridge::tls::{self, Connector};
use crate::bridge::topics::{Topic, Topics};
use crate::bridge::{Login, Notifications, Password, Remote, Settings, Start};
use crate::config::origin::{Mistake, Origin};
use crate::config::written::WrittenBridge;
use crate::machine;
use crate::net::tls::settings::{Fault, FaultyOption};

/// One `[[bridge]]` with its defaults.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Section {
    name: Option<Box<str>>,
    addresses: Option<Vec<String>>,
    topics: Option<Vec<String>>,
    remote_client_id: Option<Box<str>>,
    remote_user: Option<Box<str>>,
    remote_password: Option<Box<str>>,
    local_client_id: Option<Box<str>>,
    local_user: Option<Box<str>>,
    keep_alive_s: u16,
    clean_session: bool,
    local_clean_session: Option<bool>,
    try_private: bool,
    protocol_version: Version,
    start: Starts,
    restart: String,
    round_robin: bool,
    notifications: bool,
    notifications_local_only: bool,
    notification_topic: Option<Box<str>>,
    outgoing_retain: bool,
    attempt_unsubscribe: bool,
    packet_size_max: u32,
    drain_per_s: u32,
    bind: Option<IpAddr>,
    cafile: Option<PathBuf>,
    capath: Option<PathBuf>,
    tls_use_os_certs: bool,
    certfile: Option<PathBuf>,
    keyfile: Option<PathBuf>,
    insecure: bool,
    alpn: Option<Box<str>>,
    tls_version: Option<TlsVersion>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum Version {
    #[serde(rename = "3.1")]
    V31,
    #[serde(rename = "3.1.1")]
    V311,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum TlsVersion {
    #[serde(rename = "1.2")]
    Tls12,
    #[serde(rename = "1.3")]
    Tls13,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Starts {
    Automatic,
    Once,
}

/// What the broker's own bounds say of a bridge.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Broker {
    pub(crate) packet_size_max: u32,
}

/// The port of an address that says none.
const PORT: u16 = 1883;

/// Resolves every section; what does not go together is added to `mistakes`.
pub(crate) fn resolve(
    sections: &[Section],
    all: &[WrittenBridge],
    broker: Broker,
    mistakes: &mut Vec<Mistake>,
) -> Vec<Settings> {
    let mut resolved: Vec<Settings> = Vec::new();
    for (section, written) in sections.iter().zip(all) {
        let before = mistakes.len();
        let mut wrong = Wrong { written, mistakes };
        let Some(settings) = section.resolve(broker, &mut wrong) else { continue };
        for other in &resolved {
            if other.name == settings.name {
                let text = format!("the bridge \"{}\" is there already", other.name);
                wrong.about(&["name"], text);
            } else if other.local_client_id == settings.local_client_id {
                let text = format!(
                    "the bridge \"{}\" has the same client id here, {}: give one of them a \
                     \"local_client_id\" (local_clientid) of its own",
                    other.name, other.local_client_id
                );
                wrong.about(&["local_client_id", "remote_client_id"], text);
            }
        }
        if mistakes.len() == before {
            resolved.push(settings);
        }
    }
    resolved
}

/// Where mistakes of one bridge go.
struct Wrong<'a> {
    written: &'a WrittenBridge,
    mistakes: &'a mut Vec<Mistake>,
}

impl Wrong<'_> {
    /// At the first of these options that somebody wrote, or at the bridge as a whole.
    fn about(&mut self, options: &[&str], text: impl Into<String>) {
        let mut options = options.iter();
        let place = options.find_map(|name| self.place(name));
        let origin = place.unwrap_or(&self.written.origin).clone();
        self.mistakes.push(Mistake::new(origin, text));
    }

    fn place(&self, name: &str) -> Option<&Origin> {
        let mut settings = self.written.settings.iter();
        settings.rfind(|setting| setting.row.name == name).map(|setting| &setting.origin)
    }
}

impl Section {
    fn resolve(&self, broker: Broker, wrong: &mut Wrong<'_>) -> Option<Settings> {
        if let Some(missing) = self.missing().filter(|_| !wrong.written.broken) {
            wrong.about(&[], missing);
        }
        // What there is has its mistakes told, whatever is missing.
        let name = self.name.as_deref().unwrap_or_default();
        let client_id = self.remote_client_id.clone();
        // In mosquitto's order, not in that of its manual: its sessions at other brokers go on.
        let client_id =
            client_id.unwrap_or_else(|| format!("{}.{name}", machine::host_name()).into());
        let local = self.local_client_id.clone();
        let local_client_id = local.unwrap_or_else(|| format!("local.{client_id}").into());
        if self.remote_password.is_some() && self.remote_user.is_none() {
            let text = "a password wants a \"remote_user\" (remote_username) beside it";
            wrong.about(&["remote_password"], text);
        }
        let settings = Settings {
            addresses: addresses_of(self.addresses.as_deref().unwrap_or_default(), wrong),
            topics: topics_of(self.topics.as_deref().unwrap_or_default(), wrong),
            notifications: self.notifications(&client_id, wrong),
            backoff: self.backoff(wrong),
            tls: self.tls(wrong),
            name: name.into(),
            remote: Login {
                client_id,
                user: self.remote_user.clone(),
                password: self.remote_password.clone().map(Password),
            },
            local_client_id,
            local_user: self.local_user.clone(),
            keep_alive_s: self.keep_alive_s,
            clean_session: self.clean_session,
            local_clean_session: self.local_clean_session.unwrap_or(self.clean_session),
            try_private: self.try_private,
            version: match self.protocol_version {
                Version::V31 => ProtocolVersion::V31,
                Version::V311 => ProtocolVersion::V311,
            },
            start: match self.start {
                Starts::Automatic => Start::Automatic,
                Starts::Once => Start::Once,
            },
            round_robin: self.round_robin,
            outgoing_retain: self.outgoing_retain,
            attempt_unsubscribe: self.attempt_unsubscribe,
            packet_size_max: match self.packet_size_max {
                0 => broker.packet_size_max,
                chosen => chosen,
            },
            drain_per_s: self.drain_per_s,
            bind: self.bind,
        };
        self.missing().is_none().then_some(settings)
    }

    fn missing(&self) -> Option<String> {
        let has = [
            ("a \"name\"", self.name.is_some()),
            ("an address (\"addresses\")", self.addresses.is_some()),
            ("a topic (\"topics\")", self.topics.is_some()),
        ];
        let lacks: Vec<&str> = has.iter().filter(|(_, has)| !has).map(|(what, _)| *what).collect();
        if lacks.is_empty() {
            return None;
        }
        let name = self.name.as_deref().map(|name| format!(" \"{name}\"")).unwrap_or_default();
        Some(format!("the bridge{name} wants {}", lacks.join(" and ")))
    }

    fn notifications(&self, client_id: &str, wrong: &mut Wrong<'_>) -> Option<Notifications> {
        if !self.notifications {
            return None;
        }
        let usual = || format!("$SYS/broker/connection/{client_id}/state").into();
        let topic: Box<str> = self.notification_topic.clone().unwrap_or_else(usual);
        let good = TopicName::new(topic.as_bytes()).is_ok();
        let own = topic.starts_with("$SYS/") && !is_state_of_bridge(&topic);
        if !good || own {
            let text = format!(
                "{topic:?} can be no topic of its state: give it a \"notification_topic\" without \
                 wildcards, below $SYS only as $SYS/broker/connection/NAME/state, or set \
                 \"notifications\" to false"
            );
            wrong.about(&["notification_topic", "remote_client_id", "name"], text);
        }
        Some(Notifications { topic, local_only: self.notifications_local_only })
    }

    fn backoff(&self, wrong: &mut Wrong<'_>) -> Bounds {
        let words: Vec<Option<u64>> =
            self.restart.split_whitespace().map(|word| word.parse().ok()).collect();
        let (base, cap) = match *words {
            [Some(always)] if always > 0 => (always, always),
            [Some(base), Some(cap)] | [Some(base), Some(cap), Some(_)]
                if base > 0 && base <= cap =>
            {
                (base, cap)
            }
            _ => {
                let text = format!(
                    "takes seconds of at least 1, the shortest wait and the longest or one number \
                     for both, not {:?}",
                    self.restart
                );
                wrong.about(&["restart"], format!("\"restart\" (restart_timeout) {text}"));
                (1, 1)
            }
        };
        Bounds { base: Duration::from_secs(base), cap: Duration::from_secs(cap) }
    }

    fn tls(&self, wrong: &mut Wrong<'_>) -> Option<tls::Settings> {
        let is_on = self.cafile.is_some() || self.capath.is_some() || self.tls_use_os_certs;
        let of_tls = ["certfile", "keyfile", "insecure", "alpn", "tls_version"];
        let set = of_tls.into_iter().find(|name| wrong.place(name).is_some());
        match (is_on, set) {
            (false, None) => return None,
            (false, Some(_)) if !self.insecure_alone(wrong) => {
                let text = "TLS wants to know whom to believe: name a \"cafile\", a \"capath\", or \
                            set \"tls_use_os_certs\" (in mosquitto.conf with bridge_ in front)";
                wrong.about(&of_tls, text);
                return None;
            }
            (false, Some(_)) => return None,
            (true, _) => {}
        }
        let identity = match (&self.certfile, &self.keyfile) {
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            (None, None) => None,
            _ => {
                let text = "a \"certfile\" and a \"keyfile\" go together";
                wrong.about(&["certfile", "keyfile"], text);
                None
            }
        };
        let settings = tls::Settings {
            ca_file: self.cafile.clone(),
            ca_path: self.capath.clone(),
            system: self.tls_use_os_certs,
            identity,
            any_name: self.insecure,
            alpn: self.alpn.clone(),
            version: self.tls_version.map(|version| match version {
                TlsVersion::Tls12 => tls::Version::Tls12,
                TlsVersion::Tls13 => tls::Version::Tls13,
            }),
        };
        if let Err(fault) = Connector::new(&settings) {
            of_fault(&fault, wrong);
        }
        Some(settings)
    }

    /// `insecure false` and nothing else of TLS says what holds anyway.
    fn insecure_alone(&self, wrong: &Wrong<'_>) -> bool {
        let others = ["certfile", "keyfile", "alpn", "tls_version"];
        !self.insecure && others.iter().all(|name| wrong.place(name).is_none())
    }
}

fn of_fault(Fault { option, file, text }: &Fault, wrong: &mut Wrong<'_>) {
    let name = match option {
        FaultyOption::Certificate => "certfile",
        FaultyOption::Key => "keyfile",
        FaultyOption::CaPath => "capath",
        FaultyOption::CaFile
        | FaultyOption::Crl
        | FaultyOption::Clients
        | FaultyOption::Ciphers
        | FaultyOption::CiphersTls13 => "cafile",
    };
    let text = match file {
        Some(file) => format!("{name:?}: {} {text}", file.display()),
        None => format!("{name:?}: {text}"),
    };
    wrong.about(&[name, "tls_use_os_certs"], text);
}

fn addresses_of(texts: &[String], wrong: &mut Wrong<'_>) -> Vec<Remote> {
    let mut addresses = Vec::new();
    for text in texts {
        match address(text) {
            Some(address) => addresses.push(address),
            None => wrong.about(
                &["addresses"],
                format!("{text:?} is no address: write host, host:port or [ipv6]:port"),
            ),
        }
    }
    addresses
}

fn address(text: &str) -> Option<Remote> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, behind) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            let port = match behind.strip_prefix(':') {
                Some(port) => port.parse().ok()?,
                None if behind.is_empty() => PORT,
                None => return None,
            };
            (host, port)
        }
        None if text.parse::<std::net::Ipv6Addr>().is_ok() => (text, PORT),
        None => match text.split_once(':') {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (text, PORT),
        },
    };
    let good = !host.is_empty() && !host.contains(char::is_whitespace) && port != 0;
    good.then(|| Remote { host: host.to_owned(), port })
}

fn topics_of(lines: &[String], wrong: &mut Wrong<'_>) -> Topics {
    let mut topics = Vec::new();
    for line in lines {
        match Topic::parse(line) {
            Ok(topic) => topics.push(topic),
            Err(why) => wrong.about(&["topics"], format!("the topic {line:?} {why}")),
        }
    }
    Topics::new(topics)
}

/// As the engine lets clients publish it.
fn is_state_of_bridge(topic: &str) -> bool {
    let name = topic.strip_prefix("$SYS/broker/connection/");
    let name = name.and_then(|rest| rest.strip_suffix("/state"));
    name.is_some_and(|name| !name.contains('/'))
}

#[cfg(test)]
mod tests;
