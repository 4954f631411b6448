//! The store on a simulated disk: crashes, faults, damage, what it writes.

#![allow(missing_docs, unreachable_pub, reason = "a test")]

mod compaction;
mod crashes;
mod cursors;
mod damage;
mod economy;
mod facts;
mod faults;
mod fixtures;
#[cfg(feature = "parquet")]
mod lost;
#[cfg(feature = "parquet")]
mod offsets;
mod queues;
mod recording;
mod restarts;
mod reuse;
mod room;
#[cfg(feature = "parquet")]
mod sealing;
#[path = "../simulated/mod.rs"]
mod simulated;
#[cfg(feature = "parquet")]
mod stops;
mod workload;

use simulated::dice;
