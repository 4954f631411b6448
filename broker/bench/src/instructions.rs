//! Instructions that fixed inputs take, counted by callgrind: no clock and no other program in it.

use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;

use martlet_codec::decode::{DecodeLimits, Decoded, decode};
use martlet_codec::encode::{encode, encoded_len};
use martlet_codec::ids::PacketId;
use martlet_codec::packet::{Delivery, Packet, Publish};
use martlet_codec::properties::Properties;
use martlet_codec::reason::{ProtocolVersion, QoS};
use martlet_codec::topic::TopicName;
use martlet_engine::Engine;
use martlet_engine::effects::{Effects, OutPacket};
use martlet_engine::filter::Filter;
use martlet_engine::input::{Connect, InPacket, Input, LinkId, Time};
use martlet_engine::limits::Limits;
use martlet_engine::message::Message;
use martlet_engine::snapshot::Snapshot;

use crate::error::BenchError;

const TOPIC: &str = "site/7/machine/1234/temperature";
const VERSION: ProtocolVersion = ProtocolVersion::V311;
const LIMITS: DecodeLimits = DecodeLimits { packet_size_max: 1 << 20, topic_levels_max: 200 };
const PUBLISHER: LinkId = LinkId { slot: 0, generation: 0 };
/// Counted with so many operations and with twice as many: what differs is what they took.
const TIMES: u64 = 2_000;

/// What is counted: its name, and how many deliveries one operation is.
const INPUTS: [(&str, u64); 7] = [
    ("decode", 1),
    ("encode", 1),
    ("message", 1),
    ("route", 1),
    ("route-among-10000", 1),
    ("fan-out-100", 100),
    ("route-qos1", 1),
];
/// The part by which a count may differ: hash tables are keyed anew in each process.
const LENIENCE: f64 = 0.02;

/// Counts all and prints them beside what was accepted. `false`: one is not as it was.
pub(crate) fn run(accept: bool) -> Result<bool, BenchError> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.txt");
    let accepted = fs::read_to_string(&path).unwrap_or_default();
    let (mut text, mut all_same) = (String::new(), true);
    for (input, deliveries) in INPUTS {
        let (once, twice) = (count(input, TIMES)?, count(input, 2 * TIMES)?);
        let each = twice.saturating_sub(once) as f64 / (TIMES * deliveries) as f64;
        let before = number(&accepted, input);
        let is_same = before.is_some_and(|before| (each - before).abs() <= before * LENIENCE);
        let before = before.map_or("nothing".to_owned(), |before| format!("{before:.0}"));
        let remark = if is_same { "" } else { "  <-- not as it was" };
        println!("{input:<20} {each:>6.0}, accepted {before}{remark}");
        let _ = writeln!(text, "{input} {each:.0}");
        all_same &= is_same;
    }
    if accept {
        fs::write(path, text).map_err(BenchError::system("writing instructions.txt"))?;
    }
    Ok(all_same || accept)
}

/// What stands behind this name.
fn number(text: &str, name: &str) -> Option<f64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(first, _)| *first == name).and_then(|(_, number)| number.parse().ok())
}

/// Runs this program again, under callgrind.
fn count(input: &str, times: u64) -> Result<u64, BenchError> {
    let program = std::env::current_exe().map_err(BenchError::system("finding ourselves"))?;
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program);
    valgrind.args(["fixed", input, &times.to_string()]);
    let output = valgrind.output().map_err(BenchError::system("valgrind (apt-get install)"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let collected = said.lines().find_map(|line| line.split_once("Collected : "));
    let number = collected.and_then(|(_, number)| number.trim().parse().ok());
    number.ok_or(BenchError::Callgrind(said))
}

/// One of [`INPUTS`], so many times.
pub(crate) fn repeat(input: &str, times: u64) {
    match input {
        "decode" => repeat_decode(times),
        "encode" => repeat_encode(times),
        "message" => (0..times).for_each(|_| drop(black_box(message(QoS::AtMostOnce)))),
        "route" => World::new(1, 0, QoS::AtMostOnce).repeat(times),
        "route-among-10000" => World::new(1, 10_000, QoS::AtMostOnce).repeat(times),
        "fan-out-100" => World::new(100, 0, QoS::AtMostOnce).repeat(times),
        _ => World::new(1, 0, QoS::AtLeastOnce).repeat(times),
    }
}

fn publish() -> Packet<'static> {
    Packet::Publish(Publish {
        delivery: Delivery::AtMostOnce,
        retain: false,
        topic: TopicName::new(TOPIC.as_bytes()).ok(),
        properties: Properties::EMPTY,
        payload: &[7; 64],
    })
}

fn repeat_encode(times: u64) {
    let (packet, mut out) = (publish(), [0; 256]);
    for _ in 0..times {
        let _ = black_box(encode(black_box(&packet), VERSION, black_box(&mut out)));
    }
}

fn repeat_decode(times: u64) {
    let mut bytes = vec![0; encoded_len(&publish(), VERSION).expect("it is legal")];
    encode(&publish(), VERSION, &mut bytes).expect("the buffer has its length");
    for _ in 0..times {
        let decoded = decode(black_box(&bytes), VERSION, &LIMITS);
        assert!(matches!(black_box(decoded), Ok(Decoded::Packet { .. })), "a whole packet");
    }
}

fn message(qos: QoS) -> Message {
    let topic = TopicName::new(TOPIC.as_bytes()).expect("a topic");
    Message::new(topic, &[7; 64], qos, false)
}

/// An engine with subscribers of one filter, and filters that nothing matches.
struct World {
    engine: Engine,
    fx: Effects,
    qos: QoS,
}

impl World {
    fn new(subscribers: u32, others: u32, qos: QoS) -> Self {
        let limits = Limits { sys_interval_s: 0, ..Limits::default() };
        let engine = Engine::new(limits, Snapshot::default(), Time(0));
        let mut world = Self { engine, fx: Effects::default(), qos };
        (0..=subscribers).for_each(|slot| world.open(slot));
        (1..=subscribers).for_each(|slot| world.subscribe(slot, TOPIC));
        (0..others).for_each(|n| world.subscribe(0, &format!("site/7/machine/{n}/pressure")));
        world
    }

    fn open(&mut self, slot: u32) {
        let connect = Connect::clean(format!("client {slot}"), 1 << 20);
        let connect = Connect { keep_alive_s: 60, ..connect };
        let link = LinkId { slot, ..PUBLISHER };
        self.handle(Input::Open { link, connect: Box::new(connect) });
    }

    fn subscribe(&mut self, slot: u32, filter: &str) {
        let subscriptions = Box::new([(Filter::parse(filter).expect("a filter"), self.qos)]);
        let packet = InPacket::Subscribe { id: PacketId::FIRST, subscriptions, beyond: 0 };
        let link = LinkId { slot, ..PUBLISHER };
        self.handle(Input::Packet { link, packet });
        self.clear();
        self.handle(Input::Room { link, bytes: u32::MAX });
    }

    /// One message each time, with its acknowledgements, and room again.
    fn repeat(&mut self, times: u64) {
        let message = message(self.qos);
        let delivery = match self.qos {
            QoS::AtMostOnce => Delivery::AtMostOnce,
            QoS::AtLeastOnce | QoS::ExactlyOnce => {
                Delivery::AtLeastOnce { id: PacketId::FIRST, dup: false }
            }
        };
        for _ in 0..times {
            let packet = InPacket::Publish { message: message.clone(), delivery };
            self.handle(Input::Packet { link: PUBLISHER, packet });
            for at in 0..self.fx.outgoing.len() {
                let outgoing = &self.fx.outgoing[at];
                let link = outgoing.link;
                if let OutPacket::Publish { delivery: Delivery::AtLeastOnce { id, .. }, .. } =
                    outgoing.packet
                {
                    self.handle(Input::Packet { link, packet: InPacket::PubAck(id) });
                }
                self.handle(Input::Room { link, bytes: u32::MAX });
            }
            self.clear();
        }
    }

    fn handle(&mut self, input: Input) {
        self.engine.handle(Time(0), input, &mut self.fx);
    }

    fn clear(&mut self) {
        self.fx.changes.clear();
        self.fx.outgoing.clear();
        self.fx.farewells.clear();
        self.fx.notices.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::{INPUTS, number};

    #[test]
    fn every_input_has_an_accepted_count() {
        let accepted = include_str!("../instructions.txt");
        for (input, _) in INPUTS {
            assert!(number(accepted, input).is_some_and(|count| count > 0.0), "{input}");
        }
        assert_eq!(number("a 1\nb 2", "c"), None);
    }
}
