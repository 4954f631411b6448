//! Bridges: the same `connection` block with Martlet and with mosquitto on either side, and the
//! same comes of it.

use mosquitto_compat_tests::broker::{Broker, Kind, mosquitto_binary};
use mosquitto_compat_tests::martlet;
use mosquitto_compat_tests::tools::{Received, Running, publish, subscribe};

const KINDS: [Kind; 2] = [Kind::Martlet, Kind::Mosquitto];

fn start(kind: Kind, config: &str) -> Broker {
    let program = match kind {
        Kind::Martlet => martlet::binary().unwrap(),
        Kind::Mosquitto => mosquitto_binary(),
    };
    let config = format!("allow_anonymous true\n{config}");
    Broker::start_with_conf(kind, &program, &config).unwrap_or_else(|error| panic!("{error}"))
}

/// A broker with a bridge to `far`, that is connected.
fn bridged(kind: Kind, far: &Broker, lines: &str) -> Broker {
    let config = format!(
        "connection b\naddress 127.0.0.1:{}\nremote_clientid gateway\nrestart_timeout 1\n{lines}",
        far.port()
    );
    let near = start(kind, &config);
    for broker in [far, &near] {
        wait_for_state(broker, "1");
    }
    near
}

/// Waits until a broker says that the bridge is connected, or is not.
fn wait_for_state(broker: &Broker, state: &str) {
    let mut watcher = subscribe(broker, &["-t", "$SYS/broker/connection/gateway/state"]);
    while watcher.message().text() != state {}
}

/// What it hears up to the last message.
fn heard(listener: &mut Running) -> Vec<String> {
    let messages = std::iter::from_fn(|| Some(listener.message()));
    messages.take_while(|message| message.topic != "end").map(|message| shown(&message)).collect()
}

fn shown(message: &Received) -> String {
    let retained = if message.retain { " retained" } else { "" };
    format!("{} {} q{}{retained}", message.topic, message.text(), message.qos)
}

#[test]
fn the_same_block_carries_the_same_messages() {
    const LINES: &str = "topic up/# out 2\ntopic down/# in 1\ntopic # both 2 l/ r/\n\
                         topic \"\" out 1 one/here one/there\ntopic p/+ out 1 \"\" q/\n";
    let mut all = Vec::new();
    for (near_kind, far_kind) in KINDS.iter().flat_map(|near| KINDS.map(|far| (*near, far))) {
        let far = start(far_kind, "");
        let near = bridged(near_kind, &far, LINES);
        let brokers = [&near, &far];
        let mut listeners = brokers.map(|broker| subscribe(broker, &["-q", "2", "-t", "#"]));
        let mut came = Vec::new();
        for (at, topic, qos, crosses) in [
            (0, "up/a", "0", true),
            (0, "up/a", "1", true),
            (0, "up/a", "2", true),
            (0, "l/x/y", "2", true),
            (0, "one/here", "1", true),
            (0, "p/1", "1", true),
            (0, "down/a", "1", false),
            (1, "down/a", "2", true),
            (1, "r/x", "1", true),
            (1, "up/a", "1", false),
        ] {
            publish(brokers[at], &["-q", qos, "-t", topic, "-m", "m"]);
            if crosses {
                // It is there before the next one is sent, so that the order is the same.
                came.push(shown(&listeners[1 - at].message()));
            }
        }
        publish(&near, &["-r", "-q", "1", "-t", "up/kept", "-m", "kept"]);
        came.push(shown(&listeners[1].message()));
        let mut late = subscribe(&far, &["-q", "2", "-t", "up/#"]);
        came.push(shown(&late.message()));
        for (broker, listener) in brokers.iter().zip(&mut listeners) {
            publish(broker, &["-q", "1", "-t", "end", "-m", "end"]);
            came.extend(heard(listener));
        }
        all.push(((near_kind.name(), far_kind.name()), came));
    }
    let (_, control) = all.last().expect("mosquitto on both sides").clone();
    for (kinds, came) in all {
        assert_eq!(came, control, "{kinds:?}");
    }
}

#[test]
fn nothing_comes_back_over_a_bridge_that_carries_everything_both_ways() {
    for (near_kind, far_kind) in KINDS.iter().flat_map(|near| KINDS.map(|far| (*near, far))) {
        let far = start(far_kind, "");
        let near = bridged(near_kind, &far, "topic # both 1\n");
        let mut at_near = subscribe(&near, &["-q", "1", "-t", "#"]);
        let mut at_far = subscribe(&far, &["-q", "1", "-t", "#"]);
        publish(&near, &["-q", "1", "-t", "a", "-m", "near"]);
        publish(&far, &["-q", "1", "-t", "b", "-m", "far"]);
        // Each side hears of both, and then of the end from either side, and of nothing twice.
        for listener in [&mut at_near, &mut at_far] {
            let mut texts = listener.texts(2);
            texts.sort();
            assert_eq!(texts, ["far", "near"], "{near_kind:?} {far_kind:?}");
        }
        publish(&near, &["-q", "1", "-t", "end", "-m", "near"]);
        publish(&far, &["-q", "1", "-t", "end", "-m", "far"]);
        for listener in [&mut at_near, &mut at_far] {
            let mut texts = listener.texts(2);
            texts.sort();
            assert_eq!(texts, ["far", "near"], "{near_kind:?} {far_kind:?}");
        }
    }
}

#[test]
fn what_waits_for_mosquitto_is_there_when_it_comes_back() {
    let mut far = Broker::mosquitto();
    let near = bridged(Kind::Martlet, &far, "topic q/# out 2\n");
    far.kill();
    wait_for_state(&near, "0");
    let expected: Vec<String> = (10..30).map(|number: i32| number.to_string()).collect();
    for number in &expected {
        publish(&near, &["-r", "-q", "2", "-t", &format!("q/{number}"), "-m", number]);
    }
    far.start_again();
    // Retained, so that it makes no difference whether the bridge or the listener is there first.
    let mut hears = subscribe(&far, &["-q", "2", "-t", "q/#"]);
    let mut texts = hears.texts(20);
    texts.sort();
    assert_eq!(texts, expected);
}

#[test]
fn the_state_is_told_on_both_sides() {
    for near_kind in KINDS {
        for far_kind in KINDS {
            let far = start(far_kind, "");
            let near = bridged(near_kind, &far, "topic a out\n");
            drop(near);
            wait_for_state(&far, "0");
        }
    }
}
