//! The driver's part without sockets, threads or a disk: inputs to the engine, facts to a disk that
//! forgets what was not committed, packets to links that hold promises back until then (I2).

#![allow(dead_code, reason = "each test uses its part")]

use std::collections::{BTreeMap, VecDeque};

use martlet_engine::Engine;
use martlet_engine::change::Change;
use martlet_engine::effects::{Effects, Farewell, OutPacket, Outgoing};
use martlet_engine::input::{Input, LinkId, Time};
use martlet_engine::limits::Limits;
use martlet_engine::snapshot::Snapshot;

/// A store under the machine, on a disk that fails.
pub trait Keeper {
    /// Keeps all of these, or `false`: nobody knows whether they are kept.
    fn commit(&mut self, changes: &[Change]) -> bool;

    /// Ends however it may, and starts again. What it finds must be `kept`, or what `perhaps`
    /// would have made of it; answers whether it is that.
    ///
    /// # Errors
    /// What it found instead.
    fn restart(&mut self, kept: &Snapshot, perhaps: Option<&Snapshot>) -> Result<bool, String>;
}

pub struct Machine {
    engine: Engine,
    limits: Limits,
    now: Time,
    /// What was committed.
    disk: Snapshot,
    /// Where it was committed to; `None`: nothing can go wrong with it.
    keeper: Option<Box<dyn Keeper>>,
    /// The commit that the keeper could not end, and its number: it is tried again.
    in_doubt: Option<(u64, Vec<Change>)>,
    /// Not on disk yet: each batch with its number.
    uncommitted: VecDeque<(u64, Vec<Change>)>,
    newest: u64,
    watermark: u64,
    links: BTreeMap<LinkId, Outbox>,
    generations: u32,
    /// Every effect of every input so far, in a number.
    pub digest: u64,
    /// What was handled since somebody last emptied this.
    pub handled: Vec<Handled>,
}

/// One input and what came of it.
pub struct Handled {
    pub now: Time,
    pub input: Input,
    pub outgoing: Vec<Outgoing>,
    pub farewells: Vec<(LinkId, Farewell)>,
    /// The number of the batch that its changes are in, if there were any.
    pub batch: Option<u64>,
    /// How many messages the engine has lost to its bounds so far.
    pub dropped: u64,
}

/// What waits to be sent on one link, in order.
#[derive(Default)]
struct Outbox {
    waiting: VecDeque<(Parcel, u64)>,
}

/// What a link is given.
#[derive(Clone, Debug)]
pub enum Parcel {
    Packet(OutPacket),
    /// We close.
    Farewell(Farewell),
}

impl Machine {
    pub fn new(limits: Limits, disk: Snapshot, now: Time) -> Self {
        Self {
            engine: Engine::new(limits.clone(), disk.clone(), now),
            limits,
            now,
            disk,
            keeper: None,
            in_doubt: None,
            uncommitted: VecDeque::new(),
            newest: 0,
            watermark: 0,
            links: BTreeMap::new(),
            generations: 0,
            digest: 0,
            handled: Vec::new(),
        }
    }

    /// A machine whose facts go there, where nothing is yet.
    pub fn with_keeper(limits: Limits, keeper: Box<dyn Keeper>, now: Time) -> Self {
        Self { keeper: Some(keeper), ..Self::new(limits, Snapshot::default(), now) }
    }

    pub fn now(&self) -> Time {
        self.now
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    pub fn disk(&self) -> &Snapshot {
        &self.disk
    }

    /// A new link, in the lowest slot that is free.
    pub fn link(&mut self) -> LinkId {
        let taken = |slot: &u32| self.links.keys().any(|link| link.slot == *slot);
        let slot = (0..).find(|slot| !taken(slot)).expect("there are not that many links");
        self.generations += 1;
        let link = LinkId { slot, generation: self.generations };
        self.links.insert(link, Outbox::default());
        link
    }

    pub fn handle(&mut self, input: Input) {
        let mut effects = Effects::default();
        self.engine.handle(self.now, input.clone(), &mut effects);
        self.digest = fold(self.digest, &format!("{effects:?}"));
        let batch = (!effects.changes.is_empty()).then(|| self.newest + 1);
        if let Some(number) = batch {
            self.newest = number;
            self.uncommitted.push_back((number, effects.changes));
        }
        for outgoing in &effects.outgoing {
            let after = if outgoing.promise { batch.unwrap_or(0) } else { 0 };
            if let Some(outbox) = self.links.get_mut(&outgoing.link) {
                outbox.waiting.push_back((Parcel::Packet(outgoing.packet.clone()), after));
            }
        }
        for (link, farewell) in &effects.farewells {
            if let Some(outbox) = self.links.get_mut(link) {
                outbox.waiting.push_back((Parcel::Farewell(*farewell), 0));
            }
        }
        let Effects { outgoing, farewells, .. } = effects;
        let (now, dropped) = (self.now, self.engine.counters().messages_dropped());
        self.handled.push(Handled { now, input, outgoing, farewells, batch, dropped });
    }

    /// Up to so many batches reach the disk, as one commit: as many as gathered meanwhile.
    pub fn commit(&mut self, batches: usize) {
        let Some((number, changes)) = self.in_doubt.take().or_else(|| self.gather(batches)) else {
            return;
        };
        if self.keeper.as_mut().is_none_or(|keeper| keeper.commit(&changes)) {
            changes.iter().for_each(|change| self.disk.apply(change));
            self.watermark = number;
        } else {
            self.in_doubt = Some((number, changes));
        }
    }

    fn gather(&mut self, batches: usize) -> Option<(u64, Vec<Change>)> {
        let batches = batches.min(self.uncommitted.len());
        let (number, _) = *self.uncommitted.get(batches.checked_sub(1)?)?;
        let changes = self.uncommitted.drain(..batches).flat_map(|(_, changes)| changes);
        Some((number, changes.collect()))
    }

    /// The number of the last batch on disk.
    pub fn watermark(&self) -> u64 {
        self.watermark
    }

    pub fn is_committed(&self) -> bool {
        self.uncommitted.is_empty() && self.in_doubt.is_none()
    }

    /// The next thing that may leave on this link; what leaves makes room.
    pub fn take(&mut self, link: LinkId) -> Option<Parcel> {
        let outbox = self.links.get_mut(&link)?;
        if outbox.waiting.front()?.1 > self.watermark {
            return None;
        }
        let (parcel, _) = outbox.waiting.pop_front()?;
        match &parcel {
            Parcel::Packet(packet) => self.handle(Input::Room { link, bytes: packet.cost() }),
            Parcel::Farewell(_) => self.forget(link),
        }
        Some(parcel)
    }

    /// The link is gone; nothing leaves on it any more.
    pub fn forget(&mut self, link: LinkId) {
        self.links.remove(&link);
    }

    /// Time goes on, deadline by deadline.
    pub fn advance_to(&mut self, time: Time) {
        while let Some(deadline) = self.engine.next_deadline()
            && deadline <= time
        {
            self.now = self.now.max(deadline);
            self.handle(Input::Due);
        }
        self.now = self.now.max(time);
    }

    /// The power goes: what was not on disk never was, and every link is gone. A commit that was
    /// in doubt may have been made; the watermark says so.
    ///
    /// # Errors
    /// When the keeper found anything else.
    pub fn crash(&mut self) -> Result<(), String> {
        let in_doubt = self.in_doubt.take().map(|(number, changes)| {
            let mut perhaps = self.disk.clone();
            changes.iter().for_each(|change| perhaps.apply(change));
            (number, perhaps)
        });
        if let Some(keeper) = &mut self.keeper {
            let perhaps = in_doubt.as_ref().map(|(_, perhaps)| perhaps);
            if keeper.restart(&self.disk, perhaps)? {
                (self.watermark, self.disk) = in_doubt.expect("asked whether it is that");
            }
        }
        self.engine = Engine::new(self.limits.clone(), self.disk.clone(), self.now);
        self.uncommitted.clear();
        self.links.clear();
        Ok(())
    }
}

/// FNV-1a.
fn fold(digest: u64, text: &str) -> u64 {
    text.bytes().fold(digest ^ 0xcbf2_9ce4_8422_2325, |digest, byte| {
        (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
