//! The one door to the engine: whoever wants something of it holds a [`Link`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use martlet_engine::filter::Filter;
use martlet_engine::input::{Connect, Input, LinkId};
use martlet_engine::permit::Permission;

use crate::driver::Driver;
use crate::driver::outbox::{Outbox, Packets, Sent};

/// One client's way in and out, bounded both ways: inwards by one batch of inputs that waits at a
/// time, outwards by the outbox.
#[derive(Debug)]
pub struct Link {
    driver: Arc<Driver>,
    id: OnceLock<LinkId>,
    client_id: OnceLock<Arc<str>>,
    outbox: Outbox,
    /// A batch of this link waits for the engine.
    waiting: AtomicBool,
}

impl Drop for Link {
    /// Whoever comes last to a connection that has ended.
    fn drop(&mut self) {
        let lost = self.outbox.at_stake();
        self.driver.traffic.messages_unsent.fetch_add(lost, Ordering::Relaxed);
    }
}

/// Whoever stands at the outer end of a link: a socket, a bridge, a page.
pub trait Edge: Send + Sync {
    /// Its link.
    fn link(&self) -> &Link;

    /// Sends what the outbox holds, as far as it goes without waiting. Called by whoever filled it.
    fn send(&self);

    /// Whether to send is work that is better done once for all that a turn brings.
    fn gathers(&self) -> bool {
        false
    }

    /// What its client may do by the rules that hold now.
    fn permit(&self) -> Permission {
        None
    }

    /// Who its client is, if it said so.
    fn user_name(&self) -> Option<&str> {
        None
    }

    /// Whether its coming and going is not worth a line of the log.
    fn is_quiet(&self) -> bool {
        false
    }

    /// Who is out there, for the log: an address.
    fn peer(&self) -> &dyn std::fmt::Display;
}

impl Link {
    /// A link that the engine does not know yet.
    pub fn new(driver: Arc<Driver>) -> Self {
        Self {
            driver,
            id: OnceLock::new(),
            client_id: OnceLock::new(),
            outbox: Outbox::default(),
            waiting: AtomicBool::new(false),
        }
    }

    /// Gives the link its place among the driver's links. Call it once, with the edge that owns
    /// this link, before the first [`submit`](Self::submit), whose first input is the
    /// [`Open`](Input::Open) with the id that this answers.
    pub fn attach(&self, edge: Arc<dyn Edge>) -> LinkId {
        *self.id.get_or_init(|| self.driver.attach(edge))
    }

    /// The driver that it leads to.
    pub fn driver(&self) -> &Arc<Driver> {
        &self.driver
    }

    /// The id, once attached.
    pub fn id(&self) -> Option<LinkId> {
        self.id.get().copied()
    }

    /// Who is out there, for the log: the client's id once it is connected.
    pub fn client_id(&self) -> &str {
        self.client_id.get().map_or("<unknown>", |client_id| client_id)
    }

    pub(super) fn connected(&self, client_id: &Arc<str>) {
        self.client_id.get_or_init(|| Arc::clone(client_id));
    }

    /// What the engine will call a client that comes with this CONNECT.
    pub fn client_id_for(&self, connect: &Connect) -> Arc<str> {
        self.driver.client_id_for(connect)
    }

    /// What this client has subscribed to, here or before it went.
    pub fn subscriptions_of(&self, client_id: &str) -> Vec<Filter> {
        self.driver.subscriptions_of(client_id)
    }

    /// Brings a batch of inputs, each about this link, and empties `inputs`. If the engine is busy,
    /// the batch is handled at the end of this thread's turn at the latest, where turns end and the
    /// store has room, and the link's task is woken then; until then
    /// [`is_waiting`](Self::is_waiting), and the link should bring nothing more.
    pub fn submit(&self, edge: &Arc<dyn Edge>, inputs: &mut Vec<Input>) {
        self.driver.submit(edge, inputs);
    }

    /// Whether a batch of this link waits to be handled.
    pub fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Acquire)
    }

    pub(super) fn wait(&self) {
        self.waiting.store(true, Ordering::Release);
    }

    pub(super) fn resume(&self) {
        self.waiting.store(false, Ordering::Release);
        self.outbox.wake();
    }

    /// What waits to be sent.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Takes what is to be sent, as `Outbox::begin`.
    pub fn begin(&self, own_task: bool) -> Option<Packets> {
        self.outbox.begin(own_task, self.committed())
    }

    /// Gives back what was not sent; answers what came in meanwhile and is to be sent now by the
    /// same sender. The engine hears of the room from whoever comes to it next.
    pub fn end(&self, sent: Sent) -> Option<Packets> {
        let (more, reports) = self.outbox.end(sent, self.outbox_bytes_max());
        if reports && let Some(link) = self.id() {
            self.driver.has_freed(link);
        }
        more
    }

    /// The number of the last commit that is on disk: packets that wait for a later one stay.
    pub fn committed(&self) -> u64 {
        self.driver.committed()
    }

    /// How much must have been sent before the engine is told of the room: half the outbox.
    pub fn room_report_bytes(&self) -> u32 {
        self.driver.outbox_bytes_max() / 2
    }

    /// The bound of the outbox, in the unit of `OutPacket::cost`.
    pub fn outbox_bytes_max(&self) -> u32 {
        self.driver.outbox_bytes_max()
    }
}
