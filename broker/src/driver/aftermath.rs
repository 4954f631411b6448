//! What the engine answered, on its way to outboxes, the store, the log and sockets.

use std::cell::Cell;
use std::sync::Arc;

use martlet_engine::effects::{Notice, Outgoing};
use martlet_engine::input::LinkId;

use crate::driver::link::Edge;
use crate::driver::outbox::{Filling, Queued};
use crate::driver::table::LinkTable;
use crate::driver::{Core, Driver, log, turn};

thread_local! {
    /// Kept between batches, so that none need allocate.
    pub(super) static AFTERMATH: Cell<Aftermath> = Cell::default();
}

/// What is to be done once the engine is let go.
#[derive(Default)]
pub(super) struct Aftermath {
    /// How many packets went to outboxes and wait there until the engine is let go.
    pub(super) packets: usize,
    /// What they take there.
    cost: u64,
    to_send: Vec<Arc<dyn Edge>>,
    pub(super) to_resume: Vec<Arc<dyn Edge>>,
    notices: Vec<(Notice, Option<Arc<dyn Edge>>)>,
}

/// Fills outboxes. Those of the last two links stay open, because what a batch brings often goes to
/// two in turns: PUBLISH to a subscriber, PUBACK to the publisher. Only whoever holds the engine
/// holds two locks of outboxes.
struct Filler<'l> {
    links: &'l LinkTable,
    /// The commit that promises wait for.
    number: u64,
    open: [Option<Open<'l>>; 2],
    aftermath: &'l mut Aftermath,
    /// Links with promises that wait.
    promised: Vec<Arc<dyn Edge>>,
}

struct Open<'l> {
    link: LinkId,
    edge: &'l Arc<dyn Edge>,
    outbox: Filling<'l>,
    promises: bool,
}

impl Driver {
    /// Gives what the engine answered to those whom it is for.
    pub(super) fn hand_out(&self, core: &mut Core, aftermath: &mut Aftermath) {
        let Core { effects, lost, .. } = core;
        let mut links = self.links.lock();
        let number = self.commits.number_for(&effects.changes);
        let mut promised = fill_outboxes(&mut effects.outgoing, &links, number, aftermath);
        for notice in effects.notices.drain(..) {
            let edge = log::link_of(&notice).and_then(|link| links.edge(link)).cloned();
            if let (Notice::Connected { client_id, .. }, Some(edge)) = (&notice, &edge) {
                edge.link().connected(client_id);
            }
            aftermath.notices.push((notice, edge));
        }
        self.pass_orders(&mut effects.history);
        for (link, farewell) in effects.farewells.drain(..) {
            if let Some(edge) = links.remove(link) {
                edge.link().outbox().close(farewell);
                aftermath.to_send.push(edge);
            }
        }
        for link in lost.drain(..) {
            links.remove(link);
        }
        self.commits.add(&mut effects.changes, &mut promised);
    }

    /// Does the rest, once the engine is let go.
    pub(super) fn see_to(&self, mut aftermath: Aftermath) {
        for (notice, edge) in aftermath.notices.drain(..) {
            log::write(&notice, edge.as_deref(), self.logs_connections(), self.wording());
        }
        turn::send(&mut aftermath.to_send, aftermath.cost, self.turn_cost_max);
        for edge in aftermath.to_resume.drain(..) {
            edge.link().resume();
        }
        (aftermath.packets, aftermath.cost) = (0, 0);
        AFTERMATH.set(aftermath);
    }
}

/// What one of so many workers may put into outboxes until its turn ends: should all fill the same
/// outbox, they fill a quarter of it, and their last batches come on top. The engine is sure to
/// know of half of one as room.
pub(super) fn turn_cost_max(outbox_bytes_max: u32, workers: usize) -> u64 {
    u64::from(outbox_bytes_max) / (4 * workers.max(8) as u64)
}

/// Answers with the links that hold promises.
fn fill_outboxes(
    outgoing: &mut Vec<Outgoing>,
    links: &LinkTable,
    number: u64,
    aftermath: &mut Aftermath,
) -> Vec<Arc<dyn Edge>> {
    aftermath.packets += outgoing.len();
    let open = [None, None];
    let mut filler = Filler { links, number, open, aftermath, promised: Vec::new() };
    for outgoing in outgoing.drain(..) {
        filler.put(outgoing);
    }
    filler.finish()
}

impl Filler<'_> {
    /// Into its link's outbox, if there is such a link.
    fn put(&mut self, outgoing: Outgoing) {
        let is_it =
            |open: &Option<Open<'_>>| open.as_ref().is_some_and(|o| o.link == outgoing.link);
        if !is_it(&self.open[0]) {
            self.open.swap(0, 1);
            if !is_it(&self.open[0]) && !self.open_first(outgoing.link) {
                return;
            }
        }
        let Some(open) = &mut self.open[0] else { return };
        let after_commit = if outgoing.promise { self.number } else { 0 };
        open.promises |= after_commit > 0;
        open.outbox.push(Queued { packet: outgoing.packet, after_commit });
    }

    /// Opens this link's outbox as the first, in the place of one that is closed.
    fn open_first(&mut self, link: LinkId) -> bool {
        self.close(0);
        let Some(edge) = self.links.edge(link) else { return false };
        let outbox = edge.link().outbox().fill();
        self.open[0] = Some(Open { link, edge, outbox, promises: false });
        true
    }

    fn close(&mut self, at: usize) {
        let Some(open) = self.open[at].take() else { return };
        let (cost, is_ours) = open.outbox.close(turn::of_this_thread());
        self.aftermath.cost += cost;
        if is_ours {
            self.aftermath.to_send.push(Arc::clone(open.edge));
        }
        if open.promises {
            self.promised.push(Arc::clone(open.edge));
        }
    }

    fn finish(mut self) -> Vec<Arc<dyn Edge>> {
        // The older one first: it was filled first.
        self.close(1);
        self.close(0);
        self.promised
    }
}

#[cfg(test)]
mod tests {
    use super::turn_cost_max;

    #[test]
    fn all_workers_together_fill_a_quarter_of_an_outbox() {
        for workers in [1, 2, 8, 16, 128] {
            let all = turn_cost_max(1 << 20, workers) * workers as u64;
            assert!((1..=1 << 18).contains(&all), "{workers} workers: {all}");
        }
    }
}
