//! Until messages go both ways.

use super::*;

#[test]
fn who_only_looks_leaves_with_a_goodbye_once_accepted() {
    let settings = settings(&["# both 1"]);
    let opening = Opening { private: false, probes: true, ..ASKS };
    let mut world = World::with(&settings, opening);
    world.sent();
    let fault = world.remote(b"\x20\x02\x00\x00").expect_err("all is known");
    assert_eq!(fault, Fault::TakenWithoutBit);
    world.relay.leave();
    assert_eq!(world.sent(), [b"\xE0\x00"]);
}

#[test]
fn what_the_other_broker_keeps_is_not_subscribed_to_again() {
    let settings = settings(&["# in 1"]);
    let opening = Opening { subscribed: true, ..ASKS };
    for asks in [false, true] {
        for (session_present, elsewhere, again) in
            [(true, false, false), (false, false, true), (true, true, true)]
        {
            let mut world = World::with(&settings, Opening { asks, elsewhere, ..opening });
            world.sent();
            world.remote(&[0x20, 2, u8::from(session_present), 0]).expect("CONNACK");
            world.relay.join(&Ids::default(), world.now, &mut Vec::new());
            let mut sent = world.sent();
            if asks {
                let question = sent.pop().expect("the question");
                world.remote(&answer(&question).expect("SUBACK")).expect("SUBACK");
                sent = world.sent();
            }
            assert_eq!(sent.iter().any(|packet| packet[0] == 0x82), again, "{sent:?}");
            assert_eq!((world.relay.is_open(), world.relay.subscribed), (!again, !again));
        }
    }
}

#[test]
fn a_refused_subscription_is_asked_for_again() {
    let settings = settings(&["a in", "b in"]);
    for (codes, subscribed) in [([0, 0], true), ([0, 0x80], false)] {
        let mut world = World::new(&settings);
        world.accept(true, &Ids::default());
        for sent in world.sent() {
            match sent[..] {
                [0x82, _, high, low, ..] => {
                    let suback = [0x90, 4, high, low, codes[0], codes[1]];
                    world.remote(&suback).expect("SUBACK");
                }
                _ => assert!(answer(&sent).is_none_or(|answer| world.remote(&answer).is_ok())),
            }
        }
        assert!(world.relay.is_open());
        assert_eq!(world.relay.subscribed, subscribed);
    }
}

#[test]
fn what_comes_before_it_is_known_from_whom_waits_for_that() {
    let settings = settings(&["# in 1"]);
    let mut world = World::with(&settings, ASKS);
    world.accept(true, &Ids::default());
    let question = world.sent().pop().expect("the question");
    assert!(world.remote(b"\x32\x06\x00\x01t\x00\x07m").expect("PUBLISH").is_empty());
    let said = world.remote(&answer(&question).expect("SUBACK")).expect("SUBACK");
    assert_eq!(stated(&said[..1]), [""]);
    assert!(matches!(&said[1..], [InPacket::Publish { .. }]), "{said:?}");
    // Not more than there is room for, and nothing is forgotten at the end.
    let mut world = World::with(&settings, ASKS);
    world.accept(true, &Ids::default());
    assert!(world.remote(b"\x32\x06\x00\x01t\x00\x07m").expect("PUBLISH").is_empty());
    let body = vec![b'x'; HELD_BYTES_MAX];
    world.relay.pass_in(None, body.len(), &mut Vec::new());
    let said = world.remote(b"\x32\x06\x00\x01t\x00\x08m").expect("PUBLISH");
    assert_eq!(said.len(), 1, "{said:?}");
    let mut world = World::with(&settings, ASKS);
    world.accept(true, &Ids::default());
    world.remote(b"\x30\x04\x00\x01tm").expect("PUBLISH");
    assert_eq!(world.relay.take_early().len(), 1);
}

#[test]
fn nobody_over_there_says_here_who_is_behind_the_bridge() {
    let settings = settings(&["# in 1 $SYS/broker/martlet/ \"\""]);
    let mut world = World::open(&settings);
    let said = world.remote(b"\x30\x18\x00\x06behind00000000000000fa").expect("PUBLISH");
    assert!(said.is_empty(), "{said:?}");
    let said = world.remote(b"\x32\x0B\x00\x06behind\x00\x07m").expect("PUBLISH");
    assert!(matches!(said[..], [InPacket::DeniedPublish { .. }]), "{said:?}");
    assert_eq!(world.relay.tally.lost, 2);
}
