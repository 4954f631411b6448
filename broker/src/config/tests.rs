use std::ffi::OsString;
use std::path::Path;
use std::sync::OnceLock;

use martlet_engine::counters::Bound;
use martlet_engine::figures::FIGURES;

use super::*;
use crate::config::rows::{self, BRIDGE, LISTENER, Row, TELEMETRY};
use crate::config::tls_rows;
use crate::config::value::{Kind, Value};
#[cfg(feature = "parquet")]
use crate::telemetry::columns::ColumnKind;

fn file(text: &str) -> (tempfile::TempDir, Sources) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("martlet.toml");
    std::fs::write(&path, text).unwrap();
    (dir, Sources { file: Some(path), ..Sources::default() })
}

fn load_text(text: &str) -> Result<Resolved, Mistakes> {
    let (_dir, sources) = file(text);
    load(&sources)
}

/// The mistakes of a file, without the directory that it is in.
fn mistakes(text: &str) -> Vec<String> {
    let (dir, sources) = file(text);
    let prefix = format!("{}/", dir.path().display());
    let mistakes = load(&sources).expect_err("mistakes").0;
    mistakes.iter().map(|mistake| mistake.to_string().replace(&prefix, "")).collect()
}

fn addresses(config: &Config) -> Vec<String> {
    config.server.listeners.iter().map(|(listener, _)| listener.address.to_string()).collect()
}

#[test]
fn nothing_said_is_local_only_with_the_engines_own_defaults() {
    let config = load(&Sources::default()).unwrap().config;
    assert!(config.local_only);
    assert_eq!(addresses(&config), ["127.0.0.1:1883", "[::1]:1883"]);
    assert_eq!(config.optional_addresses, ["[::1]:1883".parse().unwrap()]);
    assert!(config.server.listeners.iter().all(|(_, policy)| policy.settings().allow_anonymous));
    assert_eq!(config.data_dir, Path::new("./martlet-data"));
    assert!(config.warnings.is_empty());
    let limits = config.server.driver.limits;
    let expected = Limits {
        queue_bytes_max: 67_108_864,
        inflight_bytes_max: 67_108_864,
        hash_seed: limits.hash_seed,
        broker_id: limits.broker_id,
        ..Limits::default()
    };
    assert_eq!(limits, expected);
}

#[test]
fn who_says_how_many_are_in_flight_says_it_of_qos_2_as_well() {
    let rows = [
        ("", (256, 20)),
        ("inflight_max = 7", (7, 7)),
        ("inflight_max = 1000", (1000, 1000)),
        ("inflight_qos2_max = 7", (256, 7)),
        ("inflight_max = 1000\ninflight_qos2_max = 7", (1000, 7)),
    ];
    for (text, expected) in rows {
        let resolved = load_text(&format!("[limits]\n{text}")).unwrap();
        let shown = load_text(&resolved.show()).unwrap();
        for limits in [resolved, shown].map(|resolved| resolved.config.server.driver.limits) {
            assert_eq!((limits.inflight_max, limits.inflight_qos2_max), expected, "{text}");
        }
    }
    let (_dir, mut sources) = file("[limits]\ninflight_max = 7\n");
    sources.variables = vec![("MARTLET_LIMITS__INFLIGHT_MAX".into(), "9".into())];
    let limits = load(&sources).unwrap().config.server.driver.limits;
    assert_eq!((limits.inflight_max, limits.inflight_qos2_max), (9, 9), "the last word");
}

#[test]
fn ports_of_the_command_line_are_for_local_only_mode() {
    let (_dir, mut sources) = file("[[listener]]\nport = 1884\n");
    sources.ports = vec![1885, 1886];
    let config = load(&sources).unwrap().config;
    assert_eq!(addresses(&config), ["0.0.0.0:1884", "[::]:1884"]);
    assert!(config.warnings[0].ends_with("-p is ignored."), "{:?}", config.warnings);
    let alone = Sources { ports: vec![1885, 1886], ..Sources::default() };
    let expected = ["127.0.0.1:1885", "[::1]:1885", "127.0.0.1:1886", "[::1]:1886"];
    assert_eq!(addresses(&load(&alone).unwrap().config), expected);
    let twice = Sources { ports: vec![1885, 1885], ..Sources::default() };
    let said = load(&twice).expect_err("twice").to_string();
    assert!(said.starts_with("command line -p: 127.0.0.1:1885 is taken by"), "{said}");
}

#[test]
fn listeners_and_their_addresses() {
    let config = load_text(
        "[[listener]]\naddress = '192.0.2.1:1883'\nallow_anonymous = true\nmax_connections = 7\n\
         [[listener]]\nport = 1884\nbind = '::1'\ntcp_nodelay = false\n\
         [[listener]]\nport = 0\n[[listener]]\nport = 0\n",
    )
    .unwrap()
    .config;
    let expected = ["192.0.2.1:1883", "[::1]:1884", "0.0.0.0:0", "[::]:0", "0.0.0.0:0", "[::]:0"];
    assert_eq!(addresses(&config), expected);
    assert_eq!(config.optional_addresses, ["[::]:0".parse().unwrap(), "[::]:0".parse().unwrap()]);
    let (first, policy) = &config.server.listeners[0];
    assert_eq!((first.tcp_nodelay, first.connections_max), (true, Some(7)));
    assert!(policy.settings().allow_anonymous);
    let (second, policy) = &config.server.listeners[1];
    assert_eq!((second.tcp_nodelay, second.connections_max), (false, None));
    assert!(
        !policy.settings().allow_anonymous,
        "anonymous clients are refused where there is a listener"
    );
}

#[test]
fn a_broker_that_nobody_can_enter_is_worth_a_warning() {
    let config = load_text("[[listener]]\nport = 1883\n").unwrap().config;
    assert!(config.warnings[0].starts_with("No client can connect"), "{:?}", config.warnings);
}

#[test]
fn a_queue_that_cannot_hold_the_largest_message_is_worth_a_warning() {
    for (text, expected) in [
        ("packet_size_max = 100000000", "2:19: \"queue_bytes_max\" (67108864) is below"),
        ("queue_bytes_max = 1", "2:19: \"queue_bytes_max\" (1) is below \"packet_size_max\" (16"),
    ] {
        let warnings = load_text(&format!("[limits]\n{text}")).unwrap().config.warnings;
        assert!(warnings[0].contains(&format!("martlet.toml:{expected}")), "{warnings:?}");
    }
}

#[test]
fn all_mistakes_come_at_once_in_the_order_of_their_places() {
    let said = mistakes(
        "inflight_max = 5\n\
         [limits]\n\
         max_inflght = 5\n\
         received_max = 0\n\
         queue_qos0 = 'true'\n\
         queue_bytes_max = 1.5\n\
         [logg]\n\
         [[listener]]\n\
         port = 1883\n\
         [[listener]]\n\
         address = '127.0.0.1:1883'\n\
         [[listener]]\n\
         allow_anonymous = true\n\
         [log]\n\
         level = 'loud'\n",
    );
    let expected = [
        "martlet.toml:1:1: \"inflight_max\" stands outside of a section; put \"inflight_max\" \
         under [limits]",
        "martlet.toml:3:1: unknown option \"max_inflght\" in [limits]; did you mean \
         \"inflight_max\"?",
        "martlet.toml:4:16: \"received_max\" takes a whole number from 1 to 65535, not 0",
        "martlet.toml:5:14: \"queue_qos0\" takes true or false, not \"true\"; write it without \
         quotes",
        "martlet.toml:6:19: \"queue_bytes_max\" takes a whole number of at least 0, not 1.5",
        "martlet.toml:7:2: unknown section [logg]; did you mean [log]?",
        "martlet.toml:10:1: 127.0.0.1:1883 is taken by the listener on 0.0.0.0:1883 \
         (martlet.toml:8:1)",
        "martlet.toml:12:1: this listener wants an \"address\", a \"port\" or a \"path\"",
        "martlet.toml:15:9: \"level\" takes one of \"error\", \"warn\", \"info\", \"debug\", \
         \"trace\", not \"loud\"",
    ];
    assert_eq!(said, expected);
}

/// A file and its one mistake.
const ONE_MISTAKE: &[(&str, &str)] = &[
    ("[listener]\nport = 1", "1:2: a listener begins with [[listener]], in double brackets"),
    ("listener = [1]", "1:13: a listener begins with [[listener]], in double brackets"),
    (
        "[limits]\nmax_inflight_messages = 1",
        "2:1: unknown option \"max_inflight_messages\" in \
          [limits]; did you mean \"inflight_max\"?",
    ),
    (
        "[limits]\nlevel = 'info'",
        "2:1: unknown option \"level\" in [limits]; \"level\" belongs \
          in [log]",
    ),
    ("[sys]\ncolour = 1", "2:1: unknown option \"colour\" in [sys]; it has: interval_s, clients"),
    (
        "[colours]",
        "1:2: unknown section [colours]; there are: listener, access, auth_jwt, auth_http, \
          limits, clients, http, log, sys, data, telemetry, bridge, process",
    ),
    (
        "max_inflight = 1",
        "1:1: unknown option \"max_inflight\" outside of a section; did you \
          mean \"inflight_max\" in [limits]?",
    ),
    ("colour = 1", "1:1: unknown option \"colour\" outside of a section"),
    (
        "allow_anonymous = true",
        "1:1: \"allow_anonymous\" stands outside of a section; put \"allow_anonymous\" under \
         [[listener]]",
    ),
    (
        "[limits]\nallow_anonymous = true",
        "2:1: unknown option \"allow_anonymous\" in [limits]; \"allow_anonymous\" belongs in \
         [[listener]]",
    ),
    (
        "[limits]\ninflight_max = [1]",
        "2:16: \"inflight_max\" takes a whole number from 1 to \
          65535, not a list",
    ),
    (
        "[limits]\ninflight_max = 99999999999999999999",
        "2:16: \"inflight_max\" takes a whole \
          number from 1 to 65535, not 99999999999999999999 (too large)",
    ),
    (
        "[limits]\ninflight_max = 0x10000",
        "2:16: \"inflight_max\" takes a whole number from 1 \
          to 65535, not 65536",
    ),
    ("[data]\ndir = 2026-01-01", "2:7: \"dir\" takes a path, not a date or time"),
    (
        "[[listener]]\nport = 1\nprotocol = 'mqttsn'",
        "3:12: \"protocol\" takes one of \"mqtt\", \"websockets\", \
          not \"mqttsn\"",
    ),
    (
        "[[listener]]\nport = 1\naddress = '[::1]:2'",
        "3:11: \"address\" says it all: \"port\", \"bind\" and \"interface\" must go",
    ),
    ("[[listener]]\nbind = '::1'", "2:8: \"bind\" wants a \"port\" beside it"),
    ("[[listener]]\ninterface = 'lo'", "2:13: \"interface\" wants a \"port\" beside it"),
    (
        "[[listener]]\nport = 1\ninterface = 'lo'\nbind = '192.0.2.1'",
        "3:13: \"interface\": lo does not have the address 192.0.2.1",
    ),
    (
        "[[listener]]\nport = 1\npath = '/run/martlet.sock'",
        "3:8: \"path\" says it all: \"address\", \"port\", \"bind\" and \"interface\" must go",
    ),
    ("[[listener]]\npath = '/etc/passwd'", "2:8: \"path\": /etc/passwd is there, and is no socket"),
    (
        "[[listener]]\npath = '/run/martlet.sock'\npath_mode = '0999'",
        "3:13: \"path_mode\" takes up to three digits from 0 to 7, not \"0999\"",
    ),
    ("[[listener]]\nport = 1\npath_mode = '660'", "3:13: \"path_mode\" wants a \"path\" beside it"),
    (
        "[[listener]]\nport = 1\nwebsockets_origins = 'https://a.example'",
        "3:22: \"websockets_origins\" wants protocol \"websockets\" beside it",
    ),
    (
        "[[listener]]\nport = 1\nproxy_protocol = 'v1'\nproxy_protocol_require_tls = true",
        "4:30: \"proxy_protocol_require_tls\" wants version 2 of the PROXY protocol: version 1 \
         does not speak of TLS",
    ),
    (
        "[[listener]]\nport = 1\nproxies = '10.0.0.0/8'",
        "3:11: \"proxies\" wants \"proxy_protocol\" or protocol \"websockets\" beside it",
    ),
    (
        "[[listener]]\nport = 1\nproxy_protocol = 'v2'\nproxies = 'proxy.example'",
        "4:11: \"proxies\": \"proxy.example\" is no address and no network such as 10.0.0.0/8",
    ),
    (
        "[[listener]]\nport = 1\nmount_point = 'site'",
        "3:15: \"mount_point\": a mount point ends with a slash, so that # below it is all that is \
         there",
    ),
    (
        "[[listener]]\nport = 1\naccept_protocol_versions = '5'",
        "3:28: \"accept_protocol_versions\": without 3 or 4 nobody could connect: MQTT 5.0 is not \
         spoken yet",
    ),
    (
        "[[listener]]\naddress = 'localhost:1'",
        "2:11: \"address\" takes an IP address with a \
          port such as \"0.0.0.0:1883\" or \"[::]:1883\", not \"localhost:1\"",
    ),
];

#[test]
fn an_interface_that_is_not_there_is_a_mistake_with_those_that_are() {
    let said = mistakes("[[listener]]\nport = 1\ninterface = 'no-such-0'").concat();
    let start = "martlet.toml:3:13: \"interface\": this machine has no network interface no-such-0";
    assert!(said.starts_with(start) && said.contains("lo"), "{said}");
}

#[test]
fn one_mistake_each() {
    for (text, expected) in ONE_MISTAKE {
        assert_eq!(mistakes(text), [format!("martlet.toml:{expected}")], "{text}");
    }
}

#[test]
fn syntax_errors_have_places_and_hide_no_other_mistake() {
    let said = mistakes("[limits]\ninflight_max = \nreceived_max = 0\n[limits]\n");
    assert!(said.iter().any(|line| line.starts_with("martlet.toml:2:")), "{said:#?}");
    assert!(said.iter().any(|line| line.starts_with("martlet.toml:3:16: \"received_max\"")));
    assert!(said.iter().any(|line| line.starts_with("martlet.toml:4:")), "{said:#?}");
    let twice = mistakes("[sys]\ninterval_s = 1\ninterval_s = 2\n");
    assert_eq!(twice, ["martlet.toml:3:1: duplicate key"]);
}

#[test]
fn files_that_are_no_configuration() {
    let (dir, sources) = file("");
    let path = sources.file.clone().unwrap();
    let rows: &[(&[u8], &str)] = &[
        (b"# caf\xe9\n", ":1:6: is not UTF-8 text from here on: save it as UTF-8"),
        (b"[limits]\n\xff", ":2:1: is not UTF-8 text from here on: save it as UTF-8"),
    ];
    for (bytes, expected) in rows {
        std::fs::write(&path, bytes).unwrap();
        let said = load(&sources).expect_err("not UTF-8").to_string();
        assert!(said.ends_with(expected), "{said}");
    }
    std::fs::write(&path, vec![b' '; 5 << 20]).unwrap();
    assert!(load(&sources).expect_err("too long").to_string().contains("is no configuration file"));
    for path in [dir.path().to_path_buf(), dir.path().join("missing.toml")] {
        let sources = Sources { file: Some(path), ..Sources::default() };
        let said = load(&sources).expect_err("no file").to_string();
        assert!(said.contains(": cannot be read: "), "{said}");
    }
}

#[test]
fn no_text_makes_it_panic_and_every_mistake_has_its_place() {
    let whole = load(&Sources::default()).unwrap().show();
    let pieces =
        ["[[", "]", "\"", "'''", "=", "\n", ".", "{", "}", "0x", "-", "1e9", "\u{0}", "é", "#"];
    let mut random = 1_u64;
    let mut below = |bound: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(random >> 33).unwrap() % bound
    };
    for _ in 0..1000 {
        let mut text: Vec<char> = whole.chars().collect();
        for _ in 0..=below(4) {
            let at = below(text.len());
            let end = (at + below(3)).min(text.len());
            text.splice(at..end, pieces[below(pieces.len())].chars());
        }
        let text: String = text.into_iter().collect();
        let mut mistakes = Vec::new();
        let written = written::parse("a.toml", &text, &mut mistakes);
        let layers = Layers { written, ..Layers::default() };
        layers.merge().unwrap();
        for mistake in mistakes {
            let said = mistake.to_string();
            let place = said.strip_prefix("a.toml:").and_then(|rest| rest.split(':').next());
            let line: usize = place.expect(&said).parse().expect(&said);
            assert!((1..=text.matches('\n').count() + 1).contains(&line), "{said}\n{text}");
        }
    }
}

#[test]
fn files_of_other_systems_load() {
    let config = load_text("\u{feff}[limits]\r\ninflight_max = 7\r\n").unwrap().config;
    assert_eq!(config.server.driver.limits.inflight_max, 7);
    assert_eq!(mistakes("\u{feff}inflight_max = 7")[0].find(":1:1: "), Some("martlet.toml".len()));
}

#[test]
fn the_later_voice_wins_and_show_names_it() {
    let (_dir, mut sources) =
        file("[limits]\ninflight_max = 2\nreceived_max = 2\n[log]\nlevel = 'warn'");
    let variable = |name: &str, value: &str| (OsString::from(name), OsString::from(value));
    sources.variables = vec![
        variable("MARTLET_LIMITS__INFLIGHT_MAX", "3"),
        variable("MARTLET_LOG__LEVEL", "error"),
    ];
    let level = Override { option: "-v", section: "log", name: "level", value: "debug".into() };
    sources.overrides = vec![level];
    let resolved = load(&sources).unwrap();
    let limits = &resolved.config.server.driver.limits;
    assert_eq!((limits.inflight_max, limits.received_max), (3, 2));
    assert_eq!(resolved.config.log.kinds, logging::Level::Debug.kinds());
    let shown = resolved.show();
    let line = |name: &str| {
        let line = shown.lines().find(|line| line.starts_with(name)).expect(name);
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        line("inflight_max"),
        "inflight_max = 3 # environment variable MARTLET_LIMITS__INFLIGHT_MAX"
    );
    assert!(line("received_max").ends_with("martlet.toml:3:16"), "{}", line("received_max"));
    assert_eq!(line("level"), "level = \"debug\" # command line -v");
    assert_eq!(line("sessions_max"), "sessions_max = 1000000 # default");
}

#[test]
fn mistakes_of_the_environment_come_with_those_of_the_file() {
    let (_dir, mut sources) = file("[limits]\ninflight_max = 0\n");
    sources.variables = vec![("MARTLET_LOG__LEVEL".into(), "loud".into())];
    let said = load(&sources).expect_err("two mistakes").0;
    assert_eq!(said.len(), 2);
    assert!(said[1].to_string().starts_with("environment variable MARTLET_LOG__LEVEL: takes one"));
}

/// A folder with a certificate, its key, and a list of revoked ones.
fn tls_folder() -> String {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let key_pem = key.serialize_pem();
        let issuer = rcgen::CertifiedIssuer::self_signed(params, key).unwrap();
        let list = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2020, 1, 1),
            next_update: rcgen::date_time_ymd(2120, 1, 1),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&issuer).unwrap().pem().unwrap();
        for (name, pem) in [("crt", issuer.pem()), ("key", key_pem), ("crl", list)] {
            std::fs::write(folder.path().join(name), pem).unwrap();
        }
        folder
    });
    folder.path().display().to_string()
}

/// The file for an option that wants one.
fn tls_file(option: &str) -> Option<String> {
    let name = match option {
        "certfile" | "cafile" => "crt",
        "keyfile" => "key",
        "crlfile" => "crl",
        _ => return None,
    };
    Some(format!("{}/{name}", tls_folder()))
}

/// The lines that an option of TLS wants beside it.
fn tls_lines(but: &str) -> String {
    let lines = ["certfile", "keyfile", "cafile"].into_iter().filter(|name| *name != but);
    lines.map(|name| format!("{name} = \"{}\"\n", tls_file(name).unwrap())).collect()
}

/// Texts that mean something.
const TRANSPORT_VALUES: &[(&str, &str)] = &[
    ("path_mode", "640"),
    ("interface", "lo"),
    ("websockets_origins", "https://a.example, https://b.example:8443"),
    ("proxies", "10.0.0.0/8, ::1"),
    ("mount_point", "a b/"),
    ("accept_protocol_versions", "4"),
];

/// Where a listener listens, and what an option wants beside it.
fn transport_lines(option: &str) -> &'static str {
    match option {
        "address" | "port" | "path" => "",
        "path_mode" => "path = '/tmp/#/a b'\n",
        "websockets_origins" | "proxies" => "port = 1\nprotocol = 'websockets'\n",
        "proxy_protocol_require_tls" => "port = 1\nproxy_protocol = 'v2'\n",
        _ => "port = 1\n",
    }
}

/// A value that a row allows and that is not its default.
fn other_value(row: &Row) -> Value {
    let text = |text: &'static str| Value::Text(text.into());
    if let Some((_, words)) = TRANSPORT_VALUES.iter().find(|(name, _)| *name == row.name) {
        return text(words);
    }
    match (row.kind, &row.default) {
        (Kind::Bool, Some(Value::Bool(value))) => Value::Bool(!value),
        (Kind::Bool, None) => Value::Bool(false),
        (Kind::Text { .. }, _) if row.name == "origins" => text("https://a.example:1"),
        (Kind::Integer { max, .. }, _) => Value::Integer(max.min(i64::MAX - 1)),
        (Kind::Choice(_), _) if row.name == "seal" && !crate::telemetry::columnar::IS_BUILT => {
            text("off")
        }
        (Kind::Choice(words), _) => text(words[words.len() - 1]),
        (Kind::SocketAddress, _) => text("[2001:db8::1]:1"),
        (Kind::IpAddress, _) => text("192.0.2.7"),
        (Kind::Words(words), _) => Value::Text(format!(" {}", words[0]).into()),
        // These are read.
        (Kind::Path, _) if row.name.ends_with("file") && tls_file(row.name).is_some() => {
            Value::Text(tls_file(row.name).unwrap().into())
        }
        (Kind::Path, _) if row.name == "capath" => Value::Text(tls_folder().into()),
        // It is looked up.
        (Kind::Text { .. }, _) if row.name == "user" => text("root"),
        (Kind::Text { .. }, _) if row.name == "restart" => text("7 9"),
        (Kind::Text { .. }, _) if row.name == "ciphers" => text("HIGH"),
        (Kind::Text { .. }, _) if row.name == "ciphers_tls13" => text("TLS_AES_128_GCM_SHA256"),
        (Kind::Path, _) if row.name.ends_with("_file") => text("/dev/null"),
        (Kind::Text { .. } | Kind::Secret { .. }, _) => text("say \"hi\" \\ é"),
        (Kind::Path, _) => text("/tmp/#/a b"),
        (Kind::Keeping, _) => text("interval 250"),
        (Kind::LogKinds, _) => text("error, subscribe"),
        (Kind::LogDestinations, _) => text("syslog, file /tmp/a b.log"),
        (Kind::TimePattern, _) => text("%Y-%m-%d %H:%M:%S"),
        (Kind::Name, _) => text("another"),
        (Kind::Texts, _) if row.name == "addresses" => {
            Value::List(vec!["h".to_owned(), "[::1]:2".to_owned()])
        }
        (Kind::Texts, _) => Value::List(vec!["\"a b\" both 1 \"\" r/".to_owned()]),
        (Kind::Filters, _) => Value::List(vec!["a/+".to_owned(), "b \"c\"/#".to_owned()]),
        (Kind::Columns, _) => Value::Table(
            [("gps.Lat", "number"), ("t", "bool")]
                .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
                .into(),
        ),
        (kind, default) => panic!("{kind:?} with {default:?}"),
    }
}

/// What a bridge needs beside an option.
fn bridge_lines(option: &str) -> String {
    let cafile = format!("cafile = '{}'\n", tls_file("cafile").unwrap());
    let beside: &[&str] = match option {
        "insecure" | "alpn" | "tls_version" => &["cafile"],
        "certfile" => &["cafile", "keyfile"],
        "keyfile" => &["cafile", "certfile"],
        "remote_password" => &["remote_user"],
        _ => &[],
    };
    let lines = ["name", "addresses", "topics"].iter().chain(beside);
    let lines = lines.filter(|name| **name != option).map(|name| match *name {
        "name" | "remote_user" => format!("{name} = 'b'\n"),
        "addresses" => "addresses = ['h']\n".to_owned(),
        "topics" => "topics = ['#']\n".to_owned(),
        "cafile" => cafile.clone(),
        file => format!("{file} = '{}'\n", tls_file(file).unwrap()),
    });
    lines.collect()
}

#[test]
fn every_option_can_be_set_to_its_bounds_and_is_shown_as_it_was_set() {
    for row in rows::all() {
        let bounds = match row.kind {
            Kind::Integer { min, max } => vec![Value::Integer(min), Value::Integer(max)],
            _ => vec![other_value(row)],
        };
        for value in bounds {
            let line = format!("{} = {value}\n", row.name);
            let text = match (row.section, row.name) {
                (TELEMETRY, "name") => format!("[[telemetry]]\nfilters = ['#']\n{line}"),
                (TELEMETRY, "filters") => format!("[[telemetry]]\nname = 'n'\n{line}"),
                (TELEMETRY, _) => format!("[[telemetry]]\nname = 'n'\nfilters = ['#']\n{line}"),
                (BRIDGE, name) => format!("[[bridge]]\n{}{line}", bridge_lines(name)),
                (LISTENER, name) => {
                    let of_tls = tls_rows::ROWS.iter().any(|row| row.name == name);
                    let beside = if of_tls { tls_lines(name) } else { String::new() };
                    let asked = if name.starts_with("use_") && of_tls {
                        "client_certificates = 'required'\n"
                    } else {
                        ""
                    };
                    let place = transport_lines(name);
                    format!("[[listener]]\n{place}{beside}{asked}{line}")
                }
                ("http", "address") => format!("[http]\nallow_anonymous = true\n{line}"),
                (section, _) => format!("[{section}]\n{line}"),
            };
            let shown = load_text(&text).unwrap_or_else(|said| panic!("{text}{said}")).show();
            let start = format!("{} = {} ", row.name, row.shown(value));
            // The same option may stand in another section, with its default.
            let set = |line: &str| line.starts_with(&start) && line.contains("martlet.toml:");
            assert!(shown.lines().any(set), "{text}{shown}");
        }
    }
}

#[test]
fn what_show_prints_loads_as_the_same_configuration() {
    let mut everything = String::new();
    // What does not go with the others, and what is too small for them.
    let not_both = |row: &&Row| {
        let apart = ["address", "path", "path_mode", "interface", "secret", "packet_size_max"];
        !apart.contains(&row.name) && !row.name.starts_with("proxy_protocol")
    };
    for (section, _) in rows::SECTIONS {
        everything.push_str(&format!("{}\n", rows::header(section)));
        for row in rows::of(section).filter(not_both) {
            everything.push_str(&format!("{} = {}\n", row.name, other_value(row)));
        }
    }
    for text in ["", "[[listener]]\nport = 1\n[[listener]]\naddress = '[::1]:7'\n", &everything] {
        let first = load_text(text).unwrap();
        let second =
            load_text(&first.show()).unwrap_or_else(|said| panic!("{}{said}", first.show()));
        let all = |config: &Config| {
            let mut server = config.server.clone();
            server.driver.limits.hash_seed = 0;
            server.driver.limits.broker_id = 0;
            format!("{server:?} {:?} {:?}", config.log, config.data_dir)
        };
        assert_eq!(all(&first.config), all(&second.config), "{text}");
    }
}

#[test]
fn every_example_of_a_configuration_loads() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples");
    let examples = std::fs::read_dir(folder).expect("there are some");
    let mut count = 0;
    for example in examples.map(|entry| entry.expect("a file").path()) {
        let sources = Sources { file: Some(example.clone()), ..Sources::default() };
        load(&sources).unwrap_or_else(|said| panic!("{}: {said}", example.display()));
        count += 1;
    }
    assert!(count > 0);
}

#[test]
fn a_stream_says_what_it_lacks_and_where() {
    let good = "[[telemetry]]\nname = 'n'\nfilters = ['a/#', '$SYS/#']\nkeep_s = 60\n";
    let config = load_text(good).expect("good").config;
    assert_eq!(config.server.driver.streams[0].filters.len(), 2);
    assert_eq!(config.streams[0].keep, Some(Duration::from_secs(60)));
    assert_eq!(config.streams[0].keep_bytes, None);
    let filters = "\"filters\" takes a list of topic filters such as [\"sensors/#\"], not";
    let rows = [
        ("[[telemetry]]\n", "1:1: a stream wants a \"name\" and \"filters\""),
        ("[telemetry]\n", "1:2: a stream begins with [[telemetry]], in double brackets"),
        ("[[telemetry]]\nname = 'a/b'\n", "2:8: \"name\" takes a name of at most 64 letters"),
        ("[[telemetry]]\nfilters = []\n", &format!("2:11: {filters} []")),
        ("[[telemetry]]\nfilters = ['a#']\n", &format!("2:11: {filters} [\"a#\"]")),
        ("[[telemetry]]\nfilters = ['$share/g/a']\n", &format!("2:11: {filters}")),
        ("[[telemetry]]\nfilters = [1]\n", &format!("2:11: {filters} a list")),
        ("[[telemetry]]\nfilters = '#'\n", &format!("2:11: {filters} \"#\"")),
        ("[[telemetry]]\nfilter = ['#']\n", "2:1: unknown option \"filter\" in [[telemetry]]"),
    ];
    for (text, expected) in rows {
        let said = mistakes(text);
        assert!(said.iter().any(|line| line.contains(expected)), "{text}{said:#?}");
    }
    let twice = mistakes(&format!("{good}{good}"));
    let there = "martlet.toml:5:1: the stream \"n\" is there already (martlet.toml:1:1)";
    assert_eq!(twice, [there]);
    let nothing_kept = mistakes(&format!("{good}[data]\nsync = 'off'\n"));
    let wants = "1:1: a stream wants \"data.sync\" other than \"off\" (martlet.toml:6:8)";
    assert_eq!(nothing_kept, [format!("martlet.toml:{wants}")]);
}

#[cfg(feature = "parquet")]
#[test]
fn a_stream_is_sealed_with_its_columns() {
    let stream = "[[telemetry]]\nname = 'n'\nfilters = ['a/#']\n";
    let plain = load_text(stream).expect("good").config;
    assert_eq!(plain.streams[0].sealing, None);
    let columns = "[telemetry.columns]\nT = 'number'\n\"gps.Lat\" = 'string'\nok = 'bool'\n";
    let text = format!("{stream}seal = 'parquet'\nseal_after_s = 60\n{columns}");
    let config = load_text(&text).expect("good").config;
    let sealing = config.streams[0].sealing.clone().expect("it is sealed");
    assert_eq!((sealing.after, sealing.bytes_per_s), (Some(Duration::from_secs(60)), 16 << 20));
    let columns = config.streams[0].columns.iter();
    let mut found: Vec<_> = columns.map(|c| (&*c.name, c.kind)).collect();
    found.sort_by_key(|(name, _)| *name);
    let (number, string) = (ColumnKind::Number, ColumnKind::String);
    assert_eq!(found, [("T", number), ("gps.Lat", string), ("ok", ColumnKind::Bool)]);
    let takes = "\"columns\" takes at most 64 members of a JSON object, each";
    let rows = [
        ("columns = { t = 'float' }\n", takes),
        ("columns = { topic = 'string' }\n", takes),
        ("columns = { 'a..b' = 'string' }\n", takes),
        ("columns = ['t']\n", takes),
        ("columns = { t = 1 }\n", takes),
        ("[telemetry.columns.gps]\nlat = 'number'\n", "write { \"gps.member\" = ... }, in quotes"),
        ("seal = 'orc'\n", "\"seal\" takes one of \"off\", \"parquet\""),
        ("seal_bytes_per_s = 0\n", "\"seal_bytes_per_s\" takes a whole number of at least 1"),
    ];
    for (text, expected) in rows {
        let said = mistakes(&format!("{stream}{text}"));
        assert!(said.iter().any(|line| line.contains(expected)), "{text}{said:#?}");
    }
}

#[cfg(not(feature = "parquet"))]
#[test]
fn what_was_not_built_is_refused() {
    let said = mistakes("[[telemetry]]\nname = 'n'\nfilters = ['a/#']\nseal = 'parquet'\n");
    assert!(said[0].contains("this martlet was built without Parquet"), "{said:#?}");
}

#[test]
fn a_back_end_says_what_it_lacks_and_where_it_was_asked_for() {
    let key = "[auth_jwt]\nsecret_file = '/dev/null'\n";
    let rows = [
        ("[access]\nbackends = 'files, jwt'\n[[listener]]\nport = 1\n", "2:12: \"jwt\" wants"),
        ("[[listener]]\nport = 1\nbackends = 'jwt'\n", "3:12: \"jwt\" wants"),
        (
            "[[listener]]\nport = 1\nbackends = 'jwt, jwt'\n",
            "3:12: \"backends\" takes some of files, jwt, http, with commas between them, not",
        ),
        ("[[listener]]\nport = 1\nbackends = 'http'\n", "3:12: \"http\" wants \"host\", \"get"),
        ("[[listener]]\nport = 1\nbackends = 'ldap'\n", "3:12: \"backends\" takes some of"),
    ];
    for (text, words) in rows {
        let said = load_text(text).expect_err(text).to_string();
        assert!(said.contains(&format!("martlet.toml:{words}")), "{text}{said}");
        let said = load_text(&format!("{key}{text}"));
        assert!(said.is_err(), "an empty secret is none: {text}");
    }
    let unused = load_text("[auth_jwt]\nkey_file = '/nowhere'\n");
    assert!(unused.is_ok(), "nobody asks for tokens, and no key is read");
}

#[test]
fn a_service_is_described_as_a_whole_or_not_at_all() {
    let text = |more: &str| {
        format!(
            "[access]\nbackends = 'http'\n[[listener]]\nport = 1\n[auth_http]\nhost = 'h.example'\n\
             getuser_uri = '/u'\naclcheck_uri = '/a'\n{more}\n"
        )
    };
    let good = load_text(&text("login_cache_s = 7")).unwrap().config.server;
    let inquiry = good.inquiry.expect("it is asked");
    assert_eq!(inquiry.settings().logins.seconds, 7);
    let http = inquiry.settings().http.as_ref().expect("it is asked");
    assert_eq!(http.to_string(), "http://h.example:80");
    assert!(good.listeners.iter().all(|(_, policy)| !policy.settings().backends.is_empty()));
    let rows = [
        ("superuser_uri = 'no'", "2:12: \"http\" wants paths in [auth_http] that begin with /"),
        ("with_tls = true\nca_file = '/nowhere'", "/nowhere: no certificates can be read"),
        ("method = 'PATCH'", "9:10: \"method\" takes one of"),
    ];
    for (more, words) in rows {
        let said = load_text(&text(more)).expect_err(more).to_string();
        assert!(said.contains(words), "{more}: {said}");
    }
    let host = load_text(&text("").replace("h.example", "http://h")).expect_err("no host");
    assert!(host.to_string().contains("wants a name or an address"), "{host}");
    let remote = "[auth_jwt]\nmode = 'remote'\nremote_host = 'h'\nremote_getuser_uri = '/u'\n\
                  remote_aclcheck_uri = '/a'\n[[listener]]\nport = 1\nbackends = 'jwt'\n";
    let remote = load_text(remote).unwrap().config.server.inquiry.expect("it is asked");
    assert!(remote.settings().http.is_none() && remote.settings().jwt.is_some());
    assert!(load_text("[auth_http]\nhost = 'h'\n").unwrap().config.server.inquiry.is_none());
    let open = load_text(&text("with_tls = true\nverify_peer = false")).unwrap().config.warnings;
    assert!(open.iter().any(|said| said.contains("is not looked at")), "{open:?}");
}

#[test]
fn a_secret_is_not_shown_and_a_short_one_is_worth_a_warning() {
    let text = |secret| {
        format!(
            "[auth_jwt]\nsecret = '{secret}'\n[access]\nbackends = 'jwt'\n[[listener]]\nport = 1"
        )
    };
    let short = load_text(&text("tell nobody")).unwrap();
    assert!(short.show().contains("secret = \"(hidden)\""), "{}", short.show());
    assert!(!format!("{}{:?}", short.show(), short.config).contains("nobody"));
    let warned = |warnings: &[String]| warnings.iter().filter(|w| w.contains("32 bytes")).count();
    assert_eq!(warned(&short.config.warnings), 1, "{:?}", short.config.warnings);
    let long = load_text(&text("a secret of the tests, which no broker anywhere has")).unwrap();
    assert_eq!(warned(&long.config.warnings), 0, "{:?}", long.config.warnings);
}

#[test]
fn the_hash_seed_is_another_one_each_time() {
    let seed = || load(&Sources::default()).unwrap().config.server.driver.limits.hash_seed;
    let seeds = [seed(), seed(), seed()];
    assert!(seeds[0] != seeds[1] || seeds[1] != seeds[2]);
}

const PAPER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
const OPERATIONS_PAPER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md");
const MOSQUITTO_PAPER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/mosquitto-conf.md");
const END: &str = "\n<!-- End of the options. -->";

/// Every number below `$SYS/broker/`, as a table.
fn numbers() -> String {
    let figures = FIGURES.iter().map(|figure| (figure.topic.to_owned(), figure.help));
    let losses = Bound::ALL.iter().map(|bound| (bound.topic(), bound.help()));
    let lines = figures.chain(losses).map(|(topic, help)| {
        format!("| `{}` | {help} |\n", topic.trim_start_matches("$SYS/broker/"))
    });
    ["| below `$SYS/broker/` | what it is |\n|---|---|\n".to_owned()]
        .into_iter()
        .chain(lines)
        .collect()
}

#[test]
fn the_papers_have_the_manuals_of_all_options() {
    let papers = [
        (PAPER, "<!-- The options, printed by `martlet config manual`: -->\n\n", manual()),
        (OPERATIONS_PAPER, "<!-- The numbers, printed by a test: -->\n\n", numbers()),
        (
            MOSQUITTO_PAPER,
            "<!-- The options, printed by `martlet config mosquitto`: -->\n\n",
            mosquitto_manual(),
        ),
    ];
    for (path, begin, manual) in papers {
        let paper = std::fs::read_to_string(path).unwrap();
        let (before, rest) = paper.split_once(begin).expect("the beginning of the chapter");
        let (chapter, after) = rest.split_once(END).expect("the end of the chapter");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(path, format!("{before}{begin}{manual}{END}{after}")).unwrap();
        } else {
            assert_eq!(chapter, manual, "run the tests with BLESS=1 to write the chapter anew");
        }
    }
}

#[test]
fn the_examples_of_the_paper_load() {
    let paper = std::fs::read_to_string(PAPER).unwrap();
    let examples: Vec<&str> =
        paper.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(examples.len() >= 3, "{}", examples.len());
    for example in examples {
        load_text(example).unwrap_or_else(|said| panic!("{example}{said}"));
    }
}

#[test]
fn what_is_wrong_with_tls_is_said_at_the_line_that_says_it() {
    let folder = tls_folder();
    let good = format!("certfile = '{folder}/crt'\nkeyfile = '{folder}/key'\n");
    let rows: &[(&str, &[&str])] = &[
        ("certfile = '@/crt'\n", &["3:12: \"certfile\" wants a \"keyfile\" beside it: without"]),
        ("keyfile = '@/key'\n", &["3:11: \"keyfile\" wants a \"certfile\" beside it: without"]),
        (
            "cafile = '@/crt'\nclient_certificates = 'required'\n",
            &[
                "3:10: \"cafile\" wants a \"certfile\" and a \"keyfile\" beside it: without them",
                "4:23: \"client_certificates\" wants a \"certfile\" and a \"keyfile\" beside",
            ],
        ),
        (
            "@GOOD@client_certificates = 'required'\n",
            &["5:23: \"client_certificates\" want a \"cafile\" or a \"capath\": who may sign"],
        ),
        (
            "@GOOD@use_identity_as_username = true\n",
            &["5:28: no client is asked for a certificate here, so none could come in: set"],
        ),
        (
            "certfile = '@/key'\nkeyfile = '/no/such'\ncafile = '@/none'\nciphers = 'RC5'\n",
            &[
                "3:12: \"certfile\": @/key holds no certificate but a private key",
                "4:11: \"keyfile\": /no/such cannot be read: No such file or directory (os",
                "5:10: \"cafile\": @/none cannot be read: No such file or directory (os error",
                "6:11: \"ciphers\" \"RC5\" is no cipher and no word of OpenSSL's lists; there are",
            ],
        ),
    ];
    let places = ["[[listener]]\nport = 1\n", "[http]\naddress = '127.0.0.1:8080'\n"];
    let rows = places.iter().flat_map(|place| rows.iter().map(move |row| (place, row)));
    for (place, (lines, expected)) in rows {
        let lines = lines.replace("@GOOD@", &good).replace('@', &folder);
        let said = mistakes(&format!("{place}{lines}"));
        assert_eq!(said.len(), expected.len(), "{lines}{said:#?}");
        for (said, expected) in said.iter().zip(*expected) {
            let expected = format!("martlet.toml:{}", expected.replace('@', &folder));
            assert!(said.starts_with(&expected), "{said}\n{expected}");
        }
    }
}
