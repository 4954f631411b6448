use std::collections::BTreeSet;

use super::row::{How, Scope, Standing, Times};
use super::*;
use crate::config::origin::Origin;
use crate::config::rows as native;
use crate::config::value::Value;
use crate::config::{self, Sources};

fn parse(text: &str) -> (Written, Vec<String>) {
    let mut mistakes = Vec::new();
    let written = read("m.conf", text.as_bytes(), &mut mistakes);
    (written, mistakes.iter().map(ToString::to_string).collect())
}

/// What a good text sets: outside of listeners, then for each listener.
fn settings(text: &str) -> Vec<String> {
    let (written, mistakes) = parse(text);
    assert!(mistakes.is_empty(), "{text}{mistakes:#?}");
    let mut lines: Vec<String> = Vec::new();
    for setting in &written.settings {
        if !matches!(setting.origin, Origin::Unsaid { .. }) {
            lines.push(format!("{}.{} = {}", setting.row.section, setting.row.name, setting.value));
        }
    }
    for listener in &written.listeners {
        let settings: Vec<String> =
            listener.settings.iter().map(|s| format!("{} = {}", s.row.name, s.value)).collect();
        lines.push(settings.join(", "));
    }
    lines
}

fn mistakes(text: &str) -> Vec<String> {
    parse(text).1
}

fn every_row() -> impl Iterator<Item = (&'static str, &'static Row)> {
    let plugins = plugins::PLUGINS.iter().flat_map(|plugin| plugin.options);
    rows().map(|row| ("", row)).chain(plugins.map(|row| ("plugin_opt_", row)))
}

#[test]
fn every_option_stands_once_with_an_example_that_it_takes() {
    let mut seen = BTreeSet::new();
    for row in rows() {
        assert!(seen.insert(row.name), "{} twice", row.name);
    }
    for (_, row) in every_row() {
        assert!(row.kind.read(row.example).is_ok(), "{}: {}", row.name, row.example);
        assert!(row.default.is_empty() || row.kind.read(row.default).is_ok(), "{}", row.name);
        assert!(row.help.ends_with('.') && row.help.len() > 12, "{}", row.name);
        if let Standing::Kept { section, name, how } = row.standing {
            assert!(native::find(section, name).is_some(), "{}: {section}.{name}", row.name);
            assert!(!matches!(how, How::All(_)) || row.times == Times::Each, "{}", row.name);
        }
    }
}

/// A listener with go-auth below it.
fn plugin(rest: &str) -> String {
    format!("listener 1\nauth_plugin /x/go-auth.so\n{rest}")
}

#[test]
fn tokens_of_go_auth_are_kept_where_they_need_no_database() {
    let rows = [
        (
            "auth_opt_backends files, jwt\nauth_opt_jwt_mode files\nauth_opt_jwt_secret s\n\
             auth_opt_jwt_files_acl_path /acl\nauth_opt_jwt_userfield Username\n",
            &[
                "auth_jwt.mode = \"local\"",
                "auth_jwt.secret = \"s\"",
                "auth_jwt.user_claim = \"username\"",
                "port = 1, backends = \"files, jwt\", acl_file = \"/acl\", \
                 acl_dialect = \"go-auth\"",
            ][..],
        ),
        (
            "auth_opt_jwt_skip_acl_expiration true\nauth_opt_jwt_skip_user_expiration true\n",
            &["auth_jwt.expiry = \"ignore\"", "port = 1"],
        ),
        (
            "auth_opt_jwt_skip_acl_expiration true\nauth_opt_jwt_skip_user_expiration false\n",
            &["auth_jwt.expiry = \"stay\"", "port = 1"],
        ),
    ];
    for (text, expected) in rows {
        assert_eq!(settings(&plugin(text)), *expected, "{text}");
    }
}

#[test]
fn services_of_go_auth_are_kept_with_its_defaults() {
    let rows = [
        ("auth_opt_jwt_mode files", "auth_jwt.place = \"user_name\""),
        ("auth_opt_http_host h", "auth_http.login_cache_s = 0"),
        ("auth_opt_http_host h", "auth_http.right_cache_s = 0"),
        ("auth_opt_cache true\nauth_opt_auth_cache_seconds 300", "auth_http.login_cache_s = 300"),
        ("auth_opt_cache false\nauth_opt_auth_cache_seconds 300", "auth_http.login_cache_s = 0"),
        ("auth_opt_http_with_tls true", "auth_http.verify_peer = false"),
        ("auth_opt_http_verify_peer true", "auth_http.verify_peer = true"),
        ("auth_opt_http_superuser_uri /s", "auth_http.superuser_uri = \"/s\""),
        ("auth_plugin_deny_special_chars false", "auth_http.deny_special_chars = false"),
        ("auth_opt_jwt_mode remote\nauth_opt_jwt_host h", "auth_jwt.remote_host = \"h\""),
    ];
    for (text, expected) in rows {
        let (written, mistakes) =
            parse(&plugin(&format!("auth_opt_backends files, http\n{text}\n")));
        let settings: Vec<String> = written
            .settings
            .iter()
            .map(|s| format!("{}.{} = {}", s.row.section, s.row.name, s.value))
            .collect();
        assert!(mistakes.is_empty(), "{text}: {mistakes:?}");
        assert!(settings.iter().any(|setting| setting == expected), "{text}: {settings:#?}");
    }
    let without = "auth_opt_http_superuser_uri /s\nauth_opt_disable_superuser true\n";
    assert_eq!(settings(&plugin(without)), ["port = 1"]);
}

#[test]
fn a_file_of_mosquittos_own_decides_and_one_of_go_auths_is_read_as_go_auth_does() {
    let rows = [
        (
            "auth_opt_backends files, http\nauth_opt_files_acl_path /a\nacl_file /own\n",
            "port = 1, backends = \"files, http\", acl_file = \"/own\", acl_file_decides = true",
            1,
        ),
        (
            "auth_opt_backends files\nauth_opt_files_acl_path /a\n",
            "port = 1, backends = \"files\", acl_file = \"/a\", acl_dialect = \"go-auth\"",
            0,
        ),
    ];
    for (text, expected, warned) in rows {
        let (written, mistakes) = parse(&plugin(text));
        assert!(mistakes.is_empty(), "{text}: {mistakes:?}");
        let settings = written.listeners[0].settings.iter();
        let said: Vec<String> =
            settings.map(|setting| format!("{} = {}", setting.row.name, setting.value)).collect();
        let sorted = |text: String| {
            let mut parts: Vec<String> = text.split(", ").map(str::to_owned).collect();
            parts.sort();
            parts
        };
        assert_eq!(sorted(said.join(", ")), sorted(expected.to_owned()), "{text}");
        assert_eq!(written.warnings.len(), warned, "{:?}", written.warnings);
    }
}

#[test]
fn what_needs_a_database_or_a_script_is_refused() {
    let rows = [
        ("auth_opt_backends postgres", "3:1: \"backends\" names \"postgres\", and Martlet has"),
        ("auth_opt_jwt_mode local", "3:1: \"jwt_mode\" \"local\" looks users up in a database"),
        ("auth_opt_jwt_mode js", "3:1: \"jwt_mode\" \"js\" runs scripts"),
        (
            "auth_opt_files_acl_path /a\nauth_opt_jwt_acl_path /b",
            "4:1: Martlet has one \"acl_file\" for a listener, and another one stands at m.conf:3",
        ),
    ];
    for (text, words) in rows {
        let said = mistakes(&plugin(text));
        assert_eq!(said.len(), 1, "{text}: {said:?}");
        assert!(said[0].contains(words), "{text}: {said:?}");
    }
}

#[test]
fn every_kept_option_takes_its_example() {
    for row in rows().filter(|row| matches!(row.standing, Standing::Kept { .. })) {
        let plugin = if row.scope == Scope::Plugin { "auth_plugin /x/go-auth.so\n" } else { "" };
        let begun = row.scope == Scope::Bridge && row.name != "connection";
        let bridge = if begun { "connection x\n" } else { "" };
        let text = format!("listener 1883\n{plugin}{bridge}{} {}\n", row.name, row.example);
        let (written, mistakes) = parse(&text);
        assert_eq!(mistakes, [""; 0], "{text}");
        assert_eq!(written.listeners.len(), 1, "{text}");
    }
}

#[test]
fn the_format_is_seen_in_the_first_line_that_says_something() {
    let rows = [
        ("a.toml", "", false),
        ("a.conf", "", true),
        ("a.conf", "# nothing\n\n", true),
        ("a.toml", "listener 1883", true),
        ("a.toml", "# x\n\nlistener 1883\nuser a=b\n", true),
        ("a.toml", "\u{feff}allow_anonymous true\r\n", true),
        ("a.toml", "allow_anonymous\ttrue", true),
        ("a.conf", "[log]\n", false),
        ("a.conf", "[[listener]]\nport 1883\n", false),
        ("a.conf", "limits.inflight_max = 1", false),
        ("a.conf", "port=1883", false),
    ];
    for (path, text, expected) in rows {
        assert_eq!(recognises(path, text.as_bytes()), expected, "{path} {text:?}");
    }
}

#[test]
fn lines_as_mosquitto_reads_them() {
    let rows: &[(&str, &[&str])] = &[
        ("listener 1883\r\nallow_anonymous 1\r\n", &["port = 1883, allow_anonymous = true"]),
        ("  listener   1883   127.0.0.1 # x\n", &["port = 1883, bind = \"127.0.0.1\""]),
        ("listener 0x75b\n", &["port = 1883"]),
        ("#listener 1\nsys_interval 60 seconds\n", &["sys.interval_s = 60"]),
        ("persistence_location  /a b/c  \n", &["data.dir = \"/a b/c\""]),
        ("\u{feff}max_keepalive 30", &["limits.keep_alive_max_s = 30"]),
        ("# caf\u{e9}\npersistence true", &["data.sync = \"always\""]),
        ("persistent_client_expiration 2w", &["limits.session_expiry_s = 1209600"]),
        ("log_type error\nlog_type warning", &["log.types = \"error, warning\""]),
        ("max_inflight_messages 0", &["limits.inflight_max = 65535"]),
        ("max_inflight_bytes 100000", &["limits.inflight_bytes_max = 100000"]),
        ("retain_available false\nretain_available true", &[]),
        ("retain_available false", &["limits.retained_messages_max = 0"]),
        ("global_max_clients -1", &[]),
        ("message_size_limit 1000", &["limits.packet_size_max = 66544"]),
        ("max_packet_size 5000\nmessage_size_limit 1000", &["limits.packet_size_max = 5000"]),
    ];
    for (text, expected) in rows {
        assert_eq!(settings(text), *expected, "{text:?}");
    }
}

#[test]
fn what_applies_to_whom() {
    let rows: &[(&str, &[&str])] = &[
        // The last one counts for all, wherever it stands.
        (
            "listener 1\nallow_anonymous false\nlistener 2\nallow_anonymous true\n",
            &["port = 1, allow_anonymous = true", "port = 2, allow_anonymous = true"],
        ),
        (
            "per_listener_settings true\nlistener 1\nallow_anonymous false\nlistener 2\n\
             allow_anonymous true\n",
            &["port = 1, allow_anonymous = false", "port = 2, allow_anonymous = true"],
        ),
        (
            "allow_anonymous true\nlistener 1\nlistener_allow_anonymous false\nlistener 2\n",
            &[
                "port = 1, allow_anonymous = true, allow_anonymous = false",
                "port = 2, allow_anonymous = true",
            ],
        ),
        ("port 1884\nbind_address 127.0.0.1\n", &["port = 1884, bind = \"127.0.0.1\""]),
        // Nothing but an option of a listener opens the default listener beside another one.
        (
            "max_connections 5\nlistener 2\nmax_connections 7\n",
            &["port = 1883, max_connections = 5", "port = 2, max_connections = 7"],
        ),
        ("max_connections 5\n", &[]),
        ("listener 1\nset_tcp_nodelay true\n", &["port = 1, tcp_nodelay = true"]),
        ("listener 1\nsocket_domain ipv6\n", &["port = 1, bind = \"::\""]),
    ];
    for (text, expected) in rows {
        assert_eq!(settings(text), *expected, "{text}");
    }
}

#[test]
fn mistakes_name_the_line_and_what_to_do() {
    let rows = [
        (
            "max_inflght_messages 5",
            "1:1: unknown option \"max_inflght_messages\"; did you mean \
          \"max_inflight_messages\"?",
        ),
        (" # x", "1:2: a comment begins with # as the very first character of its line"),
        (
            "allow_anonymous\ttrue",
            "1:1: between \"allow_anonymous\" and its value stands a tab: \
          mosquitto wants a space",
        ),
        ("allow_anonymous yes", "1:1: \"allow_anonymous\" takes true or false, not \"yes\""),
        ("allow_anonymous", "1:1: \"allow_anonymous\" wants a value: true or false"),
        (
            "listener 1883\nmax_connections = 5",
            "2:1: \"max_connections\" takes a whole number, \
          not \"= 5\"; write it without \"=\"",
        ),
        ("listener 0", "1:1: a listener with port 0 wants the path of a Unix socket"),
        (
            "listener x",
            "1:1: the port of \"listener\" takes a whole number from 0 to 65535, \
          not \"x\"",
        ),
        ("address a", "1:1: \"address\" wants a \"connection\" above it"),
        (
            "upgrade_outgoing_qos true",
            "1:1: \"upgrade_outgoing_qos\": the standard has messages \
          delivered at the lower QoS of both; publish at the QoS that subscribers \
          want",
        ),
        (
            "persistence_location /a\npersistence_location /a",
            "2:1: \"persistence_location\" \
          stands twice, first at m.conf:1:1",
        ),
        (
            "listener 8883\npsk_hint broker",
            "2:1: \"psk_hint\": TLS is rustls here, which has no pre-shared keys; give each \
          device a certificate (`martlet cert device NAME`), or a password over TLS",
        ),
        (
            "max_packet_size 20",
            "1:1: \"max_packet_size\" takes a whole number from 1024 to \
          268435460, not \"20\"",
        ),
        (
            "allow_anonymous true\nper_listener_settings true",
            "2:1: \"per_listener_settings true\" \
          must stand above every option that it is about, and \"allow_anonymous\" stands at \
          m.conf:1:1",
        ),
        ("plugin_opt_x y", "1:1: \"plugin_opt_x\" wants a \"plugin\" above it"),
        ("plugin_load a", "1:1: wants a name and a path"),
    ];
    for (text, expected) in rows {
        assert_eq!(mistakes(text), [format!("m.conf:{expected}")], "{text}");
    }
}

#[test]
fn what_is_refused_may_say_what_holds_anyway() {
    for row in rows().filter(|row| matches!(row.standing, Standing::Refused { .. })) {
        let line = |value: &str| format!("connection x\n{} {value}\n", row.name);
        let text = line(row.example);
        assert!(mistakes(&text).iter().any(|said| said.contains(row.name)), "{text}");
        if !row.default.is_empty() {
            assert_eq!(mistakes(&line(row.default)), [""; 0]);
        }
    }
}

#[test]
fn without_persistence_true_nothing_is_kept() {
    for (text, expected) in [
        ("listener 1", "off"),
        ("persistence false", "off"),
        ("persistence true", "always"),
        ("retained_persistence true", "always"),
    ] {
        let (written, _) = parse(text);
        let sync = written.settings.iter().rfind(|setting| setting.row.name == "sync");
        assert_eq!(sync.map(|setting| &setting.value), Some(&Value::Text(expected.into())));
    }
}

fn sources(text: &str) -> (tempfile::TempDir, Sources) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.conf");
    std::fs::write(&path, text.replace("@DIR@", &dir.path().display().to_string())).unwrap();
    (dir, Sources { file: Some(path), ..Sources::default() })
}

#[test]
fn the_account_tells_of_every_line() {
    let text = "listener 1883\nautosave_interval 10\nlog_type error\nlog_type all\n\
                allow_duplicate_messages false\nmax_keepalive 30\nretain_available true\n\
                connection x\nidle_timeout 5\ninclude_dir @DIR@/d\n\
                plugin mosquitto_dynamic_security.so\nplugin_opt_config_file z\n";
    let (dir, sources) = sources(text);
    std::fs::create_dir(dir.path().join("d")).unwrap();
    std::fs::write(dir.path().join("d/a.conf"), "# x\nsys_interval 0x\n").unwrap();
    let account = config::account(&sources).unwrap();
    let said = account.to_string().replace(&format!("{}/", dir.path().display()), "");
    let expected = [
        "REFUSED    d/a.conf:2: \"sys_interval\" takes a whole number from 0 to 65535, not \"0x\"",
        "honoured   m.conf:1: listener: Begins a `[[listener]]`.",
        "no effect  m.conf:2: autosave_interval: everything is on disk before it is acknowledged",
        "honoured   m.conf:3: log_type: it goes together with a later line",
        "honoured   m.conf:4: log_type: log.types = \"error, all\"",
        "no effect  m.conf:5: allow_duplicate_messages: a message comes once, at the highest QoS \
         of the subscriptions that match",
        "honoured   m.conf:6: max_keepalive: limits.keep_alive_max_s = 30",
        "honoured   m.conf:7: retain_available: it says what holds anyway",
        "REFUSED    m.conf:8: connection: the bridge \"x\" wants an address (\"addresses\") and",
        "no effect  m.conf:9: idle_timeout: it belongs to `start_type lazy`, which is refused",
        "honoured   m.conf:10: include_dir: The files are read in mosquitto's order,",
        "REFUSED    m.conf:11: the plug-in for dynamic security: Martlet has no",
        "REFUSED    m.conf:12: plugin_opt_config_file: it goes with the plug-in above it",
        "6 honoured, 3 without effect, 4 refused",
    ];
    for (said, expected) in said.lines().zip(expected) {
        assert!(said.starts_with(expected), "{said}\n{expected}");
    }
    assert_eq!(said.lines().count(), expected.len(), "{said}");
    assert!(!account.is_good());
    let json: serde_json::Value = serde_json::from_str(&account.json()).unwrap();
    assert_eq!(json["lines"][2]["verdict"], "no_effect");
    assert_eq!(json["lines"][2]["line"], 2);
    assert_eq!((&json["honoured"], &json["refused"]), (&6.into(), &4.into()));
}

#[test]
fn files_that_are_none_have_no_account() {
    let (_dir, sources) = sources("[log]\n");
    let said = config::account(&sources).expect_err("TOML").to_string();
    assert!(said.ends_with("m.conf: is no mosquitto.conf: nothing to report"), "{said}");
}

#[test]
fn files_are_included_in_mosquittos_order() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["b.conf", "A.conf", "a.conf", "B.conf", "00.conf", ".conf", "c.CONF", "d.txt"] {
        std::fs::write(dir.path().join(name), "").unwrap();
    }
    let names: Vec<String> = lines::included(dir.path())
        .unwrap()
        .iter()
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(names, ["00.conf", "A.conf", "a.conf", "B.conf", "b.conf"]);
}

#[test]
fn what_stands_in_an_included_file_is_no_part_of_the_listener_above() {
    let (dir, sources) = sources("listener 1\ninclude_dir @DIR@\nmax_connections 3\n");
    let path = dir.path().join("z.conf");
    std::fs::write(&path, "listener 2\nmax_connections 5\n").unwrap();
    std::fs::rename(sources.file.as_ref().unwrap(), dir.path().join("main")).unwrap();
    let sources = Sources { file: Some(dir.path().join("main")), ..sources };
    let listeners = config::load(&sources).unwrap().config.server.listeners;
    let bounds: Vec<_> = listeners.iter().map(|(l, _)| l.connections_max).collect();
    assert_eq!(bounds, [Some(3), Some(3), Some(5), Some(5)], "two addresses each");
}

#[test]
fn what_its_reader_should_know() {
    let rows: &[(&str, &[&str])] = &[
        (
            "port 1\nallow_anonymous true",
            &["m.conf:1:1: The 'port' option is now deprecated and \
          will be removed in version 3.0. Please use 'listener' instead."],
        ),
        (
            "max_connections 1",
            &[
                "m.conf:1:1: Creating default listener due to 'max_connections' option.",
                "m.conf:1:1: \"max_connections\" has no \"listener\" above it, and applies to \
                 none.",
            ],
        ),
        (
            "listener 1\nallow_anonymous true\nautosave_interval 1",
            &["m.conf: 1 lines have no \
          effect here; `martlet compat-report m.conf` says which and why."],
        ),
        (
            "listener 1\nallow_anonymous true\nmax_queued_bytes 1000",
            &["m.conf:3:1: \
          \"queue_bytes_max\" (1000) is below \"packet_size_max\" (16777216): the largest \
          messages can never be queued."],
        ),
        (
            "listener 1\nallow_anonymous true\npersistence true\npersistence_location @DIR@/\n\
          persistence_file m.conf",
            &[
                "m.conf: 1 lines have no effect here; `martlet compat-report m.conf` says which \
                 and \
             why.",
                "m.conf is not read: sessions and retained messages that mosquitto kept there stay \
             behind. Rename the file once nobody needs it.",
            ],
        ),
        (
            "per_listener_settings true\nallow_anonymous true\nlistener 1\nallow_anonymous true",
            &[
                "m.conf:1:1: The 'per_listener_settings' option is now deprecated and will be \
                 removed \
             in version 3.0. Please see the documentation for how to achieve the same effect.",
                "m.conf:2:1: \"allow_anonymous\" has no \"listener\" above it, and applies to \
                 none.",
            ],
        ),
    ];
    for (text, expected) in rows {
        let (dir, sources) = sources(text);
        let config = config::load(&sources).unwrap_or_else(|said| panic!("{text}{said}")).config;
        let prefix = format!("{}/", dir.path().display());
        let said: Vec<String> = config.notices.into_iter().chain(config.warnings).collect();
        let said: Vec<String> = said.iter().map(|text| text.replace(&prefix, "")).collect();
        assert_eq!(said, *expected, "{text}");
    }
}

#[test]
fn a_directory_that_somebody_names_is_used() {
    let (_dir, file) = sources("listener 1\n");
    let variable = |name: &str, value: &str| (name.into(), value.into());
    let with = |variables: Vec<_>| {
        let config = config::load(&Sources { variables, ..file.clone() }).unwrap().config;
        (config.sync.is_some(), config.data_dir.display().to_string())
    };
    let other = || variable("MOSQUITTO_PERSISTENCE_LOCATION", "/b");
    assert_eq!(with(vec![]), (false, "./martlet-data".to_owned()));
    assert_eq!(with(vec![variable("MARTLET_DATA__DIR", "/a"), other()]), (true, "/a".to_owned()));
    assert_eq!(with(vec![other()]), (false, "/b".to_owned()));
}

#[test]
fn no_line_makes_it_panic() {
    let words: Vec<&str> = rows().map(|row| row.name).chain(["1883", "true", "x", ""]).collect();
    let ends = ["\n", " ", "\r\n", "\t", "#", "\u{0}", "é", "\"", "-1", "99999999999999999999"];
    let mut random = 1_u64;
    let mut below = |bound: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(random >> 33).unwrap() % bound
    };
    for _ in 0..2000 {
        let mut text = String::from("listener 1883\n");
        for _ in 0..below(40) {
            text.push_str(words[below(words.len())]);
            text.push_str(ends[below(ends.len())]);
        }
        let text = text.replace("include_dir", "included");
        for said in parse(&text).1 {
            let line = said.strip_prefix("m.conf:").and_then(|rest| rest.split(':').next());
            let line: usize = line.expect(&said).parse().expect(&said);
            assert!((1..=text.matches('\n').count() + 1).contains(&line), "{said}\n{text}");
        }
    }
}
