//! What fixed inputs cost, counted exactly, beside what was accepted in `counts.txt`.
//!
//! Broker and clients are on one thread, and the disk is simulated, so that the counts are the same
//! on every machine. Time is no part of it.

#![allow(missing_docs, unreachable_pub, reason = "a test")]

mod machine;
#[path = "../running/mod.rs"]
mod running;
#[path = "../simulated/mod.rs"]
mod simulated;
mod store;
mod table;
mod wire;

use std::path::Path;

/// Set: what is counted now is accepted, and written there.
const ACCEPT: &str = "TEST_ACCEPT_COUNTS";

#[test]
fn a_message_costs_what_was_accepted() {
    let rows = [machine::rows(), wire::rows(), store::rows()].concat();
    let counted = table::print(&rows);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/counts/counts.txt");
    if std::env::var_os(ACCEPT).is_some() {
        std::fs::write(&path, &counted).expect("it can be written");
        return;
    }
    let accepted = std::fs::read_to_string(&path).expect("it is there");
    let changed = table::difference(&accepted, &counted);
    assert!(
        changed.is_empty(),
        "other counts than in tests/counts/counts.txt:\n\n{changed}\nall of it now:\n\n{counted}\n\
         Where it is meant so: {ACCEPT}=1 cargo test -p martlet --test counts\n"
    );
}
