use super::*;
use crate::config::{self, Sources};

/// What a configuration file with this name says, or what is wrong with it.
fn load(name: &str, text: &str) -> Result<Vec<Settings>, Vec<String>> {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join(name);
    std::fs::write(&path, text).expect("a file");
    let sources = Sources { file: Some(path), ..Sources::default() };
    let place = format!("{}/", dir.path().display());
    config::load(&sources).map(|resolved| resolved.config.server.bridges).map_err(|mistakes| {
        mistakes.0.iter().map(|mistake| mistake.to_string().replace(&place, "")).collect()
    })
}

fn toml(text: &str) -> Result<Vec<Settings>, Vec<String>> {
    load("m.toml", text)
}

fn mosquitto(text: &str) -> Result<Vec<Settings>, Vec<String>> {
    load("m.conf", text)
}

#[test]
fn a_bridge_has_defaults_as_mosquitto_has_them() {
    let toml = "[[bridge]]\nname = 'b'\naddresses = ['h']\ntopics = ['# out']\n";
    let conf = "connection b\naddress h\ntopic # out\n";
    for bridges in [self::toml(toml), mosquitto(conf)] {
        let bridges = bridges.expect("good");
        let [bridge] = &bridges[..] else { panic!("{bridges:?}") };
        let client_id = format!("{}.b", machine::host_name());
        assert_eq!(*bridge.remote.client_id, *client_id);
        assert_eq!(*bridge.local_client_id, *format!("local.{client_id}"));
        assert_eq!(bridge.addresses, [Remote { host: "h".to_owned(), port: 1883 }]);
        assert_eq!((bridge.keep_alive_s, bridge.clean_session), (60, false));
        assert!(bridge.try_private && !bridge.local_clean_session && !bridge.round_robin);
        assert!(bridge.outgoing_retain && bridge.attempt_unsubscribe && bridge.tls.is_none());
        let told = bridge.notifications.as_ref().expect("by default");
        assert_eq!(*told.topic, *format!("$SYS/broker/connection/{client_id}/state"));
        let (base, cap) = (Duration::from_secs(5), Duration::from_secs(30));
        assert_eq!(bridge.backoff, Bounds { base, cap });
        assert_eq!(bridge.packet_size_max, 16_777_216);
    }
}

#[test]
fn every_line_of_a_connection_arrives() {
    let bridges = mosquitto(
        "connection one\naddresses a:1 [::1]:2 c\ntopic a/# in 1 l/ r/\ntopic b both 2\n\
         remote_username u\nremote_password p\nremote_clientid rc\nlocal_clientid lc\n\
         local_username lu\nlocal_password x\ncleansession true\nlocal_cleansession false\n\
         try_private false\nnotifications true\nnotifications_local_only true\n\
         notification_topic state\nkeepalive_interval 2\nstart_type once\nrestart_timeout 7\n\
         round_robin true\nbridge_protocol_version mqttv31\nbridge_attempt_unsubscribe false\n\
         bridge_outgoing_retain false\nbridge_bind_address 127.0.0.1\n\
         bridge_max_packet_size 5000\nidle_timeout 3\nthreshold 4\n\
         connection two\naddress d:9\ntopic # out\nusername v\npassword q\nclientid other\n",
    );
    let bridges = bridges.expect("good");
    let [one, two] = &bridges[..] else { panic!("{bridges:?}") };
    let addresses: Vec<String> = one.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["a:1", "::1:2", "c:1883"]);
    assert_eq!(one.topics.remote().count(), 2);
    assert_eq!(one.topics.local().count(), 1);
    assert_eq!((one.remote.user.as_deref(), &*one.remote.client_id), (Some("u"), "rc"));
    assert_eq!((&*one.local_client_id, one.local_user.as_deref()), ("lc", Some("lu")));
    assert!(one.clean_session && !one.local_clean_session && !one.try_private && one.round_robin);
    let told = one.notifications.as_ref().expect("it is told");
    assert_eq!((&*told.topic, told.local_only), ("state", true));
    assert_eq!((one.keep_alive_s, one.start), (5, Start::Once));
    assert_eq!(one.backoff.base, one.backoff.cap);
    assert_eq!((one.version, one.packet_size_max), (ProtocolVersion::V31, 5000));
    assert!(!one.attempt_unsubscribe && !one.outgoing_retain && one.bind.is_some());
    assert_eq!((&*two.name, two.remote.user.as_deref()), ("two", Some("v")));
    assert_eq!((&*two.remote.client_id, &*two.local_client_id), ("other", "local.other"));
}

#[test]
fn what_is_wrong_with_a_connection_is_said_where_it_stands() {
    let rows: &[(&str, &[&str])] = &[
        ("connection b\ntopic #\n", &["m.conf:1:1: the bridge \"b\" wants an address"]),
        ("connection b\naddress h\n", &["m.conf:1:1: the bridge \"b\" wants a topic"]),
        ("address h\n", &["m.conf:1:1: \"address\" wants a \"connection\" above it"]),
        (
            "connection b\naddress h\ntopic # sideways\n",
            &["m.conf:3:1: \"topic\" has no direction \"sideways\": write out, in or both"],
        ),
        (
            "connection b\naddress h\ntopic a in 1 l/#\ntopic b\n",
            &["m.conf:3:1: \"topic\" has the local prefix \"l/#\""],
        ),
        ("connection b\naddress h:0\ntopic #\n", &["m.conf:2:1: \"h:0\" is no address"]),
        (
            "connection b\naddress h\ntopic #\nconnection b\naddress i\ntopic #\n",
            &["m.conf:4:1: the connection \"b\" stands twice, first at m.conf:1:1"],
        ),
        (
            "connection b\naddress h\ntopic #\nclientid x\nconnection c\naddress i\ntopic #\n\
             clientid x\n",
            &["m.conf:8:1: the bridge \"b\" has the same client id here, local.x"],
        ),
        (
            "connection b\naddress h\ntopic #\nstart_type lazy\n",
            &["m.conf:4:1: \"start_type\" has no \"lazy\" here"],
        ),
        (
            "connection b\naddress h\ntopic #\nbridge_protocol_version mqttv50\n",
            &["m.conf:4:1: \"bridge_protocol_version\" has no mqttv50 here"],
        ),
        (
            "connection b\naddress h\ntopic #\nrestart_timeout 9 3\n",
            &["m.conf:4:1: \"restart\" (restart_timeout) takes seconds"],
        ),
        (
            "connection b\naddress h\ntopic #\nremote_password p\n",
            &["m.conf:4:1: a password wants a \"remote_user\""],
        ),
        (
            "connection b\naddress h\ntopic #\nbridge_certfile /nowhere/c\n",
            &["m.conf:4:1: TLS wants to know whom to believe"],
        ),
        (
            "connection b\naddress h\ntopic #\nbridge_cafile /nowhere/ca\n",
            &["m.conf:4:1: \"cafile\": /nowhere/ca cannot be read"],
        ),
        (
            "connection b\naddress h\ntopic #\nnotification_topic a/#\n",
            &["m.conf:4:1: \"a/#\" can be no topic of its state"],
        ),
        ("connection a/b\naddress h\ntopic #\n", &["m.conf:1:1: \"$SYS/broker/connection/"]),
        (
            "connection b\naddress h\ntopic #\nbridge_tls_version tlsv1.1\n",
            &["m.conf:4:1: \"bridge_tls_version\" takes tlsv1.2 or tlsv1.3"],
        ),
        (
            "connection b\naddress h\ntopic #\nbridge_psk 00\n",
            &["m.conf:4:1: \"bridge_psk\": TLS is rustls here"],
        ),
    ];
    expect_mistakes(rows);
}

#[test]
fn what_a_connection_lacks_is_told_unless_a_mistake_may_be_it() {
    let rows: &[(&str, &[&str])] = &[
        (
            "port 0x\nconnection b\ntopic #\nrestart_timeout 9 3\nbridge_psk 00\n",
            &[
                "m.conf:1:1: \"port\"",
                "m.conf:2:1: the bridge \"b\" wants an address",
                "m.conf:4:1: \"restart\" (restart_timeout) takes seconds",
                "m.conf:5:1: \"bridge_psk\"",
            ],
        ),
        (
            "connection b\ntopic # sideways\naddress h\nconnection c\ntopic #\n",
            &["m.conf:2:1: \"topic\" has no direction", "m.conf:4:1: the bridge \"c\" wants"],
        ),
        (
            "connection b\nadress h\ntopic #\nrestart_timeout 0\n",
            &["m.conf:2:1: unknown option \"adress\"", "m.conf:4:1: \"restart\""],
        ),
    ];
    expect_mistakes(rows);
}

fn expect_mistakes(rows: &[(&str, &[&str])]) {
    for (text, expected) in rows {
        let said = mosquitto(text).expect_err(text);
        assert_eq!(said.len(), expected.len(), "{text}: {said:#?}");
        for (said, expected) in said.iter().zip(*expected) {
            assert!(said.starts_with(expected), "{text}: {said}");
        }
    }
}

#[test]
fn what_is_wrong_with_a_section_is_said_where_it_stands() {
    let rows = [
        ("[[bridge]]\n", "m.toml:1:1: the bridge wants a \"name\" and an address"),
        (
            "[[bridge]]\ntopics = ['#']\nrestart = '9 3'\n",
            "m.toml:1:1: the bridge wants a \"name\" and an address",
        ),
        ("[bridge]\nname = 'b'\n", "m.toml:1:2: a bridge begins with [[bridge]]"),
        (
            "[[bridge]]\nname = 'b'\naddresses = ['h']\ntopics = ['a', 'b inn']\n",
            "m.toml:4:10: the topic \"b inn\" has no direction \"inn\"",
        ),
        (
            "[[bridge]]\nname = 'b'\nadresses = ['h']\n",
            "m.toml:3:1: unknown option \"adresses\" in [[bridge]]; did you mean \"addresses\"?",
        ),
        (
            "[[bridge]]\nname = 'b'\naddresses = ['h']\ntopics = ['a']\nkeepalive_interval = 9\n",
            "m.toml:5:1: unknown option \"keepalive_interval\" in [[bridge]]; did you mean \
             \"keep_alive_s\"?",
        ),
        (
            "[[bridge]]\nname = 'b'\naddresses = []\n",
            "m.toml:3:13: \"addresses\" takes a list of texts",
        ),
    ];
    for (text, expected) in rows {
        let said = toml(text).expect_err(text);
        assert!(said[0].starts_with(expected), "{text}: {said:#?}");
        assert_eq!(said.len(), 1 + usize::from(text.contains("9 3")), "{text}: {said:#?}");
    }
}

#[test]
fn a_password_is_shown_to_nobody() {
    let bridges = mosquitto("connection b\naddress h\ntopic #\nusername u\npassword geheim\n");
    assert!(!format!("{:?}", bridges.expect("good")).contains("geheim"));
}
