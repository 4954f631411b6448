//! From what the lines say to what Martlet's own options say.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs};
use std::path::Path;

use crate::config::mosquitto::account;
use crate::config::mosquitto::reader::{Opened, Place, Read, Said, is_vital};
use crate::config::mosquitto::row::{How, Scope, Standing};
use crate::config::origin::{Mistake, Origin};
use crate::config::rows::{self, LISTENER};
use crate::config::value::Value;
use crate::config::written::{Setting, Written, WrittenBridge, WrittenListener};
use crate::privileges;

/// What was said, as Martlet's options; what does not go is added to `mistakes`.
pub(super) fn written(path: &str, read: &Read, mistakes: &mut Vec<Mistake>) -> Written {
    let mut pieces = pieces(&read.lines, mistakes);
    drop_wider_packets(&mut pieces);
    drop_shorter_stays(&mut pieces);
    drop_by_go_auth(&read.lines, &mut pieces);
    settle_rights(&read.lines, &mut pieces);
    check_shared(&pieces, mistakes);
    check_files(&pieces, mistakes);
    let of_broker = pieces.iter().filter(|(_, setting)| !rows::is_repeated(setting.row.section));
    let mut settings: Vec<Setting> = of_broker.map(|(_, setting)| setting.clone()).collect();
    settings.extend(keeping_unsaid(path, &settings));
    settings.extend(go_auth_unsaid(path, &read.lines, &settings));
    settings.extend(user_unsaid(path, &settings));
    let all: Vec<Setting> = pieces.iter().map(|(_, setting)| setting.clone()).collect();
    let account = account::of_lines(read, &all);
    Written {
        streams: Vec::new(),
        bridges: bridges(read, &pieces, mistakes),
        warnings: [warnings(read, &settings), unread_rights(&read.lines, &all)].concat(),
        settings,
        listeners: listeners(read, &pieces, mistakes),
        local: settings_of(&pieces, Place::Everywhere),
        notices: read.notices.iter().cloned().chain(without_effect(path, read)).collect(),
        account: Some(account),
    }
}

/// What the log says once of all lines that change nothing.
fn without_effect(path: &str, read: &Read) -> Option<String> {
    let changes_nothing = |said: &&Said| matches!(said.row.standing, Standing::NoEffect(_));
    let count = read.lines.iter().filter(changes_nothing).count();
    let text = format!(
        "{path}: {count} lines have no effect here; `martlet compat-report {path}` says which and \
         why."
    );
    (count > 0).then_some(text)
}

/// What does not do what its writer may think.
fn warnings(read: &Read, settings: &[Setting]) -> Vec<String> {
    let default_opens = read.opens && read.default.is_some();
    let for_nobody = read.lines.iter().filter(|said| {
        said.place == Place::DefaultListener && !default_opens && said.row.name != "socket_domain"
    });
    let mut warnings: Vec<String> = for_nobody
        .map(|Said { row, origin, .. }| {
            let name = row.name;
            format!("{origin}: \"{name}\" has no \"listener\" above it, and applies to none.")
        })
        .collect();
    warnings.extend(left_behind(read, settings));
    warnings
}

/// What mosquitto has kept is in a file that Martlet does not read.
fn left_behind(read: &Read, settings: &[Setting]) -> Option<String> {
    let value = |section: &str, name: &str| {
        let of = |setting: &&Setting| (setting.row.section, setting.row.name) == (section, name);
        settings.iter().rfind(of).map(|setting| setting.value.words())
    };
    let says = |said: &&Said| said.row.name == "persistence_file";
    let file = read.lines.iter().rfind(says).map_or("mosquitto.db", |said| &said.value);
    let path = Path::new(&*value("data", "dir")?).join(file);
    (value("data", "sync")? == "always" && path.exists()).then(|| {
        let path = path.display();
        format!(
            "{path} is not read: sessions and retained messages that mosquitto kept there stay \
             behind. Rename the file once nobody needs it."
        )
    })
}

type Piece = (Place, Setting);

/// Every option that is set, with those for whom it is.
fn pieces(lines: &[Said], mistakes: &mut Vec<Mistake>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (at, said) in lines.iter().enumerate() {
        let same = |other: &&Said| (other.row.name, other.place) == (said.row.name, said.place);
        if lines[at + 1..].iter().any(|later| same(&later)) {
            continue;
        }
        let values: Vec<&str> = lines.iter().filter(same).map(|said| &*said.value).collect();
        match said.setting(&values) {
            Ok(setting) => pieces.extend(setting.map(|setting| (said.place, setting))),
            Err(text) => {
                let text = format!("\"{}\" {text}", said.row.name);
                mistakes.push(Mistake::new(said.origin.clone(), text));
            }
        }
    }
    pieces
}

/// Two options of mosquitto bound the packet, one of them by its payload: the smaller bound holds.
fn drop_wider_packets(pieces: &mut Vec<Piece>) {
    let bound = |(_, setting): &Piece| match (setting.row.name, &setting.value) {
        ("packet_size_max", Value::Integer(bytes)) => Some(*bytes),
        _ => None,
    };
    let smallest = pieces.iter().filter_map(bound).min();
    pieces.retain(|piece| bound(piece).is_none() || bound(piece) == smallest);
}

/// Two options of go-auth tell what the end of a token means: who ignores it at the door does so
/// behind it.
fn drop_shorter_stays(pieces: &mut Vec<Piece>) {
    let is_expiry = |(_, setting): &Piece| setting.row.name == "expiry";
    let ignored = |piece: &Piece| is_expiry(piece) && piece.1.value.words() == "ignore";
    if pieces.iter().any(ignored) {
        pieces.retain(|piece| !is_expiry(piece) || ignored(piece));
    }
}

/// Whether go-auth was told this; the last word counts.
fn go_auth_says(lines: &[Said], name: &str) -> bool {
    lines.iter().rfind(|said| said.row.name == name).is_some_and(|said| said.value == "true")
}

/// What go-auth was told not to do.
fn drop_by_go_auth(lines: &[Said], pieces: &mut Vec<Piece>) {
    if go_auth_says(lines, "disable_superuser") {
        pieces.retain(|(_, setting)| !setting.row.name.ends_with("superuser_uri"));
    }
    if !go_auth_says(lines, "cache") {
        pieces
            .retain(|(_, setting)| !matches!(setting.row.name, "login_cache_s" | "right_cache_s"));
    }
}

/// Options of go-auth that name a file with rights.
const ACL_PATHS: &[&str] = &["files_acl_path", "acl_path", "jwt_files_acl_path", "jwt_acl_path"];

/// A file that mosquitto itself is given decides before any plug-in is asked; one of go-auth's is
/// read as go-auth does.
fn settle_rights(lines: &[Said], pieces: &mut Vec<Piece>) {
    for plugin in lines.iter().filter(|said| said.row.name == "backends") {
        let place = plugin.place;
        let here = |said: &&Said| said.place == place || said.place == Place::Everywhere;
        let own = |said: &&Said| said.row.name == "acl_file" && said.row.scope != Scope::Plugin;
        let theirs = |said: &&Said| ACL_PATHS.contains(&said.row.name) && said.place == place;
        let (own, theirs) = (lines.iter().filter(here).rfind(own), lines.iter().rfind(theirs));
        let (name, value, origin) = match (own, theirs) {
            (Some(own), _) => {
                let file = |setting: &Setting| setting.row.name == "acl_file";
                pieces.retain(|(at, setting)| {
                    *at != place || !file(setting) || setting.origin == own.origin
                });
                ("acl_file_decides", Value::Bool(true), &own.origin)
            }
            (None, Some(theirs)) => ("acl_dialect", Value::Text("go-auth".into()), &theirs.origin),
            (None, None) => continue,
        };
        let row = rows::find(LISTENER, name).expect("there is such an option");
        pieces.push((place, Setting { row, value, origin: origin.clone() }));
    }
}

/// Files of go-auth's that are not read.
fn unread_rights(lines: &[Said], pieces: &[Setting]) -> Vec<String> {
    let decides = pieces.iter().any(|setting| setting.row.name == "acl_file_decides");
    let paths = lines.iter().filter(|said| ACL_PATHS.contains(&said.row.name));
    let unread =
        paths.filter(|said| decides && !pieces.iter().any(|setting| setting.origin == said.origin));
    let text = |said: &Said| {
        let origin = &said.origin;
        format!("{origin}: this file is not read: with \"acl_file\" mosquitto itself decides.")
    };
    unread.map(text).collect()
}

/// What holds for go-auth where nothing is said, and not for Martlet by itself.
fn go_auth_unsaid(path: &str, lines: &[Said], said: &[Setting]) -> Vec<Setting> {
    if !lines.iter().any(|said| said.row.name == "backends") {
        return Vec::new();
    }
    let no_cache = "without \"auth_opt_cache true\" go-auth remembers nothing";
    let trust = "without \"verify_peer true\" go-auth looks at no certificate";
    let by_name = "go-auth takes tokens for user names";
    let (number, no) = (|| Value::Integer(0), || Value::Bool(false));
    let forgets = !go_auth_says(lines, "cache");
    let unsaid = [
        ("auth_http", "login_cache_s", number(), no_cache, forgets),
        ("auth_http", "right_cache_s", number(), no_cache, forgets),
        ("auth_http", "verify_peer", no(), trust, true),
        ("auth_jwt", "remote_verify_peer", no(), trust, true),
        ("auth_jwt", "place", Value::Text("user_name".into()), by_name, true),
    ];
    let unsaid = unsaid.into_iter().filter(|(.., wanted)| *wanted);
    let settings = unsaid.map(|(section, name, value, because, _)| {
        let row = rows::find(section, name).expect("there is such an option");
        Setting { row, value, origin: Origin::Unsaid { path: path.to_owned(), because } }
    });
    settings.filter(|setting| !said.iter().any(|other| other.row == setting.row)).collect()
}

/// A listener has one file with passwords and one with rights, and mosquitto and its plug-ins may
/// have been given one each.
fn check_files(pieces: &[Piece], mistakes: &mut Vec<Mistake>) {
    let is_file = |setting: &Setting| matches!(setting.row.name, "password_file" | "acl_file");
    for (at, (place, setting)) in pieces.iter().enumerate().filter(|(_, (_, s))| is_file(s)) {
        let other = pieces[..at].iter().find(|(other, earlier)| {
            other == place && earlier.row == setting.row && earlier.value != setting.value
        });
        if let Some((_, other)) = other {
            let text = format!(
                "Martlet has one \"{}\" for a listener, and another one stands at {}",
                setting.row.name, other.origin
            );
            mistakes.push(Mistake::new(setting.origin.clone(), text));
        }
    }
}

impl Said {
    /// What the last line of an option sets, if it sets anything.
    fn setting(&self, values: &[&str]) -> Result<Option<Setting>, String> {
        let Standing::Kept { section, name, how } = self.row.standing else { return Ok(None) };
        let value = match how {
            How::Same => Some(self.value.clone()),
            How::Words(words) => {
                let word = words.iter().find(|(word, _)| *word == self.value);
                word.map(|(_, meant)| (*meant).to_owned())
            }
            How::By(compute) => compute(&self.value)?,
            How::All(compute) => compute(values)?,
        };
        let row = rows::find(section, name).expect("a test looks up every option that is named");
        let origin = self.origin.clone();
        value
            .map(|value| Ok(Setting { row, value: row.parse(Cow::Owned(value))?, origin }))
            .transpose()
    }
}

/// Where Martlet has one value for all listeners, mosquitto may have been told several.
fn check_shared(pieces: &[Piece], mistakes: &mut Vec<Mistake>) {
    let shared = |setting: &Setting| !rows::is_repeated(setting.row.section);
    for (at, (place, setting)) in pieces.iter().enumerate() {
        let earlier = pieces[..at].iter().find(|(other, earlier)| {
            other != place && earlier.row == setting.row && earlier.value != setting.value
        });
        if let Some((_, earlier)) = earlier.filter(|_| shared(setting)) {
            let text = format!(
                "Martlet has one value for all listeners here, and another one stands at {}",
                earlier.origin
            );
            mistakes.push(Mistake::new(setting.origin.clone(), text));
        }
    }
}

/// Without `persistence true` mosquitto keeps nothing.
fn keeping_unsaid(path: &str, settings: &[Setting]) -> Option<Setting> {
    let row = rows::find("data", "sync").expect("there is an option that says when data is safe");
    let said = settings.iter().any(|setting| setting.row == row);
    let unsaid = "without \"persistence true\" mosquitto keeps nothing";
    let origin = Origin::Unsaid { path: path.to_owned(), because: unsaid };
    (!said).then(|| Setting { row, value: Value::Text("off".into()), origin })
}

/// Started by root, mosquitto becomes a user of its own.
fn user_unsaid(path: &str, settings: &[Setting]) -> Option<Setting> {
    let row = rows::find("process", "user").expect("there is an option that names the user");
    let said = settings.iter().any(|setting| setting.row == row);
    let unsaid = "without \"user\" mosquitto becomes this one";
    let origin = Origin::Unsaid { path: path.to_owned(), because: unsaid };
    (!said).then(|| Setting { row, value: Value::Text(privileges::OF_MOSQUITTO.into()), origin })
}

fn listeners(read: &Read, pieces: &[Piece], mistakes: &mut Vec<Mistake>) -> Vec<WrittenListener> {
    let mut written = Vec::new();
    if !read.opens {
        return written;
    }
    let default = read.default.iter().map(|opened| (Place::DefaultListener, opened));
    let others = (0..).map(Place::Listener).zip(&read.listeners);
    for (place, opened) in default.chain(others) {
        let settings = settings_of(pieces, place);
        match opened.addresses(read.domain(place)) {
            Ok(ips) => written.extend(ips.into_iter().map(|ip| opened.written(ip, &settings))),
            Err(text) => mistakes.push(Mistake::new(opened.origin.clone(), text)),
        }
    }
    written
}

fn bridges(read: &Read, pieces: &[Piece], mistakes: &[Mistake]) -> Vec<WrittenBridge> {
    let bridges = (0..).map(Place::Bridge).zip(&read.bridges);
    let written = bridges.map(|(place, (origin, _))| {
        let there = pieces.iter().filter(|(at, _)| *at == place);
        let broken = read.may_lack_by_mistake(place, mistakes);
        let settings = there.map(|(_, setting)| setting.clone()).collect();
        WrittenBridge { origin: origin.clone(), settings, broken }
    });
    written.collect()
}

/// What holds for a listener: what is said for all, then what is said for it.
fn settings_of(pieces: &[Piece], place: Place) -> Vec<Setting> {
    let of = |wanted: Place| {
        let there = move |(at, setting): &&Piece| *at == wanted && setting.row.section == LISTENER;
        pieces.iter().filter(there).map(|(_, setting)| setting.clone())
    };
    let own = (place != Place::Everywhere).then(|| of(place));
    of(Place::Everywhere).chain(own.into_iter().flatten()).collect()
}

impl Read {
    /// Whether what a connection lacks may be what has a mistake.
    fn may_lack_by_mistake(&self, connection: Place, mistakes: &[Mistake]) -> bool {
        let vital = |said: &&Said| said.place == connection && is_vital(said.row.name);
        let mut vital = self.lines.iter().filter(vital);
        self.unread.contains(&connection)
            || vital.any(|said| mistakes.iter().any(|mistake| mistake.origin == said.origin))
    }

    /// What `socket_domain` says.
    fn domain(&self, place: Place) -> Option<&str> {
        let says = |said: &&Said| said.row.name == "socket_domain" && said.place == place;
        self.lines.iter().rfind(says).map(|said| &*said.value)
    }
}

impl Opened {
    /// Where to listen; `None` is every address.
    fn addresses(&self, domain: Option<&str>) -> Result<Vec<Option<IpAddr>>, String> {
        let Some(host) = &self.host else {
            return Ok(vec![match domain {
                Some("ipv4") => Some(Ipv4Addr::UNSPECIFIED.into()),
                Some("ipv6") => Some(Ipv6Addr::UNSPECIFIED.into()),
                _ => None,
            }]);
        };
        if self.port == 0 {
            return Ok(vec![None]); // the path of a Unix socket
        }
        let found = (host.as_str(), self.port).to_socket_addrs().map_err(|error| {
            format!("{host:?} is no address, and no name that this machine knows: {error}")
        })?;
        let mut ips: Vec<IpAddr> = found.map(|address| address.ip()).collect();
        ips.retain(|ip| domain.is_none_or(|domain| (domain == "ipv4") == ip.is_ipv4()));
        ips.sort_unstable();
        ips.dedup();
        if ips.is_empty() {
            let domain = domain.unwrap_or("IP");
            return Err(format!("{host:?} has no {domain} address"));
        }
        Ok(ips.into_iter().map(Some).collect())
    }

    fn written(&self, ip: Option<IpAddr>, settings: &[Setting]) -> WrittenListener {
        let set = |name, value| {
            let row = rows::find(LISTENER, name).expect("a listener has this option");
            Setting { row, value, origin: self.origin.clone() }
        };
        let named = self.host.as_ref().is_some_and(|host| host.parse::<IpAddr>().is_ok());
        let bind = ip.map(|ip| set("bind", Value::Text(ip.to_string().into())));
        let place = match &self.host {
            Some(path) if self.port == 0 => set("path", Value::Text(path.clone().into())),
            _ => set("port", Value::Integer(self.port.into())),
        };
        WrittenListener {
            origin: self.origin.clone(),
            settings: [place].into_iter().chain(bind).chain(settings.iter().cloned()).collect(),
            broken: false,
            unnamed: ip.is_some() && !named,
        }
    }
}
