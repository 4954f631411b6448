//! What was recorded, with mosquitto's own clients: Martlet's alone.

use std::fs;

use mosquitto_compat_tests::broker::Broker;
use mosquitto_compat_tests::tools::{Received, Running, publish, subscribe, tool};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const STREAM: &str = "[[telemetry]]\nname = \"sensors\"\nfilters = [\"sensors/#\"]\n";

/// What mosquitto_sub says to SUBACK 0x80.
const DENIED: &str = "All subscription requests were denied";

/// Under the topic that it was published to, RETAIN 0, at the lower QoS; and on from there.
#[test]
fn mosquitto_sub_gets_history_and_what_comes_next() {
    let broker = Broker::martlet_with(STREAM);
    for (payload, qos) in [("first", "0"), ("second", "1"), ("third", "2")] {
        publish(&broker, &["-q", qos, "-r", "-t", "sensors/garden", "-m", payload]);
    }
    publish(&broker, &["-t", "lamps/hall", "-m", "not recorded"]);
    let mut sub = subscribe(&broker, &["-q", "1", "-t", "$replay/-1h/sensors/#"]);
    let message = |payload: &str, qos| {
        let topic = "sensors/garden".to_owned();
        Received { qos, retain: false, topic, payload: payload.into() }
    };
    let history = [message("first", 0), message("second", 1), message("third", 1)];
    assert_eq!([sub.message(), sub.message(), sub.message()], history);
    publish(&broker, &["-q", "1", "-t", "sensors/garden", "-m", "live"]);
    assert_eq!(sub.message(), message("live", 1));
    publish(&broker, &["-t", "sensors/garden", "-m", "live at QoS 0"]);
    assert_eq!(sub.message(), message("live at QoS 0", 0));
}

#[test]
fn history_is_there_after_a_kill() {
    let mut broker = Broker::martlet_with(STREAM);
    publish(&broker, &["-q", "1", "-t", "sensors/a", "-m", "before"]);
    broker.kill();
    broker.start_again();
    publish(&broker, &["-q", "1", "-t", "sensors/a", "-m", "after"]);
    let mut sub = subscribe(&broker, &["-t", "$replay/earliest/sensors/+"]);
    assert_eq!(sub.texts(2), ["before", "after"]);
}

#[test]
fn the_rules_hold_for_history() {
    let folder = TempDir::new().unwrap();
    let acl = folder.path().join("acl");
    let rules = "topic readwrite sensors/#\ntopic deny sensors/secret\ntopic deny rest/#\n";
    fs::write(&acl, rules).unwrap();
    let rest = "[[telemetry]]\nname = \"rest\"\nfilters = [\"rest/#\"]\n";
    let acl = acl.to_str().unwrap();
    let access = format!("{STREAM}{rest}[access]\nsubscribe = \"strict\"\nacl_file = {acl:?}\n");
    let broker = Broker::martlet_with(&access);
    for topic in ["sensors/secret", "sensors/open"] {
        publish(&broker, &["-q", "1", "-t", topic, "-m", topic]);
    }
    let mut sub = subscribe(&broker, &["-t", "$replay/earliest/sensors/#"]);
    assert_eq!(sub.message().text(), "sensors/open");
    let mut denied = tool("mosquitto_sub", &broker);
    denied.args(["-d", "-t", "$replay/earliest/rest/#"]);
    let finished = Running::start(&mut denied).finish();
    assert!(finished.lines.iter().any(|line| line.contains(DENIED)), "{finished:?}");
    let denied =
        |log: &str| log.contains("Denied SUBSCRIBE") && log.contains("$replay/earliest/rest");
    broker.wait_for_log(denied).unwrap();
}

#[test]
fn a_place_that_is_none_is_refused_with_what_is_right() {
    let broker = Broker::martlet_with(STREAM);
    let mut wrong = tool("mosquitto_sub", &broker);
    wrong.args(["-d", "-t", "$replay/1h/sensors/#"]);
    let finished = Running::start(&mut wrong).finish();
    assert!(finished.lines.iter().any(|line| line.contains(DENIED)), "{finished:?}");
    broker.wait_for_log(|log| log.contains("<from> takes \"earliest\"")).unwrap();
}

/// A reload is enough for a stream that is new.
#[test]
fn a_stream_that_a_reload_brings_records() {
    let broker = Broker::martlet_with("[log]\nlevel = \"info\"\n");
    publish(&broker, &["-q", "1", "-t", "sensors/a", "-m", "before"]);
    fs::write(broker.folder().join("config"), STREAM).unwrap();
    let pid = Pid::from_raw(broker.pid().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
    broker.wait_for_log(|log| log.contains("The configuration was reloaded.")).unwrap();
    publish(&broker, &["-q", "1", "-t", "sensors/a", "-m", "after"]);
    let mut sub = subscribe(&broker, &["-t", "$replay/earliest/sensors/#"]);
    assert_eq!(sub.message().text(), "after");
    assert!(!broker.log().contains("takes effect at the next start"), "{}", broker.log());
}
