//! Where to listen: from what `[[listener]]` says to one address each.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use crate::access::Policy;
use crate::access::rules::Dialect;
use crate::config::access::{Policies, Sections};
use crate::config::origin::{Mistake, Origin};
use crate::config::rows::{self, LISTENER};
use crate::config::value::Value;
use crate::config::written::{Setting, WrittenListener};
use crate::config::{tls, transport};
use crate::net::address::Address;
use crate::net::listener;
use crate::net::tls::settings::Settings;

/// One `[[listener]]` with its defaults.
#[derive(Debug, Deserialize)]
pub(crate) struct Section {
    #[serde(flatten)]
    transport: transport::Section,
    pub(super) allow_anonymous: bool,
    pub(super) password_file: Option<PathBuf>,
    pub(super) acl_file: Option<PathBuf>,
    pub(super) backends: Option<Box<str>>,
    pub(super) acl_dialect: Dialect,
    pub(super) acl_file_decides: bool,
    pub(super) use_username_as_clientid: bool,
    max_connections: u32,
    tcp_nodelay: bool,
    #[serde(flatten)]
    pub(super) tls: tls::Section,
}

/// One address to listen on.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) settings: listener::Settings,
    pub(crate) policy: Arc<Policy>,
    /// Nobody named this address: a machine without IPv6 does without it.
    pub(crate) optional: bool,
}

/// What stands for a configuration without listeners: loopback only, everybody may come in unless
/// `said`, what a file of mosquitto says for all listeners, tells otherwise.
pub(crate) fn local_only(ports: &[u16], said: &[Setting]) -> Vec<WrittenListener> {
    let (ports, origin) = match ports {
        [] => (&[1883][..], Origin::Default),
        ports => (ports, Origin::CommandLine { option: "-p" }),
    };
    let mut listeners = Vec::new();
    for port in ports {
        for ip in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
            let address = Value::Text(SocketAddr::new(ip, *port).to_string().into());
            let settings = [
                setting("address", address, &origin),
                setting("allow_anonymous", Value::Bool(true), &Origin::Default),
            ];
            let settings = settings.into_iter().chain(said.iter().cloned()).collect();
            listeners.push(WrittenListener {
                origin: origin.clone(),
                settings,
                broken: false,
                unnamed: true,
            });
        }
    }
    listeners
}

fn setting(name: &str, value: Value, origin: &Origin) -> Setting {
    let row = rows::find(LISTENER, name).expect("a listener has this option");
    Setting { row, value, origin: origin.clone() }
}

/// Resolves every section; what does not go together is added to `mistakes`.
pub(crate) fn resolve(
    sections: &[Section],
    written: &[WrittenListener],
    access: &Sections<'_>,
    mistakes: &mut Vec<Mistake>,
) -> Vec<Listener> {
    let mut listeners = Vec::new();
    let mut taken: Vec<(Address, &Origin)> = Vec::new();
    let mut policies = Policies::default();
    for (section, written) in sections.iter().zip(written) {
        mistakes.extend(access.lack(section, written));
        let policy = policies.load(access.at(section), mistakes);
        let by_proxy = section.transport.certificates_by_proxy();
        let tls = section.tls.resolve(written, by_proxy, mistakes);
        let opened = section.transport.listeners(written, mistakes);
        let unnamed = written.unnamed || opened.len() > 1;
        for settings in opened {
            let address = settings.address.clone();
            if let Some((other, place)) = taken.iter().find(|(other, _)| overlap(other, &address)) {
                let text = format!("{address} is taken by the listener on {other} ({place})");
                mistakes.push(Mistake::new(written.origin.clone(), text));
            }
            let optional = unnamed && address.ip().is_some_and(|address| address.is_ipv6());
            taken.push((address, &written.origin));
            if let Some(policy) = policy.clone() {
                let settings = section.complete(settings, tls.clone());
                listeners.push(Listener { settings, policy, optional });
            }
        }
    }
    listeners
}

impl Section {
    fn complete(&self, settings: listener::Settings, tls: Option<Settings>) -> listener::Settings {
        listener::Settings {
            tcp_nodelay: self.tcp_nodelay,
            connections_max: (self.max_connections != 0).then_some(self.max_connections),
            tls,
            ..settings
        }
    }
}

/// Whether the system would refuse to open both.
fn overlap(a: &Address, b: &Address) -> bool {
    match (a, b) {
        (Address::Ip(a), Address::Ip(b)) => overlap_ip(*a, *b),
        (Address::Unix(a), Address::Unix(b)) => a.path == b.path,
        _ => false,
    }
}

/// Sockets of IPv6 do not take IPv4 along.
fn overlap_ip(a: SocketAddr, b: SocketAddr) -> bool {
    let same_ip = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && a.is_ipv4() == b.is_ipv4() && same_ip
}
