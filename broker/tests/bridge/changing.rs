//! Bridges that come, go and change while the broker runs.

use rustix::process::Signal;

use crate::broker::{Broker, Wire};
use crate::raw::client::Client;
use crate::talk::{expect_next, kept, message, publish, subscriber, wait_for_state};

const RELOADED: &str = "The configuration was reloaded.";

fn bridge(name: &str, far: &Broker, topics: &str) -> String {
    format!(
        "[[bridge]]\nname = '{name}'\nremote_client_id = '{name}'\nrestart = '1'\n\
         addresses = ['127.0.0.1:{}']\ntopics = [{topics}]\n",
        far.address().port()
    )
}

#[test]
fn bridges_come_go_and_change_with_a_reload_and_others_are_not_disturbed() {
    let far = Broker::start("");
    let stays = bridge("stays", &far, "'s/# out 1'");
    let mut near = Broker::start(&format!("{stays}{}", bridge("goes", &far, "'g/# out 1'")));
    for name in ["stays", "goes"] {
        wait_for_state(far.address(), name, "1");
    }
    let mut at_far = subscriber(far.address(), "h", "#", 1);
    let mut says = Client::connect(near.address(), "p");

    near.reload(&format!("{stays}{}", bridge("comes", &far, "'c/# out 1'")));
    near.said().wait_for(RELOADED, 1);
    wait_for_state(far.address(), "comes", "1");
    wait_for_state(far.address(), "goes", "0");
    near.said().wait_for("Bridge goes is no more.", 1);
    publish(&mut says, message("g/x", "nobody wants it", 1));
    publish(&mut says, message("c/x", "m", 1));
    expect_next(&mut at_far, "c/x m q1");

    near.reload(&format!("{stays}{}", bridge("comes", &far, "'d/# out 1'")));
    near.said().wait_for(RELOADED, 2);
    near.said().wait_for("Bridge comes is connected", 2);
    publish(&mut says, message("c/x", "nobody wants it", 1));
    publish(&mut says, message("d/x", "m", 1));
    expect_next(&mut at_far, "d/x m q1");

    publish(&mut says, message("s/x", "m", 1));
    expect_next(&mut at_far, "s/x m q1");
    assert_eq!(near.said().all().matches("Bridge stays is connected").count(), 1);
    assert!(!near.said().all().contains("next start"), "nothing waits for it");
    near.end(Signal::TERM);
    wait_for_state(far.address(), "comes", "0");
    wait_for_state(far.address(), "stays", "0");
}

#[test]
fn what_waits_for_a_bridge_that_is_taken_away_goes_out_when_it_comes_back() {
    let mut far = Broker::start("");
    let mut hearer = kept(far.address(), "h", "#", 1);
    let line = bridge("b", &far, "'t/# out 1'");
    let mut near = Broker::start(&line);
    wait_for_state(far.address(), "b", "1");
    far.end(Signal::TERM);
    near.said().wait_for("Bridge b (", 1);
    let mut says = Client::connect(near.address(), "p");
    publish(&mut says, message("t/1", "waits", 1));
    near.reload("");
    near.said().wait_for("Bridge b is no more.", 1);
    publish(&mut says, message("t/2", "nobody wants it", 1));
    far.start_again();
    near.reload(&line.replace(&line_port(&line), &far.address().port().to_string()));
    near.said().wait_for(RELOADED, 2);
    drop(hearer);
    hearer = kept(far.address(), "h", "#", 1);
    expect_next(&mut hearer, "t/1 waits q1");
    wait_for_state(far.address(), "b", "1");
    publish(&mut says, message("t/3", "m", 1));
    expect_next(&mut hearer, "t/3 m q1");
}

/// The port in the address of a bridge.
fn line_port(line: &str) -> String {
    let behind = line.split_once("127.0.0.1:").expect("an address").1;
    behind.chars().take_while(char::is_ascii_digit).collect()
}

#[test]
fn a_mistake_in_one_bridge_leaves_all_as_they_were() {
    let far = Broker::start("");
    let mut near = Broker::start(&bridge("b", &far, "'# out 1'"));
    wait_for_state(far.address(), "b", "1");
    near.reload(&bridge("other", &far, "'# sideways'"));
    near.said().wait_for("has no direction \"sideways\"", 1);
    let mut hearer = subscriber(far.address(), "h", "#", 1);
    publish(&mut Client::connect(near.address(), "p"), message("t", "m", 1));
    expect_next(&mut hearer, "t m q1");
}

#[test]
fn what_waits_longer_than_others_may_be_away_outlives_a_restart() {
    let far = Broker::start("");
    let wires = [(); 3].map(|()| Wire::to(far.address()));
    let names = ["b0", "b1", "b2"];
    let bridges = names.iter().zip(&wires).map(|(name, wire)| {
        format!(
            "[[bridge]]\nname = '{name}'\nremote_client_id = '{name}'\nrestart = '1'\n\
             addresses = ['127.0.0.1:{}']\ntopics = ['{name} out 1']\n",
            wire.port()
        )
    });
    let bridges: String = bridges.collect();
    let mut near = Broker::start(&format!("session_expiry_s = 1\n{bridges}"));
    for (name, wire) in names.iter().zip(&wires) {
        wait_for_state(far.address(), name, "1");
        wire.cut();
        wait_for_state(near.address(), name, "0");
        publish(&mut Client::connect(near.address(), "p"), message(name, "m", 1));
    }
    drop(kept(near.address(), "other", "x", 1));
    near.said().wait_for("Expiring client other", 1);
    near.end(Signal::KILL);
    let mut at_far = names.map(|name| subscriber(far.address(), &format!("h-{name}"), name, 1));
    near.start_again();
    for ((name, wire), at_far) in names.iter().zip(&wires).zip(&mut at_far) {
        wire.lead(far.address());
        expect_next(at_far, &format!("{name} m q1"));
    }
}
