//! What a program can count on, one sentence at a time.

use martlet_codec::packet::PacketType;
use martlet_codec::reason::QoS;
use martlet_device::client::Client;
use martlet_device::error::{Bound, Error, Misuse, TransportFault};
use martlet_device::settings::{Publication, Settings, Subscription, WhenFull};

use crate::support::Kept;
use crate::support::{
    ACCEPTED, RESUMED, ack, client, connect, heard, id, memory, message, online, publish,
    reconnect, sent, words,
};

#[test]
fn a_payload_larger_than_the_buffer_comes_in_pieces_and_is_acknowledged_after_the_last() {
    let bytes = publish(1, 9, "a/b", &[7; 100], false);
    for part in [1, 2, 3, 10, 31, 200] {
        let mut client = client(Settings::new("c"), 40, 64);
        connect(&mut client, 0, ACCEPTED);
        let (last, most) = bytes.split_last().expect("not empty");
        let events = heard(&mut client, most, part).expect("legal");
        assert_eq!(events, ["a/b 1 0+31/100", "a/b 1 31+31/100", "a/b 1 62+31/100"], "{part}");
        assert!(sent(&mut client, 0).is_empty(), "not acknowledged yet");
        assert_eq!(heard(&mut client, &[*last], 1).expect("legal"), ["a/b 1 93+7/100"]);
        assert_eq!(sent(&mut client, 0), ["PUBACK 9"]);
    }
}

#[test]
fn a_message_of_qos_2_is_seen_whole_once() {
    let mut client = client(Settings::new("c"), 40, 64);
    connect(&mut client, 0, ACCEPTED);
    let bytes = publish(2, 9, "a", &[7; 60], false);
    let again = publish(2, 9, "a", &[7; 60], true);
    // Cut after a piece: all of it comes again.
    assert_eq!(heard(&mut client, &bytes[..50], 50), Ok(vec!["a 2 0+33/60".into()]));
    reconnect(&mut client, RESUMED);
    let whole = vec!["a 2 0+33/60 dup".to_owned(), "a 2 33+27/60 dup".to_owned()];
    assert_eq!(heard(&mut client, &again, 50), Ok(whole));
    // Cut before PUBREC leaves: it was seen, and is not seen again. [MQTT-4.3.3-2]
    reconnect(&mut client, RESUMED);
    assert_eq!(heard(&mut client, &again, 50), Ok(vec![]));
    assert_eq!(sent(&mut client, 0), ["PUBREC 9"]);
    assert_eq!(heard(&mut client, &ack(PacketType::PubRel, 9), 9), Ok(vec![]));
    assert_eq!(sent(&mut client, 0), ["PUBCOMP 9"]);
    // The id is free again, and means another message.
    assert_eq!(heard(&mut client, &bytes, 100).map(|events| events.len()), Ok(2));
}

#[test]
fn a_topic_that_does_not_fit_is_passed_over_counted_and_acknowledged() {
    let topic = "t".repeat(100);
    for (qos, answer) in [(0, None), (1, Some("PUBACK 9")), (2, Some("PUBREC 9"))] {
        for part in [1, 7, 300] {
            let mut client = client(Settings::new("c"), 40, 64);
            connect(&mut client, 0, ACCEPTED);
            let long = publish(qos, 9, &topic, &[7; 60], false);
            let bytes = [long, publish(0, 0, "a", b"x", false)].concat();
            assert_eq!(heard(&mut client, &bytes, part), Ok(vec!["a 0 0+1/1".into()]));
            assert_eq!(client.counters().unseen, 1);
            assert_eq!(sent(&mut client, 0), answer.into_iter().collect::<Vec<_>>());
        }
    }
}

#[test]
fn the_outbox_holds_what_is_published_offline_and_counts_what_it_drops() {
    for (when_full, kept) in
        [(WhenFull::DropNewest, ["0", "1", "2"]), (WhenFull::DropOldest, ["3", "4", "5"])]
    {
        let mut client = client(Settings { when_full, ..Settings::new("c") }, 64, 51);
        for payload in ["0", "1", "2", "3", "4", "5"] {
            let refused = client.publish(&message("abc", payload, 1)).is_err();
            assert_eq!(refused, when_full == WhenFull::DropNewest && payload > "2");
        }
        assert_eq!(client.counters().dropped, 3);
        connect(&mut client, 0, ACCEPTED);
        let payloads: Vec<_> = sent(&mut client, 0)
            .iter()
            .map(|packet| packet.split_once('=').expect("a PUBLISH").1.to_owned())
            .collect();
        assert_eq!(payloads, kept);
        // What is under way is never dropped for something new.
        let full = client.publish(&message("abc", "6", 1));
        assert_eq!(full, Err(Error::Capacity(Bound::Outbox)));
        assert_eq!(client.outstanding(), 3);
    }
}

#[test]
fn what_never_fits_drops_nothing() {
    let settings = Settings { when_full: WhenFull::DropOldest, ..Settings::new("c") };
    let mut client = client(settings, 64, 50);
    client.publish(&message("abc", "0", 1)).expect("it fits");
    let large = Publication::new("abc", &[0; 60]);
    assert_eq!(client.publish(&large), Err(Error::Capacity(Bound::Outbox)));
    assert_eq!((client.outstanding(), client.counters().dropped), (1, 1));
}

/// [MQTT-4.4.0-1] [MQTT-4.6.0-1] [MQTT-3.3.1-1]
#[test]
fn what_is_not_settled_is_sent_again_in_its_first_order() {
    let mut client = online(Settings { window: 3, ..Settings::new("c") });
    for (payload, qos) in [("0", 1), ("1", 2), ("2", 1), ("3", 2), ("4", 0)] {
        client.publish(&message("a", payload, qos)).expect("room");
    }
    let first = ["PUBLISH1 2 a=0", "PUBLISH2 3 a=1", "PUBLISH1 4 a=2", "PUBLISH0 0 a=4"];
    assert_eq!(sent(&mut client, 0), first, "the window is full, QoS 0 passes");
    heard(&mut client, &ack(PacketType::PubRec, 3), 9).expect("legal");
    reconnect(&mut client, RESUMED);
    let again = ["PUBLISH1 2 a=0 dup", "PUBREL 3", "PUBLISH1 4 a=2 dup"];
    assert_eq!(sent(&mut client, 0), again);
    let acks = [ack(PacketType::PubComp, 3), ack(PacketType::PubAck, 2)].concat();
    assert_eq!(heard(&mut client, &acks, 9).map(|events| events.len()), Ok(2));
    assert_eq!(sent(&mut client, 0), ["PUBLISH2 5 a=3"]);
}

#[test]
fn a_broker_that_lost_the_session_gets_what_is_not_settled_as_new() {
    let mut client = online(Settings::new("c"));
    for (payload, qos) in [("0", 1), ("1", 2), ("2", 2)] {
        client.publish(&message("a", payload, qos)).expect("room");
    }
    sent(&mut client, 0);
    heard(&mut client, &ack(PacketType::PubRec, 3), 9).expect("legal");
    client.detach(0, 0);
    client.attach(0).expect("CONNECT fits");
    sent(&mut client, 0);
    let events = heard(&mut client, ACCEPTED, 9).expect("legal");
    assert_eq!(events, ["connected false", "published 3"], "3 was with the broker");
    assert_eq!(sent(&mut client, 0), ["PUBLISH1 2 a=0", "PUBLISH2 4 a=2"]);
}

#[test]
fn standing_subscriptions_are_made_once_a_session() {
    const WISHES: &[Subscription<'static>] = &[
        Subscription { filter: "a/+", qos: QoS::AtLeastOnce },
        Subscription { filter: "b", qos: QoS::ExactlyOnce },
    ];
    let mut client = online(Settings { subscriptions: WISHES, ..Settings::new("c") });
    for round in 0..2 {
        for number in [2 + 2 * round, 3 + 2 * round] {
            assert_eq!(sent(&mut client, 0), [format!("SUBSCRIBE {number}")]);
            let suback = [0x90, 3, 0, number as u8, 1];
            let events = heard(&mut client, &suback, 9).expect("legal");
            let standing = number % 2;
            assert_eq!(events, [format!("subscribed {number} [1] Some({standing})")]);
        }
        assert!(sent(&mut client, 0).is_empty());
        reconnect(&mut client, RESUMED);
        assert!(sent(&mut client, 0).is_empty(), "the broker has them");
        reconnect(&mut client, ACCEPTED);
    }
    // A SUBSCRIBE without an answer is sent again on the next connection.
    sent(&mut client, 0);
    reconnect(&mut client, RESUMED);
    assert_eq!(sent(&mut client, 0), ["SUBSCRIBE 6"]);
}

/// [MQTT-3.1.2-23]
#[test]
fn keep_alive_keeps_itself_and_notices_silence() {
    let mut client = online(Settings { keep_alive_s: 40, ..Settings::new("c") });
    assert_eq!(client.next_deadline(), Some(30_000));
    assert!(sent(&mut client, 29_999).is_empty());
    assert_eq!(sent(&mut client, 30_000), ["PINGREQ"]);
    assert_eq!(client.next_deadline(), Some(40_000));
    assert_eq!(client.receive(35_000, b"\xD0\x00"), Ok(2));
    assert_eq!(client.next_deadline(), Some(60_000));
    assert_eq!(sent(&mut client, 60_000), ["PINGREQ"]);
    // As long as bytes come, PINGRESP may stand behind them.
    assert_eq!(client.receive(69_000, b"\x30"), Ok(1));
    assert_eq!(client.receive(78_999, b""), Ok(0));
    assert_eq!(client.receive(79_000, b""), Err(Error::Transport(TransportFault::Silent)));
    assert!(client.is_over());
    client.detach(79_000, u32::MAX);
    assert_eq!(client.next_deadline(), Some(80_000), "the back-off begins with a second");
}

#[test]
fn a_broker_that_does_not_answer_is_tried_again_later() {
    let mut client = client(Settings::new("c"), 64, 64);
    for wait in [1_000, 2_000, 4_000] {
        let now = client.next_deadline().expect("it wants to connect");
        assert!(client.wants_connection(now));
        client.attach(now).expect("CONNECT fits");
        sent(&mut client, now);
        let silent = Err(Error::Transport(TransportFault::Silent));
        assert_eq!(client.receive(now + 10_000, b""), silent);
        client.detach(now + 10_000, u32::MAX);
        assert_eq!(client.next_deadline(), Some(now + 10_000 + wait));
    }
}

#[test]
fn disconnecting_says_so_and_stays_offline() {
    let mut client = online(Settings::new("c"));
    client.publish(&message("a", "x", 1)).expect("room");
    client.disconnect();
    assert_eq!(sent(&mut client, 0), ["DISCONNECT"], "what was not begun waits");
    assert_eq!(client.event(), Some(martlet_device::event::Event::Disconnected));
    assert!(client.is_over());
    client.detach(0, 0);
    assert_eq!((client.next_deadline(), client.wants_connection(u64::MAX)), (None, false));
    client.connect();
    assert!(client.wants_connection(0));
    connect(&mut client, 0, RESUMED);
    assert_eq!(sent(&mut client, 0), ["PUBLISH1 2 a=x"]);
}

#[test]
fn a_lent_payload_is_sent_from_where_it_lies() {
    static LARGE: [u8; 1000] = [b'z'; 1000];
    let mut client = client(Settings::new("c"), 64, 32);
    connect(&mut client, 0, ACCEPTED);
    let large = Publication::new("a", &LARGE).qos(QoS::ExactlyOnce);
    assert_eq!(client.publish_lent(&large), Ok(Some(id(2))));
    let expected = format!("PUBLISH2 2 a={}", "z".repeat(1000));
    assert_eq!(sent(&mut client, 0), std::slice::from_ref(&expected));
    reconnect(&mut client, RESUMED);
    assert_eq!(sent(&mut client, 0), [expected + " dup"]);
    assert_eq!(client.lent(), 1);
    heard(&mut client, &ack(PacketType::PubRec, 2), 9).expect("legal");
    assert_eq!(client.lent(), 0);
}

#[test]
fn a_session_outlives_a_reset_and_damage_is_noticed() {
    let mut kept = Kept::default();
    let mut client = online(Settings::new("c"));
    for (payload, qos) in [("0", 1), ("1", 2), ("2", 0), ("3", 1)] {
        client.publish(&message("a", payload, qos)).expect("room");
        client.save(&mut kept).expect("it cannot fail");
    }
    sent(&mut client, 0);
    let bytes = [ack(PacketType::PubRec, 3), publish(2, 9, "b", b"x", false)].concat();
    heard(&mut client, &bytes, 99).expect("legal");
    assert!(client.is_unsaved());
    client.save(&mut kept).expect("it cannot fail");
    assert!(!client.is_unsaved());

    let restored = |kept: &mut Kept, id| {
        let mut client = Client::new(Settings::new(id), memory(256, 512)).expect("legal");
        let found = client.restore(kept).expect("it cannot fail");
        (client, found)
    };
    let (mut client, found) = restored(&mut kept, "c");
    assert!(found);
    connect(&mut client, 0, RESUMED);
    let again = ["PUBLISH1 2 a=0 dup", "PUBREL 3", "PUBLISH1 4 a=3 dup"];
    assert_eq!(sent(&mut client, 0), again);
    let dup = publish(2, 9, "b", b"x", true);
    assert_eq!(heard(&mut client, &dup, 9), Ok(vec![]), "it was seen before the reset");

    assert!(!restored(&mut kept, "d").1, "another client's");
    for at in 0..kept.0.len() {
        kept.0[at] ^= 0x10;
        assert!(!restored(&mut kept, "c").1, "byte {at} is damaged");
        kept.0[at] ^= 0x10;
    }
    kept.0.pop();
    assert!(!restored(&mut kept, "c").1, "torn");
}

#[test]
fn mistakes_are_told_before_anything_is_sent() {
    let refused = |settings: Settings<'static>, receive, outbox| {
        Client::new(settings, memory(receive, outbox)).err()
    };
    let plain = Settings::new("c");
    let long = Subscription { filter: "a/long/filter/of/somebody", qos: QoS::AtMostOnce };
    let wishes: &'static [Subscription<'static>] = Box::leak(Box::new([long]));
    let bad = Subscription { filter: "a#", qos: QoS::AtMostOnce };
    let bad: &'static [Subscription<'static>] = Box::leak(Box::new([bad]));
    let misuse = |misuse| Some(Error::Misuse(misuse));
    assert_eq!(refused(plain, 31, 64), misuse(Misuse::ReceiveTooSmall));
    assert_eq!(refused(Settings::new(""), 64, 64), misuse(Misuse::Settings)); // [MQTT-3.1.3-7]
    let name = Settings { password: Some(b"p"), ..plain };
    assert_eq!(refused(name, 64, 64), misuse(Misuse::Settings)); // [MQTT-3.1.2-22]
    let will = Settings { will: Some(Publication::new("a/+", b"")), ..plain };
    assert_eq!(refused(will, 64, 64), misuse(Misuse::Topic));
    let id = Settings::new("a-client-id-that-is-longer-than-the-buffer");
    assert_eq!(refused(id, 40, 64), misuse(Misuse::ReceiveTooSmall));
    let small = Settings { subscriptions: wishes, ..plain };
    assert_eq!(refused(small, 64, 32), misuse(Misuse::OutboxTooSmall));
    let wrong = Settings { subscriptions: bad, ..plain };
    assert_eq!(refused(wrong, 64, 64), misuse(Misuse::Filter));

    let mut client = online(plain);
    assert_eq!(client.publish(&message("a/+", "x", 1)), Err(Error::Misuse(Misuse::Topic)));
    assert_eq!(client.subscribe(&[]), Err(Error::Misuse(Misuse::Filter)));
    assert_eq!(client.unsubscribe(&["a#"]), Err(Error::Misuse(Misuse::Filter)));
    assert_eq!(client.counters().dropped, 0, "what is wrong is not lost to a bound");
    client.detach(0, 0);
    assert_eq!(client.receive(0, b""), Err(Error::Misuse(Misuse::NotAttached)));
}

#[test]
fn will_user_name_and_password_stand_in_connect() {
    let will = Publication::new("w", b"gone").qos(QoS::AtLeastOnce).retained();
    let settings = Settings {
        will: Some(will),
        user_name: Some("u"),
        password: Some(b"p"),
        clean_session: true,
        ..Settings::new("c")
    };
    let mut client = client(settings, 64, 64);
    client.attach(0).expect("CONNECT fits");
    let mut out = [0; 64];
    let len = client.transmit(0, &mut out);
    let expected = b"\x10\x1C\0\x04MQTT\x04\xEE\0\x3C\0\x01c\0\x01w\0\x04gone\0\x01u\0\x01p";
    assert_eq!(out[..len], *expected, "{:?}", words(&out[..len]));
}
