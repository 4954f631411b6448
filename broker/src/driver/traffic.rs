//! What the sockets count.

use std::sync::atomic::{AtomicU64, Ordering};

use martlet_engine::input::Traffic;

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
    /// Logins that failed.
    pub logins_failed: AtomicU64,
    /// Connections that were closed because of their address.
    pub turned_away: AtomicU64,
    /// How often a client began to publish too fast.
    pub publishers_slowed: AtomicU64,
    /// Clients and packets that got no further because nobody answered whether they may.
    pub unanswered: AtomicU64,
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

    pub(super) fn totals(&self) -> Traffic {
        let accepted = self.sockets_accepted.load(Ordering::Relaxed);
        Traffic {
            bytes_received: self.bytes_received.load(Ordering::Relaxed),
            bytes_sent: self.bytes_sent.load(Ordering::Relaxed),
            sockets_accepted: accepted,
            logins_failed: self.logins_failed.load(Ordering::Relaxed),
            turned_away: self.turned_away.load(Ordering::Relaxed),
            publishers_slowed: self.publishers_slowed.load(Ordering::Relaxed),
            unanswered: self.unanswered.load(Ordering::Relaxed),
            sockets_open: accepted - self.sockets_closed.load(Ordering::Relaxed).min(accepted),
        }
    }
}
