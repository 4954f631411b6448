//! What crosses, and under which name.

use rustix::process::Signal;

use crate::broker::{Broker, Wire};
use crate::raw::Publish;
use crate::raw::client::Client;
use crate::talk::{expect_next, kept, message, next, publish, subscriber, wait_for_state};

fn bridge(port: u16, more: &str) -> String {
    format!(
        "[[bridge]]\nname = 'b'\nremote_client_id = 'gateway'\nrestart = '1'\n\
         addresses = ['127.0.0.1:{port}']\n{more}\n"
    )
}

#[test]
fn messages_go_out_and_come_in_under_their_names() {
    let far = Broker::start("");
    let near = Broker::start(&bridge(
        far.address().port(),
        "topics = ['up/# out 1', 'down/# in 2', '# both 2 l/ r/', '\"\" out 1 one/here one/there']",
    ));
    wait_for_state(near.address(), "gateway", "1");
    wait_for_state(far.address(), "gateway", "1");
    let (mut at_far, mut at_near) =
        (subscriber(far.address(), "far", "#", 2), subscriber(near.address(), "near", "#", 2));
    let (mut near_says, mut far_says) =
        (Client::connect(near.address(), "p"), Client::connect(far.address(), "p"));
    for (topic, qos, there) in [
        ("up/a", 0, "up/a m q0"),
        ("up/a", 1, "up/a m q1"),
        ("up/a", 2, "up/a m q1"),
        ("l/x/y", 2, "r/x/y m q2"),
        ("one/here", 1, "one/there m q1"),
    ] {
        publish(&mut near_says, message(topic, "m", qos));
        expect_next(&mut at_near, &format!("{topic} m q{qos}"));
        expect_next(&mut at_far, there);
    }
    for (topic, qos, here) in [("down/a", 2, "down/a m q2"), ("r/x", 1, "l/x m q1")] {
        publish(&mut far_says, message(topic, "m", qos));
        expect_next(&mut at_far, &format!("{topic} m q{qos}"));
        expect_next(&mut at_near, here);
    }
    // What no line names stays where it is; and nothing that crossed has come back.
    publish(&mut near_says, message("stays", "m", 1));
    publish(&mut far_says, message("stays", "m", 1));
    for (says, hears) in [(&mut near_says, &mut at_near), (&mut far_says, &mut at_far)] {
        publish(says, message("last", "m", 0));
        expect_next(hears, "stays m q1");
        expect_next(hears, "last m q0");
    }
}

#[test]
fn what_is_retained_here_is_retained_there() {
    let far = Broker::start("");
    let mut near = Broker::start(&bridge(far.address().port(), "topics = ['# out 1']"));
    wait_for_state(far.address(), "gateway", "1");
    let mut says = Client::connect(near.address(), "p");
    let retained = |topic: &str| Publish { retain: true, ..message(topic, "m", 1) };
    let mut live = subscriber(far.address(), "live", "#", 1);
    publish(&mut says, retained("before"));
    expect_next(&mut live, "before m q1");
    let mut later = subscriber(far.address(), "later", "before", 1);
    expect_next(&mut later, "before m q1 retained");
    // From the queue, too.
    near.end(Signal::TERM);
    wait_for_state(far.address(), "gateway", "0");
    near.start_again();
    let mut says = Client::connect(near.address(), "p");
    publish(&mut says, retained("after"));
    expect_next(&mut live, "after m q1");
    let mut later = subscriber(far.address(), "after", "after", 1);
    expect_next(&mut later, "after m q1 retained");
}

#[test]
fn what_was_retained_before_the_bridge_came_crosses_too() {
    let (mut far, wire) = (Broker::start(""), Wire::new());
    let near = Broker::start(&bridge(wire.port(), "topics = ['# out 1']"));
    let mut says = Client::connect(near.address(), "p");
    publish(&mut says, Publish { retain: true, ..message("t", "m", 1) });
    wire.lead(far.address());
    wait_for_state(far.address(), "gateway", "1");
    expect_retained(&far);
    // A broker that has lost everything gets it again.
    wire.cut();
    far.end(Signal::KILL);
    std::fs::remove_dir_all(far.dir().join("data")).unwrap();
    far.start_again();
    wire.lead(far.address());
    wait_for_state(far.address(), "gateway", "1");
    expect_retained(&far);
}

/// The message comes, live or retained; whoever subscribes after that finds it retained.
fn expect_retained(far: &Broker) {
    let mut hears = subscriber(far.address(), "h", "t", 1);
    assert!(next(&mut hears).is_some_and(|message| message.starts_with("t m q1")));
    let mut later = subscriber(far.address(), "later", "t", 1);
    expect_next(&mut later, "t m q1 retained");
}

#[test]
fn while_the_other_broker_is_away_everything_waits_for_it() {
    const COUNT: usize = 3000;
    let wire = Wire::new();
    let near = Broker::start(&bridge(wire.port(), "topics = ['q/# out 2']"));
    let mut says = Client::connect(near.address(), "p");
    for number in 0..COUNT {
        publish(&mut says, message("q/t", &number.to_string(), 1 + (number % 2) as u8));
    }
    let far = Broker::start("");
    let mut hears = kept(far.address(), "h", "q/#", 2);
    wire.lead(far.address());
    for number in 0..COUNT {
        expect_next(&mut hears, &format!("q/t {number} q{}", 1 + number % 2));
    }
    assert!(wire.came() > 0);
}

#[test]
fn what_comes_in_waits_for_a_bridge_that_is_away() {
    let far = Broker::start("");
    let mut near = Broker::start(&bridge(far.address().port(), "topics = ['t in 2']"));
    wait_for_state(far.address(), "gateway", "1");
    drop(kept(near.address(), "h", "t", 2));
    near.end(Signal::TERM);
    wait_for_state(far.address(), "gateway", "0");
    let mut says = Client::connect(far.address(), "p");
    for number in 0..100 {
        publish(&mut says, message("t", &number.to_string(), 2));
    }
    near.start_again();
    let mut hears = kept(near.address(), "h", "t", 2);
    for number in 0..100 {
        expect_next(&mut hears, &format!("t {number} q2"));
    }
}

#[test]
fn a_queue_drains_no_faster_than_it_may() {
    let wire = Wire::new();
    let near = Broker::start(&bridge(wire.port(), "topics = ['t out 1']\ndrain_per_s = 50"));
    let mut says = Client::connect(near.address(), "p");
    for number in 0..150 {
        publish(&mut says, message("t", &number.to_string(), 1));
    }
    let far = Broker::start("");
    let mut hears = subscriber(far.address(), "h", "t", 1);
    wire.lead(far.address());
    expect_next(&mut hears, "t 0 q1");
    #[expect(clippy::disallowed_methods, reason = "a test of a rate")]
    let began = std::time::Instant::now();
    for number in 1..150 {
        expect_next(&mut hears, &format!("t {number} q1"));
    }
    // One may go at once, and fifty in each second after that; never faster, perhaps slower.
    let took = began.elapsed();
    assert!(took.as_millis() > 1900, "{took:?} for 149 messages");
}

#[test]
fn what_was_retained_does_not_come_back_over_what_is_newer() {
    let (far, wire) = (Broker::start(""), Wire::new());
    let near = Broker::start(&format!(
        "[[bridge]]\nname = 'b'\nremote_client_id = 'gateway'\nrestart = '1'\n\
         addresses = ['127.0.0.1:{}']\ntopics = ['# both 1']\n",
        wire.port()
    ));
    let retained = |broker: &Broker, topic: &str, payload: &str| {
        let message = Publish { retain: true, ..message(topic, payload, 1) };
        publish(&mut Client::connect(broker.address(), "p"), message);
    };
    // What was published before it has crossed.
    let has_crossed = |from: &Broker, to: &Broker, mark: &str| {
        let mut hearer = subscriber(to.address(), "h", mark, 1);
        publish(&mut Client::connect(from.address(), "p"), message(mark, "m", 1));
        expect_next(&mut hearer, &format!("{mark} m q1"));
    };
    wire.lead(far.address());
    wait_for_state(far.address(), "gateway", "1");
    retained(&far, "t", "v1");
    has_crossed(&far, &near, "mark1");
    wire.cut();
    wait_for_state(near.address(), "gateway", "0");
    retained(&near, "t", "v2");
    wire.lead(far.address());
    wait_for_state(near.address(), "gateway", "1");
    has_crossed(&near, &far, "mark2");
    has_crossed(&far, &near, "mark3");
    for broker in [&near, &far] {
        let mut client = subscriber(broker.address(), "reads", "t", 1);
        expect_next(&mut client, "t v2 q1 retained");
    }
}
