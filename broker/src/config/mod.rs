//! # What the operator wrote
//!
//! In two steps: *written* (what the file says, with places; nothing opened, nothing computed),
//! then [`Config`] (defaults, file, environment and command line put together, checked, resolved).
//! All mistakes come at once, each with its place.
//!
//! Nobody but `cli` and `main` imports this room (I12): the rooms below own the settings that they
//! need, and this one fills them.

mod access;
mod access_rows;
mod bridge;
mod bridge_rows;
mod environment;
mod http;
mod keeping;
mod layers;
mod listeners;
mod log;
mod log_rows;
mod manual;
mod mosquitto;
mod nearest;
mod origin;
mod process_rows;
mod reload;
mod rows;
mod service_rows;
mod services;
mod show;
mod telemetry;
mod telemetry_rows;
mod tls;
mod tls_rows;
mod tokens;
mod transport;
mod transport_rows;
mod value;
mod written;

use std::ffi::OsString;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use martlet_codec::decode::DecodeLimits;
use martlet_engine::limits::Limits;
use serde::Deserialize;

use crate::access::{Policy, nobody_may_come_in};
use crate::config::keeping::Keeping;
use crate::config::layers::Layers;
pub use crate::config::mosquitto::Account;
pub use crate::config::origin::Mistake;
use crate::config::origin::Origin;
use crate::config::written::Written;
use crate::inquiry::Inquiry;
use crate::net::address::Address;
use crate::net::throttle;
use crate::store::durable::Sync;
use crate::telemetry::log::StreamSettings;
use crate::{driver, logging, privileges, server};

/// Where a configuration comes from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// The environment. Only variables that begin with `MARTLET_` matter.
    pub variables: Vec<(OsString, OsString)>,
    /// What the command line says of single options.
    pub overrides: Vec<Override>,
    /// Ports for local only mode; none is 1883. A configuration with listeners ignores them.
    pub ports: Vec<u16>,
}

/// An option that the command line sets.
#[derive(Clone, Debug)]
pub struct Override {
    /// What was typed, e.g. `--data`.
    pub option: &'static str,
    /// The option's section.
    pub section: &'static str,
    /// The option's name.
    pub name: &'static str,
    /// Its value, as text.
    pub value: String,
}

/// A configuration with the origin of each value.
#[derive(Debug)]
pub struct Resolved {
    /// The configuration.
    pub config: Config,
    merged: config::Config,
}

/// What the broker is told, checked and complete.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// No listener is configured: loopback only, everybody may come in.
    pub local_only: bool,
    /// What the server is told. There is at least one listener, and the engine's hash seed is
    /// drawn anew each time.
    pub server: server::Settings,
    /// Those of the server's addresses that nobody named: a machine without IPv6 does without.
    pub optional_addresses: Vec<SocketAddr>,
    /// Whether the operator chose the bound of connections, so that less is worth a warning.
    pub connections_chosen: bool,
    /// The log.
    pub log: logging::Settings,
    /// Who the broker is, for the system.
    pub identity: privileges::Settings,
    /// The state directory.
    pub data_dir: PathBuf,
    /// When what is kept there is safe; `None`: nothing is kept.
    pub sync: Option<Sync>,
    /// What is recorded.
    pub streams: Vec<StreamSettings>,
    /// What the operator should know although nothing is wrong.
    pub warnings: Vec<String>,
    /// What is worth a line in the log: what mosquitto says of its own file.
    pub notices: Vec<String>,
}

/// Everything that is wrong, in the order of the places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes(pub Vec<Mistake>);

impl std::error::Error for Mistakes {}

impl fmt::Display for Mistakes {
    /// One line each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(Mistake::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// The manual of all options: the chapter in `docs/configuration.md`, as Markdown.
pub fn manual() -> String {
    manual::manual()
}

/// What becomes of every option of mosquitto.conf: the chapter in `docs/mosquitto-conf.md`, as
/// Markdown.
pub fn mosquitto_manual() -> String {
    mosquitto::manual()
}

/// Reads every source and resolves them.
///
/// # Errors
/// All mistakes of all sources.
pub fn load(sources: &Sources) -> Result<Resolved, Mistakes> {
    let mut mistakes = Vec::new();
    let layers = read(sources, &mut mistakes);
    resolve(sources, layers, mistakes)
}

/// What becomes of each line of a mosquitto.conf, and of the files that it includes.
///
/// # Errors
/// When the file is none.
pub fn account(sources: &Sources) -> Result<Account, Mistakes> {
    let mut mistakes = Vec::new();
    let layers = read(sources, &mut mistakes);
    match layers.written.account.clone() {
        Some(lines) => {
            let mistakes = resolve(sources, layers, mistakes).err().map(|mistakes| mistakes.0);
            Ok(Account::new(lines, &mistakes.unwrap_or_default()))
        }
        None if mistakes.is_empty() => {
            let path = sources.file.as_deref().unwrap_or(Path::new("no file"));
            let origin = Origin::File { path: path.display().to_string() };
            Err(Mistakes(vec![Mistake::new(origin, "is no mosquitto.conf: nothing to report")]))
        }
        None => Err(Mistakes(mistakes)),
    }
}

fn read(sources: &Sources, mistakes: &mut Vec<Mistake>) -> Layers {
    let mut layers = Layers {
        written: match &sources.file {
            Some(path) => written::read(path, mistakes),
            None => Written::default(),
        },
        environment: environment::read(&sources.variables, mistakes),
        command_line: layers::overridden(&sources.overrides, mistakes),
    };
    if layers.written.account.is_some() {
        layers.keep_where_asked();
        let location = environment::mosquitto_location(&sources.variables);
        layers.written.settings.extend(location);
    }
    layers
}

fn resolve(
    sources: &Sources,
    mut layers: Layers,
    mut mistakes: Vec<Mistake>,
) -> Result<Resolved, Mistakes> {
    let local_only = layers.written.listeners.is_empty();
    if local_only {
        layers.written.listeners = listeners::local_only(&sources.ports, &layers.written.local);
    }
    let merged = layers.merge().expect("the keys of all rows are paths");
    let all: Settings =
        merged.clone().try_deserialize().expect("what a row allows fits its field, as tests show");
    let mut warnings = layers.written.warnings.clone();
    warnings.extend(all.queue_below_packet(&layers));
    let written = &layers.written.listeners;
    let access = access::Sections {
        access: &all.access,
        jwt: &all.auth_jwt,
        http: &all.auth_http,
        backends: layers.origin("access", "backends"),
    };
    let listeners = listeners::resolve(&all.listener, written, &access, &mut mistakes);
    let folder = all.data.sync.0.is_some().then(|| all.data.dir.clone());
    let with = (all.limits.decode(), folder);
    let window = all.http.resolve(&access, with, &layers, &mut mistakes);
    let nothing_kept = all.data.sync.0.is_none().then(|| layers.origin("data", "sync"));
    let streams =
        telemetry::resolve(&all.telemetry, &layers.written.streams, nothing_kept, &mut mistakes);
    let broker = bridge::Broker { packet_size_max: all.limits.packet_size_max };
    let bridges = bridge::resolve(&all.bridge, &layers.written.bridges, broker, &mut mistakes);
    let inquiry = access.inquiry(&all.listener, &mut mistakes);
    mistakes.extend(all.unknown_user(&layers));
    if !mistakes.is_empty() {
        mistakes.sort();
        return Err(Mistakes(mistakes));
    }
    warnings.extend(warned(sources, local_only, &listeners));
    warnings.extend(inquiry.iter().flat_map(|inquiry| inquiry.settings().warnings()));
    let optional = listeners.iter().filter(|listener| listener.optional);
    let config = Config {
        file: sources.file.clone(),
        local_only,
        optional_addresses: optional
            .filter_map(|listener| listener.settings.address.ip())
            .collect(),
        connections_chosen: all.limits.connections_max != 0,
        warnings,
        log: all.log.settings(&layers),
        identity: all.identity(&listeners),
        data_dir: all.data.dir.clone(),
        sync: all.data.sync.0,
        notices: layers.written.notices.clone(),
        server: server::Settings { bridges, ..all.server(listeners, window, &streams, inquiry) },
        streams,
    };
    Ok(Resolved { config, merged })
}

impl Resolved {
    /// The whole configuration as TOML, the origin of each value in a comment. Loading it gives
    /// the same configuration.
    pub fn show(&self) -> String {
        show::show(&self.merged, self.config.local_only)
    }
}

fn warned(sources: &Sources, local_only: bool, listeners: &[listeners::Listener]) -> Vec<String> {
    let mut warnings = Vec::new();
    if !local_only && !sources.ports.is_empty() {
        warnings.push("The configuration defines a listener: -p is ignored.".to_owned());
    }
    let policies = listeners.iter().map(|listener| &*listener.policy);
    warnings.extend(nobody_may_come_in(policies.clone()));
    for warning in policies.filter_map(Policy::warning) {
        if !warnings.iter().any(|said| said == warning) {
            warnings.push(warning.to_owned());
        }
    }
    warnings
}

/// The bound of connections where nobody chose one: more than any machine that nobody tunes.
const CONNECTIONS_UNCHOSEN: u32 = 1_000_000;

/// The sections as the rows describe them.
#[derive(Debug, Deserialize)]
struct Settings {
    listener: Vec<listeners::Section>,
    access: access::Section,
    auth_jwt: tokens::Section,
    auth_http: services::Section,
    limits: LimitsSection,
    clients: ClientsSection,
    http: http::Section,
    log: log::Section,
    sys: SysSection,
    data: StateSection,
    #[serde(default)]
    telemetry: Vec<telemetry::Section>,
    #[serde(default)]
    bridge: Vec<bridge::Section>,
    #[serde(default)]
    process: ProcessSection,
}

#[derive(Debug, Deserialize)]
struct LimitsSection {
    packet_size_max: u32,
    topic_levels_max: u16,
    connections_max: u32,
    connect_timeout_s: u64,
    password_checks_max: u32,
    connects_per_address_per_s: u32,
    outbox_bytes_max: u32,
    inflight_max: u16,
    inflight_qos2_max: u16,
    inflight_bytes_max: u64,
    received_max: u16,
    queue_messages_max: u32,
    queue_bytes_max: u64,
    all_queues_bytes_max: u64,
    queue_qos0: bool,
    retained_messages_max: u32,
    retained_bytes_max: u64,
    subscriptions_per_session_max: u32,
    sessions_max: u32,
    keep_alive_max_s: u16,
    session_expiry_s: u64,
    publishes_per_client_per_s: u32,
    publish_bytes_per_client_per_s: u64,
    publish_burst_s: u32,
}

#[derive(Debug, Deserialize)]
struct ClientsSection {
    allow_zero_length_client_id: bool,
    auto_id_prefix: Box<str>,
}

#[derive(Debug, Deserialize)]
struct SysSection {
    interval_s: u32,
    clients: bool,
}

#[derive(Debug, Default, Deserialize)]
struct ProcessSection {
    user: Option<String>,
    pid_file: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct StateSection {
    dir: PathBuf,
    sync: Keeping,
}

impl Settings {
    /// What no option shows alone.
    fn queue_below_packet(&self, layers: &Layers) -> Option<String> {
        let packet = u64::from(self.limits.packet_size_max);
        let queue = self.limits.queue_bytes_max;
        (queue != 0 && queue < packet).then(|| {
            let origin = |name| layers.origin("limits", name);
            let place = origin("packet_size_max").max(origin("queue_bytes_max"));
            format!(
                "{place}: \"queue_bytes_max\" ({queue}) is below \"packet_size_max\" ({packet}): \
                 the largest messages can never be queued."
            )
        })
    }

    fn identity(&self, listeners: &[listeners::Listener]) -> privileges::Settings {
        let sockets = listeners.iter().filter_map(|listener| match &listener.settings.address {
            Address::Unix(place) => Some(place.path.clone()),
            Address::Ip(_) => None,
        });
        privileges::Settings {
            user: self.process.user.clone(),
            pid_file: self.process.pid_file.clone(),
            data_dir: self.data.sync.0.map(|_| self.data.dir.clone()),
            log_files: self.log.files(),
            sockets: sockets.collect(),
        }
    }

    /// A user that is not there, where one is to be become.
    fn unknown_user(&self, layers: &Layers) -> Option<Mistake> {
        let user = self.process.user.as_ref().filter(|_| privileges::is_root())?;
        let text = privileges::find(user).err()?;
        Some(Mistake::new(layers.origin("process", "user"), text))
    }

    fn server(
        self,
        listeners: Vec<listeners::Listener>,
        window: Option<server::Window>,
        streams: &[StreamSettings],
        inquiry: Option<Arc<Inquiry>>,
    ) -> server::Settings {
        server::Settings {
            listeners: listeners.into_iter().map(|l| (l.settings, l.policy)).collect(),
            window,
            decode_limits: self.limits.decode(),
            connections_max: match self.limits.connections_max {
                0 => CONNECTIONS_UNCHOSEN,
                chosen => chosen,
            },
            connect_timeout: Duration::from_secs(self.limits.connect_timeout_s),
            rates: throttle::Settings {
                publishes_per_s: self.limits.publishes_per_client_per_s,
                bytes_per_s: self.limits.publish_bytes_per_client_per_s,
                burst_s: self.limits.publish_burst_s,
            },
            recorded: streams.to_vec(),
            password_checks_max: self.limits.password_checks_max,
            guard: self.access.guard(self.limits.connects_per_address_per_s),
            bridges: Vec::new(),
            inquiry,
            driver: driver::Settings {
                streams: streams.iter().map(StreamSettings::stream).collect(),
                outbox_bytes_max: self.limits.outbox_bytes_max,
                connection_messages: self.log.connection_messages,
                wording: self.log.compat,
                limits: self.limits.engine(self.clients, &self.sys),
            },
        }
    }
}

impl LimitsSection {
    fn decode(&self) -> DecodeLimits {
        DecodeLimits {
            packet_size_max: self.packet_size_max,
            topic_levels_max: self.topic_levels_max,
        }
    }

    fn engine(self, clients: ClientsSection, sys: &SysSection) -> Limits {
        Limits {
            inflight_max: self.inflight_max,
            inflight_qos2_max: self.inflight_qos2_max,
            inflight_bytes_max: self.inflight_bytes_max,
            received_max: self.received_max,
            queue_messages_max: self.queue_messages_max,
            queue_bytes_max: self.queue_bytes_max,
            all_queues_bytes_max: self.all_queues_bytes_max,
            queue_qos0: self.queue_qos0,
            retained_messages_max: self.retained_messages_max,
            retained_bytes_max: self.retained_bytes_max,
            subscriptions_per_session_max: self.subscriptions_per_session_max,
            sessions_max: self.sessions_max,
            keep_alive_max_s: self.keep_alive_max_s,
            session_expiry_s: self.session_expiry_s,
            allow_zero_length_client_id: clients.allow_zero_length_client_id,
            auto_id_prefix: clients.auto_id_prefix,
            sys_interval_s: sys.interval_s,
            sys_clients: sys.clients,
            // The standard library's keys are random in every process.
            hash_seed: RandomState::new().hash_one(0_u8),
            broker_id: RandomState::new().hash_one(1_u8),
            version_text: Limits::default().version_text,
        }
    }
}

#[cfg(test)]
mod tests;
