//! What a `[[listener]]` says of what it speaks over, and of its clients' packets.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use martlet_codec::reason::QoS;
use serde::Deserialize;

use crate::config::origin::Mistake;
use crate::config::written::{Setting, WrittenListener};
use crate::machine;
use crate::net::address::{Address, UnixAddress};
use crate::net::listener;
use crate::net::proxy::{self, Proxies, Version};
use crate::net::terms::{MountPoint, Terms, Versions};
use crate::net::websocket;

/// Who may connect to a socket in the file system where nobody says: the broker's user and group.
const SOCKET_MODE: u32 = 0o770;

/// The options with their defaults.
#[derive(Debug, Deserialize)]
pub(super) struct Section {
    address: Option<SocketAddr>,
    port: Option<u16>,
    bind: Option<IpAddr>,
    interface: Option<Box<str>>,
    path: Option<PathBuf>,
    path_mode: Option<Box<str>>,
    protocol: Protocol,
    websockets_origins: Option<Box<str>>,
    websockets_request_bytes_max: usize,
    proxy_protocol: ProxyProtocol,
    proxy_protocol_require_tls: bool,
    proxies: Option<Box<str>>,
    mount_point: Option<Box<str>>,
    max_qos: u8,
    accept_protocol_versions: Box<str>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Protocol {
    Mqtt,
    Websockets,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum ProxyProtocol {
    Off,
    V1,
    V2,
}

/// What is wrong: the options that say so, the first of which that was written is its place, and
/// the words.
type Wrong = (&'static [&'static str], String);

impl Section {
    /// Whether certificates of clients may come by the word of a proxy.
    pub(super) fn certificates_by_proxy(&self) -> bool {
        self.proxy_protocol == ProxyProtocol::V2
    }

    /// A listener at each of its addresses, all else being as this says; what is wrong with it is
    /// added to `mistakes`.
    pub(super) fn listeners(
        &self,
        written: &WrittenListener,
        mistakes: &mut Vec<Mistake>,
    ) -> Vec<listener::Settings> {
        let mut wrong = self.contradictions(written);
        let proxies = self.proxies().map_err(|found| wrong.push(found)).unwrap_or_default();
        let terms = self.terms().map_err(|found| wrong.push(found)).unwrap_or_default();
        let addresses = self.addresses().map_err(|found| wrong.push(found)).unwrap_or_default();
        if !written.broken {
            mistakes.extend(wrong.into_iter().map(|(options, text)| at(written, options, text)));
        }
        let settings = |address| listener::Settings {
            proxy: self.proxy(&proxies),
            websocket: self.websocket(&proxies),
            terms: terms.clone(),
            ..listener::Settings::on(address)
        };
        addresses.into_iter().map(settings).collect()
    }

    /// Options that do nothing beside the others: whoever wrote them believes that they do.
    fn contradictions(&self, written: &WrittenListener) -> Vec<Wrong> {
        let says = |name: &str| {
            let of = |setting: &&Setting| setting.row.name == name;
            written
                .settings
                .iter()
                .rfind(of)
                .is_some_and(|setting| setting.row.default.as_ref() != Some(&setting.value))
        };
        let websockets = self.protocol == Protocol::Websockets;
        let proxied = self.proxy_protocol != ProxyProtocol::Off;
        let rows: [(bool, Wrong); 5] = [
            (
                says("websockets_origins") && !websockets,
                (&["websockets_origins"], "wants protocol \"websockets\" beside it".into()),
            ),
            (
                self.proxy_protocol_require_tls && self.proxy_protocol != ProxyProtocol::V2,
                (
                    &["proxy_protocol_require_tls"],
                    "wants version 2 of the PROXY protocol: version 1 does not speak of TLS".into(),
                ),
            ),
            (
                self.proxies.is_some() && !websockets && !proxied,
                (
                    &["proxies"],
                    "wants \"proxy_protocol\" or protocol \"websockets\" beside it".into(),
                ),
            ),
            (
                says("use_subject_as_username") && proxied,
                (
                    &["use_subject_as_username"],
                    "does not go with \"proxy_protocol\": a proxy tells the Common Name only, so \
                     write \"use_identity_as_username\""
                        .into(),
                ),
            ),
            (
                self.path_mode.is_some() && self.path.is_none(),
                (&["path_mode"], "wants a \"path\" beside it".into()),
            ),
        ];
        rows.into_iter().filter(|(holds, _)| *holds).map(|(_, wrong)| wrong).collect()
    }

    fn proxies(&self) -> Result<Proxies, Wrong> {
        let text = self.proxies.as_deref().unwrap_or_default();
        text.parse().map_err(|error: String| (&["proxies"][..], format!(": {error}")))
    }

    fn proxy(&self, proxies: &Proxies) -> Option<proxy::Settings> {
        let version = match self.proxy_protocol {
            ProxyProtocol::Off => return None,
            ProxyProtocol::V1 => Version::V1,
            ProxyProtocol::V2 => Version::V2,
        };
        let require_tls = self.proxy_protocol_require_tls;
        Some(proxy::Settings { version, proxies: proxies.clone(), require_tls })
    }

    fn websocket(&self, proxies: &Proxies) -> Option<websocket::Settings> {
        let origins = self.websockets_origins.as_deref().unwrap_or_default().split(',');
        let origins = origins.map(str::trim).filter(|origin| !origin.is_empty());
        (self.protocol == Protocol::Websockets).then(|| websocket::Settings {
            origins: origins.map(Box::from).collect(),
            request_bytes_max: self.websockets_request_bytes_max,
            proxies: proxies.clone(),
        })
    }

    fn terms(&self) -> Result<Terms, Wrong> {
        let mount_point = self.mount_point.as_deref().map(str::parse::<MountPoint>).transpose();
        let mount_point =
            mount_point.map_err(|error| (&["mount_point"][..], format!(": {error}")))?;
        let versions = self.accept_protocol_versions.parse::<Versions>();
        let versions =
            versions.map_err(|error| (&["accept_protocol_versions"][..], format!(": {error}")))?;
        let qos_max = QoS::new(self.max_qos).unwrap_or(QoS::ExactlyOnce);
        Ok(Terms { mount_point, qos_max, versions })
    }

    fn addresses(&self) -> Result<Vec<Address>, Wrong> {
        match (&self.path, self.address, self.port) {
            (Some(path), None, None) if self.bind.is_none() && self.interface.is_none() => {
                Ok(vec![Address::Unix(self.unix(path)?)])
            }
            (None, Some(address), None) if self.bind.is_none() && self.interface.is_none() => {
                Ok(vec![Address::Ip(address)])
            }
            (None, None, Some(port)) => Ok(self
                .ips()?
                .into_iter()
                .map(|ip| Address::Ip(SocketAddr::new(ip, port)))
                .collect()),
            (Some(_), _, _) => Err((
                &["path"],
                "says it all: \"address\", \"port\", \"bind\" and \"interface\" must go".into(),
            )),
            (None, Some(_), _) => Err((
                &["address"],
                "says it all: \"port\", \"bind\" and \"interface\" must go".into(),
            )),
            (None, None, None) if self.bind.is_some() => {
                Err((&["bind"], "wants a \"port\" beside it".into()))
            }
            (None, None, None) if self.interface.is_some() => {
                Err((&["interface"], "wants a \"port\" beside it".into()))
            }
            (None, None, None) => {
                Err((&[], "this listener wants an \"address\", a \"port\" or a \"path\"".into()))
            }
        }
    }

    fn unix(&self, path: &Path) -> Result<UnixAddress, Wrong> {
        let found = fs::symlink_metadata(path);
        if found.is_ok_and(|found| !found.file_type().is_socket()) {
            let text = format!(": {} is there, and is no socket", path.display());
            return Err((&["path"], text));
        }
        let mode = self.path_mode.as_deref().map(|mode| {
            let number = u32::from_str_radix(mode, 8).ok().filter(|number| *number <= 0o777);
            number.ok_or_else(|| {
                let text = format!("takes up to three digits from 0 to 7, not {mode:?}");
                (&["path_mode"][..], text)
            })
        });
        let mode = mode.transpose()?.unwrap_or(SOCKET_MODE);
        Ok(UnixAddress { path: path.to_owned(), mode })
    }

    /// The addresses that go with a port.
    fn ips(&self) -> Result<Vec<IpAddr>, Wrong> {
        let every: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        let Some(name) = &self.interface else {
            return Ok(self.bind.map_or(every.to_vec(), |ip| vec![ip]));
        };
        let there = machine::interface_addresses(name)
            .map_err(|error| (&["interface"][..], format!(": {error}")))?;
        let first = |ipv4: bool| there.iter().find(move |ip| ip.is_ipv4() == ipv4).copied();
        let ips: Vec<IpAddr> = match self.bind {
            None => first(true).into_iter().chain(first(false)).collect(),
            Some(ip) if ip.is_unspecified() => first(ip.is_ipv4()).into_iter().collect(),
            Some(ip) => there.iter().copied().filter(|own| *own == ip).collect(),
        };
        if ips.is_empty() {
            let wanted = match self.bind {
                Some(ip) if !ip.is_unspecified() => format!("the address {ip}"),
                Some(ip) if ip.is_ipv6() => "an IPv6 address".to_owned(),
                Some(_) => "an IPv4 address".to_owned(),
                None => "an address".to_owned(),
            };
            return Err((&["interface"], format!(": {name} does not have {wanted}")));
        }
        Ok(ips)
    }
}

/// A mistake of the first of these options that was written, or of the listener as a whole.
fn at(written: &WrittenListener, options: &[&str], text: String) -> Mistake {
    let find = |name: &&str| written.settings.iter().rfind(|setting| setting.row.name == *name);
    match options.iter().find_map(find) {
        Some(setting) => {
            let gap = if text.starts_with(':') { "" } else { " " };
            let text = format!("\"{}\"{gap}{text}", setting.row.name);
            Mistake::new(setting.origin.clone(), text)
        }
        None => Mistake::new(written.origin.clone(), text),
    }
}
