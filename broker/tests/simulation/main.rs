//! Thousands of little histories: one engine, a few clients, a network and a disk that fail, and a
//! model that knows what must hold. First faults, then calm, and then everything must drain.
//!
//! `MARTLET_SIM_SEEDS=5000` runs so many seeds, `MARTLET_SIM_FIRST=100` begins there,
//! `MARTLET_SIM_SEED=123` replays one.

#![allow(missing_docs, unreachable_pub, clippy::print_stderr, reason = "a test")]

mod client;
#[path = "../machine/mod.rs"]
mod machine;
mod model;
mod random;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use model::Tally;

/// How many seeds run unless somebody asks for more.
const SEEDS: u64 = 200;

#[test]
fn every_seed_keeps_every_promise() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let (first, count) = match number("MARTLET_SIM_SEED") {
        Some(seed) => (seed, 1),
        None => {
            let count = number("MARTLET_SIM_SEEDS").unwrap_or(SEEDS);
            (number("MARTLET_SIM_FIRST").unwrap_or(0), count)
        }
    };
    let mut total = Tally::default();
    let mut faults = Vec::new();
    for seed in first..first + count {
        let runs = [(); 2].map(|()| {
            let run = catch_unwind(AssertUnwindSafe(|| world::run(seed)));
            run.unwrap_or_else(|_| Err("a panic, see above".into()))
        });
        match runs {
            [Ok((tally, digest)), Ok((_, again))] if digest == again => total.add(&tally),
            [Ok(_), Ok(_)] => faults.push(format!("seed {seed}: two runs, two outcomes")),
            [Err(fault), _] | [_, Err(fault)] => faults.push(format!("seed {seed}: {fault}")),
        }
    }
    eprintln!("seeds {first} to {}: {total:?}", first + count - 1);
    for fault in faults.iter().take(3) {
        eprintln!("{fault}");
    }
    assert!(
        faults.is_empty(),
        "{} of {count} seeds failed; replay with MARTLET_SIM_SEED={} \
         cargo test -p martlet --test simulation",
        faults.len(),
        faults[0].split([' ', ':']).nth(1).unwrap_or_default(),
    );
    if count >= SEEDS {
        assert!(total.saw_everything(), "something never happened: {total:?}");
    }
}
