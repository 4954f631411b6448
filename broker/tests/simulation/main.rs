//! Thousands of little histories: one engine, a few clients, a network and a disk that fail, and a
//! model that knows what must hold. First faults, then calm, and then everything must drain. Once
//! with facts kept in memory, and once in the real store on a simulated disk that refuses, forgets
//! what was not synced, and is cut off at any operation.
//!
//! `TEST_SIM_SEEDS=5000` runs so many seeds, `TEST_SIM_FIRST=100` begins there,
//! `TEST_SIM_SEED=123` replays one.

#![allow(missing_docs, unreachable_pub, clippy::print_stderr, reason = "a test")]

mod client;
mod keeper;
#[path = "../machine/mod.rs"]
mod machine;
mod model;
mod random;
#[path = "../simulated/mod.rs"]
mod simulated;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use martlet_codec::ids::PacketId;
use martlet_codec::packet::Delivery;
use martlet_codec::reason::{ProtocolVersion, QoS};
use martlet_codec::topic::TopicName;
use martlet_engine::filter::Filter;
use martlet_engine::input::{Connect, InPacket, Input, LinkId, Time};
use martlet_engine::limits::Limits;
use martlet_engine::message::Message;
use martlet_engine::snapshot::Snapshot;

use machine::Machine;
use model::{Model, Published, Tally, Verdict};
use simulated::{Cuts, Doing};
use world::{Keeping, Outcome};

/// How many seeds run unless somebody asks for more.
const SEEDS: u64 = 200;
const SEEDS_ON_DISK: u64 = 500;

#[test]
fn every_seed_keeps_every_promise() {
    let all = run_seeds(Keeping::InMemory, SEEDS, "every_seed_keeps");
    if let Some((tally, _)) = all {
        assert!(tally.saw_everything(), "something never happened: {tally:?}");
    }
}

#[test]
fn the_store_keeps_every_promise_wherever_it_is_cut_off() {
    let all = run_seeds(Keeping::OnDisk, SEEDS_ON_DISK, "the_store_keeps");
    if let Some((tally, cuts)) = all {
        assert!(tally.saw_everything(), "something never happened: {tally:?}");
        for (doing, part) in Doing::ALL.into_iter().flat_map(|d| [(d, "journal"), (d, "state")]) {
            let count = cuts.get(&(doing, part)).copied().unwrap_or(0);
            assert!(count > 0, "never cut off at {doing:?} of the {part}: {cuts:?}");
        }
    }
}

/// Runs the seeds that were asked for, `seeds` unless somebody did: what all of them saw, if they
/// were enough to see everything.
fn run_seeds(keeping: Keeping, seeds: u64, test: &str) -> Option<(Tally, Cuts)> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let (first, count) = match number("TEST_SIM_SEED") {
        Some(seed) => (seed, 1),
        None => {
            let count = number("TEST_SIM_SEEDS").unwrap_or(seeds);
            (number("TEST_SIM_FIRST").unwrap_or(0), count)
        }
    };
    let (mut total, mut cuts) = (Tally::default(), Cuts::new());
    let mut faults = Vec::new();
    for seed in first..first + count {
        match run_twice(seed, keeping) {
            Ok(outcome) => {
                total.add(&outcome.tally);
                outcome.cuts.into_iter().for_each(|(at, n)| *cuts.entry(at).or_default() += n);
            }
            Err(fault) => faults.push((seed, fault)),
        }
    }
    eprintln!("{keeping:?}, seeds {first} to {}: {total:?} {cuts:?}", first + count - 1);
    for (seed, fault) in faults.iter().take(3) {
        eprintln!("seed {seed}: {fault}");
    }
    if let Some((seed, _)) = faults.first() {
        panic!(
            "{} of {count} seeds failed; replay with TEST_SIM_SEED={seed} \
             cargo test -p martlet --test simulation {test}",
            faults.len(),
        );
    }
    (count >= seeds).then_some((total, cuts))
}

/// A seed is worth nothing that does not bring about the same again.
fn run_twice(seed: u64, keeping: Keeping) -> Result<Outcome, String> {
    let run = || {
        let run = catch_unwind(AssertUnwindSafe(|| world::run(seed, keeping)));
        run.unwrap_or_else(|_| Err("a panic, see above".into()))
    };
    let (first, second) = (run()?, run()?);
    match first.digest == second.digest {
        true => Ok(first),
        false => Err("two runs, two outcomes".into()),
    }
}

/// The model itself: a message was dropped and counted, the power went, and its publisher, who was
/// never answered, sends it again. It is delivered now, and none is missing that was not counted.
#[test]
fn what_was_dropped_before_a_crash_is_owed_anew_when_it_comes_again() {
    let limits = Limits { inflight_max: 1, queue_messages_max: 1, ..Limits::default() };
    let mut machine = Machine::new(limits.clone(), Snapshot::default(), Time(1));
    let mut model = Model::new(limits);
    let (by, topic, qos) = ("c".to_owned(), "a".to_owned(), QoS::AtLeastOnce);
    let published =
        || Published { by: by.clone(), topic: topic.clone(), qos, retain: false, empty: false };
    model.published.extend((0..3).map(|_| published()));

    let link = connect(&mut machine);
    subscribe(&mut machine, link, "a");
    // One goes out, one waits, one is dropped; and something reaches the disk behind that.
    (0..3).for_each(|number| publish(&mut machine, link, number));
    subscribe(&mut machine, link, "b");
    assert_eq!(machine.engine().counters().messages_dropped(), 1);
    assert_eq!(check(&mut machine, &mut model), Ok(()));
    machine.commit(usize::MAX);
    model.on_committed(machine.watermark());
    machine.crash().expect("nothing happens to memory");
    assert_eq!(model.on_crash(machine.disk()), Ok(()));

    let link = connect(&mut machine);
    let acknowledge = |machine: &mut Machine, id| {
        let id = PacketId::new(id).expect("not zero");
        machine.handle(Input::Packet { link, packet: InPacket::PubAck(id) });
    };
    acknowledge(&mut machine, 1);
    acknowledge(&mut machine, 2);
    publish(&mut machine, link, 2);
    acknowledge(&mut machine, 3);
    assert_eq!(check(&mut machine, &mut model), Ok(()));
    assert_eq!(model.check_drained(&machine.engine().snapshot()), Ok(()));
    assert_eq!(machine.engine().counters().messages_dropped(), 0);
}

fn connect(machine: &mut Machine) -> LinkId {
    let link = machine.link();
    let connect = Connect {
        version: ProtocolVersion::V311,
        client_id: "c".into(),
        clean_session: false,
        bridge: false,
        inside: false,
        keep_alive_s: 0,
        will: None,
        user_name: None,
        permit: None,
        room_bytes: 10_000,
        nonce: 0,
    };
    machine.handle(Input::Open { link, connect: Box::new(connect) });
    link
}

fn subscribe(machine: &mut Machine, link: LinkId, filter: &str) {
    let filter = Filter::parse(filter).expect("a filter");
    let subscriptions = [(filter, QoS::AtLeastOnce)].into();
    let packet = InPacket::Subscribe { id: PacketId::FIRST, subscriptions, beyond: 0 };
    machine.handle(Input::Packet { link, packet });
}

fn publish(machine: &mut Machine, link: LinkId, number: u32) {
    let topic = TopicName::new(b"a").expect("a topic");
    let message = Message::new(topic, &number.to_be_bytes(), QoS::AtLeastOnce, false);
    let delivery = Delivery::AtLeastOnce { id: PacketId::FIRST, dup: false };
    machine.handle(Input::Packet { link, packet: InPacket::Publish { message, delivery } });
}

fn check(machine: &mut Machine, model: &mut Model) -> Verdict {
    std::mem::take(&mut machine.handled).iter().try_for_each(|handled| model.on_handled(handled))
}
