//! Two brokers with a bridge each to the other one, and the same topics both ways.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::broker::{Broker, Wire};
use crate::raw::client::Client;
use crate::talk::{expect_next, kept, message, next, publish, subscriber, wait_for_state};

/// A and B, and the wires that lead to each of them.
struct Pair {
    a: Broker,
    b: Broker,
    to_a: Wire,
    to_b: Wire,
}

const SAME: &str = "lead to the same broker";

impl Pair {
    /// Each with a bridge of these topics.
    fn new(topics: &str) -> Self {
        let (to_a, to_b) = (Wire::new(), Wire::new());
        let bridge = |name: &str, to: &Wire| {
            format!(
                "[[bridge]]\nname = '{name}'\nremote_client_id = '{name}'\nrestart = '1'\n\
                 addresses = ['127.0.0.1:{}']\ntopics = [{topics}]\n",
                to.port()
            )
        };
        let a = Broker::start(&bridge("from-a", &to_b));
        let b = Broker::start(&bridge("from-b", &to_a));
        let pair = Self { a, b, to_a, to_b };
        pair.mend();
        pair
    }

    /// Joins both, and waits until each knows that both bridges lead to one broker.
    fn mend(&self) {
        let before = [&self.a, &self.b].map(|broker| broker.said().all().matches(SAME).count());
        self.to_a.lead(self.a.address());
        self.to_b.lead(self.b.address());
        for broker in [&self.a, &self.b] {
            for bridge in ["from-a", "from-b"] {
                wait_for_state(broker.address(), bridge, "1");
            }
        }
        for (broker, before) in [&self.a, &self.b].into_iter().zip(before) {
            broker.said().wait_for(SAME, before + 1);
        }
    }

    fn cut(&self) {
        self.to_a.cut();
        self.to_b.cut();
    }
}

/// Messages that bridges sent and received so far, as the broker publishes it from time to time.
fn crossed(address: SocketAddr) -> Vec<String> {
    ["sent", "received", "left_out"]
        .map(|what| {
            let topic = format!("$SYS/broker/martlet/bridges/{what}");
            let mut client = subscriber(address, &format!("reads-{what}"), &topic, 0);
            next(&mut client).expect("a broker that runs")
        })
        .into()
}

/// The subscriber of each side hears a message of its own once, and one of the other side over each
/// of the two bridges; and nothing else.
fn hear_all(pair: &Pair, hearers: &mut [Client; 2], qos: u8, round: &str) {
    for (side, broker) in [&pair.a, &pair.b].into_iter().enumerate() {
        let payload = format!("{side}-{round}");
        publish(&mut Client::connect(broker.address(), "says"), message("t", &payload, qos));
        let expected = format!("t {payload} q{}", qos.min(1));
        for hearer in [side, 1 - side, 1 - side] {
            expect_next(&mut hearers[hearer], &expected);
        }
    }
}

#[test]
fn each_message_crosses_over_both_bridges_and_never_comes_back() {
    let pair = Pair::new("'# both 1'");
    let mut hearers = [&pair.a, &pair.b].map(|broker| subscriber(broker.address(), "h", "#", 1));
    for round in 0..20 {
        for qos in 0..3 {
            hear_all(&pair, &mut hearers, qos, &round.to_string());
        }
    }
    // What goes round and round would still be moving.
    let mut before = Vec::new();
    for _ in 0..30 {
        let now = [&pair.a, &pair.b].map(|broker| crossed(broker.address()));
        if now.as_slice() == before.as_slice() {
            break;
        }
        before = now.into();
        hear_pause(&pair);
    }
    let calm = [&pair.a, &pair.b].map(|broker| crossed(broker.address()));
    hear_pause(&pair);
    let later = [&pair.a, &pair.b].map(|broker| crossed(broker.address()));
    assert_eq!(calm, later, "nothing moves any more");
    assert_eq!(calm[0][0], "$SYS/broker/martlet/bridges/sent 60 q0 retained", "{calm:?}");
    assert_eq!(calm[1][0], "$SYS/broker/martlet/bridges/sent 60 q0 retained", "{calm:?}");
}

/// Until both have published their numbers once more.
fn hear_pause(pair: &Pair) {
    for broker in [&pair.a, &pair.b] {
        let topic = "$SYS/broker/uptime";
        let mut client = subscriber(broker.address(), "waits", topic, 0);
        for _ in 0..3 {
            next(&mut client).expect("a broker that runs");
        }
    }
}

#[test]
fn what_waited_while_both_were_apart_crosses_over_both_bridges() {
    let pair = Pair::new("'# both 1'");
    let mut hearers = [&pair.a, &pair.b].map(|broker| kept(broker.address(), "hearer", "#", 1));
    hear_all(&pair, &mut hearers, 1, "before");
    pair.cut();
    for (broker, bridges) in [(&pair.a, ["from-a", "from-b"]), (&pair.b, ["from-a", "from-b"])] {
        for bridge in bridges {
            wait_for_state(broker.address(), bridge, "0");
        }
    }
    for (side, broker) in [("a", &pair.a), ("b", &pair.b)] {
        publish(&mut Client::connect(broker.address(), "says"), message("t", side, 1));
    }
    expect_next(&mut hearers[0], "t a q1");
    expect_next(&mut hearers[1], "t b q1");
    pair.to_a.lead(pair.a.address());
    pair.to_b.lead(pair.b.address());
    // What had crossed may come again: its acknowledgement may have been cut off.
    for (hearer, expected) in hearers.iter_mut().zip(["t b q1", "t a q1"]) {
        let heard = std::iter::from_fn(|| next(hearer)).filter(|said| !said.contains("before"));
        assert_eq!(heard.take(2).collect::<Vec<_>>(), [expected; 2]);
    }
    for broker in [&pair.a, &pair.b] {
        for bridge in ["from-a", "from-b"] {
            wait_for_state(broker.address(), bridge, "1");
        }
    }
    hear_all(&pair, &mut hearers, 1, "after");
}

#[test]
fn two_names_over_two_bridges_are_two_messages() {
    // A sends t as t; B fetches it as from-a/t. Neither goes back.
    let (to_a, to_b) = (Wire::new(), Wire::new());
    let bridge = |name: &str, to: &Wire, topics: &str| {
        format!(
            "[[bridge]]\nname = '{name}'\nremote_client_id = '{name}'\nrestart = '1'\n\
             addresses = ['127.0.0.1:{}']\ntopics = [{topics}]\n",
            to.port()
        )
    };
    let a = Broker::start(&bridge("from-a", &to_b, "'# both 1'"));
    let b = Broker::start(&bridge("from-b", &to_a, "'# both 1 from-a/ \"\"'"));
    to_a.lead(a.address());
    to_b.lead(b.address());
    for broker in [&a, &b] {
        broker.said().wait_for(SAME, 1);
        for bridge in ["from-a", "from-b"] {
            wait_for_state(broker.address(), bridge, "1");
        }
    }
    let (mut at_a, mut at_b) =
        (subscriber(a.address(), "h", "#", 1), subscriber(b.address(), "h", "#", 1));
    publish(&mut Client::connect(a.address(), "says"), message("t", "m", 1));
    expect_next(&mut at_a, "t m q1");
    let mut both = [next(&mut at_b), next(&mut at_b)].map(|said| said.expect("two of them"));
    both.sort();
    assert_eq!(both, ["from-a/t m q1", "t m q1"]);
    publish(&mut Client::connect(a.address(), "says"), message("last", "m", 1));
    expect_next(&mut at_a, "last m q1");
}

#[test]
fn a_broker_that_was_started_again_is_known_again() {
    let mut pair = Pair::new("'# both 1'");
    pair.to_a.cut();
    pair.b.said().wait_for("Bridge from-b (", 1);
    pair.a.end(rustix::process::Signal::TERM);
    pair.a.start_again();
    // It has another number now, and knows nobody: both say so once more.
    pair.mend();
    let mut hearers = [&pair.a, &pair.b].map(|broker| subscriber(broker.address(), "h", "#", 1));
    for round in ["1", "2"] {
        hear_all(&pair, &mut hearers, 1, round);
    }
}

#[test]
fn metrics_tell_of_each_bridge() {
    let far = Broker::start("");
    let near = Broker::start(&format!(
        "[[bridge]]\nname = 'b'\nremote_client_id = 'gateway'\nrestart = '1'\n\
         addresses = ['127.0.0.1:{}']\ntopics = ['out/# out 1', 'in/# in 1']\n\
         [http]\naddress = '127.0.0.1:0'\nallow_anonymous = true\n",
        far.address().port()
    ));
    near.said().wait_for("Bridge b is connected to", 1);
    let (mut at_far, mut at_near) =
        (subscriber(far.address(), "h", "out/#", 1), subscriber(near.address(), "h", "in/#", 1));
    publish(&mut Client::connect(near.address(), "p"), message("out/x", "m", 1));
    expect_next(&mut at_far, "out/x m q1");
    for number in ["1", "2"] {
        publish(&mut Client::connect(far.address(), "p"), message("in/x", number, 1));
        expect_next(&mut at_near, &format!("in/x {number} q1"));
    }
    let metrics = metrics(near.last_address());
    for line in [
        "martlet_bridge_connected{bridge=\"b\"} 1\n",
        "martlet_bridge_connections_total{bridge=\"b\"} 1\n",
        "martlet_bridge_sent_total{bridge=\"b\"} 1\n",
        "martlet_bridge_received_total{bridge=\"b\"} 2\n",
        "martlet_bridge_lost_total{bridge=\"b\"} 0\n",
    ] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
}

fn metrics(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let host = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(host.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
