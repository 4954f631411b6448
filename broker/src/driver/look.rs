//! What nobody counts, and is looked at from time to time.

use std::sync::Arc;

use martlet_engine::input::Connect;

use crate::driver::Driver;
use crate::driver::traffic::Seen;
use crate::machine;

impl Driver {
    /// Waits for a turn at the engine: whoever gets it has seen that it goes on.
    pub fn pass_through(&self) {
        let core = self.core.lock();
        self.let_go(core);
    }

    /// What the engine would call a client that came with this CONNECT now.
    pub fn client_id_for(&self, connect: &Connect) -> Arc<str> {
        if !connect.client_id.is_empty() {
            return Arc::from(&*connect.client_id);
        }
        let core = self.core.lock();
        let client_id = core.engine.assign_client_id(connect.nonce);
        self.let_go(core);
        client_id
    }

    /// Looks at the outboxes and at the process.
    pub(super) fn look(&self) {
        let (mut packets, mut bytes) = (0, 0);
        for (_, edge) in self.links.lock().iter() {
            let (more_packets, more_bytes) = edge.link().outbox().waiting();
            packets += more_packets;
            bytes += more_bytes;
        }
        let memory = machine::own_memory_bytes().unwrap_or(0);
        let mut seen = self.traffic.seen.lock();
        let memory_bytes_max = seen.memory_bytes_max.max(memory);
        *seen = Seen {
            packets_waiting: packets,
            packets_waiting_bytes: bytes,
            memory_bytes: memory,
            memory_bytes_max,
        };
    }
}
