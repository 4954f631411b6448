//! QoS 2 from the client: which of its Packet Identifiers await their PUBREL.

use martlet_codec::ids::PacketId;

/// The ids, sorted. These are the client's own numbers, never the server's (I5).
#[derive(Default)]
pub(crate) struct Received(Vec<PacketId>);

impl Received {
    pub(crate) const NOTHING: Self = Self(Vec::new());

    /// A PUBLISH with this id came; says whether it is a new one [MQTT-4.3.3-2].
    pub(crate) fn mark(&mut self, id: PacketId) -> bool {
        match self.0.binary_search(&id) {
            Ok(_) => false,
            Err(at) => {
                self.0.insert(at, id);
                true
            }
        }
    }

    pub(crate) fn contains(&self, id: PacketId) -> bool {
        self.0.binary_search(&id).is_ok()
    }

    /// PUBREL came; says whether the id was marked.
    pub(crate) fn forget(&mut self, id: PacketId) -> bool {
        match self.0.binary_search(&id) {
            Ok(at) => {
                self.0.remove(at);
                true
            }
            Err(_) => false,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = PacketId> {
        self.0.iter().copied()
    }
}
