//! Which edge a link's id means.

use std::sync::Arc;

use martlet_engine::input::LinkId;

use crate::driver::link::Edge;

/// The links that the engine may know, by slot. A slot that is free again is used again with the
/// next generation, lowest waiting slot last in, first out, so that the engine's own table stays
/// dense.
#[derive(Default)]
pub(super) struct LinkTable {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

struct Slot {
    generation: u32,
    edge: Option<Arc<dyn Edge>>,
}

impl LinkTable {
    pub(super) fn insert(&mut self, edge: Arc<dyn Edge>) -> LinkId {
        match self.free.pop() {
            Some(slot) => {
                let place = &mut self.slots[slot as usize];
                place.generation = place.generation.wrapping_add(1);
                place.edge = Some(edge);
                LinkId { slot, generation: place.generation }
            }
            None => {
                let slot = u32::try_from(self.slots.len()).expect("connections_max is a u32");
                self.slots.push(Slot { generation: 0, edge: Some(edge) });
                LinkId { slot, generation: 0 }
            }
        }
    }

    pub(super) fn edge(&self, link: LinkId) -> Option<&Arc<dyn Edge>> {
        let slot = self.slots.get(link.slot as usize)?;
        if slot.generation == link.generation { slot.edge.as_ref() } else { None }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (LinkId, &Arc<dyn Edge>)> {
        (0..).zip(&self.slots).filter_map(|(slot, place)| {
            let link = LinkId { slot, generation: place.generation };
            Some((link, place.edge.as_ref()?))
        })
    }

    pub(super) fn remove(&mut self, link: LinkId) -> Option<Arc<dyn Edge>> {
        let slot = self.slots.get_mut(link.slot as usize)?;
        if slot.generation != link.generation {
            return None;
        }
        let edge = slot.edge.take()?;
        self.free.push(link.slot);
        Some(edge)
    }
}
