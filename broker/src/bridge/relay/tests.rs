use std::time::Duration;

use martlet_codec::decode::{DecodeLimits, Decoded, decode};

use martlet_codec::reason::ProtocolVersion;
use martlet_engine::behind::STATEMENT;
use martlet_engine::report::Ids;

use super::*;
use crate::bridge::backoff::Bounds;
use crate::bridge::topics::{Topic, Topics};
use crate::bridge::{Login, Notifications, Start};

mod opening;

fn settings(lines: &[&str]) -> Settings {
    let second = Duration::from_secs(1);
    Settings {
        name: "b".into(),
        addresses: Vec::new(),
        round_robin: false,
        topics: Topics::new(lines.iter().map(|line| Topic::parse(line).expect(line)).collect()),
        remote: Login { client_id: "gateway".into(), user: None, password: None },
        local_client_id: "local.gateway".into(),
        local_user: None,
        keep_alive_s: 60,
        clean_session: false,
        local_clean_session: false,
        try_private: true,
        version: ProtocolVersion::V311,
        start: Start::Automatic,
        backoff: Bounds { base: second, cap: second },
        notifications: None,
        outgoing_retain: true,
        attempt_unsubscribe: true,
        packet_size_max: 1000,
        drain_per_s: 0,
        bind: None,
        tls: None,
    }
}

fn id(number: u16) -> PacketId {
    PacketId::new(number).expect("not 0")
}

fn publish(topic: &str, payload: &str, delivery: Delivery) -> OutPacket {
    let topic = TopicName::new(topic.as_bytes()).expect("a topic");
    let message = Message::new(topic, payload.as_bytes(), delivery.qos(), true);
    OutPacket::Publish { message, delivery, retain: true }
}

/// A bridge that says that it is one, and asks who is there.
const ASKS: Opening = Opening {
    private: true,
    probes: false,
    asks: true,
    elsewhere: false,
    subscribed: false,
    broker_id: 0xA,
};

const ONCE: Delivery = Delivery::ExactlyOnce { id: PacketId::FIRST, dup: false };

/// A relay with the other broker's and the engine's side in the test's hands.
struct World<'s> {
    relay: Relay<'s>,
    now: Time,
}

impl<'s> World<'s> {
    fn new(settings: &'s Settings) -> Self {
        let now = Time(1_000_000);
        let private = settings.try_private;
        let opening = Opening { private, asks: false, ..ASKS };
        Self { relay: Relay::begin(settings, opening, now), now }
    }

    /// One that asks who is there, or comes from another address.
    fn with(settings: &'s Settings, opening: Opening) -> Self {
        let now = Time(1_000_000);
        Self { relay: Relay::begin(settings, opening, now), now }
    }

    /// Accepted and subscribed.
    fn open(settings: &'s Settings) -> Self {
        let mut world = Self::new(settings);
        world.accept(true, &Ids::default());
        let answers: Vec<Vec<u8>> = world.sent().iter().filter_map(|sent| answer(sent)).collect();
        for answer in answers {
            world.remote(&answer).expect("good");
        }
        assert!(world.relay.is_open());
        world
    }

    fn accept(&mut self, session_present: bool, ids: &Ids) -> Vec<InPacket> {
        self.remote(&[0x20, 2, u8::from(session_present), 0]).expect("CONNACK");
        assert_eq!(self.relay.accepted(), Some(session_present));
        let mut say = Vec::new();
        self.relay.join(ids, self.now, &mut say);
        say
    }

    fn remote(&mut self, bytes: &[u8]) -> Result<Vec<InPacket>, Fault> {
        let limits = DecodeLimits { packet_size_max: 100_000, topic_levels_max: 100 };
        let decoded = decode(bytes, ProtocolVersion::V311, &limits).expect("a packet");
        let Decoded::Packet { packet, len, header_len } = decoded else { panic!("not whole") };
        let mut say = Vec::new();
        self.relay.on_remote(&packet, &bytes[header_len..len], &mut say)?;
        Ok(say)
    }

    fn local(&mut self, packet: OutPacket) -> Vec<InPacket> {
        let mut say = Vec::new();
        self.relay.on_local(packet, &mut say);
        self.relay.let_out(self.now, &mut say);
        say
    }

    /// The packets that went to the other broker since the last time, as bytes.
    fn sent(&mut self) -> Vec<Vec<u8>> {
        let bytes = self.relay.out.rest().to_vec();
        self.relay.has_sent(bytes.len(), self.now);
        let mut rest = &bytes[..];
        let mut packets = Vec::new();
        while let [_, len, ..] = rest {
            let (packet, behind) = rest.split_at(2 + usize::from(*len));
            packets.push(packet.to_vec());
            rest = behind;
        }
        packets
    }
}

/// What a broker says to SUBSCRIBE of one filter and to UNSUBSCRIBE.
fn answer(sent: &[u8]) -> Option<Vec<u8>> {
    match sent {
        [0x82, _, high, low, ..] => Some(vec![0x90, 3, *high, *low, 2]),
        [0xA2, _, high, low, ..] => Some(vec![0xB0, 2, *high, *low]),
        _ => None,
    }
}

#[test]
fn connect_says_who_it_is() {
    let mut settings = settings(&["a"]);
    settings.notifications = Some(Notifications { topic: "s".into(), local_only: false });
    let connect = |settings: &Settings| World::new(settings).sent().concat();
    assert_eq!(
        connect(&settings),
        *b"\x10\x19\x00\x04MQTT\x84\x2C\x00\x3C\x00\x07gateway\x00\x01s\x00\x010"
    );
    settings.notifications = Some(Notifications { topic: "s".into(), local_only: true });
    (settings.try_private, settings.clean_session) = (false, true);
    assert_eq!(connect(&settings), *b"\x10\x13\x00\x04MQTT\x04\x02\x00\x3C\x00\x07gateway");
}

#[test]
fn ids_that_are_in_use_are_not_used_for_subscriptions() {
    let settings = settings(&["a out", "b in 1"]);
    let mut world = World::new(&settings);
    world.sent();
    let in_flight = vec![id(65_535), id(65_533)];
    world.accept(true, &Ids { in_flight, ..Ids::default() });
    assert_eq!(
        world.sent(),
        [&b"\xA2\x05\xFF\xFE\x00\x01a"[..], b"\x82\x06\xFF\xFC\x00\x01b\x01"],
        "UNSUBSCRIBE with 65534 and SUBSCRIBE with 65532"
    );
}

#[test]
fn messages_wait_for_suback_and_acknowledgements_do_not() {
    let settings = settings(&["# both 2"]);
    let mut world = World::new(&settings);
    world.accept(true, &Ids::default());
    let subscribe = world.sent().pop().expect("SUBSCRIBE");
    world.local(publish("a", "m", ONCE));
    world.local(OutPacket::PubAck(id(9)));
    assert_eq!(world.sent(), [b"\x40\x02\x00\x09"]);
    world.remote(&answer(&subscribe).expect("an answer")).expect("SUBACK");
    world.relay.let_out(world.now, &mut Vec::new());
    assert_eq!(world.sent(), [b"\x35\x06\x00\x01a\x00\x01m"], "under the engine's id");
}

#[test]
fn a_delivery_out_goes_through_under_one_id() {
    let settings = settings(&["# out 2 l/ r/"]);
    let mut world = World::open(&settings);
    assert!(world.local(publish("l/a", "m", ONCE)).is_empty());
    assert_eq!(world.sent(), [b"\x35\x08\x00\x03r/a\x00\x01m"]);
    let said = world.remote(b"\x50\x02\x00\x01").expect("PUBREC");
    assert!(matches!(said[..], [InPacket::PubRec(PacketId::FIRST)]), "{said:?}");
    assert!(world.sent().is_empty(), "PUBREL is the engine's to send, once it is on disk");
    world.local(OutPacket::PubRel(id(1)));
    assert_eq!(world.sent(), [b"\x62\x02\x00\x01"]);
    let said = world.remote(b"\x70\x02\x00\x01").expect("PUBCOMP");
    assert!(matches!(said[..], [InPacket::PubComp(PacketId::FIRST)]), "{said:?}");
}

#[test]
fn a_delivery_in_is_acknowledged_by_the_engine_alone() {
    let settings = settings(&["# in 2 l/ r/"]);
    let mut world = World::open(&settings);
    let said = world.remote(b"\x35\x08\x00\x03r/a\x00\x07m").expect("PUBLISH");
    let [InPacket::Publish { message, delivery }] = &said[..] else { panic!("{said:?}") };
    assert_eq!(
        (message.topic().as_str(), message.payload(), message.retain()),
        ("l/a", &b"m"[..], true)
    );
    assert_eq!(*delivery, Delivery::ExactlyOnce { id: id(7), dup: false });
    assert!(world.sent().is_empty());
    world.local(OutPacket::PubRec(id(7)));
    world.local(OutPacket::PubComp(id(7)));
    assert_eq!(world.sent(), [b"\x50\x02\x00\x07", b"\x70\x02\x00\x07"]);
}

#[test]
fn what_the_other_broker_forgot_is_forgotten_here() {
    let settings = settings(&["# in 2"]);
    let in_flight = vec![id(9), id(11)];
    let ids = Ids { received: vec![id(3), id(5)], in_flight, released: vec![id(11)] };
    for (present, cleared) in [(true, 0), (false, 2)] {
        let mut world = World::new(&settings);
        let said = world.accept(present, &ids);
        let released = said.iter().filter(|packet| matches!(packet, InPacket::PubRel(_)));
        assert_eq!(released.count(), cleared, "{said:?}");
        assert_eq!(world.relay.tally.lost, u64::from(!present), "what awaits PUBCOMP may be lost");
        world.sent();
        world.local(OutPacket::PubComp(id(3)));
        assert_eq!(world.sent().is_empty(), !present, "nobody waits for it over there");
        // The next under this id is another message.
        world.local(OutPacket::PubComp(id(3)));
        assert_eq!(world.sent(), [b"\x70\x02\x00\x03"]);
    }
}

#[test]
fn what_cannot_go_out_is_settled_and_counted() {
    let settings = settings(&["# out 2 l/ \"\"", "big out 2"]);
    let mut world = World::open(&settings);
    let large = "x".repeat(1000);
    let at = |qos| match qos {
        0 => Delivery::AtMostOnce,
        1 => Delivery::AtLeastOnce { id: id(1), dup: false },
        _ => ONCE,
    };
    assert!(world.local(publish("big", &large, at(0))).is_empty());
    let said = world.local(publish("big", &large, at(1)));
    assert!(matches!(said[..], [InPacket::PubAck(PacketId::FIRST)]), "{said:?}");
    let said = world.local(publish("big", &large, at(2)));
    assert!(matches!(said[..], [InPacket::PubRec(PacketId::FIRST)]), "{said:?}");
    let said = world.local(OutPacket::PubRel(id(1)));
    assert!(matches!(said[..], [InPacket::PubComp(PacketId::FIRST)]), "{said:?}");
    assert!(world.sent().is_empty());
    assert_eq!((world.relay.tally.lost, world.relay.tally.sent), (3, 0));
}

#[test]
fn retain_goes_along_unless_it_may_not() {
    for (along, first) in [(true, 0x31), (false, 0x30)] {
        let settings = Settings { outgoing_retain: along, ..settings(&["# out"]) };
        let mut world = World::open(&settings);
        world.local(publish("a", "m", Delivery::AtMostOnce));
        assert_eq!(world.sent()[0][0], first);
    }
}

#[test]
fn a_bound_on_the_rate_lets_one_go_after_the_other() {
    let settings = Settings { drain_per_s: 10, ..settings(&["# out"]) };
    let mut world = World::open(&settings);
    for number in 0..5 {
        world.local(publish("a", &number.to_string(), Delivery::AtMostOnce));
    }
    assert_eq!(world.sent().len(), 1);
    for _ in 0..4 {
        let due = world.relay.deadline().expect("more wait");
        assert_eq!(due.0 - world.now.0, 100, "a tenth of a second");
        world.now = due;
        world.relay.on_time(due, &mut Vec::new()).expect("in time");
        assert_eq!(world.sent().len(), 1);
    }
}

#[test]
fn silence_is_noticed_and_kept_alive() {
    let settings = settings(&["# out"]);
    let mut world = World::new(&settings);
    let late = |world: &mut World<'_>| {
        world.now = world.relay.deadline().expect("something is awaited");
        world.relay.on_time(world.now, &mut Vec::new())
    };
    assert_eq!(late(&mut world), Err(Fault::Silent("CONNACK")));
    let mut world = World::new(&settings);
    world.accept(true, &Ids::default());
    assert_eq!(late(&mut world), Err(Fault::Silent("SUBACK")));
    let mut world = World::open(&settings);
    assert_eq!(late(&mut world), Ok(()));
    assert_eq!((world.now.0, world.sent()), (1_045_000, vec![vec![0xC0, 0]]), "PINGREQ");
    world.remote(b"\xD0\x00").expect("PINGRESP");
    assert_eq!(late(&mut world), Ok(()));
    assert_eq!(late(&mut world), Err(Fault::Silent("PINGRESP")));
}

/// While nothing is read, it goes on to be kept alive.
#[test]
fn who_is_not_read_is_not_silent() {
    let settings = settings(&["# out"]);
    let mut world = World::new(&settings);
    world.accept(true, &Ids::default());
    let suback_by = world.relay.deadline().expect("SUBACK is awaited").0;
    world.now = Time(suback_by - 1);
    world.relay.excuse(world.now);
    assert_eq!(world.relay.deadline(), Some(Time(suback_by - 1 + ANSWER_MS)));
    let mut world = World::open(&settings);
    for pings in 1..=3 {
        world.now = world.relay.deadline().expect("a ping is to be sent");
        assert_eq!(world.now.0, 1_000_000 + pings * 45_000);
        world.relay.on_time(world.now, &mut Vec::new()).expect("nobody is late");
        // Once with a socket that takes nothing: the next one is due no earlier.
        if pings != 2 {
            world.sent();
        }
        world.relay.excuse(world.now);
    }
    world.now = world.relay.deadline().expect("a ping is to be sent");
    world.relay.on_time(world.now, &mut Vec::new()).expect("nobody is late");
    world.now = world.relay.deadline().expect("its answer is awaited");
    let late = world.relay.on_time(world.now, &mut Vec::new());
    assert_eq!(late, Err(Fault::Silent("PINGRESP")), "it is read again");
}

#[test]
fn packets_that_no_server_sends_end_it() {
    let settings = settings(&["# both"]);
    let rows: &[&[u8]] = &[
        b"\x20\x02\x00\x00",
        b"\x90\x03\x00\x01\x00",
        b"\xB0\x02\x00\x01",
        b"\x82\x06\x00\x01\x00\x01a\x00",
        b"\xA2\x05\x00\x01\x00\x01a",
        b"\xC0\x00",
        b"\xE0\x00",
    ];
    for bytes in rows {
        let mut world = World::open(&settings);
        let fault = world.remote(bytes).expect_err("no server sends that");
        assert!(matches!(fault, Fault::Unexpected(_)), "{bytes:?}");
    }
}

#[test]
fn a_session_at_another_address_is_not_gone_on_with() {
    let settings = settings(&["# in 2"]);
    let opening = Opening { private: false, elsewhere: true, ..ASKS };
    let mut world = World::with(&settings, opening);
    world.remote(b"\x20\x02\x01\x00").expect("CONNACK with a session");
    assert_eq!(world.relay.accepted(), Some(false));
}

/// What our engine is told of who is behind the bridge.
fn stated(said: &[InPacket]) -> Vec<String> {
    let statements = said.iter().filter_map(|packet| match packet {
        InPacket::Publish { message, .. } => Some(message),
        _ => None,
    });
    let statements = statements.filter(|message| message.topic().as_str() == STATEMENT);
    statements.map(|message| String::from_utf8_lossy(message.payload()).into_owned()).collect()
}

#[test]
fn both_brokers_are_told_who_is_there_before_anything_is_wanted_of_them() {
    let answer = "00000000000000fa";
    for lines in [&["# both 1"], &["# in 1 l/ \"\""]] {
        let settings = settings(lines);
        let mut world = World::with(&settings, ASKS);
        world.sent();
        let said = world.accept(true, &Ids::default());
        assert!(stated(&said).is_empty(), "what was known holds until there is an answer");
        let [question] = &world.sent()[..] else { panic!("the question alone") };
        assert!(question.ends_with(b"\x00\x1A$SYS/broker/martlet/broker\x00"), "{question:?}");
        let mut publish = b"\x31\x00\x00\x1A$SYS/broker/martlet/broker".to_vec();
        publish.extend(answer.as_bytes());
        publish[1] = u8::try_from(publish.len() - 2).expect("short");
        assert!(world.remote(&publish).expect("PUBLISH").is_empty(), "it goes no further");
        assert!(world.relay.is_asking());
        let said = world.remote(&self::answer(question).expect("SUBACK")).expect("SUBACK");
        assert_eq!(stated(&said), [answer]);
        let sent = world.sent();
        let statement = [&b"\x30\x2C\x00\x1A$SYS/broker/martlet/behind"[..], b"000000000000000a"];
        let mut statement = statement.concat();
        statement[1] = u8::try_from(statement.len() - 2).expect("short");
        assert_eq!(sent[0], statement);
        assert_eq!(sent.last().expect("SUBSCRIBE")[0], 0x82);
    }
}

#[test]
fn a_broker_that_does_not_say_who_it_is_is_told_nothing() {
    let settings = settings(&["# in 1"]);
    let mut world = World::with(&settings, ASKS);
    world.accept(true, &Ids::default());
    let question = world.sent().pop().expect("the question");
    let said = world.remote(&answer(&question).expect("SUBACK")).expect("SUBACK");
    assert_eq!(stated(&said), [""], "nobody knows who is behind the bridge");
    let sent = world.sent();
    let [subscribe] = &sent[..] else { panic!("{sent:?}") };
    assert!(subscribe.ends_with(b"\x00\x01#\x01"));
    // One that is not asked is not told, either.
    let mut world = World::with(&settings, Opening { asks: false, ..ASKS });
    assert_eq!(stated(&world.accept(true, &Ids::default())), [""]);
}

#[test]
fn what_no_line_wants_does_not_come_in() {
    let settings = settings(&["a/# in 1", "b/# out 1"]);
    let mut world = World::open(&settings);
    for (bytes, comes_in) in [
        (&b"\x32\x08\x00\x03a/x\x00\x07m"[..], true),
        (&b"\x32\x08\x00\x03b/x\x00\x07m"[..], false),
    ] {
        let said = world.remote(bytes).expect("PUBLISH");
        let taken = matches!(said[..], [InPacket::Publish { .. }]);
        let refused = matches!(said[..], [InPacket::DeniedPublish { .. }]);
        assert_eq!((taken, refused), (comes_in, !comes_in), "{said:?}");
    }
    assert_eq!((world.relay.tally.received, world.relay.tally.lost), (1, 1));
}

#[test]
fn what_did_not_leave_is_not_counted_as_sent() {
    let settings = settings(&["# out 1"]);
    let mut world = World::open(&settings);
    world.sent();
    let before = world.relay.tally.sent;
    for number in 0..3 {
        world.local(publish("a", "m", Delivery::AtMostOnce));
        world.local(publish("b", "m", Delivery::AtLeastOnce { id: id(1 + number), dup: false }));
    }
    let len = world.relay.out.rest().len();
    // One at QoS 0, one at QoS 1, and half of the next at QoS 0.
    world.relay.has_sent(len / 3 + 1, world.now);
    assert_eq!((world.relay.tally.sent - before, world.relay.unsent()), (2, 2));
    world.relay.has_sent(world.relay.out.rest().len(), world.now);
    assert_eq!((world.relay.tally.sent - before, world.relay.unsent()), (6, 0));
}

#[test]
fn messages_that_cannot_go_make_room_all_the_same() {
    let settings = settings(&["# out"]);
    let mut world = World::open(&settings);
    let large = "x".repeat(300_000);
    let mut say = Vec::new();
    world.relay.on_local(publish("a", &large, Delivery::AtMostOnce), &mut say);
    assert!(!world.relay.has_room());
    assert!(world.relay.let_out(world.now, &mut say), "whoever waits for room is to be looked at");
    assert!(say.is_empty() && world.relay.has_room());
    assert!(!world.relay.let_out(world.now, &mut say));
}
