use std::collections::BTreeSet;

use super::row::{How, Scope, Standing, Times};
use super::*;
use crate::config::rows as native;
use crate::config::value::Value;

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
        if !matches!(setting.origin, crate::config::origin::Origin::Unsaid { .. }) {
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

#[test]
fn every_kept_option_takes_its_example() {
    for row in rows().filter(|row| matches!(row.standing, Standing::Kept { .. })) {
        let text = format!("listener 1883\n{} {}\n", row.name, row.example);
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
        ("log_type error\nlog_type warning", &["log.level = \"warn\""]),
        ("max_inflight_messages 0", &["limits.inflight_max = 65535"]),
        ("retain_available false\nretain_available true", &[]),
        ("retain_available false", &["limits.retained_messages_max = 0"]),
        ("global_max_clients -1", &[]),
        ("message_size_limit 1000", &["limits.packet_size_max = 66544"]),
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
            "1:1: \"listener\" and its port: takes a whole number from 0 to 65535, \
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
        let text = if row.name == "connection" { String::new() } else { line(row.example) };
        let refused = mistakes(&text).iter().any(|said| said.contains(row.name));
        assert_eq!(refused, row.name != "connection", "{text}");
        if !row.default.is_empty() && row.scope != Scope::Bridge {
            let said = mistakes(&line(row.default));
            assert_eq!(said.len(), 1, "the connection alone: {said:?}");
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
