//! CONNECT, the session it leads to, and the end of a connection.

use martlet_codec::reason::{ConnectReturnCode, ProtocolVersion};
use martlet_engine::effects::{DisconnectCause, Farewell, Notice};
use martlet_engine::input::{Connect, InPacket, Input, LostCause};
use martlet_engine::limits::Limits;

use crate::world::{World, clean, durable, limits, message};

#[test]
fn return_codes() {
    let v31 = |connect| Connect { version: ProtocolVersion::V31, ..connect };
    let keep_alive = |keep_alive_s, connect| Connect { keep_alive_s, ..connect };
    let any = limits;
    let no_empty = || Limits { allow_zero_length_client_id: false, ..limits() };
    let patient = || Limits { keep_alive_max_s: 60, ..limits() };
    let long_id = "x".repeat(60_000);
    let rows: [(&str, Limits, Connect, u8); 13] = [
        ("[MQTT-3.1.4-4] accepted", any(), clean("c"), 0),
        ("[MQTT-3.1.3-5] 23 letters and digits", any(), clean("0123456789abcdefXYZabcd"), 0),
        ("longer than that", any(), clean(&long_id), 0),
        ("3.1", any(), v31(clean("c")), 0),
        ("[MQTT-3.1.3-6] empty id, clean session", any(), clean(""), 0),
        ("[MQTT-3.1.3-8] empty id, kept session", any(), durable(""), 2),
        ("[MQTT-3.1.3-9] empty id, not allowed", no_empty(), clean(""), 2),
        ("[MQTT-3.1.3-9] empty id in 3.1", any(), v31(clean("")), 2),
        (
            "[MQTT-3.1.2-2] a level that is not served",
            any(),
            Connect { version: ProtocolVersion::V5, ..clean("c") },
            1,
        ),
        ("keep alive at the bound", patient(), keep_alive(60, clean("c")), 0),
        ("keep alive over the bound", patient(), keep_alive(61, clean("c")), 2),
        ("no keep alive where one is wanted", patient(), keep_alive(0, clean("c")), 2),
        ("no place", Limits { sessions_max: 0, ..limits() }, clean("c"), 3),
    ];
    for (row, limits, connect, code) in rows {
        let mut world = World::with(limits);
        let link = world.open(connect);
        // [MQTT-3.2.2-4] session present 0
        assert_eq!(world.heard(link), [format!("CONNACK {code} false")], "{row}");
        let refused = (code != 0).then(|| ConnectReturnCode::new(code).map(Farewell::Refused));
        assert_eq!(world.farewell(link), refused.flatten(), "[MQTT-3.2.2-5] {row}");
        let is_refusal = matches!(world.notices(), [Notice::Refused { .. }]);
        assert_eq!(is_refusal, code != 0, "{row}");
        // [MQTT-3.1.4-5] what was pipelined behind it
        world.packet(link, InPacket::PingReq);
        assert_eq!(world.heard(link).len(), usize::from(code == 0), "{row}");
        let counters = world.engine.counters();
        assert_eq!(counters.connects_accepted, u64::from(code == 0), "{row}");
        assert_eq!(counters.connects_refused, u64::from(code != 0), "{row}");
    }
}

#[test]
fn assigned_client_ids_are_unique() {
    // [MQTT-3.1.3-6]: even if the nonce is not
    let mut world = World::new();
    let first = world.clean("");
    let second = world.clean("");
    assert_eq!(world.engine.gauges().connected, 2);
    assert_eq!(world.farewell(first), None);
    assert_eq!(world.farewell(second), None);
    let Notice::Connected { client_id, .. } = &world.notices()[0] else { panic!("a notice") };
    assert!(client_id.starts_with("auto-"), "{client_id}");
}

#[test]
fn session_present_tells_the_truth() {
    // What was there, what comes, session present, whether the subscription is there.
    let rows = [
        ("nothing", "clean", false, false), // [MQTT-3.2.2-1]
        ("nothing", "kept", false, false),  // [MQTT-3.2.2-3]
        ("kept", "kept", true, true),       // [MQTT-3.2.2-2] [MQTT-3.1.2-4]
        ("kept", "clean", false, false),    // [MQTT-3.1.2-6] [MQTT-3.1.4-3]
        ("clean", "kept", false, false),    // [MQTT-3.1.2-6]
        ("clean", "clean", false, false),
        ("kept then clean", "kept", false, false), // [MQTT-3.1.2-6]
        ("kept", "kept in 3.1", false, true),      // that bit is reserved in 3.1
    ];
    for (before, now, present, subscribed) in rows {
        for crash in [false, true] {
            let mut world = World::new();
            for session in before.split(" then ").filter(|&session| session != "nothing") {
                let client =
                    world.connect(if session == "kept" { durable("c") } else { clean("c") });
                world.subscribe(client, "t", 1);
                if session == "clean" {
                    world.unsubscribe(client, "t");
                }
                world.packet(client, InPacket::Disconnect);
            }
            if crash {
                world.crash();
            }
            let mut connect = if now == "clean" { clean("c") } else { durable("c") };
            if now.ends_with("3.1") {
                connect.version = ProtocolVersion::V31;
            }
            let client = world.open(connect);
            let row = format!("{before}, {now}, crash {crash}");
            assert_eq!(world.heard(client), [format!("CONNACK 0 {present}")], "{row}");
            world.inside(message("t", "m", 0));
            assert_eq!(!world.heard(client).is_empty(), subscribed, "{row}");
        }
    }
}

#[test]
fn connack_comes_before_what_waited() {
    // [MQTT-3.2.0-1]
    let mut world = World::new();
    let client = world.durable("c");
    world.subscribe(client, "t", 1);
    world.lose(client);
    world.inside(message("t", "m", 1));
    let client = world.open(durable("c"));
    assert_eq!(world.heard(client), ["CONNACK 0 true", "t m q1 #1"]);
}

#[test]
fn a_second_connection_takes_over() {
    // [MQTT-3.1.4-2]; no connection without a session [MQTT-4.1.0-2]
    for connect in [clean("c"), durable("c")] {
        let mut world = World::new();
        let first = world.connect(connect.clone());
        world.subscribe(first, "t", 1);
        world.inside(message("t", "m", 1));
        let second = world.open(connect.clone());
        assert_eq!(world.farewell(first), Some(Farewell::TakenOver));
        let heard = world.heard(second);
        if connect.clean_session {
            assert_eq!(heard, ["CONNACK 0 false"]);
        } else {
            assert_eq!(heard, ["CONNACK 0 true", "t m q1 #1 dup"]);
        }
        world.packet(first, InPacket::PingReq);
        assert!(world.fx.outgoing.is_empty(), "the old link is not known");
        world.lose(first);
        assert_eq!(world.engine.gauges().connected, 1);
    }
}

#[test]
fn a_second_connect_on_a_link_is_a_violation() {
    let mut world = World::new();
    let link = world.clean("c");
    world.step(Input::Open { link, connect: Box::new(clean("d")) });
    assert_eq!(world.violated(link), Some("MQTT-3.1.0-2"));
    let link = world.clean("c");
    world.packet(link, InPacket::Forbidden { rule: "MQTT-3.1.0-2" });
    assert_eq!(world.violated(link), Some("MQTT-3.1.0-2")); // [MQTT-4.8.0-1]
    assert_eq!(world.engine.gauges().sessions, 0);
}

#[test]
fn the_notice_says_why() {
    let mut world = World::new();
    let client = world.clean("c");
    world.step(Input::Lost { link: client, cause: LostCause::Closed });
    let cause = DisconnectCause::Lost(LostCause::Closed);
    let expected = Notice::Disconnected { link: client, client_id: "c".into(), cause };
    assert_eq!(world.notices(), [expected]);
}

#[test]
fn keep_alive_is_one_and_a_half_times() {
    // [MQTT-3.1.2-24]: seconds asked for; milliseconds until a packet; ms from there to the end
    for (keep_alive_s, packet_after, closes_after) in
        [(10, 0, 15_000), (10, 14_999, 15_000), (1, 700, 1_500), (65_535, 5, 98_302_500)]
    {
        let mut world = World::new();
        let client = world.connect(Connect { keep_alive_s, ..clean("c") });
        world.wait(packet_after);
        world.packet(client, InPacket::PingReq);
        assert_eq!(world.heard(client), ["PINGRESP"]); // [MQTT-3.12.4-1]
        world.wait(closes_after - 1);
        assert_eq!(world.farewell(client), None);
        world.wait(1);
        assert_eq!(world.farewell(client), Some(Farewell::KeepAliveExceeded));
    }
    let mut world = World::new();
    let client = world.clean("c"); // 0 is never
    world.wait(1 << 40);
    assert_eq!(world.farewell(client), None);
}

#[test]
fn deadlines_of_old_connections_do_not_pile_up() {
    let mut world = World::with(Limits { session_expiry_s: 100_000, ..limits() });
    for n in 0..20_000u32 {
        let connect = Connect { keep_alive_s: 60_000, ..durable("c") };
        let link = martlet_engine::input::LinkId { slot: 0, generation: n };
        world.step_unchecked(Input::Open { link, connect: Box::new(connect) });
        world.step_unchecked(Input::Lost { link, cause: LostCause::Closed });
        world.now.0 += 1;
    }
    let mut looked_at = 0;
    while let Some(time) = world.engine.next_deadline() {
        looked_at += 1;
        world.now = time;
        world.step_unchecked(Input::Due);
    }
    assert!(looked_at < 2000, "{looked_at}");
    assert_eq!(world.engine.counters().sessions_expired, 1);
}

#[test]
fn shutdown_says_farewell_to_all_and_keeps_sessions() {
    let mut world = World::new();
    let kept = world.durable("kept");
    world.subscribe(kept, "t", 1);
    let other = world.clean("clean");
    world.step(Input::Shutdown);
    assert_eq!(world.farewell(kept), Some(Farewell::ShuttingDown));
    assert_eq!(world.farewell(other), Some(Farewell::ShuttingDown));
    assert_eq!(world.engine.gauges().sessions, 1);
    let late = world.open(clean("late"));
    assert_eq!(world.heard(late), ["CONNACK 3 false"], "nobody would say farewell to it");
    world.crash();
    let kept = world.open(durable("kept"));
    assert_eq!(world.heard(kept), ["CONNACK 0 true"]);
}

#[test]
fn a_session_without_a_connection_expires() {
    let mut world = World::with(Limits { session_expiry_s: 100, ..limits() });
    let client = world.durable("c");
    world.subscribe(client, "t", 1);
    world.wait(1_000_000); // connected: it does not
    world.lose(client);
    world.wait(60_000);
    let client = world.open(durable("c"));
    assert_eq!(world.heard(client), ["CONNACK 0 true"]);
    world.lose(client);
    world.inside(message("t", "m", 1));
    world.wait(60_000);
    world.crash(); // it counts on from when it was
    world.wait(39_999);
    assert_eq!(world.engine.gauges().sessions, 1);
    world.wait(1);
    assert_eq!(world.engine.gauges().sessions, 0);
    assert_eq!(world.engine.counters().sessions_expired, 1);
    let lost = martlet_engine::counters::Bound::SessionExpiry;
    assert_eq!(world.engine.counters().dropped(lost), 1);
    assert!(world.kept.messages.is_empty());
}
