//! What the sockets count.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use martlet_engine::input::Traffic;
use parking_lot::Mutex;

use crate::driver::bridges::BridgeCounters;

/// Totals since start, counted where the bytes are.
#[derive(Debug, Default)]
pub struct TrafficCounters {
    /// Bytes read from sockets.
    pub bytes_received: AtomicU64,
    /// Bytes written to sockets.
    pub bytes_sent: AtomicU64,
    /// Reads that brought bytes, a system call each.
    pub reads: AtomicU64,
    /// Writes that took bytes, a system call each.
    pub writes: AtomicU64,
    /// Sockets accepted.
    pub sockets_accepted: AtomicU64,
    /// Sockets closed.
    pub sockets_closed: AtomicU64,
    /// CONNECTs that were refused before the engine saw them.
    pub connects_refused: AtomicU64,
    /// Logins that failed.
    pub logins_failed: AtomicU64,
    /// Connections that were closed because of their address.
    pub turned_away: AtomicU64,
    /// Connections that were closed because what must come first took too long.
    pub connect_timeouts: AtomicU64,
    /// What crosses to and from other brokers.
    pub bridges: Mutex<BridgeCounters>,
    /// How often a client began to publish too fast.
    pub publishers_slowed: AtomicU64,
    /// Clients and packets that got no further because nobody answered whether they may.
    pub unanswered: AtomicU64,
    /// Messages at QoS 0 that were still to be sent when their connection ended.
    pub messages_unsent: AtomicU64,
    /// What is looked at from time to time.
    pub(super) seen: Mutex<Seen>,
    /// Where the log counts the lines that it has lost.
    log_lines_lost: OnceLock<Arc<AtomicU64>>,
}

/// Numbers that nobody counts, as they were at the last look.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) packets_waiting: u64,
    pub(super) packets_waiting_bytes: u64,
    pub(super) memory_bytes: u64,
    pub(super) memory_bytes_max: u64,
}

impl TrafficCounters {
    /// One read brought this many bytes.
    pub fn count_read(&self, bytes: usize) {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.bytes_received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// One write took this many bytes.
    pub fn count_write(&self, bytes: usize) {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.bytes_sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The log counts there.
    pub fn count_log_losses_of(&self, lost: Arc<AtomicU64>) {
        self.log_lines_lost.get_or_init(|| lost);
    }

    pub(super) fn totals(&self) -> Traffic {
        let seen = *self.seen.lock();
        let log_lines_lost = self.log_lines_lost.get().map(|lost| lost.load(Ordering::Relaxed));
        let accepted = self.sockets_accepted.load(Ordering::Relaxed);
        Traffic {
            bytes_received: self.bytes_received.load(Ordering::Relaxed),
            bytes_sent: self.bytes_sent.load(Ordering::Relaxed),
            sockets_accepted: accepted,
            connects_refused: self.connects_refused.load(Ordering::Relaxed),
            logins_failed: self.logins_failed.load(Ordering::Relaxed),
            turned_away: self.turned_away.load(Ordering::Relaxed),
            connect_timeouts: self.connect_timeouts.load(Ordering::Relaxed),
            bridges: self.bridges.lock().totals(),
            publishers_slowed: self.publishers_slowed.load(Ordering::Relaxed),
            unanswered: self.unanswered.load(Ordering::Relaxed),
            messages_unsent: self.messages_unsent.load(Ordering::Relaxed),
            packets_waiting: seen.packets_waiting,
            packets_waiting_bytes: seen.packets_waiting_bytes,
            memory_bytes: seen.memory_bytes,
            memory_bytes_max: seen.memory_bytes_max,
            log_lines_lost: log_lines_lost.unwrap_or(0),
            sockets_open: accepted - self.sockets_closed.load(Ordering::Relaxed).min(accepted),
        }
    }
}
