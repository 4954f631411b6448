//! What the engine still holds of what is no more: little, however much there was.

use martlet_codec::ids::PacketId;
use martlet_codec::packet::Delivery;
use martlet_codec::reason::QoS;
use martlet_codec::topic::TopicName;
use martlet_engine::Engine;
use martlet_engine::effects::Effects;
use martlet_engine::filter::Filter;
use martlet_engine::input::{Connect, InPacket, Input, LinkId, LostCause, Time};
use martlet_engine::limits::Limits;
use martlet_engine::message::Message;
use martlet_engine::snapshot::Snapshot;

const MANY: u32 = 10_000;
/// What tables keep to begin again with: a piece each.
const TABLES_BYTES: i64 = 160_000;

struct World(Engine);

impl World {
    /// Somebody is there, and stays.
    fn new() -> Self {
        let limits = Limits { sys_interval_s: 0, queue_messages_max: 0, ..Limits::default() };
        let mut world = Self(Engine::new(limits, Snapshot::default(), Time(0)));
        world.connect(0, true);
        world.subscribe(0, &["nothing/of/this"]);
        world
    }

    fn feed(&mut self, input: Input) -> Effects {
        let mut fx = Effects::default();
        self.0.handle(Time(0), input, &mut fx);
        fx
    }

    fn connect(&mut self, client: u32, clean_session: bool) {
        let connect = Connect::clean(format!("client {client}"), 1 << 20);
        let connect = Connect { clean_session, keep_alive_s: 60, ..connect };
        self.feed(Input::Open { link: link(client), connect: connect.into() });
    }

    fn leave(&mut self, client: u32) {
        self.feed(Input::Lost { link: link(client), cause: LostCause::Closed });
    }

    fn packet(&mut self, client: u32, packet: InPacket) -> Effects {
        self.feed(Input::Packet { link: link(client), packet })
    }

    fn subscribe(&mut self, client: u32, filters: &[&str]) {
        let parsed = filters.iter().map(|text| Filter::parse(text).expect("a filter"));
        let subscriptions = parsed.map(|filter| (filter, QoS::AtLeastOnce)).collect();
        self.packet(client, InPacket::Subscribe { id: PacketId::FIRST, subscriptions, beyond: 0 });
    }

    fn unsubscribe(&mut self, client: u32, filter: &str) {
        let filters = Box::new([Filter::parse(filter).expect("a filter")]);
        self.packet(client, InPacket::Unsubscribe { id: PacketId::FIRST, filters });
    }

    fn publish(&mut self, topic: &str, payload: &[u8], retain: bool) {
        let topic = TopicName::new(topic.as_bytes()).expect("a topic");
        let message = Message::new(topic, payload, QoS::AtLeastOnce, retain);
        let delivery = Delivery::AtLeastOnce { id: PacketId::FIRST, dup: false };
        self.packet(0, InPacket::Publish { message, delivery });
    }
}

fn link(slot: u32) -> LinkId {
    LinkId { slot, generation: 0 }
}

fn bytes(work: impl FnOnce()) -> i64 {
    allocation_counter::measure(work).bytes_current
}

/// Lets `come` happen and then `go`, each once for every number; says how many bytes each took
/// while all were there, what stayed of each when every second one was gone, and sees that little
/// is held when all are.
#[expect(clippy::print_stdout, reason = "figures for docs/performance.md")]
fn check(name: &str, come: impl Fn(&mut World, u32), go: impl Fn(&mut World, u32)) {
    let mut world = World::new();
    let all = bytes(|| (1..=MANY).for_each(|n| come(&mut world, n)));
    let second = (1..=MANY).filter(|n| n.is_multiple_of(2));
    let half = all + bytes(|| second.for_each(|n| go(&mut world, n)));
    let first = (1..=MANY).filter(|n| !n.is_multiple_of(2));
    let kept = half + bytes(|| first.for_each(|n| go(&mut world, n)));
    let each = |bytes: i64, count: u32| bytes / i64::from(count);
    let stay = each(half - all / 2, MANY / 2);
    println!(
        "{name}: {} bytes each; {stay} stay of each second one, {kept} of all",
        each(all, MANY)
    );
    assert!(kept < TABLES_BYTES, "{name}: {kept} bytes are held for nothing");
}

/// Numbers below its link's that nobody has cost it no memory of their own.
#[test]
fn the_only_client_may_have_a_link_of_a_high_number() {
    let mut world = World::new();
    let counted = allocation_counter::measure(|| {
        world.connect(1_000_000, true);
        world.leave(1_000_000);
    });
    let count = counted.count_total;
    assert!(count < 50, "{count} allocations");
}

#[test]
fn clients_that_leave_take_their_memory_along() {
    check("connections", |world, n| world.connect(n, true), World::leave);
    let with_one = |world: &mut World, n: u32| {
        world.connect(n, true);
        world.subscribe(n, &[&format!("bench/{n}/temperature")]);
    };
    check("connections with a subscription", with_one, World::leave);
    let shared = |world: &mut World, n: u32| {
        world.connect(n, true);
        world.subscribe(n, &[&format!("$share/{n}/a"), "$share/all/a", "a/+"]);
    };
    check("connections with shared subscriptions", shared, World::leave);
}

#[test]
fn subscriptions_that_end_leave_nothing() {
    let filter = |n: u32| format!("site/{n}/{}", if n.is_multiple_of(2) { "#" } else { "+/value" });
    check(
        "filters of one client",
        |world, n| world.subscribe(0, &[&filter(n)]),
        |world, n| world.unsubscribe(0, &filter(n)),
    );
}

#[test]
fn retained_messages_that_are_cleared_leave_nothing() {
    check(
        "retained messages",
        |world, n| world.publish(&format!("site/{n}/value"), &[7; 64], true),
        |world, n| world.publish(&format!("site/{n}/value"), b"", true),
    );
}

/// Each message waits in two queues, and is then taken by both.
#[test]
fn queues_that_are_emptied_leave_nothing() {
    check(
        "queued messages",
        |world, n| {
            if n == 1 {
                for client in [1, 2] {
                    world.connect(client, false);
                    world.subscribe(client, &["a"]);
                    world.leave(client);
                }
            }
            world.publish("a", &[7; 64], false);
        },
        |world, n| {
            if n <= 2 {
                world.connect(n, true); // clean: what waits is gone
                world.leave(n);
            }
        },
    );
}
