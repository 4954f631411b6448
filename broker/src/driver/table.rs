//! Which edge a link's id means.

use std::sync::Arc;

use martlet_engine::input::LinkId;
use martlet_engine::slab::Slab;

use crate::driver::link::Edge;

/// The links that the engine may know, by slot. A new link gets the lowest slot that is free, so
/// that the engine's own table stays dense, and a generation that no link had before it.
#[derive(Default)]
pub(super) struct LinkTable {
    slots: Slab<Slot, 512>,
    generation: u32,
}

struct Slot {
    generation: u32,
    edge: Arc<dyn Edge>,
}

impl LinkTable {
    pub(super) fn insert(&mut self, edge: Arc<dyn Edge>) -> LinkId {
        let generation = self.generation;
        self.generation = generation.wrapping_add(1);
        let slot = self.slots.insert(Slot { generation, edge });
        LinkId { slot: u32::try_from(slot).expect("connections_max is a u32"), generation }
    }

    pub(super) fn edge(&self, link: LinkId) -> Option<&Arc<dyn Edge>> {
        let slot = self.slots.get(link.slot as usize)?;
        (slot.generation == link.generation).then_some(&slot.edge)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (LinkId, &Arc<dyn Edge>)> {
        self.slots.iter().map(|(number, slot)| {
            // Below connections_max, as it was given out.
            let link = LinkId { slot: number as u32, generation: slot.generation };
            (link, &slot.edge)
        })
    }

    pub(super) fn remove(&mut self, link: LinkId) -> Option<Arc<dyn Edge>> {
        self.edge(link)?;
        Some(self.slots.remove(link.slot as usize).edge)
    }
}
